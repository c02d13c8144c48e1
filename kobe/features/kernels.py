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


@njit(cache=True, nogil=True, error_model="numpy")
def rsi(first: int, last: int, offsets: Ints, close: Floats, n: int, out: Floats) -> None:
    """Wilder RSI in [0, 100], seeded with the mean of the first n changes; first defined at bar n.

    Equals TA-Lib RSI, except that no movement at all is NaN and not 0 (DOMAIN D7). The recursions run by themselves,
    the division of each bar afterwards: nothing waits for it there, and the processor takes several bars at a time.
    """
    for k in range(first, last):
        closes, values = close[offsets[k] : offsets[k + 1]], out[offsets[k] : offsets[k + 1]]
        begun = min(n, len(values))
        gain, loss = _first_moves(closes, n)
        values[:begun] = np.nan
        gains, losses = values[begun:], np.empty(len(values) - begun)
        _average_moves(closes[begun:], gain, loss, n, gains, losses)
        for t in range(len(gains)):
            both = gains[t] + losses[t]
            share = 100.0 * (gains[t] / both)
            gains[t] = share if both >= ZERO else np.nan


@njit(cache=True, nogil=True)
def _first_moves(close: Floats, n: int) -> tuple[float, float]:
    """Mean rise and mean fall of the first n changes."""
    gain = loss = 0.0
    for t in range(1, min(n + 1, len(close))):
        gain += max(0.0, close[t] - close[t - 1])
        loss += max(0.0, close[t - 1] - close[t])
    return gain / n, loss / n


@njit(cache=True, nogil=True)
def _average_moves(close: Floats, gain: float, loss: float, n: int, gains: Floats, losses: Floats) -> None:
    """Wilder averages of rises and falls from a bar on whose values are given, one for each close."""
    exact = n & (n - 1) == 0  # dividing by a power of two is multiplying, digit for digit, at a third of the time
    kept, share = float(n - 1), 1.0 / n
    if len(gains):
        gains[0], losses[0] = gain, loss
    now, gains_now, losses_now = close[1:], gains[1:], losses[1:]
    for t in range(len(now)):
        change = now[t] - close[t]
        gain, loss = gain * kept + max(0.0, change), loss * kept + max(0.0, -change)
        gain, loss = (gain * share, loss * share) if exact else (gain / n, loss / n)
        gains_now[t], losses_now[t] = gain, loss


@njit(cache=True, nogil=True)
def wilder_atr(
    first: int, last: int, offsets: Ints, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Wilder average of the true range, seeded with the mean of TR_1..TR_n at bar n. Equals TA-Lib ATR.

    The true ranges stand in `out` first. Four symbols are then averaged in step: each bar waits for the division of
    the bar before, and the processor has room for the divisions of three others meanwhile.
    """
    for k in range(first, last):
        rows = slice(offsets[k], offsets[k + 1])
        _true_ranges(high[rows], low[rows], close[rows], out[rows])
    fours = last - (last - first) % 4
    for k in range(first, fours, 4):
        a, b = out[offsets[k] : offsets[k + 1]], out[offsets[k + 1] : offsets[k + 2]]
        c, d = out[offsets[k + 2] : offsets[k + 3]], out[offsets[k + 3] : offsets[k + 4]]
        shared = min(len(a), len(b), len(c), len(d))
        begun = min(n + 1, shared)
        p, q = _average_range(a[:begun], 0, 0.0, n), _average_range(b[:begun], 0, 0.0, n)
        r, s = _average_range(c[:begun], 0, 0.0, n), _average_range(d[:begun], 0, 0.0, n)
        e, f, g, h = a[begun:shared], b[begun:shared], c[begun:shared], d[begun:shared]
        for t in range(len(e)):
            p, q = (p * (n - 1) + e[t]) / n, (q * (n - 1) + f[t]) / n
            r, s = (r * (n - 1) + g[t]) / n, (s * (n - 1) + h[t]) / n
            e[t], f[t], g[t], h[t] = p, q, r, s
        for values, value in ((a, p), (b, q), (c, r), (d, s)):
            _average_range(values[shared:], shared, value, n)
    for k in range(fours, last):
        _average_range(out[offsets[k] : offsets[k + 1]], 0, 0.0, n)


@njit(cache=True, nogil=True)
def _true_ranges(high: Floats, low: Floats, close: Floats, out: Floats) -> None:
    """The largest of high - low and the distances of both from the previous close; 0 in the first bar."""
    out[:1] = 0.0
    highs, lows, ranges = high[1:], low[1:], out[1:]
    for t in range(len(ranges)):
        span, up, down = highs[t] - lows[t], abs(highs[t] - close[t]), abs(lows[t] - close[t])
        ranges[t] = max(span, up, down)


@njit(cache=True, nogil=True)
def _average_range(ranges: Floats, bars_before: int, value: float, n: int) -> float:
    """Put averages in the place of true ranges, going on from a value after so many bars; return the last one."""
    for t in range(len(ranges)):
        i, span = bars_before + t, ranges[t]
        if i <= n:
            value += span
            if i == n:
                value /= n
        else:
            value = (value * (n - 1) + span) / n
        ranges[t] = value if i >= n else np.nan
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
        rows = slice(offsets[k], offsets[k + 1])
        on, closes, factors, dollars = tradable[rows], close[rows], factor[rows], adv[rows]
        ranges, averages, good = atr[rows], trend[rows], out[rows]
        for t in range(len(good)):  # all conditions of every bar, none skipped: so several bars are judged at a time
            priced = (closes[t] * factors[t] >= min_price) & (dollars[t] >= min_adv)
            beyond_trend = (sign == 0) | (sign * (closes[t] - averages[t]) > noise * abs(averages[t]))
            good[t] = on[t] & priced & (ranges[t] > 0.0) & beyond_trend
        good[: max(0, min_history)] = False


def rows_within(usable: Bools, a: Floats, a_low: float, a_high: float, b: Floats, b_low: float, b_high: float) -> Ints:
    """Rows that are usable with both values inside their bounds, which count as inside; NaN is outside."""
    inside = np.empty(len(usable), dtype=np.bool_)
    box = (float(a_low), float(a_high), float(b_low), float(b_high))
    in_parts(len(usable), len(usable), lambda first, last: _within(first, last, usable, a, b, box, inside))
    return np.flatnonzero(inside)


@njit(cache=True, nogil=True)
def _within(
    first: int, last: int, usable: Bools, a: Floats, b: Floats, box: tuple[float, float, float, float], out: Bools
) -> None:
    on, x, y, inside = usable[first:last], a[first:last], b[first:last], out[first:last]
    left, right, bottom, top = box
    for t in range(len(inside)):
        inside[t] = on[t] & (left <= x[t]) & (x[t] <= right) & (bottom <= y[t]) & (y[t] <= top)


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
    values, bits = up[first:last], out[first:last]
    for t in range(len(bits)):
        bits[t] = np.uint8(values[t] >= up_from) | (np.uint8(values[t] <= down_to) << np.uint8(1))
