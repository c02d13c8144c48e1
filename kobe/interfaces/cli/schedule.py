"""The timetable, and entries for the schedulers of operating systems."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Live, Session, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="When kobe works, and what wakes it.", rich_markup_mode=None)


@app.command("show")
def show(
    date: Session = None,
    following: Annotated[int, typer.Option("--next", min=1, max=200, help="Wake-ups to come.")] = 5,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show the jobs of a session in New York's time and in this machine's, and the next wake-ups.

    Example: kobe schedule show --date 2026-11-27
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.schedule.show import run_schedule_show

        return run_schedule_show(ctx, date, following)

    execute(use_case, json=json, as_of=as_of)


@app.command("export")
def export(
    scheduler: Annotated[Literal["cron", "systemd", "windows", "kubernetes"], typer.Argument(help="Who wakes kobe.")],
    tz: Annotated[
        str, typer.Option("--tz", metavar="ZONE", help="The zone of the machine (cron, windows); default: this one's.")
    ] = "",
    home: Annotated[str, typer.Option(metavar="DIR", help="Kobe's home there; default: this home.")] = "",
    program: Annotated[str, typer.Option(metavar="FILE", help="The kobe to call there; default: this one.")] = "",
    user: Annotated[
        str, typer.Option(metavar="NAME", help="Whom it runs as; with cron the lines are then for /etc/cron.d.")
    ] = "",
    years: Annotated[int, typer.Option(min=1, max=20, help="How many coming years the entries hold for.")] = 5,
    output: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write to this folder; with cron to this file.")
    ] = None,
    live: Live = False,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Write entries that call `kobe run --once` at every slot, across half days and all changes of clocks.

    Example: kobe schedule export cron --tz Europe/Berlin --output kobe.cron
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.schedule.export import ExportRequest, run_schedule_export

        request = ExportRequest(
            scheduler=scheduler, zone=tz, home=home, program=program, user=user, years=years, output=output,
            dry_run=dry_run,
        )  # fmt: skip
        return run_schedule_export(wiring.arm(ctx, live=live), request)

    execute(use_case, json=json, as_of=as_of)
