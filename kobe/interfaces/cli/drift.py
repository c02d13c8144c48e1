"""Whether the strategies still do what their record says."""

from typing import TYPE_CHECKING

import typer

from kobe.interfaces.cli.shell import DryRun, Json, Session, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document


def drift(session: Session = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Judge every strategy's signals since the champion's evidence, and record NORMAL, WATCH, HALF_SIZE or STAND_DOWN.

    Example: kobe drift --session 2020-03-05
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.drift import DriftRequest, run_drift

        return run_drift(ctx, DriftRequest(session=session, dry_run=dry_run))

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the command of this file on the root."""
    app.command()(drift)
