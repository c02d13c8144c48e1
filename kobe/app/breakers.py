"""Circuit breakers at work: what they look at, what they remember, and the way back."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from heapq import nlargest
from itertools import islice
from operator import attrgetter

from kobe.app.carry import carried
from kobe.app.context import Context
from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.errors import UsageError
from kobe.core.types import Order, OrderStatus, Trade
from kobe.reports.document import Document, Section, Table
from kobe.risk import breakers
from kobe.risk.breakers import STREAM, BreakerFacts, BreakerLimits, BreakerState, Status
from kobe.risk.mode import DRAWDOWN_DAY, DRAWDOWN_MONTH

INCIDENTS, ERROR = "incidents", "error"
SHOWN_CHARACTERS = 300
OPERATOR = "operator"


def states(ctx: Context) -> dict[str, BreakerState]:
    """Return where every breaker stands."""
    known: dict[str, BreakerState] = carried(ctx, STREAM, breakers.none_tripped, breakers.apply)
    return dict(known)


def open_breakers(ctx: Context) -> dict[str, str]:
    """Return why each breaker refuses openings now; empty when none does."""
    return breakers.refusals(states(ctx))


def factor(ctx: Context) -> Decimal:
    """Return the share of a normal size that the breakers allow: a half until all are closed."""
    return breakers.factor(states(ctx))


def collect(
    ctx: Context,
    *,
    equity_usd: Decimal | None,
    last_equity_usd: Decimal | None,
    trades: Sequence[Trade],
    orders: dict[str, Order],
    newest: date | None,
    differences: Sequence[str] | None,
) -> BreakerFacts:
    """Gather what the breakers look at; call it with the order desk's lease, so that a missing probe was never sent.

    Args:
        ctx: context.
        equity_usd: of the account now.
        last_equity_usd: at the close before, money moved since then included.
        trades: closed ones, in any order.
        orders: all by client order id, oldest first.
        newest: session of the newest bar, None when there is none.
        differences: between our books and the broker's, None when nobody compared.
    """
    now = ctx.clock.now()
    bounds = limits(ctx)
    closed = nlargest(bounds.losing_streak, reversed(trades), key=attrgetter("closed", "signal_id"))[::-1]
    last = list(islice(reversed(orders.values()), bounds.rejects_of_last))[::-1]
    probes = {s.probe: _filled(orders.get(s.probe)) for s in states(ctx).values() if s.probe is not None}
    due = ctx.calendar.number(ctx.calendar.last_complete(now))
    return BreakerFacts(
        now=now,
        session=ctx.calendar.previous_or_same(ctx.today),
        equity_usd=equity_usd,
        last_equity_usd=last_equity_usd,
        trades=tuple((t.signal_id, t.net_usd) for t in closed),
        errors=tuple(from_ns(e.at_ns) for e in ctx.ledger.events(INCIDENTS, entity=ERROR)),
        orders=tuple((o.request.client_order_id, o.status is OrderStatus.REJECTED) for o in last),
        sessions_behind=None if newest is None else max(due - ctx.calendar.number(newest), 0),
        differences=None if differences is None else tuple(differences),
        probes=probes,
    )


def _filled(order: Order | None) -> bool | None:
    if order is None:
        return False
    return True if order.filled else False if order.status.is_final else None


def limits(ctx: Context) -> BreakerLimits:
    """Return what trips a breaker, as it is set."""
    return BreakerLimits(**ctx.settings.breakers.model_dump())


def watch(ctx: Context, facts: BreakerFacts) -> list[BreakerState]:
    """Trip, half-open and close what these facts ask for, and return every breaker's state; asked again, no change."""
    bounds = limits(ctx)
    before = states(ctx)
    if all(breakers.step(s, facts, bounds) is None for s in before.values()):
        return list(before.values())
    done = []
    with ctx.ledger.exclusive():
        for name in before:
            while (following := breakers.step(states(ctx)[name], facts, bounds)) is not None:
                _append(ctx, states(ctx)[name], following.kind, following.payload)
                done.append((following.kind, {"breaker": name, **following.payload}))
    for kind, payload in done:
        ctx.audit.append("breaker", {"what": kind, **payload})
    return list(states(ctx).values())


