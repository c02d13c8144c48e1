"""When and how a position is closed: the protective order after the fill, and the ladder that ends it (D5, D6, D30)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kobe.core.ids import client_order_id
from kobe.core.ports import Quote
from kobe.core.types import Effect, Order, OrderRequest, OrderStatus, OrderType, Position, Side, TradePlan
from kobe.core.units import to_decimal
from kobe.execution.rounding import buy_limit, ceil_tick, floor_tick, sell_limit

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

    A signal exit known at yesterday's close goes at the open; the time exit at five minutes before the close of
    its session. An overdue time exit (a missed run) goes in whatever slot comes first.
    """
    if today > plan.exit_session or (closing_slot and today >= plan.exit_session):
        return "time"
    return "signal" if exit_signal and not closing_slot else None


def protection(position: Position, plan: TradePlan, raw_factor: float, session: date, attempt: int) -> OrderRequest:
    """Build the resting order that guards a fresh position: a stop, or stop and target as one.

    The stop is where the backtest puts it (`fills.initial_stop`), rounded away from the market by the tick.
    `raw_factor` turns the plan's adjusted distances into raw dollars.
    """
    from kobe.backtest import fills

    sign = 1 if position.side is Side.LONG else -1
    fill = float(position.average_price)
    distance = float("nan") if plan.stop_distance is None else plan.stop_distance * raw_factor
    level = float("nan") if plan.stop_level is None else plan.stop_level * raw_factor
    stop = float(fills.initial_stop(sign, fill, distance, level))
    outward, inward = (floor_tick, ceil_tick) if sign > 0 else (ceil_tick, floor_tick)
    target = None if plan.target_r is None else inward(_price(fill + sign * plan.target_r * abs(fill - stop)))
    return _request(
        position, plan, session, PROTECT, attempt,
        order_type=OrderType.GTC_STOP if target is None else OrderType.GTC_OCO,
        limit=target, stop=outward(_price(stop)), reason="stop" if target is None else "stop_or_target",
    )  # fmt: skip


def rung(position: Position, plan: TradePlan, quote: Quote | None, session: date, attempt: int, step: int,
         reason: str) -> OrderRequest:  # fmt: skip
    """Build one rung of the exit ladder: limit at the touch, limit further through, then market."""
    if quote is None or step >= len(LADDER_PADS):
        return _request(
            position, plan, session, CLOSE, attempt, order_type=OrderType.MARKET, limit=None, stop=None, reason=reason
        )
    pad = LADDER_PADS[step]
    limit = sell_limit(quote.bid, pad) if position.side is Side.LONG else buy_limit(quote.ask)
    return _request(
        position, plan, session, CLOSE, attempt, order_type=OrderType.IOC_LIMIT, limit=limit, stop=None, reason=reason
    )


def next_attempt(orders: Iterable[Order], signal_id: str, kind: str) -> int:
    """Return the number of the next order of a kind for a signal: one more than those already final."""
    return 1 + sum(1 for o in orders if _is_kind(o, signal_id, kind))


def resting(orders: Iterable[Order], signal_id: str) -> Order | None:
    """Return the protective order that may still act for a signal."""
    return next((o for o in orders if _is_kind(o, signal_id, PROTECT) and not o.status.is_final), None)


def pending_close(orders: Iterable[Order], signal_id: str) -> Order | None:
    """Return a closing order whose end is not known yet."""
    return next((o for o in orders if _is_kind(o, signal_id, CLOSE) and not o.status.is_final), None)


def is_abandoned(order: Order) -> bool:
    """Whether an order never reached the broker."""
    return order.status is OrderStatus.ABANDONED


def _is_kind(order: Order, signal_id: str, kind: str) -> bool:
    r = order.request
    return r.signal_id == signal_id and r.effect is Effect.CLOSE and f"-{kind}-" in r.client_order_id


def _price(value: float) -> Decimal:
    return to_decimal(round(value, 9))


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
