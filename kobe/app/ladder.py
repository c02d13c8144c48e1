"""The exit ladder (D30): protection out of the way, then limit, limit, market; what cannot be closed is said aloud.

At no moment may two orders sell the same shares. So nothing is sent before the protection is final at the broker,
nor while an earlier closing order may still act, and a rung whose outcome nobody knows is the last one.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from kobe.app import desk, order_facts
from kobe.app.context import Context
from kobe.app.protect import clear, guard, position_of
from kobe.core.errors import ExternalError
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import Order, OrderRequest, OrderStatus, OrderType, Position, Side
from kobe.execution import exits
from kobe.execution.exits import Due
from kobe.execution.oms import Oms
from kobe.risk import review

NEVER_SEEN = (OrderStatus.INTENT, OrderStatus.SENT, OrderStatus.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How closing a position went: the orders that were sent, and why shares are left, if any are."""

    due: Due
    orders: tuple[Order, ...] = ()
    stuck: str = ""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """One position on the ladder."""

    ctx: Context
    oms: Oms
    past: Panel
    due: Due
    sent: list[Order] = field(default_factory=list)

    @property
    def signal_id(self) -> str:
        return self.due.position.signal_id

    def position(self) -> Position | None:
        return position_of(self.oms, self.signal_id)


def close(ctx: Context, oms: Oms, past: Panel, due: Due) -> Closing:
    """Close one position; run again after any interruption it goes on where things stand.

    Returns:
        The orders sent and, when shares are left, why. Protection that was taken away is then put back.
    """
    walk = _Walk(ctx, oms, past, due)
    try:
        stuck = _may_not_begin(walk) or _step_aside(walk) or _too_few_at_broker(walk) or _sell(walk)
    except ExternalError as error:
        stuck = f"the broker cannot be heard: {error.what}"
    position = walk.position()
    if position is None:
        return Closing(due=due, orders=tuple(walk.sent))
    put_back = guard(ctx, oms, past, walk.signal_id)
    notes = (put_back.note,) if put_back.note else ()
    if put_back.order is not None and not put_back.note:
        notes = (f"{position.symbol}: the stop at {put_back.order.request.stop_price} was put back",)
    stuck = stuck or "shares are left after the last rung"
    left = {"symbol": position.symbol, "quantity": position.quantity, "reason": due.reason}
    ctx.audit.append("not_closed", {**left, "why": stuck, "notes": list(notes)})
    return Closing(due=due, orders=tuple(walk.sent), stuck=f"{stuck}; {position.quantity} shares left", notes=notes)


def _may_not_begin(walk: _Walk) -> str:
    """Say why nothing may be sent; then the protection is left where it is."""
    position = walk.position()
    if position is None:
        return ""
    pending = _pending_left(walk)
    if pending:
        return pending
    wish = _rung(walk, position, len(exits.LADDER_PADS), None)
    facts = order_facts.gather(walk.ctx, walk.oms, wish, None, walk.past)
    refused = review.refusals(review.review(wish, facts, walk.ctx.limits))
    return f"refused: {', '.join(v.code for v in refused)}" if refused else ""


def _pending_left(walk: _Walk) -> str:
    """Bring an earlier closing order to its end; say so when it may still act."""
    known = exits.pending_close(walk.oms.orders().values(), walk.signal_id)
    if known is None:
        return ""
    if known.request.order_type is OrderType.IOC_LIMIT or not exits.is_at_broker(known):
        known = _ended(walk, known)
    if known.status.is_final:
        return _pending_left(walk)
    return f"{known.request.client_order_id} is {known.status.word} and may still act"


def _step_aside(walk: _Walk) -> str:
    """Cancel what protects the position and wait until it is final; say so when it is not."""
    for known in exits.guards(walk.oms.orders().values(), walk.signal_id):
        ended = _ended(walk, known)
        if ended.status.is_final or _cannot_arrive(walk, ended):
            continue
        return f"{known.request.client_order_id} is not final after its cancel: a second order could sell twice"
    return ""


def _ended(walk: _Walk, known: Order) -> Order:
    """Cancel an order, twice if need be; one the broker never saw is sent by its name first, so that it has an end."""
    name = known.request.client_order_id
    for _ in range(2):
        known = walk.oms.cancel(name)
        if known.status.is_final or _cannot_arrive(walk, known):
            return known
        if known.status in NEVER_SEEN:
            cleared = clear(walk.ctx, walk.oms, walk.past, known.request, _quote(walk, known.request.symbol))
            known = known if cleared is None else walk.oms.submit(cleared)
            if known.status.is_final:
                return known
    return known


def _cannot_arrive(walk: _Walk, known: Order) -> bool:
    """Say whether an order could only have taken the place of one that has ended otherwise."""
    before = walk.oms.fold.replaced_by(known.request.client_order_id)
    if before is None or known.status not in NEVER_SEEN:
        return False
    old = walk.oms.orders()[before].status
    return old.is_final and old is not OrderStatus.REPLACED


def _too_few_at_broker(walk: _Walk) -> str:
    """Refuse to sell more than the broker holds, all our positions in the symbol together."""
    position = walk.position()
    if position is None:
        return ""
    symbol, sign = position.symbol, 1 if position.side is Side.LONG else -1
    ours = sum(p.quantity for p in walk.oms.book().positions if p.symbol == symbol and p.side is position.side)
    theirs = sign * walk.ctx.broker.account().positions.get(symbol, 0)
    return f"the broker holds {theirs} of our {ours} shares; next: kobe reconcile" if theirs < ours else ""


def _sell(walk: _Walk) -> str:
    """Walk the rungs; each sells exactly what remains."""
    step = 0
    while step <= len(exits.LADDER_PADS):
        position = walk.position()
        if position is None:
            return ""
        quote = _quote(walk, position.symbol)
        if quote is None or not _has_time(walk.ctx):
            step = len(exits.LADDER_PADS)
        order, verdicts = desk.send(walk.ctx, walk.oms, _rung(walk, position, step, quote), quote, walk.past)
        if order is None:
            if not exits.is_limit(step):
                return f"refused: {', '.join(v.code for v in review.refusals(verdicts))}"
            step = len(exits.LADDER_PADS)  # a quote that no limit may be made of
            continue
        walk.sent.append(order)
        if not order.status.is_final:
            return f"{order.request.client_order_id} is {order.status.word} and may still act"
        step += 1
    return ""


def _rung(walk: _Walk, position: Position, step: int, quote: Quote | None) -> OrderRequest:
    attempt = exits.next_attempt(walk.oms.orders().values(), walk.signal_id, exits.CLOSE)
    return exits.rung(position, walk.due.plan, quote, walk.ctx.today, attempt, step, walk.due.reason)


def _quote(walk: _Walk, symbol: str) -> Quote | None:
    return walk.ctx.quotes.quotes([symbol]).get(symbol)


def _has_time(ctx: Context) -> bool:
    """Say whether a limit order may be waited for and a market order still be sent after it."""
    last = ctx.calendar.closes_at(ctx.today) - timedelta(seconds=ctx.limits.close_margin_s)
    return ctx.clock.now() + timedelta(seconds=ctx.settings.broker.poll_deadline_s) < last
