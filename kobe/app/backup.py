"""`kobe backup` and `kobe restore`: copies of everything a home knows of itself, and the way back."""

from pathlib import Path
from typing import Any

from kobe.app.context import Context
from kobe.core.errors import ConfigError, ExitCode, IntegrityError
from kobe.core.ids import digest
from kobe.infra.locks import Lease
from kobe.infra.records import artifacts, backup, restore
from kobe.infra.records import backup_copy as copying
from kobe.infra.records.backup import Manifest, Source
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.restore import Restored, Target
from kobe.reports.document import Document, Section, Table

CONFIG = "config/kobe.toml"
WAIT_S = 60.0


def run_backup(ctx: Context, *, into: Path | None = None, prune: bool = False, dry_run: bool = False) -> Document:
    """Copy the state and the settings as they are now, verify the copy, and drop backups that are too old.

    Args:
        ctx: the home; its jobs may go on meanwhile.
        into: the folder that gets the backup, instead of `state/backups`.
        prune: afterwards remove what is neither the newest of a day worth keeping nor the newest of a month.
        dry_run: only say what would be made and removed.
    """
    root = (into or _root(ctx)).resolve()
    if dry_run:
        going = backup.too_old(backup.found(root), ctx.settings.records.backups_kept) if prune else []
        return _made(None, None, going, root)
    with _alone(ctx):
        restore.settle(_state(ctx))
        made = backup.create(_source(ctx), root, ctx.clock.now())
        manifest = Manifest.read(made)
        going = backup.too_old(backup.found(root), ctx.settings.records.backups_kept) if prune else []
        for path in going:
            backup.remove(path)
    return _made(made, manifest, going, root)


def run_backup_list(ctx: Context) -> Document:
    """Show the backups of the home, newest first; nothing is verified."""
    rows: list[tuple[str, int, float, int, str]] = []
    for path in backup.found(_root(ctx)):
        try:
            told = Manifest.read(path)
            events = sum(one.number for one in told.events.values())
            rows.append((path.name, len(told.files), told.bytes / 2**20, events, ""))
        except (ConfigError, IntegrityError) as error:
            rows.append((path.name, 0, 0.0, 0, error.what))
    columns = ("backup", "files", "mib", "events", "problem")
    notes = ("A restore was cut short; the next kobe backup or kobe restore finishes it.",)
    return Document(
        schema="kobe.backup_list/1",
        title=f"Backups in {_root(ctx)}",
        summary=(f"{len(rows)} backups", *(notes if restore.unfinished(_state(ctx)) else ())),
        data={"backups": [dict(zip(columns, row, strict=True)) for row in rows]},
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(rows))),) if rows else (),
    )


def run_backup_verify(ctx: Context, source: Path | None) -> Document:
    """Read every byte of a backup, by default of the newest one, and compare it with its manifest.

    Raises:
        ConfigError: there is no such backup.
        IntegrityError: it is damaged; the message names the file.
    """
    path = _named(ctx, source)
    manifest = backup.verify(path)
    return Document(
        schema="kobe.backup_verify/1",
        title=f"Backup {path}",
        summary=("Whole: every file, event and audit record is what was written.",),
        data={"path": str(path), **_facts(manifest)},
        sections=(_compared(manifest),),
    )


def run_restore(ctx: Context, source: Path, *, replace: bool = False, dry_run: bool = False) -> Document:
    """Put a backup in the place of this home's state, and prove that it is there.

    Args:
        ctx: the home.
        source: a backup's folder, or the name of one in `state/backups`.
        replace: move a present state aside; without it a present state refuses.
        dry_run: verify the backup and say what would happen.

    Raises:
        RefusedError: there is a state already.
        ConfigError: there is no such backup, or the server's ledger holds other events.
        IntegrityError: the backup is damaged.
        ExternalError: another kobe process is at work here.
    """
    path = _named(ctx, source)
    target = Target(state=_state(ctx), ledger=_on_server(ctx))
    if dry_run:
        manifest = backup.verify(path)
        restore.check_target(path, target, replace=replace)
        moved = " The present state would be moved aside." if restore.has_state(target.state) else ""
        return Document(
            schema="kobe.restore/1", title=f"Restore of {path}",
            summary=(f"The backup of {manifest.made} is whole and could be restored.{moved} Nothing was changed.",),
            data={"path": str(path), "restored": False, **_facts(manifest)}, sections=(_compared(manifest),),
        )  # fmt: skip
    with _alone(ctx):
        _close(ctx)
        done = restore.restore(path, target, ctx.clock, replace=replace)
    return _restored(path, done, (*_settings_note(ctx, path), *_record(ctx, path, done)))


