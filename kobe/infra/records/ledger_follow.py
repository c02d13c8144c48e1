"""The streams of a ledger that were asked for, followed: what was read of them is not read again.

Events never change, so a stream that was read once only grows. Whatever was appended since the last look, by whomever,
is read at once and added to the streams it belongs to; while nothing was, the database is asked for no more than that.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from kobe.infra.records import ledger_schema as schema
from kobe.infra.records.ledger_database import Database

if TYPE_CHECKING:
    from kobe.core.ports import Event

Key = tuple[str, str | None]
"""A stream, and one entity in it or None."""
_STREAMS = 64
_PAGE_ROWS = 5_000
_sequence = attrgetter("sequence")


class Followed:
    """The streams asked for last, a bounded number of them, all complete up to the same event."""

    def __init__(self, database: Database, read: Callable[[tuple[Any, ...]], "Event"]) -> None:
        """Nothing is read yet.

        Args:
            database: of the ledger.
            read: makes an event of a row.
        """
        self._database = database
        self._read = read
        self._known: OrderedDict[Key, list[Event]] = OrderedDict()
        self._stamp: object = None
        self._newest: tuple[Any, ...] | None = None
        self._lock = threading.RLock()

    def events(self, stream: str, entity: str | None, after: int) -> "list[Event]":
        """Return what is committed of a stream, or of an entity in it, oldest first and after a sequence."""
        with self._lock:
            self._catch_up()
            known = self._known.get((stream, entity))
            if known is not None:
                self._known.move_to_end((stream, entity))
                return known[bisect_right(known, after, key=_sequence) :] if after else known.copy()
            if after:  # whoever begins in the middle does not want the rest
                return [self._read(row) for row in self._database.rows(*asking(stream, entity, after))]
            return self._begun((stream, entity)).copy()

    def before(self, stream: str, entity: str | None) -> "list[Event]":
        """Return what was read of a stream so far, without looking for more."""
        with self._lock:
            return self._known.get((stream, entity), []).copy()

    def _begun(self, key: Key) -> "list[Event]":
        known = self._known[key] = [self._read(row) for row in self._database.rows(*asking(*key, 0))]
        while len(self._known) > _STREAMS:
            self._known.popitem(last=False)
        return known

    def _catch_up(self) -> None:
        """Read what was appended since the last look."""
        stamp = self._database.stamp()
        if stamp is not None and stamp == self._stamp:
            return
        if not self._known or not self._continued():
            self._known.clear()  # nothing is followed, or another ledger lies there now
            found = self._database.rows(schema.NEWEST, {})
            self._newest = found[0] if found else None
        self._stamp = stamp  # told before the rows were: at worst they are asked for once more

    def _continued(self) -> bool:
        """Add the new events to their streams; False where the event seen last is not there."""
        rest = [] if self._newest is None else [self._newest]  # the page begins with it
        while True:
            seen = rest[0][0] - 1 if rest else 0 if self._newest is None else self._newest[0]
            rows = self._database.rows(schema.PAGE, {"after": seen, "rows": _PAGE_ROWS})
            if rows[: len(rest)] != rest:
                return False
            for row in rows[len(rest) :]:
                self._add(row)
            self._newest = rows[-1] if rows else self._newest
            if len(rows) < _PAGE_ROWS:
                return True
            rest = []

    def _add(self, row: tuple[Any, ...]) -> None:
        streams = [known for key in ((row[1], None), (row[1], row[2])) if (known := self._known.get(key)) is not None]
        if streams:
            event = self._read(row)
            for known in streams:
                if not known or known[-1].sequence < event.sequence:  # it may have come with the whole stream
                    known.append(event)


def asking(stream: str, entity: str | None, after: int) -> tuple[str, dict[str, Any]]:
    """Return the statement, and its values, that asks for a stream or for one entity in it."""
    values: dict[str, Any] = {"stream": stream, "after": after}
    return (schema.OF_STREAM, values) if entity is None else (schema.OF_ENTITY, {**values, "entity": entity})
