"""Multiple testing to the figures of DOMAIN 2.8 and 2.9, against arch, and by what must hold whatever the numbers."""

import math
import sys
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kobe.backtest import metrics, montecarlo, overfit
from kobe.backtest.overfit import Moments
from kobe.core.errors import ConfigError, DataError

PAPER = Moments(sharpe=overfit.per_period(2.5, 250), skew=-3.0, kurtosis=10.0, periods=1250)
PAPER_VARIANCE = overfit.per_period_variance(0.5, 250)


def noise(seed: int, sessions: int = 1000, strategies: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (sessions, strategies))


def with_edge(returns: np.ndarray, column: int = 7) -> np.ndarray:
    """Fifteen basis points a day for one of them."""
    changed = returns.copy()
    changed[:, column] += 0.0015
    return changed


# --- Sharpe ratios ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trials", "probability"), [(100, 0.900397), (46, 0.950502)])
def test_the_paper_s_example_of_a_deflated_sharpe_ratio(trials, probability):
    found = overfit.deflated_sharpe(PAPER, trials=trials, trial_variance=PAPER_VARIANCE)
    assert found.probability == pytest.approx(probability, abs=5e-7)
    assert (found.record, found.trials, found.trial_variance) == (PAPER, trials, PAPER_VARIANCE)


def test_the_paper_s_benchmark_of_a_hundred_trials():
    assert overfit.expected_maximum_sharpe(100, PAPER_VARIANCE) == pytest.approx(0.113172, abs=5e-7)


def test_a_record_that_passes_the_usual_gate_fails_the_deflated_one():
    record = Moments(sharpe=overfit.per_period(1.2), skew=-0.5, kurtosis=6.0, periods=2268)
    found = overfit.deflated_sharpe(record, trials=48, trial_variance=overfit.per_period_variance(0.25))
    assert found.probability == pytest.approx(0.581, abs=5e-4)


def test_a_sharpe_ratio_of_one_needs_708_days():
    record = Moments(sharpe=overfit.per_period(1.0), skew=-0.5, kurtosis=6.0, periods=0)
    assert overfit.minimum_track_record(record) == 708


@given(sharpe=st.floats(0.01, 0.3), skew=st.floats(-2, 2), fat=st.floats(0.5, 20), confidence=st.floats(0.6, 0.999))
def test_the_least_track_record_is_the_first_that_reaches_the_confidence(sharpe, skew, fat, confidence):
    shape = {"sharpe": sharpe, "skew": skew, "kurtosis": 1.0 + skew**2 + fat}
    least = int(overfit.minimum_track_record(Moments(**shape, periods=0), confidence=confidence))
    reached = [overfit.probabilistic_sharpe(Moments(**shape, periods=n)) for n in (least, least - 1)]
    assert reached[0] >= confidence - 1e-9
    assert least < 3 or reached[1] < confidence + 1e-9


def test_moments_are_those_of_scipy_with_raw_kurtosis():
    returns = np.random.default_rng(3).standard_t(5, 700) * 0.01 + 0.0005
    m = overfit.moments(returns)
    assert m.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1), rel=1e-12)
    assert m.sharpe * math.sqrt(252) == pytest.approx(metrics.sharpe(returns), rel=1e-12)
    assert m.skew == pytest.approx(stats.skew(returns), rel=1e-9)
    assert m.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)
    assert overfit.probabilistic_sharpe(returns) == overfit.probabilistic_sharpe(m)


def test_one_trial_is_no_search_and_more_trials_deflate_more():
    assert overfit.expected_maximum_sharpe(1, 0.01) == 0.0
    found = [overfit.expected_maximum_sharpe(n, 0.01) for n in (1, 1.01, 1.5, 2, 3, 10, 1000, 1e9)]
    assert all(a <= b for a, b in pairwise(found))
    alone = overfit.deflated_sharpe(PAPER, trials=1, trial_variance=PAPER_VARIANCE)
    assert alone.probability == overfit.probabilistic_sharpe(PAPER)


def test_the_expected_maximum_is_what_simulated_trials_show():
    best = np.random.default_rng(5).normal(0.0, 0.1, (20_000, 48)).max(axis=1).mean()
    assert overfit.expected_maximum_sharpe(48, 0.01) == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize(("days", "chance"), [(63, 0.31), (252, 0.16), (504, 0.079), (1260, 0.013), (2268, 0.0013)])
