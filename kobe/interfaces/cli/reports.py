"""What a person reads: the morning, the day, the week."""

from typing import TYPE_CHECKING

import typer

from kobe.interfaces.cli.shell import AsOf, Json, Session, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document


def morning_report(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Write the morning report as Markdown, HTML and JSON: the market, what is held, yesterday, the trade of the day.

    Example: kobe morning-report --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.morning_report import run_morning_report

        return run_morning_report(ctx, session)

    execute(use_case, json=json, as_of=as_of)


def eod_report(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Write the end-of-day report as Markdown, HTML and JSON: profit, trades, refusals, books, audit head.

    Example: kobe eod-report --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.eod_report import run_eod_report

        return run_eod_report(ctx, session)

    execute(use_case, json=json, as_of=as_of)


def weekly_report(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Write the report of a session's week as Markdown, HTML and JSON: money, evidence, models, refusals, jobs.

    Example: kobe weekly-report --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.weekly_report import run_weekly_report

        return run_weekly_report(ctx, session)

    execute(use_case, json=json, as_of=as_of)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("morning-report")(morning_report)
    app.command("eod-report")(eod_report)
    app.command("weekly-report")(weekly_report)
