"""NYSE sessions by rule, for a made-up broker that needs no packages (right for 2010 to 2030)."""

from datetime import date, timedelta
from functools import cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPEN, CLOSE, HALF_DAY = "09:30", "16:00", "13:00"
_ADDED = {date(2012, 10, 29), date(2012, 10, 30), date(2018, 12, 5), date(2025, 1, 9)}  # storms and mourning


@cache
def hours(day: date) -> tuple[str, str] | None:
    """Return (open, close) of a session in New York, or None when the exchange is closed."""
    if day.weekday() > 4 or day in _holidays(day.year):
        return None
    return OPEN, HALF_DAY if _is_half(day) else CLOSE


def _is_half(day: date) -> bool:
    if (day.month, day.day) == (12, 24):
        return True
    if (day.month, day.day) == (7, 3):
        return date(day.year, 7, 4).weekday() < 5
    return day == _nth(day.year, 11, 3, 4) + timedelta(days=1)


@cache
def _holidays(year: int) -> frozenset[date]:
    fixed = [date(year, 7, 4), date(year, 12, 25)]
    if year >= 2022:
        fixed.append(date(year, 6, 19))
    days = {_observed(day) for day in fixed}
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # the exchange does not give up the last day of the year for it
        days.add(_observed(new_year))
    days |= {_nth(year, 1, 0, 3), _nth(year, 2, 0, 3), _nth(year, 9, 0, 1), _nth(year, 11, 3, 4)}
    days |= {date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday()), _easter(year) - timedelta(days=2)}
    return frozenset(days | {day for day in _ADDED if day.year == year})


def _observed(day: date) -> date:
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _easter(year: int) -> date:
    """Easter Sunday by the Gregorian computus, good from 1900 to 2099."""
    moon = (19 * (year % 19) + 24) % 30
    sunday = (2 * (year % 4) + 4 * (year % 7) + 6 * moon + 5) % 7
    late = (moon == 29 and sunday == 6) or (moon == 28 and sunday == 6 and year % 19 > 10)
    return date(year, 3, 22) + timedelta(days=moon + sunday - (7 if late else 0))
