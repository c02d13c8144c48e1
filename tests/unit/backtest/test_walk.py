"""A signal's way through daily bars: entry, the five bars and the exits in their order (DOMAIN 1.2, 2.1, D6, D10)."""

import math
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

SIGNAL = 2  # bar of the signal; bars 0 to 2 stand at 100
COST_FREE = engine.Assumptions(costs=flat_costs(0.0))
Bar = tuple[float, float, float, float]
CALM: Bar = (100.0, 101.0, 99.0, 100.0)


def made(after: list[Bar], *, side: int = 1, skip: tuple[int, ...] = (), raw_factor: float = 1.0) -> Panel:
    """Three calm bars and then some; B shows that the market goes on. For shorts the bars are turned around 100."""
    rows = np.array([CALM] * (SIGNAL + 1) + after)
    if side < 0:
        rows = 200.0 - rows[:, [0, 2, 1, 3]]
    o, h, low, c = rows.T
    a = panels.history(open=o, high=h, low=low, close=c, raw_factor=raw_factor)
    kept = [i for i in range(len(a)) if i not in skip]
    return panels.panel({"A": a.take(kept), "B": panels.flat(10.0, max(len(a), 40))})


def table(panel: Panel, *, side=1, distance=4.0, level=math.nan, target_r=math.nan, atr=2.0, exits=(), hold=5):
    """One signal at the third bar; `exits` are bars at whose close the exit rule holds."""
    mask = np.zeros(len(panel), np.uint8)
    mask[list(exits)] = 1 if side > 0 else 2
    level = 200.0 - level if side < 0 else level
    return SignalTable(
        strategy="x", params={}, params_hash="x", row=np.array([SIGNAL]), side=np.array([side], np.int8),
        stop_distance=np.array([distance if np.isnan(level) else np.nan]), stop_level=np.array([level]),
        target_r=np.array([target_r]), atr=np.array([atr]), score=np.array([0.5]), exit_mask=mask, max_gap_atr=2.0,
        hold_bars=hold,
    )  # fmt: skip


def told(panel: Panel, t: SignalTable, assumed: engine.Assumptions = COST_FREE) -> engine.Outcomes:
    return engine.evaluate(panel, FeatureTable(panel), t, assumed)


def story(after: list[Bar], *, side: int = 1, skip: tuple[int, ...] = (), raw_factor: float = 1.0, **wish):
    """Return (state, reason, exit bar, exit price seen as a long) of the one signal."""
    panel = made(after, side=side, skip=skip, raw_factor=raw_factor)
    w = told(panel, table(panel, side=side, **wish)).walked
    price = float(w.exit_price[0])
    return (
        fills.STATES[w.state[0]],
        fills.REASONS[w.reason[0]],
        int(w.exit_row[0]),
        price if side > 0 else 200.0 - price,
    )


both = pytest.mark.parametrize("side", [1, -1])


@both
def test_the_fill_is_the_open_of_the_next_session_and_the_time_exit_the_close_of_the_fifth(side):
    after = [(100.0 + k, 101.5 + k, 99.5 + k, 100.75 + k) for k in range(9)]
    panel = made(after, side=side)
    o = told(panel, table(panel, side=side))
    assert o.walked.entry_row[0] == SIGNAL + 1
    assert o.walked.entry_price[0] == 100.0
    assert story(after, side=side) == ("closed", "time", SIGNAL + 5, 104.75)
    assert story(after, side=side, hold=1) == ("closed", "time", SIGNAL + 1, 100.75)


@both
def test_the_stop_is_live_on_the_entry_bar(side):
    assert story([(100.0, 101.0, 95.9, 100.0), *[CALM] * 9], side=side) == ("closed", "stop", SIGNAL + 1, 96.0)


@both
def test_the_stop_is_measured_from_the_fill_and_not_from_the_close(side):
    after = [(102.0, 103.0, 97.9, 99.0), *[CALM] * 9]
    assert story(after, side=side) == ("closed", "stop", SIGNAL + 1, 98.0)


@both
def test_a_signal_exit_fills_at_the_open_after_the_close_that_shows_it(side):
    after = [CALM, (101.0, 102.0, 100.5, 101.5), (101.75, 102.0, 90.0, 91.0), *[CALM] * 9]
    assert story(after, side=side, exits=[SIGNAL + 2]) == ("closed", "signal", SIGNAL + 3, 101.75)


