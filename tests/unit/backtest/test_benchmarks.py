"""Market and universe held, to the digit by hand; random entries are fair on noise and beaten by an edge."""

import math
from dataclasses import replace

import numpy as np
import pytest
from kit import panels
from scipy import stats

from kobe.backtest import benchmarks, engine, metrics, walk_forward
from kobe.backtest.costs import flat_costs, no_costs
from kobe.backtest.folds import folds
from kobe.core.errors import DataError, MissingDataError
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import tradable

FREE = engine.Assumptions(costs=no_costs())
TEN_BPS = engine.Assumptions(costs=flat_costs(10.0), delisting_haircut=0.3)
YOUNG = {"sma_bars": 20, "min_history_bars": 40, "min_adv_usd": 0.0}


# --- held -------------------------------------------------------------------------------------------------------


def bars(closes, opens=None) -> panels.History:
    c = np.asarray(closes, dtype=float)
    o = c if opens is None else np.asarray(opens, dtype=float)
    return panels.history(open=o, high=np.maximum(o, c), low=np.minimum(o, c), close=c)


def test_the_market_is_bought_once_at_the_first_open_with_costs_and_held():
    spy = bars([100, 102, 101, 105, 103], opens=[99, 100, 101, 102, 104]).take([0, 1, 2, 4])  # no bar in session 3
    panel = panels.panel({"AAA": bars([10, 11, 12, 13, 14]), "SPY": spy})
    first = panel.first_session + 1
    got = benchmarks.hold_market(panel, FeatureTable(panel), first, panel.last_session, TEN_BPS)
    np.testing.assert_allclose(got, [102 / (100 * 1.001) - 1, 101 / 102 - 1, 0.0, 103 / 101 - 1], rtol=1e-12)
    free = benchmarks.hold_market(panel, FeatureTable(panel), first, panel.last_session, FREE)
    assert np.prod(1 + free) == pytest.approx(103 / 100, rel=1e-12)


def test_the_universe_is_equal_dollars_in_what_was_known_and_tradable_and_drifts():
    symbols = {
        "AAA": bars([10, 10, 20, 10]),
        "BBB": bars([50, 50, 50, 100]),
        "CCC": bars([5, 5, 500, 5000]),  # not in the universe the session before
        "DDD": bars([7, 7, 70, 700]).take(slice(1, None)),  # listed on the day
        "EEE": bars([9, 9, 90, 900]).take([0, 2, 3]),  # no bar to buy at
    }
    panel = panels.panel(symbols)
    pool = panel.symbol_of_row != 2
    first = panel.first_session + 1
    got = benchmarks.hold_universe(panel, FeatureTable(panel), pool, first, panel.last_session, FREE)
    np.testing.assert_allclose(np.cumprod(1 + got), [1.0, (2 + 1) / 2, (1 + 2) / 2], rtol=1e-12)


def test_dividends_after_the_purchase_stay_in_cash_and_those_of_its_own_ex_date_are_the_sellers():
    panel = panels.panel({"AAA": bars([10, 10, 9, 9, 18]), "BBB": bars([20, 20, 20, 20, 20])})
    paid = np.zeros(10)
    paid[[1, 2, 4, 8]] = [5.0, 1.0, 2.0, 4.0]  # AAA on sessions 1, 2 and 4; BBB on session 3
    panel = replace(panel, dividend=paid)
    first = panel.first_session + 1
    pool = np.ones(len(panel), dtype=bool)
    got = benchmarks.hold_universe(panel, FeatureTable(panel), pool, first, panel.last_session, FREE)
    aaa, bbb = np.array([10, 9 + 1, 9 + 1, 18 + 3]) / 10, np.array([20, 20, 24, 24]) / 20
    np.testing.assert_allclose(np.cumprod(1 + got), (aaa + bbb) / 2, rtol=1e-12)


@pytest.mark.parametrize(("told", "left"), [(math.nan, 0.7), (0.55, 0.45), (-0.2, 1.2)])
def test_what_stops_trading_is_written_off_when_the_account_does_and_stays_in_cash(told, left):
    lasting, gone = bars([10.0] * 12), bars([10.0, 10.0, 8.0])
    panel = panels.panel({"AAA": lasting, "BBB": gone}, final_loss=np.array([math.nan, told]))
    first = panel.first_session + 1
    got = benchmarks.hold_universe(
        panel, FeatureTable(panel), np.ones(len(panel), dtype=bool), first, panel.last_session, TEN_BPS
    )
    equity = np.cumprod(1 + got) * 2 * 1.001
    wanted = [2.0] + [1.8] * 5 + [1 + 0.8 * left] * 5  # last bar in session 2, gone in session 7
    np.testing.assert_allclose(equity, wanted, rtol=1e-12)


