"""Stress: the facts are the printed ones, gaps go through stops, intraday lows trigger them, and nothing is lost."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.bars import panel_of

from kobe.backtest import stress
from kobe.backtest.exposure import UNKNOWN_DAILY_VOLATILITY, exposures
from kobe.backtest.scenarios import HALT_SLIP, SCENARIOS, MarketDay, gap, path_of_bars, straight_path
from kobe.backtest.stress import Book, Holding
from kobe.core.errors import DataError
from kobe.core.types import Side

BLACK_MONDAY, COVID = SCENARIOS["black_monday"], SCENARIOS["covid"]
FLASH, VOLATILITY = SCENARIOS["flash_crash"], SCENARIOS["volatility_doubling"]


def held(symbol="A", side=Side.LONG, shares=100.0, price=50.0, stop=None, **other) -> Holding:
    facts = {"beta": 1.0, "own_volatility": 0.0, **other}
    return Holding(symbol=symbol, side=side, shares=shares, price=price, stop=stop, **facts)


def run(scenario, *holdings, cash=10_000.0, draws=20):
    return stress.apply(Book(holdings=holdings, cash_usd=cash), scenario, seed=81, draws=draws)


@pytest.mark.parametrize(
    ("scenario", "fact", "change"),
    [("black_monday", 0, -0.2047), ("black_monday", 1, -0.2261), ("covid", 0, -0.3392), ("flash_crash", 0, -0.0919),
     ("flash_crash", 1, -0.0320), ("volatility_doubling", 0, 1.15598)],
)  # fmt: skip
def test_every_fact_is_the_checked_figure(scenario, fact, change):
    assert SCENARIOS[scenario].facts[fact].change == pytest.approx(change, abs=6e-5)


def test_the_covid_path_has_the_sessions_of_the_calendar_and_ends_where_the_index_did(calendar):
    first, last = COVID.span
    assert (first, last) == (date(2020, 2, 19), date(2020, 3, 23))
    assert len(COVID.days) == calendar.number(last) - calendar.number(first) == 23
    assert np.prod([1.0 + d.close for d in COVID.days]) == pytest.approx(2237.40 / 3386.15, rel=1e-12)
    assert set(COVID.halts) <= set(calendar.between(first, last))


def test_a_stop_does_not_cap_a_gap():
    kept, stopped = run(BLACK_MONDAY, held()), run(BLACK_MONDAY, held(stop=49.0))
    shocked = 50.0 * (1.0 + BLACK_MONDAY.days[0].open)
    assert stopped.holdings[0].price_after == kept.holdings[0].price_after == pytest.approx(shocked, abs=1e-12)
    assert (stopped.stops_hit, kept.stops_hit) == (1, 0)
    assert stopped.loss_usd == pytest.approx(100 * 50.0 * 0.20467, abs=0.01)
    assert stopped.equity_after_usd == pytest.approx(15_000 - stopped.loss_usd, abs=1e-9)


def test_the_low_of_a_day_triggers_stops_though_the_close_recovers():
    found = run(FLASH, held(stop=47.0), held("B", stop=44.0), held("C"))
    low, close = 50.0 * (1.0 + FLASH.days[0].low), 50.0 * (1.0 + FLASH.days[0].close)
    assert found.holdings[0].price_after == pytest.approx(47.0 + HALT_SLIP * (low - 47.0), abs=1e-9)
    assert found.holdings[0].price_after < close
    assert [h.stopped_on for h in found.holdings] == [1, None, None]  # 44 lies under the low of 45.41
    assert found.holdings[2].price_after == pytest.approx(close, abs=1e-9)
    assert found.worst_usd == pytest.approx(10_000 + 100 * (found.holdings[0].price_after + 2 * low), abs=1e-6)


def test_without_a_slip_a_stop_inside_the_day_fills_at_the_stop():
    calm = replace(FLASH, days=(replace(FLASH.days[0], stop_slip=0.0),))
    assert run(calm, held(stop=47.0)).holdings[0].price_after == 47.0


def test_a_path_is_walked_day_by_day_and_a_stop_ends_it_on_its_day():
    found = run(COVID, held(stop=45.0), held("B"))
    step = (2237.40 / 3386.15) ** (1 / 23)
    day = int(np.ceil(np.log(0.9) / np.log(step)))
    assert found.holdings[0].stopped_on == day
    assert found.holdings[0].price_after == pytest.approx(50.0 * step**day, abs=1e-9)
    assert found.holdings[1].price_after == pytest.approx(50.0 * 2237.40 / 3386.15, abs=1e-9)
    assert found.sessions == 23


def test_a_short_gains_in_a_crash_loses_in_a_rally_and_its_stop_is_above():
    assert run(BLACK_MONDAY, held(side=Side.SHORT, stop=52.0)).loss_usd == pytest.approx(-1023.35, abs=0.01)
    rally = replace(BLACK_MONDAY, days=(gap(0.2047),))
    found = run(rally, held(side=Side.SHORT, stop=52.0))
    assert found.stops_hit == 1
    assert found.holdings[0].price_after == pytest.approx(60.235, abs=1e-9)
    inside = replace(BLACK_MONDAY, days=(MarketDay(open=0.0, low=0.0, high=0.2, close=0.0, stop_slip=0.5),))
    assert run(inside, held(side=Side.SHORT, stop=52.0)).holdings[0].price_after == pytest.approx(56.0, abs=1e-9)


def test_the_shock_is_scaled_by_beta_and_a_price_never_falls_below_zero():
    assert run(BLACK_MONDAY, held(beta=0.5)).loss_usd == pytest.approx(5000 * 0.20467 / 2, abs=0.01)
    assert run(BLACK_MONDAY, held(beta=9.0)).holdings[0].price_after == 0.0


def test_the_maintenance_margin_is_a_quarter_for_longs_and_three_tenths_for_shorts():
    """A long of 5,000 on a loan of 2,900 falls to 3,976.65: equity 1,076.65 against 994.16; a little more and not."""
    assert run(BLACK_MONDAY, held(), cash=-2900.0).survives
    called = run(BLACK_MONDAY, held(), cash=-3000.0)
    assert not called.survives
    worth = 5000 * 224.84 / 282.70
    assert called.deficit_usd == pytest.approx(0.25 * worth - (worth - 3000.0), abs=1e-6)
    rally = replace(BLACK_MONDAY, days=(gap(0.2),))
    assert run(rally, held(side=Side.SHORT), cash=7_800.0 + 1e-6).survives  # 6,000 short wants 1,800 over it
    assert not run(rally, held(side=Side.SHORT), cash=7_800.0 - 1e-6).survives
    assert run(rally, held(side=Side.SHORT), cash=7_799.0).deficit_usd == pytest.approx(1.0, abs=1e-9)


def test_a_stop_that_fills_frees_its_margin():
    assert run(BLACK_MONDAY, held(stop=48.0), cash=-3000.0).survives


def test_doubling_volatility_doubles_the_moves_and_triples_the_spread():
    base = replace(VOLATILITY, volatility_factor=1.0, spread_factor=1.0)
    holding = held(own_volatility=0.02)
    assert run(VOLATILITY, holding, draws=999).loss_usd == pytest.approx(2 * run(base, holding, draws=999).loss_usd)
    wide = run(VOLATILITY, held(half_spread=0.001))
    assert wide.loss_usd == pytest.approx(5000 * 0.001 * 2, abs=1e-9)  # marked two half-spreads lower than usual
    crash = replace(BLACK_MONDAY, spread_factor=3.0)
    filled = run(crash, held(half_spread=0.001, stop=49.0)).holdings[0].price_after
    assert filled == pytest.approx(50.0 * (224.84 / 282.70) * 0.997, abs=1e-9)


def test_the_own_moves_of_two_holdings_correlate_at_four_fifths_and_two_lots_of_one_symbol_are_one():
    book = Book(
        holdings=(held("A", own_volatility=0.02), held("B", own_volatility=0.03), held("A", own_volatility=0.02)),
        cash_usd=0.0,
    )
    own = stress._own_moves(book, VOLATILITY, 20_000, 1, 81)[:, 0, :]
    assert np.corrcoef(own[:, 0], own[:, 1])[0, 1] == pytest.approx(0.8, abs=0.01)
    assert own.std(axis=0) == pytest.approx([0.04, 0.06, 0.04], rel=0.02)
    assert np.array_equal(own[:, 0], own[:, 2])
    assert np.array_equal(own, stress._own_moves(book, VOLATILITY, 20_000, 1, 81)[:, 0, :])


def test_one_draw_in_twenty_is_worse_than_the_reported_one():
    from scipy.stats import norm

    found = run(VOLATILITY, held(own_volatility=0.02), draws=4000)
    assert found.loss_usd == pytest.approx(5000 * 0.04 * norm.ppf(0.95), rel=0.06)
    assert found.median_loss_usd == pytest.approx(0.0, abs=12.0)


holdings = st.lists(
    st.builds(
        held,
        symbol=st.sampled_from(["A", "B", "C"]), side=st.sampled_from(list(Side)), shares=st.integers(1, 500),
        price=st.floats(5, 200), stop=st.none() | st.floats(3, 250), beta=st.floats(-0.5, 2.5),
        own_volatility=st.floats(0, 0.05), half_spread=st.floats(0, 0.002),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(holdings, st.sampled_from(sorted(SCENARIOS)), st.floats(-5_000, 50_000))
def test_what_the_holdings_lost_is_what_the_book_lost(positions, name, cash):
    found = run(SCENARIOS[name], *positions, cash=cash)
    assert found.loss_usd == pytest.approx(sum(h.loss_usd for h in found.holdings), abs=1e-6)
    assert found.equity_before_usd - found.loss_usd == pytest.approx(found.equity_after_usd, abs=1e-6)
    assert found.worst_usd <= found.equity_after_usd + 1e-9
    assert found.survives == (found.worst_usd > 0 and found.deficit_usd == 0)
    assert all(h.holding.stop is not None for h in found.holdings if h.stopped_on)
    assert repr(found) == repr(run(SCENARIOS[name], *positions, cash=cash))  # NaN stays NaN


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(10, 100), st.floats(0, 2), st.floats(0, 0.03)), min_size=1, max_size=4),
    st.floats(-0.9, 0.2), st.floats(0, 0.3), st.floats(-9_000, 1_000), st.sampled_from(list(Side)),
)  # fmt: skip
def test_a_deeper_shock_never_lets_a_book_without_stops_survive_more_often(facts, shock, more, cash, side):
    positions = [
        held(f"S{k}", side=side, price=p, beta=b, own_volatility=v) for k, (p, b, v) in enumerate(facts)
    ]  # fmt: skip
    sign = 1 if side is Side.LONG else -1
    mild, deep = (
        run(replace(BLACK_MONDAY, days=(gap(max(sign * s, -1.0)),)), *positions, cash=cash, draws=50)
        for s in (shock, shock - more)
    )
    assert deep.loss_usd >= mild.loss_usd - 1e-6
    assert deep.survival.count <= mild.survival.count
    assert mild.survives or not deep.survives


def test_recorded_bars_give_the_path_with_halts_that_slip():
    bars = np.array([[100, 101, 99, 100.0], [95, 96, 90, 92.0], [93, 99, 92, 98.0]])
    first, second = path_of_bars(bars, np.array([True, False]))
    assert (first.open, first.low, first.close, first.stop_slip) == pytest.approx((-0.05, -0.10, -0.08, HALT_SLIP))
    assert (second.high, second.stop_slip) == pytest.approx((99 / 92 - 1, 0.0))
    path = replace(COVID, days=(first, second))
    assert run(path, held(stop=48.0, price=50.0)).holdings[0].price_after == pytest.approx(47.5)
    assert run(path, held(stop=47.0, price=50.0)).holdings[0].price_after == pytest.approx(46.0)  # half way to 45
    assert len(straight_path(-0.3392, 23)) == 23


def test_what_cannot_be_stressed_is_refused():
    with pytest.raises(DataError, match="nothing is held"):
        run(BLACK_MONDAY)
    with pytest.raises(DataError, match="cannot be used"):
        held(price=float("nan"))
    with pytest.raises(DataError, match="out of order"):
        MarketDay(open=0.0, low=0.1, high=0.2, close=0.1)


def test_the_exposure_is_the_regression_on_the_market_over_the_last_year():
    from scipy.stats import linregress

    rng = np.random.default_rng(4)
    market = rng.normal(0.0003, 0.01, 400)
    stock = 1.4 * market + rng.normal(0.0, 0.02, 400)
    closes = {"SPY": 100 * np.cumprod(1 + market), "X": 50 * np.cumprod(1 + stock), "NEW": np.full(59, 10.0)}
    panel = panel_of(
        {s: {"open": c, "high": c * 1.01, "low": c * 0.99, "close": c} for s, c in closes.items()},
        {"NEW": range(341, 400)},
    )
    found = exposures(panel, ["X", "NEW", "GONE", "SPY"], "SPY")
    x, y = (closes[s][-253:][1:] / closes[s][-253:][:-1] - 1.0 for s in ("SPY", "X"))
    oracle = linregress(x, y)
    assert found["X"].sessions == 252
    assert found["X"].beta == pytest.approx(oracle.slope, rel=1e-9)
    residual = y - oracle.slope * x - oracle.intercept
    assert found["X"].own_volatility == pytest.approx(np.sqrt(np.sum(residual**2) / 250), rel=1e-9)
    assert found["SPY"].beta == pytest.approx(1.0, abs=1e-12)
    for unknown in ("NEW", "GONE"):
        assert (found[unknown].beta, found[unknown].own_volatility) == (1.0, UNKNOWN_DAILY_VOLATILITY)
        assert not found[unknown].is_measured
    assert exposures(panel, ["X"], "GONE")["X"].beta == 1.0
