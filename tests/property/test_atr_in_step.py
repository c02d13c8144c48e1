"""Symbols walked in step, four at a time and of any lengths, have the ATR and RSI of the plain recursion."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.features import kernels


def plain_atr(high: np.ndarray, low: np.ndarray, close: np.ndarray, n: int) -> np.ndarray:
    out, value = np.full(len(close), np.nan), 0.0
    for t in range(1, len(close)):
        reach = max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
        value = value + reach if t <= n else (value * (n - 1) + reach) / n
        value = value / n if t == n else value
        out[t] = value if t >= n else np.nan
    return out


def plain_rsi(close: np.ndarray, n: int) -> np.ndarray:
    out, gain, loss = np.full(len(close), np.nan), 0.0, 0.0
    for t in range(1, len(close)):
        up, down = max(close[t] - close[t - 1], 0.0), max(close[t - 1] - close[t], 0.0)
        gain = gain + up if t <= n else (gain * (n - 1) + up) / n
        loss = loss + down if t <= n else (loss * (n - 1) + down) / n
        if t == n:
            gain, loss = gain / n, loss / n
        if t >= n and gain + loss >= kernels.ZERO:
            out[t] = 100.0 * (gain / (gain + loss))
    return out


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=11),
    n=st.sampled_from([1, 2, 3, 4, 5, 8, 14]),
    seed=st.integers(0, 2**32 - 1),
)
def test_atr_and_rsi_equal_the_plain_recursion_to_the_last_digit(lengths, n, seed):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    rows = int(offsets[-1])
    close = np.round(50.0 + np.cumsum(rng.normal(0.0, 1.0, rows)), 2)
    high, low = close + np.round(rng.random(rows), 2), close - np.round(rng.random(rows), 2)
    atr, rsi = np.full(rows, -1.0), np.full(rows, -1.0)
    kernels.wilder_atr(0, len(lengths), offsets, high, low, close, n, atr)
    kernels.rsi(0, len(lengths), offsets, close, n, rsi)
    for k in range(len(lengths)):
        span = slice(int(offsets[k]), int(offsets[k + 1]))
        assert np.array_equal(atr[span], plain_atr(high[span], low[span], close[span], n), equal_nan=True)
        assert np.array_equal(rsi[span], plain_rsi(close[span], n), equal_nan=True)
