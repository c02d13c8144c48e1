"""Backups of a state folder: made whole or not at all, proved by their own manifest, thinned out by age.

    20260102T143000Z/
      MANIFEST.json     every file with size and SHA-256, the events of each ledger, the head of each audit chain
      state/...         the folder as it was at one instant (backup_copy)
      ledger.jsonl      the events of a ledger that a server keeps, one in a line
      config/...        files from elsewhere

A backup appears by rename after it was verified, so that a killed one is never taken for a whole one.
"""

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from kobe.core.clock import as_utc
from kobe.core.errors import ConfigError, IntegrityError
from kobe.core.ids import digest
from kobe.infra import durable
from kobe.infra.records import artifacts
from kobe.infra.records import backup_copy as copying
from kobe.infra.records.audit_verify import verify as verify_chain
from kobe.infra.records.backup_copy import Copied, Events
from kobe.infra.records.ledger import SqlLedger

MANIFEST = "MANIFEST.json"
SCHEMA = "kobe.backup/1"
STATE = "state"
EXPORTED = "ledger.jsonl"
MONTHS = 12
_NAME = re.compile(r"\d{8}T\d{6}Z")
_ANOTHER = "kobe backup list"
Place = Callable[[str], Path]
"""Where a file of a manifest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a backup is made of.

    Attributes:
        state: the state folder.
        chains: audit chains in it, by the names of their folders.
        extras: files from elsewhere, by the names they get.
        ledger: a ledger that a server keeps; None where all of them are files of the state.
    """

    state: Path
    chains: tuple[str, ...] = ("audit",)
    extras: Mapping[str, Path] = field(default_factory=dict)
    ledger: SqlLedger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds.

    Attributes:
        made: when, UTC, ISO.
        files: size and digest by name.
        events: number and digest of the events by file; `ledger.jsonl` holds those of a server.
        chains: number and hash of the last audit record by folder.
    """

    made: str
    files: dict[str, Copied]
    events: dict[str, Events]
    chains: dict[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files.values())

    def told(self) -> dict[str, Any]:
        """Return it as it is written; `digest` is over everything else."""
        files = {name: {"bytes": file.bytes, "sha256": file.sha256} for name, file in self.files.items()}
        events = {name: {"number": one.number, "sha256": one.sha256} for name, one in self.events.items()}
        chains = {name: {"records": records, "head": head} for name, (records, head) in self.chains.items()}
        facts = {"schema": SCHEMA, "made": self.made, "files": files, "events": events, "chains": chains}
        return {**facts, "digest": digest(facts)}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a backup.

        Raises:
            ConfigError: the folder holds none, or one of a newer kobe.
            IntegrityError: it is damaged.
        """
        path = folder / MANIFEST
        try:
            told = json.loads(path.read_bytes())
            if told["schema"] != SCHEMA:
                raise ConfigError("the backup was made by a newer kobe", seen=told["schema"], expected=SCHEMA)
            made = cls(
                made=str(told["made"]),
                files={name: Copied(**file) for name, file in told["files"].items()},
                events={name: Events(**one) for name, one in told["events"].items()},
                chains={name: (int(one["records"]), str(one["head"])) for name, one in told["chains"].items()},
            )
            if made.told() == told:
                return made
        except OSError as error:
            raise ConfigError("this is no backup", seen=f"{path}: {error.strerror}", next_command=_ANOTHER) from error
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise damaged(path, "it is not what was written")


