"""The day, as a table: which job runs when, relative to the session, how late it may still run, and what it needs.

A job is a function a person can run; `kobe jobs run NAME` is the scheduler's own path. It is done when its record
for that session says so, and running it again has no second effect (`app/day/perform.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from kobe.app.backup import run_backup
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.eod_report import run_eod_report
from kobe.app.holdings import run_holdings
from kobe.app.manage_exits import run_manage_exits
from kobe.app.morning_report import run_morning_report
from kobe.app.prepare import run_prepare
from kobe.app.reconcile import run_reconcile
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.app.weekly_report import run_weekly_report
from kobe.core.calendar import Calendar
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import ExitCode, KobeError, UsageError
from kobe.reports.document import Document

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Slot:
    """An instant of a session: minutes after the open, a New York time, minutes around the close, or the weekend."""

    after_open: int | None = None
    at: time | None = None
    after_close: int | None = None
    on_saturday: time | None = None

    def instant(self, calendar: Calendar, session: date) -> datetime | None:
        """Return the instant in a session; half days move what hangs on the close.

        The Saturday belongs to the last session of its week; in the others it is None.
        """
        if self.after_open is not None:
            return calendar.opens_at(session) + self.after_open * MINUTE
        if self.at is not None:
            return datetime.combine(session, self.at, NEW_YORK)
        if self.on_saturday is not None:
            day = session + timedelta(days=SATURDAY - session.weekday())
            return datetime.combine(day, self.on_saturday, NEW_YORK) if ends_week(calendar, session) else None
        return calendar.closes_at(session) + (self.after_close or 0) * MINUTE

    def is_after(self, calendar: Calendar, session: date) -> bool:
        """Say whether it lies behind the close: what belongs there is made up for on the next day."""
        instant = self.instant(calendar, session)
        return instant is not None and instant >= calendar.closes_at(session)

    @property
    def words(self) -> str:
        """The slot as people say it."""
        if self.after_open is not None:
            return f"open + {self.after_open} min"
        if self.at is not None:
            return f"{self.at:%H:%M} ET"
        if self.on_saturday is not None:
            return f"Saturday {self.on_saturday:%H:%M} ET"
        return f"close {self.after_close:+d} min" if self.after_close else "the close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the day.

    Attributes:
        name: what people and records call it.
        summary: what it does.
        slot: when it begins.
        grace: how late it may begin; None: at the next opportunity, however late (exits, books, reports).
        run: the work.
        due: in which sessions there is anything to do; in the others the job does not exist.
        needs: jobs of the same session that must be done first; where one of them never will be, this one is missed.
        unfinished: says of what it reports that something is left: it is then run again, by the runner each minute
            for as long as `patience`.
        until: the slot from which on it can do nothing more, and the next job of its kind does its work.
        timeout: a process that takes longer is killed.
        memory_mb: a process that takes more is killed.
        critical: money depends on it: when it is given up, nothing is opened any more and a person is called.
        of_today: it acts on the market as it is now, so that it may only run on its own day.
        of_machine: it looks after this machine and its network; a simulation leaves it out.
    """

    name: str
    summary: str
    slot: Slot
    grace: timedelta | None = None
    run: Callable[[Context, date], Document]
    due: Callable[[Context, date], bool] = lambda _ctx, _day: True
    needs: tuple[str, ...] = ()
    unfinished: Callable[[Document], bool] = lambda _document: False
    patience: timedelta = timedelta(0)
    until: Slot | None = None
    timeout: timedelta = 5 * MINUTE
    memory_mb: int = 2048
    critical: bool = False
    of_machine: bool = False
    of_today: bool = False

    @property
    def latest(self) -> str:
        """How late it may begin, as people say it."""
        if self.until is not None:
            return f"until {self.until.words}"
        return "whenever" if self.grace is None else f"{self.grace // MINUTE} min"


def ends_week(calendar: Calendar, session: date) -> bool:
    """Say whether a session is the last of its week: a Thursday where the Friday is a holiday."""
    return calendar.next(session).isocalendar()[:2] != session.isocalendar()[:2]


