"""Compiled recursions over symbol-major arrays: every symbol by itself, only backwards; some walk four in step.

Most kernels work on symbols `first` to `last` (not included), take `offsets` (int64[n + 1], row borders of all symbols)
and float64[rows] inputs without NaN, and fill float64[rows] with NaN where the value is not yet defined; a `Pass`
runs them over all symbols. Row t is known at the close of bar t.
"""

from typing import Any

import numpy as np

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints
from kobe.core.threads import in_parts


def filled(kernel: Any, offsets: Ints, *inputs: Any, columns: int) -> list[Floats]:
    """Run a kernel of several columns over all symbols, in threads where that pays, and return what it filled."""
    out = [np.empty(int(offsets[-1])) for _ in range(columns)]
    in_parts(len(offsets) - 1, int(offsets[-1]), lambda a, b: kernel(a, b, offsets, *inputs, *out))
    return out


ZERO = 1e-14  # below this an average move counts as none, as in TA-Lib


@njit(cache=True, nogil=True)
def _four_symbols(k: int, last: int, offsets: Ints) -> tuple[slice, tuple[int, int, int, int, int], int]:
    """Rows of symbol k and the three after it, where each begins and ends in them, and how many bars all four have.

    A recursion waits in each bar for the bar before. So four symbols are walked in step as long as all of them last,
    each with the digits it has alone, and then the longer ones by themselves. Symbols beyond the last are empty.
    """
    begin, b, c = offsets[k], offsets[k + 1], offsets[min(k + 2, last)]
    d, e = offsets[min(k + 3, last)], offsets[min(k + 4, last)]
    borders = (begin - begin, b - begin, c - begin, d - begin, e - begin)
    return slice(begin, e), borders, min(b - begin, c - b, d - c, e - d)


