"""The event ledger: one append-only table in SQLite or PostgreSQL, from which every state is folded.

An append is on the disk when it returns, and a key used before makes it the same event again. Triggers refuse to
change or remove a row, so even a defect elsewhere cannot rewrite history through the database. `DATABASES` holds what
an address may begin with; a path is SQLite.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock, to_ns
from kobe.core.errors import ConfigError, IntegrityError, KobeError
from kobe.core.ids import canonical_json
from kobe.infra.records import ledger_database as database
from kobe.infra.records import ledger_schema as schema
from kobe.infra.records.ledger_database import Ask, Database
from kobe.infra.records.ledger_follow import Followed, asking

if TYPE_CHECKING:
    from kobe.core.ports import Event

Row = dict[str, Any]
"""One event as it lies in the table: `schema.COLUMNS`, the payload as text."""
_DOCTOR = "kobe doctor"
_PAGE_ROWS = 5_000


class SqlLedger:
    """Events in one database. A transaction belongs to the thread that began it."""

    def __init__(
        self, url_or_path: str | Path, clock: Clock, *, read_only: bool = False, busy_timeout_s: float = 5.0
    ) -> None:
        """Nothing is opened or made until the first use.

        Args:
            url_or_path: a path, `sqlite:///PATH`, or `postgresql://USER@HOST/DATABASE` (one ledger in each schema).
            clock: gives each event its instant.
            read_only: never write; a missing ledger is an empty one and stays missing.
            busy_timeout_s: how long to wait for another process.

        Raises:
            ConfigError: the address is of a database we do not speak, or cannot be read.
        """
        self._clock = clock
        self._database = _database(url_or_path, read_only=read_only, busy_timeout_s=busy_timeout_s)
        self._local = threading.local()
        self._followed = Followed(self._database, self._event)

    @property
    def place(self) -> str:
        """Where the ledger is, for messages: never a user or a password."""
        return self._database.place

    @property
    def path(self) -> Path | None:
        """Its file; None where a server keeps it."""
        return self._database.path

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
            IntegrityError: the key belongs to a different event, or the ledger is damaged.
            ExternalError: another process holds the ledger, its disk is full or its server does not answer.
            ConfigError: the ledger cannot be written.
            ValueError, TypeError: the payload cannot be said in JSON, or a name holds a NUL.
        """
        event = {"stream": stream, "entity": entity, "kind": kind, "payload": canonical_json(payload), "key": key}
        if any("\0" in text for text in event.values()):
            msg = f"no name of an event holds a NUL: {stream!r} {entity!r} {kind!r} {key!r}"
            raise ValueError(msg)
        if self._current is None:
            with self.exclusive():
                return self._append(event)
        return self._append(event)

    def events(self, stream: str, *, entity: str | None = None, after: int = 0) -> "list[Event]":
        """Return the events of a stream, oldest first, or of one entity in it.

        Args:
            stream: what the events are about.
            entity: only of this one.
            after: only events with a sequence above this one, so that a fold can go on from where it was.

        Raises:
            IntegrityError: the ledger is damaged.
            ExternalError: the ledger does not answer.
            ConfigError: the ledger cannot be read.
        """
        if self._current is None:
            return self._followed.events(stream, entity, after)
        # what a transaction reads may be undone with it: added to what was there before, and not kept
        known = [] if after else self._followed.before(stream, entity)
        found = self._told(stream, entity, known[-1].sequence - 1 if known else after)
        if known and found[:1] != known[-1:]:
            return self._told(stream, entity, 0)  # another ledger lies there now
        return known + found[1:] if known else found

    def _told(self, stream: str, entity: str | None, after: int) -> "list[Event]":
        return [self._event(row) for row in self._rows(*asking(stream, entity, after))]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Make everything inside one transaction that no other process can write beside.

        An append that fails inside spoils the whole: the transaction is undone even if the error was caught.

        Raises:
            KobeError: it was begun inside another one, which is a defect in the caller.
        """
        if self._current is not None:
            raise KobeError("a ledger transaction was begun inside another one", seen=self.place)
        with self._database.writing() as ask:
            self._local.ask, self._local.spoiled = ask, None
            try:
                yield
                if self._local.spoiled is not None:
                    raise self._local.spoiled
            finally:
                self._local.ask = None

    def check(self) -> None:
        """Read the whole ledger and compare it with its own structure.

        Raises:
            IntegrityError: it is damaged, or an event is gone from the middle.
        """
        with self._database.reading() as ask:
            if ask is None:
                return
            found = self._database.damage(ask)
            (count, last) = ask(schema.EXTENT, {})[0] if not found else (0, 0)
        if count != last:
            found = [f"{count} events, the last of them is number {last}"]
        if found:
            raise database.damaged(self.place, "; ".join(found))

    def copy_out(self) -> Iterator[Row]:
        """Return every event of every stream with its key, oldest first; what is appended meanwhile may be left out.

        Raises:
            IntegrityError, ExternalError, ConfigError: as `events`.
        """
        after = 0
        while rows := self._rows(schema.PAGE, {"after": after, "rows": _PAGE_ROWS}):
            yield from (dict(zip(schema.COLUMNS, row, strict=True)) for row in rows)
            after = rows[-1][0]

    def copy_in(self, rows: Iterable[Row]) -> int:
        """Fill an empty ledger with what `copy_out` returned, in one transaction, numbers and instants included.

        Returns:
            How many events there are now.

        Raises:
            ConfigError: there are events already.
            IntegrityError: the numbers have gaps or are out of order.
        """
        number = 0
        with self.exclusive():
            ask: Ask = self._local.ask
            if ask(schema.EXTENT, {})[0][0]:
                raise ConfigError("events are copied into an empty ledger only", seen=f"{self.place} has events")
            for number, row in enumerate(rows, 1):
                if row["sequence"] != number:
                    raise IntegrityError("an event is out of order", seen=row["sequence"], expected=number)
                ask(schema.COPY_IN, row)
        return number

    def close(self) -> None:
        """Close the connections of this ledger; the next use opens it again."""
        self._database.close()

    @property
    def _current(self) -> Ask | None:
        """What asks inside the transaction this thread is in."""
        current: Ask | None = getattr(self._local, "ask", None)
        return current

    def _rows(self, statement: str, values: Row) -> list[tuple[Any, ...]]:
        current = self._current
        return self._database.rows(statement, values) if current is None else current(statement, values)

    def _append(self, event: Row) -> bool:
        if self._local.spoiled is not None:
            raise self._local.spoiled
        try:
            return self._insert(event)
        except KobeError as error:
            self._local.spoiled = error
            raise

    def _insert(self, event: Row) -> bool:
        ask: Ask = self._local.ask
        there = ask(schema.SAME_KEY, {"stream": event["stream"], "key": event["key"]})
        if not there:
            ask(schema.APPEND, {**event, "at_ns": to_ns(self._clock.now())})
            return True
        facts = zip(("entity", "kind", "payload"), there[0], strict=True)
        differs = [name for name, value in facts if event[name] != value]
        if differs:
            raise IntegrityError(
                "one key was given to two different events",
                seen=f"{event['stream']} {event['key']!r} differs in {', '.join(differs)}",
                expected="the event the key was used for",
                next_command=_DOCTOR,
            )
        return False

    def _event(self, row: tuple[Any, ...]) -> "Event":
        from kobe.core.ports import Event

        sequence, stream, entity, kind, at_ns, text = row[:6]
        try:
            payload = json.loads(text)
        except ValueError as error:
            raise database.damaged(self.place, f"event {sequence} is not JSON") from error
        return Event(sequence=sequence, stream=stream, entity=entity, kind=kind, at_ns=at_ns, payload=payload)


def _sqlite(address: str, *, read_only: bool, busy_timeout_s: float) -> Database:
    from kobe.infra.records.ledger_sqlite import SqliteDatabase

    path = address.removeprefix("sqlite:///")
    if not path or "://" in path:
        raise ConfigError("the ledger's address has no path", seen="sqlite://", expected="sqlite:///PATH")
    return SqliteDatabase(Path(path), read_only=read_only, busy_timeout_s=busy_timeout_s)


def _postgres(address: str, *, read_only: bool, busy_timeout_s: float) -> Database:
    from kobe.infra.records.ledger_postgres import PostgresDatabase

    return PostgresDatabase(address, read_only=read_only, busy_timeout_s=busy_timeout_s)


DATABASES: dict[str, Callable[..., Database]] = {"sqlite": _sqlite, "postgresql": _postgres, "postgres": _postgres}
"""What an address may begin with."""


def _database(url_or_path: str | Path, *, read_only: bool, busy_timeout_s: float) -> Database:
    address = str(url_or_path)
    scheme = address.partition("://")[0] if "://" in address else "sqlite"
    if scheme not in DATABASES:  # the rest may hold a password
        raise ConfigError(
            "the ledger does not speak this database", seen=f"{scheme}://...",
            expected="a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        )  # fmt: skip
    return DATABASES[scheme](address, read_only=read_only, busy_timeout_s=busy_timeout_s)
