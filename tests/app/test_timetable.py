"""Every job at its time: all sessions of 18 years against another library's calendar, and runners that come and go."""

import itertools
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kit import pretend_day
from kit.pretend_day import Killed, PretendRunner

from kobe.app import jobs
from kobe.app.day import perform, runs, tick
from kobe.app.day.recovery import WAITS
from kobe.app.jobs import job_named
from kobe.core.errors import ExternalError
from kobe.core.types import JobRecord

ET = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
FIRST, LAST = date(2010, 1, 4), date(2027, 12, 31)
CALLED_OFF = (date(2013, 5, 15), date(2024, 11, 29), date(2024, 12, 27))  # a plain day, a half day, a week's last
DAILY = {
    "fetch-early": "06:00", "morning-report": "06:30", "checks": "08:00", "holdings": "08:00",
    "reconcile-open": "open +5", "exits-open": "open +5", "scan": "open +5", "submit": "open +5", "retry": "10:30",
    "exits-close": "close -5", "reconcile": "close +20", "fetch": "close +20", "prepare": "close +20",
    "drift": "close +20", "eod-report": "close +20", "backup": "22:00",
}  # fmt: skip
WEEKLY = {"learn": "close +20", "weekly-report": "close +20", "research": "Saturday 10:00"}
GRACE = {"morning-report": 180, "checks": 85, "scan": 40, "submit": 40, "retry": 60}
ENTRIES = ("scan", "submit", "retry")


@pytest.fixture(scope="module")
def oracle():
    """XNYS as exchange_calendars tells it, less what was called off: session -> opening and closing instant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the oracle's own, about pandas 4
        import exchange_calendars

        schedule = exchange_calendars.get_calendar("XNYS", start="2009-12-01", end="2028-02-01").schedule
        rows = zip(schedule.index, schedule["open"], schedule["close"], strict=True)
        told = {day.date(): (opens.to_pydatetime(), closes.to_pydatetime()) for day, opens, closes in rows}
    return {day: hours for day, hours in told.items() if day not in CALLED_OFF}


@pytest.fixture(scope="module")
def folder():
    """Where the disk is memory, if there is such a place: how long a disk takes is not in question here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def instant_of(words, day, opens, closes):
    """Read the timetable's words."""
    anchor, _, rest = words.partition(" ")
    if anchor == "Saturday":
        return datetime.combine(day + timedelta(days=5 - day.weekday()), time.fromisoformat(rest), ET)
    if anchor in {"open", "close"}:
        return (opens if anchor == "open" else closes) + int(rest) * MINUTE
    return datetime.combine(day, time.fromisoformat(words), ET)


def expected_of(oracle, first, last):
    """Return (job, session) -> instant of all that must fire from the first session to the last."""
    days, found = sorted(oracle), {}
    for day, following in itertools.pairwise(days):
        if first <= day <= last:
            ends = following.isocalendar()[:2] != day.isocalendar()[:2]
            for name, words in (DAILY | (WEEKLY if ends else {})).items():
                found[name, day] = instant_of(words, day, *oracle[day]).astimezone(UTC)
    return found


def play(home, oracle, first, last, *, memory):
    """Let a runner live from the first session to the end of the last one's week; compare what fired and when."""
    ctx = pretend_day.context(home, datetime.combine(first, time(0, 5), ET).astimezone(UTC), memory=memory)
    runner = PretendRunner(ctx)
    assert runner.start()
    sunday = last + timedelta(days=6 - last.weekday())
    assert runner.live_until(datetime.combine(sunday, time(0), ET).astimezone(UTC))
    fired = Counter((name, day, at) for name, day, at in runner.began if day <= last)
    wanted = expected_of(oracle, first, last)
    assert fired == Counter({(name, day, at): 1 for (name, day), at in wanted.items()})
    records = Counter((e.payload["job"], e.payload["session"], e.kind) for e in ctx.ledger.events(runs.STREAM))
    assert set(records.values()) == {1}
    assert {kind for _, _, kind in records} == {runs.STARTED, runs.DONE}
    return len(wanted)