def test_how_often_no_edge_at_all_shows_a_sharpe_ratio_above_one(days, chance):
    lucky = Moments(sharpe=overfit.per_period(1.0), skew=0.0, kurtosis=3.0, periods=days)
    assert 1.0 - overfit.probabilistic_sharpe(lucky) == pytest.approx(chance, rel=0.06)  # two digits


@pytest.mark.parametrize(("trades", "chance", "within"), [(30, 0.194, 0.008), (100, 0.055, 0.005)])
def test_how_often_no_edge_at_all_shows_a_profit_factor_above_one_and_a_half(trades, chance, within):
    results = np.random.default_rng(11).normal(size=(20_000, trades))
    factors = np.array([metrics.profit_factor(r) for r in results])
    assert np.mean(factors > 1.5) == pytest.approx(chance, abs=within)


def test_what_no_record_can_show_is_nan():
    for returns in (np.zeros(0), np.array([0.01]), np.zeros(50), np.full(50, 0.001)):
        assert math.isnan(overfit.probabilistic_sharpe(returns))
        assert math.isnan(overfit.minimum_track_record(returns))
        assert math.isnan(overfit.deflated_sharpe(returns, trials=5, trial_variance=0.01).probability)
    assert math.isnan(overfit.minimum_track_record(PAPER, benchmark=PAPER.sharpe))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: overfit.moments(np.array([0.01, np.nan, 0.02])),
        lambda: overfit.moments(np.array([0.01, np.inf])),
        lambda: Moments(sharpe=0.1, skew=-0.5, kurtosis=0.0, periods=100),  # excess kurtosis by mistake
        lambda: overfit.minimum_track_record(PAPER, confidence=95.0),
        lambda: overfit.expected_maximum_sharpe(0, 0.01),
        lambda: overfit.expected_maximum_sharpe(math.nan, 0.01),
        lambda: overfit.expected_maximum_sharpe(5, -0.01),
        lambda: overfit.expected_maximum_sharpe(5, math.nan),
    ],
)
def test_what_cannot_be_meant_is_refused(ask):
    with pytest.raises(DataError, match="seen"):
        ask()


# --- probability of overfitting ---------------------------------------------------------------------------------


def slow_pbo(returns: np.ndarray, blocks: int) -> list[float]:
    """The logits by the paper's words: cut, join, rank."""
    parts = np.split(returns, blocks)
    found = []
    for inside in combinations(range(blocks), blocks // 2):
        outside = [k for k in range(blocks) if k not in inside]
        halves = [np.concatenate([parts[k] for k in half]) for half in (inside, outside)]
        first, second = (half.mean(axis=0) / half.std(axis=0, ddof=1) for half in halves)
        rank = stats.rankdata(second)[int(np.argmax(first))] / (returns.shape[1] + 1)
        found.append(math.log(rank / (1 - rank)))
    return found


@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_the_logits_are_those_of_the_paper_s_procedure(blocks):
    returns = noise(1, 160, 9)
    np.testing.assert_allclose(overfit.pbo(returns, blocks=blocks).logits, slow_pbo(returns, blocks), atol=1e-12)


def test_on_noise_half_of_all_choices_are_overfitted_and_an_edge_is_seen():
    """Mean over 40 seeds .47, a single one anywhere: the figures of DOMAIN 2.9."""
    of_noise = [overfit.pbo(noise(seed), blocks=10).probability for seed in range(40)]
    of_edge = [overfit.pbo(with_edge(noise(seed)), blocks=10).probability for seed in range(40)]
    assert np.mean(of_noise) == pytest.approx(0.47, abs=0.02)
    assert np.std(of_noise) == pytest.approx(0.18, abs=0.02)
    assert np.mean(of_edge) < 0.12
    assert np.median(of_edge) < 0.10


def test_shifted_borders_say_how_noisy_one_figure_is():
    spread = overfit.pbo_over_shifts(noise(0), blocks=10, shifts=5)
    assert spread.each[0] == overfit.pbo(noise(0), blocks=10).probability
    assert spread.low == min(spread.each) < spread.mean < max(spread.each) == spread.high
    assert len(set(spread.each)) == 5
    assert overfit.pbo_over_shifts(with_edge(noise(0)), blocks=10, shifts=5).high < 0.25


def test_sixteen_blocks_make_12870_splits_and_a_real_edge_keeps_its_sign():
    found = overfit.pbo(with_edge(noise(3, 2268, 36)))
    assert len(found.logits) == 12_870
    assert (found.blocks, found.sessions, found.strategies) == (16, 2268, 36)
    assert found.loss_share < 0.05
    assert found.probability == np.mean(found.logits <= 0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), sessions=st.integers(16, 90), strategies=st.integers(2, 6))