def test_nothing_to_hold_is_refused():
    panel = panels.panel({"AAA": bars([10.0] * 5), "SPY": bars([10.0] * 3)})
    features, none = FeatureTable(panel), np.zeros(len(panel), dtype=bool)
    with pytest.raises(DataError, match="no bar on"):
        benchmarks.hold_universe(panel, features, none, panel.first_session + 1, panel.last_session, FREE)
    with pytest.raises(DataError, match="no bar on"):
        benchmarks.hold_market(panel, features, panel.last_session, panel.last_session, FREE)
    with pytest.raises(MissingDataError, match="unknown symbol"):
        benchmarks.hold_market(panel, FeatureTable(panel, "QQQ"), panel.first_session, panel.last_session, FREE)


# --- random entries ---------------------------------------------------------------------------------------------


def walks(seed: int, symbols: int = 16, length: int = 200) -> Panel:
    rng = np.random.default_rng(seed)
    return panels.panel({f"S{k:02d}": panels.random_walk(rng, length) for k in range(symbols)})


def signals_of(panel: Panel, name: str = "ibs_rsi", **changes) -> SignalTable:
    strategy = STRATEGIES[name]
    return strategy.signals(panel, FeatureTable(panel), strategy.params({**YOUNG, **changes}))


def chosen(table: SignalTable, panel: Panel, rows: np.ndarray) -> SignalTable:
    """Signals of some rows with two ATR of stop; no exit before the fifth bar."""
    rows = np.sort(rows)
    atr, n = FeatureTable(panel).column("atr", 14)[rows], len(rows)
    return replace(
        table, row=rows, side=np.ones(n, np.int8), stop_distance=2 * atr, stop_level=np.full(n, np.nan),
        target_r=np.full(n, np.nan), atr=atr, score=np.full(n, 0.5), exit_mask=np.zeros(len(panel), np.uint8),
    )  # fmt: skip


def compared(panel: Panel, tables, assumptions=FREE, **asked) -> benchmarks.RandomEntry:
    span = (panel.first_session, panel.last_session)
    return benchmarks.random_entry(panel, FeatureTable(panel), tables, *span, assumptions, **{"seed": 7, **asked})


@pytest.mark.parametrize("change", [{}, {"stop_mode": "sweep"}])
def test_a_draw_keeps_the_session_and_the_trade_s_frame_and_takes_different_tradable_rows(change):
    panel = walks(1, symbols=30)
    features = FeatureTable(panel)
    table = signals_of(panel, "turtle_soup", min_depth_atr=0.0, lookback_bars=10, **change)
    pool = tradable(features, STRATEGIES["turtle_soup"].params(YOUNG))
    urn, rng = benchmarks._urn(panel, features, table), np.random.default_rng(1)
    moved = 0
    for _ in range(20):
        drawn = benchmarks._redrawn(panel, urn, rng)
        assert pool[drawn.row].all()
        assert len(np.unique(drawn.row)) == len(drawn) == len(table)
        assert np.all(np.diff(drawn.row) > 0)
        np.testing.assert_array_equal(np.sort(panel.session[drawn.row]), np.sort(panel.session[table.row]))
        np.testing.assert_array_equal(drawn.atr, features.column("atr", 14)[drawn.row])
        np.testing.assert_array_equal(np.sort(drawn.score), np.sort(table.score))
        np.testing.assert_array_equal(drawn.target_r, table.target_r)
        np.testing.assert_array_equal(drawn.exit_mask, table.exit_mask)
        moved += int((~np.isin(drawn.row, table.row)).sum())
        if not change:
            np.testing.assert_allclose(drawn.stop_distance, 2.0 * drawn.atr, rtol=1e-12)
            continue
        depth = (panel.close[drawn.row] - drawn.stop_level) / drawn.atr
        wanted = (panel.close[table.row] - table.stop_level) / table.atr
        np.testing.assert_allclose(np.sort(depth), np.sort(wanted), rtol=1e-9)
    assert moved > 10 * len(table)


def test_every_tradable_row_of_the_session_is_as_likely_as_any_other():
    """Three of eight, 20,000 times: counts, pairs, and repeats from one draw to the next are those of chance."""
    rows, start, size, count = np.arange(8), np.array([0]), np.array([8]), np.array([3])
    rng, n = np.random.default_rng(2), 20_000
    drawn = np.array([benchmarks._draw(rows, start, size, count, rng.random(3)) for _ in range(n)])
    assert stats.chisquare(np.bincount(drawn[:, 0], minlength=8)).pvalue > 0.001
    assert stats.chisquare(np.bincount(drawn[:, 2], minlength=8)).pvalue > 0.001
    both = (np.any(drawn == 1, axis=1) & np.any(drawn == 6, axis=1)).mean()
    assert both == pytest.approx(3 / 8 * 2 / 7, abs=0.008)
    for place in range(3):
        assert (drawn[1:, place] == drawn[:-1, place]).mean() == pytest.approx(1 / 8, abs=0.008)


