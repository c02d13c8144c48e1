"""What people are told about the day's jobs: a message for every end that matters, and summaries of the good ones."""

from collections.abc import Callable, Sequence
from datetime import date

from kobe.app import eod_report, scan_picture
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.jobs import Job, remedy
from kobe.core.errors import ExitCode
from kobe.core.messages import Message, Severity, Silence
from kobe.reports.document import Document

LEAST_WORDS = {runs.MISSED: "missed", runs.GIVEN_UP: "given up"}
Picture = tuple[bytes, str]


def of_run(job: Job, session: date, status: str, document: Document, ctx: Context) -> list[Message]:
    """Return what to tell about the end of a run; nothing for most good ones.

    A failure that will be tried again is told once a session, as a warning; one that is given up, or missed by a job
    that money depends on, calls a person.
    """
    if isinstance(ctx.notifier, Silence):
        return []
    if status == runs.DONE:
        return _of_success(ctx, job, session, document)
    if status == runs.UNFINISHED:
        return []
    final = status in (runs.GIVEN_UP, runs.MISSED)
    damaged = document.exit_code is ExitCode.INTEGRITY
    severity = Severity.URGENT if damaged or (final and job.critical) else Severity.WARNING
    told = status if final else "failed"
    return [
        Message(
            key=f"job:{session}:{job.name}:{told}", kind=f"job_{told}", severity=severity,
            title=f"{job.name} of {session} {LEAST_WORDS.get(status, status.replace('_', ' '))}",
            lines=(*document.summary, f"next: {remedy(ctx, job.name, session, status)}" if final else
                   "it is tried again by itself"),
        )
    ]  # fmt: skip


def of_absence(sessions: Sequence[date], jobs: Sequence[Job]) -> list[Message]:
    """Return the one message about jobs that were missed while nothing ran; urgent where money depends on one."""
    first, last = min(sessions), max(sessions)
    critical = sorted({job.name for job in jobs if job.critical})
    days = len(set(sessions))
    return [
        Message(
            key=f"absence:{first}:{last}", kind="absence", severity=Severity.URGENT if critical else Severity.WARNING,
            title=f"{len(jobs)} jobs of {days} session{'s' if days > 1 else ''} were missed, {first} to {last}",
            lines=(*([f"among them: {', '.join(critical)}"] if critical else []), "next: kobe status; kobe reconcile"),
        )
    ]  # fmt: skip


def _of_success(ctx: Context, job: Job, session: date, document: Document) -> list[Message]:
    bad = document.exit_code is not ExitCode.OK
    if job.name not in TOLD and not bad:
        return []
    severity = Severity.WARNING if bad else Severity.INFO
    drawn = PICTURES.get(job.name, _none)(ctx, session) if ctx.settings.notify.channels and not bad else None
    return [
        Message(
            key=f"said:{session}:{job.name}", kind=job.name.replace("-", "_"), severity=severity, title=document.title,
            lines=(*(f"! {banner}" for banner in document.banners), *document.summary),
            picture=drawn[0] if drawn else None, picture_alt=drawn[1] if drawn else "",
        )
    ]  # fmt: skip


def _none(_ctx: Context, _session: date) -> Picture | None:
    return None


TOLD = ("morning-report", "scan", "submit", "retry", "exits-open", "exits-close", "eod-report", "weekly-report")
"""Jobs whose good ends are told as well."""

PICTURES: dict[str, Callable[[Context, date], Picture | None]] = {
    "submit": lambda ctx, day: scan_picture.picture(ctx, ctx.calendar.previous(day)),
    "eod-report": eod_report.picture,
}
"""Job -> its picture as PNG and in words, None where none can be drawn; the picks' comes when the order is on its way,
for drawing takes a second."""
