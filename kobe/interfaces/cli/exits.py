"""Getting out: exits by rule, everything closed by hand, the switch that stops every order, and its drill."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.core.errors import UsageError
from kobe.interfaces.cli import shell
from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Live, execute, show

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

drill_app = typer.Typer(no_args_is_help=True, help="Trying out what must work when nothing else does.",
                        rich_markup_mode=None)  # fmt: skip


def manage_exits(live: Live = False, dry_run: DryRun = False, as_of: AsOf = None, json: Json = False) -> None:
    """Close what is due (signal at the open, time five minutes before the close) and see to the protection of the rest.

    Example: kobe manage-exits --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.manage_exits import run_manage_exits

        return run_manage_exits(wiring.arm(ctx, live=live), dry_run=dry_run)

    execute(use_case, json=json, as_of=as_of)


def flatten(
    symbol: Annotated[str | None, typer.Option(help="Only this one; else everything.")] = None,
    override_kill: Annotated[
        bool, typer.Option("--override-kill", help="Let closing orders through the kill switch; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; goes on record before anything is done.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody could answer.")] = False,
    live: Live = False,
    dry_run: DryRun = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Cancel our open orders and close every position, or one symbol's, by the exit ladder; openings stay off after it.

    Example: kobe flatten --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import wiring
        from kobe.app.flatten import FlattenRequest, run_flatten

        only = None if symbol is None else symbol.strip().upper()
        if only == "":
            raise UsageError("--symbol names nothing", expected="a symbol, or no --symbol for everything")
        if not yes and not dry_run:
            _confirm(f"Close {only or 'everything'} in {ctx.settings.run.mode} now?")
        request = FlattenRequest(symbol=only, override_kill=override_kill, reason=reason, dry_run=dry_run)
        return run_flatten(wiring.arm(ctx, live=live), request)

    execute(use_case, json=json, as_of=as_of)


def _confirm(question: str) -> None:
    """Ask whoever sits at the terminal; without one, only --yes will do."""
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", seen="no terminal", expected="--yes")
    if not typer.confirm(question, err=True):
        raise UsageError("nothing was done", seen="no", expected="yes")


def kill(
    reason: Annotated[str, typer.Argument(help="Why; shown wherever an order is refused.")] = "operator",
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel our open opening orders at the broker too.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --cancel: protective orders as well. Positions stay unguarded.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Stop every order from now on; cancelling stays possible.

    Example: kobe kill "broker behaves oddly" --cancel
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.kill import KillRequest, run_kill

        if everything and not cancel:
            raise UsageError("--all says what --cancel takes", seen="--all alone", expected="--cancel --all")
        return run_kill(ctx, KillRequest(reason=reason, cancel=cancel, everything=everything, dry_run=dry_run))

    execute(use_case, json=json)


def resume(dry_run: DryRun = False, json: Json = False) -> None:
    """Take the kill switch off; what it stopped is not sent again by itself.

    Example: kobe resume
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.kill import run_resume

        return run_resume(ctx, dry_run=dry_run)

    execute(use_case, json=json)


@drill_app.command("kill")
def drill_kill(
    into: Annotated[
        Path | None, typer.Option(help="Folder for the throw-away homes; else the system's temporary one.")
    ] = None,
    json: Json = False,
) -> None:
    """Trip the kill switch of throw-away homes with each dependency broken in turn, and measure the silence.

    This home, its records and its broker are not touched.

    Example: kobe drill kill
    """

    def run() -> "Document":
        from kobe.app.drill import run_drill_kill

        return run_drill_kill(into, None if json else shell.progress_bar())

    show(run, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("manage-exits")(manage_exits)
    app.command()(flatten)
    app.command()(kill)
    app.command()(resume)
    app.add_typer(drill_app, name="drill")
