"""Monte Carlo: any sharding gives the same digits, tails are exact, and what breaks up bad runs understates them."""

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.backtest import metrics, montecarlo
from kobe.backtest.montecarlo import join, simulate, simulate_trades, summarise, summarise_trades
from kobe.backtest.tail import conditional_value_at_risk, tail_of, value_at_risk
from kobe.core.errors import DataError

FIXTURE = np.array([
    -.031, .012, .004, -.008, .015, -.022, .007, .009, -.014, .003, .018, -.005, -.041, .011, .002, .006, -.010, .013,
    -.002, .008,
])  # fmt: skip
NOISE = np.random.default_rng(3).normal(0.0004, 0.012, 400)
some_returns = st.lists(st.floats(-0.9, 0.9, allow_nan=False), min_size=1, max_size=60).map(np.array)
M64 = (1 << 64) - 1


def autoregressive(seed: int, n: int = 2268, phi: float = 0.25) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(0.0, 0.007, n)
    for t in range(1, n):
        shocks[t] += phi * shocks[t - 1]
    return shocks - shocks.mean() + 0.0004


def mixed(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & M64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & M64
    return word ^ (word >> 31)


def path_of_days(n: int, path: int, horizon: int, seed: int, block: float) -> list[int]:
    """Which days a path of the stationary bootstrap is made of, in whole numbers and without numba."""
    gamma = 0x9E3779B97F4A7C15
    key = mixed(mixed((seed + gamma) & M64) ^ mixed((path * gamma + 1) & M64))
    days: list[int] = []
    for t in range(horizon):
        coin, start = (mixed((key + (2 * t + k + 1) * gamma) & M64) >> 32 for k in (0, 1))
        fresh = not days or coin < round(2**32 / block)
        days.append(start * n >> 32 if fresh else (days[-1] + 1) % n)
    return days


def test_the_tail_fixture_gives_the_printed_figures():
    assert value_at_risk(FIXTURE) == pytest.approx(0.041, abs=1e-12)
    assert conditional_value_at_risk(FIXTURE) == pytest.approx(0.041, abs=1e-12)
    assert conditional_value_at_risk(FIXTURE, 0.10) == pytest.approx(0.036, abs=1e-12)
    assert -np.quantile(FIXTURE, 0.05) == pytest.approx(0.0315, abs=5e-5)  # the interpolated one is another number


def test_the_observation_on_the_border_counts_by_the_part_inside_the_tail():
    assert conditional_value_at_risk(np.array([-0.10, -0.04, 0.0, 0.01]), 0.375) == pytest.approx(0.08, abs=1e-12)


@given(some_returns, st.floats(0.01, 0.99))
def test_the_mean_beyond_the_quantile_is_never_milder_and_minimises_the_rockafellar_uryasev_objective(returns, tail):
    var, cvar = value_at_risk(returns, tail), conditional_value_at_risk(returns, tail)
    assert cvar >= var
    objective = [c + np.maximum(-returns - c, 0.0).mean() / tail for c in -returns]
    assert cvar == pytest.approx(min(objective), abs=1e-9)


def test_the_error_of_a_five_percent_tail_of_ten_thousand_is_the_printed_one():
    found = tail_of(np.random.default_rng(1).normal(size=10_000))
    assert found.probability_error == pytest.approx(0.0022, abs=5e-5)
    low, high = found.value_at_risk_interval
    assert low < found.value_at_risk < high
    assert low < 1.6449 < high
    assert math.isnan(tail_of(np.zeros(0)).value_at_risk)


def test_every_path_is_what_whole_numbers_say_it_is():
    found = simulate(NOISE, 41, 47, horizon=130, seed=81, block=7.5)
    for k, path in enumerate(range(41, 47)):
        mine = NOISE[path_of_days(len(NOISE), path, 130, 81, 7.5)]
        equity = np.cumprod(1.0 + mine)
        assert found.final[k] == pytest.approx(equity[-1], rel=1e-13)
        assert found.depth[k] == pytest.approx(-metrics.max_drawdown(mine), abs=1e-13)
        assert found.worst_day[k] == pytest.approx(mine.min(), abs=1e-15)
        assert found.ruined[k] == (equity.min() <= 0.5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 59), max_size=6), st.sampled_from(["blocks", "independent", "permuted"]),
    st.integers(0, 2**62),
)  # fmt: skip
def test_shards_join_to_the_same_digits_however_they_are_cut(cuts, scheme, seed):
    def shard(first, last):
        return simulate(NOISE, first, last, horizon=50, seed=seed, scheme=scheme)

    borders = [0, *sorted(set(cuts)), 60]
    parts = [shard(a, b) for a, b in pairwise(borders)]
    assert summarise(parts[::-1]) == summarise([shard(0, 60)])