def _fetch(ctx: Context, _session: date) -> Document:
    from kobe.app.fetch_bars import FetchRequest, run_fetch

    return run_fetch(ctx, FetchRequest())


def _check(ctx: Context, _session: date) -> Document:
    from kobe.app.doctor.checks import run_doctor

    return run_doctor(ctx)


def _watch(ctx: Context, session: date) -> Document:
    """Judge drift where there is a champion to judge against; without one there is nothing to watch."""
    from kobe.app.drift import DriftRequest, run_drift

    if ctx.models.champion(session) is None:
        return Document(schema="kobe.drift/1", title=f"Drift at {session}", summary=("no champion to judge against",))
    return run_drift(ctx, DriftRequest(session=session, intervals=False))


def _learn(ctx: Context, session: date) -> Document:
    """Renew the evidence up to the session, train on it and judge the candidate."""
    from kobe.app.promote import run_promote
    from kobe.app.train_meta import run_train_meta
    from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward

    run_walk_forward(ctx, WalkForwardRequest(until=session))
    run_train_meta(ctx)
    return run_promote(ctx)


def _screen(ctx: Context, _session: date) -> Document:
    from kobe.app.research_screen import ScreenRequest, run_research_screen

    return run_research_screen(ctx, ScreenRequest())


def _has_bars(ctx: Context, _session: date) -> bool:
    """Say whether there is anything to decide on; a store that cannot be read is for the job itself to report."""
    try:
        return ctx.store.held() is not None
    except KobeError:
        return True


def _partial(document: Document) -> bool:
    return document.exit_code is ExitCode.PARTIAL


def _waits_for_a_split(document: Document) -> bool:
    return bool(document.data.get("waiting"))


def _learns(ctx: Context, day: date) -> bool:
    return ctx.settings.meta.weekly and ends_week(ctx.calendar, day) and _has_bars(ctx, day)


def _researches(ctx: Context, day: date) -> bool:
    return ctx.settings.schedule.research and ends_week(ctx.calendar, day) and _has_bars(ctx, day)


EARLY, REPORTED, CHECKED = Slot(at=time(6, 0)), Slot(at=time(6, 30)), Slot(at=time(8, 0))
MORNING, RETRY = Slot(after_open=5), Slot(at=time(10, 30))
CLOSING, CLOSED, EVENING = Slot(after_close=-5), Slot(after_close=0), Slot(after_close=20)
NIGHT, WEEKEND = Slot(at=time(22, 0)), Slot(on_saturday=time(10, 0))

