"""Compiled prior extremes: the lowest low of the bars before each bar, and its age; equal lows: the newest counts.

The windows of a row of bars are cut at every n-th bar: each is the end of one block and the beginning of the next. So
the lowest of both parts is known from one walk back through a block and one forth through the next, whatever n is.
"""

import numpy as np

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints


@njit(cache=True, nogil=True)
def prior_low_and_age(first: int, last: int, offsets: Ints, low: Floats, n: int, lowest: Floats, age: Floats) -> None:
    """Lowest low of the n bars before t (t not among them) and its age in bars; NaN before bar n of a symbol."""
    values, places = np.empty(n), np.empty(n, np.int64)
    for k in range(first, last):
        own = slice(offsets[k], offsets[k + 1])
        _prior_lows(low[own], n, values, places, lowest[own], age[own])


@njit(cache=True, nogil=True)
def _prior_lows(low: Floats, n: int, values: Floats, places: Ints, lowest: Floats, age: Floats) -> None:
    """Fill the columns of one symbol; `values` and `places` hold n each."""
    bars = len(low)
    lowest[:n] = age[:n] = np.nan
    for begin in range(0, bars - n, n):
        middle = begin + n
        _lowest_to_the_end(low[begin:middle], begin, values, places)
        best, place = low[middle], middle
        lowest[middle], age[middle] = values[0], middle - places[0]
        for t in range(middle + 1, min(middle + n, bars)):
            of_end, its_place = values[t - middle], places[t - middle]
            newer = best <= of_end
            lowest[t] = best if newer else of_end
            age[t] = t - (place if newer else its_place)
            beaten = low[t] <= best
            best, place = low[t] if beaten else best, t if beaten else place


@njit(cache=True, nogil=True)
def _lowest_to_the_end(low: Floats, begin: int, values: Floats, places: Ints) -> None:
    """From each bar of a block to its end: the lowest low and where it stands, counted from `begin` on."""
    best, place = low[-1], begin + len(low) - 1
    values[-1], places[-1] = best, place
    for i in range(len(low) - 2, -1, -1):
        beaten = low[i] < best
        best, place = low[i] if beaten else best, begin + i if beaten else place
        values[i], places[i] = best, place


@njit(cache=True, nogil=True)
def prior_low_and_age_at(starts: Ints, rows: Ints, low: Floats, n: int, lowest: Floats, age: Floats) -> None:
    """Fill in the same for some rows alone; `starts` are their symbols' first rows."""
    for i in range(len(rows)):
        t = rows[i]
        lowest[i] = age[i] = np.nan
        if t - starts[i] >= n:
            best = t - n
            for j in range(t - n + 1, t):
                best = j if low[j] <= low[best] else best
            lowest[i], age[i] = low[best], t - best


def lows_swept(first: int, last: int, offsets: Ints, low: Floats, n: int) -> tuple[Ints, Floats, Floats]:
    """Rows whose low is below the lowest low of the n bars before, that low, and its age."""
    most = offsets[last] - offsets[first]  # what is never written takes no memory
    rows, lowest, age = np.empty(most, np.int64), np.empty(most), np.empty(most)
    count = _lows_swept(first, last, offsets, low, n, rows, lowest, age)
    return rows[:count].copy(), lowest[:count].copy(), age[:count].copy()


@njit(cache=True, nogil=True)
def _lows_swept(
    first: int, last: int, offsets: Ints, low: Floats, n: int, rows: Ints, lowest: Floats, age: Floats
) -> int:
    """Write them down and return how many there are."""
    values, places, count = np.empty(n), np.empty(n, np.int64), 0
    longest = 0
    for k in range(first, last):
        longest = max(longest, offsets[k + 1] - offsets[k])
    levels, ages = np.empty(longest), np.empty(longest)
    for k in range(first, last):
        own = low[offsets[k] : offsets[k + 1]]
        _prior_lows(own, n, values, places, levels[: len(own)], ages[: len(own)])
        for t in range(len(own)):
            if own[t] < levels[t]:
                rows[count], lowest[count], age[count] = offsets[k] + t, levels[t], ages[t]
                count += 1
    return count
