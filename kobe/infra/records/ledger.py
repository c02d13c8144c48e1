"""The event ledger: one append-only table in SQLite, from which every state is folded.

An append is on the disk when it returns, and a key used before makes it the same event again. Triggers refuse to
change or remove a row, so even a defect elsewhere cannot rewrite history through this file. SQLAlchemy costs
a third of a second and is imported at the first write; a process that only reads does without.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock, to_ns
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, KobeError
from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.records import ledger_schema as schema

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from kobe.core.ports import Event

_DOCTOR = "kobe doctor"


class SqlLedger:
    """Events in one SQLite file. Connections are per thread; a transaction belongs to the thread that began it."""

    def __init__(
        self, url_or_path: str | Path, clock: Clock, *, read_only: bool = False, busy_timeout_s: float = 5.0
    ) -> None:
        """Nothing is opened or made until the first use.

        Args:
            url_or_path: a path, or `sqlite:///PATH`.
            clock: gives each event its instant.
            read_only: never write; a missing file is an empty ledger and stays missing.
            busy_timeout_s: how long to wait for another process.

        Raises:
            ConfigError: the address is of a database we do not speak.
        """
        self._path = _path_of(url_or_path)
        self._clock = clock
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._opened: Engine | None = None
        self._local = threading.local()

    def append(self, stream: str, entity: str, kind: str, payload: dict[str, Any], *, key: str) -> bool:
        """Append one event durably.

        Args:
            stream: what the event is about, such as one kind of thing.
            entity: which one of them.
            kind: what happened to it.
            payload: JSON-ready facts.
            key: identity of the event within its stream.

        Returns:
            False when the same event is already there, which then stays as it is.

        Raises:
            IntegrityError: the key belongs to a different event, or the file is damaged.
            ExternalError: another process holds the ledger, or the disk is full.
            ConfigError: the file cannot be written.
            ValueError, TypeError: the payload cannot be said in JSON.
        """
        facts = {"entity": entity, "kind": kind, "payload": canonical_json(payload)}
        if self._current is None:
            with self.exclusive():
                return self._append(stream, key, facts)
        return self._append(stream, key, facts)

    def events(self, stream: str, *, entity: str | None = None) -> "list[Event]":
        """Return the events of a stream, oldest first, or of one entity in it.

        Raises:
            IntegrityError: the file is damaged.
            ExternalError: another process holds the ledger.
            ConfigError: the file cannot be read.
        """
        if self._opened is None and self._path.is_file():
            told = self._read_only_rows(stream, entity)
            if told is not None:
                return [self._event(row) for row in told]
        if self._absent():
            return []
        table = schema.table()
        query = table.select().where(table.c.stream == stream).order_by(table.c.sequence)
        if entity is not None:
            query = query.where(table.c.entity == entity)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [self._event(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Make everything inside one transaction that no other process can write beside.

        An append that fails inside spoils the whole: the transaction is undone even if the error was caught.

        Raises:
            KobeError: it was begun inside another one, which is a defect in the caller.
        """
        if self._current is not None:
            raise KobeError("a ledger transaction was begun inside another one", seen=str(self._path))
        if self._read_only:
            raise ConfigError("the ledger is open for reading only", seen=str(self._path))
        with self._translated():
            connection = self._engine().connect().execution_options(begin=schema.WRITING)
        try:
            with self._translated():
                transaction = connection.begin()
            self._local.connection, self._local.spoiled = connection, None
            try:
                yield
                if self._local.spoiled is not None:
                    raise self._local.spoiled
                with self._translated():
                    transaction.commit()
            finally:
                self._local.connection = None
                if transaction.is_active:
                    transaction.rollback()
        finally:
            connection.close()

    def _read_only_rows(self, stream: str, entity: str | None) -> list[dict[str, Any]] | None:
        """Read through a connection of one's own; None where the file is not a ledger yet."""
        try:
            with closing(schema.connect(self._path, read_only=True, busy_timeout_s=self._busy_timeout_s)) as connection:
                version, names = schema.version_and_names(connection)
                if not version and not names:
                    return None
                self._accept(version, names)
                return schema.rows(connection, stream, entity)
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def check(self) -> None:
        """Read the whole file and compare it with its own structure.

        Raises:
            IntegrityError: it is damaged.
        """
        if self._absent():
            return
        with self._reading() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise self._damaged("; ".join(found))

    def close(self) -> None:
        """Close the connections of this ledger; the next use opens it again."""
        if self._opened is not None:
            self._opened.dispose()
            self._opened = None

    @property
    def _current(self) -> "Connection | None":
        """Connection of the transaction this thread is in."""
        current: Connection | None = getattr(self._local, "connection", None)
        return current

    def _absent(self) -> bool:
        """Whether a reader comes before the first writer."""
        if not self._read_only:
            return False
        if not self._path.exists():
            return True
        with self._translated():
            return not schema.found(self._engine())[0]

    def _append(self, stream: str, key: str, facts: dict[str, str]) -> bool:
        if self._local.spoiled is not None:
            raise self._local.spoiled
        try:
            return self._insert(stream, key, facts)
        except KobeError as error:
            self._local.spoiled = error
            raise

    def _insert(self, stream: str, key: str, facts: dict[str, str]) -> bool:
        table, connection = schema.table(), self._current
        assert connection is not None
        place = {"stream": stream, "key": key}
        with self._translated():
            there = connection.execute(schema.same_key(), place).mappings().one_or_none()
            if there is None:
                connection.execute(table.insert(), {**place, **facts, "at_ns": to_ns(self._clock.now())})
                return True
        differs = [name for name, value in facts.items() if there[name] != value]
        if differs:
            raise IntegrityError(
                "one key was given to two different events",
                seen=f"{stream} {key!r} differs in {', '.join(differs)}",
                expected="the event the key was used for",
                next_command=_DOCTOR,
            )
        return False

    @contextmanager
    def _reading(self) -> "Iterator[Connection]":
        with self._translated():
            if self._current is not None:
                yield self._current
                return
            with self._engine().connect() as connection:
                yield connection

    def _event(self, row: Any) -> "Event":
        from kobe.core.ports import Event

        try:
            payload = json.loads(row["payload"])
        except ValueError as error:
            raise self._damaged(f"event {row['sequence']} is not JSON") from error
        facts = {name: row[name] for name in ("sequence", "stream", "entity", "kind", "at_ns")}
        return Event(**facts, payload=payload)

    def _engine(self) -> "Engine":
        """Open the file at the first use and make or check its schema."""
        if self._opened is None:
            engine = self._connected()
            try:
                with self._translated():
                    self._prepare(engine)
            except BaseException:
                engine.dispose()
                raise
            self._opened = engine
        return self._opened

    def _connected(self) -> "Engine":
        if not self._read_only:
            try:
                durable.make_folder(self._path.parent)
            except OSError as error:
                raise durable.fault(error, self._path) from error
        return schema.open_engine(self._path, read_only=self._read_only, busy_timeout_s=self._busy_timeout_s)

    def _prepare(self, engine: "Engine") -> None:
        """Make the schema in a new file; refuse a file that is newer, somebody else's or stripped of its guards."""
        version, names, mode = schema.found(engine)
        blank = not version and not names
        if not blank:
            self._accept(version, names)
        if not self._read_only and (blank or mode != "wal"):
            self._begin(engine)

    def _accept(self, version: int, names: set[str]) -> None:
        if version > schema.VERSION:
            raise ConfigError(
                "the ledger was written by a newer kobe",
                seen=f"{self._path}: schema {version}",
                expected=f"schema {schema.VERSION}",
                next_command="kobe --version",
            )
        if not version:
            raise ConfigError("the file is a database of another program", seen=str(self._path), next_command=_DOCTOR)
        missing = schema.NAMES - names
        if missing:
            raise self._damaged(f"without {', '.join(sorted(missing))}")

    def _begin(self, engine: "Engine") -> None:
        """Make a blank file a ledger. Two processes that switch a file to WAL refuse each other: one at a time."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(
                self._path.with_name(f"{self._path.name}.lock"),
                timeout=self._busy_timeout_s,
                poll_interval=0.005,
                fallback_to_soft=False,
            ):
                with engine.execution_options(begin=None).connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                version, names, _ = schema.found(engine)
                if not version and not names:
                    schema.create(engine)
        except Timeout as error:
            raise self._held(str(error)) from error
        except OSError as error:
            raise durable.fault(error, self._path) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say what SQLite refused as one of our errors."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except sqlite3.Error as error:
            raise self._fault(error) from error
        except DBAPIError as error:
            if not isinstance(error.orig, sqlite3.Error):
                raise
            raise self._fault(error.orig) from error

    def _fault(self, error: sqlite3.Error) -> KobeError:
        code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
        seen = f"{self._path}: {error}"
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return self._held(str(error))
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}:
            return self._damaged(str(error))
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
            return ConfigError(
                "the ledger cannot be used", seen=seen, expected="a folder this user may write", next_command=_DOCTOR
            )
        what = "the disk is full" if code == sqlite3.SQLITE_FULL else "the ledger did not answer"
        return ExternalError(what, seen=seen, next_command=_DOCTOR, retryable=code == sqlite3.SQLITE_FULL)

    def _held(self, found: str) -> ExternalError:
        return ExternalError(
            "another kobe process holds the ledger",
            seen=f"{self._path}: {found}",
            next_command="kobe status",
            retryable=True,
        )

    def _damaged(self, found: str) -> IntegrityError:
        return IntegrityError("the ledger is damaged", seen=f"{self._path}: {found}", next_command=_DOCTOR)


def _path_of(url_or_path: str | Path) -> Path:
    text = str(url_or_path)
    if "://" not in text:
        return Path(url_or_path)
    prefix = "sqlite:///"
    if not text.startswith(prefix) or text == prefix:
        scheme = text.partition(":")[0]  # the rest may hold a password
        raise ConfigError("the ledger speaks SQLite only", seen=f"{scheme}://...", expected=f"a path or {prefix}PATH")
    return Path(text.removeprefix(prefix))
