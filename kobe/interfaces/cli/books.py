"""What the books say: against the broker, against the backtest, and by tag."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.core.errors import UsageError
from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Session, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

slippage_app = typer.Typer(no_args_is_help=True, help="What fills cost, and what the cost model makes of it.")
journal_app = typer.Typer(no_args_is_help=True, help="Finished trades with tags, and notes by hand.")

Since = Annotated[date | None, typer.Option(parser=parse_day, metavar="DATE", help="From this session on.")]
Until = Annotated[date | None, typer.Option(parser=parse_day, metavar="DATE", help="Up to this session.")]


def reconcile(
    adopt_cash: Annotated[
        str | None, typer.Option("--adopt-cash", metavar="REASON", help="Believe the broker's cash against our book.")
    ] = None,
    void_split: Annotated[
        str,
        typer.Option("--void-split", metavar="SYMBOL:DATE", help="Take a wrong split out; needs --reason."),
    ] = "",
    reason: Annotated[str, typer.Option(help="Why the split is void.")] = "",
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Compare orders, fills, shares and cash with the broker; repair by rule, else halt openings.

    Example: kobe reconcile --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.holdings import void_split as run_void_split
        from kobe.app.reconcile import ReconcileRequest, run_reconcile

        if void_split:
            symbol, _, day = void_split.partition(":")
            if dry_run:
                raise UsageError("--void-split has no dry run", seen="--dry-run", expected="kobe reconcile --dry-run")
            return run_void_split(ctx, symbol.strip().upper(), parse_day(day), reason)
        if adopt_cash is not None and not adopt_cash.strip():
            raise UsageError("cash is not adopted without a reason", seen='""', expected="--adopt-cash REASON")
        return run_reconcile(ctx, ReconcileRequest(dry_run=dry_run, adopt_cash=adopt_cash or ""))

    execute(use_case, json=json, as_of=as_of)


def gap(since: Since = None, until: Until = None, as_of: AsOf = None, json: Json = False) -> None:
    """Show where the money between the backtest and the account went, signal by signal, to the cent.

    Example: kobe gap --since 2020-03-02
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.gap import run_gap

        return run_gap(ctx, since, until)

    execute(use_case, json=json, as_of=as_of, progress=True)


@slippage_app.command("show")
def slippage_show(as_of: AsOf = None, json: Json = False) -> None:
    """Show what fills cost against their quotes and against the backtest's prices, with intervals.

    Example: kobe slippage show
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.slippage import run_show

        return run_show(ctx)

    execute(use_case, json=json, as_of=as_of)


@slippage_app.command("apply")
def slippage_apply(dry_run: DryRun = False, as_of: AsOf = None, json: Json = False) -> None:
    """Write the measured rate for the cost model, from the next session on; it only ever raises.

    Example: kobe slippage apply --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.slippage import run_apply

        return run_apply(ctx, dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


@journal_app.command("list")
def journal_list(
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Only with this tag.")] = None,
    since: Since = None,
    json: Json = False,
) -> None:
    """List finished trades with their tags, and notes.

    Example: kobe journal list --tag weekday=monday
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.journal import parse_tags, run_list

        return run_list(ctx, parse_tags(tag or []), since)

    execute(use_case, json=json)


@journal_app.command("show")
def journal_show(session: Session = None, json: Json = False) -> None:
    """Show one session: what its evening wrote, its trades and its notes.

    Example: kobe journal show --session 2020-03-06
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.journal import run_show

        return run_show(ctx, session)

    execute(use_case, json=json)


@journal_app.command("stats")
def journal_stats(
    by: Annotated[str | None, typer.Option("--by", metavar="TAG", help="One tag; else those with few values.")] = None,
    since: Since = None,
    json: Json = False,
) -> None:
    """Show what each value of a tag was worth: win rate with its interval, net, mean R.

    Example: kobe journal stats --by weekday
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.journal import run_stats

        return run_stats(ctx, by, since)

    execute(use_case, json=json)


@journal_app.command("add")
def journal_add(
    text: Annotated[str, typer.Argument(help="What is to be remembered.")],
    symbol: Annotated[str, typer.Option("--symbol", help="The symbol it is about.")] = "",
    session: Session = None,
    json: Json = False,
) -> None:
    """Write a note; what is written stays.

    Example: kobe journal add "spread was wide" --symbol SPY
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.journal import run_add

        return run_add(ctx, text, symbol=symbol, session=session)

    execute(use_case, json=json)


@journal_app.command("export")
def journal_export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .csv file.")], json: Json = False
) -> None:
    """Write trades and notes as CSV.

    Example: kobe journal export --out journal.csv
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.journal import run_export

        return run_export(ctx, out)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(reconcile)
    app.command()(gap)
    app.add_typer(slippage_app, name="slippage")
    app.add_typer(journal_app, name="journal")