def test_the_words_of_the_timetable_here_are_all_of_it():
    assert {*DAILY, *WEEKLY} == {job.name for job in jobs.JOBS}
    assert {job.name: job.grace // MINUTE for job in jobs.JOBS if job.grace is not None} == GRACE


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (date(2012, 10, 22), date(2012, 11, 30), 26),  # Sandy, winter time, a half day
        (date(2018, 11, 26), date(2019, 1, 4), 27),  # Bush, Christmas
        (date(2024, 11, 25), date(2025, 1, 10), 29),  # two sessions called off, Carter
        (date(2027, 3, 8), date(2027, 4, 2), 18),  # summer time, Good Friday
    ],
    ids=str,
)
def test_in_odd_weeks_every_job_fires_once_and_at_its_time(folder, oracle, first, last, days):
    home = pretend_day.new_home(folder / f"odd{first}", CALLED_OFF)
    assert play(home, oracle, first, last, memory=True) >= len(DAILY) * days


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("years", "memory"), [((2010, 2019), True), ((2019, 2028), True), ((2024, 2025), False)], ids=str
)
def test_every_job_of_every_session_from_2010_to_2027_fires_once_and_at_its_time(folder, oracle, years, memory):
    """The year with the most odd days is played on the real ledger and audit chain as well."""
    days = [day for day in sorted(oracle) if FIRST <= day <= LAST and years[0] <= day.year < years[1]]
    home = pretend_day.new_home(folder / f"whole{years[0]}{memory}", CALLED_OFF)
    fired = play(home, oracle, days[0], days[-1], memory=memory)
    assert fired > len(DAILY) * len(days)
    sys.__stderr__.write(f"{len(days)} sessions, {fired} jobs, each once and at its instant\n")


@dataclass
class Fate:
    """Lets work end well, fail in some way, or take the process with it, by dice of its own."""

    dice: random.Random
    trouble: float

    def __call__(self, _job, _session):
        if self.dice.random() >= self.trouble:
            return
        error = self.dice.choice([Killed, ExternalError("no answer"), ValueError("a fault"), Killed])
        raise error


def utc(day, hour, minute=0):
    return datetime.combine(day, time(hour, minute), ET).astimezone(UTC)


