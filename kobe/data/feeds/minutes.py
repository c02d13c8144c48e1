"""Which minutes belong to a session: the one place a feed asks whether a minute can have a bar."""

from datetime import date
from functools import lru_cache

from kobe.core.calendar import Calendar
from kobe.core.clock import new_york_date
from kobe.data.feeds.port import instant_of, minute_of


class Minutes:
    """The regular session's minutes, as whole minutes since the epoch; bars outside it are not delivered."""

    def __init__(self, calendar: Calendar) -> None:
        """Only remember the calendar."""
        self._calendar = calendar
        self._hours = lru_cache(maxsize=64)(self._hours_of)

    def session(self, minute: int) -> range | None:
        """Return the minutes of the session a minute lies in, or None outside of sessions."""
        day = new_york_date(instant_of(minute))
        if day not in self._calendar:
            return None
        hours = self._hours(day)
        return hours if minute in hours else None

    def spans(self, after: int, through: int) -> list[range]:
        """Return the session minutes after one minute up to and with another, one span for each session."""
        if through <= after:
            return []
        days = self._calendar.between(new_york_date(instant_of(after)), new_york_date(instant_of(through)))
        hours = (self._hours(day) for day in days)
        cut = (range(max(h.start, after + 1), min(h.stop, through + 1)) for h in hours)
        return [span for span in cut if span]

    def last_through(self, minute: int) -> int | None:
        """Return the last session minute at or before a minute, looking back over one session."""
        day = self._calendar.previous_or_same(new_york_date(instant_of(minute)))
        for candidate in (day, self._calendar.previous(day)):
            hours = self._hours(candidate)
            if hours.start <= minute:
                return min(minute, hours.stop - 1)
        return None

    def _hours_of(self, day: date) -> range:
        return range(minute_of(self._calendar.opens_at(day)), minute_of(self._calendar.closes_at(day)))
