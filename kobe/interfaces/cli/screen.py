"""`kobe research ...`: ideas held against the record before anybody builds on them."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Research: screen alpha candidates.", rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Ideas held against the record before anybody builds on them."""


@app.command("screen")
def screen(
    strategy: Annotated[str, typer.Option(help="both, or one whose signals are ranked.")] = "both",
    alpha: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Look at this one; repeatable.")] = None,
    json: Json = False,
) -> None:
    """Judge alpha candidates by how they rank signals, and what the model looks at; every look counts as a trial.

    Signals of the final holdout are never looked at. Candidates stand in kobe/learning/alphas.py.

    Example: kobe research screen --alpha momentum_12_1 --alpha near_high_250
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.research_screen import ScreenRequest, run_research_screen

        return run_research_screen(ctx, ScreenRequest(strategy=strategy, alphas=tuple(alpha or ())))

    execute(use_case, json=json)
