"""When and how a position is closed: the protective order after the fill, and the ladder that ends it (D5, D6, D30)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kobe.core.ids import client_order_id
from kobe.core.ports import Quote
from kobe.core.types import Effect, Order, OrderRequest, OrderStatus, OrderType, Position, Side, TradePlan
from kobe.execution.rounding import ceil_tick, floor_tick
from kobe.execution.stops import Levels

PROTECT, CLOSE = "stop", "close"
LADDER_PADS = (Decimal("0.999"), Decimal("0.997"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A position that is to be closed now, and why."""

    position: Position
    plan: TradePlan
    reason: str


def due_reason(plan: TradePlan, today: date, *, closing_slot: bool, exit_signal: bool) -> str | None:
    """Return why a position ends in this slot, or None.

    A signal exit known at yesterday's close goes at the open, and at the close where it could not be sent before;
    the time exit at five minutes before the close of its session. An overdue time exit (a missed run) goes in
    whatever slot comes first.
    """
    if today > plan.exit_session or (closing_slot and today >= plan.exit_session):
        return "time"
    return "signal" if exit_signal else None


def protection(position: Position, plan: TradePlan, levels: Levels, session: date, attempt: int) -> OrderRequest:
    """Build the resting order that guards a position: a stop, or stop and target as one."""
    return _request(
        position, plan, session, PROTECT, attempt,
        order_type=OrderType.GTC_STOP if levels.target is None else OrderType.GTC_OCO,
        limit=levels.target, stop=levels.stop, reason="stop" if levels.target is None else "stop_or_target",
    )  # fmt: skip


def rung(position: Position, plan: TradePlan, quote: Quote | None, session: date, attempt: int, step: int,
         reason: str) -> OrderRequest:  # fmt: skip
    """Build one rung of the exit ladder (D30): limit through the touch, limit further through, then market."""
    if quote is None or not is_limit(step) or not _usable(quote):
        return _request(
            position, plan, session, CLOSE, attempt, order_type=OrderType.MARKET, limit=None, stop=None, reason=reason
        )
    pad = LADDER_PADS[step]
    limit = floor_tick(quote.bid * pad) if position.side is Side.LONG else ceil_tick(quote.ask * (2 - pad))
    return _request(
        position, plan, session, CLOSE, attempt, order_type=OrderType.IOC_LIMIT, limit=limit, stop=None, reason=reason
    )


def _usable(quote: Quote) -> bool:
    return all(price.is_finite() and price > 0 for price in (quote.bid, quote.ask))


def is_limit(step: int) -> bool:
    """Whether a rung of the ladder has a limit; the last one has none."""
    return step < len(LADDER_PADS)


def next_attempt(orders: Iterable[Order], signal_id: str, kind: str) -> int:
    """Return the number of the next order of a kind for a signal: one more than those already final."""
    return 1 + sum(1 for o in orders if _is_kind(o, signal_id, kind))


def resting(orders: Iterable[Order], signal_id: str) -> Order | None:
    """Return the protective order that may still act for a signal."""
    return next(iter(guards(orders, signal_id)), None)


def guards(orders: Iterable[Order], signal_id: str) -> list[Order]:
    """Return every protective order that may still act: two while nobody knows whether one replaced the other."""
    return [o for o in orders if _is_kind(o, signal_id, PROTECT) and not o.status.is_final]


def guards_of_nothing(orders: Iterable[Order], positions: Iterable[Position]) -> list[Order]:
    """Return every protective order that may still act for a signal which holds nothing: it would sell short."""
    held = {p.signal_id for p in positions}
    return [
        o for o in orders
        if not o.status.is_final and o.request.signal_id not in held and _is_kind(o, o.request.signal_id, PROTECT)
    ]  # fmt: skip


def pending_close(orders: Iterable[Order], signal_id: str) -> Order | None:
    """Return a closing order whose end is not known yet."""
    return next((o for o in orders if _is_kind(o, signal_id, CLOSE) and not o.status.is_final), None)


def is_abandoned(order: Order) -> bool:
    """Whether an order never reached the broker."""
    return order.status is OrderStatus.ABANDONED


def was_never_told(order: Order) -> bool:
    """Whether the broker has never said anything about an order: it may not have arrived."""
    return order.status in (OrderStatus.INTENT, OrderStatus.SENT, OrderStatus.UNKNOWN) and not order.filled


def is_at_broker(order: Order) -> bool:
    """Whether the broker has said that the order is open."""
    return order.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIAL)


def _is_kind(order: Order, signal_id: str, kind: str) -> bool:
    r = order.request
    return r.signal_id == signal_id and r.effect is Effect.CLOSE and f"-{kind}-" in r.client_order_id


def _request(position: Position, plan: TradePlan, session: date, kind: str, attempt: int, *, order_type: OrderType,
             limit: Decimal | None, stop: Decimal | None, reason: str) -> OrderRequest:  # fmt: skip
    name = client_order_id(
        strategy=position.strategy, symbol=position.symbol, signal_date=plan.signal_date, side=position.side.value,
        effect=kind, attempt=attempt,
    )  # fmt: skip
    return OrderRequest(
        client_order_id=name, signal_id=position.signal_id, strategy=position.strategy, symbol=position.symbol,
        side=position.side, effect=Effect.CLOSE, order_type=order_type, quantity=position.quantity,
        limit_price=limit, stop_price=stop, session=session, reason=reason,
    )  # fmt: skip
