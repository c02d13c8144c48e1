"""`kobe run`: the New York day, session after session, until it is told to stop."""

import signal
import sys
from typing import Any

from kobe.app.context import Context
from kobe.app.jobs import again_at, run_jobs_list, tick
from kobe.app.output import Document, print_document
from kobe.app.runner_once import next_instant, runner_lease
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExitCode, IntegrityError
from kobe.interfaces.scheduler.timetable import wake_ups

NEVER_LATE = None  # lateness is judged per job in `tick`, not by the scheduler


def run_forever(ctx: Context) -> Document:
    """Hold the runner's lease, run what is due, sleep until the next slot; return when asked to stop.

    Raises:
        IntegrityError: records are damaged; the runner stops rather than decide on top of them.
        ExternalError: another runner holds the lease.
    """
    from apscheduler.schedulers.blocking import BlockingScheduler

    scheduler = BlockingScheduler(timezone=NEW_YORK)
    fatal: list[IntegrityError] = []

    def wake() -> None:
        try:
            _say(tick(ctx))
        except IntegrityError as error:
            fatal.append(error)
            scheduler.shutdown(wait=False)
            return
        refill(scheduler, ctx, wake)
        sys.stderr.write(f"next: {next_instant(ctx)}\n")

    with runner_lease(ctx):
        print_document(run_jobs_list(ctx))
        signal.signal(signal.SIGTERM, lambda *_: scheduler.shutdown(wait=False))
        scheduler.add_job(wake, "date", id="start", misfire_grace_time=NEVER_LATE)
        scheduler.start()
    if fatal:
        raise fatal[0]
    return Document(schema="kobe.run/1", title="Runner stopped", exit_code=ExitCode.TERMINATED)


def refill(scheduler: Any, ctx: Context, wake: Any) -> None:
    """Keep the coming sessions' slots in the scheduler; a slot already there is replaced by itself.

    While an exit is not done or a position lies without its guard, one wake-up more comes in a minute.
    """
    soon = again_at(ctx)
    for instant in (*wake_ups(ctx.calendar, ctx.today, ctx.clock.now()), *([] if soon is None else [soon])):
        scheduler.add_job(
            wake, "date", run_date=instant, id=instant.isoformat(), replace_existing=True,
            misfire_grace_time=NEVER_LATE, coalesce=True, max_instances=1,
        )  # fmt: skip


def _say(done: list[tuple[str, Document]]) -> None:
    for name, document in done:
        sys.stderr.write(f"{name}: {document.summary[0] if document.summary else document.title}\n")