def test_two_threads_give_the_digits_of_one():
    def shard(border):
        return simulate(NOISE, *border, horizon=252, seed=5)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(shard, [(0, 700), (700, 2000)]))
    assert summarise(together) == summarise([shard((0, 2000))])


def test_another_process_gives_the_digits_of_this_one():
    """A fresh interpreter, as a worker of a cluster is; it finds the same paths whatever it did before."""
    shard = partial(simulate, NOISE, horizon=252, seed=5)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        away = pool.submit(shard, 300, 500).result()
    assert summarise([shard(0, 300), away]) == summarise([shard(0, 500)])


def test_a_longer_path_begins_like_the_shorter_one():
    short, long = (simulate(NOISE, 0, 200, horizon=h, seed=9) for h in (60, 120))
    assert np.all(long.depth >= short.depth)
    assert np.all(long.worst_day <= short.worst_day)
    assert np.all(short.ruined <= long.ruined)


def test_shards_that_do_not_tile_are_refused():
    a, b = simulate(NOISE, 0, 5, horizon=20, seed=1), simulate(NOISE, 6, 9, horizon=20, seed=1)
    with pytest.raises(ValueError, match="do not tile"):
        join([a, b])
    with pytest.raises(ValueError, match="do not tile"):
        join([a, simulate(NOISE, 5, 9, horizon=21, seed=1)])


