"""The outbox's file: one row for each message and channel, each change durable before the next step is taken.

A delivery's life: waiting -> sending -> sent, or dead; a dead one is sent again or dropped by a person; one that went
into a digest is folded, and its fate is the digest's.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from kobe.core.clock import from_ns
from kobe.core.errors import ExternalError, IntegrityError, KobeError
from kobe.core.messages import Message, Severity
from kobe.infra import durable, file_lock

VERSION = 1
BUSY_S = 10.0
_SCHEMA = (
    """CREATE TABLE messages (key TEXT PRIMARY KEY, kind TEXT NOT NULL, severity INTEGER NOT NULL, title TEXT NOT NULL,
       lines TEXT NOT NULL, picture BLOB, alt TEXT NOT NULL, told_ns INTEGER NOT NULL)""",
    """CREATE TABLE deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL REFERENCES messages (key),
       channel TEXT NOT NULL, state TEXT NOT NULL, parts_done INTEGER NOT NULL DEFAULT 0,
       tries INTEGER NOT NULL DEFAULT 0, due_ns INTEGER NOT NULL, since_ns INTEGER NOT NULL,
       changed_ns INTEGER NOT NULL, collected INTEGER NOT NULL DEFAULT 0, at_once INTEGER NOT NULL DEFAULT 0,
       again INTEGER NOT NULL DEFAULT 0, inside TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '',
       UNIQUE (key, channel))""",
    "CREATE INDEX deliveries_open ON deliveries (channel, due_ns) WHERE state IN ('waiting', 'sending', 'dead')",
    """CREATE TABLE channels (name TEXT PRIMARY KEY, failures INTEGER NOT NULL, held_ns INTEGER NOT NULL,
       why TEXT NOT NULL)""",
    "CREATE TABLE failures (channel TEXT NOT NULL, at_ns INTEGER NOT NULL)",
    f"PRAGMA user_version = {VERSION}",
)
_ROW = """SELECT d.id, d.key, d.channel, d.state, d.parts_done, d.tries, d.due_ns, d.since_ns, d.changed_ns,
    d.collected, d.again, d.inside, d.why, m.kind, m.severity, m.title, m.lines, m.picture, m.alt
    FROM deliveries d JOIN messages m ON m.key = d.key """


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    FOLDED = "folded"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one channel."""

    id: int
    channel: str
    state: State
    message: Message
    parts_done: int
    tries: int
    due: datetime
    since: datetime
    changed: datetime
    collected: bool
    again: bool
    inside: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a channel has been answering: failures in a row, and until when it is left alone and why."""

    failures: int = 0
    held_ns: int = 0
    why: str = ""


class OutboxStore:
    """Opens the file for each piece of work and closes it again, so that nothing is held while a service is slow."""

    def __init__(self, path: Path) -> None:
        """Nothing is made before the first use."""
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.is_file()

    @contextmanager
    def work(self) -> Iterator["Outgoing"]:
        """Do some reading or writing as one transaction, on the disk when the block ends.

        Raises:
            ConfigError: the folder cannot be written.
            ExternalError: another process holds the file too long, or the disk is full.
            IntegrityError: the file is damaged or another program's.
        """
        try:
            with closing(self._connected()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield Outgoing(connection)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _fault(error, self.path) from error

    def _connected(self) -> sqlite3.Connection:
        if not self.path.is_file():
            self._make()
        connection = self._opened()
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                connection.close()
                self._make()
                connection = self._opened()
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        try:
            for pragma in ("synchronous=FULL", "fullfsync=ON", "trusted_schema=OFF", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """Make the file, one process at a time: two that switch it to WAL refuse each other."""
        try:
            durable.make_folder(self.path.parent)
            lock = self.path.with_name(f"{self.path.name}.lock")
            with file_lock.held(lock, BUSY_S), closing(self._opened()) as connection:
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                if found not in (0, VERSION):
                    raise IntegrityError("the outbox was written by another version of kobe", seen=found,
                                         expected=VERSION)  # fmt: skip
                connection.execute("PRAGMA journal_mode=WAL")
                if found == 0:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute("COMMIT")
        except file_lock.Busy as error:
            raise ExternalError("another process holds the outbox", seen=self.path, retryable=True) from error
        except OSError as error:
            raise durable.fault(error, self.path) from error


class Outgoing:
    """What can be asked and changed within one transaction; instants are nanoseconds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def keep(self, message: Message, now_ns: int) -> bool:
        """Write a message down; False when its key is known."""
        found = self._run(
            """INSERT INTO messages VALUES (:key, :kind, :severity, :title, :lines, :picture, :alt, :now)
               ON CONFLICT (key) DO NOTHING RETURNING key""",
            key=message.key, kind=message.kind, severity=int(message.severity), title=message.title,
            lines=json.dumps(message.lines), picture=message.picture, alt=message.picture_alt, now=now_ns,
        )  # fmt: skip
        return bool(found)

    def address(
        self, key: str, channel: str, now_ns: int, *, due_ns: int, collected: bool = False, at_once: bool = False
    ) -> None:
        """Let a message wait for a channel."""
        self._run(
            """INSERT INTO deliveries (key, channel, state, due_ns, since_ns, changed_ns, collected, at_once)
               VALUES (:key, :channel, 'waiting', :due, :now, :now, :collected, :at_once)""",
            key=key, channel=channel, due=due_ns, now=now_ns, collected=collected, at_once=at_once,
        )  # fmt: skip

    def digest_due(self, channel: str) -> int | None:
        """Return when the digest that is being collected leaves, None when none is."""
        asked = "SELECT MIN(due_ns) FROM deliveries WHERE channel = :c AND collected AND state = 'waiting'"
        due = self._run(asked, c=channel)[0][0]
        return None if due is None else int(due)

    def collected(self, channel: str, now_ns: int) -> list[Delivery]:
        """Return what goes into the digest once it is due, oldest first."""
        due = self.digest_due(channel)
        if due is None or due > now_ns:
            return []
        return self._rows("WHERE d.channel = :c AND d.collected AND d.state = 'waiting' ORDER BY d.id", c=channel)

    def fold(self, members: Sequence[Delivery], digest: Message, now_ns: int) -> None:
        """Put one message in the place of several, all or nothing."""
        channel = members[0].channel
        self.keep(digest, now_ns)
        self.address(digest.key, channel, now_ns, due_ns=now_ns)
        for m in members:
            self.change(m.id, now_ns, state=State.FOLDED, inside=digest.key)

    def next_due(self, channel: str, now_ns: int, *, least: Severity) -> Delivery | None:
        """Return what a channel sends next: the most severe, then the oldest; what is below `least` waits."""
        found = self._rows(
            """WHERE d.channel = :c AND d.state = 'waiting' AND d.due_ns <= :now AND (m.severity >= :least OR d.at_once)
               ORDER BY m.severity DESC, d.id LIMIT 1""",
            c=channel, now=now_ns, least=int(least),
        )  # fmt: skip
        return found[0] if found else None

    def of_state(self, *states: State) -> list[Delivery]:
        """Return the deliveries of some states, oldest first."""
        named = ", ".join(f"'{state.value}'" for state in states)
        return self._rows(f"WHERE d.state IN ({named}) ORDER BY d.id")

    def of_key(self, key: str) -> list[Delivery]:
        """Return the deliveries of one message."""
        return self._rows("WHERE d.key = :key ORDER BY d.id", key=key)

    def change(self, delivery_id: int, now_ns: int, **columns: Any) -> None:
        """Write how a delivery stands now; names are the columns'."""
        told = ", ".join(f"{name} = :{name}" for name in columns)
        self._run(f"UPDATE deliveries SET {told}, changed_ns = :now WHERE id = :id",  # noqa: S608 - our own names
                  id=delivery_id, now=now_ns, **columns)  # fmt: skip

    def counts(self) -> dict[tuple[str, State], int]:
        """Return how many deliveries each channel has in each state."""
        asked = "SELECT channel, state, COUNT(*) FROM deliveries GROUP BY channel, state"
        return {(channel, State(state)): int(n) for channel, state, n in self._run(asked)}

    def count(self, *states: State) -> int:
        """Return how many deliveries are in some states, of every channel."""
        return sum(n for (_, state), n in self.counts().items() if state in states)

    def is_due(self, now_ns: int) -> bool:
        """Whether anything could be sent, or was left in the air by a process that died."""
        asked = "SELECT 1 FROM deliveries WHERE state = 'sending' OR (state = 'waiting' AND due_ns <= :now) LIMIT 1"
        return bool(self._run(asked, now=now_ns))

    def told(self) -> int:
        """Return how many messages are kept."""
        return int(self._run("SELECT COUNT(*) FROM messages")[0][0])

    def latest(self, count: int) -> list[tuple[datetime, Message]]:
        """Return the newest messages, without their pictures."""
        asked = """SELECT told_ns, key, kind, severity, title, lines, NULL, alt FROM messages WHERE title != ''
                   ORDER BY told_ns DESC, rowid DESC LIMIT :count"""
        return [(from_ns(told_ns), _message(*rest)) for told_ns, *rest in self._run(asked, count=count)]

    def health(self, channel: str) -> Health:
        """Return how a channel has been answering."""
        found = self._run("SELECT failures, held_ns, why FROM channels WHERE name = :c", c=channel)
        return Health(failures=found[0][0], held_ns=found[0][1], why=found[0][2]) if found else Health()

    def set_health(self, channel: str, health: Health) -> None:
        """Write how a channel has been answering."""
        self._run(
            """INSERT INTO channels VALUES (:c, :failures, :held, :why)
               ON CONFLICT (name) DO UPDATE SET failures = :failures, held_ns = :held, why = :why""",
            c=channel, failures=health.failures, held=health.held_ns, why=health.why,
        )  # fmt: skip

    def failed(self, channel: str, now_ns: int) -> None:
        """Count a failure against the budget."""
        self._run("INSERT INTO failures VALUES (:c, :now)", c=channel, now=now_ns)

    def failures_since(self, channel: str, since_ns: int) -> int:
        """Return how many attempts of a channel failed since an instant."""
        asked = "SELECT COUNT(*) FROM failures WHERE channel = :c AND at_ns > :since"
        return int(self._run(asked, c=channel, since=since_ns)[0][0])

    def prune(self, *, settled_before_ns: int, keys_before_ns: int, failures_before_ns: int) -> None:
        """Empty settled messages after their time; their keys stay longer, so that none is told again."""
        self._run("DELETE FROM failures WHERE at_ns < :at", at=failures_before_ns)
        self._run(
            """DELETE FROM deliveries WHERE changed_ns < :at AND (state IN ('sent', 'dropped') OR (state = 'folded'
               AND inside NOT IN (SELECT key FROM deliveries WHERE state IN ('waiting', 'sending', 'dead'))))""",
            at=settled_before_ns,
        )
        self._run(
            """UPDATE messages SET title = '', lines = '[]', picture = NULL, alt = '' WHERE told_ns < :at
               AND title != '' AND key NOT IN (SELECT key FROM deliveries)""",
            at=settled_before_ns,
        )
        self._run("DELETE FROM messages WHERE told_ns < :at AND key NOT IN (SELECT key FROM deliveries)",
                  at=keys_before_ns)  # fmt: skip
        self._run(
            """UPDATE messages SET picture = NULL WHERE picture IS NOT NULL AND key NOT IN
               (SELECT key FROM deliveries WHERE state NOT IN ('sent', 'dropped', 'folded'))"""
        )

    def _rows(self, where: str, **values: Any) -> list[Delivery]:
        return [
            Delivery(
                id=i, channel=channel, state=State(state), message=_message(key, *rest), parts_done=done, tries=tries,
                due=from_ns(due), since=from_ns(since), changed=from_ns(changed), collected=bool(collected),
                again=bool(again), inside=inside, why=why,
            )
            for i, key, channel, state, done, tries, due, since, changed, collected, again, inside, why, *rest
            in self._run(_ROW + where, **values)
        ]  # fmt: skip


def _message(
    key: str, kind: str, severity: int, title: str, lines: str, picture: bytes | None, alt: str
) -> Message:  # fmt: skip
    return Message(key=key, kind=kind, severity=Severity(severity), title=title, lines=tuple(json.loads(lines)),
                   picture=picture, picture_alt=alt)  # fmt: skip


def _fault(error: sqlite3.Error, path: Path) -> KobeError:
    """Say what SQLite refused as one of our errors."""
    code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
    seen = f"{path.name}: {error}"
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return IntegrityError("the outbox is damaged", seen=seen, expected="move it away; a new one is made")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return ExternalError("another process holds the outbox", seen=seen, retryable=True)
    if code == sqlite3.SQLITE_FULL:
        return ExternalError("the disk is full", seen=seen, next_command="kobe doctor", retryable=True)
    return ExternalError("the outbox cannot be used", seen=seen, next_command="kobe doctor")
