"""The exchange calendar against exchange_calendars, and the facts of DOMAIN 8."""

import warnings
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest

from kobe.core.calendar import Calendar, xnys
from kobe.core.clock import NEW_YORK, new_york_date
from kobe.core.errors import DataError

FIRST, LAST = date(1990, 1, 1), date(2035, 12, 31)


@pytest.fixture(scope="module")
def oracle():
    """XNYS as exchange_calendars tells it: session date -> opening and closing instant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the oracle's own, about pandas 4
        import exchange_calendars

        schedule = exchange_calendars.get_calendar("XNYS", start=str(FIRST), end=str(LAST)).schedule
        rows = zip(schedule.index, schedule["open"], schedule["close"], strict=True)
        return {day.date(): (opens.to_pydatetime(), closes.to_pydatetime()) for day, opens, closes in rows}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def new_york(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute, second), NEW_YORK)


def test_every_session_from_1990_to_2035_is_the_oracles(calendar, oracle):
    assert list(calendar.sessions) == list(oracle)


def test_every_session_opens_and_closes_when_the_oracle_says(calendar, oracle):
    ours = {day: (calendar.opens_at(day), calendar.closes_at(day)) for day in calendar.sessions}
    assert ours == oracle


def test_early_closes_are_exactly_the_oracles_short_sessions(calendar, oracle):
    short = {day for day, (_, closes) in oracle.items() if closes.astimezone(NEW_YORK).time() < time(16)}
    assert set(calendar.early_closes) == short
    assert {day for day in oracle if calendar.is_early_close(day)} == short


@pytest.mark.parametrize(
    ("year", "sessions", "closed", "early"),
    [
        (2026, 251, "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25", ["2026-11-27", "2026-12-24"]),
        (2027, 251, "06-18 07-05 12-24", ["2027-11-26"]),
    ],
)
def test_the_years_ahead_are_those_of_the_specification(calendar, year, sessions, closed, early):
    days = [d for d in calendar.sessions if d.year == year]
    assert len(days) == sessions
    assert all(date.fromisoformat(f"{year}-{d}") not in calendar for d in closed.split())
    assert [d.isoformat() for d in days if calendar.is_early_close(d)] == early
    assert all(calendar.closes_at(date.fromisoformat(d)) == new_york(date.fromisoformat(d), 13) for d in early)


def test_2026_has_no_weekday_off_beyond_its_ten_holidays(calendar):
    weekdays = [FIRST.replace(year=2026) + timedelta(days=i) for i in range(365)]
    off = [f"{d:%m-%d}" for d in weekdays if d.weekday() < 5 and d not in calendar]
    assert off == ["01-01", "01-19", "02-16", "04-03", "05-25", "06-19", "07-03", "09-07", "11-26", "12-25"]


@pytest.mark.parametrize("day", ["2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"])
def test_the_exchange_was_shut_on_days_no_rule_foretold(calendar, day):
    shut = date.fromisoformat(day)
    assert shut not in calendar
    assert calendar.previous(shut) < shut < calendar.next(shut)


@pytest.mark.parametrize(
    ("day", "zulu"), [("2026-03-06", 14), ("2026-03-09", 13), ("2026-10-30", 13), ("2026-11-02", 14)]
)
def test_half_past_nine_follows_new_york_over_the_clock_changes(calendar, day, zulu):
    opens = calendar.opens_at(date.fromisoformat(day))
    assert opens + timedelta(minutes=5) == datetime.fromisoformat(f"{day}T{zulu}:35:00+00:00")
    assert opens.tzinfo is UTC


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2026-03-06T20:59:59.999999+00:00", "2026-03-05"),  # Friday, a microsecond before 16:00 EST
        ("2026-03-06T21:00:00+00:00", "2026-03-06"),
        ("2026-03-09T19:59:59+00:00", "2026-03-06"),  # Monday, already EDT
        ("2026-03-09T20:00:00+00:00", "2026-03-09"),
        ("2026-03-09T13:35:00+00:00", "2026-03-06"),  # the 09:35 run knows Friday's bar only
        ("2026-11-27T17:59:59+00:00", "2026-11-25"),  # half day after Thanksgiving closes at 13:00
        ("2026-11-27T18:00:00+00:00", "2026-11-27"),
        ("2026-12-24T18:00:00+00:00", "2026-12-24"),
        ("2026-07-03T23:00:00+00:00", "2026-07-02"),  # a holiday
        ("2026-07-05T12:00:00+00:00", "2026-07-02"),  # the Sunday after it
        ("2026-01-20T04:59:00+00:00", "2026-01-16"),  # 23:59 in New York on Martin Luther King day
        ("2026-01-21T04:59:00+00:00", "2026-01-20"),  # 23:59: the day's own bar is complete
        ("2026-01-21T05:01:00+00:00", "2026-01-20"),  # 00:01: the new day has none yet
    ],
)
def test_the_newest_complete_bar_is_the_last_close_at_or_before_now(calendar, now, newest):
    assert calendar.last_complete(instant(now)).isoformat() == newest


def test_the_newest_complete_bar_does_not_depend_on_the_zone_of_the_instant(calendar):
    half_day = new_york(date(2026, 11, 27), 13)
    assert calendar.last_complete(half_day) == calendar.last_complete(half_day.astimezone(UTC)) == date(2026, 11, 27)


@pytest.mark.parametrize("ask", [Calendar.last_complete, lambda _, now: new_york_date(now)])
def test_a_naive_instant_is_refused(calendar, ask):
    with pytest.raises(ValueError, match="naive"):
        ask(calendar, datetime(2026, 3, 9, 16))  # noqa: DTZ001 - the defect under test


def test_next_and_previous_step_over_weekends_and_holidays(calendar):
    assert calendar.next(date(2026, 7, 2)) == date(2026, 7, 6)
    assert calendar.previous(date(2026, 7, 6)) == date(2026, 7, 2)
    assert calendar.previous_or_same(date(2026, 7, 4)) == date(2026, 7, 2)
    assert calendar.previous_or_same(date(2026, 7, 6)) == date(2026, 7, 6)
    assert calendar.offset(date(2026, 12, 24), 5) == date(2027, 1, 4)
    assert calendar.offset(date(2027, 1, 4), -5) == date(2026, 12, 24)


def test_next_and_previous_undo_each_other_and_number_counts_them(calendar):
    days = calendar.sessions
    assert [calendar.next(d) for d in days[:-1]] == list(days[1:])
    assert [calendar.previous(d) for d in days[1:]] == list(days[:-1])
    assert [calendar.number(d) for d in days] == list(range(len(days)))
    assert calendar.days.tolist() == [(d - date(1970, 1, 1)).days for d in days]
    assert calendar.days.dtype == np.int32


def test_between_holds_both_ends_and_may_be_empty(calendar):
    assert list(calendar.between(date(2026, 7, 2), date(2026, 7, 6))) == [date(2026, 7, 2), date(2026, 7, 6)]
    assert list(calendar.between(date(2026, 7, 3), date(2026, 7, 5))) == []


@pytest.mark.parametrize("question", [Calendar.number, Calendar.opens_at, Calendar.closes_at])
@pytest.mark.parametrize("day", [date(2026, 7, 3), date(2026, 7, 4), date(2025, 1, 9), date(1989, 12, 29)])
def test_a_day_without_a_session_is_refused_with_the_nearest_one(calendar, question, day):
    with pytest.raises(DataError, match=f"seen: {day}; expected: a trading day such as") as fault:
        question(calendar, day)
    assert fault.value.exit_code == 4


def test_the_ends_of_the_table_are_named_and_not_stepped_over(calendar):
    with pytest.raises(DataError, match="beyond the calendar's end"):
        calendar.next(calendar.sessions[-1])
    with pytest.raises(DataError, match="before the calendar begins"):
        calendar.previous(calendar.sessions[0])


@pytest.mark.parametrize(("place", "steps"), [(0, -1), (3, -4), (-1, 1)])
def test_an_offset_never_leaves_the_table_or_wraps_around(calendar, place, steps):
    with pytest.raises(DataError):
        calendar.offset(calendar.sessions[place], steps)


def test_a_session_called_off_later_is_taken_out_and_changes_the_digest(calendar):
    called_off = date(2026, 11, 27)
    amended = xnys((called_off,))
    assert called_off not in amended
    assert set(calendar.sessions) - set(amended.sessions) == {called_off}
    assert amended.next(date(2026, 11, 25)) == date(2026, 11, 30)
    assert amended.last_complete(new_york(called_off, 20)) == date(2026, 11, 25)
    assert amended.digest != calendar.digest
    assert xnys((called_off,)).digest == amended.digest
    with pytest.raises(DataError):
        amended.closes_at(called_off)


def test_the_order_of_closures_does_not_matter(calendar):
    days = (date(2026, 3, 4), date(2026, 5, 6))
    assert xnys(days).digest == xnys(days[::-1]).digest != calendar.digest
