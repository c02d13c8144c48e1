"""At which minutes of the week the operating system must wake kobe: every local time a slot can have.

A scheduler of an operating system knows hours and weekdays; the exchange knows half days and New York's clocks. So an
entry stands for every (weekday, hour, minute) at which any coming slot lies in the scheduler's zone; waking once too
often costs a second, because `kobe run --once` asks the exchange calendar what is due.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kobe.app.jobs import slots
from kobe.core.calendar import Calendar

MINUTE, WEEK = timedelta(minutes=1), timedelta(days=7)
RUN_LIMIT_H = 8  # from the evening's slot that ends before the next morning's first one


class WeekMinute(NamedTuple):
    """A minute of the week; 0 is Monday."""

    weekday: int
    hour: int
    minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Every combination of some weekdays (0 is Monday), hours and minutes: one line of a scheduler."""

    days: tuple[int, ...]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUps:
    """The minutes of the week that hold every slot from `first` to `last`.

    Attributes:
        zone: the zone in which the minutes are meant.
        minutes: all of them.
        instants: how many slots there are in the span.
        repeated: slots in the second half of an hour the zone goes through twice; a scheduler may skip that, so the
            first minute after it is held too.
    """

    zone: str
    first: date
    last: date
    minutes: frozenset[WeekMinute]
    instants: int
    repeated: tuple[datetime, ...]

    @property
    def needed_a_week(self) -> float:
        """Slots in an average week of the span."""
        return self.instants / max(((self.last - self.first) / WEEK), 1 / 7)

    @property
    def words(self) -> str:
        """What is woken for and what for nothing, as a sentence."""
        needed = min(round(self.needed_a_week), len(self.minutes))
        return f"{len(self.minutes)} wake-ups a week, {len(self.minutes) - needed} of them with nothing due"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an exporter writes entries from.

    Attributes:
        words: the command that is run, word by word; for cron and systemd without a shell's quoting.
        home: kobe's home where the entries run.
        user: whom they run as; empty where the scheduler knows by itself.
        writable: folders outside the home that kobe writes.
        wake_ups: when.
        made_by: the command that made the entries.
        made: the date it did.
    """

    words: tuple[str, ...]
    home: str
    user: str
    writable: tuple[str, ...]
    heartbeat_s: float
    stop_grace_s: float
    wake_ups: WakeUps
    made_by: str
    made: date

    @property
    def origin(self) -> str:
        """Where the entries come from and how long they hold, for their first lines."""
        return f"Made by `{self.made_by}` on {self.made}; right until {self.wake_ups.last}, then export again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One file of an export."""

    name: str
    text: str
    utf16: bool = False

    @property
    def content(self) -> bytes:
        """Its bytes: UTF-8 with plain line ends, or what Windows' own tools write and read."""
        if self.utf16:
            return b"\xff\xfe" + self.text.replace("\n", "\r\n").encode("utf-16-le")
        return self.text.encode("utf-8")


def wake_ups(calendar: Calendar, zone: ZoneInfo, first: date, last: date) -> WakeUps:
    """Collect the minutes of the week that hold every slot of the sessions from first to last, both included.

    The week before is looked at too: what hangs on a session may lie on a later day.
    """
    sessions = calendar.between(first - WEEK, last)
    local = [instant.astimezone(zone) for day in sessions for instant in slots(calendar, day)]
    repeated = tuple(at for at in local if at.fold)
    held = [*local, *(_after_the_repeated_hour(at) for at in repeated)]
    return WakeUps(
        zone=zone.key, first=first, last=last, instants=sum(first <= at.date() for at in local),
        minutes=frozenset(WeekMinute(at.weekday(), at.hour, at.minute) for at in held), repeated=repeated,
    )  # fmt: skip


def _after_the_repeated_hour(at: datetime) -> datetime:
    while at.fold:
        at = (at.astimezone(UTC) + MINUTE).astimezone(at.tzinfo)
    return at


def grouped(minutes: Iterable[WeekMinute]) -> tuple[Group, ...]:
    """Write the minutes of the week as few lines, none of which holds a minute that was not given."""
    days_of: dict[tuple[int, int], list[int]] = {}
    for at in sorted(minutes):
        days_of.setdefault((at.hour, at.minute), []).append(at.weekday)
    hours_of: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for (hour, minute), days in sorted(days_of.items()):
        hours_of.setdefault((tuple(days), minute), []).append(hour)
    minutes_of: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for (days_, minute), hours in hours_of.items():
        minutes_of.setdefault((days_, tuple(hours)), []).append(minute)
    groups = [Group(days=d, hours=h, minutes=tuple(sorted(m))) for (d, h), m in minutes_of.items()]
    return tuple(sorted(groups, key=lambda g: (g.hours, g.minutes, g.days)))


def spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return sorted numbers as stretches, first and last of each."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