def test_a_pending_exit_leaves_at_the_open_even_below_the_stop():
    assert story([CALM, (90.0, 91.0, 89.0, 90.0), *[CALM] * 9], exits=[SIGNAL + 1]) == (
        "closed",
        "signal",
        SIGNAL + 2,
        90.0,
    )


def test_the_exit_rule_at_the_close_of_the_signal_bar_itself_is_no_exit():
    assert story([CALM] * 9, exits=[SIGNAL]) == ("closed", "time", SIGNAL + 5, 100.0)


def test_an_exit_of_the_other_side_closes_nothing():
    panel = made([CALM] * 9)
    t = table(panel)
    t = replace(t, exit_mask=np.full(len(panel), 2, np.uint8))
    assert fills.REASONS[told(panel, t).walked.reason[0]] == "time"


def test_the_time_exit_goes_before_an_exit_that_shows_at_the_same_close():
    assert story([CALM] * 9, exits=[SIGNAL + 5]) == ("closed", "time", SIGNAL + 5, 100.0)
    assert story([CALM] * 9, exits=[SIGNAL + 4]) == ("closed", "signal", SIGNAL + 5, 100.0)


@both
@pytest.mark.parametrize(
    ("open_", "state"), [(104.0, "closed"), (104.01, "gap_invalidated"), (96.0, "closed"), (95.99, "gap_invalidated")]
)
def test_an_open_more_than_two_atr_from_the_close_is_no_entry(side, open_, state):
    after = [(open_, open_ + 1, open_ - 1, open_), *[(open_, open_ + 1, open_ - 1, open_)] * 9]
    assert story(after, side=side, distance=20.0)[0] == state


@both
@pytest.mark.parametrize(("open_", "state"), [(98.0, "gap_invalidated"), (97.5, "gap_invalidated"), (98.01, "closed")])
def test_an_open_at_or_beyond_a_fixed_stop_is_no_entry(side, open_, state):
    after = [(open_, open_ + 2, open_ - 0.005, open_), *[CALM] * 9]
    assert story(after, side=side, level=98.0)[0] == state


def test_a_fixed_stop_is_never_moved_to_the_fill():
    after = [(101.0, 103.0, 98.5, 102.0), (102.0, 103.0, 97.9, 99.0), *[CALM] * 9]
    panel = made(after)
    o = told(panel, table(panel, level=98.0, target_r=2.0))
    assert (o.walked.stop[0], o.walked.target[0]) == (98.0, 107.0)
    assert story(after, level=98.0) == ("closed", "stop", SIGNAL + 2, 98.0)
    assert o.gross_r[0] == -1.0


@both
def test_no_bar_in_the_session_after_is_no_entry_ever(side):
    assert story([CALM] * 9, side=side, skip=(SIGNAL + 1,))[0] == "no_bar"


def test_a_signal_on_the_newest_bar_of_the_market_waits_and_on_a_last_bar_before_it_is_dead():
    panel = panels.panel({"A": panels.flat(10.0, 3), "B": panels.flat(10.0, 3)})
    assert fills.STATES[told(panel, table(panel)).walked.state[0]] == "open"
    panel = panels.panel({"A": panels.flat(10.0, 3), "B": panels.flat(10.0, 4)})
    assert fills.STATES[told(panel, table(panel)).walked.state[0]] == "no_bar"


@both
def test_sessions_without_a_bar_count_towards_the_five(side):
    """The session of the time exit has no bar: the next bar closes the trade, at its close (D16: halted names)."""
    after = [(100.0, 101.0, 99.0, 100.25 + k) for k in range(9)]
    after = [(o, max(h, c), low, c) for o, h, low, c in after]
    halted = (SIGNAL + 4, SIGNAL + 5)
    panel_row = SIGNAL + 4  # two bars are gone: session t + 6 is row 6
    assert story(after, side=side, skip=halted) == ("closed", "time", panel_row, 105.25)


@pytest.mark.parametrize(("high", "reason"), [(104.0, "time"), (104.005, "time"), (104.01, "target")])
def test_a_target_needs_a_tick_through_it(high, reason):
    after = [CALM, (101.0, high, 100.0, 103.0), *[CALM] * 9]
    assert story(after, target_r=1.0)[1] == reason


def test_the_tick_is_one_of_the_raw_price():
    """At four raw dollars to the adjusted one, a cent on the tape is a quarter of a cent here."""
    after = [CALM, (101.0, 104.0025, 100.0, 103.0), *[CALM] * 9]
    assert story(after, target_r=1.0, raw_factor=4.0)[1] == "target"
    assert story(after, target_r=1.0, raw_factor=3.0)[1] == "time"


