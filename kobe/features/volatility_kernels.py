"""Compiled Yang-Zhang volatility, of all bars or of some rows alone, and where it stands among its own last values.

Inputs are symbol-major float64[rows]; row t is known at the close of bar t.
"""

import numpy as np

from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints


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
                variance = (_squares(overnight) + weight * _squares(body)) / (n - 1) + (1 - weight) * _mean_of(scatter)
                out[t - begin] = np.sqrt(252.0 * variance)


@njit(cache=True, nogil=True)
def _squares(x: Floats) -> float:
    """Sum of squared distances from the mean."""
    mean = _mean_of(x)
    total = 0.0
    for value in x:
        total += (value - mean) ** 2
    return total


@njit(cache=True, nogil=True)
def _mean_of(x: Floats) -> float:
    """Plain mean; numba's array functions would have to be loaded with every kernel that uses one."""
    total = 0.0
    for value in x:
        total += value
    return total / len(x)


@njit(cache=True, nogil=True)
def _share_up_to_last(x: Floats) -> float:
    """Share of values at or below the last one."""
    count = 0
    for value in x:
        count += value <= x[-1]
    return count / len(x)


@njit(cache=True, nogil=True)
def share_at_or_below(x: Floats, rows: Ints, window: int) -> Floats:
    """Share of the last `window` values up to each row that are at or below the row's own."""
    out = np.empty(len(rows))
    for i in range(len(rows)):
        t = rows[i]
        out[i] = _share_up_to_last(x[t - window + 1 : t + 1])
    return out


@njit(cache=True, nogil=True)
def volatility_ranks(
    starts: Ints, rows: Ints, opened: Floats, high: Floats, low: Floats, close: Floats, n: int, window: int, out: Floats
) -> None:
    """`share_at_or_below` of `yang_zhang`, worked out for some rows alone; `starts` are their symbols' first rows."""
    levels = np.empty(window)
    for i in range(len(rows)):
        _yang_zhang_span(starts[i], rows[i] - window + 1, opened, high, low, close, n, levels)
        out[i] = _share_up_to_last(levels)
