"""What is due now: the one path of the runner, of cron and of the simulation."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Protocol

from kobe.app import desk, protect
from kobe.app.context import Context
from kobe.app.day import perform, recovery, runs, telling
from kobe.app.day.runs import Standing
from kobe.app.jobs import GUARDING, GUARDS, JOBS, MINUTE, Job, jobs_of
from kobe.core.clock import SteppingClock
from kobe.core.types import Effect
from kobe.reports.document import Document

NEVER = Standing(())
LONG = 5 * MINUTE
Done = list[tuple[str, Document]]


class Performer(Protocol):
    """Runs one job for one session: here (`perform.run_job`) or in a process of its own (`supervise`)."""

    def __call__(self, ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
        """Run it unless it is settled; None when there was nothing to do."""
        ...


def tick(ctx: Context, do: Performer = perform.run_job) -> Done:
    """Run everything that is due now, in the order of the table.

    What is too late is recorded as missed. After an interruption what belongs behind the close of the session before
    is made up for; its entries are not.

    Raises:
        IntegrityError: records are damaged.
    """
    now, today = ctx.clock.now(), ctx.today
    done: Done = []
    begun = runs.begun(ctx.ledger, today)
    last = ctx.calendar.previous(today)
    if begun:
        _close_the_books_of(ctx, begun, last)
    if today in ctx.calendar:
        done += _tick_session(ctx, now, today, do)
        if _guards_are_due(ctx):
            document = do(ctx, GUARDS, today, again=True)
            done += [] if document is None else [(GUARDS.name, document)]
    if begun and not done:  # the leftovers of the session before wait for a round in which today has nothing to do
        done += _tick_session(ctx, now, last, do, most=1)
    return done


def again_at(ctx: Context) -> datetime | None:
    """Return when to look again between the slots: while an exit is left, a guard is missing or a repeat is waiting."""
    now, today = ctx.clock.now(), ctx.today
    waiting = []
    for session in _looked_at(ctx, today):
        known = _standings(ctx, session)
        due = {job.name: job for job in jobs_of(ctx, session)}
        for job in due.values():
            begins = job.slot.instant(ctx.calendar, session)
            mine = known.get(job.name, NEVER)
            if begins is None or begins > now or mine.is_settled:
                continue
            needed = [known.get(name, NEVER) for name in job.needs if name in due]
            if _is_held_up(mine, needed) or now + MINUTE <= begins + job.patience:
                waiting.append(now + MINUTE)
            repeat = recovery.repeat_at(mine)
            waiting += [] if repeat is None else [max(repeat, now + MINUTE)]
    if today in ctx.calendar and _is_naked(ctx, now + MINUTE):
        waiting.append(now + MINUTE)
    return min(waiting, default=None)


def _standings(ctx: Context, session: date) -> dict[str, Standing]:
    now = ctx.clock.now()
    return {name: known.at(now) for name, known in runs.standings(ctx.ledger, session).items()}


def _is_held_up(mine: Standing, needed: list[Standing]) -> bool:
    """Say whether another process is at a job or at what it needs, or has just done all that it needs."""
    done_elsewhere = bool(needed) and not mine.events and all(other.is_done for other in needed)
    return done_elsewhere or any(known.is_open for known in (mine, *needed))


def _looked_at(ctx: Context, today: date) -> list[date]:
    before = [ctx.calendar.previous(today)] if runs.has_begun(ctx.ledger, today) else []
    return before + ([today] if today in ctx.calendar else [])


def _close_the_books_of(ctx: Context, begun: list[date], last: date) -> None:
    """Record as missed what nobody will make up for: sessions with no run at all, and leftovers of older ones.

    People hear of it once, however long nothing ran.
    """
    newest = begun[-1]
    first = newest if newest < last else ctx.calendar.previous(last)
    if first < begun[0]:
        return
    missed: list[tuple[date, Job]] = []
    for session in ctx.calendar.between(first, last)[:-1]:
        known = _standings(ctx, session)
        for job in jobs_of(ctx, session):
            instant = job.slot.instant(ctx.calendar, session)
            mine = known.get(job.name, NEVER)
            if instant is None or instant > ctx.clock.now() or mine.is_settled:
                continue
            if not (mine.is_open and perform.is_running(ctx, job)):
                why = "nothing ran in this session" if session not in begun else "a session later it was still not done"
                perform.miss(ctx, job, session, why, tell=False)
                missed.append((session, job))
    if missed:
        perform.tell(ctx, telling.of_absence([session for session, _ in missed], [job for _, job in missed]))


def _tick_session(ctx: Context, now: datetime, session: date, do: Performer, most: int = 1000) -> Done:
    """Run what is due of a session, at most so many jobs."""
    done: Done = []
    known = _standings(ctx, session)
    due = {job.name: job for job in jobs_of(ctx, session)}
    for job in due.values():
        instant = job.slot.instant(ctx.calendar, session)
        mine = known.get(job.name, NEVER)
        if instant is None or now < instant or mine.is_settled:
            continue
        needed = {name: known.get(name, NEVER) for name in job.needs if name in due}
        why = _why_missed(ctx, job, session, now) or _why_never(needed)
        if why is not None:
            perform.miss(ctx, job, session, why)
        elif len(done) < most and _may_run(ctx, job, mine, needed):
            document = do(ctx, job, session)
            done += [] if document is None else [(job.name, document)]
        else:
            continue
        known[job.name] = runs.standing(ctx.ledger, job.name, session).at(ctx.clock.now())
    return done


def _why_missed(ctx: Context, job: Job, session: date, now: datetime) -> str | None:
    """Say why a job's time is over, None while it is not."""
    instant = job.slot.instant(ctx.calendar, session)
    assert instant is not None
    if job.grace is not None and now > instant + job.grace:
        return f"its grace of {job.grace} was over"
    if session != ctx.today and not job.slot.is_after(ctx.calendar, session):
        return "its session was over"
    if job.until is not None:
        ends = job.until.instant(ctx.calendar, session)
        if ends is not None and now >= ends:
            return f"{job.until.words} was there: what it left, the next exits do"
    return None


