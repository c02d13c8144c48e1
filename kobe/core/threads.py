"""Compiled work over parts of a range, in as many threads as numba may use; each part writes to its own places."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

_THREAD = threading.local()  # a thread of the pool that waited for the pool would wait for itself
WORTH_IT = 400_000  # items below which handing work to threads costs more than it saves


def in_parts(count: int, items: int, work: Callable[[int, int], object]) -> None:
    """Call `work(first, last)` over adjoining parts of `range(count)`; the parts' results must not depend on the cut.

    Args:
        count: length of the range.
        items: how much there is to do in all; little is done in one part.
        work: releases the GIL and writes only what belongs to its part. What it does in parts itself is done in one.
    """
    parts = min(_allowed(), count) if items >= WORTH_IT and not getattr(_THREAD, "is_ours", False) else 1
    if parts <= 1:
        work(0, count)
        return
    borders = [count * k // parts for k in range(parts + 1)]
    pool = _pool(os.getpid(), parts)
    for done in [pool.submit(work, a, b) for a, b in pairwise(borders)]:
        done.result()


def _allowed() -> int:
    import numba

    return int(numba.get_num_threads())


@lru_cache(maxsize=1)
def _pool(_process: int, parts: int) -> ThreadPoolExecutor:
    """Keep the threads for the next call; the copy of a process has none of its own yet."""
    return ThreadPoolExecutor(parts, "parts", lambda: setattr(_THREAD, "is_ours", True))
