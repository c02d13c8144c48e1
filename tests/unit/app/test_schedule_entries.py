"""No slot of the exchange's day is slept through, whatever the clocks of New York and of the host do."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import cron_table, windows_tasks

from kobe.app.jobs import slots
from kobe.app.schedule.cron import cron_files
from kobe.app.schedule.entries import Plan, WakeUps, WeekMinute, grouped, spans, wake_ups
from kobe.app.schedule.windows import windows_files

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Sydney")
MINUTE = timedelta(minutes=1)


def plan_of(woken: WakeUps) -> Plan:
    return Plan(
        words=("C:\\kobe.exe", "--home", "C:\\kobe", "run", "--once"), home="C:\\kobe", user="jo", writable=(),
        heartbeat_s=15.0, stop_grace_s=30.0, wake_ups=woken, made_by="kobe schedule export", made=woken.first,
    )  # fmt: skip


def check(calendar, zone: ZoneInfo, first: date, last: date) -> None:
    """Hold every slot of the sessions against the exported entries, and say what is woken for nothing."""
    plan = plan_of(wake_ups(calendar, zone, first, last))
    (crontab,) = cron_files(plan)
    table = cron_table.read(crontab.text)
    tasks = windows_files(plan)
    started = set().union(*(windows_tasks.starts(task.content) for task in tasks))
    instants = {instant for day in calendar.between(first, last) for instant in slots(calendar, day)}
    assert len(instants) > 5 * len(calendar.between(first, last))
    for instant in instants:
        local = instant.astimezone(zone)
        assert table.runs(local), (zone, local, "cron")
        assert (local.weekday(), local.hour, local.minute) in started, (zone, local, "windows")
    assert sum(len(windows_tasks.faults(task.content)) for task in tasks) == 0
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    week = [monday + i * MINUTE for i in range(7 * 24 * 60)]
    woken = sum(bool(table.runs(at)) for at in week)
    assert max(len(table.runs(at)) for at in week) == 1, "no minute stands on two lines"
    assert woken == len(started)
    needed = len(instants) / ((last - first).days / 7)
    per_day = (woken - needed) / 7
    assert per_day < 20, "each wake-up takes about a second of one core"
    said = f"{zone.key}: {woken} wake-ups a week, {per_day:.1f} a day for nothing, {len(table.lines)} lines"
    print(said)  # noqa: T201 - what was measured, for whoever runs it with -s


@pytest.mark.parametrize("zone", ZONES)
def test_every_slot_of_five_years_is_hit_in_its_very_minute(calendar, zone):
    check(calendar, ZoneInfo(zone), date(2023, 1, 1), date(2027, 12, 31))


@pytest.mark.long
@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Auckland", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu"])
def test_every_slot_since_2010_is_hit_in_its_very_minute(calendar, zone):
    check(calendar, ZoneInfo(zone), date(2010, 1, 1), date(2027, 12, 31))


def test_both_changes_of_clocks_and_half_days_are_among_the_entries(calendar):
    woken = wake_ups(calendar, ZoneInfo("Europe/Berlin"), date(2026, 1, 1), date(2026, 12, 31))
    monday = {(at.hour, at.minute) for at in woken.minutes if at.weekday == 0}
    friday = {(at.hour, at.minute) for at in woken.minutes if at.weekday == 4}
    assert {(15, 35), (14, 35)} <= monday, "14:35 in the weeks in which only New York has changed its clocks"
    assert (18, 55) in friday - monday, "12:55 of the half day after Thanksgiving"
    assert (16, 35) not in monday


def test_a_slot_in_the_second_half_of_a_repeated_hour_is_followed_by_a_wake_up(calendar):
    """Debian's cron runs nothing again in the hour that comes twice (cron(8)): what lies there must not be lost."""
    zone = ZoneInfo("Pacific/Auckland")
    woken = wake_ups(calendar, zone, date(2026, 6, 1), date(2031, 6, 1))
    assert woken.repeated, "ten o'clock on a Saturday in New York is the repeated hour of a Sunday in Auckland"
    for lost in woken.repeated:
        assert lost.fold
        later = [(lost.astimezone(UTC) + i * MINUTE).astimezone(zone) for i in range(1, 61)]
        assert any((at.weekday(), at.hour, at.minute) in woken.minutes and not at.fold for at in later)
    assert not wake_ups(calendar, ZoneInfo("Europe/Berlin"), date(2026, 6, 1), date(2031, 6, 1)).repeated


@given(st.sets(st.builds(WeekMinute, st.integers(0, 6), st.integers(0, 23), st.integers(0, 59)), max_size=60))
def test_lines_hold_each_minute_of_the_week_once_and_no_other(minutes):
    held = [WeekMinute(*at) for g in grouped(minutes) for at in product(g.days, g.hours, g.minutes)]
    assert sorted(held) == sorted(minutes)


@given(st.sets(st.integers(0, 59)))
def test_spans_are_the_same_numbers(numbers):
    found = spans(numbers)
    assert {n for first, last in found for n in range(first, last + 1)} == numbers
    assert all(left[1] + 1 < right[0] for left, right in pairwise(found))


def test_more_triggers_than_a_task_may_have_become_several_tasks():
    minutes = frozenset(WeekMinute(day, hour, 5 * hour % 60) for day in range(7) for hour in range(24))
    minutes |= frozenset(WeekMinute(day, hour, 59) for day in range(5) for hour in range(24))
    minutes |= frozenset(WeekMinute(6, hour, 58) for hour in range(7))
    day = date(2026, 1, 1)
    woken = WakeUps(zone="UTC", first=day, last=day, minutes=minutes, instants=1, repeated=())
    tasks = windows_files(plan_of(woken))
    assert [task.name for task in tasks] == ["kobe-once-1.xml", "kobe-once-2.xml"]
    assert [windows_tasks.faults(task.content) for task in tasks] == [[], []]
    assert set().union(*(windows_tasks.starts(task.content) for task in tasks)) == {tuple(at) for at in minutes}
