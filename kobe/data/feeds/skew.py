"""The clock guard: can this process and the exchange agree on what time it is, and are messages still fresh?"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewLimits:
    """When clocks are in doubt.

    Attributes:
        alarm_ms: a message earlier than its own timestamp by more, or no message fresher than this, is an alarm.
        clear_ms: what must hold instead, for the alarm to end; less than `alarm_ms`.
        window_s: span of the messages that are judged together.
        quiet_s: how long nothing may have offended before the alarm ends.
        samples: fewest messages in the window that allow a judgement on freshness, or an end of the alarm.
    """

    alarm_ms: float = 250.0
    clear_ms: float = 200.0
    window_s: float = 30.0
    quiet_s: float = 30.0
    samples: int = 10


class SkewGuard:
    """Watches how much later than its timestamp each trade and quote arrives.

    One message from the future proves that a clock is wrong. Lateness proves nothing by itself, networks have bad
    moments; but when even the freshest message of a whole window is late, the clock or the line is.
    """

    def __init__(self, limits: SkewLimits) -> None:
        """Begin without an alarm and without a measurement."""
        self.reason: str | None = None
        """Why the clocks are in doubt and by how much, or None."""
        self._limits = limits
        self._window: deque[tuple[datetime, float]] = deque()
        self._lowest: deque[tuple[datetime, float]] = deque()
        self._offended_at: datetime | None = None

    @property
    def skew_ms(self) -> float | None:
        """Milliseconds by which the freshest message of the window came after its timestamp; None without one."""
        return self._lowest[0][1] if self._lowest else None

    def observe(self, sent_at: datetime, received_at: datetime) -> None:
        """Take in a trade's or quote's timestamp and the instant it was received."""
        late_ms = (received_at - sent_at) / _MS
        self._remember(received_at, late_ms)
        best = self._lowest[0][1]
        if late_ms < -self._limits.alarm_ms:
            self._alarm(received_at, f"a message came {-late_ms:.0f} ms before its own timestamp")
        elif len(self._window) >= self._limits.samples and best > self._limits.alarm_ms:
            self._alarm(received_at, f"no message is fresher than {best:.0f} ms")
        elif self.reason is not None:
            self._try_to_clear(received_at, late_ms)

    def observe_earliest(self, earliest: datetime, received_at: datetime) -> None:
        """Take in something that cannot have been sent before an instant, such as a bar before its minute's end."""
        ahead_ms = (earliest - received_at) / _MS
        if ahead_ms > self._limits.alarm_ms:
            self._alarm(received_at, f"a bar came {ahead_ms:.0f} ms before its minute's end")

    def _alarm(self, at: datetime, reason: str) -> None:
        self.reason = reason
        self._offended_at = at

    def _try_to_clear(self, at: datetime, late_ms: float) -> None:
        """End the alarm when for long enough all was well, by the stricter measure."""
        best = self._lowest[0][1]
        if late_ms < -self._limits.clear_ms or best > self._limits.clear_ms:
            self._offended_at = at
        offended = self._offended_at or at
        calm = at - offended >= timedelta(seconds=self._limits.quiet_s)
        if calm and len(self._window) >= self._limits.samples and abs(best) <= self._limits.clear_ms:
            self.reason = None
            self._offended_at = None

    def _remember(self, at: datetime, late_ms: float) -> None:
        if self._window and at < self._window[-1][0]:  # this process's clock was set back: older samples mean nothing
            self._window.clear()
            self._lowest.clear()
            self._offended_at = at if self.reason else None
        self._window.append((at, late_ms))
        while self._lowest and self._lowest[-1][1] >= late_ms:
            self._lowest.pop()
        self._lowest.append((at, late_ms))
        oldest = at - timedelta(seconds=self._limits.window_s)
        for kept in (self._window, self._lowest):
            while kept[0][0] < oldest:
                kept.popleft()
