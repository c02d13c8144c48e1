"""The research account against a slow event simulator that fills, charges and books by itself (DOMAIN 2.1 to 2.6)."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels
from kit.event_simulator import Bar, Rules, Wish, simulate

from kobe.backtest import account, engine
from kobe.backtest.account import Terms
from kobe.backtest.costs import CostModel, CostRates, cost_schedule, flat_costs
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

LOANS = ((date(1990, 1, 2), 0.03), (date(2015, 2, 17), 0.25))  # the rate rises inside every market below


def costs_of(sec_fee: float, loans: tuple[tuple[date, float], ...] = LOANS) -> CostModel:
    rates = [
        CostRates(
            effective=since, slippage_bps=5, half_spread_bps=((0, 3),), sec_fee_per_million_usd=sec_fee,
            borrow_rate_annual=rate,
        )
        for since, rate in loans
    ]  # fmt: skip
    return cost_schedule(rates)


def market(rng: np.random.Generator, bars: int = 70, *, mortal: bool = False) -> Panel:
    """Six symbols on cents with halts inside, splits and dividends on the way; all but A and B end early if mortal."""
    made, losses = {}, []
    for name in "ABCDEF":
        walk = panels.random_walk(
            rng, bars, price=float(rng.uniform(6, 120)), volatility=float(rng.choice([0.01, 0.04]))
        )
        walk.raw_factor[:] = float(rng.choice([1.0, 1.0, 2.0]))
        if rng.random() < 0.4:
            walk.raw_factor[: int(rng.integers(1, bars))] *= float(rng.choice([2.0, 3.0, 4.0]))
        walk.volume[:] = rng.uniform(2e4, 3e6)
        kept = rng.random(bars) > 0.03
        kept[-4:] = True
        if mortal and name not in "AB":
            kept[int(rng.integers(30, bars - 1)) :] = False
        losses.append(float(rng.choice([np.nan, 0.0, 0.55, 0.9])))
        made[name] = walk.take(kept)
    panel = panels.panel(made, final_loss=np.array(losses))
    tape = np.where(rng.random(len(panel)) < 0.15, rng.uniform(0.01, 2.0, len(panel)).round(4), 0.0)
    return replace(panel, dividend=tape / panel.raw_factor)


def table_of(panel: Panel, rng: np.random.Generator, *, shorts: bool, share: float = 0.25) -> SignalTable:
    features = FeatureTable(panel)
    rows = np.flatnonzero((rng.random(len(panel)) < share) & (features.column("bars_seen") >= 20))
    n, atr = len(rows), features.column("atr", 14)[rows]
    side = np.where(rng.random(n) < (0.4 if shorts else 0.0), -1, 1).astype(np.int8)
    fixed = rng.random(n) < 0.4
    return SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=side,
        stop_distance=np.where(fixed, np.nan, 2 * atr),
        stop_level=np.where(fixed, panel.close[rows] - side * atr * rng.uniform(0.2, 2, n), np.nan),
        target_r=np.where(rng.random(n) < 0.5, rng.choice([0.5, 1.0], n), np.nan), atr=atr,
        score=rng.random(n).round(1),
        exit_mask=((rng.random(len(panel)) < 0.15) + 2 * (rng.random(len(panel)) < 0.15)).astype(np.uint8),
        max_gap_atr=2.0, hold_bars=5,
    )  # fmt: skip


def told_slowly(panel: Panel, table: SignalTable, terms: Terms, sec_fee: float):
    """Give the simulator the same bars and signals."""
    features = FeatureTable(panel)
    adv = features.column("adv_usd", 20)
    bars: dict[str, dict[int, Bar]] = {}
    exits = set()
    for k, (name, h) in enumerate(panels.histories(panel).items()):
        tape = panel.dividend[panel.offsets[k] : panel.offsets[k + 1]] * h.raw_factor
        columns = (h.session, h.open, h.high, h.low, h.close, h.raw_factor, tape)
        bars[name] = {
            int(s): Bar(open=o, high=hi, low=lo, close=c, factor=f, dividend=d)
            for s, o, hi, lo, c, f, d in zip(*(x.tolist() for x in columns), strict=True)
        }
    symbol = [panel.symbols[k] for k in panel.symbol_of_row]
    for row in np.flatnonzero(table.exit_mask):
        for side, bit in ((1, 1), (-1, 2)):
            if table.exit_mask[row] & bit:
                exits.add((symbol[row], int(panel.session[row]), side))

    def known(x: float) -> float | None:
        return None if np.isnan(x) else float(x)

    wishes = [
        Wish(
            number=i, symbol=symbol[row], session=int(panel.session[row]), side=int(table.side[i]),
            stop_distance=known(table.stop_distance[i]), stop_level=known(table.stop_level[i]),
            target_r=known(table.target_r[i]), atr=float(table.atr[i]), score=float(table.score[i]),
            adv_usd=float(adv[row]),
        )
        for i, row in enumerate(table.row)
    ]  # fmt: skip
    rules = Rules(
        cash=terms.cash_usd, risk_fraction=terms.risk_fraction, name_cap=terms.name_cap, slots=terms.max_positions,
        adv_share=terms.max_adv_share, slippage_bps=5, half_spread_bps=3, half_tick=0.005, sell_fee=sec_fee / 1e6,
        borrow=LOANS,
    )  # fmt: skip
    span = range(panel.first_session, panel.last_session + 1)
    losses = {s: float(x) for s, x in zip(panel.symbols, panel.final_loss, strict=True) if not np.isnan(x)}
    return simulate(bars, wishes, exits, rules, span, dates=panel.calendar.sessions, losses=losses)


def told_by_kobe(panel: Panel, table: SignalTable, terms: Terms, costs: CostModel):
    assumptions = engine.Assumptions(costs=costs, terms=terms)
    o = engine.evaluate(panel, FeatureTable(panel), table, assumptions)
    return o, engine.run_portfolio(panel, o, assumptions, panel.first_session, panel.last_session)


def compare(panel: Panel, table: SignalTable, terms: Terms, sec_fee: float):
    """Check kobe against the simulator and return both stories."""
    story = told_slowly(panel, table, terms, sec_fee)
    _, p = told_by_kobe(panel, table, terms, costs_of(sec_fee))
    np.testing.assert_allclose(p.equity_usd, story.equity, rtol=0, atol=0.005)
    assert set(p.offered.tolist()) == set(story.shares), "the same signals reached the account"
    shares = dict(zip(p.offered.tolist(), p.quantity.tolist(), strict=True))
    assert shares == pytest.approx(story.shares)
    words = {i: account.SKIPS[k] for i, k in zip(p.offered.tolist(), p.skipped.tolist(), strict=True)}
    assert {i: w for i, w in words.items() if w != "taken"} == story.skipped
    for got, wanted in ((p.net_usd, story.net), (p.dividends_usd, story.dividends), (p.borrow_usd, story.loans)):
        told = dict.fromkeys(story.shares, 0.0) | wanted
        assert dict(zip(p.offered.tolist(), got.tolist(), strict=True)) == pytest.approx(told, abs=0.005, nan_ok=True)
    return story, p


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 6), cash=st.sampled_from([200.0, 5_000.0, 1e6]))
def test_longs_on_random_markets_agree_with_the_event_simulator_to_the_cent(seed, slots, cash):
    rng = np.random.default_rng(seed)
    panel = market(rng)
    terms = Terms(cash, float(rng.choice([0.01, 0.05])), float(rng.choice([0.1, 0.5, 2.0])), slots, 0.01)
    story, p = compare(panel, table_of(panel, rng, shorts=False), terms, 20.6)
    assert min(story.cash) >= 0.0
    assert (p.equity_usd * (1 - p.exposure) >= -0.005).all(), "cash is never negative"
    assert max(map(len, story.held)) <= slots
    assert all(len(names) == len(set(names)) for names in story.held), "one position per symbol"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 4), cash=st.sampled_from([5_000.0, 50_000.0]))
def test_longs_and_shorts_agree_with_the_event_simulator_to_the_cent(seed, slots, cash):
    rng = np.random.default_rng(seed)
    panel = market(rng)
    terms = Terms(cash, 0.01, float(rng.choice([0.2, 0.6])), slots, 0.01)
    compare(panel, table_of(panel, rng, shorts=True), terms, float(rng.choice([0.0, 20.6])))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_symbols_that_end_while_they_are_held_agree_with_the_event_simulator_to_the_cent(seed):
    rng = np.random.default_rng(seed)
    panel = market(rng, mortal=True)
    compare(panel, table_of(panel, rng, shorts=True), Terms(50_000.0, 0.01, 0.2, 4, 0.01), 20.6)


YOUNG = {"sma_bars": 20, "min_history_bars": 20, "min_adv_usd": 0.0, "shorts": True}
EAGER = {
    "ibs_rsi": {**YOUNG, "ibs_max": 0.45, "rsi_max": 45.0},
    "turtle_soup": {**YOUNG, "lookback_bars": 10, "min_age_bars": 1, "min_depth_atr": 0.0, "sma_bars": 5},
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ibs_rsi", {}),
        ("ibs_rsi", {"exit_rule": "ibs"}),
        ("turtle_soup", {}),
        ("turtle_soup", {"stop_mode": "sweep"}),
    ],
)
def test_both_strategies_long_and_short_agree_with_the_event_simulator_to_the_cent(name, change):
    strategy = STRATEGIES[name]
    seen = {"long": 0, "short": 0, "paid": 0, "lent": 0, "written_off": 0}
    for seed in range(12):
        panel = market(np.random.default_rng(seed), 160, mortal=True)
        table = strategy.signals(panel, FeatureTable(panel), strategy.params(EAGER[name] | change))
        story, p = compare(panel, table, Terms(100_000.0, 0.01, 0.1, 4, 0.01), 20.6)
        bought = p.quantity > 0
        seen["long"] += int((bought & (table.side[p.offered] > 0)).sum())
        seen["short"] += int((bought & (table.side[p.offered] < 0)).sum())
        seen["paid"] += int((p.dividends_usd != 0).sum())
        seen["lent"] += int((p.borrow_usd > 0).sum())
        seen["written_off"] += len(story.written_off)
    assert min(seen.values()) > 0, seen


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), mortal=st.booleans())
def test_what_is_realised_and_what_is_not_add_up_to_the_change_of_equity_to_the_cent(seed, mortal):
    """FIFO identity (DOMAIN 2.2): no flow goes in or out, so every cent of the curve belongs to a trade."""
    rng = np.random.default_rng(seed)
    panel = market(rng, mortal=mortal)
    table = table_of(panel, rng, shorts=bool(seed % 2))
    o, p = told_by_kobe(panel, table, Terms(30_000.0, 0.02, 0.3, 4, 0.01), costs_of(20.6))
    o, w = o.take(p.offered), o.walked
    entered, still_held = w.entry_row[p.offered], np.isnan(p.net_usd)
    mark = panel.close[panel.offsets[o.symbol + 1] - 1]
    units = p.quantity * panel.raw_factor[entered]
    unrealised = o.side * units * (mark - o.entry_paid) + p.dividends_usd - p.borrow_usd
    assert not (still_held & o.closed).any()
    total = p.net_usd[~still_held].sum() + unrealised[still_held].sum()
    assert total == pytest.approx(p.equity_usd[-1] - 30_000.0, abs=0.005)
    assert p.net_usd[p.quantity == 0].tolist() == [0.0] * int((p.quantity == 0).sum())


def still(n: int, price: float = 50.0, **more) -> panels.History:
    return panels.of_closes([price] * n, **more)


def asks(panel: Panel, at: dict[str, list[int]], *, side: int = 1, distance: float = 5.0, score: float = 0.5):
    """Signals of symbols at bars, stops far away."""
    rows = np.array(sorted(panel[s].first_row + b for s, bars in at.items() for b in bars), dtype=np.int64)
    n = len(rows)
    return SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=np.full(n, side, np.int8),
        stop_distance=np.full(n, distance), stop_level=np.full(n, np.nan), target_r=np.full(n, np.nan),
        atr=np.full(n, 2.0), score=np.full(n, score), exit_mask=np.zeros(len(panel), np.uint8), max_gap_atr=2.0,
        hold_bars=5,
    )  # fmt: skip


def run(panel: Panel, table: SignalTable, terms: Terms, costs: CostModel | None = None):
    return told_by_kobe(panel, table, terms, costs or flat_costs(0.0))


@pytest.mark.parametrize(
    ("terms", "volume", "shares"),
    [
        (Terms(10_000.0, 0.01, 10.0, 5, 1.0), 1e6, 20),  # risk: 100 / 5
        (Terms(10_499.0, 0.01, 10.0, 5, 1.0), 1e6, 20),  # 20.998, never rounded up
        (Terms(10_000.0, 0.50, 0.10, 5, 1.0), 1e6, 20),  # name: 1000 / 50
        (Terms(10_000.0, 0.50, 10.0, 5, 1.0), 1e6, 200),  # cash: 10 000 / 50
        (Terms(10_000.0, 0.50, 10.0, 5, 0.01), 1200, 12),  # one per cent of the average volume
    ],
)
def test_the_quantity_is_the_least_of_risk_name_cash_and_volume_in_whole_shares(terms, volume, shares):
    panel = panels.panel({"A": still(40, volume=volume)})
    _, p = run(panel, asks(panel, {"A": [30]}), terms)
    assert p.quantity.tolist() == [shares]


def test_shares_are_counted_in_raw_dollars_and_not_in_adjusted_ones():
    """50 adjusted was 200 on the tape before a later 4:1 split; the stop is 20 raw dollars away."""
    panel = panels.panel({"A": still(40, raw_factor=4.0, volume=4e6)})
    _, p = run(panel, asks(panel, {"A": [30]}), Terms(10_000.0, 0.01, 10.0, 5, 1.0))
    assert p.quantity.tolist() == [5]


def test_size_comes_from_the_equity_of_the_close_before_and_not_of_the_fill_day():
    up = still(40)
    up.open[32:], up.high[32:], up.low[32:], up.close[32:] = 60.0, 60.0, 60.0, 60.0
    panel = panels.panel({"A": up, "B": still(40)})
    table = asks(panel, {"A": [30], "B": [31]})
    _, p = run(panel, table, Terms(10_000.0, 0.05, 10.0, 5, 1.0))
    # A: 100 shares at 50 on bar 31, worth 60 on bar 32, when B is filled: B must be sized on 10 000, not 11 000
    assert p.quantity.tolist() == [100.0, 100.0]
    assert p.equity_usd[32] == pytest.approx(11_000.0)


def test_slots_and_cash_run_out_by_rank_and_the_reason_is_kept():
    panel = panels.panel({s: still(40) for s in "ABCD"})
    table = asks(panel, {s: [30] for s in "ABCD"})
    table = replace(table, score=np.array([0.1, 0.9, 0.5, 0.7]))
    o, p = run(panel, table, Terms(10_000.0, 1.0, 0.5, 3, 1.0))
    assert [panel.symbols[k] for k in o.symbol[p.offered]] == ["B", "D", "C", "A"]
    assert p.quantity.tolist() == [100.0, 100.0, 0.0, 0.0]
    assert [account.SKIPS[k] for k in p.skipped] == ["taken", "taken", "no_cash", "no_cash"]
    _, p = run(panel, table, Terms(10_000.0, 1.0, 0.1, 3, 1.0))
    assert [account.SKIPS[k] for k in p.skipped] == ["taken", "taken", "taken", "no_slot"]


def test_equal_scores_go_by_liquidity_and_then_by_name():
    volumes = {"A": 1e6, "B": 3e6, "C": 1e6, "D": 2e6}
    panel = panels.panel({s: still(40, volume=v) for s, v in volumes.items()})
    o, p = run(panel, asks(panel, {s: [30] for s in "ABCD"}), Terms(10_000.0, 0.01, 0.1, 2, 1.0))
    assert [panel.symbols[k] for k in o.symbol[p.offered]] == ["B", "D", "A", "C"]


def test_a_symbol_is_held_once_and_may_be_bought_again_after_its_exit():
    panel = panels.panel({"A": still(60)})
    _, p = run(panel, asks(panel, {"A": [30, 32, 35, 36]}), Terms(10_000.0, 0.01, 1.0, 5, 1.0))
    # bars 31 to 35 by the time exit; the signal of bar 35 fills at the open of 36
    assert [account.SKIPS[k] for k in p.skipped] == ["taken", "symbol_held", "taken", "symbol_held"]


def test_an_order_below_one_share_is_not_rounded_up():
    panel = panels.panel({"A": still(40, price=500.0)})
    _, p = run(panel, asks(panel, {"A": [30]}), Terms(400.0, 1.0, 10.0, 5, 1.0))
    assert p.quantity.tolist() == [0.0]
    assert account.SKIPS[p.skipped[0]] == "no_cash"
    _, p = run(panel, asks(panel, {"A": [30]}, distance=150.0), Terms(10_000.0, 0.01, 10.0, 5, 1.0))
    assert (p.quantity.tolist(), account.SKIPS[p.skipped[0]]) == ([0.0], "below_one_share")


def test_idle_days_are_points_of_the_curve():
    panel = panels.panel({"A": still(40)})
    _, p = run(panel, asks(panel, {"A": []}), Terms(10_000.0, 0.01, 1.0, 5, 1.0))
    assert p.equity_usd.tolist() == [10_000.0] * 40
    assert p.returns.tolist() == [0.0] * 40


@pytest.mark.parametrize(
    ("shares_at_50", "fee"), [(1, 0.01), (9, 0.01), (10, 0.02), (100, 0.11)]  # 20.60 per million: 0.00103, 0.00927, ...
)  # fmt: skip
def test_the_fee_on_a_sale_is_rounded_up_to_the_cent(shares_at_50, fee):
    """10 * 50 * 20.60e-6 = 0.0103 is two cents."""
    model = replace(flat_costs(0.0), rates=(replace(flat_costs(0.0).rates[0], sec_fee_per_million_usd=20.60),))
    panel = panels.panel({"A": still(60)})
    _, p = run(panel, asks(panel, {"A": [30]}), Terms(shares_at_50 * 50.0, 1.0, 10.0, 5, 1.0), model)
    assert p.quantity.tolist() == [shares_at_50]
    assert p.net_usd[0] == pytest.approx(-fee, abs=1e-9)
    assert p.equity_usd[-1] == pytest.approx(shares_at_50 * 50.0 - fee, abs=1e-9)


@pytest.mark.parametrize("side", [1, -1])
def test_what_was_sold_short_does_not_pay_for_more_positions(side):
    """No leverage (DOMAIN 2.4): the account opens positions for its equity and not for several times that."""
    panel = panels.panel({s: still(60) for s in "ABCD"})
    table = asks(panel, {"A": [30], "B": [31], "C": [32], "D": [33]}, side=side)
    _, p = run(panel, table, Terms(10_000.0, 1.0, 1.0, 5, 1.0))
    assert p.exposure.max() <= 1.0 + 1e-9


@pytest.mark.parametrize(("side", "fee"), [(1, 1.00), (-1, 0.11)])
def test_the_fee_on_a_sale_has_the_rate_of_the_session_of_the_sale(side, fee):
    """5000 dollars change hands on bar 31 and again on bar 35; the rate goes up between. A short sells first."""
    panel = panels.panel({"A": still(60)})
    change = panel.calendar.sessions[int(panel["A"].session[33])]
    old = replace(flat_costs(0.0).rates[0], sec_fee_per_million_usd=20.60)
    model = cost_schedule([old, replace(old, effective=change, sec_fee_per_million_usd=200.0)])
    model = replace(model, least_half_spread_ticks=0.0)
    _, p = run(panel, asks(panel, {"A": [30]}, side=side), Terms(10_000.0, 0.05, 10.0, 5, 1.0), model)
    assert p.quantity.tolist() == [100.0]
    assert p.net_usd[0] == pytest.approx(-fee, abs=1e-9)
