"""The system's mode as a fold over what operators and checks have said."""

from collections.abc import Iterable

from kobe.core.ports import Event
from kobe.core.types import Mode

STREAM = "mode"


def current(events: Iterable[Event]) -> tuple[Mode, str]:
    """Return the strictest mode in force and who asked for it; each source's latest word counts.

    A mode that cannot be read is HALT: an unknown state never trades.
    """
    latest = {e.entity: e for e in events}
    mode, why = Mode.NORMAL, ""
    for source, event in sorted(latest.items()):
        said = Mode.__members__.get(str(event.payload.get("mode")), Mode.HALT)
        if said > mode:
            mode, why = said, f"{source}: {event.payload.get('reason', '')}"
    return mode, why
