"""`kobe gates`, `kobe limits`, `kobe prohibit` and `kobe mode`: what may be sent, and why something was not."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

gates_app = typer.Typer(no_args_is_help=True, help="What every order must pass: list, explain, last.")
limits_app = typer.Typer(no_args_is_help=True, help="Bounds and circuit breakers: show, breakers, reset.")
prohibit_app = typer.Typer(no_args_is_help=True, help="Symbols nobody may open: add, list, remove.")
mode_app = typer.Typer(no_args_is_help=True, help="What the system may do: show, set.")

Reason = Annotated[str, typer.Option("--reason", help="Why; goes on record.")]
Symbol = Annotated[str, typer.Argument(help="Ticker.")]


@gates_app.command("list")
def gates_list(json: Json = False) -> None:
    """List every gate in the order they are asked, with its settings.

    Example: kobe gates list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.gates import run_gates_list

        return run_gates_list(ctx)

    execute(use_case, json=json)


@gates_app.command("explain")
def gates_explain(
    name: Annotated[str, typer.Argument(help="A gate, or the code of a refusal.")], json: Json = False
) -> None:
    """Explain a gate: what it does, its bounds, its refusals and what to do about each.

    Example: kobe gates explain spread_too_wide
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.gates import run_gates_explain

        return run_gates_explain(ctx, name)

    execute(use_case, json=json)


@gates_app.command("last")
def gates_last(
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None, json: Json = False
) -> None:
    """Show what every gate said of the last order that was decided on.

    Example: kobe gates last --symbol AAPL
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.gates import run_gates_last

        return run_gates_last(ctx, symbol.upper() if symbol else None)

    execute(use_case, json=json)


@limits_app.command("show")
def limits_show(as_of: AsOf = None, json: Json = False) -> None:
    """Show every bound with its setting, its value, what is used of it and which gate asks.

    Example: kobe limits show
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.limits import run_limits_show

        return run_limits_show(ctx)

    execute(use_case, json=json, as_of=as_of)


@limits_app.command("breakers")
def limits_breakers(json: Json = False) -> None:
    """Show every circuit breaker: closed, half open or open, since when and why.

    Example: kobe limits breakers
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.breakers import run_breakers_show

        return run_breakers_show(ctx)

    execute(use_case, json=json)


@limits_app.command("reset")
def limits_reset(
    name: Annotated[str, typer.Argument(help="A breaker of kobe limits breakers, drawdown_day or drawdown_month.")],
    reason: Reason,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Let the probe of an open breaker through, or lift SAFE_MODE to half size.

    Example: kobe limits reset losing_streak --reason "looked at all four"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.limits import run_limits_reset

        return run_limits_reset(ctx, name, reason, dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


@prohibit_app.command("add")
def prohibit_add(
    symbol: Symbol,
    reason: Reason,
    kind: Annotated[str, typer.Option(help="earnings, news, volatility or manual.")] = "manual",
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day (or instant, New York) it holds no more.")
    ] = None,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Forbid openings in a symbol from now on.

    Example: kobe prohibit add AAPL --kind news --reason "trial opens" --until 2026-12-01
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.prohibit import run_prohibit_add

        return run_prohibit_add(ctx, symbol, kind, reason, until, dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


@prohibit_app.command("list")
def prohibit_list(
    all_entries: Annotated[bool, typer.Option("--all", help="Ended and removed entries as well.")] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show which symbols nobody may open, why, until when and who said so.

    Example: kobe prohibit list --all
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.prohibit import run_prohibit_list

        return run_prohibit_list(ctx, all_entries=all_entries)

    execute(use_case, json=json, as_of=as_of)


@prohibit_app.command("remove")
def prohibit_remove(
    symbol: Symbol, reason: Reason, dry_run: DryRun = False, as_of: AsOf = None, json: Json = False
) -> None:
    """Take a symbol off the list with all its entries.

    Example: kobe prohibit remove AAPL --reason "trial is over"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.prohibit import run_prohibit_remove

        return run_prohibit_remove(ctx, symbol, reason, dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


@mode_app.command("show")
def mode_show(json: Json = False) -> None:
    """Show the mode in force, every source that holds something back, and what lifts each.

    Example: kobe mode show
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.mode import run_mode_show

        return run_mode_show(ctx)

    execute(use_case, json=json)


@mode_app.command("set")
def mode_set(
    wanted: Annotated[str, typer.Argument(help="NORMAL, REDUCED, REDUCE_ONLY, CLOSE_ONLY or HALT.")],
    reason: Reason,
    factor: Annotated[str | None, typer.Option(help="Share of a normal size, with REDUCED; default 0.5.")] = None,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Say the operator's word; what another source holds back stays held back, and is named.

    Example: kobe mode set REDUCED --factor 0.5 --reason "new model's first week"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.mode import parse_factor, run_mode_set

        return run_mode_set(ctx, wanted, reason, parse_factor(factor), dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


def register(app: typer.Typer) -> None:
    """Put the groups of this file on the root."""
    app.add_typer(gates_app, name="gates")
    app.add_typer(limits_app, name="limits")
    app.add_typer(prohibit_app, name="prohibit")
    app.add_typer(mode_app, name="mode")
