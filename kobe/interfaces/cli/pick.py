"""The pick: scan a session, explain what was chosen, prove a past decision."""

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, Session, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document


def scan(
    session: Session = None,
    top: Annotated[int | None, typer.Option(min=1, max=50, help="How many picks.")] = None,
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="SYMBOL", help="Say at which step it failed, and by how much.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the picks alone, as daily_picks.csv has them.")] = False,
) -> None:
    """Rank the signals of a session's close and name the trade of the day, or say why there is none.

    Example: kobe scan --session 2020-03-05 --json
    """
    if csv and (json or why_not is not None):
        raise typer.BadParameter("--csv goes with neither --json nor --why-not")

    def use_case(ctx: "Context") -> "Document":
        if why_not is not None:
            from kobe.app.why_not import run_why_not

            return run_why_not(ctx, why_not.strip().upper(), session, top)
        from kobe.app.scan import ScanRequest, run_scan

        return run_scan(ctx, ScanRequest(session=session, top=top, dry_run=dry_run))

    execute(use_case, json=json, text=_picks_as_csv if csv else None)


def _picks_as_csv(document: "Document") -> str:
    from kobe.app.scan import picks_as_csv

    return picks_as_csv(document)


def explain(
    pick: Annotated[str, typer.Argument(help="A pick of the session: its symbol, rank or signal id.")],
    session: Session = None,
    write: Annotated[bool, typer.Option("--write", help="Also write it as Markdown, HTML and JSON.")] = False,
    json: Json = False,
) -> None:
    """Say why a pick was made: what was seen, each input's share in its probability, what looked like it, the gates.

    Example: kobe explain 1 --session 2020-03-05 --write
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.explain import ExplainRequest, run_explain

        return run_explain(ctx, ExplainRequest(pick=pick, session=session, write=write))

    execute(use_case, json=json)


def replay(
    session: Annotated[date, typer.Argument(parser=parse_day, metavar="SESSION", help="Such as 2020-03-05.")],
    json: Json = False,
) -> None:
    """Make the decision of a past session again from its recorded inputs and compare it byte for byte; 8 if it differs.

    Example: kobe replay 2020-03-05
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.replay import run_replay

        return run_replay(ctx, session)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(scan)
    app.command()(explain)
    app.command()(replay)
