"""The New York Stock Exchange calendar: sessions, half days and the instants of the trading day.

The table covers 1990 to 2035 (`xnys_table`). Session numbers count from the first session of 1990 and are
what `Panel.session` holds. The holiday history this rests on: 2001-09-11/14 (attacks), 2004-06-11 (Reagan),
2007-01-02 (Ford), 2012-10-29/30 (Sandy), 2018-12-05 (Bush), 2025-01-09 (Carter); Juneteenth since 2022.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kobe.core import xnys_table
from kobe.core.clock import NEW_YORK, new_york_date
from kobe.core.errors import DataError
from kobe.core.ids import short_digest

OPEN = time(9, 30)
CLOSE = time(16, 0)
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Calendar:
    """Sessions of XNYS with their opening and closing instants.

    Attributes:
        sessions: session dates in order; a session's number is its index here.
        early_closes: session date -> closing time in New York where it is not 16:00.
        version: names the table this was made from and any closures added to it.
    """

    sessions: tuple[date, ...]
    early_closes: dict[date, time]
    version: str

    @cached_property
    def digest(self) -> str:
        """Short digest of the version; part of every cache key that holds session numbers."""
        return short_digest([self.version, len(self.sessions)])

    @cached_property
    def days(self) -> npt.NDArray[np.int32]:
        """Session dates as int32 days since 1970-01-01, for vectorised look-ups."""
        return np.array([day.toordinal() for day in self.sessions], dtype=np.int32) - _EPOCH

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self._find(day) is not None

    def _find(self, day: date) -> int | None:
        i = bisect_left(self.sessions, day)
        return i if i < len(self.sessions) and self.sessions[i] == day else None

    def number(self, day: date) -> int:
        """Return the session number of a date.

        Raises:
            DataError: the date is not a session.
        """
        found = self._find(day)
        if found is None:
            nearest = self.previous_or_same(day) if self.sessions[0] <= day else self.sessions[0]
            raise DataError("not a session of XNYS", seen=day, expected=f"a trading day such as {nearest.isoformat()}")
        return found

    def previous_or_same(self, day: date) -> date:
        """Return the last session on or before a date."""
        i = bisect_right(self.sessions, day)
        if i == 0:
            raise DataError("before the calendar begins", seen=day, expected=f"{self.sessions[0]} or later")
        return self.sessions[i - 1]

    def previous(self, day: date) -> date:
        """Return the last session strictly before a date."""
        return self.previous_or_same(day - timedelta(days=1))

    def next(self, day: date) -> date:
        """Return the first session strictly after a date."""
        i = bisect_right(self.sessions, day)
        if i == len(self.sessions):
            raise DataError("beyond the calendar's end", seen=day, expected=f"before {self.sessions[-1]}")
        return self.sessions[i]

    def offset(self, day: date, sessions: int) -> date:
        """Return the session so many sessions after (or before) a session.

        Raises:
            DataError: that is outside the table.
        """
        place = self.number(day) + sessions
        if not 0 <= place < len(self.sessions):
            span = f"{self.sessions[0]} to {self.sessions[-1]}"
            raise DataError("outside the calendar", seen=f"{sessions:+d} sessions from {day}", expected=span)
        return self.sessions[place]

    def between(self, first: date, last: date) -> Sequence[date]:
        """Return the sessions from first to last, both included."""
        return self.sessions[bisect_left(self.sessions, first) : bisect_right(self.sessions, last)]

    def opens_at(self, session: date) -> datetime:
        """Return the opening instant of a session, in UTC."""
        self.number(session)
        return datetime.combine(session, OPEN, NEW_YORK).astimezone(UTC)

    def closes_at(self, session: date) -> datetime:
        """Return the closing instant of a session, in UTC; earlier on half days."""
        self.number(session)
        close = self.early_closes.get(session, CLOSE)
        return datetime.combine(session, close, NEW_YORK).astimezone(UTC)

    def is_early_close(self, session: date) -> bool:
        """Say whether a session closes before 16:00."""
        return session in self.early_closes

    def last_complete(self, instant: datetime) -> date:
        """Return the last session whose official close is at or before an instant: the newest knowable bar."""
        day = self.previous_or_same(new_york_date(instant))
        return day if self.closes_at(day) <= instant else self.previous(day)


def _weekdays(first: date, last: date) -> Iterable[date]:
    """Go from Monday to Friday; day 1 of the calendar was a Monday."""
    return (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1) if 0 < n % 7 < 6)


def xnys(extra_closures: Sequence[date] = ()) -> Calendar:
    """Build the XNYS calendar from our table.

    Args:
        extra_closures: sessions called off after the table was made (configuration, `calendar.extra_closures`).
    """
    closed = {date.fromisoformat(f"{year}-{day}") for year, days in xnys_table.CLOSURES.items() for day in days.split()}
    closed.update(extra_closures)
    first, last = date.fromisoformat(xnys_table.FIRST), date.fromisoformat(xnys_table.LAST)
    short = {date.fromisoformat(d): time.fromisoformat(t) for d, t in xnys_table.EARLY_CLOSES.items()}
    early = {day: close for day, close in short.items() if day not in closed}
    version = xnys_table.VERSION + "".join(f" -{d.isoformat()}" for d in sorted(extra_closures))
    return Calendar(
        sessions=tuple(d for d in _weekdays(first, last) if d not in closed),
        early_closes=early,
        version=version,
    )
