"""How much of a result is the search's own doing: deflated Sharpe, overfitting probability, superior ability.

A Sharpe ratio here is per period of the returns given, not per year, because a test counts periods; `per_period` and
`per_period_variance` convert. What is undefined is NaN; what cannot be meant (NaN among the returns, half a trial)
is refused. DOMAIN 2.8 and 2.9 hold the figures the tests reproduce.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from kobe.backtest import metrics
from kobe.backtest.montecarlo import LEAST_BLOCK
from kobe.core.errors import ConfigError, DataError
from kobe.core.panel import Floats
from kobe.core.units import SESSIONS_PER_YEAR

EULER_GAMMA = 0.5772156649015329
MOST_BLOCKS = 20  # 184,756 splits; two more blocks are 3.8 times as many and tell nothing new
STEADY = 1e-12  # variance below this share of the mean square is the rounding of equal numbers
TIE_DIGITS = 12  # scores equal to so many decimals are ties: how sums round must not rank strategies
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What the Sharpe ratio's own uncertainty depends on.

    Attributes:
        sharpe: mean over standard deviation (ddof 1) per period; NaN without variation.
        skew: third standardised moment.
        kurtosis: fourth standardised moment, raw: 3 for a normal, not 0.
        periods: number of returns.
    """

    sharpe: float
    skew: float
    kurtosis: float
    periods: int

    def __post_init__(self) -> None:
        if self.periods < 0 or self.kurtosis < 1.0 + self.skew**2 - 1e-9:
            raise DataError(
                "no returns have these moments", seen=f"skew {self.skew:g}, kurtosis {self.kurtosis:g}",
                expected="raw kurtosis (normal: 3) of at least 1 + skew^2",
            )  # fmt: skip


def moments(returns: Floats) -> Moments:
    """Return the moments of a return series, idle days included.

    Args:
        returns: float64[n], fractions per period.

    Raises:
        DataError: a return is NaN or infinite.
    """
    _require_finite(returns)
    sharpe = metrics.sharpe(returns) / math.sqrt(SESSIONS_PER_YEAR)
    if math.isnan(sharpe):
        return Moments(sharpe=math.nan, skew=math.nan, kurtosis=math.nan, periods=len(returns))
    standard = (returns - returns.mean()) / returns.std()
    skew, kurtosis = float(np.mean(standard**3)), float(np.mean(standard**4))
    return Moments(sharpe=sharpe, skew=skew, kurtosis=kurtosis, periods=len(returns))