JOBS: tuple[Job, ...] = (
    Job(name="fetch-early", summary="bars that were not there in the evening", slot=EARLY,
        run=_fetch, due=lambda ctx, _: ctx.settings.schedule.fetch, timeout=HOUR, of_machine=True),
    Job(name="morning-report", summary="the morning as Markdown, HTML and JSON", slot=REPORTED, grace=3 * HOUR,
        run=run_morning_report),
    Job(name="checks", summary="the doctor's checks, before the open", slot=CHECKED, grace=85 * MINUTE, run=_check,
        of_machine=True),
    Job(name="holdings", summary="splits and other corporate actions of what is held", slot=CHECKED,
        run=run_holdings, unfinished=_waits_for_a_split, critical=True, of_today=True),
    Job(name="reconcile-open", summary="books against the broker before anything is decided", slot=MORNING,
        run=lambda ctx, _: run_reconcile(ctx), critical=True, of_today=True),
    Job(name="exits-open", summary="signal exits of yesterday's close, at the open", slot=MORNING,
        run=lambda ctx, _: run_manage_exits(ctx), unfinished=_partial, patience=10 * MINUTE, until=CLOSING,
        critical=True, of_today=True),
    Job(name="scan", summary="picks and trade of the day from yesterday's close", slot=MORNING, grace=40 * MINUTE,
        run=lambda ctx, day: run_scan(ctx, ScanRequest(session=ctx.calendar.previous(day))), due=_has_bars),
    Job(name="submit", summary="trade of the day, first attempt", slot=MORNING, grace=40 * MINUTE,
        run=lambda ctx, _: run_submit_totd(ctx, SubmitRequest()), needs=("reconcile-open", "scan"),
        due=_has_bars, of_today=True),
    Job(name="retry", summary="second attempt of an order that filled nothing", slot=RETRY, grace=HOUR,
        run=lambda ctx, _: run_submit_totd(ctx, SubmitRequest(retry=True)), needs=("submit",), due=_has_bars,
        of_today=True),
    Job(name="exits-close", summary="time exits, five minutes before the close", slot=CLOSING,
        run=lambda ctx, _: run_manage_exits(ctx), unfinished=_partial, patience=3 * MINUTE, until=CLOSED,
        timeout=2 * MINUTE, critical=True, of_today=True),
    Job(name="reconcile", summary="books against the broker after the close", slot=EVENING,
        run=lambda ctx, _: run_reconcile(ctx), critical=True),
    Job(name="fetch", summary="the day's bars from the providers", slot=EVENING,
        run=_fetch, due=lambda ctx, _: ctx.settings.schedule.fetch, timeout=HOUR, of_machine=True),
    Job(name="prepare", summary="what the session looked like to the strategies, kept for the scan", slot=EVENING,
        run=run_prepare, due=_has_bars),
    Job(name="drift", summary="every strategy's recent signals against its evidence", slot=EVENING, run=_watch,
        due=_has_bars),
    Job(name="learn", summary="walk forward, train, judge: after the week's last close", slot=EVENING,
        run=_learn, due=_learns, timeout=3 * HOUR, memory_mb=8192),
    Job(name="eod-report", summary="the day as Markdown, HTML and JSON", slot=EVENING, run=run_eod_report),
    Job(name="weekly-report", summary="the week as Markdown, HTML and JSON", slot=EVENING, run=run_weekly_report,
        due=lambda ctx, day: ends_week(ctx.calendar, day)),
    Job(name="backup", summary="a verified copy of the records", slot=NIGHT, timeout=HOUR,
        run=lambda ctx, _: run_backup(ctx, prune=True), due=lambda ctx, _: ctx.settings.schedule.backup,
        of_machine=True),
    Job(name="research", summary="the alpha screen, each look counted as a trial", slot=WEEKEND, timeout=3 * HOUR,
        memory_mb=8192, run=_screen, due=_researches),
)  # fmt: skip
GUARDS = Job(
    name="guards", summary="protection of what is held without it, between the slots", slot=MORNING,
    run=lambda ctx, _: run_manage_exits(ctx), critical=True, of_today=True,
)  # fmt: skip
GUARDING = (GUARDS.name, "exits-open", "exits-close")


def jobs_of(ctx: Context, session: date) -> tuple[Job, ...]:
    """Return the jobs of a session, in the order of the table; under a pretended time only those of the market."""
    pretended = isinstance(ctx.clock, SteppingClock)
    return tuple(job for job in JOBS if not (pretended and job.of_machine) and job.due(ctx, session))


def remedy(ctx: Context, name: str, session: date, status: str) -> str:
    """Return the command that helps where a job ended like this; what acts on the market as it is now had its day."""
    has_its_day = any(job.name == name and job.of_today for job in (*JOBS, GUARDS))
    if has_its_day and session != ctx.today:
        return f"kobe jobs history --job {name}"
    return f"kobe jobs run {name} --session {session}" + (" --again" if status in (runs.MISSED, runs.GIVEN_UP) else "")


def job_named(name: str) -> Job:
    """Return a job by name.

    Raises:
        UsageError: there is no such job.
    """
    for job in (*JOBS, GUARDS):
        if job.name == name:
            return job
    raise UsageError("unknown job", seen=name, expected=", ".join(j.name for j in JOBS), next_command="kobe jobs list")


def slots(calendar: Calendar, session: date) -> list[datetime]:
    """Return the distinct instants at which something of a session is due, in order."""
    instants = {job.slot.instant(calendar, session) for job in JOBS}
    return sorted(instant for instant in instants if instant is not None)
