"""The event ledger: one append-only table in SQLite, from which every state is folded.

An append is on the disk when it returns, and a key used before makes it the same event again. Triggers refuse to
change or remove a row, so even a defect elsewhere cannot rewrite history through this file. SQLAlchemy costs
120 ms and is imported at the first use of a ledger, not with this module.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock, to_ns
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, KobeError
from kobe.core.ids import canonical_json
from kobe.core.ports import Event
from kobe.infra import durable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

SCHEMA_VERSION = 1
_TABLE = "events"
_TRIGGERS = {
    "events_never_change": "BEFORE UPDATE ON events",
    "events_never_leave": "BEFORE DELETE ON events",
    # INSERT OR REPLACE removes rows without asking the delete trigger
    "events_never_replaced": """BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events
        WHERE sequence = NEW.sequence OR (stream = NEW.stream AND key = NEW.key))""",
}
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

    def events(self, stream: str, *, entity: str | None = None) -> list[Event]:
        """Return the events of a stream, oldest first, or of one entity in it.

        Raises:
            IntegrityError: the file is damaged.
            ExternalError: another process holds the ledger.
            ConfigError: the file cannot be read.
        """
        if self._absent():
            return []
        table = _table()
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
            connection = self._engine().connect().execution_options(begin="BEGIN IMMEDIATE")
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
        return self._read_only and not self._path.exists()

    def _append(self, stream: str, key: str, facts: dict[str, str]) -> bool:
        if self._local.spoiled is not None:
            raise self._local.spoiled
        try:
            return self._insert(stream, key, facts)
        except KobeError as error:
            self._local.spoiled = error
            raise

    def _insert(self, stream: str, key: str, facts: dict[str, str]) -> bool:
        table, connection = _table(), self._current
        assert connection is not None
        same = table.select().where(table.c.stream == stream, table.c.key == key)
        with self._translated():
            there = connection.execute(same).mappings().one_or_none()
            if there is None:
                at_ns = to_ns(self._clock.now())
                connection.execute(table.insert().values(stream=stream, key=key, at_ns=at_ns, **facts))
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

    def _event(self, row: Any) -> Event:
        try:
            payload = json.loads(row["payload"])
        except ValueError as error:
            raise self._damaged(f"event {row['sequence']} is not JSON") from error
        facts = {name: row[name] for name in ("sequence", "stream", "entity", "kind", "at_ns")}
        return Event(**facts, payload=payload)

    def _engine(self) -> "Engine":
        """Open the file at the first use: make or check its schema."""
        if self._opened is None:
            try:
                if not self._read_only:
                    durable.make_folder(self._path.parent)
            except OSError as error:
                raise durable.fault(error, self._path) from error
            engine = _engine(self._path, read_only=self._read_only, busy_timeout_s=self._busy_timeout_s)
            try:
                with engine.connect() as connection:
                    self._prepare(connection)
            except BaseException:
                engine.dispose()
                raise
            self._opened = engine
        return self._opened
