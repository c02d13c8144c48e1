"""The exit ladder (D30): protection out of the way, then limit, limit, market; what cannot be closed is said aloud.

At no moment may two orders sell the same shares. So nothing is sent before the protection is final at the broker,
nor while an earlier closing order may still act. One whose outcome nobody knows is asked after, and sent again by its
own name, for as long as there is time; another name is given only after its end is known.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kobe.app import desk, order_facts
from kobe.app.context import Context
from kobe.app.protect import guard, position_of
from kobe.core.errors import IntegrityError, KobeError
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import Order, OrderRequest, OrderType, Position, Side, Verdict
from kobe.execution import exits
from kobe.execution.exits import Due
from kobe.execution.oms import Oms
from kobe.execution.reconcile import shares_by_symbol
from kobe.risk import review

PATIENCE = timedelta(minutes=10)  # of one run; in the closing slot the last moment for an order comes before
PAUSE_S = 10.0  # each try is several requests
MOST_TRIES = 200  # a clock that stands still ends it too
MARKET = len(exits.LADDER_PADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How closing a position went: the orders that were sent, and why shares are left, if any are."""

    due: Due
    orders: tuple[Order, ...] = ()
    stuck: str = ""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """One position on the ladder; `until` is when it makes room for the next one, `heard` the last fault."""

    ctx: Context
    oms: Oms
    past: Panel
    due: Due
    until: datetime
    names: list[str] = field(default_factory=list)
    heard: str = ""

    @property
    def signal_id(self) -> str:
        return self.due.position.signal_id

    def position(self) -> Position | None:
        return position_of(self.oms, self.signal_id)

    def pending(self) -> Order | None:
        return exits.pending_close(self.oms.unfinished().values(), self.signal_id)

    def has_time(self, seconds: float = 0.0) -> bool:
        return self.ctx.clock.now() + timedelta(seconds=seconds) < self.until

    def sent(self) -> tuple[Order, ...]:
        orders = self.oms.orders()
        return tuple(orders[name] for name in dict.fromkeys(self.names) if name in orders)


def close_all(ctx: Context, oms: Oms, past: Panel, due: Sequence[Due]) -> list[Closing]:
    """Close positions one after the other; each may take its share of the time that is left, and no more of it."""
    end, found = window_end(ctx), list[Closing]()
    for number, one in enumerate(due):
        now = ctx.clock.now()
        share = max(end - now, timedelta(0)) / (len(due) - number)
        found.append(close(ctx, oms, past, one, until=now + share))
    return found


def window_end(ctx: Context) -> datetime:
    """Return until when a run that begins now keeps on trying."""
    now, today = ctx.clock.now(), ctx.today
    if today not in ctx.calendar:
        return now
    return min(now + PATIENCE, ctx.calendar.closes_at(today) - timedelta(seconds=ctx.limits.close_margin_s))


def close(ctx: Context, oms: Oms, past: Panel, due: Due, *, until: datetime | None = None) -> Closing:
    """Close one position; run again after any interruption it goes on where things stand.

    Args:
        ctx: context.
        oms: the order manager.
        past: bars up to the last complete session.
        due: the position and why it ends.
        until: when to stop trying; the end of the window where it is None.

    Returns:
        The orders sent and, when shares are left, why. Protection that was taken away is then put back, whatever
        went wrong.
    """
    walk = _Walk(ctx, oms, past, due, until or window_end(ctx))
    try:
        stuck = _walked(walk)
    except Exception:  # nobody else will look after this position: it is guarded first
        with suppress(KobeError):
            guard(ctx, oms, past, walk.signal_id)
        raise
    position = walk.position()
    if position is None:
        return Closing(due=due, orders=walk.sent())
    put_back = guard(ctx, oms, past, walk.signal_id)
    notes = (put_back.note,) if put_back.note else ()
    if put_back.order is not None and not put_back.note:
        notes = (f"{position.symbol}: the stop at {put_back.order.request.stop_price} was put back",)
    stuck = stuck or "shares are left after the last rung"
    left = {"symbol": position.symbol, "quantity": position.quantity, "reason": due.reason}
    ctx.audit.append("not_closed", {**left, "why": stuck, "notes": list(notes)})
    return Closing(due=due, orders=walk.sent(), stuck=f"{stuck}; {position.quantity} shares left", notes=notes)


def beyond_ours(ctx: Context, oms: Oms, closings: Sequence[Closing]) -> list[str]:
    """Name the shares of what was closed that the broker holds beyond our books: nothing of ours watches them."""
    symbols = {c.due.position.symbol for c in closings}
    if not symbols:
        return []
    try:
        theirs = ctx.broker.account().positions
    except IntegrityError:
        raise
    except KobeError as error:
        return [f"what the broker still holds is not known: {error.what}; next: kobe reconcile"]
    ours = shares_by_symbol(oms.book().positions)
    return [
        f"{symbol}: {ctx.broker.name} holds {theirs[symbol]} shares, our books {ours.get(symbol, 0)}; "
        "next: kobe reconcile, after a split: kobe jobs run holdings --again"
        for symbol in sorted(symbols)
        if abs(theirs.get(symbol, 0)) > abs(ours.get(symbol, 0))
    ]