def _restored(path: Path, done: Restored, notes: tuple[str, ...]) -> Document:
    told = done.manifest
    lines = [f"Restored the state of {told.made}; {len(done.compared)} files compared in their place, all equal."]
    if done.aside is not None:
        lines.append(f"The state that was there is now {done.aside}.")
    if done.stayed:
        lines.append("The kill switch stays on, as it was before the restore.")
    lines += [*notes, "Orders sent since then are not in these records: run kobe reconcile before anything else."]
    return Document(
        schema="kobe.restore/1",
        title=f"Restore of {path}",
        summary=tuple(lines),
        data={
            "path": str(path), "restored": True, "aside": str(done.aside) if done.aside else None,
            "compared": list(done.compared), "kill_switch_stayed": done.stayed, **_facts(told),
        },
        sections=(_compared(told),),
    )  # fmt: skip


def _settings_note(ctx: Context, source: Path) -> tuple[str, ...]:
    """Restore the settings where there are none; present ones stay as they are."""
    kept, present = source / CONFIG, ctx.paths.home / CONFIG
    if not kept.is_file():
        return ()
    if not present.exists():
        copying.copy_file(kept, present)
        return (f"The settings of the backup are now {present}.",)
    if artifacts.sha256_file(kept) == artifacts.sha256_file(present):
        return ()
    return (f"The settings in use differ from those of the backup, {kept}; they were left as they are.",)


def _record(ctx: Context, source: Path, done: Restored) -> tuple[str, ...]:
    """Put the restore on record in the chain that was restored."""
    aside = done.aside.name if done.aside else None
    try:
        ctx.audit.append("restore", {"backup": source.name, "manifest": digest(done.manifest.told()), "aside": aside})
    except IntegrityError as error:
        return (f"NOT ON RECORD: {error.message}; after a restore: kobe audit checkpoint --renew REASON",)
    return ()


def _made(made: Path | None, manifest: Manifest | None, going: list[Path], root: Path) -> Document:
    if made is None or manifest is None:
        lines = [f"A backup would be made in {root}; nothing was changed."]
    else:
        events = sum(one.number for one in manifest.events.values())
        lines = [
            f"{len(manifest.files)} files, {manifest.bytes / 2**20:.1f} MiB, {events:,} events; verified.",
            f"To go back: kobe restore {made} --replace",
        ]
    if going:
        word = "would be removed" if made is None else "removed"
        lines.append(f"{len(going)} old backups {word}: {', '.join(path.name for path in going)}")
    return Document(
        schema="kobe.backup/1",
        title=f"Backup {made}" if made else "Backup (dry run)",
        summary=tuple(lines),
        data={
            "path": str(made) if made else None, "removed": [path.name for path in going],
            **(_facts(manifest) if manifest else {}),
        },
        exit_code=ExitCode.OK,
    )  # fmt: skip


def _facts(manifest: Manifest) -> dict[str, Any]:
    events = {name: one._asdict() for name, one in manifest.events.items()}
    chains = {name: {"records": records, "head": head} for name, (records, head) in manifest.chains.items()}
    return {
        "made": manifest.made, "files": len(manifest.files), "bytes": manifest.bytes, "events": events,
        "chains": chains,
    }  # fmt: skip


def _compared(manifest: Manifest) -> Section:
    rows = [("files", len(manifest.files), f"{manifest.bytes:,} bytes, SHA-256 of each")]
    rows += [(f"events of {name}", one.number, f"SHA-256 {one.sha256[:16]}") for name, one in manifest.events.items()]
    rows += [(f"records of {name}", number, f"head {head[:16]}") for name, (number, head) in manifest.chains.items()]
    return Section(title="Compared", table=Table(columns=("what", "number", "by"), rows=tuple(rows)))


def _source(ctx: Context) -> Source:
    config = ctx.paths.home / CONFIG
    return Source(state=_state(ctx), extras={CONFIG: config} if config.is_file() else {}, ledger=_on_server(ctx))


def _on_server(ctx: Context) -> SqlLedger | None:
    """Return the ledger where a server keeps it."""
    return ctx.ledger if isinstance(ctx.ledger, SqlLedger) and ctx.ledger.path is None else None


def _close(ctx: Context) -> None:
    if isinstance(ctx.ledger, SqlLedger):
        ctx.ledger.close()


def _state(ctx: Context) -> Path:
    return ctx.paths.state.resolve()  # it may be a link to another disk


def _root(ctx: Context) -> Path:
    return ctx.paths.state / "backups"


def _named(ctx: Context, source: Path | None) -> Path:
    """Find the backup that is meant."""
    if source is None:
        newest = next(iter(backup.found(_root(ctx))), None)
        if newest is None:
            raise ConfigError("there is no backup", seen=_root(ctx), next_command="kobe backup create")
        return newest.resolve()
    inside = _root(ctx) / source
    return (source if source.is_dir() or not inside.is_dir() else inside).resolve()


def _alone(ctx: Context) -> Lease:
    """Let one backup or restore of a home run at a time; outside the state, which a restore replaces."""
    return Lease(ctx.paths.home / "cache" / "locks", "backup", ctx.clock).acquire(timeout_s=WAIT_S)
