"""Orders and books."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Live, Session, execute

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


def eod_report(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Write the end-of-day report as Markdown, HTML and JSON.

    Example: kobe eod-report --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.eod_report import run_eod_report

        return run_eod_report(ctx, session)

    execute(use_case, json=json, as_of=as_of)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("submit-totd")(submit_totd)
    app.command("eod-report")(eod_report)