def _walked(walk: _Walk) -> str:
    """Go all the way; say why shares are left. Only damaged records end more than this one position."""
    try:
        return _may_not_begin(walk) or _step_aside(walk) or _too_few_at_broker(walk) or _sell(walk)
    except IntegrityError:
        raise
    except KobeError as error:
        return f"the broker cannot be heard: {error.message}"


def _may_not_begin(walk: _Walk) -> str:
    """Say why nothing may be sent; then the protection is left where it is."""
    position = walk.position()
    if position is None:
        return ""
    pending = _pending_left(walk)
    position = walk.position()
    if pending or position is None:
        return pending
    wish = _rung(walk, position, MARKET, None)
    facts = order_facts.gather(walk.ctx, walk.oms, wish, None, walk.past)
    return _refused(review.review(wish, facts, walk.ctx.limits))


def _pending_left(walk: _Walk) -> str:
    """Bring an earlier closing order to its end while there is time; say so when it may still act."""
    for _ in range(MOST_TRIES):
        known = walk.pending()
        if known is None:
            return ""
        _ask_after(walk, known)
        if walk.pending() is None or not walk.has_time(PAUSE_S):
            break
        walk.ctx.wait(PAUSE_S)
    known = walk.pending()
    heard = f" ({walk.heard})" if walk.heard else ""
    return "" if known is None else f"{known.request.client_order_id} is {known.status.word} and may still act{heard}"


def _ask_after(walk: _Walk, known: Order) -> None:
    """Find out about a closing order, or send it again by its name; one with a limit is cancelled to have its end."""
    walk.names.append(known.request.client_order_id)
    try:
        if known.request.order_type is OrderType.IOC_LIMIT or not exits.is_at_broker(known):
            _ended(walk, known)
        else:
            _again(walk, known)
    except IntegrityError:
        raise
    except KobeError as error:
        walk.heard = error.message


def _step_aside(walk: _Walk) -> str:
    """Cancel what protects the position and wait until it is final; say so when it is not."""
    for known in exits.guards(walk.oms.unfinished().values(), walk.signal_id):
        ended = _ended(walk, known)
        if not ended.status.is_final:
            name = known.request.client_order_id
            return f"{name} is not final after its cancel: a second order could sell twice"
    return ""


def _ended(walk: _Walk, known: Order) -> Order:
    """Cancel an order, twice if need be; one the broker never saw is sent by its name first, so that it has an end."""
    for _ in range(2):
        known = walk.oms.cancel(known.request.client_order_id)
        if not known.status.is_final and exits.was_never_told(known):
            known = _again(walk, known)
        if known.status.is_final:
            return known
    return known


def _again(walk: _Walk, known: Order) -> Order:
    """Ask every gate once more and send an order by the name it has; the broker takes a name once."""
    quote = quote_of(walk.ctx, known.request.symbol)
    order, verdicts = desk.send(walk.ctx, walk.oms, known.request, quote, walk.past, again=True)
    walk.heard = _refused(verdicts)
    return known if order is None else order


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
    """Walk the rungs; each sells exactly what remains. Where nothing was sent for a fault, it is tried again."""
    step, tries = 0, 0
    while step <= MARKET:
        position = walk.position()
        if position is None:
            return ""
        quote = quote_of(walk.ctx, position.symbol)
        if quote is None or not walk.has_time(walk.ctx.settings.broker.poll_deadline_s):
            step = MARKET
        order, fault = _sent(walk, _rung(walk, position, step, quote), quote)
        if order is None:
            tries += 1
            if exits.is_limit(step) and not walk.heard:
                step = MARKET  # a quote that no limit may be made of
            elif not walk.heard or tries >= MOST_TRIES or not walk.has_time(PAUSE_S):
                return fault
            else:
                walk.ctx.wait(PAUSE_S)
            continue
        left = "" if order.status.is_final else _pending_left(walk)
        if left:
            return left
        step += 1
    return ""


def _sent(walk: _Walk, wish: OrderRequest, quote: Quote | None) -> tuple[Order | None, str]:
    """Send a rung; returns what is known of the order, or None and why nothing was sent: a gate, or a fault heard."""
    walk.heard = ""
    try:
        order, verdicts = desk.send(walk.ctx, walk.oms, wish, quote, walk.past)
    except IntegrityError:
        raise
    except KobeError as error:
        walk.heard = error.message
        order, verdicts = walk.oms.order(wish.client_order_id), ()
    if order is not None:
        walk.names.append(wish.client_order_id)
        return order, ""
    return None, f"the broker cannot be heard: {walk.heard}" if walk.heard else _refused(verdicts)


def _refused(verdicts: tuple[Verdict, ...]) -> str:
    refused = review.refusals(verdicts)
    return f"refused: {', '.join(v.code for v in refused)}" if refused else ""


def _rung(walk: _Walk, position: Position, step: int, quote: Quote | None) -> OrderRequest:
    attempt = exits.next_attempt(walk.oms.orders().values(), walk.signal_id, exits.CLOSE)
    return exits.rung(position, walk.due.plan, quote, walk.ctx.today, attempt, step, walk.due.reason)


def quote_of(ctx: Context, symbol: str) -> Quote | None:
    """Return the quote of a symbol, or None where it cannot be had for whatever reason: an exit needs none."""
    try:
        return ctx.quotes.quotes([symbol]).get(symbol)
    except IntegrityError:
        raise
    except KobeError:
        return None
