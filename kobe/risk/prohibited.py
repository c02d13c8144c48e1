"""The prohibited list: symbols nobody may open, folded from what was put on it and taken off again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.ports import Event

STREAM = "prohibited"
ADD, REMOVE = "add", "remove"
KINDS = ("earnings", "news", "volatility", "manual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prohibition:
    """Why a symbol may not be opened, from an instant on and until another, which is not part of it."""

    symbol: str
    kind: str
    reason: str
    since: datetime
    until: datetime | None
    source: str

    def holds(self, now: datetime) -> bool:
        """Whether it is in force at an instant."""
        return self.since <= now and (self.until is None or now < self.until)

    def __str__(self) -> str:
        end = "until removed" if self.until is None else f"until {self.until.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET"
        return f"{self.kind}: {self.reason} ({end}, {self.source})"


Listed = dict[str, tuple[Prohibition, ...] | None]
"""Symbol -> what is on the list for it, ended entries included; None when an entry cannot be read."""


def fold(events: Iterable[Event]) -> Listed:
    """Return the list after these events; a removal clears a symbol, what could not be read included."""
    listed: Listed = {}
    for event in events:
        if event.kind == REMOVE:
            listed[event.entity] = ()
            continue
        known, entry = listed.get(event.entity, ()), read(event)
        listed[event.entity] = None if known is None or entry is None else (*known, entry)
        if entry is None and isinstance(event.payload, Mapping) and isinstance(event.payload.get("symbol"), str):
            listed[event.payload["symbol"]] = None
    return listed


def active(listed: Listed, symbol: str, now: datetime) -> tuple[str, ...] | None:
    """Return the reasons in force for a symbol at an instant; None when nobody can say."""
    entries = listed.get(symbol, ())
    return None if entries is None else tuple(str(e) for e in entries if e.holds(now))


def read(event: Event) -> Prohibition | None:
    """Return the entry an event adds, or None when it cannot be read."""
    said = event.payload
    if not isinstance(said, Mapping) or event.kind != ADD:
        return None
    symbol, kind, reason = said.get("symbol"), said.get("kind"), said.get("reason")
    if symbol != event.entity or kind not in KINDS or not isinstance(reason, str):
        return None
    try:
        since = from_ns(event.at_ns) if said.get("from") is None else instant(said["from"])
        until = None if said.get("until") is None else instant(said["until"])
    except (ValueError, TypeError, OverflowError):
        return None
    return Prohibition(
        symbol=event.entity, kind=str(kind), reason=reason, since=since, until=until, source=str(said.get("source", ""))
    )


def instant(text: str) -> datetime:
    """Read an instant, or a date, which is its midnight; both are New York's where no offset is given.

    Raises:
        ValueError, TypeError: it is neither.
    """
    day_only = len(text) == len("2020-03-05")
    found = datetime.combine(date.fromisoformat(text), time()) if day_only else datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=NEW_YORK)).astimezone(UTC)
