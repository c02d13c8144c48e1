"""Compiled recursions over symbol-major arrays. Each walks one symbol at a time and looks only backwards.

Most kernels work on symbols `first` to `last` (not included), take `offsets` (int64[n + 1], row borders of all symbols)
and float64[rows] inputs without NaN, and fill float64[rows] with NaN where the value is not yet defined; `filled` runs
them over all symbols. Row t is known at the close of bar t.
"""

from typing import Any

import numpy as np

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints
from kobe.core.threads import in_parts


def filled(kernel: Any, offsets: Ints, *inputs: Any, columns: int = 1) -> Any:
    """Run a kernel over all symbols, in threads where that pays, and return what it filled: one column or several."""
    out = [np.empty(int(offsets[-1])) for _ in range(columns)]
    in_parts(len(offsets) - 1, int(offsets[-1]), lambda a, b: kernel(a, b, offsets, *inputs, *out))
    return out[0] if columns == 1 else out


ZERO = 1e-14  # below this an average move counts as none, as in TA-Lib


@njit(cache=True, nogil=True, error_model="numpy")
def sma(first: int, last: int, offsets: Ints, x: Floats, n: int, out: Floats) -> None:
    """Mean of the last n values; first defined at bar n - 1 of a symbol. Equals TA-Lib SMA."""
    for k in range(first, last, 2):
        begin, border, end = offsets[k], offsets[k + 1], offsets[min(k + 2, last)]
        _two_means(x[begin:border], x[border:end], n, n, out[begin:border], out[border:end])


@njit(cache=True, nogil=True, error_model="numpy")
def mean_product(first: int, last: int, offsets: Ints, x: Floats, y: Floats, n: int, least: int, out: Floats) -> None:
    """Mean of x times y over the last n rows, or over those there are when at least `least`."""
    product = np.empty(0)
    for k in range(first, last, 2):
        begin, border, end = offsets[k], offsets[k + 1], offsets[min(k + 2, last)]
        a, b = x[begin:end], y[begin:end]
        if len(a) > len(product):
            product = np.empty(len(a))
        for t in range(len(a)):
            product[t] = a[t] * b[t]
        left, right = product[: border - begin], product[border - begin : end - begin]
        _two_means(left, right, n, least, out[begin:border], out[border:end])


@njit(cache=True, nogil=True, error_model="numpy")
def _two_means(x: Floats, y: Floats, n: int, least: int, out_x: Floats, out_y: Floats) -> None:
    """Means of two symbols, in step while both last: each sum waits for its bar before, and meanwhile there is room."""
    shared = min(len(x), len(y))
    begun = min(n, shared)
    p, q = _mean(x, 0, 0.0, n, least, out_x[:begun]), _mean(y, 0, 0.0, n, least, out_y[:begun])
    new_x, new_y, old_x, old_y = x[begun:shared], y[begun:shared], x[1:], y[1:]
    means_x, means_y = out_x[begun:shared], out_y[begun:shared]
    for t in range(len(means_x)):
        p, q = p + new_x[t], q + new_y[t]
        means_x[t], means_y[t] = p / n, q / n
        p, q = p - old_x[t], q - old_y[t]
    _mean(x, shared, p, n, least, out_x)
    _mean(y, shared, q, n, least, out_y)


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

    Equals TA-Lib RSI, except that no movement at all is NaN and not 0 (DOMAIN D7). The averages of two symbols run in
    step, the division of each bar afterwards: nothing waits for it there, and the processor takes several at a time.
    """
    losses = np.empty(0)
    for k in range(first, last, 2):
        begin, border, end = offsets[k], offsets[k + 1], offsets[min(k + 2, last)]
        if end - begin > len(losses):
            losses = np.empty(end - begin)
        losses_x, losses_y = losses[: border - begin], losses[border - begin : end - begin]
        _two_moves(close[begin:border], close[border:end], n, out[begin:border], losses_x, out[border:end], losses_y)
        values, falls = out[begin:end], losses[: end - begin]
        for t in range(len(values)):
            both = values[t] + falls[t]
            share = 100.0 * (values[t] / both)
            values[t] = share if both >= ZERO else np.nan


@njit(cache=True, nogil=True)
def _two_moves(
    x: Floats, y: Floats, n: int, gains_x: Floats, losses_x: Floats, gains_y: Floats, losses_y: Floats
) -> None:
    """Wilder averages of the rises and falls of two symbols, in step while both last; NaN before bar n."""
    _first_moves(x, n, gains_x, losses_x)
    _first_moves(y, n, gains_y, losses_y)
    shared = min(len(x), len(y))
    both, rest = slice(n, shared), slice(max(n, shared - 1), None)
    _moves_in_step(x[both], y[both], n, gains_x[both], losses_x[both], gains_y[both], losses_y[both])
    for z, gains, losses in ((x, gains_x, losses_x), (y, gains_y, losses_y)):  # the longer one, in step with itself
        _moves_in_step(z[rest], z[rest], n, gains[rest], losses[rest], gains[rest], losses[rest])


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
    x: Floats, y: Floats, n: int, gains_x: Floats, losses_x: Floats, gains_y: Floats, losses_y: Floats
) -> None:
    """Go on with the averages of two symbols from what stands at their first bars."""
    if len(x) == 0 or len(y) == 0:
        return
    exact = n & (n - 1) == 0  # dividing by a power of two is multiplying, digit for digit, at a third of the time
    kept, share = float(n - 1), 1.0 / n
    gain, loss, rise, fall = gains_x[0], losses_x[0], gains_y[0], losses_y[0]
    now_x, now_y, gains_x, losses_x, gains_y, losses_y = (
        x[1:], y[1:], gains_x[1:], losses_x[1:], gains_y[1:], losses_y[1:]
    )  # fmt: skip
    for t in range(len(now_x)):
        change, move = now_x[t] - x[t], now_y[t] - y[t]
        gain, loss = gain * kept + max(0.0, change), loss * kept + max(0.0, -change)
        rise, fall = rise * kept + max(0.0, move), fall * kept + max(0.0, -move)
        if exact:
            gain, loss, rise, fall = gain * share, loss * share, rise * share, fall * share
        else:
            gain, loss, rise, fall = gain / n, loss / n, rise / n, fall / n
        gains_x[t], losses_x[t], gains_y[t], losses_y[t] = gain, loss, rise, fall


@njit(cache=True, nogil=True)
def wilder_atr(
    first: int, last: int, offsets: Ints, high: Floats, low: Floats, close: Floats, n: int, out: Floats
) -> None:
    """Wilder average of the true range, seeded with the mean of TR_1..TR_n at bar n. Equals TA-Lib ATR.

    The true ranges stand in `out` first, those of four symbols at a time: so they are still in the cache.
    """
    for k in range(first, last, 4):
        for i in range(k, min(k + 4, last)):
            rows = slice(offsets[i], offsets[i + 1])
            _true_ranges(high[rows], low[rows], close[rows], out[rows])
        begin, second, third = offsets[k], offsets[min(k + 1, last)], offsets[min(k + 2, last)]
        fourth, end = offsets[min(k + 3, last)], offsets[min(k + 4, last)]
        _average_ranges(out[begin:second], out[second:third], out[third:fourth], out[fourth:end], n)


@njit(cache=True, nogil=True)
def _average_ranges(a: Floats, b: Floats, c: Floats, d: Floats, n: int) -> None:
    """Put averages in the place of the true ranges of four symbols, in step while all last.

    Each bar waits for the division of the bar before; there is room for those of three others meanwhile.
    """
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
