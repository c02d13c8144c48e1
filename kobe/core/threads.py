"""Compiled work over parts of a range, in as many threads as numba may use; each part writes to its own places."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_THREAD = threading.local()  # a thread of the pool that waited for the pool would wait for itself
_LIMIT: list[int] = []
WORTH_IT = 400_000  # items below which handing work to threads costs more than it saves


def in_parts(count: int, items: int, work: Callable[[int, int], object]) -> None:
    """Call `work(first, last)` over adjoining parts of `range(count)`; the parts' results must not depend on the cut.

    Args:
        count: length of the range.
        items: how much there is to do in all; little is done in one part.
        work: releases the GIL and writes only what belongs to its part. What it does in parts itself is done in one.
    """
    allowed = _allowed() if items >= WORTH_IT and not getattr(_THREAD, "is_ours", False) else 1
    parts = min(allowed, count)
    if parts <= 1:
        work(0, count)
        return
    borders = [count * k // parts for k in range(parts + 1)]
    pool = _pool(os.getpid(), allowed)
    for done in [pool.submit(work, a, b) for a, b in pairwise(borders)]:
        done.result()


def each(things: Sequence[T], items: int, work: Callable[[T], R]) -> list[R]:
    """Return what `work` makes of each thing, in their order; side by side where there is enough to do.

    Where one fails, or a person interrupts, no further thing is begun; so each should be small.

    Args:
        things: what to work on; the result of one must not depend on another.
        items: how much there is to do in all, as for `in_parts`.
        work: as for `in_parts`.
    """
    found: dict[int, R] = {}
    stopped = threading.Event()

    def part(first: int, last: int) -> None:
        with _set_by_a_fault(stopped):
            for k in range(first, last):
                if stopped.is_set():
                    return
                found[k] = work(things[k])

    with _set_by_a_fault(stopped):
        in_parts(len(things), items, part)
    return [found[k] for k in range(len(things))]


@contextmanager
def _set_by_a_fault(stopped: threading.Event) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stopped.set()
        raise


def limit(threads: int) -> None:
    """Allow so many threads while numba, which knows a limit of its own, is not loaded."""
    _LIMIT[:] = [max(1, threads)]


def _allowed() -> int:
    """Return how many threads there may be: numba's word where it is loaded, else what it would say."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return int(numba.get_num_threads())
    if _LIMIT:
        return _LIMIT[-1]
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Keep the threads for the next call; the copy of a process has none of its own yet."""
    return ThreadPoolExecutor(threads, "parts", lambda: setattr(_THREAD, "is_ours", True))
