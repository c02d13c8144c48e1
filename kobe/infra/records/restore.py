"""Put a backup in the place of a state folder: the old state or the new one, never a mixture.

    state.restoring-ID   the backup's state while it is copied and verified; it holds a file `.restoring-ID`
    state.before-TIME    the state that was replaced; nothing here ever removes it

Where the system can exchange two folders in one step (Linux), `state` is whole at every instant. Elsewhere it is
renamed twice. What was cut short, `settle` finishes: the mark `.restoring-ID` tells all it needs to know.
"""

import ctypes
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from kobe.core.clock import Clock, as_utc
from kobe.core.errors import ConfigError, RefusedError
from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.locks import Lease
from kobe.infra.records import backup
from kobe.infra.records import backup_copy as copying
from kobe.infra.records.backup import EXPORTED, STATE, Manifest
from kobe.infra.records.ledger import SqlLedger

BACKUPS, LOCKS = "backups", "locks"
_MARK = ".restoring-"
_AT_WORKING_DIRECTORY, _EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a backup is restored into.

    Attributes:
        state: the state folder, there or not; no symbolic link.
        chains: audit chains in it, by the names of their folders.
        ledger_name: the file of the state that holds the main ledger, where no server keeps it.
        ledger: the ledger that a server keeps; None where the file does.
        stays: a file whose presence in the present state is kept, because it forbids something.
    """

    state: Path
    chains: tuple[str, ...] = ("audit",)
    ledger_name: str = "kobe.db"
    ledger: SqlLedger | None = None
    stays: str = "KILL_SWITCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored and compared.

    Attributes:
        manifest: of the backup.
        compared: names of the files that were compared once more in their place.
        aside: where the replaced state is now.
        stayed: the file that forbids something was kept from the present state.
    """

    manifest: Manifest
    compared: tuple[str, ...]
    aside: Path | None
    stayed: bool


class _Mark(NamedTuple):
    """What a copied state says of itself: is it verified, and how is the state called that it replaces?"""

    verified: bool
    aside: str | None


def has_state(state: Path) -> bool:
    """Say whether a state folder holds anything but backups and locks."""
    return state.is_dir() and any(path.name not in copying.LEFT_OUT for path in state.iterdir())


def restore(source: Path, target: Target, clock: Clock, *, replace: bool) -> Restored:
    """Put a backup in the place of a state folder. The caller sees to it that no backup and no other restore runs.

    Args:
        source: the backup's folder.
        target: where to.
        clock: names the state that is moved aside.
        replace: move a present state aside; without it a present state refuses.

    Raises:
        RefusedError: there is a state.
        ConfigError: this is no backup, or the ledger on the server is not empty.
        IntegrityError: the backup is damaged, or what is in place is not what it holds.
        ExternalError: another process is at work, or the disk is full.
    """
    settle(target.state)
    manifest = backup.verify(source)
    check_target(source, target, replace=replace)
    with ExitStack() as held:
        for path in sorted((target.state / LOCKS).glob("*.lock")):
            held.enter_context(Lease(path.parent, path.stem, clock))
        if target.ledger is not None:
            _fill_server(source, manifest, target.ledger, target.ledger_name)
        try:
            return _replace(source, manifest, target, clock.now())
        except OSError as error:
            raise durable.fault(error, target.state) from error


def check_target(source: Path, target: Target, *, replace: bool) -> None:
    """Refuse to write over a state.

    Raises:
        RefusedError: there is one, and it is not to be replaced.
    """
    if has_state(target.state) and not replace:
        raise RefusedError(
            "there is a state already", seen=target.state, expected="none, or --replace, which moves it aside",
            next_command=f"kobe restore {source} --replace",
        )  # fmt: skip


def settle(state: Path) -> Path | None:
    """Finish what a killed restore left; without one, nothing happens.

    Returns:
        Where the replaced state is, if one was replaced just now.
    """
    try:
        for left in sorted(state.parent.glob(f"{state.name}{_MARK}*")):
            mark = _read_mark(left / left.name.removeprefix(state.name))
            if mark is not None and mark.verified and mark.aside and not state.exists():
                left.rename(state)  # cut short between two renames
            elif mark is not None:
                shutil.rmtree(left)
        asides = [_finish(state, path) for path in state.glob(f"{_MARK}*")]
    except OSError as error:
        raise durable.fault(error, state) from error
    return next((aside for aside in asides if aside is not None), None)


def unfinished(state: Path) -> bool:
    """Say whether a restore was cut short; `settle` finishes it."""
    return any(state.parent.glob(f"{state.name}{_MARK}*")) or any(state.glob(f"{_MARK}*"))


