"""The instants at which the runner must wake: slots of the coming sessions, from the exchange calendar."""

from datetime import date, datetime

from kobe.app.jobs import slots
from kobe.core.calendar import Calendar


def wake_ups(calendar: Calendar, today: date, now: datetime, sessions: int = 5) -> list[datetime]:
    """Return the slots still to come of today's and the following sessions, oldest first.

    Computed from the calendar and never from cron rules: half days and both changes of clocks are already in it.
    """
    days = [calendar.previous(today), *([today] if today in calendar else [])]  # a Saturday belongs to the week before
    while len(days) <= sessions:
        days.append(calendar.next(max(days[-1], today)))
    return [instant for day in days for instant in slots(calendar, day) if instant > now]
