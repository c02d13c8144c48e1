"""The day, as a table: which job runs when, relative to the session, and how late it may still run.

A job is a function a person can run; `kobe jobs run NAME` is the scheduler's own path. It is done when its record
for that session says so, and running it again has no second effect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from kobe.app import breakers, desk, protect, runs
from kobe.app.context import Context
from kobe.app.eod_report import run_eod_report
from kobe.app.holdings import run_holdings
from kobe.app.manage_exits import run_manage_exits
from kobe.app.prepare import run_prepare
from kobe.app.reconcile import run_reconcile
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.status import run_status
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.core.calendar import Calendar
from kobe.core.clock import NEW_YORK
from kobe.core.errors import DataError, ExitCode, ExternalError, IntegrityError, KobeError, UsageError
from kobe.core.types import JobRecord
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

MINUTE = timedelta(minutes=1)
FAILED_SCHEMA = "kobe.job_failed/1"


@dataclass(frozen=True, slots=True)
class Slot:
    """An instant of a session: minutes after the open, a New York time, or minutes around the close."""

    after_open: int | None = None
    at: time | None = None
    after_close: int | None = None

    def instant(self, calendar: Calendar, session: date) -> datetime:
        """Return the instant in a session; half days move what hangs on the close."""
        if self.after_open is not None:
            return calendar.opens_at(session) + self.after_open * MINUTE
        if self.at is not None:
            return datetime.combine(session, self.at, NEW_YORK)
        return calendar.closes_at(session) + (self.after_close or 0) * MINUTE

    @property
    def words(self) -> str:
        """The slot as people say it."""
        if self.after_open is not None:
            return f"open + {self.after_open} min"
        if self.at is not None:
            return f"{self.at:%H:%M} ET"
        return f"close {self.after_close:+d} min"


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the day.

    `grace` is how late the job may start; None means at the next opportunity, however late (exits, books).
    `due` says in which sessions there is anything to do; in the others the job does not exist. `unfinished` says of
    what it reports that something is left: it is then run again, by the runner each minute for as long as `patience`.
    `until` is the slot from which on another job does its work.
    """

    name: str
    summary: str
    slot: Slot
    grace: timedelta | None
    run: Callable[[Context, date], Document]
    due: Callable[[Context, date], bool] = lambda _ctx, _day: True
    unfinished: Callable[[Document], bool] = lambda _document: False
    patience: timedelta = timedelta(0)
    until: Slot | None = None


def _ends_week(calendar: Calendar, session: date) -> bool:
    """Say whether a session is the last of its week: a Thursday where the Friday is a holiday."""
    return calendar.next(session).isocalendar()[:2] != session.isocalendar()[:2]


def _watch(ctx: Context, session: date) -> Document:
    """Judge drift where there is a champion to judge against; without one there is nothing to watch."""
    from kobe.app.drift import DriftRequest, run_drift

    if ctx.models.champion(session) is None:
        return Document(schema="kobe.drift/1", title=f"Drift at {session}", summary=("no champion to judge against",))
    return run_drift(ctx, DriftRequest(session=session))


def _learn(ctx: Context, session: date) -> Document:
    """Renew the evidence up to the session, train on it and judge the candidate."""
    from kobe.app.promote import run_promote
    from kobe.app.train_meta import run_train_meta
    from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward

    run_walk_forward(ctx, WalkForwardRequest(until=session))
    run_train_meta(ctx)
    return run_promote(ctx)


def _partial(document: Document) -> bool:
    return document.exit_code is ExitCode.PARTIAL


def _waits_for_a_split(document: Document) -> bool:
    return bool(document.data.get("waiting"))


MORNING, RETRY = Slot(after_open=5), Slot(at=time(10, 30))
CLOSING, EVENING = Slot(after_close=-5), Slot(after_close=20)

