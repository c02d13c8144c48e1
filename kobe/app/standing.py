"""How far each strategy is trusted, as its drift was judged and recorded: what scan and order ask."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date

from kobe.app.carry import carried
from kobe.app.context import Context
from kobe.core.errors import DataError
from kobe.core.ports import Event
from kobe.learning.drift_states import Level, Standing

STREAM, KIND = "drift", "state"


def states_at(ctx: Context, session: date) -> dict[str, str]:
    """Return the level of every strategy as of a session: that of its newest record up to it.

    A strategy without a record is not in the answer and trades as usual. A record that cannot be read is STAND_DOWN
    until a newer one can: an unknown state opens nothing.
    """
    return {name: standing.level.name for name, standing in standings(ctx, session).items()}


def standings(ctx: Context, session: date) -> dict[str, Standing]:
    """Return the newest recorded standing of every strategy up to a session."""
    told = {name: _newest(track, session) for name, track in sorted(_tracks(ctx).items())}
    return {name: _standing(ctx, event) for name, event in told.items() if event is not None}


@dataclass(slots=True)
class _Track:
    """The records of one strategy with their sessions; `in_order` while those only grow."""

    events: list[Event] = field(default_factory=list)
    days: list[date | None] = field(default_factory=list)
    in_order: bool = True

    def add(self, event: Event) -> None:
        day = _day(event)
        last = self.days[-1] if self.days else None
        self.in_order = self.in_order and day is not None and (last is None or last <= day)
        self.events.append(event)
        self.days.append(day)


def is_recorded(ctx: Context, strategy: str, session: date) -> bool:
    """Say whether a strategy's standing at a session is on record."""
    track = _tracks(ctx).get(strategy)
    return track is not None and session in track.days


def _tracks(ctx: Context) -> dict[str, _Track]:
    return carried(ctx, STREAM, dict[str, _Track], lambda tracks, e: tracks.setdefault(e.entity, _Track()).add(e))


def _newest(track: _Track, session: date) -> Event | None:
    if track.in_order:
        at = bisect_right(track.days, session)  # type: ignore[type-var]  # none is None while they are in order
        return track.events[at - 1] if at else None
    newest, found = date.min, None
    for event, day in zip(track.events, track.days, strict=True):
        if day is None or newest <= day <= session:
            newest, found = day or newest, event
    return found


def _day(event: Event) -> date | None:
    """Return a record's session, None when it cannot be read."""
    try:
        return date.fromisoformat(event.payload["session"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _standing(ctx: Context, event: Event) -> Standing:
    try:
        since = event.payload["since"]
        number = ctx.calendar.number(date.fromisoformat(since)) if since else 0
        level = Level[event.payload["state"]]
    except (KeyError, TypeError, ValueError, AttributeError, DataError):
        return Standing(level=Level.STAND_DOWN)
    return Standing(level=level, since=number) if _day(event) is not None else Standing(level=Level.STAND_DOWN)
