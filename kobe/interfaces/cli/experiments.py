"""`kobe experiments ...`: everything that ever looked at returns."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Experiments: list, show, diff, reproduce.", rich_markup_mode=None)
Id = Annotated[str, typer.Argument(help="An experiment's id, or a unique beginning of it.")]


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="walk_forward, backtest or optimize.")] = None, json: Json = False
) -> None:
    """List every run and how many combinations it looked at; the sum deflates every Sharpe ratio.

    Example: kobe experiments list --kind walk_forward
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.experiments import run_list

        return run_list(ctx, kind)

    execute(use_case, json=json)


@app.command("show")
def show(experiment: Id, json: Json = False) -> None:
    """Show an experiment: what was asked about what, its figures and its best trials.

    Example: kobe experiments show 3f9a --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.experiments import run_show

        return run_show(ctx, experiment)

    execute(use_case, json=json)


@app.command("diff")
def diff(one: Id, other: Id, json: Json = False) -> None:
    """Show what differs between two experiments: question, bars, settings, code, results.

    Example: kobe experiments diff 3f9a 77c0
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.experiments import run_diff

        return run_diff(ctx, one, other)

    execute(use_case, json=json)


@app.command("reproduce")
def reproduce(experiment: Id, json: Json = False) -> None:
    """Run an experiment again beside the home's own files and compare digests; leaves with 8 when they differ.

    Example: kobe experiments reproduce 3f9a
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.reproduce import run_reproduce

        return run_reproduce(ctx, experiment)

    execute(use_case, json=json, progress=True)
