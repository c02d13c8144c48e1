"""`kobe schedule show`: the timetable of a session in New York's time and in this machine's, and what comes next."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kobe.app.context import Context
from kobe.app.jobs import Job, jobs_of, slots
from kobe.app.schedule.entries import WEEK
from kobe.app.schedule.zone import host_zone
from kobe.core.clock import NEW_YORK
from kobe.reports.document import Document, Section, Table

SATURDAY = 5
FULL_CLOSE = "16:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job of a session and the instant it begins."""

    session: date
    at: datetime
    job: Job


def run_schedule_show(ctx: Context, day: date | None = None, following: int = 5) -> Document:
    """Show when the jobs of a session begin, how late they may, what they need, and the next instants from now on.

    Args:
        ctx: the home; its settings decide which jobs there are.
        day: the session; today's or the next one when it is not given or is none.
        following: how many instants to come.
    """
    wanted, zone = day or ctx.today, host_zone()
    session = wanted if wanted in ctx.calendar else ctx.calendar.next(wanted)
    entries, coming = _entries(ctx, session), _coming(ctx, following)
    return Document(
        schema="kobe.schedule/1",
        title=f"The day of {session:%A, %Y-%m-%d}",
        summary=_said(ctx, wanted, session, zone),
        sections=(_day_section(entries, zone), _coming_section(ctx, coming, zone)),
        data={
            "session": str(session), "asked": str(wanted), "is_session": wanted in ctx.calendar, "zone": zone.key,
            "opens": ctx.calendar.opens_at(session).isoformat(), "closes": ctx.calendar.closes_at(session).isoformat(),
            "half_day": ctx.calendar.is_early_close(session), "jobs": [_told(e, zone) for e in entries],
            "next": [{"at": at.astimezone(NEW_YORK).isoformat(), "local": at.astimezone(zone).isoformat(),
                      "jobs": names} for at, names in coming],
        },
    )  # fmt: skip


def _day_section(entries: list[Entry], zone: ZoneInfo) -> Section:
    rows = tuple(
        (_time(e.at, NEW_YORK), _time(e.at, zone), e.job.name, e.job.latest, ", ".join(needs(e.job))) for e in entries
    )
    return Section(title="", table=Table(columns=("New York", _here(zone), "job", "may be late", "needs"), rows=rows))


def _coming_section(ctx: Context, coming: list[tuple[datetime, list[str]]], zone: ZoneInfo) -> Section:
    now = ctx.clock.now()
    rows = tuple(
        (_day_time(at, NEW_YORK), _day_time(at, zone), _wait(at - now), ", ".join(names) or None)
        for at, names in coming
    )
    table = Table(columns=("New York", _here(zone), "in", "due"), rows=rows)
    return Section(title=f"The next {len(coming)} wake-ups", table=table)


def _here(zone: ZoneInfo) -> str:
    """Return a short heading for this machine's time."""
    return "here" if zone.key == NEW_YORK.key else zone.key.rpartition("/")[2].replace("_", " ")


def needs(job: Job) -> tuple[str, ...]:
    """Return what must be done first; a table without that column needs nothing."""
    found: tuple[str, ...] = getattr(job, "needs", ())
    return tuple(found)


def _entries(ctx: Context, session: date) -> list[Entry]:
    """Return the jobs of a session in the order they begin; those of one instant in the order of the table."""
    found = [(job, job.slot.instant(ctx.calendar, session)) for job in jobs_of(ctx, session)]
    return sorted((Entry(session=session, at=at, job=job) for job, at in found if at is not None), key=lambda e: e.at)


def _coming(ctx: Context, count: int) -> list[tuple[datetime, list[str]]]:
    """Return the next instants after now with the jobs due at them; one may hang on a session that is over."""
    now, today = ctx.clock.now(), ctx.today
    enough = timedelta(days=2 * count) + 2 * WEEK  # a session has a slot at least, and holidays do not come in weeks
    days = ctx.calendar.between(today - WEEK, today + enough)
    instants = sorted({at for day in days for at in slots(ctx.calendar, day) if at > now})[:count]
    due: dict[datetime, list[str]] = {at: [] for at in instants}
    for day in days:
        for entry in _entries(ctx, day):
            if entry.at in due:
                due[entry.at].append(entry.job.name)
    return list(due.items())


def _said(ctx: Context, wanted: date, session: date, zone: ZoneInfo) -> tuple[str, ...]:
    lines = []
    if wanted != session:
        kind = "a weekend" if wanted.weekday() >= SATURDAY else "a holiday of the exchange"
        lines.append(f"{wanted:%A, %Y-%m-%d} is {kind}: nothing is traded; the next session is shown.")
    closes = f"{ctx.calendar.closes_at(session).astimezone(NEW_YORK):%H:%M}"
    if ctx.calendar.is_early_close(session):
        lines.append(f"A half day: the exchange closes at {closes} in New York instead of {FULL_CLOSE}.")
    opens = ctx.calendar.opens_at(session)
    local = f"{opens.astimezone(zone):%H:%M} to {ctx.calendar.closes_at(session).astimezone(zone):%H:%M}"
    hours = f"Open {opens.astimezone(NEW_YORK):%H:%M} to {closes} in New York"
    lines.append(hours if zone.key == NEW_YORK.key else f"{hours}, {local} in {zone.key}")
    return tuple(lines)


def _told(entry: Entry, zone: ZoneInfo) -> dict[str, Any]:
    timeout = getattr(entry.job, "timeout", None)
    return {
        "job": entry.job.name, "at": entry.at.astimezone(NEW_YORK).isoformat(),
        "local": entry.at.astimezone(zone).isoformat(), "does": entry.job.summary, "needs": list(needs(entry.job)),
        "grace_s": None if entry.job.grace is None else entry.job.grace.total_seconds(),
        "timeout_s": timeout.total_seconds() if isinstance(timeout, timedelta) else None,
        "critical": bool(getattr(entry.job, "critical", False)),
    }  # fmt: skip


def _time(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %H:%M}"


def _day_time(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %m-%d %H:%M}"


def _wait(span: timedelta) -> str:
    """Say how long it is until then."""
    minutes = -(-int(span.total_seconds()) // 60)
    days, rest = divmod(minutes, 24 * 60)
    hours, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {left:02d} min" if hours else f"{left} min"
