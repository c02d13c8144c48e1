"""The system's mode as a fold over what operators and checks have said: the strictest word wins.

Each source may only take its own word back, so that another source can make things stricter and never looser.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from kobe.core.clock import from_ns
from kobe.core.ports import Event
from kobe.core.types import Mode

STREAM = "mode"
HALF = Decimal("0.5")
"""Of normal risk, where a REDUCED word does not say how much."""
OPERATOR, DRAWDOWN_DAY, DRAWDOWN_MONTH = "operator", "drawdown_day", "drawdown_month"

LIFTED_BY: dict[str, str] = {
    OPERATOR: "kobe mode set NORMAL --reason WHY",
    "reconcile": "kobe reconcile",
    "broker": "kobe reconcile",
    "calendar": "kobe reconcile",
    "comparison": "kobe reconcile",
    DRAWDOWN_DAY: "kobe limits reset drawdown_day --reason WHY",
    DRAWDOWN_MONTH: "kobe limits reset drawdown_month --reason WHY",
    "breakers": "kobe limits breakers",
    "drift": "kobe drift",
    "corporate_actions": "kobe jobs run holdings --again",
    "kill_switch": "kobe resume",
    "runner": "kobe jobs history --failed",
}
"""Source -> the command that makes it speak again."""


class Reason(NamedTuple):
    """What one source wants; only words stricter than NORMAL are kept."""

    source: str
    mode: Mode
    reason: str
    since: datetime
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the system may do.

    Attributes:
        mode: the strictest that any source wants.
        factor: share of a normal size, the smallest that any REDUCED word asks for, else 1; a stricter mode refuses
            openings of any size by its gate.
        reasons: every source that holds something back, sorted.
    """

    mode: Mode
    factor: Decimal
    reasons: tuple[Reason, ...]

    @property
    def why(self) -> str:
        """Who asked for this mode, in one line; empty in NORMAL."""
        told = (f"{r.source}: {r.reason}" for r in self.reasons if r.mode is self.mode)
        return " ".join("; ".join(told).split())


NORMAL = State(mode=Mode.NORMAL, factor=Decimal(1), reasons=())


def strictest(one: State, other: State) -> State:
    """Combine two states: the stricter mode, the smaller factor, everybody's reasons."""
    reasons = tuple(sorted({*one.reasons, *other.reasons}))
    return State(mode=max(one.mode, other.mode), factor=min(one.factor, other.factor), reasons=reasons)


def current(events: Iterable[Event]) -> State:
    """Return what may be done after these events; each source's latest word counts, an unreadable one is HALT."""
    state = NORMAL
    for event in {e.entity: e for e in events}.values():
        state = strictest(state, word(event))
    return state


def word(event: Event) -> State:
    """Return the state one source wants by itself."""
    wanted, factor, reason = _read(event.payload)
    if wanted is Mode.NORMAL:
        return NORMAL
    told = Reason(event.entity, wanted, reason, from_ns(event.at_ns), factor)
    return State(mode=wanted, factor=factor, reasons=(told,))


def _read(payload: object) -> tuple[Mode, Decimal, str]:
    said: Mapping[str, object] = payload if isinstance(payload, Mapping) else {}
    name = said.get("mode")
    wanted = Mode.__members__.get(name) if isinstance(name, str) else None
    if wanted is None:
        return Mode.HALT, Decimal(1), f"a word that cannot be read: {name!r}"
    reason = str(said.get("reason") or "")
    if wanted is not Mode.REDUCED:
        return wanted, Decimal(1), reason
    factor = _factor(said.get("factor"))
    if factor is None:
        return Mode.HALT, Decimal(1), f"a factor that cannot be read: {said.get('factor')!r}"
    return wanted, factor, reason


def _factor(said: object) -> Decimal | None:
    if said is None:
        return HALF
    try:
        factor = Decimal(str(said))
    except InvalidOperation:
        return None
    return factor if factor.is_finite() and 0 < factor <= 1 else None
