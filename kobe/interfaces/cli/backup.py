"""Copies of a home's records, and the way back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

backup_app = typer.Typer(no_args_is_help=True, help="Copies of the records, proved whole.", rich_markup_mode=None)


@backup_app.command("create")
def create(
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep it here instead of in state/backups.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Then drop old ones: all but a day's newest for N days, a month's for 12.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Copy ledger, audit chain, models, keys and settings as they are now, and verify the copy. Jobs may go on.

    N days is backups_kept under [records]. A copy holds the home's private keys; keys of brokers are never in it.

    Example: kobe backup create --prune
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.backup import run_backup

        return run_backup(ctx, into=into, prune=prune, dry_run=dry_run)

    execute(use_case, json=json)


@backup_app.command("list")
def list_(json: Json = False) -> None:
    """Show the backups in state/backups, newest first.

    Example: kobe backup list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.backup import run_backup_list

        return run_backup_list(ctx)

    execute(use_case, json=json)


@backup_app.command("verify")
def verify(
    path: Annotated[Path | None, typer.Argument(help="A backup's folder or name; default: the newest.")] = None,
    json: Json = False,
) -> None:
    """Read every byte of a backup: digests, events, every hash of the audit chain.

    Example: kobe backup verify 20260102T213000Z
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.backup import run_backup_verify

        return run_backup_verify(ctx, path)

    execute(use_case, json=json)


def restore(
    path: Annotated[Path, typer.Argument(help="A backup's folder, or its name in state/backups.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move a present state aside; it is never deleted.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put a backup in the place of this home's records, and compare every file, event and record once it is there.

    A kill switch that is on stays on. If it is cut short, the old or the new records are in place: run it again.

    Example: kobe restore 20260102T213000Z --replace
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.backup import run_restore

        return run_restore(ctx, path, replace=replace, dry_run=dry_run)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.add_typer(backup_app, name="backup")
    app.command()(restore)
