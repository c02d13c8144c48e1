"""Compiled recursions over symbol-major arrays. Each walks one symbol at a time and looks only backwards.

Every kernel takes `offsets` (int64[n + 1], row borders of the symbols) and float64[rows] inputs without NaN,
and returns float64[rows] with NaN where the value is not yet defined. Row t is known at the close of bar t.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from kobe.core.panel import Floats, Ints

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

ZERO = 1e-14  # below this an average move counts as none, as in TA-Lib


@njit(cache=True, nogil=True)
def sma(offsets: Ints, x: Floats, n: int) -> Floats:
    """Mean of the last n values; first defined at bar n - 1 of a symbol. Equals TA-Lib SMA."""
    out = np.full(len(x), np.nan)
    for k in range(len(offsets) - 1):
        total = 0.0
        start = offsets[k]
        for t in range(start, offsets[k + 1]):
            total += x[t]
            if t - start >= n - 1:
                out[t] = total / n
                total -= x[t - n + 1]
    return out


@njit(cache=True, nogil=True)
def rolling_mean_min(offsets: Ints, x: Floats, n: int, least: int) -> Floats:
    """Mean of the last n values, or of those there are when at least `least`."""
    out = np.full(len(x), np.nan)
    for k in range(len(offsets) - 1):
        total = 0.0
        start = offsets[k]
        for t in range(start, offsets[k + 1]):
            total += x[t]
            if t - start >= n:
                total -= x[t - n]
            seen = min(t - start + 1, n)
            if seen >= least:
                out[t] = total / seen
    return out


@njit(cache=True, nogil=True)
def rsi(offsets: Ints, close: Floats, n: int) -> Floats:
    """Wilder RSI in [0, 100], seeded with the mean of the first n changes; first defined at bar n.

    Equals TA-Lib RSI, except that no movement at all is NaN and not 0 (DOMAIN D7).
    """
    out = np.full(len(close), np.nan)
    for k in range(len(offsets) - 1):
        start = offsets[k]
        gain = 0.0
        loss = 0.0
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
            else:
                gain = (gain * (n - 1) + up) / n
                loss = (loss * (n - 1) + down) / n
            if i >= n and gain + loss >= ZERO:
                out[t] = 100.0 * (gain / (gain + loss))
    return out


@njit(cache=True, nogil=True)
def true_range(offsets: Ints, high: Floats, low: Floats, close: Floats) -> Floats:
    """Largest of high - low and the distances of both from the previous close; NaN at a symbol's first bar."""
    out = np.full(len(close), np.nan)
    for k in range(len(offsets) - 1):
        for t in range(offsets[k] + 1, offsets[k + 1]):
            previous = close[t - 1]
            out[t] = max(high[t] - low[t], abs(high[t] - previous), abs(low[t] - previous))
    return out


@njit(cache=True, nogil=True)
def wilder_atr(offsets: Ints, ranges: Floats, n: int) -> Floats:
    """Wilder average of the true range, seeded with the mean of TR_1..TR_n at bar n. Equals TA-Lib ATR."""
    out = np.full(len(ranges), np.nan)
    for k in range(len(offsets) - 1):
        start = offsets[k]
        value = 0.0
        for t in range(start + 1, offsets[k + 1]):
            i = t - start
            if i <= n:
                value += ranges[t]
                if i == n:
                    value /= n
            else:
                value = (value * (n - 1) + ranges[t]) / n
            if i >= n:
                out[t] = value
    return out


@njit(cache=True, nogil=True)
def prior_low_and_age(offsets: Ints, low: Floats, n: int) -> tuple[Floats, Floats]:
    """Lowest low of the n bars before t (t not among them) and its age in bars; equal lows: the newest counts."""
    lowest = np.full(len(low), np.nan)
    age = np.full(len(low), np.nan)
    for k in range(len(offsets) - 1):
        start = offsets[k]
        best = start
        for t in range(start + 1, offsets[k + 1]):
            if best < t - n:
                best = t - n
                for j in range(t - n + 1, t):
                    if low[j] <= low[best]:
                        best = j
            elif low[t - 1] <= low[best]:
                best = t - 1
            if t - start >= n:
                lowest[t] = low[best]
                age[t] = t - best
    return lowest, age


@njit(cache=True, nogil=True)
def yang_zhang(offsets: Ints, opened: Floats, high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    """Yang-Zhang volatility (annualised, 252 sessions) of the last n bars (DOMAIN 5); first defined at bar n."""
    out = np.full(len(close), np.nan)
    weight = 0.34 / (1.34 + (n + 1) / (n - 1))
    overnight, body, scatter = np.empty(n), np.empty(n), np.empty(n)
    for k in range(len(offsets) - 1):
        start = offsets[k]
        for t in range(start + 1, offsets[k + 1]):
            up, down = np.log(high[t] / opened[t]), np.log(low[t] / opened[t])
            place = (t - start - 1) % n
            overnight[place], body[place] = np.log(opened[t] / close[t - 1]), np.log(close[t] / opened[t])
            scatter[place] = up * (up - body[place]) + down * (down - body[place])
            if t - start >= n:
                variance = (_squares(overnight) + weight * _squares(body)) / (n - 1) + (1 - weight) * scatter.mean()
                out[t] = np.sqrt(252.0 * variance)
    return out


@njit(cache=True, nogil=True)
def _squares(x: Floats) -> float:
    """Sum of squared distances from the mean."""
    mean = x.mean()
    total = 0.0
    for value in x:
        total += (value - mean) ** 2
    return total


@njit(cache=True, nogil=True)
def share_at_or_below(x: Floats, rows: Ints, n: int) -> Floats:
    """Share of the last n values up to each row that are at or below the row's own."""
    out = np.empty(len(rows))
    for i in range(len(rows)):
        t = rows[i]
        count = 0
        for j in range(t - n + 1, t + 1):
            count += x[j] <= x[t]
        out[i] = count / n
    return out


@njit(cache=True, nogil=True)
def rows_within(usable: Bools, a: Floats, a_low: float, a_high: float, b: Floats, b_low: float, b_high: float) -> Ints:
    """Rows that are usable with both values inside their bounds, which count as inside; NaN is outside."""
    out = np.empty(len(usable), np.int64)
    found = 0
    for t in range(len(usable)):
        if usable[t] and a_low <= a[t] <= a_high and b_low <= b[t] <= b_high:
            out[found] = t
            found += 1
    return out[:found].copy()


@njit(cache=True, nogil=True)
def beyond(sign: int, price: Floats, level: Floats, noise: float) -> Bools:
    """Where a price is strictly above (sign +1) or below (-1) a level by more than a share of it; NaN is not."""
    out = np.empty(len(price), np.bool_)
    for t in range(len(price)):
        out[t] = sign * (price[t] - level[t]) > noise * abs(level[t])
    return out


@njit(cache=True, nogil=True)
def exit_bits(up: Floats, up_from: float, down_to: float) -> Bytes:
    """Bit 0 where a value is at least `up_from`, bit 1 where it is at most `down_to`; NaN sets none."""
    out = np.zeros(len(up), np.uint8)
    for t in range(len(up)):
        out[t] = (1 if up[t] >= up_from else 0) + (2 if up[t] <= down_to else 0)
    return out
