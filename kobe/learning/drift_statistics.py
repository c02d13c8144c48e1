"""Has something changed, or was it luck? The tests of DOMAIN 3.6 with critical values that know their own noise.

Trades of the same days move together: 60 signals of one stormy week are worth about three. Everything here therefore
counts effective signals (Kish's design effect over blocks of sessions), and the record that recent signals are compared
with is a sample too. With independent signals and a known rate the figures are the textbook's.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.backtest.montecarlo import LEAST_BLOCK
from kobe.core.panel import Floats, Ints

PSI_FLOOR, PSI_BINS, PSI_STARTS = 1e-4, 10, 400
ALLOWANCE = 0.25  # the CUSUM is tuned to a fall of half a standard deviation per block
OVERSHOOT = 0.583  # a walk jumps over its border by this much on average (Siegmund 1985)
Sessions = npt.NDArray[np.int32]


def blocks(session: Sessions) -> Ints:
    """Return the block of each session: five sessions, the holding horizon, whose trades share their days."""
    return session.astype(np.int64) // LEAST_BLOCK


def intraclass(values: Floats, block: Ints) -> float:
    """Return the correlation of values inside a block, in [0, 1]: what makes their mean vary as much as it does.

    0 without variation, or when no block holds two values.
    """
    if len(values) < 2 or float(np.ptp(values)) == 0.0:
        return 0.0
    _, place = np.unique(block, return_inverse=True)
    rest, size = values - values.mean(), np.bincount(place)
    inflation = float((np.bincount(place, rest) ** 2).sum() / (rest**2).sum())
    mates = _mates(size)
    return min(max((inflation - 1.0) / mates, 0.0), 1.0) if mates > 0 else 0.0


def _mates(size: Ints) -> float:
    """How many others a value shares its block with, on average."""
    return float((size**2).sum() / size.sum()) - 1.0


def design_effect(block: Ints, correlation: float) -> float:
    """Return how many of these signals are worth one independent signal, 1 or more; 1 for none (Kish 1965)."""
    return 1.0 + correlation * _mates(np.unique(block, return_counts=True)[1]) if len(block) else 1.0


def newest(session: Sessions, correlation: float, wanted: float, dates: int) -> int:
    """Return where the newest whole sessions worth `wanted` effective signals begin; 0 when all are needed.

    Args:
        session: int32[n], ascending.
        correlation: of outcomes inside a block.
        wanted: effective signals.
        dates: least number of sessions with a signal.
    """
    back = session[::-1]
    _, first, place = np.unique(-blocks(back), return_index=True, return_inverse=True)
    earlier = np.arange(len(back)) - first[place]
    count = np.arange(1, len(back) + 1)
    mates = np.cumsum(2 * earlier + 1) / count - 1.0
    whole = np.append(back[1:] != back[:-1], np.ones(min(len(back), 1), dtype=np.bool_))
    enough = (count / (1.0 + correlation * mates) >= wanted) & (np.cumsum(whole) >= dates)
    reached = np.flatnonzero(whole & enough)
    return len(back) - int(count[reached[0]]) if len(reached) else 0


def lower_tail(wins: float, n: float, rate: float) -> float:
    """Return P(X <= wins) for X binomial(n, rate), exact; between whole numbers the incomplete beta function goes on.

    Source: Korn and Graubard 1998 for effective sample sizes.
    """
    from scipy.special import betainc

    return 1.0 if wins >= n else float(betainc(n - wins, wins + 1.0, 1.0 - rate))


@functools.lru_cache(maxsize=256)
def critical_rate(n: float, rate: float, level: float = 0.05) -> float:
    """Return the highest win rate of n signals that is too low at a level; NaN when none is."""
    from scipy.special import betainc

    low = np.arange(math.ceil(n))  # fewer than n: of n, the tail is 1
    found = np.flatnonzero(betainc(n - low, low + 1.0, 1.0 - rate) <= level)
    return float(found[-1]) / n if len(found) else math.nan


def power(n: int, before: float, after: float, level: float = 0.05) -> float:
    """Return the probability that the exact test sees n signals win at `after` instead of `before`."""
    critical = critical_rate(n, before, level)
    return 0.0 if math.isnan(critical) else lower_tail(round(critical * n), n, after)


def mean_tail(totals: Floats) -> float:
    """Return the one-sided p that independent totals have a mean of 0 or more (t test); NaN when it cannot be had."""
    spread = float(np.std(totals, ddof=1)) if len(totals) > 1 else 0.0
    return t_tail(float(np.mean(totals)) * math.sqrt(len(totals)) / spread, len(totals)) if spread > 0 else math.nan


def t_tail(t: float, clusters: int) -> float:
    """Return the lower tail of a t statistic over clusters; NaN stays NaN."""
    from scipy.special import stdtr

    return float(stdtr(clusters - 1, t)) if clusters > 1 else math.nan


def shortfall(values: Floats, block: Ints, mean: float, spread: float, correlation: float) -> float:
    """Return the CUSUM of how far blocks fall short of a mean, in their standard deviations; 0 or more (Page 1954).

    Args:
        values: float64[n], in order; no NaN.
        block: int64[n], ascending.
        mean: what they should average.
        spread: standard deviation of one value; NaN is returned when it is not positive.
        correlation: of values inside a block.
    """
    if not spread > 0:
        return math.nan
    _, place, size = np.unique(block, return_inverse=True, return_counts=True)
    noise = spread * np.sqrt(size * (1.0 + correlation * (size - 1)))
    steps = np.bincount(place, mean - values, minlength=len(size)) / noise - ALLOWANCE
    path = np.concatenate(([0.0], np.cumsum(steps)))
    return float(path[-1] - path.min())


def shortfall_tail(value: float) -> float:
    """Return the probability of so high a CUSUM when nothing has changed; NaN stays NaN."""
    return 1.0 if value == 0.0 else math.exp(-2.0 * ALLOWANCE * (value + OVERSHOOT))


def shortfall_critical(level: float = 0.05) -> float:
    """Return the CUSUM that is too high at a level."""
    return -math.log(level) / (2.0 * ALLOWANCE) - OVERSHOOT


def holm(p: Floats) -> Floats:
    """Return p values adjusted for there being many (Holm 1979); NaN was no test and stays NaN."""
    out, tests = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def psi(expected: Floats, actual: Floats) -> float:
    """Return the population stability index of two sets of shares over the same bins, each at least `PSI_FLOOR`."""
    e, a = np.maximum(expected, PSI_FLOOR), np.maximum(actual, PSI_FLOOR)
    return float(np.sum((a - e) * np.log(a / e)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The stability index of one feature with what it is when nothing has changed.

    `expected` is its mean then, `critical` its 95% quantile, `p` the probability of one so high. NaN for a feature
    that never varies.
    """

    value: float
    expected: float
    critical: float
    p: float


