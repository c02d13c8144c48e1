"""Streams of the ledger folded once per context and carried on: what was read before is not read again."""

from collections.abc import Callable
from typing import TypeVar

from kobe.app.context import Context
from kobe.core.ports import Event

T = TypeVar("T")


def carried(ctx: Context, stream: str, begin: Callable[[], T], add: Callable[[T, Event], None]) -> T:
    """Return what `add` makes of a stream's events, oldest first, beginning with `begin()`; treat it as read-only.

    Where the events are not those of the last time and more, as after a transaction was undone, it begins anew.

    Args:
        ctx: context; what was made is kept with it.
        stream: of the ledger; one fold is kept of each.
        begin: makes what there is before the first event.
        add: adds one event to it, in place.
    """
    kept: dict[str, tuple[list[Event], T]] = ctx.__dict__.setdefault("_carried", {})
    events = ctx.ledger.events(stream)
    before, made = kept.pop(stream, ([], None))
    if made is None or events[: len(before)] != before:
        before, made = [], begin()
    for event in events[len(before) :]:
        add(made, event)
    kept[stream] = events, made
    return made
