"""The compiled Monte Carlo: paths of resampled days, each from its own counter-based generator.

Draw k of path p is a mix of (seed, p) and k and of nothing else: a path comes out the same whoever computes it, in
whatever order, so any sharding over threads, processes or machines gives the same digits. Integers decide every
draw. A path is reduced to its figures while it is walked; no more than one day of it is ever held.
"""

import numpy as np
import numpy.typing as npt

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints

BLOCKS, INDEPENDENT, PERMUTED = 0, 1, 2
SCHEMES = ("blocks", "independent", "permuted")

Word = np.uint64
_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's fraction, odd: its multiples visit all 2^64 words
_MIX_A, _MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_ONE, _TWO = np.uint64(1), np.uint64(2)


@njit(cache=True, nogil=True, inline="always")
def mix(word: Word) -> Word:
    """Scramble 64 bits, one to one. Source: Steele, Lea and Flood 2014 (SplitMix64's finaliser)."""
    word = (word ^ (word >> _S30)) * _MIX_A
    word = (word ^ (word >> _S27)) * _MIX_B
    return word ^ (word >> _S31)


@njit(cache=True, nogil=True, inline="always")
def path_key(seed: Word, path: Word) -> Word:
    """Key of a path's generator; neighbouring seeds and paths share nothing."""
    return mix(mix(seed + _GAMMA) ^ mix(path * _GAMMA + _ONE))


@njit(cache=True, nogil=True, inline="always")
def draw(key: Word, counter: Word) -> Word:
    """Draw number `counter` of a generator, 64 uniform bits."""
    return mix(key + (counter + _ONE) * _GAMMA)


@njit(cache=True, nogil=True, inline="always")
def below(word: Word, n: Word) -> np.int64:
    """Uniform integer below n from the upper half of a draw; its bias is under n / 2^32."""
    return np.int64(((word >> _S32) * n) >> _S32)


@njit(cache=True, nogil=True)
def _day(  # one step of the resampling: which day of the record comes next
    scheme: int, key: Word, t: int, at: np.int64, order: Ints, n: int, fresh_below: Word
) -> np.int64:
    count = np.uint64(t) * _TWO
    if scheme == PERMUTED:
        k = t + below(draw(key, count), np.uint64(n - t))
        order[t], order[k] = order[k], order[t]
        picked: np.int64 = order[t]
        return picked
    if t == 0 or (draw(key, count) >> _S32) < fresh_below:
        return below(draw(key, count + _ONE), np.uint64(n))
    return at + 1 if at + 1 < n else np.int64(0)  # the record is a circle


@njit(cache=True, nogil=True)
def walk_paths(
    growth: Floats, first: int, last: int, horizon: int, seed: Word, fresh_below: Word, scheme: int, ruin_at: float
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Walk paths `first` to `last` (not included) and keep four figures of each.

    Args:
        growth: float64[n], 1 + return of each recorded day, 0 or more.
        first: number of the first path.
        last: number after the last one.
        horizon: days per path; a permuted path has at most n.
        seed: of all paths.
        fresh_below: out of 2^32, how often a day starts a new block.
        scheme: BLOCKS, INDEPENDENT or PERMUTED.
        ruin_at: equity, as a multiple of the start, at or under which a path is ruined.

    Returns:
        Final equity as a multiple of the start, deepest drawdown (positive), worst day's return, ruined.
    """
    count, n = last - first, len(growth)
    final, depth, worst = np.empty(count), np.empty(count), np.empty(count)
    ruined = np.zeros(count, np.bool_)
    order = np.empty(n, np.int64)
    for p in range(count):
        key = path_key(seed, np.uint64(first + p))
        if scheme == PERMUTED:
            order[:] = np.arange(n)
        equity = peak = scale = kept = lowest = 1.0
        least = np.inf
        at = np.int64(0)
        for t in range(horizon):
            at = _day(scheme, key, t, at, order, n, fresh_below)
            equity *= growth[at]
            least = min(least, growth[at])
            if equity > peak:
                peak, scale = equity, 1.0 / equity  # new peaks are rare, a division every day is not
            kept = min(kept, equity * scale)
            lowest = min(lowest, equity)
        final[p], depth[p], worst[p], ruined[p] = equity, 1.0 - kept, least - 1.0, lowest <= ruin_at
    return final, depth, worst, ruined


@njit(cache=True, nogil=True)
def walk_dates(
    total: Floats, trades: Ints, first: int, last: int, dates: int, seed: Word
) -> tuple[Floats, Ints, Floats]:
    """Walk paths of whole dates drawn with replacement: R of each path, its trades, its deepest drawdown in R.

    Args:
        total: float64[n], sum of R over the trades of each date.
        trades: int64[n], their number.
        first: number of the first path.
        last: number after the last one.
        dates: dates per path.
        seed: of all paths.
    """
    count = last - first
    earned, made, depth = np.zeros(count), np.zeros(count, np.int64), np.zeros(count)
    for p in range(count):
        key = path_key(seed, np.uint64(first + p))
        peak = 0.0
        for t in range(dates):
            at = below(draw(key, np.uint64(t)), np.uint64(len(total)))
            earned[p] += total[at]
            made[p] += trades[at]
            peak = max(peak, earned[p])
            depth[p] = max(depth[p], peak - earned[p])
    return earned, made, depth


@njit(cache=True, nogil=True)
def gather_groups(values: Floats, borders: Ints, picks: Ints) -> Floats:
    """Return the values of the picked groups one after the other; group k lies between borders k and k + 1."""
    size = 0
    for k in picks:
        size += borders[k + 1] - borders[k]
    out = np.empty(size)
    at = 0
    for k in picks:
        for i in range(borders[k], borders[k + 1]):
            out[at] = values[i]
            at += 1
    return out