def test_what_cannot_be_resampled_is_refused_with_what_was_seen():
    with pytest.raises(DataError, match="1 values"):
        simulate(np.array([0.1]), 0, 1, horizon=5, seed=1)
    with pytest.raises(DataError, match="no NaN"):
        simulate(np.array([0.1, np.nan]), 0, 1, horizon=5, seed=1)
    with pytest.raises(DataError, match="1 to 400"):
        simulate(NOISE, 0, 1, horizon=401, seed=1, scheme="permuted")
    with pytest.raises(DataError, match="0 results"):
        simulate_trades(np.zeros(0), np.zeros(0, np.int32), 0, 1, draws=5, seed=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_single_days_understate_the_drawdown_of_a_series_with_runs_and_permuting_understates_it_more(seed):
    """DOMAIN 7's example with phi .25: blocks of ten, single days, permutation, in this order."""
    record = autoregressive(seed)
    deep = {}
    for scheme in ("blocks", "independent", "permuted"):
        found = summarise([simulate(record, 0, 4000, horizon=len(record), seed=81, scheme=scheme)])
        deep[scheme] = dict(found.depths)[95]
        assert found.horizon.conditional_value_at_risk >= found.horizon.value_at_risk
    assert deep["blocks"] > 1.1 * deep["independent"]
    assert deep["independent"] > deep["permuted"]


def test_permuting_keeps_the_final_equity_so_its_chance_of_profit_says_nothing():
    found = simulate(NOISE, 0, 300, horizon=len(NOISE), seed=1, scheme="permuted")
    assert np.ptp(found.final) < 1e-9
    assert found.final[0] == pytest.approx(np.prod(1.0 + NOISE), rel=1e-9)
    assert set(found.worst_day) == {NOISE.min() + 1.0 - 1.0}


def test_the_distribution_is_numpy_s_within_monte_carlo_error():
    """The same bootstrap written with numpy's generator: every quantile of the two differs by chance only."""
    rng = np.random.default_rng(11)
    theirs = np.array([
        np.prod(1.0 + NOISE[montecarlo.stationary_indices(len(NOISE), 10.0, rng)[:100]]) for _ in range(4000)
    ])  # fmt: skip
    ours = simulate(NOISE, 0, 4000, horizon=100, seed=7).final
    from scipy.stats import ks_2samp

    assert ks_2samp(ours, theirs).pvalue > 0.001


def test_ruin_is_counted_at_its_level_and_stays_when_the_path_recovers():
    half_then_back = np.array([-0.5, 1.5])
    found = simulate(half_then_back, 0, 50, horizon=2, seed=4, scheme="permuted")
    assert found.final == pytest.approx(1.25)
    never = simulate(half_then_back, 0, 50, horizon=2, seed=4, scheme="permuted", ruin_loss=0.5000001)
    first_down = simulate(half_then_back, 0, 50, horizon=1, seed=4, scheme="permuted").final < 1.0
    assert 0 < first_down.sum() < 50
    assert np.array_equal(found.ruined, first_down)
    assert not never.ruined.any()


def test_a_loss_of_more_than_all_ends_a_path_for_good():
    found = simulate(np.array([-1.4, 0.1]), 0, 200, horizon=30, seed=2)
    assert found.final.min() == 0.0
    assert found.depth.max() == 1.0
    assert found.ruined[found.final == 0.0].all()


def test_the_shares_carry_wilson_s_interval():
    from statsmodels.stats.proportion import proportion_confint

    found = summarise([simulate(NOISE, 0, 1000, horizon=60, seed=1)])
    for share in (found.profit, found.ruin):
        expected = proportion_confint(share.count, share.n, method="wilson")
        assert share.interval == pytest.approx(expected, abs=1e-12)


def test_trades_of_one_date_stay_together():
    dates = np.array([5, 9, 5, 9, 5], dtype=np.int32)
    found = simulate_trades(np.array([1.0, -2.0, 1.0, -1.0, 1.0]), dates, 0, 500, draws=1, seed=3)
    assert set(zip(found.earned_r.tolist(), found.trades.tolist(), strict=True)) == {(3.0, 3), (-3.0, 2)}
    assert set(found.depth_r.tolist()) == {0.0, 3.0}
    told = summarise_trades(found)
    assert told.profit.share == pytest.approx(0.5, abs=0.08)
    assert told.interval_r == (-3.0, 3.0)


def test_trades_that_come_in_clusters_vary_more_than_the_same_trades_one_by_one():
    rng = np.random.default_rng(8)
    shared = np.repeat(rng.normal(size=60), 5) + rng.normal(0.0, 0.2, 300)
    clustered = simulate_trades(shared, np.repeat(np.arange(60), 5).astype(np.int32), 0, 3000, draws=60, seed=1)
    alone = simulate_trades(shared, np.arange(300, dtype=np.int32), 0, 3000, draws=300, seed=1)
    assert clustered.earned_r.std() > 1.8 * alone.earned_r.std()


@pytest.mark.parametrize("phi", [-0.2, 0.0, 0.4, 0.8])
def test_the_block_length_is_arch_s(phi):
    from arch.bootstrap import optimal_block_length

    for seed, n in ((1, 60), (2, 504), (3, 2268)):
        record = autoregressive(seed, n, phi)
        expected = float(optimal_block_length(record)["stationary"].iloc[0])
        assert montecarlo.block_length(record) == pytest.approx(max(expected, 5.0), rel=1e-9)
    assert montecarlo.block_length(np.zeros(300)) == 5.0


def test_longer_dependence_gives_longer_blocks():
    def autoregressive(phi: float, seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0.0, 0.01, 1000)
        for t in range(1, 1000):
            noise[t] += phi * noise[t - 1]
        return noise

    lengths = [np.mean([montecarlo.block_length(autoregressive(p, k)) for k in range(10)]) for p in (0.0, 0.5, 0.9)]
    assert lengths[0] < lengths[1] < lengths[2]


def test_resampled_dates_are_gathered_whole_as_a_plain_loop_does():
    rng = np.random.default_rng(3)
    values, dates = rng.normal(size=60), rng.integers(0, 20, 60).astype(np.int32)
    groups = [values[dates == d] for d in np.unique(dates)]
    picks = np.random.default_rng(5).integers(0, len(groups), size=(200, len(groups)))
    drawn = [float(np.concatenate([groups[k] for k in pick]).mean()) for pick in picks]
    expected = np.quantile(drawn, [0.025, 0.975])
    found = montecarlo.clustered_interval(values, dates, lambda v: float(v.mean()), seed=5, samples=200)
    assert found == pytest.approx(tuple(expected), rel=1e-12)
