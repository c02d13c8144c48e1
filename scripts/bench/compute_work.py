"""The work of scripts/bench/compute.py, in a module of its own so that workers can import it."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from kobe.core.ports import Arrays


@numba.njit(cache=True)
def _walk(close: npt.NDArray[np.float64], period: int, band: float) -> tuple[float, int]:
    """Follow a mean that forgets, enter below its band, leave above it; return the sum of returns and the trades."""
    mean, spread, entry, total, trades = close[0], 0.0, 0.0, 0.0, 0
    share = 2.0 / (period + 1.0)
    for i in range(1, len(close)):
        move = close[i] - mean
        mean += share * move
        spread += share * (abs(move) - spread)
        if entry == 0.0 and move < -band * spread:
            entry = close[i]
        elif entry != 0.0 and move > 0.0:
            total += np.log(close[i] / entry)
            trades += 1
            entry = 0.0
    return total, trades


def walks(task: tuple[int, int], arrays: Arrays) -> npt.NDArray[Any]:
    """Walk one period through many bands, some times over: float64[bands, 2]."""
    period, times = task
    close = arrays["close"]
    found = np.zeros((40, 2))
    for _ in range(times):
        for k in range(len(found)):
            found[k] = _walk(close, period, 0.5 + 0.05 * k)
    return found
