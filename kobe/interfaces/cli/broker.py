"""The broker as it stands: reachable, the right one, and what it holds."""

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, Json, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

broker_app = typer.Typer(no_args_is_help=True, help="The broker: reach it, and see its books beside ours.")


@broker_app.command("probe")
def broker_probe(as_of: AsOf = None, json: Json = False) -> None:
    """Reach the broker: keys, clock, account, quotes, calendar; 5 out of reach, 7 when something differs.

    Example: kobe broker probe
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.broker import run_broker_probe

        return run_broker_probe(ctx)

    execute(use_case, json=json, as_of=as_of)


@broker_app.command("account")
def broker_account(as_of: AsOf = None, json: Json = False) -> None:
    """Show cash, equity and standing of the account, and whether it is the one this home trades.

    Example: kobe broker account --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.broker import run_broker_account

        return run_broker_account(ctx)

    execute(use_case, json=json, as_of=as_of)


@broker_app.command("orders")
def broker_orders(
    since: Annotated[
        date | None,
        typer.Option(parser=parse_day, metavar="DATE", help="Placed from this New York date on, and those still open."),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show the broker's orders beside what the ledger knows of each.

    Example: kobe broker orders --since 2026-11-20
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.broker import run_broker_orders

        return run_broker_orders(ctx, since)

    execute(use_case, json=json, as_of=as_of)


@broker_app.command("positions")
def broker_positions(as_of: AsOf = None, json: Json = False) -> None:
    """Show the shares of each symbol, the ledger's beside the broker's.

    Example: kobe broker positions
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.broker import run_broker_positions

        return run_broker_positions(ctx)

    execute(use_case, json=json, as_of=as_of)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.add_typer(broker_app, name="broker")
