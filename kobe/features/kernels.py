"""Compiled recursions over symbol-major arrays. Each walks one symbol at a time and looks only backwards.

Most kernels work on symbols `first` to `last` (not included), take `offsets` (int64[n + 1], row borders of all symbols)
and float64[rows] inputs without NaN, and fill float64[rows] with NaN where the value is not yet defined; `filled` runs
them over all symbols. Row t is known at the close of bar t.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints
from kobe.core.threads import in_parts

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


def filled(kernel: Any, offsets: Ints, *inputs: Any, columns: int = 1) -> Any:
    """Run a kernel over all symbols, in threads where that pays, and return what it filled: one column or several."""
    out = [np.empty(int(offsets[-1])) for _ in range(columns)]
    in_parts(len(offsets) - 1, int(offsets[-1]), lambda a, b: kernel(a, b, offsets, *inputs, *out))
    return out[0] if columns == 1 else out


ZERO = 1e-14  # below this an average move counts as none, as in TA-Lib


@njit(cache=True, nogil=True)
def sma(first: int, last: int, offsets: Ints, x: Floats, n: int, out: Floats) -> None:
    """Mean of the last n values; first defined at bar n - 1 of a symbol. Equals TA-Lib SMA."""
    for k in range(first, last):
        total = 0.0
        start = offsets[k]
        for t in range(start, offsets[k + 1]):
            total += x[t]
            out[t] = np.nan
            if t - start >= n - 1:
                out[t] = total / n
                total -= x[t - n + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def mean_product(first: int, last: int, offsets: Ints, x: Floats, y: Floats, n: int, least: int, out: Floats) -> None:
    """Mean of x times y over the last n rows, or over those there are when at least `least`."""
    for k in range(first, last):
        total = 0.0
        start = offsets[k]
        for t in range(start, offsets[k + 1]):
            total += x[t] * y[t]
            if t - start >= n:
                total -= x[t - n] * y[t - n]
            seen = min(t - start + 1, n)
            out[t] = total / seen if seen >= least else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def ibs(first: int, last: int, offsets: Ints, high: Floats, low: Floats, close: Floats, out: Floats) -> None:
    """(close - low) / (high - low); NaN where high equals low.

    Divided first and asked afterwards, over arrays that begin at 0: so the processor takes several bars at a time.
    """
    rows = slice(offsets[first], offsets[last])
    highs, lows, closes, filled_in = high[rows], low[rows], close[rows], out[rows]
    for t in range(len(filled_in)):
        span = highs[t] - lows[t]
        share = (closes[t] - lows[t]) / span
        filled_in[t] = share if span > 0.0 else np.nan


@njit(cache=True, nogil=True)
def bars_seen(first: int, last: int, offsets: Ints, out: Floats) -> None:
    """Bars of the same symbol before each bar."""
    for k in range(first, last):
        for t in range(offsets[k], offsets[k + 1]):
            out[t] = t - offsets[k]


@njit(cache=True, nogil=True)
def rsi(first: int, last: int, offsets: Ints, close: Floats, n: int, out: Floats) -> None:
    """Wilder RSI in [0, 100], seeded with the mean of the first n changes; first defined at bar n.

    Equals TA-Lib RSI, except that no movement at all is NaN and not 0 (DOMAIN D7).
    """
    exact = n & (n - 1) == 0  # dividing by a power of two is multiplying, digit for digit, at a third of the time
    share = 1.0 / n
    for k in range(first, last):
        start = offsets[k]
        gain = 0.0
        loss = 0.0
        if start < offsets[k + 1]:
            out[start] = np.nan
        for t in range(start + 1, offsets[k + 1]):
            change = close[t] - close[t - 1]
            up = max(0.0, change)
            down = -change if change < 0.0 else 0.0
            i = t - start
            if i <= n:
                gain += up
                loss += down
                if i == n:
                    gain /= n
                    loss /= n
            elif exact:
                gain = (gain * (n - 1) + up) * share
                loss = (loss * (n - 1) + down) * share
            else:
                gain = (gain * (n - 1) + up) / n
                loss = (loss * (n - 1) + down) / n
            out[t] = 100.0 * (gain / (gain + loss)) if i >= n and gain + loss >= ZERO else np.nan


@njit(cache=True, nogil=True)
def wilder_atr(
    first: int, last: int, offsets: Ints, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Wilder average of the true range, seeded with the mean of TR_1..TR_n at bar n. Equals TA-Lib ATR.

    Four symbols are walked in step: each bar waits for the division of the bar before, and the processor has room for
    the divisions of three others meanwhile.
    """
    fours = last - (last - first) % 4
    for k in range(first, fours, 4):
        a, b, c, d = offsets[k], offsets[k + 1], offsets[k + 2], offsets[k + 3]
        shared = min(b - a, c - b, d - c, offsets[k + 4] - d)
        begun = min(n + 1, shared)
        p = _atr_of_one(a, a, a + begun, 0.0, high, low, close, n, out)
        q = _atr_of_one(b, b, b + begun, 0.0, high, low, close, n, out)
        r = _atr_of_one(c, c, c + begun, 0.0, high, low, close, n, out)
        s = _atr_of_one(d, d, d + begun, 0.0, high, low, close, n, out)
        for i in range(begun, shared):
            p = (p * (n - 1) + _true_range(high, low, close, a + i)) / n
            q = (q * (n - 1) + _true_range(high, low, close, b + i)) / n
            r = (r * (n - 1) + _true_range(high, low, close, c + i)) / n
            s = (s * (n - 1) + _true_range(high, low, close, d + i)) / n
            out[a + i], out[b + i], out[c + i], out[d + i] = p, q, r, s
        _atr_of_one(a, a + shared, b, p, high, low, close, n, out)
        _atr_of_one(b, b + shared, c, q, high, low, close, n, out)
        _atr_of_one(c, c + shared, d, r, high, low, close, n, out)
        _atr_of_one(d, d + shared, offsets[k + 4], s, high, low, close, n, out)
    for k in range(fours, last):
        _atr_of_one(offsets[k], offsets[k], offsets[k + 1], 0.0, high, low, close, n, out)


