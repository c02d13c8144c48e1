"""`kobe data ...`: bars into the store, what is there, and whether it can be trusted."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli import reference
from kobe.interfaces.cli.shell import DryRun, Json, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Bars: fetch, import, check, verify, repair.", rich_markup_mode=None)
actions_app = typer.Typer(
    no_args_is_help=True, help="Splits, dividends, new tickers, delistings.", rich_markup_mode=None
)
quarantine_app = typer.Typer(no_args_is_help=True, help="Symbols on hold.", rich_markup_mode=None)
intraday_app = typer.Typer(no_args_is_help=True, help="Bars shorter than a day.", rich_markup_mode=None)
app.add_typer(actions_app, name="actions")
app.add_typer(intraday_app, name="intraday")
app.add_typer(reference.vix_app, name="vix")
app.add_typer(quarantine_app, name="quarantine")

Symbol = Annotated[str, typer.Argument(help="Ticker, such as AAPL.")]
Reason = Annotated[str, typer.Option(help="Why; stays on record.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .parquet or .csv file of daily bars, or a folder of them.")],
    map_: Annotated[list[str] | None, typer.Option("--map", help="OURS=THEIRS column name; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the source; default: the file's name.")] = None,
    feed: Annotated[str, typer.Option(help="Which tape the volume counts.")] = "consolidated",
    adjustment: Annotated[str, typer.Option(help="What the prices are: split, raw or total-return.")] = "split",
    universe: Annotated[str, typer.Option(help="static-current or point-in-time.")] = "static-current",
    replace: Annotated[bool, typer.Option("--replace", help="Make this file the whole store.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Check a file of bars and bring the good ones into the store; bad ones are set aside with reasons.

    Example: kobe data import bars.csv --map close=Close --map date=Date
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import import_bars

        provenance = import_bars.provenance(source or file.stem, feed, adjustment, universe)
        mapping = import_bars.parse_mapping(map_ or [])
        request = import_bars.ImportRequest(
            file=file, mapping=mapping, provenance=provenance, replace=replace, dry_run=dry_run
        )
        return import_bars.run_import(ctx, request)

    execute(use_case, json=json)


@app.command("status")
def status(json: Json = False) -> None:
    """Show what the store holds and how old it is.

    Example: kobe data status --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import import_bars

        return import_bars.run_data_status(ctx)

    execute(use_case, json=json)