@njit(cache=True, nogil=True)
def _apart(
    x: Floats, borders: tuple[int, int, int, int, int], skip: int, count: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """So many bars of each of four symbols after the skipped ones."""
    a, b, c, d = borders[0] + skip, borders[1] + skip, borders[2] + skip, borders[3] + skip
    return x[a : a + count], x[b : b + count], x[c : c + count], x[d : d + count]


@njit(cache=True, nogil=True, error_model="numpy")
def sma(first: int, last: int, offsets: Ints, x: Floats, n: int, out: Floats) -> None:
    """Mean of the last n values; first defined at bar n - 1 of a symbol. Equals TA-Lib SMA."""
    for k in range(first, last, 4):
        rows, borders, shared = _four_symbols(k, last, offsets)
        _four_means(x[rows], borders, shared, n, n, out[rows])


@njit(cache=True, nogil=True, error_model="numpy")
def mean_product(first: int, last: int, offsets: Ints, x: Floats, y: Floats, n: int, least: int, out: Floats) -> None:
    """Mean of x times y over the last n rows, or over those there are when at least `least`."""
    product = np.empty(0)
    for k in range(first, last, 4):
        rows, borders, shared = _four_symbols(k, last, offsets)
        a, b = x[rows], y[rows]
        if len(a) > len(product):
            product = np.empty(len(a))
        for t in range(len(a)):
            product[t] = a[t] * b[t]
        _four_means(product[: len(a)], borders, shared, n, least, out[rows])


@njit(cache=True, nogil=True, error_model="numpy")
def _four_means(
    x: Floats, borders: tuple[int, int, int, int, int], shared: int, n: int, least: int, out: Floats
) -> None:
    """Means of four symbols; the divisions of each come last, several bars at a time."""
    begun = min(n, shared)
    a, b, c, d, e = borders
    p, q = _mean(x[a:b], 0, 0.0, n, least, out[a : a + begun]), _mean(x[b:c], 0, 0.0, n, least, out[b : b + begun])
    r, s = _mean(x[c:d], 0, 0.0, n, least, out[c : c + begun]), _mean(x[d:e], 0, 0.0, n, least, out[d : d + begun])
    new_a, new_b, new_c, new_d = _apart(x, borders, begun, shared - begun)
    old_a, old_b, old_c, old_d = _apart(x, borders, 1, shared - begun)
    sums_a, sums_b, sums_c, sums_d = _apart(out, borders, begun, shared - begun)
    for t in range(len(sums_a)):
        p, q, r, s = p + new_a[t], q + new_b[t], r + new_c[t], s + new_d[t]
        sums_a[t], sums_b[t], sums_c[t], sums_d[t] = p, q, r, s
        p, q, r, s = p - old_a[t], q - old_b[t], r - old_c[t], s - old_d[t]
    for begin, end, total in ((a, b, p), (b, c, q), (c, d, r), (d, e, s)):
        sums = out[begin + begun : begin + shared]
        for t in range(len(sums)):
            sums[t] /= n
        _mean(x[begin:end], shared, total, n, least, out[begin:end])


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(x: Floats, begin: int, total: float, n: int, least: int, out: Floats) -> float:
    """Fill `out` from a bar on, given the sum of the n - 1 before; return the sum that the next bar goes on with."""
    for t in range(begin, len(out)):
        total += x[t]
        seen = min(t + 1, n)
        out[t] = total / seen if seen >= least else np.nan
        if seen == n:
            total -= x[t + 1 - n]
    return total


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

    Equals TA-Lib RSI, except that no movement at all is NaN and not 0 (DOMAIN D7). The averages of four symbols run in
    step, the division of each bar afterwards: nothing waits for it there, and the processor takes several at a time.
    """
    losses = np.empty(0)
    for k in range(first, last, 4):
        rows, borders, shared = _four_symbols(k, last, offsets)
        values = out[rows]
        if len(values) > len(losses):
            losses = np.empty(len(values))
        falls = losses[: len(values)]
        _four_moves(close[rows], borders, shared, n, values, falls)
        for t in range(len(values)):
            both = values[t] + falls[t]
            share = 100.0 * (values[t] / both)
            values[t] = share if both >= ZERO else np.nan


@njit(cache=True, nogil=True)
def _four_moves(
    close: Floats, borders: tuple[int, int, int, int, int], shared: int, n: int, gains: Floats, losses: Floats
) -> None:
    """Wilder averages of the rises and falls of four symbols; NaN before bar n."""
    for i in range(4):
        rows = slice(borders[i], borders[i + 1])
        _first_moves(close[rows], n, gains[rows], losses[rows])
    if shared > n + 1:
        _moves_in_step(close, borders, shared - n, n, gains, losses)
    for i in range(4):
        rows = slice(borders[i] + max(n, shared - 1), borders[i + 1])
        _moves(close[rows], n, gains[rows], losses[rows])


@njit(cache=True, nogil=True)
def _first_moves(close: Floats, n: int, gains: Floats, losses: Floats) -> None:
    """Put the mean rise and the mean fall of the first n changes at bar n, and NaN before it."""
    gain = loss = 0.0
    for t in range(1, min(n + 1, len(close))):
        gain += max(0.0, close[t] - close[t - 1])
        loss += max(0.0, close[t - 1] - close[t])
    gains[:n] = losses[:n] = np.nan
    if len(close) > n:
        gains[n], losses[n] = gain / n, loss / n


@njit(cache=True, nogil=True)
def _moves_in_step(
    close: Floats, borders: tuple[int, int, int, int, int], count: int, n: int, gains: Floats, losses: Floats
) -> None:
    """Go on with the averages of four symbols from what stands at bar n, to so many bars of each."""
    a, b, c, d = _apart(close, borders, n, count)
    up_a, up_b, up_c, up_d = _apart(gains, borders, n, count)
    down_a, down_b, down_c, down_d = _apart(losses, borders, n, count)
    p, q, r, s, u, v, w, x = up_a[0], up_b[0], up_c[0], up_d[0], down_a[0], down_b[0], down_c[0], down_d[0]
    for t in range(1, len(a)):
        p, u = _next_moves(a[t] - a[t - 1], p, u, n)
        q, v = _next_moves(b[t] - b[t - 1], q, v, n)
        r, w = _next_moves(c[t] - c[t - 1], r, w, n)
        s, x = _next_moves(d[t] - d[t - 1], s, x, n)
        up_a[t], up_b[t], up_c[t], up_d[t] = p, q, r, s
        down_a[t], down_b[t], down_c[t], down_d[t] = u, v, w, x


@njit(cache=True, nogil=True)
def _moves(close: Floats, n: int, gains: Floats, losses: Floats) -> None:
    """Go on with the averages of one symbol from what stands at its first bar."""
    for t in range(1, len(close)):
        gains[t], losses[t] = _next_moves(close[t] - close[t - 1], gains[t - 1], losses[t - 1], n)


@njit(cache=True, nogil=True, inline="always")
def _next_moves(change: float, gain: float, loss: float, n: int) -> tuple[float, float]:
    """Both averages a bar later."""
    gain, loss = gain * (n - 1) + max(0.0, change), loss * (n - 1) + max(0.0, -change)
    if n & (n - 1) == 0:  # dividing by a power of two is multiplying, digit for digit, at a third of the time
        return gain * (1.0 / n), loss * (1.0 / n)
    return gain / n, loss / n


@njit(cache=True, nogil=True)
def wilder_atr(
    first: int, last: int, offsets: Ints, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Wilder average of the true range, seeded with the mean of TR_1..TR_n at bar n. Equals TA-Lib ATR.

    The true ranges stand in `out` first, those of four symbols at a time: so they are still in the cache.
    """
    for k in range(first, last, 4):
        rows, borders, shared = _four_symbols(k, last, offsets)
        for i in range(k, min(k + 4, last)):
            own = slice(offsets[i], offsets[i + 1])
            _true_ranges(high[own], low[own], close[own], out[own])
        _four_averages(out[rows], borders, shared, n)


@njit(cache=True, nogil=True)
def _four_averages(ranges: Floats, borders: tuple[int, int, int, int, int], shared: int, n: int) -> None:
    """Put averages in the place of the true ranges of four symbols."""
    begun = min(n + 1, shared)
    a, b, c, d, e = borders
    p, q = _average_range(ranges[a : a + begun], 0, 0.0, n), _average_range(ranges[b : b + begun], 0, 0.0, n)
    r, s = _average_range(ranges[c : c + begun], 0, 0.0, n), _average_range(ranges[d : d + begun], 0, 0.0, n)
    of_a, of_b, of_c, of_d = _apart(ranges, borders, begun, shared - begun)
    for t in range(len(of_a)):
        p, q = (p * (n - 1) + of_a[t]) / n, (q * (n - 1) + of_b[t]) / n
        r, s = (r * (n - 1) + of_c[t]) / n, (s * (n - 1) + of_d[t]) / n
        of_a[t], of_b[t], of_c[t], of_d[t] = p, q, r, s
    for begin, end, value in ((a, b, p), (b, c, q), (c, d, r), (d, e, s)):
        _average_range(ranges[begin + shared : end], shared, value, n)


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
