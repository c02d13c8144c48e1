"""Time as a port: everything that needs the hour asks a `Clock`; nothing reads the host's."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


class Clock(Protocol):
    """Where the present comes from."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


def as_utc(instant: datetime) -> datetime:
    """Convert an aware instant to UTC.

    Raises:
        ValueError: the instant is naive, which is a defect in the caller.
    """
    if instant.tzinfo is None:
        msg = f"a naive datetime has no meaning here: {instant!r}"
        raise ValueError(msg)
    return instant.astimezone(UTC)


def new_york_date(instant: datetime) -> date:
    """Return the calendar date in New York at an instant; budgets reset when it changes (DOMAIN 4.5)."""
    return as_utc(instant).astimezone(NEW_YORK).date()


def midnight(day: date) -> datetime:
    """Return the instant at which a New York date begins, in UTC."""
    return datetime.combine(day, time.min, NEW_YORK).astimezone(UTC)


def to_ns(instant: datetime) -> int:
    """Nanoseconds since the epoch, exact for microsecond instants."""
    delta = as_utc(instant) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def from_ns(nanoseconds: int) -> datetime:
    """Convert nanoseconds since the epoch to an aware UTC instant (microsecond resolution)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1_000)


@dataclass(slots=True)
class SteppingClock:
    """A clock that moves only when told to; it never goes back unless told so explicitly."""

    instant: datetime

    def now(self) -> datetime:
        """Return the instant it was last set to."""
        return as_utc(self.instant)

    def set(self, instant: datetime) -> None:
        """Move to an instant."""
        self.instant = as_utc(instant)

    def advance(self, *, seconds: float) -> None:
        """Move forward by some seconds."""
        self.instant = self.now() + timedelta(seconds=seconds)