def test_the_order_of_strategies_changes_nothing_even_with_ties_and_idle_ones(seed, sessions, strategies):
    rng = np.random.default_rng(seed)
    returns = rng.choice([-0.01, 0.0, 0.01], (sessions, strategies), p=(0.2, 0.6, 0.2))
    returns[:, 0] = 0.0
    doubled = np.column_stack((returns, returns[:, -1]))
    shuffled = doubled[:, rng.permutation(strategies + 1)]
    one, other = overfit.pbo(doubled, blocks=4), overfit.pbo(shuffled, blocks=4)
    np.testing.assert_array_equal(one.logits, other.logits)
    assert (one.probability, one.loss_share) == (other.probability, other.loss_share)
    assert np.isfinite(one.logits).all()


def test_of_several_best_the_one_that_does_worst_later_counts():
    """In the first half A and B are idle and C loses; later A loses less than B, and C wins."""
    a, b, c = (np.zeros(8) for _ in range(3))
    a[4:], b[4:] = [-0.01, 0.0, -0.01, 0.0], [-0.02, -0.01, -0.02, -0.01]
    c[:4], c[4:] = [-0.01, 0.0, -0.02, 0.0], [0.01, 0.02, 0.01, 0.0]
    found = overfit.pbo(np.column_stack((a, b, c)), blocks=2)
    np.testing.assert_allclose(found.logits, [math.log((1 / 4) / (3 / 4)), math.log((1 / 4) / (3 / 4))])
    assert (found.probability, found.loss_share) == (1.0, 1.0)


def test_halves_score_by_the_sharpe_ratio_also_where_blocks_differ_by_a_session():
    returns = noise(8, 43, 3)
    scores = overfit._half_sharpes(returns, 4)
    borders = [0, 11, 22, 32, 43]
    for got, picked in zip(scores, combinations(range(4), 2), strict=True):
        half = np.concatenate([returns[borders[k] : borders[k + 1]] for k in picked])
        np.testing.assert_allclose(got, half.mean(axis=0) / half.std(axis=0, ddof=1), atol=1e-12)


def test_copies_of_a_strategy_score_alike_wherever_they_stand():
    returns = noise(4, 2268, 37)
    returns[:, -1] = returns[:, 0]
    scores = overfit._half_sharpes(returns, 16)
    np.testing.assert_array_equal(scores[:, 0], scores[:, -1])


def test_equal_strategies_sit_at_the_median_and_there_the_choice_is_overfitted():
    same = np.tile(noise(2, 64, 1), (1, 4))
    found = overfit.pbo(same, blocks=4)
    assert found.probability == 1.0
    assert np.all(found.logits == 0.0)
    idle = overfit.pbo(np.zeros((64, 3)), blocks=4)
    assert (idle.probability, idle.loss_share) == (1.0, 0.0)
    assert math.isnan(idle.slope)


@pytest.mark.parametrize(
    ("returns", "blocks"),
    [
        (noise(1, 100, 1), 4),
        (noise(1, 100, 3)[:, 0], 4),
        (noise(1, 7, 3), 4),
        (noise(1, 100, 3), 5),
        (noise(1, 100, 3), 0),
        (noise(1, 100, 3), 22),
        (np.where(noise(1, 100, 3) > 0.02, np.nan, 0.0), 4),
    ],
)
def test_a_matrix_that_cannot_be_halved_is_refused(returns, blocks):
    with pytest.raises(DataError, match="expected"):
        overfit.pbo(returns, blocks=blocks)


@pytest.mark.parametrize("shifts", [0, 26])
def test_borders_move_at_least_once_and_at_most_by_single_sessions(shifts):
    with pytest.raises(DataError, match="1 to 25"):
        overfit.pbo_over_shifts(noise(1, 100, 3), blocks=4, shifts=shifts)


# --- superior ability -------------------------------------------------------------------------------------------


def naive_p(returns: np.ndarray) -> float:
    return float(stats.ttest_1samp(returns, 0.0, alternative="greater").pvalue.min())