def test_a_strategy_that_takes_every_row_is_its_own_benchmark():
    panel = walks(3, symbols=6, length=80)
    pool = tradable(FeatureTable(panel), STRATEGIES["ibs_rsi"].params(YOUNG))
    found = compared(panel, [chosen(signals_of(panel), panel, np.flatnonzero(pool))], TEN_BPS, draws=9)
    np.testing.assert_allclose(found.drawn_mean_r, found.mean_r, rtol=1e-12)
    assert (found.p_mean_r, found.p_sharpe) == (1.0, 1.0)


def test_a_second_signal_in_a_symbol_that_is_held_does_not_count():
    panel = walks(3, symbols=6, length=80)
    rows = np.array([50, 51, 52, 130, 140])
    found = compared(panel, [chosen(signals_of(panel), panel, rows)], draws=2)
    assert found.mean_r == compared(panel, [chosen(signals_of(panel), panel, rows[[0, 3, 4]])], draws=2).mean_r


def next_five(panel: Panel) -> np.ndarray:
    """What five bars from the next open will bring, in ATR; NaN where that is not known."""
    out = np.full(len(panel), np.nan)
    gain = panel.close[5:] - panel.open[1:-4]
    same = panel.symbol_of_row[5:] == panel.symbol_of_row[:-5]
    out[:-5] = np.where(same, gain, np.nan) / FeatureTable(panel).column("atr", 14)[:-5]
    return out


def test_knowing_which_symbol_will_rise_beats_every_draw():
    panel = walks(4, symbols=20)
    pool = tradable(FeatureTable(panel), STRATEGIES["ibs_rsi"].params(YOUNG))
    future = np.where(pool, next_five(panel), np.nan)
    sessions = np.unique(panel.session[~np.isnan(future)])
    best = [np.nanargmax(np.where(panel.session == s, future, np.nan)) for s in sessions[::5]]
    found = compared(panel, [chosen(signals_of(panel), panel, np.array(best))], draws=99)
    assert (found.p_mean_r, found.p_sharpe) == (0.01, 0.01)


def test_knowing_on_which_days_the_market_will_rise_is_worth_nothing_here():
    panel = walks(4, symbols=60)
    future = next_five(panel)
    future[~tradable(FeatureTable(panel), STRATEGIES["ibs_rsi"].params(YOUNG))] = np.nan
    rng = np.random.default_rng(1)
    sessions = np.unique(panel.session[~np.isnan(future)])
    average = np.array([np.nanmean(future[panel.session == s]) for s in sessions])
    rising = sessions[average > np.quantile(average, 0.8)]
    rows = [rng.choice(np.flatnonzero((panel.session == s) & ~np.isnan(future)), 8, replace=False) for s in rising]
    timed = compared(panel, [chosen(signals_of(panel), panel, np.concatenate(rows))], draws=99)
    assert timed.mean_r > 0.1
    assert 0.05 < timed.p_mean_r < 0.95
    assert abs(timed.excess_t) < 2.5


@pytest.fixture(scope="module")
def without_edge() -> np.ndarray:
    """Both p-values and the clustered excess of two strategies over 60 driftless worlds, with costs."""
    found = []
    for seed in range(60):
        panel = walks(1000 + seed)
        name, changes = (("ibs_rsi", {}), ("turtle_soup", {"min_depth_atr": 0.0, "lookback_bars": 6}))[seed % 2]
        result = compared(panel, [signals_of(panel, name, **changes)], TEN_BPS, seed=seed, draws=39)
        found.append((result.p_mean_r, result.p_sharpe, result.excess_t))
    return np.array(found)


def test_without_an_edge_p_is_uniform_and_the_excess_is_not_significant(without_edge):
    for p in without_edge[:, :2].T:
        assert stats.kstest(p, "uniform").pvalue > 0.01
        assert np.mean(p <= 0.05) <= 0.12
        assert 0.4 < p.mean() < 0.6
    t = without_edge[:, 2]
    assert abs(t.mean()) < 0.4
    assert np.mean(t > 1.645) <= 0.12


