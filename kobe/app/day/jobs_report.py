"""`kobe jobs list|history`: the timetable of a day, and what became of it."""

from dataclasses import dataclass
from datetime import date

from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.jobs import GUARDS, JOBS, job_named
from kobe.core.clock import NEW_YORK
from kobe.core.types import JobRecord
from kobe.reports.document import Document, Section, Table

GOOD = (runs.DONE, runs.UNFINISHED)
HISTORY_COLUMNS = ("session", "job", "began", "late_s", "took_s", "status", "said")


@dataclass(frozen=True, kw_only=True)
class HistoryRequest:
    """Which runs to show; `last` bounds them."""

    session: date | None = None
    job: str = ""
    failed: bool = False
    last: int = 50


def run_jobs_list(ctx: Context) -> Document:
    """List the timetable with the instants of the current or next session."""
    day = ctx.today if ctx.today in ctx.calendar else ctx.calendar.next(ctx.today)
    rows = []
    for job in JOBS:
        instant = job.slot.instant(ctx.calendar, day)
        at = "-" if instant is None else f"{instant.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET"
        when = at if job.due(ctx, day) else "not today"
        rows.append((job.name, job.slot.words, when, job.latest, ", ".join(job.needs), job.summary))
    columns = ("job", "when", "next", "may be late", "needs", "does")
    return Document(
        schema="kobe.jobs/2",
        title=f"The day of {day}",
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(rows))),),
        data={"session": str(day), "jobs": [dict(zip(columns, row, strict=True)) for row in rows]},
    )


def run_jobs_history(ctx: Context, request: HistoryRequest) -> Document:
    """Show the runs that ended, newest last.

    Raises:
        UsageError: there is no such job.
    """
    if request.job:
        job_named(request.job)
    read = runs.history(ctx.ledger) if request.session is None else runs.of_session(ctx.ledger, request.session)
    chosen = [r for r in read if request.job in ("", r.job) and not (request.failed and r.status in GOOD)]
    rows = tuple(_row(ctx, record) for record in chosen[-request.last :])
    shown = f"{len(rows)} of {len(chosen)} runs" if len(rows) < len(chosen) else f"{len(rows)} runs"
    return Document(
        schema="kobe.jobs_history/1", title="Runs of jobs", summary=(shown,),
        sections=(Section(title="", table=Table(columns=HISTORY_COLUMNS, rows=rows)),) if rows else (),
        data={"runs": [dict(zip(HISTORY_COLUMNS, row, strict=True)) for row in rows], "of": len(chosen)},
    )  # fmt: skip


def _row(ctx: Context, record: JobRecord) -> tuple[str | float | None, ...]:
    began = f"{record.started.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} ET"
    late = lateness_s(ctx, record)
    took = (record.finished - record.started).total_seconds()
    return str(record.session), record.job, began, late, took, record.status, record.detail


def lateness_s(ctx: Context, record: JobRecord) -> float | None:
    """Return by how many seconds a run began after its slot; None for what has no slot, or never began."""
    job = next((j for j in JOBS if j.name == record.job and record.job != GUARDS.name), None)
    if job is None or record.status == runs.MISSED or record.session not in ctx.calendar:
        return None
    instant = job.slot.instant(ctx.calendar, record.session)
    return None if instant is None else (record.started - instant).total_seconds()