JOBS: tuple[Job, ...] = (
    Job("holdings", "splits and other corporate actions of what is held", Slot(at=time(8, 0)), None, run_holdings,
        unfinished=_waits_for_a_split),
    Job("reconcile-open", "books against the broker before anything is decided", MORNING, None,
        lambda ctx, _: run_reconcile(ctx)),
    Job("exits-open", "signal exits of yesterday's close, at the open", MORNING, None,
        lambda ctx, _: run_manage_exits(ctx), unfinished=_partial, patience=10 * MINUTE, until=CLOSING),
    Job("scan", "picks and trade of the day from yesterday's close", MORNING, 40 * MINUTE,
        lambda ctx, day: run_scan(ctx, ScanRequest(session=ctx.calendar.previous(day)))),
    Job("submit", "trade of the day, first attempt", MORNING, 40 * MINUTE,
        lambda ctx, _: run_submit_totd(ctx, SubmitRequest())),
    Job("retry", "second attempt of an order that filled nothing", RETRY, 60 * MINUTE,
        lambda ctx, _: run_submit_totd(ctx, SubmitRequest(retry=True))),
    Job("exits-close", "time exits, five minutes before the close", CLOSING, None,
        lambda ctx, _: run_manage_exits(ctx), unfinished=_partial, patience=3 * MINUTE),
    Job("reconcile", "books against the broker after the close", EVENING, None,
        lambda ctx, _: run_reconcile(ctx)),
    Job("prepare", "what the session looked like to the strategies, kept for the scan", EVENING, None,
        run_prepare),
    Job("drift", "every strategy's recent signals against its evidence", EVENING, None,
        _watch),
    Job("learn", "walk forward, train, judge: after the week's last close", EVENING, None,
        _learn, lambda ctx, day: ctx.settings.meta.weekly and _ends_week(ctx.calendar, day)),
    Job("eod-report", "the day as Markdown, HTML and JSON", EVENING, None,
        run_eod_report),
)  # fmt: skip


GUARDS = Job("guards", "protection of what is held without it, between the slots", MORNING, None,
             lambda ctx, _: run_manage_exits(ctx))  # fmt: skip
GUARDING = (GUARDS.name, "exits-open", "exits-close")


def jobs_of(ctx: Context, session: date) -> tuple[Job, ...]:
    """Return the jobs of a session, in the order of the table."""
    return tuple(job for job in JOBS if job.due(ctx, session))


def job_named(name: str) -> Job:
    """Return a job by name.

    Raises:
        UsageError: there is no such job.
    """
    for job in JOBS:
        if job.name == name:
            return job
    raise UsageError("unknown job", seen=name, expected=", ".join(j.name for j in JOBS), next_command="kobe jobs list")


def run_job(ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
    """Run a job for a session unless it is settled, and record how it ended; None when there was nothing to do.

    A failure is recorded and reported, and the next job still gets its turn; damaged records stop everything.

    Raises:
        IntegrityError: records are damaged.
    """
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, f"job-{job.name}", ctx.clock):
        if runs.is_settled(ctx.ledger, job.name, session) and not again:
            return None
        started = ctx.clock.now()
        try:
            document = job.run(ctx, session)
            status = runs.UNFINISHED if job.unfinished(document) else runs.DONE
            detail = " ".join(document.summary)[:300]
        except IntegrityError:
            raise
        except Exception as error:  # noqa: BLE001 - the job runner is one of the three places that catch everything
            document = _failed(job, session, error)
            status, detail = runs.FAILED, document.summary[0]
            if isinstance(error, ExternalError | DataError):
                breakers.note_error(ctx, f"{job.name}: {detail}")
        _record(ctx, job, session, started, status, detail)
    run_status(ctx)
    return document


def miss(ctx: Context, job: Job, session: date, why: str = "") -> None:
    """Record that a job's time passed without it; an entry missed is never made up for."""
    if not runs.is_settled(ctx.ledger, job.name, session):
        _record(ctx, job, session, ctx.clock.now(), runs.MISSED, why or f"its grace of {job.grace} was over")


def slots(calendar: Calendar, session: date) -> list[datetime]:
    """Return the distinct instants of a session at which something is due, in order."""
    return sorted({job.slot.instant(calendar, session) for job in JOBS})


def tick(ctx: Context) -> list[tuple[str, Document]]:
    """Run everything that is due now, in the order of the table; the one path of runner, cron and simulation.

    What is too late is recorded as missed. After an interruption the evening jobs of the session before are made
    up for; its entries are not.
    """
    now, today = ctx.clock.now(), ctx.today
    done: list[tuple[str, Document]] = []
    if runs.any_before(ctx.ledger, today):
        done += _tick_session(ctx, now, ctx.calendar.previous(today), late=True)
    if today in ctx.calendar:
        done += _tick_session(ctx, now, today, late=False)
        if _guards_are_due(ctx):
            document = run_job(ctx, GUARDS, today, again=True)
            done += [] if document is None else [(GUARDS.name, document)]
    return done