def test_picks_that_share_their_fate_fool_the_p_value_and_not_the_clustered_statistic():
    """Two sectors of ten; each session five picks of one of them, by chance. No edge, and the draws look tame."""
    z, t = [], []
    for seed in range(25):
        rng = np.random.default_rng(300 + seed)
        sectors = [np.cumsum(rng.normal(0, 0.02, 160)) for _ in range(2)]
        own = [np.cumsum(rng.normal(0, 0.004, 160)) for _ in range(20)]
        panel = panels.panel({f"S{k:02d}": bars(50 * np.exp(sectors[k // 10] + own[k])) for k in range(20)})
        rows = []
        for s in range(50, 150, 6):
            first = 10 * int(rng.integers(0, 2))
            rows += [160 * k + s for k in range(first, first + 5)]
        found = compared(panel, [chosen(signals_of(panel), panel, np.array(rows))], draws=49)
        z.append((found.mean_r - found.drawn_mean_r.mean()) / found.drawn_mean_r.std())
        t.append(found.excess_t)
    assert np.std(z) > 1.5
    assert 0.6 < np.std(t) < 1.5


def test_a_planted_reversal_is_found(calendar):
    bars_ = synthetic_market(SyntheticSpec(symbols=60, years=4, reversal=1.3), calendar)
    panel = panel_from(bars_, calendar, Provenance(source="synthetic"))
    found = compared(panel, [signals_of(panel, min_history_bars=250, sma_bars=200)], TEN_BPS, draws=99)
    assert found.p_mean_r == 0.01
    assert found.p_sharpe <= 0.05
    assert found.excess_t > 3


def test_the_same_seed_gives_the_same_digits_and_more_draws_begin_with_the_same_ones():
    panel = walks(5)
    tables = [signals_of(panel)]
    ten, again, twenty = (compared(panel, tables, draws=n) for n in (10, 10, 20))
    np.testing.assert_array_equal(ten.drawn_mean_r, again.drawn_mean_r)
    np.testing.assert_array_equal(ten.drawn_sharpe, twenty.drawn_sharpe[:10])
    assert not np.array_equal(ten.drawn_mean_r, compared(panel, tables, draws=10, seed=8).drawn_mean_r)


def test_the_tables_of_a_walk_forward_are_its_out_of_sample_record():
    panel = walks(6, symbols=12, length=600)
    features, strategy = FeatureTable(panel), STRATEGIES["ibs_rsi"]
    windows = folds(panel.first_session + 40, panel.last_session, train=189, test=63)
    record = walk_forward.run(
        panel, features, strategy, strategy.params(YOUNG), windows, TEN_BPS,
        choice=walk_forward.Choice(plateau=-9.0, least_trades=5),
    )  # fmt: skip
    tables = benchmarks.tables_of(panel, features, strategy, record.splits)
    assert len(tables) > 1
    rows = np.concatenate([t.row for t in tables])
    np.testing.assert_array_equal(np.sort(rows), np.sort(record.outcomes.row))
    span = (windows[0].test_first, windows[-1].test_last)
    found = benchmarks.random_entry(panel, features, tables, *span, TEN_BPS, seed=1, draws=5)
    assert found.sharpe == metrics.sharpe(record.portfolio.returns)
    assert found.signals == len(record.outcomes)
    assert np.any(np.diff(rows) < 0)
    o = record.outcomes.take(np.argsort(record.outcomes.row))
    alone = engine.one_per_symbol(o)
    assert found.mean_r == o.net_r[alone & o.closed].mean()


@pytest.mark.parametrize(
    ("figure", "drawn", "p"),
    [
        (1.0, [0.0, 0.5, 2.0], 0.5),
        (1.0, [1.0, 1.0, 1.0], 1.0),
        (1.0, [1.0 - 1e-15, 0.0, 0.0], 0.5),  # the same trades summed in another order
        (1.0, [math.nan, 0.0, 0.0], 0.5),
        (3.0, [0.0] * 199, 0.005),
    ],
)
def test_the_p_value_counts_the_strategy_itself_and_ties_against_it(figure, drawn, p):
    assert benchmarks.p_value(figure, np.array(drawn)) == pytest.approx(p, abs=1e-12)
    assert math.isnan(benchmarks.p_value(math.nan, np.array(drawn)))


def test_what_cannot_be_drawn_is_refused():
    panel = walks(7, symbols=3)
    table = signals_of(panel)
    with pytest.raises(DataError, match="nothing to draw"):
        compared(panel, [table], draws=0)
    with pytest.raises(DataError, match="nothing to draw"):
        compared(panel, [])
    expensive = replace(table, params={**table.params, "min_price_usd": 1e9})
    with pytest.raises(DataError, match="1 signals, 0 rows"):
        compared(panel, [expensive])
