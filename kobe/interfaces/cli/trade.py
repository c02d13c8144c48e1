"""Orders and books."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Live, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document


def submit_totd(
    retry: Annotated[bool, typer.Option("--retry", help="Try once more what filled nothing this morning.")] = False,
    live: Live = False,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Send the trade of the day through every gate, once and only once, and protect what fills.

    Example: kobe submit-totd --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.submit_totd import SubmitRequest, run_submit_totd

        armed = wiring.arm(ctx, live=live)
        return run_submit_totd(armed, SubmitRequest(retry=retry, dry_run=dry_run))

    execute(use_case, json=json, as_of=as_of)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("submit-totd")(submit_totd)
