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
    last, made = kept.pop(stream, ([], None))
    events = ctx.ledger.events(stream, after=last[0].sequence - 1 if last else 0)
    if made is not None and events[:1] == last:
        events = events[len(last) :]
    else:
        events, last, made = ctx.ledger.events(stream), [], begin()
    for event in events:
        add(made, event)
    kept[stream] = events[-1:] or last, made
    return made