def again_at(ctx: Context) -> datetime | None:
    """Return when the runner wakes for what is left: in a minute, while an exit is not done or a position naked."""
    now, today = ctx.clock.now(), ctx.today
    if today not in ctx.calendar:
        return None
    for job in jobs_of(ctx, today):
        begins = job.slot.instant(ctx.calendar, today)
        left = begins <= now and now + MINUTE <= begins + job.patience
        if left and not runs.is_settled(ctx.ledger, job.name, today):
            return now + MINUTE
    return now + MINUTE if _is_naked(ctx, now + MINUTE) else None


def _guards_are_due(ctx: Context) -> bool:
    """Say whether a position is without its guard and nobody has seen to it within the last minute."""
    now = ctx.clock.now()
    if not _is_naked(ctx, now):
        return False
    ran = [r for r in runs.history(ctx.ledger) if r.session == ctx.today and r.status != runs.MISSED]
    return all(now - r.finished >= MINUTE for r in ran if r.job in GUARDING)


def _is_naked(ctx: Context, instant: datetime) -> bool:
    """Say whether the exchange is open at an instant of today and a position lies there without its guard."""
    opens, closes = ctx.calendar.opens_at(ctx.today), ctx.calendar.closes_at(ctx.today)
    if not opens <= instant < closes or ctx.kill_switch.blocks(closing=True) is not None:
        return False
    return bool(protect.uncovered(desk.manager(ctx)))


def _tick_session(ctx: Context, now: datetime, session: date, *, late: bool) -> list[tuple[str, Document]]:
    done = []
    for job in jobs_of(ctx, session):
        instant = job.slot.instant(ctx.calendar, session)
        if now < instant or runs.is_settled(ctx.ledger, job.name, session):
            continue
        expired = job.grace is not None and now > instant + job.grace
        if expired or (late and job.slot != EVENING):
            miss(ctx, job, session)
            continue
        if job.until is not None and now >= job.until.instant(ctx.calendar, session):
            miss(ctx, job, session, f"from {job.until.words} on another job does its work")
            continue
        document = run_job(ctx, job, session)
        if document is not None:
            done.append((job.name, document))
    return done


def _record(ctx: Context, job: Job, session: date, started: datetime, status: str, detail: str) -> None:
    record = JobRecord(
        job=job.name, session=session, run_id=ctx.run_id, status=status, started=started,
        finished=ctx.clock.now(), outputs={}, detail=detail,
    )  # fmt: skip
    runs.write(ctx.ledger, record)
    ctx.audit.append("job", {"job": job.name, "session": str(session), "status": status, "detail": detail})


def _failed(job: Job, session: date, error: Exception) -> Document:
    message = error.message if isinstance(error, KobeError) else f"{type(error).__name__}: {error}"
    code = error.exit_code if isinstance(error, KobeError) else ExitCode.FAULT
    return Document(
        schema=FAILED_SCHEMA, title=f"{job.name} of {session} failed", summary=(message,),
        data={"job": job.name, "session": str(session), "error": message}, exit_code=code,
    )  # fmt: skip


def run_jobs_list(ctx: Context) -> Document:
    """List the timetable with the instants of the current or next session."""
    day = ctx.today if ctx.today in ctx.calendar else ctx.calendar.next(ctx.today)
    rows = tuple(
        (j.name, j.slot.words, f"{j.slot.instant(ctx.calendar, day).astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET",
         "any" if j.grace is None else f"{int(j.grace.total_seconds() // 60)} min", j.summary)
        for j in JOBS
    )  # fmt: skip
    columns = ("job", "when", "next", "may be late", "does")
    return Document(
        schema="kobe.jobs/1",
        title=f"The day of {day}",
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"session": str(day), "jobs": [dict(zip(columns, row, strict=True)) for row in rows]},
    )


def run_one(ctx: Context, name: str, session: date | None, *, again: bool) -> Document:
    """Run one job by name; a settled one says so."""
    job = job_named(name)
    day = session or ctx.today
    if day not in ctx.calendar:
        return Document(
            schema="kobe.job/1", title=f"{name} of {day}", summary=(f"{day} is not a session: nothing to do",),
            data={"job": name, "session": str(day), "status": "holiday"},
        )  # fmt: skip
    document = run_job(ctx, job, day, again=again)
    if document is not None:
        return document
    return Document(
        schema="kobe.job/1", title=f"{name} of {day}", summary=("already done; --again runs it once more",),
        data={"job": name, "session": str(day), "status": "already_done"},
    )  # fmt: skip
