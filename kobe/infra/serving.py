"""What a small service needs: a value that many ask for and one makes, and a rate for each of its guests."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Makes a value when it is asked for and keeps it a moment; while one makes it, the others wait for that one."""

    def __init__(
        self,
        make: Callable[[], T],
        keep_s: float,
        *,
        lock: AbstractContextManager[object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is made yet.

        Args:
            make: makes the value; what it raises goes to the one who asked, and the next one tries again.
            keep_s: how old an answer may be.
            lock: shared with others that must not make theirs meanwhile; one of its own by default.
            monotonic: seconds that only grow.
        """
        self._make = make
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._lock = lock or threading.Lock()
        self._made: tuple[float, T] | None = None

    def __call__(self) -> T:
        """Return a value that is at most so old."""
        with self._lock:
            if self._made is None or self._monotonic() - self._made[0] >= self._keep_s:
                value = self._make()
                self._made = (self._monotonic(), value)
            return self._made[1]


class GuestRates:
    """A bucket of tokens for each guest, refilled evenly; the guests seen longest ago are forgotten."""

    def __init__(
        self, per_minute: int, *, most_guests: int = 1024, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Every guest begins with a full bucket of a minute's tokens."""
        self._per_minute = per_minute
        self._most_guests = most_guests
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, guest: str) -> bool:
        """Take one token; False when there is none."""
        with self._lock:
            now = self._monotonic()
            tokens, at = self._left.pop(guest, (float(self._per_minute), now))
            tokens = min(tokens + (now - at) * self._per_minute / 60.0, float(self._per_minute))
            enough = tokens >= 1.0
            self._left[guest] = (tokens - 1.0 if enough else tokens, now)
            while len(self._left) > self._most_guests:
                self._left.popitem(last=False)
            return enough
