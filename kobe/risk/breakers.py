"""Circuit breakers (DOMAIN 4.7): what trips them, and how one comes back.

    CLOSED --tripped--> OPEN --next session, or an operator's reset--> HALF_OPEN --its probe filled--> CLOSED
                         ^------------- tripped by something new ---------'

OPEN refuses openings. HALF_OPEN lets exactly one opening through, at half size: the probe. The same evidence never
trips twice: four lost trades trip once, a fifth trips again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from kobe.core.clock import from_ns
from kobe.core.ports import Event
from kobe.risk.answers import known

STREAM = "breakers"
TRIPPED, HALF_OPEN, RESET, PROBE, UNFILLED, CLOSED = "tripped", "half_open", "reset", "probe", "unfilled", "closed"
HALF = Decimal("0.5")


class Status(StrEnum):
    """Whether openings pass."""

    CLOSED = "CLOSED"
    HALF_OPEN = "HALF_OPEN"
    OPEN = "OPEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """What trips a breaker; the settings of the same names."""

    daily_loss: Decimal = Decimal("0.04")
    losing_streak: int = 4
    errors: int = 5
    errors_window_s: float = 600.0
    rejects_of_last: int = 6
    reject_rate: float = 0.5
    stale_sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerFacts:
    """What the breakers look at. What is not known trips none of them: the gates refuse it by themselves.

    Attributes:
        now: instant.
        session: the session of today, or the last one before it.
        equity_usd, last_equity_usd: now, and at the close before with money moved since then included.
        trades: (signal id, net dollars) of closed trades, oldest first; at least as many of the newest as are judged.
        errors: instants of broker and data errors.
        orders: (client order id, whether the broker rejected it), oldest first; as many of the newest likewise.
        sessions_behind: how many sessions the newest bar is older than the last complete session.
        differences: between our books and the broker's; None when they were not compared.
        probes: client order id -> whether anything of it filled; None while it is open. Missing ones are open.
    """

    now: datetime
    session: date
    equity_usd: Decimal | None = None
    last_equity_usd: Decimal | None = None
    trades: tuple[tuple[str, Decimal], ...] = ()
    errors: tuple[datetime, ...] = ()
    orders: tuple[tuple[str, bool], ...] = ()
    sessions_behind: int | None = None
    differences: tuple[str, ...] | None = None
    probes: Mapping[str, bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Why a breaker trips; `evidence` names what did it, empty for a fault that is there as long as it is seen."""

    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """Where one breaker stands, since when and why; `count` events have made it so."""

    name: str
    status: Status = Status.CLOSED
    since: datetime | None = None
    session: date | None = None
    reason: str = ""
    evidence: str = ""
    probe: str | None = None
    count: int = 0