def _replace(source: Path, manifest: Manifest, target: Target, now: datetime) -> Restored:
    """Copy the backup's state beside the present one, verify the copy, put it in place, and compare it once more."""
    state = target.state
    mark = f"{_MARK}{secrets.token_hex(4)}"
    staged = state.with_name(f"{state.name}{mark}")
    aside = _free(state, now) if state.exists() else None
    named = aside.name if aside else None
    durable.make_folder(staged)
    durable.write_whole(staged / mark, _told(_Mark(verified=False, aside=named)))
    _stage(source, manifest, target, staged)
    durable.write_whole(staged / mark, _told(_Mark(verified=True, aside=named)))
    files = [name for name in manifest.files if name.startswith(f"{STATE}/")]
    with ExitStack() as held:
        if sys.platform != "win32":  # where a folder with open files cannot be renamed
            chains = [folder for name in target.chains if (folder := state / name).is_dir()]
            held.enter_context(copying.quiet(copying.databases_of(state), chains))
            held.enter_context(copying.quiet(copying.databases_of(staged), []))
        stayed = _keep(state / target.stays, staged / target.stays)
        _swap(staged, state, aside)
        if stayed:
            files = [name for name in files if name != f"{STATE}/{target.stays}"]
        backup.verify_files(manifest, files, _places(state))
    return Restored(manifest=manifest, compared=tuple(files), aside=settle(state), stayed=stayed)


def _stage(source: Path, manifest: Manifest, target: Target, staged: Path) -> None:
    files = [name for name in manifest.files if name.startswith(f"{STATE}/")]
    place = _places(staged)
    for name in files:
        copying.copy_file(source / name, place(name))
    if EXPORTED in manifest.files and target.ledger is None:
        _import(source / EXPORTED, staged / target.ledger_name, manifest.events[EXPORTED])
    backup.verify_files(manifest, files, place)
    copying.sync_tree(staged)


def _import(exported: Path, path: Path, expected: copying.Events) -> None:
    """Make a ledger's file of the events of a server."""
    ledger = SqlLedger(path, _NoClock())
    try:
        ledger.copy_in(_lines(exported))
    finally:
        ledger.close()
    if copying.events_in_file(path) != expected:
        raise backup.damaged(exported, "other events")


class _NoClock:
    """Restored events keep their instants; nobody asks for another."""

    def now(self) -> datetime:
        raise AssertionError


def _fill_server(source: Path, manifest: Manifest, ledger: SqlLedger, ledger_name: str) -> None:
    """Fill the ledger on the server, which must be empty or hold these very events already."""
    file = f"{STATE}/{ledger_name}"
    name = EXPORTED if EXPORTED in manifest.events else file
    if name not in manifest.events:
        return
    if next(ledger.copy_out(), None) is None:
        ledger.copy_in(_lines(source / name) if name == EXPORTED else copying.rows_in_file(source / name))
    if copying.digest_of(ledger.copy_out()) != manifest.events[name]:
        raise ConfigError(
            "events are restored into an empty ledger only", seen=f"{ledger.place} holds others",
            expected="another database or schema: ledger_url under [records]",
        )  # fmt: skip


def _lines(exported: Path) -> Iterator[dict[str, Any]]:
    with exported.open("rb") as file:
        yield from map(json.loads, file)


def _keep(present: Path, staged: Path) -> bool:
    """Let what forbids something in the present state forbid it in the new one."""
    if not os.path.lexists(present):
        return False
    durable.write_whole(staged, present.read_bytes() if present.is_file() else b"kept by a restore\n")
    return True


def _swap(staged: Path, state: Path, aside: Path | None) -> None:
    """Put the staged folder in place; the old state is then where the staged one was, or aside."""
    if aside is None or not _exchange(staged, state):
        if aside is not None:
            state.rename(aside)
        staged.rename(state)
    durable.sync_folder(state.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here = _AT_WORKING_DIRECTORY
    return bool(call(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), _EXCHANGE) == 0)


def _finish(state: Path, path: Path) -> Path | None:
    """Name the state that was replaced, and let its backups stay with the living one."""
    mark = _read_mark(path)
    aside = state.with_name(mark.aside) if mark and mark.aside else None
    if aside is not None:
        replaced = state.with_name(f"{state.name}{path.name}")
        if replaced.is_dir():
            replaced.rename(aside)
        if (aside / BACKUPS).is_dir() and not (state / BACKUPS).exists():
            (aside / BACKUPS).rename(state / BACKUPS)
        durable.sync_folder(state.parent)
    path.unlink()
    return aside


def _read_mark(path: Path) -> _Mark | None:
    try:
        return _Mark(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _told(mark: _Mark) -> bytes:
    return canonical_json(mark._asdict()).encode()


def _places(state: Path) -> backup.Place:
    return lambda name: state / name.removeprefix(f"{STATE}/")


def _free(state: Path, now: datetime) -> Path:
    """Return a name for the state that is replaced."""
    name = f"{state.name}.before-{as_utc(now):%Y%m%dT%H%M%SZ}"
    path, number = state.with_name(name), 1
    while path.exists():
        number += 1
        path = state.with_name(f"{name}-{number}")
    return path
