"""Resampling: how far a figure could have come out otherwise. Seeded; the same seed gives the same digits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kobe.backtest import paths
from kobe.backtest.tail import TAIL, Tail, tail_of
from kobe.core.errors import DataError
from kobe.core.intervals import wilson_interval
from kobe.core.panel import Floats, Ints

Statistic = Callable[[Floats], float]
LEAST_BLOCK = 5  # the holding horizon: shorter blocks would tear trades apart
RUIN_LOSS = 0.5  # half the equity gone: few people trade a rule past that (DOMAIN 7)
DEPTH_PERCENTILES = (50, 90, 95, 99)
_COLUMNS = ("final", "depth", "worst_day", "ruined")


def stationary_indices(n: int, block: float, rng: np.random.Generator) -> Ints:
    """Indices of one stationary-bootstrap sample of length n: blocks of geometric length, mean `block`, circular.

    Source: Politis and Romano 1994.
    """
    fresh = rng.random(n) < 1.0 / block
    fresh[0] = True
    starts = rng.integers(0, n, size=n)
    begun = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    result: Ints = (starts[begun] + np.arange(n) - begun) % n
    return result


def block_length(returns: Floats) -> float:
    """Mean block length in sessions that a series' own dependence asks for; at least `LEAST_BLOCK`.

    Independent returns ask for short blocks, clustered ones for long blocks; never more than a third of the series.
    The unbounded value equals `arch.bootstrap.optimal_block_length`.

    Source: Politis and White 2004, as corrected by Patton, Politis and White 2009.
    """
    n = len(returns)
    if n < 10 or float(np.ptp(returns)) == 0.0:
        return float(LEAST_BLOCK)
    centred = returns - returns.mean()
    run = max(5, int(np.log10(n)))
    longest = min(int(np.ceil(np.sqrt(n))) + run, n - 1)
    products = np.array([centred[k:] @ centred[: n - k] for k in range(longest + 1)])
    scale = [np.sqrt((centred[k + 1 :] @ centred[k + 1 :]) * (centred[: n - k - 1] @ centred[: n - k - 1]))
             for k in range(longest)]  # fmt: skip
    small = np.abs(products[:longest]) < 2.0 * np.sqrt(np.log10(n) / n) * np.array(scale)
    quiet = [m for m in range(longest - run + 1) if small[m : m + run].all()]
    width = min(2 * max(quiet[0], 1), longest) if quiet else longest
    lags = np.arange(1, width + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lags / width)) * products[1 : width + 1] / n
    spectrum = products[0] / n + 2.0 * float(weight.sum())
    slope = 2.0 * float(weight @ lags)
    found = (slope**2 / spectrum**2) ** (1.0 / 3.0) * n ** (1.0 / 3.0) if spectrum else 0.0
    return float(max(LEAST_BLOCK, min(found, np.ceil(min(3.0 * np.sqrt(n), n / 3.0)))))


def bootstrap_interval(
    returns: Floats, statistic: Statistic, *, seed: int, samples: int = 1000, block: float = 10.0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a statistic of daily returns under the stationary block bootstrap.

    (NaN, NaN) for fewer than two returns. Samples for which the statistic is NaN are left out.
    """
    if len(returns) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    width = max(block, LEAST_BLOCK)
    drawn = [statistic(returns[stationary_indices(len(returns), width, rng)]) for _ in range(samples)]
    return _percentiles(np.array(drawn), level)


def clustered_interval(
    values: Floats,
    dates: npt.NDArray[np.int32],
    statistic: Statistic,
    *,
    seed: int,
    samples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic of trades, resampling whole dates: trades of one day move together."""
    clusters, back = np.unique(dates, return_inverse=True)
    if len(clusters) < 2:
        return float("nan"), float("nan")
    ordered = values[np.argsort(back, kind="stable")]
    borders = np.concatenate(([0], np.cumsum(np.bincount(back))))
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(clusters), size=(samples, len(clusters)))
    drawn = [statistic(paths.gather_groups(ordered, borders, pick)) for pick in picks]
    return _percentiles(np.array(drawn), level)


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A shard of simulated paths: one element per path, in the order of their numbers.

    Attributes:
        first_path: number of the first one; the rest follow.
        horizon_sessions: days of each path.
        final: float64, equity at the end as a multiple of the start; 0 when all was lost.
        depth: float64, deepest drawdown as a positive fraction, starting equity included.
        worst_day: float64, lowest daily return.
        ruined: bool, whether equity was ever at or under the ruin level.
    """

    first_path: int
    horizon_sessions: int
    final: Floats
    depth: Floats
    worst_day: Floats
    ruined: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.final)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of n paths, as a fraction with its 95% Wilson interval."""

    count: int
    n: int
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the paths say together; losses and depths are positive fractions of the starting equity or its peak.

    Attributes:
        horizon: tail of the return from the first to the last day of a path.
        depths: (percentile, drawdown not exceeded in that share of the paths).
        median_final: equity multiple of the middle path.
        worst_day: tail of the paths' worst days.
        profit, ruin: share of paths that end above the start, and that touched the ruin level.
    """

    paths: int
    horizon_sessions: int
    horizon: Tail
    depths: tuple[tuple[int, float], ...]
    median_final: float
    worst_day: Tail
    profit: Share
    ruin: Share


@dataclass(frozen=True, kw_only=True)
class TradeSimulation:
    """A shard of trade paths: R earned, trades made and deepest drawdown in R, one element per path."""

    first_path: int
    earned_r: Floats
    trades: Ints
    depth_r: Floats

    def __len__(self) -> int:
        return len(self.earned_r)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeSummary:
    """What the trade paths say together, in units of initial risk."""

    paths: int
    median_r: float
    interval_r: tuple[float, float]
    depths_r: tuple[tuple[int, float], ...]
    profit: Share