def daily_loss(facts: BreakerFacts, limits: BreakerLimits, last: str) -> Trip | None:
    """Trip when the day's loss, open positions included, reaches its bound; again at each further multiple of it."""
    equity, before = facts.equity_usd, facts.last_equity_usd
    if not known(equity) or not known(before) or before <= 0 or before - equity < limits.daily_loss * before:
        return None
    steps = int((before - equity) // (limits.daily_loss * before))
    day, _, told = last.rpartition(":")
    if day == facts.session.isoformat() and told.isdecimal() and steps <= int(told):
        return None
    share = (before - equity) / before
    return Trip(reason=f"lost {share:.2%} since the last close", evidence=f"{facts.session.isoformat()}:{steps}")


def losing_streak(facts: BreakerFacts, limits: BreakerLimits, last: str) -> Trip | None:
    """Trip when the newest closed trades in a row lost money."""
    newest = facts.trades[-limits.losing_streak :]
    if len(newest) < limits.losing_streak or any(net >= 0 for _, net in newest) or newest[-1][0] == last:
        return None
    return Trip(reason=f"the last {limits.losing_streak} trades lost", evidence=newest[-1][0])


def error_rate(facts: BreakerFacts, limits: BreakerLimits, last: str) -> Trip | None:
    """Trip when broker and data errors come too fast."""
    window = timedelta(seconds=limits.errors_window_s)
    recent = sorted(at for at in facts.errors if facts.now - window <= at <= facts.now)
    if len(recent) < limits.errors or f"{len(facts.errors)}@{recent[-1].isoformat()}" == last:
        return None
    reason = f"{len(recent)} errors in {limits.errors_window_s:g} s"
    return Trip(reason=reason, evidence=f"{len(facts.errors)}@{recent[-1].isoformat()}")


def reject_rate(facts: BreakerFacts, limits: BreakerLimits, last: str) -> Trip | None:
    """Trip when the broker rejected too many of the last orders; orders never sent count as accepted ones."""
    newest = facts.orders[-limits.rejects_of_last :]
    rejected = [name for name, was in newest if was]
    most = Decimal(str(limits.reject_rate)) * limits.rejects_of_last
    if len(rejected) <= most or rejected[-1] == last:
        return None
    return Trip(reason=f"{len(rejected)} of the last {limits.rejects_of_last} orders rejected", evidence=rejected[-1])


def stale_data(facts: BreakerFacts, limits: BreakerLimits, _last: str) -> Trip | None:
    """Trip while the newest bar is too old."""
    if facts.sessions_behind is None or facts.sessions_behind <= limits.stale_sessions:
        return None
    return Trip(reason=f"sessions the newest bar is behind: {facts.sessions_behind}")


def mismatch(facts: BreakerFacts, _limits: BreakerLimits, _last: str) -> Trip | None:
    """Trip while our books and the broker's differ."""
    if not facts.differences:
        return None
    more = f", and {len(facts.differences) - 1} more" if len(facts.differences) > 1 else ""
    return Trip(reason=f"the books differ from the broker's: {facts.differences[0]}{more}")


Breaker = Callable[[BreakerFacts, BreakerLimits, str], Trip | None]
BREAKERS: dict[str, Breaker] = {
    "daily_loss": daily_loss,
    "losing_streak": losing_streak,
    "error_rate": error_rate,
    "reject_rate": reject_rate,
    "stale_data": stale_data,
    "mismatch": mismatch,
}
"""Name -> why it trips on some facts, given the evidence of its last trip; one line adds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next event of a breaker."""

    kind: str
    payload: dict[str, str]


def step(state: BreakerState, facts: BreakerFacts, limits: BreakerLimits) -> Step | None:
    """Return what happens next to a breaker, or None; ask again after each until nothing does."""
    if state.status is Status.OPEN:
        if state.session is not None and facts.session > state.session:
            return _said(HALF_OPEN, facts, "a new session", "session")
        return None
    rule = BREAKERS.get(state.name)
    trip = None if rule is None else rule(facts, limits, state.evidence)
    if trip is not None:
        told = _said(TRIPPED, facts, trip.reason, "rule")
        return Step(kind=TRIPPED, payload={**told.payload, "evidence": trip.evidence})
    if state.status is Status.HALF_OPEN and state.probe is not None:
        filled = facts.probes.get(state.probe)
        if filled is not None:
            kind, why = (CLOSED, "the probe filled") if filled else (UNFILLED, "the probe filled nothing")
            return _said(kind, facts, why, "probe")
    return None


def _said(kind: str, facts: BreakerFacts, reason: str, by: str) -> Step:
    return Step(kind=kind, payload={"session": facts.session.isoformat(), "reason": reason, "by": by})


def none_tripped() -> dict[str, BreakerState]:
    """Return every breaker as it is before its first event."""
    return {name: BreakerState(name=name) for name in BREAKERS}


def apply(states: dict[str, BreakerState], event: Event) -> None:
    """Add one event to the states; a breaker whose record cannot be read is OPEN, and only a reset changes that."""
    before = states.get(event.entity, BreakerState(name=event.entity))
    states[event.entity] = replace(_applied(before, event), count=before.count + 1)


def fold(events: Iterable[Event]) -> dict[str, BreakerState]:
    """Return every breaker's state after some events, oldest first."""
    states = none_tripped()
    for event in events:
        apply(states, event)
    return states


def _applied(state: BreakerState, event: Event) -> BreakerState:
    said = event.payload
    try:
        session, reason = date.fromisoformat(said["session"]), str(said["reason"])
        told = replace(state, since=from_ns(event.at_ns), session=session, reason=reason, probe=None)
        if event.kind == TRIPPED:
            return replace(told, status=Status.OPEN, evidence=str(said["evidence"]))
        if event.kind == PROBE:
            return replace(told, status=Status.HALF_OPEN, probe=str(said["client_order_id"]))
        if event.kind in (HALF_OPEN, RESET, UNFILLED):
            return replace(told, status=Status.HALF_OPEN)
        if event.kind == CLOSED:
            return replace(told, status=Status.CLOSED)
    except (KeyError, TypeError, ValueError):
        pass
    why = f"event {event.sequence} cannot be read"
    return replace(state, status=Status.OPEN, since=from_ns(event.at_ns), session=None, reason=why, probe=None)


def refusals(states: Mapping[str, BreakerState]) -> dict[str, str]:
    """Return why each breaker refuses openings: it is open, or its one probe is on its way."""
    told = {s.name: s.reason for s in states.values() if s.status is Status.OPEN}
    waiting = {s.name: f"its probe {s.probe} is on its way" for s in states.values() if s.probe is not None}
    return told | waiting


def factor(states: Mapping[str, BreakerState]) -> Decimal:
    """Return the share of a normal size: a half unless all are closed. While one is open its gate refuses any size."""
    return Decimal(1) if all(s.status is Status.CLOSED for s in states.values()) else HALF
