"""Compiled conditions over the rows of a panel, judged several bars at a time.

Every row asks only its own values, so row t is known at the close of bar t. NaN compares as false: an unknown value
never lets a row through.
"""

import numpy as np
import numpy.typing as npt

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
BLOCK = 1_024  # bars judged before their rows are written down


@njit(cache=True, nogil=True)
def usable_rows(  # noqa: PLR0913, PLR0917 - one pass over what every strategy asks of a row
    first: int, last: int, offsets: Ints, sign: int, tradable: Bools, close: Floats, factor: Floats, adv: Floats,
    atr: Floats, trend: Floats, min_price: float, min_adv: float, min_history: int, noise: float, out: Bools,
) -> None:  # fmt: skip
    """Where a symbol is tradable, priced, liquid and old enough, and its close beyond the trend by more than noise.

    For symbols `first` to `last` (not included), `offsets` being the row borders; `sign` 0 leaves the trend out.
    """
    for k in range(first, last):
        rows = slice(offsets[k], offsets[k + 1])
        on, closes, factors, dollars = tradable[rows], close[rows], factor[rows], adv[rows]
        ranges, averages, good = atr[rows], trend[rows], out[rows]
        for t in range(len(good)):  # all conditions of every bar, none skipped: so several bars are judged at a time
            priced = (closes[t] * factors[t] >= min_price) & (dollars[t] >= min_adv)
            beyond_trend = (sign == 0) | (sign * (closes[t] - averages[t]) > noise * abs(averages[t]))
            good[t] = on[t] & priced & (ranges[t] > 0.0) & beyond_trend
        good[: max(0, min_history)] = False


def rows_within(
    first: int, last: int, offsets: Ints, usable: Bools, a: Floats, b: Floats, box: tuple[float, float, float, float]
) -> tuple[Ints, Floats, Floats]:
    """Rows that are usable with both values inside their bounds (lowest and highest of a, then of b), and the values.

    The bounds count as inside; NaN is outside.
    """
    rows = np.empty(offsets[last] - offsets[first], np.int64)
    found = rows[: _rows_within(first, last, offsets, usable, a, b, box, rows)].copy()
    return found, a[found], b[found]


@njit(cache=True, nogil=True)
def _rows_within(
    first: int, last: int, offsets: Ints, usable: Bools, a: Floats, b: Floats, box: tuple[float, float, float, float],
    rows: Ints,
) -> int:  # fmt: skip
    """Write the rows down and return how many there are.

    Bars are judged several at a time, then every row is written down: one that is not inside is overwritten by the
    next, which takes less time than to ask.
    """
    left, right, bottom, top = box
    start, end = offsets[first], offsets[last]
    inside, count = np.empty(BLOCK, np.uint8), 0
    for begin in range(start, end, BLOCK):
        block = slice(begin, min(begin + BLOCK, end))
        on, x, y = usable[block], a[block], b[block]
        judged = inside[: len(on)]
        for t in range(len(judged)):
            judged[t] = on[t] & (left <= x[t]) & (x[t] <= right) & (bottom <= y[t]) & (y[t] <= top)
        for t in range(len(judged)):
            rows[count] = begin + t
            count += judged[t]
    return count


@njit(cache=True, nogil=True)
def beyond(sign: int, price: Floats, level: Floats, noise: float) -> Bools:
    """Where a price is strictly above (sign +1) or below (-1) a level by more than a share of it; NaN is not."""
    out = np.empty(len(price), np.bool_)
    for t in range(len(price)):
        out[t] = sign * (price[t] - level[t]) > noise * abs(level[t])
    return out


@njit(cache=True, nogil=True)
def exit_bits(  # as every kernel takes it
    first: int, last: int, offsets: Ints, up: Floats, up_from: float, down_to: float, out: Bytes
) -> None:
    """Bit 0 where a value is at least `up_from`, bit 1 where it is at most `down_to`; NaN sets none."""
    rows = slice(offsets[first], offsets[last])
    values, bits = up[rows], out[rows]
    for t in range(len(bits)):
        bits[t] = np.uint8(values[t] >= up_from) | (np.uint8(values[t] <= down_to) << np.uint8(1))
