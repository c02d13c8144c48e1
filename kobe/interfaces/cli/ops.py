"""Running and looking after kobe."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kobe.interfaces.cli import shell
from kobe.interfaces.cli.shell import AsOf, Json, Live, Session, execute, parse_day, show

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document
    from kobe.app.settings import Settings

jobs_app = typer.Typer(no_args_is_help=True, help="The timetable and its jobs.", rich_markup_mode=None)
config_app = typer.Typer(no_args_is_help=True, help="Settings.", rich_markup_mode=None)


def demo(
    bars: Annotated[Path | None, typer.Option(help="Play on these real bars instead of a made-up market.")] = None,
    into: Annotated[Path | None, typer.Option(help="Folder of the demo; default: demo in the home.")] = None,
    sessions: Annotated[int, typer.Option(min=1, max=250, help="Sessions to play at the end.")] = 10,
    symbols: Annotated[int, typer.Option(min=20, max=2000, help="Stocks of the made-up market.")] = 200,
    years: Annotated[int, typer.Option(min=3, max=30, help="Years of the made-up market.")] = 6,
    seed: Annotated[int, typer.Option(help="The made-up market follows from it.")] = 81,
    json: Json = False,
) -> None:
    """Run kobe's whole day on a made-up market (or on your bars): evidence, model, ten sessions, audit.

    Example: kobe demo --bars equities_daily.parquet
    """

    def run() -> "Document":
        from kobe.app import wiring
        from kobe.app.demo import DemoRequest, run_demo

        home = into or (shell.OPTIONS.home or wiring.default_home()) / "demo"
        request = DemoRequest(
            home=home.resolve(), bars=bars, sessions=sessions, symbols=symbols, years=years, seed=seed
        )
        return run_demo(request, None if json else shell.progress_bar())

    show(run, json=json)


def status(as_of: AsOf = None, json: Json = False) -> None:
    """Show what a person should know now, and write it to STATUS.md.

    Example: kobe status
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.status import run_status

        return run_status(ctx)

    execute(use_case, json=json, as_of=as_of)


@jobs_app.command("list")
def jobs_list(as_of: AsOf = None, json: Json = False) -> None:
    """Show the jobs of the day with their times in New York.

    Example: kobe jobs list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.day.jobs_report import run_jobs_list

        return run_jobs_list(ctx)

    execute(use_case, json=json, as_of=as_of)


@jobs_app.command("run")
def jobs_run(
    name: Annotated[str, typer.Argument(help="A name from `kobe jobs list`.")],
    session: Session = None,
    again: Annotated[bool, typer.Option("--again", help="Run it although it is done.")] = False,
    live: Live = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Run one job of the timetable, exactly as the scheduler does.

    Example: kobe jobs run scan --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.day.perform import run_one

        return run_one(wiring.arm(ctx, live=live), name, session, again=again)

    execute(use_case, json=json, as_of=as_of)


@jobs_app.command("history")
def jobs_history(
    session: Session = None,
    job: Annotated[str, typer.Option(help="Only this job.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what did not end well.")] = False,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="So many runs at most, the newest.")] = 50,
    json: Json = False,
) -> None:
    """Show what ran, how it ended, how late it began and how long it took.

    Example: kobe jobs history --failed
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.day.jobs_report import HistoryRequest, run_jobs_history

        return run_jobs_history(ctx, HistoryRequest(session=session, job=job, failed=failed, last=last))

    execute(use_case, json=json)


def run(
    simulate: Annotated[
        tuple[date, date] | None,
        typer.Option(parser=parse_day, metavar="FROM TO", help="Play past sessions through the same jobs."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Run what is due now and leave; for cron.")] = False,
    speed: Annotated[
        Literal["max"], typer.Option(help="How fast a simulation goes: max, as fast as the machine.")
    ] = "max",
    without: Annotated[list[str] | None, typer.Option(metavar="JOB", help="Leave a job out of a simulation.")] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another runner works; take over when it is gone.")
    ] = False,
    live: Live = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Run the New York day: scan and submit after the open, exits before the close, books and report after it.

    Example: kobe run --simulate 2020-03-02 2020-03-13
    """
    del speed
    if as_of is not None and not once:
        raise typer.BadParameter("--as-of pretends one instant: it needs --once (or use --simulate FROM TO)")
    if standby and (once or simulate is not None):
        raise typer.BadParameter("--standby is for the runner that goes on, not for --once or --simulate")
    if once and simulate is not None:
        raise typer.BadParameter("--once and --simulate are two ways to run")

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.day import runner_once
        from kobe.app.day import simulate as simulation
        from kobe.app.settings import load

        if simulate is not None:
            clock = simulation.clock_before(simulate[0])
            stepping = wiring.build(ctx.paths.home, config=shell.OPTIONS.config, clock=clock, progress=ctx.progress)
            return simulation.run_simulation(stepping, *simulate, without=tuple(without or ()))
        armed = wiring.arm(ctx, live=live)
        if once:
            return runner_once.run_once(armed, live=live)
        from kobe.interfaces.scheduler.runner import run_forever

        def read_settings() -> "Settings":
            return load(ctx.paths.home, shell.OPTIONS.config)[0]

        return run_forever(armed, read_settings, live=live, standby=standby)

    execute(use_case, json=json, as_of=as_of, progress=True)


@config_app.command("show")
def config_show(
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    json: Json = False,
) -> None:
    """Show every setting in force.

    Example: kobe config show --origin
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.config import run_config_show

        return run_config_show(ctx, origin=origin)

    execute(use_case, json=json)


@config_app.command("validate")
def config_validate(json: Json = False) -> None:
    """Check the settings and leave with 3 when they cannot be used.

    Example: kobe config validate
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.config import run_config_validate

        return run_config_validate(ctx)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(demo)
    app.command()(status)
    app.command()(run)
    app.add_typer(jobs_app, name="jobs")
    app.add_typer(config_app, name="config")