def _append(ctx: Context, state: BreakerState, kind: str, payload: dict[str, str]) -> None:
    key = f"{state.name}:{payload['session']}:{state.count + 1}"
    ctx.ledger.append(STREAM, state.name, kind, payload, key=key)


def note_error(ctx: Context, what: str) -> None:
    """Remember a broker or data error for the error rate."""
    with ctx.ledger.exclusive():
        count = len(ctx.ledger.events(INCIDENTS, entity=ERROR))
        payload = {"what": " ".join(what.split())[:SHOWN_CHARACTERS]}
        ctx.ledger.append(INCIDENTS, ERROR, ERROR, payload, key=f"{ERROR}:{count + 1}")


def note_probe(ctx: Context, client_order_id: str) -> None:
    """Record an opening as the probe of every half-open breaker; call it right before the order is sent."""
    session = ctx.calendar.previous_or_same(ctx.today).isoformat()
    payload = {"session": session, "reason": "its probe was sent", "by": "desk", "client_order_id": client_order_id}
    with ctx.ledger.exclusive():
        for state in states(ctx).values():
            if state.status is Status.HALF_OPEN and state.probe is None:
                _append(ctx, state, breakers.PROBE, payload)


def run_breakers_show(ctx: Context) -> Document:
    """Show every breaker: its state, since when and why."""
    found = states(ctx)
    rows = tuple(
        (s.name, s.status.value, "" if s.since is None else f"{s.since.astimezone(NEW_YORK):%Y-%m-%d %H:%M}",
         s.reason if s.probe is None else f"{s.reason}: {s.probe}")
        for s in found.values()
    )  # fmt: skip
    told = [f"{name} refuses openings: {why}" for name, why in breakers.refusals(found).items()]
    half = [s.name for s in found.values() if s.status is Status.HALF_OPEN and s.probe is None]
    told += [f"{name} is half open: one opening at half size, the probe" for name in half]
    columns = ("breaker", "state", "since (ET)", "why")
    return Document(
        schema="kobe.breakers/1",
        title="Circuit breakers",
        summary=tuple(told) or ("all closed",),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"breakers": [_line(s) for s in found.values()], "factor": str(breakers.factor(found))},
    )


def _line(s: BreakerState) -> dict[str, str | None]:
    since = None if s.since is None else s.since.isoformat()
    return {"name": s.name, "state": s.status.value, "since": since, "reason": s.reason, "probe": s.probe}


def run_breakers_reset(ctx: Context, name: str, reason: str, *, dry_run: bool = False) -> Document:
    """Half-open a breaker by hand: one opening at half size may go. What is still wrong trips it again.

    Raises:
        UsageError: there is no such breaker, or no reason was given.
    """
    found = states(ctx)
    if name not in found:
        names = ", ".join([*found, DRAWDOWN_DAY, DRAWDOWN_MONTH])
        raise UsageError("no such breaker", seen=name, expected=names, next_command="kobe limits breakers")
    text = " ".join(reason.split())
    if not text:
        raise UsageError("a reset needs a reason", expected="--reason WHY")
    if found[name].status is not Status.OPEN:
        return _said(name, f"{name} is {found[name].status.value}: nothing to reset", dry_run=dry_run)
    if not dry_run:
        session = ctx.calendar.previous_or_same(ctx.today).isoformat()
        payload = {"session": session, "reason": text, "by": OPERATOR}
        with ctx.ledger.exclusive():
            _append(ctx, states(ctx)[name], breakers.RESET, payload)
        ctx.audit.append("breaker", {"what": breakers.RESET, "breaker": name, **payload})
    message = f"{'would be' if dry_run else 'is'} half open: one opening at half size may go; it was open because"
    return _said(name, f"{name} {message}: {found[name].reason}", dry_run=dry_run)


def _said(name: str, message: str, *, dry_run: bool) -> Document:
    return Document(
        schema="kobe.breaker_reset/1", title="Circuit breakers", summary=(message,),
        data={"breaker": name, "message": message, "dry_run": dry_run},
    )  # fmt: skip
