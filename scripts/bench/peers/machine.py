"""What the machine itself allows W1: one read of the four price columns, and four chained recursions over its bars."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from . import market, rules, worker

BARS = market.SYMBOLS * rules.W1_SESSIONS
PRICE_COLUMNS, RECURSIONS = 4, 4  # RSI gain and loss, ATR, and the running sums
CACHED, KEEP = 2_048, 13.0 / 14.0  # a stretch that stays in the first cache, so that only the chain is measured


@numba.njit(cache=True, nogil=True)
def _chain(x: npt.NDArray[np.float64], steps: int) -> float:
    """One Wilder recursion: each step waits for a product and a sum of the step before."""
    value = 0.0
    share = 1.0 - KEEP
    for _ in range(steps // len(x)):
        for t in range(len(x)):
            value = value * KEEP + x[t] * share
    return value


def _on_threads(threads: int, work: Callable[[int], object]) -> worker.Call:
    pool = ThreadPoolExecutor(threads)

    def run() -> dict[str, Any]:
        for done in [pool.submit(work, k) for k in range(threads)]:
            done.result()
        return {}

    return run


def read(threads: int) -> worker.Call:
    """Read four columns of W1's length once."""
    columns = np.random.default_rng(1).random(PRICE_COLUMNS * BARS)
    parts = np.array_split(columns, threads)
    return _on_threads(threads, lambda k: parts[k].sum())


def recursions(threads: int) -> worker.Call:
    """Step four recursions over all bars, one after the other."""
    values = np.random.default_rng(2).random(CACHED)
    return _on_threads(threads, lambda _: _chain(values, RECURSIONS * BARS // threads))
