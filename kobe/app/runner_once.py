"""`kobe run --once`: what cron and the Windows Task Scheduler call; the same path as the runner's own."""

from kobe.app.context import Context
from kobe.app.jobs import JOBS, slots, tick
from kobe.app.status import run_status
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExitCode
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table


def run_once(ctx: Context) -> Document:
    """Run everything that is due and say what was done; a second runner at the same time is refused."""
    with runner_lease(ctx):
        done = tick(ctx)
    run_status(ctx)
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


def runner_lease(ctx: Context) -> Lease:
    """Return the lease that lets only one runner act; use it as a context manager."""
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    return Lease(ctx.paths.locks, "runner", ctx.clock)


def next_instant(ctx: Context) -> str:
    """Return when something is due next, in New York time."""
    now, day = ctx.clock.now(), ctx.today
    sessions = [day] if day in ctx.calendar else []
    for session in [*sessions, ctx.calendar.next(day)]:
        for instant in slots(ctx.calendar, session):
            if instant > now:
                return f"{instant.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET"
    return "unknown"
