"""One run of one job: begun on record, done, ended on record, told; killed at any instant and run again, one effect."""

import sys
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime

from kobe.app import breakers, desk
from kobe.app.context import Context
from kobe.app.day import recovery, runs, telling
from kobe.app.day.recovery import Failure
from kobe.app.jobs import GUARDS, JOBS, Job, job_named
from kobe.app.watching import telemetry
from kobe.core.errors import DataError, ExitCode, ExternalError, IntegrityError, KobeError, UsageError
from kobe.core.messages import Message
from kobe.core.types import JobRecord, Mode
from kobe.infra.locks import Lease
from kobe.reports.document import Document

FAILED_SCHEMA = "kobe.job_failed/1"
RUNNER = "runner"
DIED = "its process ended without a word"
DETAIL_CHARACTERS = 300


def run_job(ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
    """Run a job for a session unless it is settled, and record how it ended; None when there was nothing to do.

    A failure is recorded and reported, and the next job still gets its turn. Damaged records stop everything as soon as
    a job meets them that money depends on; a model or a backup that is damaged fails its own job only.

    Raises:
        IntegrityError: records are damaged.
        ExternalError: another process is at this job.
    """
    with lease(ctx, job):
        known = standing(ctx, job.name, session)
        if known.is_settled and not again:
            return None
        if known.is_open:
            lost = end_badly(ctx, job, session, runs.CRASHED, DIED)
            if standing(ctx, job.name, session).is_settled and not again:
                return lost
        started = ctx.clock.now()
        runs.start(ctx.ledger, job.name, session, ctx.run_id, started)
        failure = ""
        try:
            with telemetry.span(ctx, f"job {job.name}", {"session": str(session)}):
                document = job.run(ctx, session)
            status = runs.UNFINISHED if job.unfinished(document) else runs.DONE
        except Exception as error:
            if isinstance(error, IntegrityError) and job.critical:
                raise
            document, status, failure = _failed(job, session, error), runs.FAILED, recovery.classed(error).value
            if isinstance(error, ExternalError | DataError):
                breakers.note_error(ctx, f"{job.name}: {document.summary[0]}")
        _end(ctx, job, session, started, document, status, failure)
    return document


def lease(ctx: Context, job: Job) -> Lease:
    """Return the right to be at a job, for one process; use it as a context manager."""
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    return Lease(ctx.paths.locks, f"job-{job.name}", ctx.clock)


def is_running(ctx: Context, job: Job) -> bool:
    """Say whether another process is at a job now."""
    try:
        lease(ctx, job).acquire().release()
    except ExternalError:
        return True
    return False


def end_badly(ctx: Context, job: Job, session: date, status: str, detail: str) -> Document:
    """Record that a run's process was killed or died; the caller holds the job's lease."""
    failure = Failure(status)
    document = Document(
        schema=FAILED_SCHEMA, title=f"{job.name} of {session} failed", summary=(detail,),
        data={"job": job.name, "session": str(session), "error": detail}, exit_code=ExitCode.FAULT,
    )  # fmt: skip
    _end(ctx, job, session, _begun_at(ctx, job, session), document, status, failure.value)
    return document


def miss(ctx: Context, job: Job, session: date, why: str = "", *, tell: bool = True) -> None:
    """Record that a job's time passed without it; an entry missed is never made up for."""
    if standing(ctx, job.name, session).is_settled:
        return
    now = ctx.clock.now()
    detail = why or f"its grace of {job.grace} was over"
    document = Document(schema=FAILED_SCHEMA, title=f"{job.name} of {session} was missed", summary=(detail,))
    _end(ctx, job, session, now, document, runs.MISSED, "", told=tell)


def tell(ctx: Context, messages: Iterable[Message]) -> None:
    """Tell people; what cannot be written down is said here, for what it is about is over and on record."""
    try:
        for message in messages:
            ctx.notifier.tell(message)
    except KobeError as error:
        sys.stderr.write(f"nobody could be told: {error.message}\n")


def standing(ctx: Context, job: str, session: date) -> runs.Standing:
    """Return where a job stands in a session, for what this clock says."""
    return runs.standing(ctx.ledger, job, session).at(ctx.clock.now())


def _begun_at(ctx: Context, job: Job, session: date) -> datetime:
    at = runs.standing(ctx.ledger, job.name, session).ended
    return ctx.clock.now() if at is None else at


def _end(
    ctx: Context, job: Job, session: date, started: datetime, document: Document, status: str, failure: str, *,
    told: bool = True,
) -> None:  # fmt: skip
    """Record an end, give the job up where its rule says so, and tell people."""
    detail = " ".join("; ".join(document.summary).split())
    if len(detail) > DETAIL_CHARACTERS:
        detail = textwrap.shorten(detail, DETAIL_CHARACTERS, placeholder=" ...")
    _record(ctx, job, session, started, status, detail, failure)
    if status in runs.BAD_ENDS and recovery.is_given_up(runs.standing(ctx.ledger, job.name, session)):
        status = runs.GIVEN_UP
        _record(ctx, job, session, started, status, detail, failure)
    if job.critical and status in (runs.DONE, runs.GIVEN_UP):
        _set_mode(ctx)
    if told:
        tell(ctx, telling.of_run(job, session, status, document, ctx))


def _record(ctx: Context, job: Job, session: date, started: datetime, status: str, detail: str, failure: str) -> None:
    record = JobRecord(
        job=job.name, session=session, run_id=ctx.run_id, status=status, started=started,
        finished=ctx.clock.now(), outputs={}, detail=detail,
    )  # fmt: skip
    runs.write(ctx.ledger, record, failure)
    told = {"job": job.name, "session": str(session), "status": status, "detail": detail}
    ctx.audit.append("job", told | ({"failure": failure} if failure else {}))


def _set_mode(ctx: Context) -> None:
    """Open nothing while a job that money depends on is given up; its next good run lifts that."""
    critical = {job.name for job in (*JOBS, GUARDS) if job.critical}
    lost = [name for name in runs.given_up(ctx.ledger, ctx.today) if name in critical]
    mode = Mode.REDUCE_ONLY if lost else Mode.NORMAL
    desk.set_mode(ctx, RUNNER, mode, f"given up: {', '.join(lost)}" if lost else "every critical job ran")


def _failed(job: Job, session: date, error: Exception) -> Document:
    message = error.message if isinstance(error, KobeError) else f"{type(error).__name__}: {error}"
    code = error.exit_code if isinstance(error, KobeError) else ExitCode.FAULT
    return Document(
        schema=FAILED_SCHEMA, title=f"{job.name} of {session} failed", summary=(message,),
        data={"job": job.name, "session": str(session), "error": message}, exit_code=code,
    )  # fmt: skip


def run_one(ctx: Context, name: str, session: date | None, *, again: bool) -> Document:
    """Run one job by name; a settled one says so.

    Raises:
        UsageError: there is no such job, or it acts on the market of today and another session was named.
    """
    job = job_named(name)
    day = session or ctx.today
    if day not in ctx.calendar:
        return _nothing(name, day, f"{day} is not a session: nothing to do", "holiday")
    if day > ctx.today:
        raise UsageError(f"{day} has not come yet", seen=f"--session {day}", expected=f"{ctx.today} or before")
    if job.of_today and day != ctx.today:
        raise UsageError(f"{name} acts on the market as it is now", seen=f"--session {day}", expected=str(ctx.today))
    document = run_job(ctx, job, day, again=again)
    if document is None:
        return _settled(ctx, name, day)
    from kobe.app.status import run_status

    run_status(ctx)
    return document


def _settled(ctx: Context, name: str, day: date) -> Document:
    """Say that nothing was run, and with another exit code where what is settled is not done."""
    known = standing(ctx, name, day)
    if known.is_done:
        return _nothing(name, day, "already done; --again runs it once more", "already_done")
    kind = next(e.kind for e in reversed(known.events) if e.kind in runs.SETTLED)
    told = _nothing(name, day, f"{kind.replace('_', ' ')}, not run; --again runs it now", kind)
    return replace(told, exit_code=ExitCode.PARTIAL)


def _nothing(name: str, day: date, words: str, status: str) -> Document:
    return Document(
        schema="kobe.job/1", title=f"{name} of {day}", summary=(words,),
        data={"job": name, "session": str(day), "status": status},
    )  # fmt: skip
