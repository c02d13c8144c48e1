"""`kobe universe ...`: who may be traded when, and the bias of a list."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Universes: build, import, show, bias.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The universe's name; data/universe/NAME.")]


@app.command("build")
def build(
    name: Name,
    as_of: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="Choose on this close; default: the newest.")
    ] = None,
    size: Annotated[int, typer.Option(help="How many, by dollar volume.")] = 900,
    min_price: Annotated[float, typer.Option(help="Least raw price, $.")] = 5.0,
    min_adv: Annotated[float, typer.Option(help="Least average dollar volume over 60 sessions, $.")] = 5e6,
    min_history: Annotated[int, typer.Option(help="Least number of bars.")] = 250,
    optionable: Annotated[Path | None, typer.Option(help="File with the symbols that have listed options.")] = None,
    since: Annotated[
        date | None,
        typer.Option(parser=parse_day, metavar="DATE", help="Choose again and again from this date on: point in time."),
    ] = None,
    every: Annotated[str, typer.Option(help="With --since: monthly, quarterly or yearly.")] = "quarterly",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Rank the store's symbols by what was known on a day and keep the best with the proof.

    One choice used on all the past is a biased list and says so; --since makes a point-in-time one.

    Example: kobe universe build liquid --since 2012-01-01 --every quarterly --size 300
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.universe import BuildRequest, rules_of, run_build

        rules = rules_of(size, min_price, min_adv, min_history)
        request = BuildRequest(
            name=name, as_of=as_of, rules=rules, since=since, every=every, optionable=optionable, dry_run=dry_run
        )
        return run_build(ctx, request)

    execute(use_case, json=json)


@app.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Parquet or CSV: symbol, start, end; or date, symbol snapshots.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring membership records in; they become a point-in-time universe.

    Example: kobe universe import sp500 membership.parquet
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.universe import run_universe_import

        return run_universe_import(ctx, name, file, dry_run=dry_run)

    execute(use_case, json=json)


@app.command("show")
def show(
    name: Name,
    session: Annotated[date | None, typer.Option(parser=parse_day, metavar="DATE", help="Who belongs then.")] = None,
    json: Json = False,
) -> None:
    """Show a universe and its proof.

    Example: kobe universe show sp500 --session 2015-06-01 --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.universe import run_show

        return run_show(ctx, name, session)

    execute(use_case, json=json)


@app.command("bias")
def bias(name: Name, json: Json = False) -> None:
    """Measure what a list of today does to the past: coverage per year, and its results against the true membership.

    Example: kobe universe bias sp500
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.universe import run_bias

        return run_bias(ctx, name)

    execute(use_case, json=json)