def simulate(
    returns: Floats,
    first_path: int,
    last_path: int,
    *,
    horizon: int,
    seed: int,
    block: float = 10.0,
    scheme: str = "blocks",
    ruin_loss: float = RUIN_LOSS,
) -> Simulation:
    """Simulate paths `first_path` to `last_path` (not included) of resampled daily returns.

    A path depends on the returns, the seed and its own number only: shards join to the same digits however they are
    cut. Only figures of each path are kept, never the paths.

    Args:
        returns: float64[n], daily returns in order, fractions; no NaN. A loss of more than all counts as all.
        first_path: number of the first path.
        last_path: number after the last one.
        horizon: sessions per path.
        seed: 0 or more.
        block: mean block length in sessions of the stationary bootstrap; at least `LEAST_BLOCK` is used.
        scheme: `blocks`, or for comparison `independent` (single days) and `permuted` (without replacement, for
            horizons up to n): both break up runs of bad days and understate drawdowns.
        ruin_loss: fraction of the starting equity whose loss is ruin.

    Raises:
        DataError: fewer than two returns, one that is not a number, or a horizon that does not fit.

    Source: Politis and Romano 1994.
    """
    if len(returns) < 2 or not np.isfinite(returns).all():
        raise DataError("returns cannot be resampled", seen=f"{len(returns)} values", expected="two or more, no NaN")
    if horizon < 1 or (scheme == "permuted" and horizon > len(returns)):
        raise DataError("no path has this length", seen=f"{horizon} sessions", expected=f"1 to {len(returns)}")
    width = 1.0 if scheme == "independent" else max(block, LEAST_BLOCK)
    final, depth, worst, ruined = paths.walk_paths(
        np.maximum(1.0 + returns, 0.0), first_path, last_path, horizon, np.uint64(seed),
        np.uint64(round(2.0**32 / width)), paths.SCHEMES.index(scheme), 1.0 - ruin_loss,
    )  # fmt: skip
    return Simulation(
        first_path=first_path, horizon_sessions=horizon, final=final, depth=depth, worst_day=worst, ruined=ruined
    )


def join(shards: Sequence[Simulation]) -> Simulation:
    """Put shards together, in whatever order they arrive.

    Raises:
        ValueError: paths are missing or there twice, or the horizons differ.
    """
    ordered = sorted(shards, key=lambda s: s.first_path)
    gaps = any(a.first_path + len(a) != b.first_path for a, b in pairwise(ordered))
    if gaps or len({s.horizon_sessions for s in ordered}) != 1:
        msg = f"shards do not tile: {[(s.first_path, len(s), s.horizon_sessions) for s in ordered]}"
        raise ValueError(msg)
    columns = {name: np.concatenate([getattr(s, name) for s in ordered]) for name in _COLUMNS}
    return Simulation(first_path=ordered[0].first_path, horizon_sessions=ordered[0].horizon_sessions, **columns)


def summarise(shards: Sequence[Simulation], *, tail: float = TAIL) -> Summary:
    """Join shards and say what their paths say together.

    Raises:
        ValueError: the shards do not tile.
    """
    whole = join(shards)
    return Summary(
        paths=len(whole),
        horizon_sessions=whole.horizon_sessions,
        horizon=tail_of(whole.final - 1.0, tail),
        depths=_depths(whole.depth),
        median_final=float(np.quantile(whole.final, 0.5, method="inverted_cdf")),
        worst_day=tail_of(whole.worst_day, tail),
        profit=share_of(whole.final > 1.0),
        ruin=share_of(whole.ruined),
    )


def simulate_trades(
    net_r: Floats, dates: npt.NDArray[np.int32], first_path: int, last_path: int, *, draws: int, seed: int
) -> TradeSimulation:
    """Simulate paths of `draws` dates with all their trades: trades of one date move together and stay together.

    Args:
        net_r: float64[n], results in units of initial risk after costs; no NaN.
        dates: int32[n], the date each belongs to.
        first_path: number of the first path.
        last_path: number after the last one.
        draws: dates per path.
        seed: 0 or more.

    Raises:
        DataError: no trades, or a result that is not a number.
    """
    if not len(net_r) or not np.isfinite(net_r).all():
        raise DataError("trades cannot be resampled", seen=f"{len(net_r)} results", expected="one or more, no NaN")
    _, back = np.unique(dates, return_inverse=True)
    totals: Floats = np.bincount(back, weights=net_r).astype(np.float64)
    counts: Ints = np.bincount(back).astype(np.int64)
    earned, made, depth = paths.walk_dates(totals, counts, first_path, last_path, draws, np.uint64(seed))
    return TradeSimulation(first_path=first_path, earned_r=earned, trades=made, depth_r=depth)


def summarise_trades(whole: TradeSimulation) -> TradeSummary:
    """Say what trade paths say together; the interval holds 95% of the paths."""
    low, middle, high = np.quantile(whole.earned_r, [0.025, 0.5, 0.975], method="inverted_cdf")
    return TradeSummary(
        paths=len(whole),
        median_r=float(middle),
        interval_r=(float(low), float(high)),
        depths_r=_depths(whole.depth_r),
        profit=share_of(whole.earned_r > 0.0),
    )


def share_of(flags: npt.NDArray[np.bool_]) -> Share:
    """Count what is true and say how sure the share is."""
    count, n = int(flags.sum()), len(flags)
    return Share(count=count, n=n, share=count / n if n else float("nan"), interval=wilson_interval(count, n))


def _depths(depth: Floats) -> tuple[tuple[int, float], ...]:
    return tuple((p, float(np.quantile(depth, p / 100, method="inverted_cdf"))) for p in DEPTH_PERCENTILES)
