"""`kobe run --simulate FROM TO`: past sessions played through the very jobs of the real day, with a stepping clock."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from kobe.app.context import Context
from kobe.app.day import perform, runs
from kobe.app.day.perform import FAILED_SCHEMA
from kobe.app.day.tick import again_at, tick
from kobe.app.jobs import GUARDS, JOBS, Job, job_named, jobs_of, slots
from kobe.app.status import run_status
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import ExitCode, MissingDataError, UsageError
from kobe.infra import durable
from kobe.reports.document import Document, Section, Table

SHOWN_DAYS, SHOWN_WRONG = 30, 20
PLAYED = "simulated"


@dataclass(slots=True)
class Play:
    """What was played: counts, what each session said, and what fired at another instant than its own."""

    counts: Counter[str] = field(default_factory=lambda: Counter(ran=0, failed=0, already=0))
    days: list[tuple[str, str, str, str]] = field(default_factory=list)
    fired: list[tuple[str, date, datetime]] = field(default_factory=list)


def run_simulation(ctx: Context, first: date, last: date, *, without: tuple[str, ...] = ()) -> Document:
    """Play the sessions from first to last; the context's clock must be a `SteppingClock`.

    Args:
        ctx: context.
        first: first day to play.
        last: last day to play.
        without: jobs to leave out: they are recorded as missed.

    Raises:
        UsageError: no session in that span, or no such job.
        MissingDataError: the store does not reach the end of it.
    """
    clock = ctx.clock
    if not isinstance(clock, SteppingClock):
        raise UsageError("a simulation needs a clock that steps", seen=type(clock).__name__)
    for name in without:
        job_named(name)
    sessions = ctx.calendar.between(first, last)
    if not sessions:
        raise UsageError("no session in this span", seen=f"{first} to {last}", expected="at least one trading day")
    held = ctx.store.manifest()
    if held.last < sessions[-1] or held.first >= sessions[0]:
        raise MissingDataError(
            "the store does not cover the simulation", seen=f"{held.first} to {held.last}",
            expected=f"{sessions[0]} to {sessions[-1]}", next_command="kobe data import FILE",
        )  # fmt: skip
    banners = run_status(ctx).banners
    with durable.not_waiting() if _is_for_playing(ctx) else nullcontext():
        play = _play(ctx, clock, sessions, without)
    return _document(ctx, sessions, play, banners)


def _is_for_playing(ctx: Context) -> bool:
    """Say whether a home holds no records of real days: nothing ran in it before it was first played in.

    In such a home the disk is waited for once, at the end, which is half the time; elsewhere at every record.
    """
    mark = ctx.paths.state / PLAYED
    if not mark.is_file() and not ctx.ledger.events(runs.BEGUN):
        durable.write_whole(mark, b"days were simulated in this home before any real one ran in it\n")
    return mark.is_file()


def _play(ctx: Context, clock: SteppingClock, sessions: Sequence[date], without: tuple[str, ...]) -> Play:
    play = Play()

    def do(ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
        if job.name in without:
            perform.miss(ctx, job, session, "left out of the simulation")
            play.counts["left_out"] += 1
            return None
        document = perform.run_job(ctx, job, session, again=again)
        if document is not None:
            play.fired.append((job.name, session, clock.now()))
        return document

    for number, session in enumerate(sessions, start=1):
        said: dict[str, str] = {}
        for instant in slots(ctx.calendar, session):
            for moment in _moments(ctx, clock, instant):
                clock.set(moment)
                for name, document in tick(ctx, do):
                    play.counts["ran"] += 1
                    play.counts["failed"] += document.schema == FAILED_SCHEMA
                    said[name] = document.summary[0] if document.summary else ""
        closed = "; ".join(c for c in (said.get("exits-open", ""), said.get("exits-close", "")) if c)
        play.days.append((str(session), said.get("submit", ""), said.get("retry", ""), closed))
        if ctx.progress:
            ctx.progress(number, len(sessions), str(session))
    run_status(ctx)
    played = set(sessions)  # what is made up for of the session before them is not theirs
    begun = {(name, session) for name, session, _ in play.fired if name != GUARDS.name and session in played}
    due = sum(len(jobs_of(ctx, day)) for day in sessions)
    play.counts["already"] = due - len(begun) - play.counts["left_out"]
    return play


def _moments(ctx: Context, clock: SteppingClock, slot: datetime) -> Iterator[datetime]:
    """Yield the instants up to a slot at which something waits to be done again, and the slot."""
    while (again := again_at(ctx)) is not None and clock.now() < again < slot:
        yield again
    yield slot


def _document(ctx: Context, sessions: Sequence[date], play: Play, banners: tuple[str, ...]) -> Document:
    wrong = _wrong(ctx, play)
    counts = play.counts
    failed, expected = counts["failed"], sum(_expected(ctx, sessions).values())
    tally = f"{counts['ran']} run, {counts['already']} already done, {failed} failed"
    tally += f", {counts['left_out']} left out" if counts["left_out"] else ""
    shown = play.days[-SHOWN_DAYS:]
    sections = [
        Section(title="Jobs", table=Table(columns=("job", "expected", "fired"), rows=_per_job(ctx, sessions, play))),
        Section(
            title="Sessions" if len(shown) == len(play.days) else f"Last {len(shown)} sessions",
            table=Table(columns=("session", "submit", "retry", "exits"), rows=tuple(shown)),
        ),
    ]
    if wrong:
        sections.insert(0, Section(title="Fired wrongly", lines=tuple(wrong[:SHOWN_WRONG])))
    return Document(
        schema="kobe.simulation/2",
        title=f"Simulated {sessions[0]} to {sessions[-1]}",
        summary=(
            f"{len(sessions)} sessions, {expected} jobs expected, {tally}",
            f"{len(wrong)} fired at another instant than the timetable's",
        ),
        banners=banners,
        sections=tuple(sections),
        data={
            "first": str(sessions[0]), "last": str(sessions[-1]), "sessions": len(sessions), "counts": dict(counts),
            "expected": expected, "wrong": wrong, "jobs": [list(r) for r in _per_job(ctx, sessions, play)],
            "days": [list(r) for r in play.days],
        },
        exit_code=ExitCode.PARTIAL if failed or wrong else ExitCode.OK,
    )  # fmt: skip


def _expected(ctx: Context, sessions: Sequence[date]) -> Counter[str]:
    return Counter(job.name for session in sessions for job in jobs_of(ctx, session))


def _per_job(ctx: Context, sessions: Sequence[date], play: Play) -> tuple[tuple[str, int, int], ...]:
    expected, fired = _expected(ctx, sessions), Counter(name for name, _, _ in play.fired)
    names = [*(job.name for job in JOBS), *(n for n in fired if n not in expected)]
    return tuple((name, expected[name], fired[name]) for name in dict.fromkeys(names) if expected[name] or fired[name])


def _wrong(ctx: Context, play: Play) -> list[str]:
    """Say what began for the first time at another instant than its slot."""
    first: dict[tuple[str, date], datetime] = {}
    for name, session, at in play.fired:
        first.setdefault((name, session), at)
    found = []
    for (name, session), at in first.items():
        job = next((j for j in JOBS if j.name == name), None)
        instant = None if job is None else job.slot.instant(ctx.calendar, session)
        if instant is not None and at != instant:
            found.append(f"{name} of {session} at {at.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET")
    return found


def clock_before(day: date) -> SteppingClock:
    """Return a clock that stands at the start of a date, before any session of it."""
    return SteppingClock(datetime(day.year, day.month, day.day, tzinfo=UTC))
