"""`kobe earnings ...`, `kobe news ...` and `kobe data vix ...`: what is known beside the bars, and since when."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute, parse_day, parse_instant, show

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

earnings_app = typer.Typer(no_args_is_help=True, help="Earnings dates: import, list, window.", rich_markup_mode=None)
news_app = typer.Typer(no_args_is_help=True, help="Headlines: import, show, score, agreement.", rich_markup_mode=None)
vix_app = typer.Typer(no_args_is_help=True, help="The VIX and since when it was known.", rich_markup_mode=None)

File = Annotated[Path, typer.Argument(help="CSV or Parquet.")]
Source = Annotated[str | None, typer.Option(help="Who told it; default: the file's name.")]
Day = typer.Option(parser=parse_day, metavar="DATE")


@earnings_app.command("import")
def earnings_import(
    file: File,
    filings: Annotated[
        bool, typer.Option("--filings", help="Filings a crawler saw (date, end_date, doc_type): a stand-in.")
    ] = False,
    source: Source = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring an earnings calendar in: symbol, date, and if there part (bmo, amc), period, known_at.

    Example: kobe earnings import calendar.csv
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import earnings, reference

        request = earnings.earnings_import(file, source or file.stem, filings=filings, dry_run=dry_run)
        return reference.run_table_import(ctx, request)

    execute(use_case, json=json)


@earnings_app.command("list")
def earnings_list(
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    first: Annotated[date | None, typer.Option("--from", parser=parse_day, metavar="DATE")] = None,
    last: Annotated[date | None, typer.Option("--to", parser=parse_day, metavar="DATE")] = None,
    json: Json = False,
) -> None:
    """Show the earnings dates on record and since when each was known.

    Example: kobe earnings list --symbol AAPL
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.earnings import run_earnings_list

        return run_earnings_list(ctx, symbol.upper() if symbol else None, first, last)

    execute(use_case, json=json)


@earnings_app.command("window")
def earnings_window(
    symbols: Annotated[list[str], typer.Argument(help="Tickers.")],
    session: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="Entry; default: next.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether an entry in a session would be near an announcement, as known at the close before it.

    Example: kobe earnings window AAPL MSFT --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.earnings import run_earnings_window

        return run_earnings_window(ctx, [s.upper() for s in symbols], session)

    execute(use_case, json=json)


@news_app.command("import")
def news_import(
    file: File,
    archive: Annotated[
        bool, typer.Option("--archive", help="History somebody else collected: its own stamps say when it was known.")
    ] = False,
    source: Source = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring headlines in: time of publication with its zone, title, symbol.

    Example: kobe news import headlines.parquet --archive
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import news, reference

        request = news.news_import(file, source or file.stem, archive=archive, dry_run=dry_run)
        return reference.run_table_import(ctx, request)

    execute(use_case, json=json)


@news_app.command("show")
def news_show(
    symbol: Annotated[str, typer.Argument(help="Ticker.")],
    session: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="Default: the last one.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the tone of a symbol's headlines at a close, and the headlines themselves.

    Example: kobe news show AAPL --session 2025-11-12
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.news import run_news_show

        return run_news_show(ctx, symbol.upper(), session)

    execute(use_case, json=json)


@news_app.command("score")
def news_score(
    titles: Annotated[list[str], typer.Argument(help="Headlines, each in quotes.")],
    json: Json = False,
) -> None:
    """Score headlines from -1 to +1.

    Example: kobe news score "Profit warning: shares plunge 20%"
    """

    def run() -> "Document":
        from kobe.app.news import run_news_score

        return run_news_score(titles)

    show(run, json=json)


@news_app.command("agreement")
def news_agreement(json: Json = False) -> None:
    """Compare our tone with the labels vendors gave, stock VADER and the largest class beside it.

    Example: kobe news agreement --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.news import run_news_agreement

        return run_news_agreement(ctx)

    execute(use_case, json=json)


@vix_app.command("import")
def vix_import(file: File, source: Source = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Bring daily bars of the VIX in: date, open, high, low, close.

    Example: kobe data vix import vix.csv
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import reference

        return reference.run_table_import(ctx, reference.vix_import(ctx, file, source or file.stem, dry_run=dry_run))

    execute(use_case, json=json)


@vix_app.command("show")
def vix_show(
    at: Annotated[
        datetime | None,
        typer.Option("--as-of", parser=parse_instant, metavar="INSTANT", help="New York; default: now."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the newest VIX level that was known at an instant.

    Example: kobe data vix show --as-of 2020-03-16T16:20
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.reference import run_vix_show

        return run_vix_show(ctx, at)

    execute(use_case, json=json)