def _why_never(needed: Mapping[str, Standing]) -> str | None:
    """Say which needed job will not be done any more, None while all may be."""
    for name, known in needed.items():
        if known.is_settled and not known.is_done:
            return f"it needs {name}, which was {known.events[-1].kind.replace('_', ' ')}"
    return None


def _may_run(ctx: Context, job: Job, known: Standing, needed: Mapping[str, Standing]) -> bool:
    """Say whether a job that is due may begin: nobody is at it, its repeat has come, what it needs is done."""
    if not all(other.is_done for other in needed.values()):
        return False
    now, repeat = ctx.clock.now(), recovery.repeat_at(known)
    if repeat is not None and now < repeat:
        return False
    if known.events and known.events[-1].kind == runs.UNFINISHED and known.ended and now < known.ended + MINUTE:
        return False
    if _would_delay(ctx, job):
        return False
    return not (known.is_open and perform.is_running(ctx, job))


def _would_delay(ctx: Context, job: Job) -> bool:
    """Say whether a long job could still run when one that money depends on is due: it then waits for the evening.

    While the exchange is open a position may need its guard in any minute.
    """
    if job.critical or job.of_today or job.timeout <= LONG or isinstance(ctx.clock, SteppingClock):
        return False
    now, today = ctx.clock.now(), ctx.today
    if today in ctx.calendar and ctx.calendar.opens_at(today) <= now < ctx.calendar.closes_at(today):
        return True
    sessions = [*([today] if today in ctx.calendar else []), ctx.calendar.next(today)]
    instants = (other.slot.instant(ctx.calendar, day) for day in sessions for other in JOBS if other.critical)
    return any(instant is not None and now < instant < now + job.timeout for instant in instants)


def _guards_are_due(ctx: Context) -> bool:
    """Say whether a position is without its guard and nobody has seen to it within the last minute."""
    now = ctx.clock.now()
    if not _is_naked(ctx, now):
        return False
    ran = [r for r in runs.of_session(ctx.ledger, ctx.today) if r.status != runs.MISSED]
    return all(now - r.finished >= MINUTE for r in ran if r.job in GUARDING)


def _is_naked(ctx: Context, instant: datetime) -> bool:
    """Say whether the exchange is open at an instant of today and a position lies there without its guard.

    So may what an entry of today has bought whose end nobody knows yet: asking after it is the guards' work too.
    """
    opens, closes = ctx.calendar.opens_at(ctx.today), ctx.calendar.closes_at(ctx.today)
    if not opens <= instant < closes or ctx.kill_switch.blocks(closing=True) is not None:
        return False
    oms = desk.manager(ctx)
    today = ctx.today
    waiting = (o.request for o in oms.unfinished().values())
    return any(r.effect is Effect.OPEN and r.session == today for r in waiting) or bool(protect.uncovered(oms))