def test_superior_ability_separates_an_edge_from_the_luckiest_of_fifty():
    returns, cash = noise(1), np.zeros(1000)
    lucky = overfit.superior_ability(cash, returns, block_sessions=5, seed=1)
    skilled = overfit.superior_ability(cash, with_edge(returns), block_sessions=5, seed=1)
    assert naive_p(returns) < 0.05  # the trap
    assert lucky.consistent > 0.3
    assert skilled.consistent <= 0.01
    assert skilled.reality_check <= 0.01
    assert lucky.lower <= lucky.consistent <= lucky.upper
    assert (lucky.models, lucky.block_sessions, lucky.samples) == (50, 5, 1000)


def test_a_poor_model_in_the_set_misleads_the_reality_check_more_than_hansen_s_test():
    """White's test gives way to models nobody would pick; the studentised, recentred one hardly does."""
    rng = np.random.default_rng(4)
    good = rng.normal(0.0010, 0.01, (750, 1))
    poor = rng.normal(-0.02, 0.08, (750, 20))
    found = overfit.superior_ability(np.zeros(750), np.hstack((good, poor)), block_sessions=5, seed=1)
    assert found.consistent < 0.05 < found.reality_check


def test_the_reality_check_looks_at_the_largest_mean_and_the_studentised_test_at_the_surest():
    """A steady model is sure to earn a little; a wild one has the larger mean, which is luck."""
    rng = np.random.default_rng(6)
    steady, wild = rng.normal(0.0005, 0.002, 750), rng.normal(0.0, 0.05, 750)
    wild += 0.001 - wild.mean()
    found = overfit.superior_ability(np.zeros(750), np.column_stack((steady, wild)), block_sessions=5, seed=1)
    assert found.upper < 0.01
    assert found.reality_check > 0.2


def test_the_variance_of_a_mean_is_what_resampling_shows():
    gap = np.column_stack([autoregressive(phi, 300, 5) for phi in (0.0, 0.6, -0.3)])
    rng = np.random.default_rng(1)
    means = [gap[montecarlo.stationary_indices(300, 8, rng)].mean(axis=0) for _ in range(4000)]
    np.testing.assert_allclose(overfit._variance_of_mean(gap, 8), 300 * np.var(means, axis=0), rtol=0.08)


def test_the_same_seed_gives_the_same_digits_and_blocks_are_at_least_five():
    asked = [overfit.superior_ability(np.zeros(300), noise(2, 300, 4), block_sessions=1.0, seed=9) for _ in range(2)]
    assert asked[0] == asked[1]
    assert asked[0].block_sessions == 5


def test_a_model_that_is_the_benchmark_counts_as_tried_and_cannot_win():
    returns = noise(6, 200, 3)
    alone = overfit.superior_ability(returns[:, 0], returns[:, [0, 0]], block_sessions=5, seed=1)
    assert (alone.consistent, alone.reality_check, alone.models) == (1.0, 1.0, 2)
    beside = overfit.superior_ability(returns[:, 0], returns, block_sessions=5, seed=1)
    assert beside.consistent == overfit.superior_ability(
        returns[:, 0], returns[:, 1:], block_sessions=5, seed=1
    ).consistent  # fmt: skip


@pytest.mark.parametrize(
    ("benchmark", "models"),
    [
        (np.zeros(50), noise(1, 49, 2)),
        (np.zeros(50), noise(1, 50, 2)[:, 0]),
        (np.zeros(9), noise(1, 9, 2)),
        (np.full(50, np.nan), noise(1, 50, 2)),
        (np.zeros(50), np.full((50, 2), 0.001)),
    ],
)
def test_a_benchmark_that_does_not_fit_is_refused(benchmark, models):
    with pytest.raises(DataError):
        overfit.superior_ability(benchmark, models, block_sessions=5, seed=1)


def test_without_the_library_the_error_names_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    with pytest.raises(ConfigError, match=r"pip install 'kobe\[research\]'"):
        overfit.superior_ability(np.zeros(50), noise(1, 50, 2), block_sessions=5, seed=1)


# --- block length -----------------------------------------------------------------------------------------------


def autoregressive(phi: float, n: int, seed: int) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(0.0, 0.01, n)
    series = shocks.copy()
    for t in range(1, n):
        series[t] += phi * series[t - 1]
    return series