WEEKS = [date(2012, 10, 24), date(2018, 11, 29), date(2021, 3, 9), date(2024, 11, 22), date(2025, 1, 3)]
SPANS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=5)
JUMPS = st.lists(st.tuples(st.integers(1, 3000), st.integers(-3000, 3000)), min_size=1, max_size=5)
quick = settings(
    max_examples=10,
    derandomize=True,  # the same lives each time
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def home(folder):
    return pretend_day.new_home(folder / "home")


def check_safety(runner, counted=runs.SETTLED):
    """What holds whatever happened: nothing early, nothing twice, no entry late or on another day, one end each."""
    calendar = runner.ctx.calendar
    for name, day, at in runner.began:
        job = job_named(name)
        slot = job.slot.instant(calendar, day)
        assert at >= slot, (name, day, at)
        if job.grace is not None:
            assert at <= slot + job.grace, (name, day, at)
        if name in ENTRIES or slot < calendar.closes_at(day):
            assert at.astimezone(ET).date() == day, (name, day, at)
    ends = Counter()
    for event in runner.ctx.ledger.events(runs.STREAM):
        ends[event.payload["job"], event.payload["session"]] += event.kind in counted
    assert max(ends.values(), default=0) <= 1, [pair for pair, n in ends.items() if n > 1]


def check_every_due_job_has_one_end(runner, *, jumps=False):
    """Two sessions later nothing is left open or waiting: it was done, missed or given up."""
    ctx = runner.ctx
    known = sorted({date.fromisoformat(e.payload["session"]) for e in ctx.ledger.events(runs.STREAM)})
    for day in ctx.calendar.between(known[0], ctx.calendar.offset(ctx.calendar.previous(ctx.today), -1)):
        for job in jobs.jobs_of(ctx, day):
            if job.slot.instant(ctx.calendar, day) is not None:
                kinds = [e.kind for e in runner.standing(job.name, day).events]
                assert sum(kind in runs.SETTLED for kind in kinds) == 1 or jumps, (job.name, day, kinds)
                assert kinds[-1] in runs.SETTLED, (job.name, day, kinds)


def run_on(runner, sessions=3):
    """Let it work undisturbed for some sessions; killed, it is started again a minute later."""
    end = runner.ctx.clock.now()
    for _ in range(sessions):
        end = utc(runner.ctx.calendar.next(end.astimezone(ET).date()), 23)
    alive = runner.start()
    while not (alive and runner.live_until(end)):
        runner.ctx.clock.advance(seconds=60)
        alive = runner.start()


@quick
@given(first=st.sampled_from(WEEKS), minute=st.integers(0, 1439), spans=SPANS)
def test_whatever_the_outages_what_could_be_done_in_time_was_done_and_the_rest_missed(home, first, minute, spans):
    runner = PretendRunner(pretend_day.context(home, utc(first, 0) + minute * MINUTE, memory=True))
    lives = []
    for up, down in spans:
        born = runner.ctx.clock.now()
        runner.start()
        runner.live_until(born + up * MINUTE)
        lives.append((born, runner.ctx.clock.now()))
        runner.ctx.clock.advance(seconds=60 * down)
    run_on(runner)
    check_safety(runner)
    check_every_due_job_has_one_end(runner)
    calendar = runner.ctx.calendar
    begun = {(name, day): at for name, day, at in reversed(runner.began)}
    opened = min(r.astimezone(ET).date() for r in runner.rounds)
    for day in calendar.between(opened, calendar.previous(runner.ctx.today)):
        midnight = utc(calendar.next(day) + timedelta(days=1), 0)
        for job in jobs.jobs_of(runner.ctx, day):
            slot = job.slot.instant(calendar, day)
            if slot is None or (day == opened and min(runner.rounds) > utc(day + timedelta(days=1), 0)):
                continue
            end = slot + job.grace + MINUTE / 60 if job.grace is not None else utc(day + timedelta(days=1), 0)
            end = midnight if slot >= calendar.closes_at(day) else end
            if job.until is not None:
                end = job.until.instant(calendar, day)
            first_look = next((r for r in runner.rounds if slot <= r < end), None)
            if first_look is None or (job.needs and (job.needs[-1], day) not in begun):
                assert (job.name, day) not in begun
            elif job.timeout > tick.LONG and not job.critical:  # it waits while money may be due
                assert begun.get((job.name, day), first_look) >= first_look
            else:
                assert begun[job.name, day] == first_look, (job.name, day, begun.get((job.name, day)), first_look)
            asleep = [(a, b) for a, b in lives if a < slot <= b and slot not in runner.rounds]
            assert not asleep, f"the runner was up at the slot of {job.name} of {day} and did not wake: {asleep}"


@quick
@given(first=st.sampled_from(WEEKS), spans=SPANS, seed=st.integers(0, 2**20), trouble=st.sampled_from([0.1, 0.3, 0.6]))
def test_jobs_that_fail_and_runners_that_are_killed_in_them_leave_one_end_for_each(home, first, spans, seed, trouble):
    fate = Fate(random.Random(seed), trouble)
    runner = PretendRunner(pretend_day.context(home, utc(first, 5), memory=True), work=fate)
    for up, down in spans:
        runner.start() and runner.live_until(runner.ctx.clock.now() + up * MINUTE)
        runner.ctx.clock.advance(seconds=60 * down)
    fate.trouble = 0.0
    run_on(runner)
    check_safety(runner)
    check_every_due_job_has_one_end(runner)


@quick
@given(first=st.sampled_from(WEEKS), jumps=JUMPS, seed=st.integers(0, 2**20))
def test_a_clock_that_is_set_ahead_or_back_makes_nothing_run_early_or_twice(home, first, jumps, seed):
    runner = PretendRunner(pretend_day.context(home, utc(first, 5), memory=True))
    latest = runner.ctx.clock.now()
    runner.start()
    for up, jump in jumps:
        runner.live_until(runner.ctx.clock.now() + up * MINUTE)
        latest = max(latest, runner.ctx.clock.now())
        runner.set_clock(runner.ctx.clock.now() + jump * MINUTE)
        latest = max(latest, runner.ctx.clock.now())
    runner.ctx.clock.set(latest)
    run_on(runner)
    check_safety(runner, counted=(runs.DONE, runs.GIVEN_UP))  # what a clock that was ahead missed is due once more
    check_every_due_job_has_one_end(runner, jumps=True)


@pytest.mark.parametrize("finishes", [True, False])
def test_a_job_another_process_is_at_is_looked_for_again_and_what_needs_it_keeps_its_chance(home, calendar, finishes):
    """A runner takes over at the open while the process of the one before still compares the books."""
    day = date(2024, 11, 12)
    runner = PretendRunner(pretend_day.context(home, utc(day, 9, 35), memory=True))
    ctx, job = runner.ctx, job_named("reconcile-open")
    runs.start(ctx.ledger, job.name, day, "another", ctx.clock.now())
    with perform.lease(ctx, job):
        assert runner.start()
        assert not {"reconcile-open", "submit"} & {name for name, _, _ in runner.began}
        if finishes:
            now = ctx.clock.now()
            runs.write(ctx.ledger, JobRecord(job=job.name, session=day, run_id="another", status=runs.DONE, started=now,
                                             finished=now, outputs={}, detail=""))  # fmt: skip
    runner.live_until(utc(day, 10, 15))
    began = Counter(name for name, _, _ in runner.began)
    assert (began["reconcile-open"], began["submit"]) == (0 if finishes else 1, 1)


def test_a_job_whose_processes_died_as_often_as_the_rule_allows_is_given_up_and_not_run_once_more(home):
    day = date(2024, 11, 12)
    runner = PretendRunner(pretend_day.context(home, utc(day, 16, 20), memory=True), work=Fate(random.Random(1), 1.0))
    runner.work = lambda job, _session: (_ for _ in ()).throw(Killed) if job == "reconcile" else None
    for _ in range(8):
        runner.start()
        runner.ctx.clock.advance(seconds=WAITS[-1].total_seconds())
    kinds = [e.kind for e in runner.standing("reconcile", day).events]
    assert kinds == [runs.STARTED, runs.CRASHED] * 3 + [runs.GIVEN_UP]
