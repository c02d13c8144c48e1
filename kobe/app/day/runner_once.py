"""`kobe run --once`: what cron and the Windows Task Scheduler call; the same path as the runner's own."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from kobe.app.context import Context
from kobe.app.day import perform
from kobe.app.day.job_process import starter
from kobe.app.day.supervise import Supervisor
from kobe.app.day.tick import Done, again_at, tick
from kobe.app.jobs import JOBS, MINUTE, jobs_of
from kobe.app.status import run_status
from kobe.app.watching import alerts, metrics
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import ExitCode, IntegrityError, KobeError
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

if TYPE_CHECKING:
    from collections.abc import Callable

STAYS = 15 * MINUTE


def run_once(ctx: Context, *, live: bool = False) -> Document:
    """Run everything that is due and say what was done; a second runner at the same time is refused.

    While exits are left or a position lies without its guard it stays, at most a quarter of an hour: what called it
    may not come back within that minute.

    Args:
        ctx: context.
        live: whether orders may go to a live account.

    Each job has a process of its own; under a pretended time, which no other process knows, they run in this one.
    """
    with runner_lease(ctx):
        pretended = isinstance(ctx.clock, SteppingClock)
        supervisor = None if pretended else Supervisor(start=starter(ctx, live=live))
        done = _round(ctx, supervisor)
        leaves = ctx.clock.now() + STAYS
        while (again := again_at(ctx)) is not None and again <= leaves and not isinstance(ctx.clock, SteppingClock):
            ctx.wait(max((again - ctx.clock.now()).total_seconds(), 0.0))
            done += _round(ctx, supervisor)
    rows = tuple((name, document.summary[0] if document.summary else "") for name, document in done)
    following = next_instant(ctx)
    message = f"{len(done)} jobs run" if done else "nothing is due"
    failed = [d.exit_code for _, d in done if d.exit_code is not ExitCode.OK]
    return Document(
        schema="kobe.run_once/1",
        title=f"kobe, {ctx.clock.now().astimezone(NEW_YORK):%Y-%m-%d %H:%M} in New York",
        summary=(message, f"Next: {following}"),
        sections=(Section(title="", table=Table(columns=("job", "said"), rows=rows)),) if rows else (),
        data={"jobs": [list(r) for r in rows], "next": following, "of": len(JOBS)},
        exit_code=ExitCode.PARTIAL if failed else ExitCode.OK,
    )


def _round(ctx: Context, supervisor: Supervisor | None) -> Done:
    done: Done = []
    while new := tick(ctx, perform.run_job if supervisor is None else supervisor):
        done += new  # a slot that came meanwhile is in the next look
    look_after(ctx)
    ctx.notifier.deliver()
    return done


def look_after(ctx: Context) -> None:
    """Write what a person and a monitor see after a round, and tell what began or ended to be odd.

    Watching never stops what is watched: what fails here is said and the day goes on.
    """
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("STATUS.md", lambda: run_status(ctx)),
        ("alerts", lambda: alerts.watch(ctx, ctx.notifier.tell)),
        ("metrics", lambda: metrics.write_metrics(ctx)),
    )
    for name, step in steps:
        try:
            step()
        except IntegrityError:
            raise
        except (KobeError, OSError) as error:
            sys.stderr.write(f"{name}: {error.message if isinstance(error, KobeError) else error}\n")


def runner_lease(ctx: Context) -> Lease:
    """Return the lease that lets only one runner act; use it as a context manager."""
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    return Lease(ctx.paths.locks, "runner", ctx.clock)


def next_slot(ctx: Context) -> datetime | None:
    """Return the next instant of the timetable, None where the calendar ends."""
    now, day = ctx.clock.now(), ctx.today
    before = ctx.calendar.previous(day)
    for session in [before, *([day] if day in ctx.calendar else []), ctx.calendar.next(day)]:
        due = (job.slot.instant(ctx.calendar, session) for job in jobs_of(ctx, session))
        coming = [instant for instant in due if instant is not None and instant > now]
        if coming:
            return min(coming)
    return None


def next_instant(ctx: Context) -> str:
    """Return when something is due next, in New York time."""
    instant = next_slot(ctx)
    return "unknown" if instant is None else f"{instant.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET"
