"""`kobe run --simulate FROM TO`: past sessions played through the very jobs of the real day, with a stepping clock."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime

from kobe.app.context import Context
from kobe.app.jobs import FAILED_SCHEMA, jobs_of, slots, tick
from kobe.app.status import run_status
from kobe.core.clock import SteppingClock
from kobe.core.errors import ExitCode, MissingDataError, UsageError
from kobe.reports.document import Document, Section, Table


def run_simulation(ctx: Context, first: date, last: date) -> Document:
    """Play the sessions from first to last; the context's clock must be a `SteppingClock`.

    Raises:
        UsageError: no session in that span.
        MissingDataError: the store does not reach the end of it.
    """
    clock = ctx.clock
    if not isinstance(clock, SteppingClock):
        raise UsageError("a simulation needs a clock that steps", seen=type(clock).__name__)
    sessions = ctx.calendar.between(first, last)
    if not sessions:
        raise UsageError("no session in this span", seen=f"{first} to {last}", expected="at least one trading day")
    held = ctx.store.manifest()
    if held.last < sessions[-1] or held.first >= sessions[0]:
        raise MissingDataError(
            "the store does not cover the simulation", seen=f"{held.first} to {held.last}",
            expected=f"{sessions[0]} to {sessions[-1]}", next_command="kobe data import FILE",
        )  # fmt: skip
    rows, counts = _play(ctx, clock, sessions)
    document = run_status(ctx)
    trades = tuple(rows)
    failed, expected = counts["failed"], counts["ran"] + counts["already"]
    tally = f"{counts['ran']} run, {counts['already']} already done, {failed} failed"
    table = Table(columns=("session", "submit", "retry", "exits"), rows=trades)
    return Document(
        schema="kobe.simulation/1",
        title=f"Simulated {sessions[0]} to {sessions[-1]}",
        summary=(f"{len(sessions)} sessions, {expected} jobs expected, {tally}",),
        banners=document.banners,
        sections=(Section(title="Sessions", table=table),),
        data={
            "first": str(sessions[0]), "last": str(sessions[-1]), "sessions": len(sessions), "counts": dict(counts),
            "days": [list(r) for r in trades],
        },
        exit_code=ExitCode.PARTIAL if failed else ExitCode.OK,
    )  # fmt: skip


def _play(
    ctx: Context, clock: SteppingClock, sessions: Sequence[date]
) -> tuple[list[tuple[str, str, str, str]], Counter[str]]:
    counts = Counter({"ran": 0, "failed": 0, "already": 0})
    rows = []
    for k, session in enumerate(sessions):
        said: dict[str, str] = {}
        for instant in slots(ctx.calendar, session):
            clock.set(instant)
            for name, document in tick(ctx):
                counts["ran"] += 1
                counts["failed"] += document.schema == FAILED_SCHEMA
                said[name] = document.summary[0] if document.summary else ""
        closed = said.get("exits-open", ""), said.get("exits-close", "")
        rows.append((str(session), said.get("submit", ""), said.get("retry", ""), "; ".join(c for c in closed if c)))
        if ctx.progress:
            ctx.progress(k + 1, len(sessions), str(session))
    counts["already"] = sum(len(jobs_of(ctx, day)) for day in sessions) - counts["ran"]
    return rows, counts


def clock_before(day: date) -> SteppingClock:
    """Return a clock that stands at the start of a date, before any session of it."""
    return SteppingClock(datetime(day.year, day.month, day.day, tzinfo=UTC))
