"""How the timetable's jobs are doing, as those who watch see them: last end, last success, failures, lateness."""

from dataclasses import dataclass
from datetime import date, datetime

from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.day.runs import Standing
from kobe.app.jobs import Job, jobs_of
from kobe.core.clock import from_ns
from kobe.core.ports import Event

LOOKED_BACK = 10
"""Sessions with runs that are looked at: a weekly job is in them, and ten years cost the same as ten days."""
NEVER = Standing(())


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """One job.

    Attributes:
        name, critical: of the job.
        session, status, detail: of the newest run that ended or was missed; empty before there is one.
        succeeded: when it was done last; duration_s: how long that took.
        ended: when it was last written about.
        failures: bad ends in the sessions looked at.
        late_s: seconds after its slot that it began, or by which it is behind while it has not.
        overdue: the session in which it has not begun, None when it has or is not due.
    """

    name: str
    critical: bool
    session: date | None = None
    status: str = ""
    detail: str = ""
    succeeded: datetime | None = None
    duration_s: float | None = None
    ended: datetime | None = None
    failures: int = 0
    late_s: float | None = None
    overdue: date | None = None


def jobs(ctx: Context) -> tuple[JobFacts, ...]:
    """Return every job of the last sessions, in the order of the table; none in a home where nothing ever ran."""
    today = ctx.today
    begun = runs.begun(ctx.ledger, today)
    if today in ctx.calendar and ctx.ledger.events(runs.STREAM, entity=str(today)):
        begun = [*begun, today]
    if not begun:
        return ()
    events = [e for day in begun[-LOOKED_BACK:] for e in ctx.ledger.events(runs.STREAM, entity=str(day))]
    judged = _judged_sessions(ctx, begun)
    known = {day: runs.standings(ctx.ledger, day) for day in judged}
    named = {job.name: job for day in judged for job in jobs_of(ctx, day)}
    told = list(dict.fromkeys([*named, *(e.payload["job"] for e in events)]))
    return tuple(_facts(ctx, name, named.get(name), [e for e in events if e.payload["job"] == name], known)
                 for name in told)  # fmt: skip


def _judged_sessions(ctx: Context, begun: list[date]) -> list[date]:
    """Return the sessions that may have something due: today's, and the one before in a home that ran by then."""
    before = ctx.calendar.previous(ctx.today)
    earlier = [before] if begun[0] <= before else []
    return [*earlier, ctx.today] if ctx.today in ctx.calendar else earlier


def _facts(
    ctx: Context, name: str, job: Job | None, events: list[Event], known: dict[date, dict[str, Standing]]
) -> JobFacts:
    ends = [e for e in events if e.kind != runs.STARTED]
    done = [e for e in ends if e.kind == runs.DONE]
    last, newest = ends[-1] if ends else None, done[-1] if done else None
    late_s, overdue = (None, None) if job is None else _lateness(ctx, job, known)
    return JobFacts(
        name=name, critical=job is not None and job.critical,
        session=date.fromisoformat(last.payload["session"]) if last else None,
        status=last.kind if last else "", detail=str(last.payload["detail"]) if last else "",
        succeeded=from_ns(newest.payload["finished_ns"]) if newest else None,
        duration_s=(newest.payload["finished_ns"] - newest.payload["started_ns"]) / 1e9 if newest else None,
        ended=from_ns(last.at_ns) if last else None, failures=sum(e.kind in runs.BAD_ENDS for e in ends),
        late_s=late_s, overdue=overdue,
    )  # fmt: skip


def _lateness(ctx: Context, job: Job, known: dict[date, dict[str, Standing]]) -> tuple[float | None, date | None]:
    """Return how late a job began or is, and the session it has not begun in; the oldest such session counts."""
    now, late_s = ctx.clock.now(), None
    for day, told in known.items():
        slot = job.slot.instant(ctx.calendar, day) if job in jobs_of(ctx, day) else None
        if slot is None or slot > now:
            continue
        mine = told.get(job.name, NEVER)
        if mine.events:
            late_s = max((from_ns(mine.events[0].payload["started_ns"]) - slot).total_seconds(), 0.0)
        elif all(told.get(need, NEVER).is_done for need in job.needs):
            return (now - slot).total_seconds(), day
    return late_s, None
