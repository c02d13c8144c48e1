"""The ledger in one SQLite file, spoken to directly: a durable append costs little more than the disk's own wait.

Connections are kept and used again as long as the path leads to the file they opened: a file that was put in its
place, as a restore does, is opened anew, and nothing is ever written to the one that was moved away.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kobe.core.errors import ConfigError, KobeError
from kobe.infra import durable, file_lock
from kobe.infra.records import ledger_database as database
from kobe.infra.records import ledger_schema as schema
from kobe.infra.records.ledger_database import Ask

_PRAGMAS = ("fullfsync=ON", "foreign_keys=ON", "recursive_triggers=ON", "trusted_schema=OFF")
_GUARDS = {name: f"BEFORE {deed} ON {schema.TABLE}" for name, deed in schema.GUARDS.items()} | {
    # INSERT OR REPLACE removes rows without asking the delete trigger
    "events_never_replaced": f"""BEFORE INSERT ON {schema.TABLE} WHEN EXISTS (SELECT 1 FROM {schema.TABLE}
        WHERE sequence = NEW.sequence OR (stream = NEW.stream AND key = NEW.key))""",  # noqa: S608 - our own name
}
# one statement: between two, another writer makes the schema, and a ledger looks like another program's file
_STRUCTURE = """SELECT stamp.user_version, made.name FROM pragma_user_version AS stamp
    LEFT JOIN sqlite_master AS made ON substr(made.name, 1, 7) != 'sqlite_'"""
_NO_FILE = (0, 0)
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_DENIED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class _Open(NamedTuple):
    """A connection and the file it opened."""

    connection: sqlite3.Connection
    file: tuple[int, int]
    waits: bool = True


class SqliteDatabase:
    """Events in one file; any number of threads and processes, one of them writing at a time."""

    def __init__(self, path: Path, *, read_only: bool, busy_timeout_s: float) -> None:
        """Nothing is opened or made until the first use."""
        self.place = str(path)
        self.path = path
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._writers: list[_Open] = []
        self._readers: list[_Open] = []

    @contextmanager
    def reading(self) -> Iterator[Ask | None]:
        """Read through a connection that cannot write; None where the file is not a ledger yet."""
        idle, opened = self._readers, self._reader()
        if opened is None:
            yield None
            return
        try:
            yield self._asking(opened.connection)
        finally:
            self._give_back(idle, self._readers, opened)

    def stamp(self) -> object:
        """Return which file is read through which connection, and SQLite's count of what others committed to it."""
        idle, opened = self._readers, self._reader()
        if opened is None:
            return None
        try:
            return (*opened, self._run(opened.connection, "PRAGMA data_version")[0][0])
        finally:
            self._give_back(idle, self._readers, opened)

    def rows(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Read once; nothing where the file is not a ledger yet. Asked hundreds of times a session."""
        idle, opened = self._readers, self._reader()
        if opened is None:
            return []
        try:
            return self._run(opened.connection, statement, values)
        finally:
            self._give_back(idle, self._readers, opened)

    @contextmanager
    def writing(self) -> Iterator[Ask]:
        """Hold the file's only right to write for as long as the block lasts."""
        if self._read_only:
            raise ConfigError("the ledger is open for reading only", seen=self.place)
        idle, opened = self._writers, self._begun()
        try:
            yield self._asking(opened.connection)
            self._run(opened.connection, "COMMIT")
        finally:
            if opened.connection.in_transaction:
                with suppress(sqlite3.Error):
                    opened.connection.execute("ROLLBACK")
            self._give_back(idle, self._writers, opened)

    def damage(self, ask: Ask) -> list[str]:
        """Read the whole file and compare it with its own structure."""
        found = [str(row[0]) for row in ask("PRAGMA integrity_check(3)", {})]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Close the connections that nobody is using; those in use are closed when they are given back."""
        idle, self._writers, self._readers = [*self._readers, *self._writers], [], []  # the last one tidies up the file
        for opened in idle:
            opened.connection.close()

    def _reader(self) -> _Open | None:
        opened = self._taken(self._readers)
        if opened is not None or not self.path.is_file():
            return opened
        opened = self._connect(read_only=True)
        try:
            version, names = self._version_and_names(opened.connection)
            if not version and not names:
                opened.connection.close()
                return None
            database.accept(self.place, version, names, set(_GUARDS))
        except BaseException:
            opened.connection.close()
            raise
        return opened

    def _begun(self) -> _Open:
        """Begin a transaction in the file that the path leads to, even if it was replaced while we waited for it."""
        while True:
            opened = self._taken(self._writers) or self._prepared()
            try:
                self._run(opened.connection, "BEGIN IMMEDIATE")
            except BaseException:
                opened.connection.close()
                raise
            if self._is_in_place(opened):
                return opened
            opened.connection.close()

    def _taken(self, idle: list[_Open]) -> _Open | None:
        while idle:
            try:
                opened = idle.pop()
            except IndexError:  # another thread was quicker
                break
            if self._is_in_place(opened):
                return opened
            opened.connection.close()
        return None

    def _give_back(self, idle: list[_Open], now: list[_Open], opened: _Open) -> None:
        if idle is now and not opened.connection.in_transaction:
            idle.append(opened)
        else:  # the ledger was closed meanwhile
            opened.connection.close()

    def _is_in_place(self, opened: _Open) -> bool:
        return _file(self.place) == opened.file and opened.waits == durable.waits()

    def _prepared(self) -> _Open:
        """Open the file for writing and make or check its schema."""
        try:
            durable.make_folder(self.path.parent)
        except OSError as error:
            raise durable.fault(error, self.path) from error
        opened = self._connect(read_only=False)
        try:
            version, names = self._version_and_names(opened.connection)
            blank = not version and not names
            if not blank:
                database.accept(self.place, version, names, set(_GUARDS))
            mode = self._run(opened.connection, "PRAGMA journal_mode")[0][0]
            if blank or mode != "wal" or not names.issuperset(schema.INDEXES):
                self._make(opened.connection)
        except BaseException:
            opened.connection.close()
            raise
        return opened

    def _make(self, connection: sqlite3.Connection) -> None:
        """Make a blank file a ledger. Two processes that switch a file to WAL refuse each other: one at a time."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            with file_lock.held(lock, self._busy_timeout_s):
                self._run(connection, "PRAGMA journal_mode=WAL")
                self._run(connection, "BEGIN IMMEDIATE")
                for statement in self._lacking(*self._version_and_names(connection)):
                    self._run(connection, statement)
                self._run(connection, "COMMIT")
        except file_lock.Busy as error:
            raise database.held(self.place, f"{lock.name} held for {self._busy_timeout_s:.0f} s") from error
        except OSError as error:
            raise durable.fault(error, self.path) from error

    @staticmethod
    def _lacking(version: int, names: set[str]) -> list[str]:
        """Return the statements that make a ledger of what is there."""
        made = []
        if not version and not names:
            made.append(schema.CREATE_TABLE.format(sequence="INTEGER NOT NULL"))
            for name, moment in _GUARDS.items():
                made.append(f"CREATE TRIGGER {name} {moment} BEGIN SELECT RAISE(ABORT, '{name}'); END")
            made.append(f"PRAGMA user_version = {schema.VERSION}")
        return made + [statement for name, statement in schema.INDEXES.items() if name not in names]

    def _connect(self, *, read_only: bool) -> _Open:
        """Return a connection that waits for the disk where we do; transactions are begun by whoever uses it."""
        address = f"{self.path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        before, waits = _file(self.path), durable.waits()
        try:
            connection = sqlite3.connect(
                address, uri=True, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._fault(error) from error
        try:
            for pragma in (f"synchronous={'FULL' if waits else 'OFF'}", *_PRAGMAS):
                self._run(connection, f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        opened = _Open(connection, _file(self.path), waits)
        if before in {opened.file, _NO_FILE}:
            return opened
        connection.close()  # replaced while it was opened: nobody knows which of the two this is
        return self._connect(read_only=read_only)

    def _version_and_names(self, connection: sqlite3.Connection) -> tuple[int, set[str]]:
        """Read the version of a file's schema and the names of its tables, indexes and triggers, all of one moment."""
        rows = self._run(connection, _STRUCTURE)
        return int(rows[0][0]), {str(name) for _version, name in rows if name is not None}

    def _asking(self, connection: sqlite3.Connection) -> Ask:
        return lambda statement, values: self._run(connection, statement, values)

    def _run(
        self, connection: sqlite3.Connection, statement: str, values: dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(statement, values or {}).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error) -> KobeError:
        """Say what SQLite refused as one of our errors."""
        code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
        if code in _LOCKED:
            return database.held(self.place, str(error))
        if code in _DAMAGED:
            return database.damaged(self.place, str(error))
        if code in _DENIED:
            return database.unusable(self.place, str(error), "a folder this user may write")
        if code == sqlite3.SQLITE_FULL:
            return database.silent(self.place, str(error), retryable=True, what="the disk is full")
        return database.silent(self.place, str(error), retryable=False)


def _file(path: Path | str) -> tuple[int, int]:
    """Tell which file a path leads to."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at every read
    except OSError:
        return _NO_FILE
    return found.st_dev, found.st_ino