@njit(cache=True, nogil=True, inline="always")
def _true_range(high: Floats, low: Floats, close: Floats, t: int) -> float:
    """The largest of high - low and the distances of both from the previous close."""
    before = close[t - 1]
    largest: float = max(high[t] - low[t], abs(high[t] - before), abs(low[t] - before))
    return largest


@njit(cache=True, nogil=True)
def _atr_of_one(
    start: int, begin: int, end: int, value: float, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> float:
    """Fill rows `begin` to `end` of the symbol that starts at `start`, going on from a value; return the last one."""
    for t in range(begin, end):
        i = t - start
        if i == 0:
            out[t] = np.nan
            continue
        if i <= n:
            value += _true_range(high, low, close, t)
            if i == n:
                value /= n
        else:
            value = (value * (n - 1) + _true_range(high, low, close, t)) / n
        out[t] = value if i >= n else np.nan
    return value


@njit(cache=True, nogil=True)
def prior_low_and_age(first: int, last: int, offsets: Ints, low: Floats, n: int, lowest: Floats, age: Floats) -> None:
    """Lowest low of the n bars before t (t not among them) and its age in bars; equal lows: the newest counts."""
    for k in range(first, last):
        start = offsets[k]
        best = start
        if start < offsets[k + 1]:
            lowest[start] = age[start] = np.nan
        for t in range(start + 1, offsets[k + 1]):
            if best < t - n:
                best = t - n
                for j in range(t - n + 1, t):
                    if low[j] <= low[best]:
                        best = j
            elif low[t - 1] <= low[best]:
                best = t - 1
            known = t - start >= n
            lowest[t] = low[best] if known else np.nan
            age[t] = t - best if known else np.nan


@njit(cache=True, nogil=True)
def yang_zhang(
    first: int, last: int, offsets: Ints, opened: Floats, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Yang-Zhang volatility (annualised, 252 sessions) of the last n bars (DOMAIN 5); first defined at bar n."""
    for k in range(first, last):
        start = offsets[k]
        if start < offsets[k + 1]:
            out[start] = np.nan
            _yang_zhang_span(start, start + 1, opened, high, low, close, n, out[start + 1 : offsets[k + 1]])


@njit(cache=True, nogil=True)
def _yang_zhang_span(
    start: int, begin: int, opened: Floats, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Fill `out` for the rows from `begin` on of the symbol that starts at `start`; the same digits from any begin."""
    weight = 0.34 / (1.34 + (n + 1) / (n - 1))
    overnight, body, scatter = np.empty(n), np.empty(n), np.empty(n)
    for t in range(max(start + 1, begin - n + 1), begin + len(out)):
        up, down = np.log(high[t] / opened[t]), np.log(low[t] / opened[t])
        place = (t - start - 1) % n
        overnight[place], body[place] = np.log(opened[t] / close[t - 1]), np.log(close[t] / opened[t])
        scatter[place] = up * (up - body[place]) + down * (down - body[place])
        if t >= begin:
            out[t - begin] = np.nan
            if t - start >= n:
                variance = (_squares(overnight) + weight * _squares(body)) / (n - 1) + (1 - weight) * scatter.mean()
                out[t - begin] = np.sqrt(252.0 * variance)


@njit(cache=True, nogil=True)
def _squares(x: Floats) -> float:
    """Sum of squared distances from the mean."""
    mean = x.mean()
    total = 0.0
    for value in x:
        total += (value - mean) ** 2
    return total


@njit(cache=True, nogil=True)
def share_at_or_below(x: Floats, rows: Ints, window: int) -> Floats:
    """Share of the last `window` values up to each row that are at or below the row's own."""
    out = np.empty(len(rows))
    for i in range(len(rows)):
        t = rows[i]
        out[i] = (x[t - window + 1 : t + 1] <= x[t]).sum() / window
    return out


@njit(cache=True, nogil=True)
def volatility_ranks(
    starts: Ints, rows: Ints, opened: Floats, high: Floats, low: Floats, close: Floats, n: int, window: int
) -> Floats:
    """`share_at_or_below` of `yang_zhang`, worked out for some rows alone; `starts` are their symbols' first rows."""
    out, levels = np.empty(len(rows)), np.empty(window)
    for i in range(len(rows)):
        _yang_zhang_span(starts[i], rows[i] - window + 1, opened, high, low, close, n, levels)
        out[i] = (levels <= levels[-1]).sum() / window
    return out


@njit(cache=True, nogil=True)
def usable_rows(  # noqa: PLR0913, PLR0917 - one pass over what every strategy asks of a row
    first: int, last: int, offsets: Ints, sign: int, tradable: Bools, close: Floats, factor: Floats, adv: Floats,
    atr: Floats, trend: Floats, min_price: float, min_adv: float, min_history: int, noise: float, out: Bools,
) -> None:  # fmt: skip
    """Where a symbol is tradable, priced, liquid and old enough, and its close beyond the trend by more than noise.

    NaN compares as false, so an unknown value never lets a row through. `sign` 0 leaves the trend out.
    """
    for k in range(first, last):
        for t in range(offsets[k], offsets[k + 1]):
            good = tradable[t] & (t - offsets[k] >= min_history) & (adv[t] >= min_adv) & (atr[t] > 0.0)
            beyond_trend = (sign == 0) | (sign * (close[t] - trend[t]) > noise * abs(trend[t]))
            out[t] = good & (close[t] * factor[t] >= min_price) & beyond_trend


def rows_within(usable: Bools, a: Floats, a_low: float, a_high: float, b: Floats, b_low: float, b_high: float) -> Ints:
    """Rows that are usable with both values inside their bounds, which count as inside; NaN is outside."""
    parts: dict[int, Ints] = {}

    def look(first: int, last: int) -> None:
        parts[first] = _rows_within(first, last, usable, a, a_low, a_high, b, b_low, b_high)

    in_parts(len(usable), len(usable), look)
    return np.concatenate([parts[first] for first in sorted(parts)])


@njit(cache=True, nogil=True)
def _rows_within(
    first: int, last: int, usable: Bools, a: Floats, a_low: float, a_high: float, b: Floats, b_low: float, b_high: float
) -> Ints:
    out = np.empty(last - first + 1, np.int64)
    found = 0
    for t in range(first, last):
        out[found] = t  # written always and kept only if it counts: a branch here is guessed wrong too often
        inside = (a_low <= a[t]) & (a[t] <= a_high) & (b_low <= b[t]) & (b[t] <= b_high)
        found += usable[t] & inside
    return out[:found].copy()


@njit(cache=True, nogil=True)
def beyond(sign: int, price: Floats, level: Floats, noise: float) -> Bools:
    """Where a price is strictly above (sign +1) or below (-1) a level by more than a share of it; NaN is not."""
    out = np.empty(len(price), np.bool_)
    for t in range(len(price)):
        out[t] = sign * (price[t] - level[t]) > noise * abs(level[t])
    return out


def exit_bits(up: Floats, up_from: float, down_to: float) -> Bytes:
    """Bit 0 where a value is at least `up_from`, bit 1 where it is at most `down_to`; NaN sets none."""
    out = np.empty(len(up), np.uint8)
    in_parts(len(up), len(up), lambda first, last: _exit_bits(first, last, up, up_from, down_to, out))
    return out


@njit(cache=True, nogil=True)
def _exit_bits(first: int, last: int, up: Floats, up_from: float, down_to: float, out: Bytes) -> None:
    for t in range(first, last):
        out[t] = (1 if up[t] >= up_from else 0) + (2 if up[t] <= down_to else 0)
