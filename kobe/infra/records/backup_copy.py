"""Copy a folder of records as it was at one instant, while others go on writing to it.

For that instant every SQLite file and every audit chain is held: each file gets a reader that stays at this instant,
the chains are copied, and the writers go on. Everything else in the folder appears by rename and never changes, so it
is copied afterwards; it may hold more than the instant did, never less.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kobe.core.errors import ExternalError, IntegrityError
from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.records import audit_lines, ledger_schema
from kobe.infra.records.audit_checkpoints import default_anchor

LEFT_OUT = {"backups", "locks"}
"""Folders of the state that are not part of it."""
_PASSING = (".lock", "-wal", "-shm", "-journal")
_SQLITE = b"SQLite format 3\x00"
_HOLD_S = 10.0
_PAGE_ROWS = 5_000


class Copied(NamedTuple):
    """A file as it was copied."""

    bytes: int
    sha256: str


class Events(NamedTuple):
    """All events of a ledger: how many, and the digest of their lines."""

    number: int
    sha256: str


def copy_state(state: Path, target: Path, chains: Iterable[str]) -> dict[str, Copied]:
    """Copy a state folder as it is now.

    Args:
        state: the folder.
        target: a folder that is not there yet.
        chains: audit chains in it, by the names of their folders.

    Returns:
        What was copied, by name.

    Raises:
        ExternalError: a writer does not let go, or the disk is full.
    """
    databases = [path for path in _files(state) if is_database(path)]
    held_chains = [state / name for name in chains if (state / name).is_dir()]
    copied = {}
    with ExitStack() as readers:
        with quiet(databases, held_chains):
            pinned = [(path, readers.enter_context(_reader(path))) for path in databases]
            for path in _of_chains(held_chains):
                copied[_name(path, state)] = copy_file(path, target / _name(path, state))
        for path, reader in pinned:
            copied[_name(path, state)] = _copy_database(reader, target / _name(path, state))
    done = {state / name for name in copied}
    for path in _files(state):
        if path not in done and not any(chain in path.parents for chain in held_chains):
            try:
                copied[_name(path, state)] = copy_file(path, target / _name(path, state))
            except FileNotFoundError:  # it was there a moment ago
                continue
    return copied


@contextmanager
def quiet(databases: Iterable[Path], chains: Iterable[Path]) -> Iterator[None]:
    """Hold every writer for as long as the block lasts.

    Raises:
        ExternalError: one of them does not let go.
    """
    with ExitStack() as held:
        for path in databases:
            connection = held.enter_context(closing(_open(path, "rw")))
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise ExternalError(
                    "a ledger is being written for too long", seen=f"{path}: {error}", next_command="kobe status",
                    retryable=True,
                ) from error  # fmt: skip
        for folder in chains:
            held.enter_context(audit_lines.locked(folder))
        yield


def databases_of(state: Path) -> list[Path]:
    """Return the SQLite files of a state folder."""
    return [path for path in _files(state) if is_database(path)]


def copy_file(source: Path, target: Path) -> Copied:
    """Copy a file durably, with its permissions.

    Raises:
        FileNotFoundError: it is gone.
        ConfigError, ExternalError: it cannot be read or written.
    """
    hasher, size = hashlib.sha256(), 0
    try:
        durable.make_folder(target.parent)
        with source.open("rb") as reading, target.open("xb") as writing:
            shutil.copymode(source, target)
            while block := reading.read(1 << 20):
                writing.write(block)
                hasher.update(block)
                size += len(block)
            writing.flush()
            durable.sync(writing.fileno())
        shutil.copymode(source.parent, target.parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise durable.fault(error, target) from error
    return Copied(size, hasher.hexdigest())


def write_lines(rows: Iterable[dict[str, Any]], path: Path) -> Events:
    """Write events as one JSON line each, durably."""
    hasher, count = hashlib.sha256(), 0
    try:
        with path.open("xb") as file:
            for row in rows:
                line = line_of(row)
                hasher.update(line)
                file.write(line)
                count += 1
            file.flush()
            durable.sync(file.fileno())
    except OSError as error:
        raise durable.fault(error, path) from error
    return Events(count, hasher.hexdigest())


def line_of(row: dict[str, Any]) -> bytes:
    """Say one event of the ledger in JSON."""
    return f"{canonical_json(row)}\n".encode()


def digest_of(rows: Iterable[dict[str, Any]]) -> Events:
    """Count events and digest their lines."""
    hasher, count = hashlib.sha256(), 0
    for row in rows:
        hasher.update(line_of(row))
        count += 1
    return Events(count, hasher.hexdigest())


def events_in_file(path: Path) -> Events | None:
    """Read a SQLite file that nobody writes, page by page: is it whole, and what events are in it?

    Returns:
        None where it is no ledger.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        with closing(_open(path, "ro&immutable=1")) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            if found != ["ok"]:
                raise sqlite3.DatabaseError("; ".join(found))
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name = ?", (ledger_schema.TABLE,))
            return digest_of(_rows(connection)) if tables.fetchone() else None
    except sqlite3.Error as error:
        raise IntegrityError("a ledger is damaged", seen=f"{path}: {error}") from error


def rows_in_file(path: Path) -> Iterator[dict[str, Any]]:
    """Return the events of a SQLite file that nobody writes, with their keys, oldest first."""
    with closing(_open(path, "ro&immutable=1")) as connection:
        yield from _rows(connection)


def sync_tree(folder: Path) -> None:
    """Wait until every name below a folder is on the disk."""
    for parent, _, _ in os.walk(folder):
        durable.sync_folder(Path(parent))


def _rows(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    after = 0
    while page := connection.execute(ledger_schema.PAGE, {"after": after, "rows": _PAGE_ROWS}).fetchall():
        yield from (dict(zip(ledger_schema.COLUMNS, row, strict=True)) for row in page)
        after = page[-1][0]


def _files(state: Path) -> list[Path]:
    """Return what belongs to the state: no locks, no journals, nothing half written, none of what is left out."""
    found = []
    for parent, folders, names in os.walk(state):
        if Path(parent) == state:
            folders[:] = [name for name in folders if name not in LEFT_OUT]
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            passing = name.startswith(durable.TEMPORARY_PREFIX) or name.endswith(_PASSING)
            if not passing and path.is_file():
                found.append(path)
    return found


def _of_chains(chains: Iterable[Path]) -> Iterator[Path]:
    for folder in chains:
        yield from _files(folder)
        anchor = default_anchor(folder)
        if anchor.is_file():
            yield anchor


def is_database(path: Path) -> bool:
    """Say whether a file is a SQLite database."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _open(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_HOLD_S, isolation_level=None)


@contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that sees the file as it is now, whatever is written to it from now on."""
    with closing(_open(path, "ro")) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        yield connection


def _copy_database(reader: sqlite3.Connection, target: Path) -> Copied:
    try:
        durable.make_folder(target.parent)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            reader.backup(copy)
        with target.open("r+b") as file:
            durable.sync(file.fileno())
            return Copied(target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise durable.fault(error, target) from error
    except sqlite3.Error as error:
        raise ExternalError("a ledger cannot be copied", seen=f"{target}: {error}", retryable=True) from error


def _name(path: Path, state: Path) -> str:
    return path.relative_to(state).as_posix()
