"""What became of a trade is known when it ends and never changes afterwards (DOMAIN 1.5, 2.1, 2.6)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.backtest import engine, fills
from kobe.backtest.costs import flat_costs
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

FLAT = flat_costs(5.0)
ASSUMED = engine.Assumptions(costs=replace(FLAT, rates=(replace(FLAT.rates[0], borrow_rate_annual=0.10),)))
YOUNG = {"sma_bars": 20, "min_history_bars": 20, "min_adv_usd": 0.0, "shorts": True}
RELAXED = {
    "ibs_rsi": {**YOUNG, "ibs_max": 0.25, "rsi_max": 15.0},
    "turtle_soup": {**YOUNG, "stop_mode": "sweep"},
}
COLUMNS = (
    "side", "score", "atr", "adv_usd", "entry_paid", "exit_got", "dividend", "borrow", "gross_r", "net_r", "mae_r",
    "mfe_r",
)  # fmt: skip
WALKED = ("state", "entry_price", "stop", "target", "exit_price", "reason", "ambiguous", "worst", "best")
Told = dict[tuple[str, int, int], tuple]


def outcomes_of(panel: Panel, name: str, *, peek: bool = False) -> engine.Outcomes:
    """Outcomes of a strategy; with `peek` it also asks for a rise in ten bars, a planted look ahead."""
    features = FeatureTable(panel)
    strategy = STRATEGIES[name]
    table = strategy.signals(panel, features, strategy.params(RELAXED[name]))
    if peek:
        soon = np.roll(panel.close, -10)[table.row] > panel.close[table.row]
        columns = ("row", "side", "stop_distance", "stop_level", "target_r", "atr", "score")
        table = replace(table, **{c: getattr(table, c)[soon] for c in columns})
    return engine.evaluate(panel, features, table, ASSUMED)


def ended_by(panel: Panel, o: engine.Outcomes, session: int) -> Told:
    """Every trade that ended by a session, named by symbol, session and side, with all its figures to the bit."""
    done = np.flatnonzero(o.closed & (o.exit_session <= session))
    figures = np.column_stack(
        [getattr(o, c)[done].astype(float) for c in COLUMNS]
        + [getattr(o.walked, c)[done].astype(float) for c in WALKED]
    )
    names = zip(o.symbol[done], o.session[done], o.side[done], strict=True)
    facts = zip(names, figures, o.exit_session[done], strict=True)
    return {(panel.symbols[k], int(s), int(d)): (row.tobytes(), int(out)) for (k, s, d), row, out in facts}


def written_off(panel: Panel, o: engine.Outcomes) -> set[tuple[str, int, int]]:
    """Trades in symbols that stopped trading; they have a test of their own."""
    gone = np.flatnonzero(o.walked.reason == fills.END_OF_DATA)
    return {(panel.symbols[o.symbol[i]], int(o.session[i]), int(o.side[i])) for i in gone}


def corrupted_after(panel: Panel, session: int) -> Panel:
    rng = np.random.default_rng(session)
    factor = np.where(panel.session > session, np.exp(rng.normal(0, 0.3, len(panel))), 1.0)
    return replace(panel, **{c: getattr(panel, c) * factor for c in (*panels.PRICES, "dividend")})


def paying(panel: Panel, seed: int) -> Panel:
    """The same bars with a dividend in every tenth."""
    rng = np.random.default_rng(seed)
    return replace(panel, dividend=np.where(rng.random(len(panel)) < 0.1, panel.close * 0.01, 0.0))


def changed(panel: Panel, session: int, name: str, other: Panel, *, peek: bool = False) -> list[tuple[str, int, int]]:
    """Trades that had ended by a session and look different when the bars after it are."""
    o, p = outcomes_of(panel, name, peek=peek), outcomes_of(other, name, peek=peek)
    ignore = written_off(panel, o) | written_off(other, p)
    one, two = ended_by(panel, o, session), ended_by(other, p, session)
    return sorted(k for k in one.keys() | two.keys() if k not in ignore and one.get(k) != two.get(k))


@pytest.mark.parametrize("name", list(RELAXED))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), back=st.integers(1, 100))
def test_a_trade_that_has_ended_is_not_changed_by_later_bars(name, seed, back):
    whole = paying(panels.random_panel(seed, symbols=6, bars=200), seed)
    session = whole.last_session - back
    assert not changed(whole, session, name, whole.until(session))
    assert not changed(whole, session, name, corrupted_after(whole, session))


@pytest.mark.parametrize("name", list(RELAXED))
def test_trades_on_real_bars_that_have_ended_are_not_changed_by_later_bars(real_panel, name):
    rng = np.random.default_rng(4)
    for session in rng.integers(real_panel.first_session + 300, real_panel.last_session, 4).tolist():
        assert len(ended_by(real_panel, outcomes_of(real_panel, name), session)) > 20
        assert not changed(real_panel, session, name, real_panel.until(session))
        assert not changed(real_panel, session, name, corrupted_after(real_panel, session))


def test_a_planted_look_ahead_is_caught_by_the_same_check():
    whole = panels.random_panel(21, symbols=8, bars=200)
    sessions = range(whole.first_session + 60, whole.last_session - 1, 5)
    assert any(changed(whole, s, "ibs_rsi", corrupted_after(whole, s), peek=True) for s in sessions)
    assert not any(changed(whole, s, "ibs_rsi", corrupted_after(whole, s)) for s in sessions)


def held_to_the_end(last_bar: int = 33) -> tuple[Panel, SignalTable]:
    """A buys at bar 31 and trades for the last time at bar 33; B goes on."""
    panel = panels.panel({"A": panels.of_closes([50.0] * (last_bar + 1)), "B": panels.of_closes([50.0] * 60)})
    one = np.array([30])
    table = SignalTable(
        strategy="x", params={}, params_hash="x", row=one, side=np.array([1], np.int8),
        stop_distance=np.array([5.0]), stop_level=np.array([np.nan]), target_r=np.array([np.nan]),
        atr=np.array([2.0]), score=np.array([0.5]), exit_mask=np.zeros(len(panel), np.uint8), max_gap_atr=2.0,
        hold_bars=5,
    )  # fmt: skip
    return panel, table


def cut(panel: Panel, table: SignalTable, session: int) -> tuple[Panel, SignalTable]:
    past = panel.until(session)
    return past, replace(table, exit_mask=table.exit_mask[: len(past)])


def told(panel: Panel, table: SignalTable):
    return engine.evaluate(panel, FeatureTable(panel), table, ASSUMED)


def test_a_symbol_that_stops_trading_costs_the_haircut_once_five_sessions_have_passed():
    panel, table = held_to_the_end()
    o = told(panel, table)
    assert fills.REASONS[o.walked.reason[0]] == "end_of_data"
    assert o.gross_r[0] == pytest.approx(-0.30 * 50 / 5)
    last = int(panel["A"].session[-1])
    for wait in range(12):
        known = told(*cut(panel, table, last + wait))
        assert bool(known.closed[0]) == (wait >= 5)


def test_nobody_knows_on_its_last_day_that_a_symbol_will_never_trade_again():
    """A trade counts as ended in the session in which that could be known, not before (DOMAIN 0, D16)."""
    panel, table = held_to_the_end()
    assert told(panel, table).exit_session[0] >= int(panel["A"].session[-1]) + 5


def test_the_equity_of_a_day_does_not_depend_on_later_bars():
    panel, table = held_to_the_end()
    first, last = panel.first_session, int(panel["A"].session[-1])
    whole = engine.run_portfolio(panel, told(panel, table), ASSUMED, first, panel.last_session)
    for session in range(last - 3, last + 12):
        past, same = cut(panel, table, session)
        seen = engine.run_portfolio(past, told(past, same), ASSUMED, first, session)
        assert seen.equity_usd.tolist() == whole.equity_usd[: len(seen.equity_usd)].tolist()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), back=st.integers(1, 80))
def test_the_equity_of_a_day_without_delistings_does_not_depend_on_later_bars(seed, back):
    rng = np.random.default_rng(seed)
    whole = paying(panels.panel({s: panels.random_walk(rng, 160, price=40.0) for s in "ABCDE"}), seed)
    session = whole.last_session - back
    curves = []
    for panel in (whole, whole.until(session), corrupted_after(whole, session)):
        o = outcomes_of(panel, "ibs_rsi")
        p = engine.run_portfolio(panel, o, ASSUMED, panel.first_session, session)
        curves.append(p.equity_usd.tolist())
    assert curves[0] == curves[1] == curves[2]