def create(source: Source, root: Path, now: datetime) -> Path:
    """Make a backup and verify it.

    Args:
        source: what to copy; its owners may go on writing.
        root: where backups are kept, one folder each.
        now: names it.

    Returns:
        Its folder.

    Raises:
        ConfigError: there is no state, or the root cannot be written.
        IntegrityError: the state itself is damaged; no backup was made.
        ExternalError: the disk is full, or a writer does not let go.
    """
    if not source.state.is_dir():
        raise ConfigError("there is nothing to back up", seen=f"{source.state} is not there")
    try:
        durable.make_folder(root)
        root.chmod(0o700)  # it holds the keys
        for left in root.glob(f"{durable.TEMPORARY_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        made = root / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        made.mkdir(mode=0o700)
        try:
            _fill(made, source, now)
            verify(made)
            copying.sync_tree(made)
            target = _free(root, now)
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        durable.sync_folder(root)
    except OSError as error:
        raise durable.fault(error, root) from error
    return target


def verify(folder: Path) -> Manifest:
    """Read every byte of a backup: digests, the ledgers' own structure, every hash of the audit chains.

    Returns:
        What it holds.

    Raises:
        ConfigError: it is no backup.
        IntegrityError: it is damaged; the message names the file.
    """
    manifest = Manifest.read(folder)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(there ^ set(manifest.files)):
        raise damaged(folder / name, "it is missing" if name in manifest.files else "it does not belong there")
    verify_files(manifest, manifest.files, folder.joinpath)
    return manifest


def verify_files(manifest: Manifest, names: Iterable[str], place: Place) -> None:
    """Compare files, the events in them and the audit chains with a manifest.

    Args:
        manifest: what they must be.
        names: which files of the manifest.
        place: where each of them is.

    Raises:
        IntegrityError: one differs; the message names it.
    """
    wanted = set(names)
    for name in sorted(wanted):
        expected, path = manifest.files[name], place(name)
        size = path.stat().st_size if path.is_file() else -1
        if size != expected.bytes:
            raise damaged(path, f"{size} bytes instead of {expected.bytes}")
        if artifacts.sha256_file(path) != expected.sha256:
            raise damaged(path, "another SHA-256")
    for name in wanted & set(manifest.events):
        if _events_in(place(name)) != manifest.events[name]:
            raise damaged(place(name), "other events")
    for name, expected_head in manifest.chains.items():
        if any(file.startswith(f"{name}/") for file in wanted) and _head_of(place(name)) != expected_head:
            raise damaged(place(name), "the audit chain ends elsewhere")


def found(root: Path) -> list[Path]:
    """Return the backups in a folder, newest first."""
    return sorted((path for path in root.glob("*Z") if _NAME.fullmatch(path.name) and path.is_dir()), reverse=True)


def too_old(backups: Iterable[Path], keep: int) -> list[Path]:
    """Say which backups can go: not the newest of each of the newest `keep` days, nor of each of twelve months."""
    days: dict[str, Path] = {}
    months: dict[str, Path] = {}
    newest_first = sorted(backups, reverse=True)
    for path in newest_first:
        if len(days) < keep or path.name[:8] in days:
            days.setdefault(path.name[:8], path)
        if len(months) < MONTHS or path.name[:6] in months:
            months.setdefault(path.name[:6], path)
    kept = {*days.values(), *months.values()}
    return [path for path in newest_first if path not in kept]


def remove(backup: Path) -> None:
    """Remove a backup; one that is killed here is no backup any more.

    Raises:
        ConfigError, ExternalError: the disk refuses.
    """
    try:
        going = backup.with_name(f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}")
        backup.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise durable.fault(error, backup) from error


def _fill(made: Path, source: Source, now: datetime) -> None:
    chains = [name for name in source.chains if (source.state / name).is_dir()]
    copied = copying.copy_state(source.state, made / STATE, chains)
    files = {f"{STATE}/{name}": file for name, file in copied.items()}
    for name, path in source.extras.items():
        files[name] = copying.copy_file(path, made / name)
    events = {name: told for name in files if (told := _events_of(made / name)) is not None}
    if source.ledger is not None:
        events[EXPORTED] = copying.write_lines(source.ledger.copy_out(), made / EXPORTED)
        files[EXPORTED] = Copied((made / EXPORTED).stat().st_size, events[EXPORTED].sha256)
    heads = {f"{STATE}/{name}": _head_of(made / STATE / name) for name in chains}
    manifest = Manifest(made=as_utc(now).isoformat(timespec="seconds"), files=files, events=events, chains=heads)
    artifacts.write_json(made / MANIFEST, manifest.told())


def _events_of(path: Path) -> Events | None:
    return copying.events_in_file(path) if copying.is_database(path) else None


def _events_in(path: Path) -> Events | None:
    if path.name != EXPORTED:
        return copying.events_in_file(path)
    with path.open("rb") as file:
        return copying.digest_of(json.loads(line) for line in file)


def _head_of(chain: Path) -> tuple[int, str]:
    report = verify_chain(chain)
    if report.problem not in {"ok", "clock_back"}:  # a chain that tells of a wrong clock is whole
        raise damaged(chain, f"{report.problem} at record {report.first_bad_seq}: {report.detail}")
    return report.records, report.head_hash


def _free(root: Path, now: datetime) -> Path:
    """Return a name nobody has: that of this second, or of the next one that is free."""
    second = as_utc(now)
    while (path := root / f"{second:%Y%m%dT%H%M%SZ}").exists():
        second += timedelta(seconds=1)
    return path


def damaged(path: Path, found: str) -> IntegrityError:
    """Say which file of a backup is not what its manifest says."""
    return IntegrityError("the backup is damaged", seen=f"{path}: {found}", next_command=_ANOTHER)
