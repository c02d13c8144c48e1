"""Resampling: how far a figure could have come out otherwise. Seeded; the same seed gives the same digits."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Ints

Statistic = Callable[[Floats], float]
LEAST_BLOCK = 5  # the holding horizon: shorter blocks would tear trades apart


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
    order = np.argsort(back, kind="stable")
    groups = np.split(values[order], np.cumsum(np.bincount(back))[:-1])
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(groups), size=(samples, len(groups)))
    drawn = [statistic(np.concatenate([groups[k] for k in pick])) for pick in picks]
    return _percentiles(np.array(drawn), level)


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