@app.command("check")
def check(
    symbol: Annotated[list[str] | None, typer.Option(help="Only this symbol; repeatable; changes no hold.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Apply every rule to the store, bring the holds up to date, and write reports/data_check.html and .json.

    Example: kobe data check --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import CheckRequest, run_check

        return run_check(ctx, CheckRequest(symbols=tuple(s.upper() for s in symbol or []), dry_run=dry_run))

    execute(use_case, json=json)


@app.command("verify")
def verify(json: Json = False) -> None:
    """Read every part of the store back and compare it with the manifest; leaves with 8 when one is damaged.

    Example: kobe data verify
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import run_verify

        return run_verify(ctx)

    execute(use_case, json=json)


@app.command("repair")
def repair(dry_run: DryRun = False, json: Json = False) -> None:
    """Bring a damaged store back to what can be trusted; damaged files are kept aside, lost years are named.

    Example: kobe data repair --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import run_repair

        return run_repair(ctx, dry_run=dry_run)

    execute(use_case, json=json)


@actions_app.command("list")
def actions_list(
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    kind: Annotated[str | None, typer.Option(help="split, dividend, rename, delisting or relisted.")] = None,
    first: Annotated[date | None, typer.Option("--from", parser=parse_day, metavar="DATE")] = None,
    last: Annotated[date | None, typer.Option("--to", parser=parse_day, metavar="DATE")] = None,
    json: Json = False,
) -> None:
    """Show the corporate actions on record.

    Example: kobe data actions list --symbol AAPL --kind split
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.corporate_actions import ActionsRequest, run_actions_list

        request = ActionsRequest(symbol=symbol.upper() if symbol else None, kind=kind, first=first, last=last)
        return run_actions_list(ctx, request)

    execute(use_case, json=json)


@actions_app.command("import")
def actions_import(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: symbol, date, kind, value[, detail].")],
    source: Annotated[str | None, typer.Option(help="Name of the source; default: the file's name.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring corporate actions in; raw prices are adjusted by them from now on, and the holds are looked at anew.

    Example: kobe data actions import splits.csv
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.corporate_actions import run_actions_import

        return run_actions_import(ctx, file, source or file.stem, dry_run=dry_run)

    execute(use_case, json=json)


@quarantine_app.command("list")
def quarantine_list(
    everything: Annotated[bool, typer.Option("--all", help="Also holds that ended or were released.")] = False,
    json: Json = False,
) -> None:
    """Show which symbols cannot be traded, and why.

    Example: kobe data quarantine list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import run_quarantine_list

        return run_quarantine_list(ctx, everything=everything)

    execute(use_case, json=json)


@quarantine_app.command("release")
def quarantine_release(
    symbol: Symbol,
    reason: Reason,
    rule: Annotated[str | None, typer.Option(help="Only holds of this rule.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Lift the holds of a symbol, because its bars were found to be right.

    Example: kobe data quarantine release FANG --reason "oil crash of 2020-03-09, seen on two feeds"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import run_release

        return run_release(ctx, symbol.upper(), rule, reason, dry_run=dry_run)

    execute(use_case, json=json)


@quarantine_app.command("add")
def quarantine_add(
    symbol: Symbol,
    reason: Reason,
    since: Annotated[date | None, typer.Option(parser=parse_day, metavar="DATE", help="Default: newest bar.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put a symbol on hold by hand, until it is released.

    Example: kobe data quarantine add XYZ --reason "ticker reused, history unclear"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.data_health import run_hold

        return run_hold(ctx, symbol.upper(), reason, since, dry_run=dry_run)

    execute(use_case, json=json)


@app.command("fetch")
def fetch(
    symbols: Annotated[list[str] | None, typer.Argument(help="Tickers; default: all of the store.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="polygon, yahoo, stooq or alpaca; several, comma-separated, are asked in order.")
    ] = None,
    universe: Annotated[str | None, typer.Option(help="Fetch the members of this universe.")] = None,
    first: Annotated[
        date | None, typer.Option("--from", parser=parse_day, metavar="DATE", help="For symbols new to the store.")
    ] = None,
    last: Annotated[
        date | None,
        typer.Option("--to", parser=parse_day, metavar="DATE", help="Default: the newest complete session."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Ask for the whole history again.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring the store up to date from the providers; a killed fetch goes on where it stopped.

    Example: kobe data fetch SPY AAPL MSFT --provider yahoo --from 2015-01-01
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.fetch_bars import FetchRequest, run_fetch

        names = tuple(p.strip() for p in (provider or "").split(",") if p.strip())
        request = FetchRequest(
            symbols=tuple(symbols or ()), providers=names, last=last, universe=universe, full=full, dry_run=dry_run,
            **({"first": first} if first else {}),
        )  # fmt: skip
        return run_fetch(ctx, request)

    execute(use_case, json=json, progress=True)


@app.command("probe")
def probe(
    provider: Annotated[str, typer.Argument(help="polygon, yahoo, stooq or alpaca.")],
    symbol: Annotated[str, typer.Argument(help="Ticker to ask for.")] = "SPY",
    json: Json = False,
) -> None:
    """Ask one provider for a few days of one symbol: does it answer, with what, how fast?

    Example: kobe data probe yahoo
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.fetch_bars import run_probe

        return run_probe(ctx, provider, symbol)

    execute(use_case, json=json)


Interval = Annotated[str, typer.Option(help="15m, 1h, 4h or 1d.")]


@intraday_app.command("import")
def intraday_import(
    file: Annotated[Path, typer.Argument(help="Parquet: ts (UTC bar open), symbol, open, high, low, close, volume.")],
    interval: Interval = "1h",
    market: Annotated[str, typer.Option(help="us: New York sessions; always: around the clock, in UTC.")] = "us",
    grid: Annotated[str, typer.Option(help="open: counted from the opening; clock: full hours.")] = "open",
    source: Annotated[str | None, typer.Option(help="Name of the source; default: the file's name.")] = None,
    feed: Annotated[str, typer.Option(help="Which tape the volume counts.")] = "consolidated",
    json: Json = False,
) -> None:
    """Bring intraday bars into their own store and list what is missing.

    Example: kobe data intraday import crypto.parquet --interval 1h --market always --grid clock
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.intraday import IntradayImport, run_intraday_import

        request = IntradayImport(
            file=file, interval=interval, market=market, grid=grid, source=source or file.stem, feed=feed
        )
        return run_intraday_import(ctx, request)

    execute(use_case, json=json)


@intraday_app.command("gaps")
def intraday_gaps(interval: Interval = "1h", json: Json = False) -> None:
    """List the expected bars that are missing between each symbol's first and last.

    Example: kobe data intraday gaps --interval 15m
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.intraday import run_intraday_gaps

        return run_intraday_gaps(ctx, interval)

    execute(use_case, json=json)


@intraday_app.command("resample")
def intraday_resample(
    symbol: Symbol,
    to: Annotated[str, typer.Option(help="1h, 4h or 1d.")] = "1d",
    interval: Interval = "1h",
    json: Json = False,
) -> None:
    """Add one symbol's bars up to longer ones; each shows when it is known and how much of it was there.

    Example: kobe data intraday resample BTCUSDT --interval 1h --to 4h --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.intraday import run_intraday_resample

        return run_intraday_resample(ctx, interval, to, symbol.upper())

    execute(use_case, json=json)