def per_period(annual_sharpe: float, periods_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Convert an annual Sharpe ratio to one per period."""
    return annual_sharpe / math.sqrt(periods_per_year)


def per_period_variance(annual_variance: float, periods_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Convert the variance of annual Sharpe ratios to that of ratios per period."""
    return annual_variance / periods_per_year


def probabilistic_sharpe(record: Floats | Moments, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark, allowing for skew and fat tails.

    Args:
        record: float64[n] returns, or their moments.
        benchmark: Sharpe ratio per period.

    Returns:
        A probability; NaN with fewer than two returns or no variation.

    Raises:
        DataError: a return is NaN or infinite.

    Source: Bailey and Lopez de Prado 2012.
    """
    m = _as_moments(record)
    spread = _sharpe_variance(m)
    if m.periods < 2 or not spread > 0.0:
        return math.nan
    return NORMAL.cdf((m.sharpe - benchmark) * math.sqrt((m.periods - 1) / spread))


def minimum_track_record(record: Floats | Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Return how many periods a record like this needs to show a Sharpe ratio above a benchmark.

    Args:
        record: float64[n] returns, or their moments; only the shape counts, not how many there are.
        benchmark: Sharpe ratio per period.
        confidence: the probability to reach.

    Returns:
        Whole periods; NaN when the record does not beat the benchmark, because then no length shows that it does.

    Raises:
        DataError: the confidence is not between one half and 1, or a return is NaN or infinite.

    Source: Bailey and Lopez de Prado 2012.
    """
    if not 0.5 < confidence < 1.0:
        raise DataError("a confidence is a probability above one half", seen=confidence, expected="such as 0.95")
    m = _as_moments(record)
    if not m.sharpe > benchmark:
        return math.nan
    z = NORMAL.inv_cdf(confidence) / (m.sharpe - benchmark)
    return float(math.ceil(1.0 + _sharpe_variance(m) * z * z))


def expected_maximum_sharpe(trials: float, trial_variance: float) -> float:
    """Return the best Sharpe ratio to expect from trials without any edge.

    Args:
        trials: how many independent trials; every configuration ever run counts, and an effective number may be a
            fraction. One trial is no search: 0.
        trial_variance: variance of the trials' Sharpe ratios, per period.

    Raises:
        DataError: fewer than one trial, or no variance that can be.

    Source: Bailey and Lopez de Prado 2014. Their approximation falls below 0 between one and two trials; here it
    stops at 0.
    """
    if not (1.0 <= trials < math.inf):
        raise DataError("a search has at least one trial", seen=trials, expected="every configuration ever run")
    if not (0.0 <= trial_variance < math.inf):
        raise DataError("the variance of the trials' Sharpe ratios is off", seen=trial_variance, expected="0 or more")
    if trials == 1.0:
        return 0.0
    usual, rare = NORMAL.inv_cdf(1.0 - 1.0 / trials), NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return max(0.0, math.sqrt(trial_variance) * ((1.0 - EULER_GAMMA) * usual + EULER_GAMMA * rare))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflatedSharpe:
    """A deflated Sharpe ratio beside everything it was made from; Sharpe ratios per period.

    Attributes:
        probability: that the true ratio is above what the search alone would have found; the DSR.
        benchmark: the best ratio to expect from these trials without any edge.
        record: moments of the record that was chosen.
        trials, trial_variance: as given.
    """

    probability: float
    benchmark: float
    record: Moments
    trials: float
    trial_variance: float


def deflated_sharpe(record: Floats | Moments, *, trials: float, trial_variance: float) -> DeflatedSharpe:
    """Judge the best of many trials against the best that chance would have shown.

    Args:
        record: float64[n] returns of the configuration chosen, or their moments.
        trials: effective number of independent trials; the caller knows what was tried.
        trial_variance: variance of the trials' Sharpe ratios, per period (`per_period_variance` converts).

    Raises:
        DataError: fewer than one trial, no variance that can be, or a return that is NaN or infinite.

    Source: Bailey and Lopez de Prado 2014.
    """
    m = _as_moments(record)
    benchmark = expected_maximum_sharpe(trials, trial_variance)
    return DeflatedSharpe(
        probability=probabilistic_sharpe(m, benchmark), benchmark=benchmark, record=m, trials=trials,
        trial_variance=trial_variance,
    )  # fmt: skip


def _as_moments(record: Floats | Moments) -> Moments:
    return record if isinstance(record, Moments) else moments(record)


def _sharpe_variance(m: Moments) -> float:
    """Variance of the estimated Sharpe ratio times periods - 1."""
    return 1.0 - m.skew * m.sharpe + (m.kurtosis - 1.0) / 4.0 * m.sharpe**2


def _require_finite(returns: Floats) -> None:
    bad = int(np.count_nonzero(~np.isfinite(returns)))
    if bad:
        raise DataError("returns hold numbers that are none", seen=f"{bad} NaN or infinite", expected="one per session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """How the strategy that was best in one half of the sessions did in the other half, over all ways to halve them.

    Attributes:
        probability: share of splits in which it was at or below the median (PBO).
        logits: float64[splits], log-odds of its relative rank in the other half; 0 is the median.
        loss_share: share of splits in which its Sharpe ratio in the other half was below 0.
        slope: of its Sharpe ratio in the other half on that in its own; NaN when the latter never varies.
        blocks, sessions, strategies: what it was made from.
    """

    probability: float
    logits: Floats
    loss_share: float
    slope: float
    blocks: int
    sessions: int
    strategies: int


def pbo(returns: Floats, *, blocks: int = 16) -> Overfitting:
    """Return the probability of backtest overfitting by combinatorially symmetric cross-validation.

    Every split takes half the blocks, in order, as the sample to choose in. A strategy without variation in a half
    scores 0 there. When several are best, the one that does worst in the other half counts; equal ranks share theirs.
    Where sessions do not divide by the number of blocks, blocks differ by one session, and none is left out.

    Args:
        returns: float64[sessions, strategies], daily returns of everything that was tried, idle days included.
        blocks: an even number; 16 makes 12,870 splits.

    Raises:
        DataError: NaN or infinite returns, one strategy, too few sessions, or a number of blocks that cannot be.

    Source: Bailey, Borwein, Lopez de Prado and Zhu 2017.
    """
    _check_trials(returns, blocks)
    inside = _half_sharpes(returns, blocks)
    outside = inside[::-1]  # the complement of the k-th choice of half the blocks is the k-th from the end
    chosen = inside.max(axis=1)
    later = np.where(inside == chosen[:, None], outside, np.inf).min(axis=1)
    below, equal = (outside < later[:, None]).sum(axis=1), (outside == later[:, None]).sum(axis=1)
    rank = (below + (equal + 1) / 2.0) / (returns.shape[1] + 1)
    logits: Floats = np.log(rank / (1.0 - rank))
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        loss_share=float(np.mean(later < 0.0)),
        slope=_slope(chosen, later),
        blocks=blocks,
        sessions=returns.shape[0],
        strategies=returns.shape[1],
    )


def _check_trials(returns: Floats, blocks: int) -> None:
    if blocks % 2 or not 2 <= blocks <= MOST_BLOCKS:
        raise DataError("blocks must halve", seen=blocks, expected=f"an even number from 2 to {MOST_BLOCKS}")
    if returns.ndim != 2 or returns.shape[1] < 2:
        seen = f"shape {returns.shape}"
        raise DataError("overfitting needs something to choose from", seen=seen, expected="two columns or more")
    if returns.shape[0] < 2 * blocks:
        raise DataError("too few sessions", seen=returns.shape[0], expected=f"two or more in each of {blocks} blocks")
    _require_finite(returns)


def _half_sharpes(returns: Floats, blocks: int) -> Floats:
    """Sharpe ratio per period of every strategy over every choice of half the blocks, float64[splits, strategies]."""
    borders = np.round(np.linspace(0, len(returns), blocks + 1)).astype(np.int64)
    sums = np.add.reduceat(returns, borders[:-1], axis=0)
    squares = np.add.reduceat(returns**2, borders[:-1], axis=0)
    picks = np.array(list(combinations(range(blocks), blocks // 2)))
    taken = np.zeros((len(picks), blocks))
    np.put_along_axis(taken, picks, 1.0, axis=1)
    n = (taken @ np.diff(borders))[:, None]
    mean, square = taken @ sums / n, taken @ squares / n
    variance = (square - mean**2) * n / (n - 1.0)
    spread = np.sqrt(np.where(variance > STEADY * square, variance, np.inf))
    return np.round(mean / spread, TIE_DIGITS)


def _slope(x: Floats, y: Floats) -> float:
    away = x - x.mean()
    square = float(away @ away)
    return float(away @ y) / square if square > 0.0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfittingRange:
    """The PBO over several placings of the block borders: one placing alone is a noisy figure."""

    mean: float
    low: float
    high: float
    each: tuple[float, ...]


def pbo_over_shifts(returns: Floats, *, blocks: int = 16, shifts: int = 8) -> OverfittingRange:
    """Return the PBO with the block borders moved on in equal steps of a part of a block.

    The first sessions follow the last ones in the block that reaches over the end, so that all borders see all
    sessions.

    Args:
        returns: float64[sessions, strategies], daily returns.
        blocks: as in `pbo`.
        shifts: how many placings.

    Raises:
        DataError: as `pbo`; fewer than one placing, or more than a block has sessions.
    """
    _check_trials(returns, blocks)
    length = len(returns) // blocks
    if not 1 <= shifts <= length:
        raise DataError("block borders cannot move so often", seen=shifts, expected=f"1 to {length} placings")
    steps = [k * length // shifts for k in range(shifts)]
    each = tuple(pbo(np.roll(returns, -step, axis=0), blocks=blocks).probability for step in steps)
    return OverfittingRange(mean=float(np.mean(each)), low=min(each), high=max(each), each=each)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperiorAbility:
    """P-values of "no model beats the benchmark"; small says that the best one does.

    Attributes:
        consistent: Hansen's SPA, the one to quote.
        lower, upper: its bounds, for models that are all poor and all relevant.
        reality_check: White's, without studentising; poor models in the set raise it.
        models, block_sessions, samples, seed: what they were made from.
    """

    consistent: float
    lower: float
    upper: float
    reality_check: float
    models: int
    block_sessions: int
    samples: int
    seed: int


def require_library() -> None:
    """Do nothing where the test of superior ability can run.

    Raises:
        ConfigError: the library `arch` is not installed.
    """
    try:
        import arch.bootstrap  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "the test of superior ability needs the library arch", seen="not installed",
            expected="the extra `research`", next_command="pip install 'kobe[research]'",
        ) from error  # fmt: skip


def superior_ability(
    benchmark: Floats, models: Floats, *, block_sessions: float, seed: int, samples: int = 1000
) -> SuperiorAbility:
    """Test whether any of many models beats a benchmark, knowing that many were tried.

    A model that never differs from the benchmark cannot beat it and is left out; with none left every p-value is 1.

    Args:
        benchmark: float64[n] daily returns; zeros for cash.
        models: float64[n, k] daily returns on the same sessions, everything that was tried.
        block_sessions: mean length of the stationary bootstrap's blocks (`montecarlo.block_length`), at least 5.
        seed: of the bootstrap.
        samples: of the bootstrap.

    Raises:
        ConfigError: the library `arch` is not installed.
        DataError: shapes that do not fit, NaN, or a model that differs from the benchmark by a constant.

    Source: Hansen 2005; White 2000; resampled by arch. Its own `studentize` divides by nothing in version 8, so each
    difference is divided by its standard deviation before it gets there.
    """
    require_library()
    from arch.bootstrap import SPA

    block = math.ceil(max(block_sessions, LEAST_BLOCK))
    gap = _gaps(benchmark, models)
    p = {"consistent": 1.0, "lower": 1.0, "upper": 1.0, "reality_check": 1.0}
    if gap.shape[1]:
        for scaled in (True, False):
            losses = -gap / np.sqrt(_variance_of_mean(gap, block)) if scaled else -gap
            test = SPA(np.zeros(len(gap)), losses, block_size=block, reps=samples, studentize=False, seed=seed)
            test.compute()
            found = {str(name): float(value) for name, value in test.pvalues.items()}
            p |= found if scaled else {"reality_check": found["upper"]}
    return SuperiorAbility(**p, models=models.shape[1], block_sessions=block, samples=samples, seed=seed)


def _gaps(benchmark: Floats, models: Floats) -> Floats:
    """Return what each model that is not the benchmark itself earns more than it."""
    if models.ndim != 2 or benchmark.shape != models.shape[:1] or len(benchmark) < 2 * LEAST_BLOCK:
        seen = f"benchmark {benchmark.shape}, models {models.shape}"
        raise DataError("benchmark and models do not fit", seen=seen, expected="n and n x k, n of 10 or more")
    _require_finite(benchmark)
    _require_finite(models)
    gap: Floats = models - benchmark[:, None]
    same = ~np.any(gap, axis=0)
    steady = ~same & (gap.var(axis=0) <= STEADY * np.mean(gap**2, axis=0))
    if np.any(steady):
        seen = f"column {int(np.argmax(steady))}"
        raise DataError("a model differs from the benchmark by a constant", seen=seen, expected="returns that vary")
    return gap[:, ~same]


def _variance_of_mean(gap: Floats, block: int) -> Floats:
    """Variance of each column's mean under the stationary bootstrap, times n, float64[k]; Politis and Romano 1994."""
    n = len(gap)
    power = np.abs(np.fft.rfft(gap - gap.mean(axis=0), 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(power, 2 * n, axis=0)[:n] / n
    lag, stays = np.arange(1, n), 1.0 - 1.0 / block
    weight = (1.0 - lag / n) * stays**lag + lag / n * stays ** (n - lag)
    result: Floats = np.maximum(covariance[0] + 2.0 * weight @ covariance[1:], STEADY * covariance[0])
    return result