def test_a_gap_above_the_target_fills_at_the_better_open_without_cost_and_a_stop_pays():
    costs = engine.Assumptions(costs=flat_costs(10.0))
    up, down = [CALM, (105.0, 106.0, 104.5, 105.0), *[CALM] * 9], [CALM, (95.0, 96.0, 94.0, 95.0), *[CALM] * 9]
    for after, price, got in ((up, 105.0, 105.0), (down, 95.0, 95.0 * 0.999)):
        panel = made(after)
        o = told(panel, table(panel, target_r=1.0), costs)
        assert o.walked.exit_price[0] == price
        assert o.entry_paid[0] == pytest.approx(100.1, abs=1e-12)
        assert o.exit_got[0] == pytest.approx(got, abs=1e-12)
        assert o.net_r[0] == pytest.approx((got - 100.1) / 4.0, abs=1e-12)
        assert o.gross_r[0] == pytest.approx((price - 100.0) / 4.0, abs=1e-12)


def test_bars_that_reach_both_are_counted_and_the_second_run_takes_the_target():
    panel = made([CALM, (100.0, 105.0, 95.0, 100.0), *[CALM] * 9])
    t = table(panel, target_r=1.0)
    careful, hopeful = told(panel, t), told(panel, t, replace(COST_FREE, stop_first=False))
    assert (careful.gross_r[0], hopeful.gross_r[0]) == (-1.0, 1.0)
    assert careful.walked.ambiguous[0]
    assert hopeful.walked.ambiguous[0]
    calm = made([CALM] * 9)
    assert not told(calm, table(calm, target_r=1.0)).walked.ambiguous[0]


def test_without_the_stop_a_trade_runs_on_and_its_r_stays_what_it_was():
    after = [(100.0, 101.0, 90.0, 95.0), *[(95.0, 96.0, 94.0, 95.0)] * 9]
    panel = made(after)
    o = told(panel, table(panel), replace(COST_FREE, use_stop=False))
    assert fills.REASONS[o.walked.reason[0]] == "time"
    assert o.gross_r[0] == pytest.approx(-5 / 4)
    assert told(panel, table(panel)).gross_r[0] == -1.0


@both
def test_the_excursions_are_the_worst_and_best_prices_held_through(side):
    after = [(100.0, 103.0, 98.0, 101.0), (101.0, 106.0, 97.0, 102.0), (102.0, 130.0, 95.0, 96.0), *[CALM] * 9]
    panel = made(after, side=side)
    o = told(panel, table(panel, side=side))
    assert fills.REASONS[o.walked.reason[0]] == "stop"
    assert o.mae_r[0] == pytest.approx(-1.0)  # the stop, not the low beyond it
    assert o.mfe_r[0] == pytest.approx(6 / 4)  # what the exit bar reached is not known to come first


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_turning_the_market_upside_down_mirrors_every_trade(seed):
    rng = np.random.default_rng(seed)
    h = panels.random_walk(rng, 60, price=100.0, volatility=0.03)
    h = replace(h, **{c: np.round(getattr(h, c) * 64) / 64 for c in panels.PRICES})
    around = float(np.ceil(h.high.max())) + 10
    rows = np.flatnonzero(rng.random(60) < 0.4)
    n = len(rows)
    t = SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=np.ones(n, np.int8),
        stop_distance=np.full(n, 2.0), stop_level=np.full(n, np.nan),
        target_r=np.where(rng.random(n) < 0.5, 1.0, np.nan), atr=np.full(n, 2.0), score=np.full(n, 0.5),
        exit_mask=(rng.random(60) < 0.2).astype(np.uint8), max_gap_atr=2.0, hold_bars=5,
    )  # fmt: skip
    up = panels.panel({"A": h})
    mirrored = replace(h, **{c: getattr(h.mirrored(around), c) for c in panels.PRICES})
    down = panels.panel({"A": mirrored})
    one, two = told(up, t), told(down, replace(t, side=-t.side, exit_mask=t.exit_mask * np.uint8(2)))
    assert one.walked.state.tolist() == two.walked.state.tolist()
    assert one.walked.reason.tolist() == two.walked.reason.tolist()
    assert one.walked.exit_row.tolist() == two.walked.exit_row.tolist()
    for c in ("gross_r", "mae_r", "mfe_r"):
        np.testing.assert_allclose(getattr(one, c), getattr(two, c), rtol=0, atol=1e-12)
