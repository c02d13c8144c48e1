"""Orders, exits, books and the switch that stops them."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Session, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

Live = Annotated[bool, typer.Option("--live", help="Needs run.mode = live in the settings as well.")]


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

        wiring.refuse_live(live=live, mode=ctx.settings.run.mode)
        return run_submit_totd(ctx, SubmitRequest(retry=retry, dry_run=dry_run))

    execute(use_case, json=json, as_of=as_of)


def manage_exits(dry_run: DryRun = False, as_of: AsOf = None, json: Json = False) -> None:
    """Close what is due (signal at the open, time five minutes before the close) and protect the rest.

    Example: kobe manage-exits --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.manage_exits import run_manage_exits

        return run_manage_exits(ctx, dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


def reconcile(as_of: AsOf = None, json: Json = False) -> None:
    """Compare the ledger with the broker; a difference halts openings until it is explained.

    Example: kobe reconcile
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.reconcile import run_reconcile

        return run_reconcile(ctx)

    execute(use_case, json=json, as_of=as_of)


def eod_report(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Write the end-of-day report as Markdown, HTML and JSON.

    Example: kobe eod-report --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.eod_report import run_eod_report

        return run_eod_report(ctx, session)

    execute(use_case, json=json, as_of=as_of)


def kill(
    reason: Annotated[str, typer.Argument(help="Why; shown wherever an order is refused.")] = "operator",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Stop every order from now on; cancelling stays possible.

    Example: kobe kill "broker behaves oddly"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.kill import run_kill

        return run_kill(ctx, reason, dry_run=dry_run)

    execute(use_case, json=json)


def resume(dry_run: DryRun = False, json: Json = False) -> None:
    """Take the kill switch off; what it stopped is not sent again by itself.

    Example: kobe resume
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.kill import run_resume

        return run_resume(ctx, dry_run=dry_run)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("submit-totd")(submit_totd)
    app.command("manage-exits")(manage_exits)
    app.command()(reconcile)
    app.command("eod-report")(eod_report)
    app.command()(kill)
    app.command()(resume)
