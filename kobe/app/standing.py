"""How far each strategy is trusted, as its drift was judged and recorded: what scan and order ask."""

from datetime import date

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
    found: dict[str, tuple[date, Standing]] = {}
    for event in ctx.ledger.events(STREAM):
        day, standing = _read(ctx, event)
        newest = found.get(event.entity, (date.min, Standing()))[0]
        if day is None or newest <= day <= session:
            found[event.entity] = (day or newest, standing)
    return {name: standing for name, (_, standing) in sorted(found.items())}


def _read(ctx: Context, event: Event) -> tuple[date | None, Standing]:
    """Return a record's session (None when it cannot be read) and standing."""
    day: date | None = None
    try:
        day = date.fromisoformat(event.payload["session"])
        since = event.payload["since"]
        number = ctx.calendar.number(date.fromisoformat(since)) if since else 0
        return day, Standing(level=Level[event.payload["state"]], since=number)
    except (KeyError, TypeError, ValueError, AttributeError, DataError):
        return day, Standing(level=Level.STAND_DOWN)