@dataclass(frozen=True, slots=True)
class Past:
    """A feature's past in ten quantile bins, for many comparisons with it.

    Attributes:
        edges: float64, of the bins.
        codes: uint8[m], the bin of each value in order of time; unknown is the last bin.
        shares: float64[bins], of the past in each.
    """

    edges: Floats
    codes: npt.NDArray[np.uint8]
    shares: Floats

    @classmethod
    def of(cls, reference: Floats) -> "Past":
        """Sort values into bins, float64[m] in order of time; NaN where unknown."""
        known = reference[~np.isnan(reference)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, PSI_BINS + 1)[1:-1])) if len(known) else np.zeros(0)
        codes = _codes(reference, edges)
        shares = np.bincount(codes, minlength=len(edges) + 2) / max(len(codes), 1)
        return cls(edges, codes.astype(np.uint8), shares)


def shift(reference: Floats | Past, recent: Floats, level: float = 0.05) -> Shift:
    """Compare a feature's recent values with its past in ten quantile bins of the past; unknown is a bin of its own.

    The null is a scaled chi-squared. For independent values it has B - 1 degrees of freedom and the scale 1/n + 1/m.
    Features of neighbouring signals are anything but independent, so both are taken from how much stretches of n
    signals of the past differ from the whole past, where that is more (Rao and Scott 1981).

    Args:
        reference: float64[m], in order of time; NaN where unknown. Or what `Past.of` made of it.
        recent: float64[n], likewise.
        level: of the critical value.
    """
    from scipy.special import chdtrc, chdtri

    past = reference if isinstance(reference, Past) else Past.of(reference)
    new, shares = _codes(recent, past.edges), past.shares
    bins = int(np.count_nonzero(shares))
    if bins < 2 or len(new) == 0:
        return Shift(value=math.nan, expected=math.nan, critical=math.nan, p=math.nan)
    value = psi(shares, np.bincount(new, minlength=len(shares)) / len(new))
    noise = 1.0 / len(new) + 1.0 / len(past.codes)
    mean, freedom = (bins - 1) * noise, float(bins - 1)
    own = _own(past, len(new)) * (
        noise / (1.0 / len(new) - 1.0 / len(past.codes)) if len(past.codes) > len(new) else 1.0
    )
    if len(own) > 1 and own.mean() > mean:
        mean = float(own.mean())
        freedom = min(freedom, 2.0 * mean**2 / float(own.var()))
    scale = mean / freedom
    critical = float(scale * chdtri(freedom, level))
    return Shift(value=value, expected=mean, critical=critical, p=float(chdtrc(freedom, value / scale)))


def _codes(values: Floats, edges: Floats) -> Ints:
    codes = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, codes).astype(np.int64)


def _own(past: Past, n: int) -> Floats:
    """Stability indices of stretches of n signals of the past; empty when the past holds fewer than three."""
    if len(past.codes) < 3 * n:
        return np.zeros(0)
    cut, ends = _stretches(len(past.codes), n)
    bins = len(past.shares)
    cells = np.bincount(cut * bins + past.codes, minlength=(int(ends.max()) + 2) * bins)
    before = np.cumsum(cells.reshape(-1, bins), axis=0)[ends].reshape(2, -1, bins)
    a = np.maximum((before[1] - before[0]) / n, PSI_FLOOR)
    e = np.maximum(past.shares, PSI_FLOOR)
    found: Floats = ((a - e) * np.log(a / e)).sum(axis=1)
    return found


@functools.lru_cache(maxsize=8)
def _stretches(m: int, n: int) -> tuple[Ints, Ints]:
    """Cut m values where stretches of n begin and end; the same for every feature.

    Returns:
        int64[m], the cut each value is after; int64[2 * stretches], the cuts where they begin, then where they end.
    """
    starts = np.unique(np.linspace(0, m - n, PSI_STARTS).astype(np.int64))
    places, ends = np.unique(np.concatenate([starts, starts + n]), return_inverse=True)
    return np.searchsorted(places, np.arange(m), side="right"), ends
