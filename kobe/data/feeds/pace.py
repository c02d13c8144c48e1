"""How often a lost connection is tried again: full jitter over a doubling pause, and an end to it."""

from collections import deque
from datetime import datetime, timedelta
from random import Random

from kobe.core.clock import Clock
from kobe.core.errors import ExternalError
from kobe.data.feeds.port import FeedLimits


class Pace:
    """Counts lost connections and says how long to wait before the next try."""

    def __init__(self, limits: FeedLimits, clock: Clock, rng: Random) -> None:
        """Begin without a loss.

        Args:
            limits: pauses and the allowed number of losses.
            clock: gives the instants of connections and losses.
            rng: draws the jitter.
        """
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._losses: deque[datetime] = deque()
        self._in_a_row = 0
        self._connected_at: datetime | None = None

    def connected(self) -> None:
        """Remember that a connection stands; only one that lasts ends a row of losses."""
        self._connected_at = self._clock.now()

    def lost(self, reason: str, at_least_s: float = 0.0) -> float:
        """Count a loss and return the seconds to wait: anything up to the doubled pause, after a given minimum.

        Raises:
            ExternalError: too many losses within the window.
        """
        now = self._clock.now()
        if self._connected_at and now - self._connected_at >= timedelta(seconds=self._limits.stable_after_s):
            self._in_a_row = 0
        self._connected_at = None
        self._in_a_row += 1
        self._losses.append(now)
        window = timedelta(seconds=self._limits.attempts_window_s)
        while abs(now - self._losses[0]) > window:  # both ways: a clock that was set back must not keep them for ever
            self._losses.popleft()
        if len(self._losses) > self._limits.attempts:
            raise ExternalError(
                "the bar feed stays out of reach",
                seen=f"{len(self._losses)} lost connections within {self._limits.attempts_window_s:.0f} s; {reason}",
                expected=f"at most {self._limits.attempts}",
                next_command="kobe doctor",
                retryable=True,
            )
        widest = min(self._limits.backoff_cap_s, self._limits.backoff_base_s * 2 ** min(self._in_a_row - 1, 16))
        return at_least_s + self._rng.uniform(0.0, widest)
