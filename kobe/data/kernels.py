"""Compiled passes over sorted bars that say which of them deserve a look; the rules themselves stand in `quality`.

A pass may point at too many bars, never at too few: a property test compares with the rules applied to every bar.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.core.compiled import njit

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int32]
SHORT_BARS, LONG_BARS = 10, 60
REACH = SHORT_BARS + LONG_BARS
UNUSUAL_MOVE, CALM_RANGE = 0.12, 1.4


class Columns(NamedTuple):
    """Bars sorted by symbol and date; `code` numbers the symbols, `day` counts from 1970."""

    code: Codes
    day: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


class Unusual(NamedTuple):
    """Rows worth a look, with what the series rules ask about them; see `basis.Basis`."""

    row: npt.NDArray[np.int64]
    prev: Floats
    move: Floats
    gap: Floats
    skipped: npt.NDArray[np.int32]
    equal: npt.NDArray[np.int32]
    still: npt.NDArray[np.int32]
    drop: Floats


@njit(cache=True, nogil=True)
def ascending(code: Codes, day: Days) -> bool:
    """Say whether bars are sorted by symbol and date; equal dates of one symbol are in order."""
    for t in range(1, len(code)):
        if code[t] < code[t - 1] or (code[t] == code[t - 1] and day[t] < day[t - 1]):
            return False
    return True


@njit(cache=True, nogil=True)
def odd_rows(
    c: Columns, factor: Floats, bad_code: npt.NDArray[np.bool_], open_days: npt.NDArray[np.bool_], first: int, last: int
) -> npt.NDArray[np.bool_]:
    """Mark the bars a row rule may reject: anything not plainly a bar of an open day, told once.

    `open_days[d - first]` says whether the exchange was open on day d; days after `last` are too new.
    """
    n = len(c.code)
    odd = np.zeros(n, np.bool_)
    for t in range(n):
        o, h, low, close, v, day = c.open[t], c.high[t], c.low[t], c.close[t], c.volume[t], c.day[t]
        # Written so that one NaN anywhere makes it false.
        prices = low >= 1e-4 and low <= o and low <= close and o <= h and close <= h <= 1e7
        rest = 0.0 <= v <= 1e12 and 0.0 < factor[t] < np.inf
        known = first <= day <= last and day - first < len(open_days) and open_days[day - first]
        good = prices and rest and known and not bad_code[c.code[t]]
        if t > 0 and c.code[t] == c.code[t - 1] and day == c.day[t - 1]:
            odd[t - 1] = True
            good = False
        if not good:
            odd[t] = True
    return odd


@njit(cache=True, nogil=True)
def _drop(volume: Floats, t: int, age: int, total: float) -> float:
    """Largest of the last ten volumes over the mean of the sixty before; NaN while there are not enough."""
    if age < REACH or total < LONG_BARS:
        return np.nan
    largest = volume[t]
    for j in range(t - SHORT_BARS + 1, t):
        largest = max(largest, volume[j])
    return float(largest * LONG_BARS / total)


@njit(cache=True, nogil=True)
def unusual_rows(
    c: Columns, number: npt.NDArray[np.int32], split: Floats, paid: Floats, raw: bool, special: float, feed: float
) -> Unusual:
    """Return the bars a series rule may find something in, in order; each value looks backwards only.

    Args:
        c: clean bars.
        number: session number of each.
        split: the day's split ratio, NaN without one.
        paid: the day's dividend over the last close on the tape, NaN without one.
        raw: prices are tape prices, so that a split of the day is taken out of move and gap.
        special: dividend share above which a bar is looked at.
        feed: volume ratio below which it is.
    """
    n = len(c.code)
    out = Unusual(
        np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.int32), np.empty(n, np.int32),
        np.empty(n, np.int32), np.empty(n),
    )  # fmt: skip
    found = age = 0
    equal = still = 1
    total, was_below = 0.0, False
    for t in range(n):
        same = t > 0 and c.code[t] == c.code[t - 1]
        age = age + 1 if same else 0
        prev = c.close[t - 1] if same else np.nan
        flat = c.high[t] == c.low[t]
        goes_on = same and c.close[t] == prev
        equal = equal + 1 if goes_on else 1
        still = 0 if not flat else (still + 1 if goes_on and c.high[t - 1] == c.low[t - 1] else 1)
        total = total + (c.volume[t - SHORT_BARS] if age >= SHORT_BARS else 0.0) if same else 0.0
        total -= c.volume[t - REACH] if age >= REACH else 0.0
        # the largest of ten is at least today's, so most days need no look at the others
        below = c.volume[t] * LONG_BARS <= feed * total * (1 + 1e-9) and _drop(c.volume, t, age, total) < feed
        fix = split[t] if raw and not np.isnan(split[t]) else 1.0
        move = c.close[t] * fix / prev
        skipped = number[t] - number[t - 1] - 1 if same else 0
        calm = abs(move - 1.0) <= UNUSUAL_MOVE and skipped == 0 and not below and np.isnan(split[t])
        calm = calm and not paid[t] > special and equal < 5 and c.high[t] > c.low[t]
        if not (calm and c.high[t] < CALM_RANGE * c.low[t] and c.volume[t] > 0.0):
            out.row[found], out.prev[found], out.move[found] = t, prev, move
            out.gap[found], out.skipped[found] = c.open[t] * fix / prev, skipped
            out.equal[found], out.still[found] = equal, still
            out.drop[found] = np.nan if same and was_below else _drop(c.volume, t, age, total)
            found += 1
        was_below = below
    return Unusual(
        out.row[:found], out.prev[:found], out.move[:found], out.gap[:found], out.skipped[:found],
        out.equal[:found], out.still[:found], out.drop[:found],
    )  # fmt: skip
