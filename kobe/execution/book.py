"""The position book: open positions and finished round trips, folded from orders (FIFO, DOMAIN 2.2)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from kobe.core.clock import new_york_date
from kobe.core.types import Effect, Fill, Order, Position, Side, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Shares bought in one fill and not sold yet; `fee_usd` is the part of the entry fee they carry."""

    quantity: int
    price: Decimal
    fee_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Part of a lot that was sold, with its FIFO result."""

    quantity: int
    entry: Decimal
    exit: Decimal
    fees_usd: Decimal
    side: Side

    @property
    def net_usd(self) -> Decimal:
        """Gain after fees."""
        sign = 1 if self.side is Side.LONG else -1
        return sign * (self.exit - self.entry) * self.quantity - self.fees_usd


def match_fifo(fills: Iterable[Fill]) -> tuple[tuple[Lot, ...], tuple[Closing, ...]]:
    """Match the fills of one signal first in, first out; return open lots and closed parts.

    Fees are shared by quantity; the last part of a fill carries the rest, so that the sums are exact.

    Raises:
        ValueError: more shares were closed than opened.
    """
    lots: list[Lot] = []
    closings: list[Closing] = []
    for fill in fills:
        if fill.effect is Effect.OPEN:
            lots.append(Lot(quantity=fill.quantity, price=fill.price, fee_usd=fill.fee_usd))
            continue
        left, fee_left = fill.quantity, fill.fee_usd
        while left:
            if not lots:
                msg = f"{fill.client_order_id} closes {left} shares more than are open"
                raise ValueError(msg)
            lot = lots.pop(0)
            part = min(left, lot.quantity)
            entry_fee = lot.fee_usd if part == lot.quantity else lot.fee_usd * part / lot.quantity
            exit_fee = fee_left if part == left else fee_left * part / left
            closings.append(
                Closing(quantity=part, entry=lot.price, exit=fill.price, fees_usd=entry_fee + exit_fee, side=fill.side)
            )
            if part < lot.quantity:
                lots.insert(0, replace(lot, quantity=lot.quantity - part, fee_usd=lot.fee_usd - entry_fee))
            left -= part
            fee_left -= exit_fee
    return tuple(lots), tuple(closings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What is open and what is over, by signal."""

    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]
    openings: dict[str, tuple[Order, ...]] = field(default_factory=dict)

    def holding(self, symbol: str) -> bool:
        """Whether a symbol is held."""
        return any(p.symbol == symbol for p in self.positions)


def build(orders: Iterable[Order]) -> Book:
    """Fold all orders into the book."""
    by_signal: dict[str, list[Order]] = {}
    for order in orders:
        by_signal.setdefault(order.request.signal_id, []).append(order)
    positions, trades = [], []
    for mine in by_signal.values():
        fills = sorted((f for o in mine for f in o.fills), key=lambda f: (f.at, f.effect is Effect.CLOSE, f.fill_id))
        if not fills:
            continue
        lots, closings = match_fifo(fills)
        if lots:
            positions.append(_position(mine[0], fills[0].at, lots))
        else:
            trades.append(_trade(mine, fills, closings))
    openings = {signal: tuple(o for o in mine if o.request.effect is Effect.OPEN) for signal, mine in by_signal.items()}
    return Book(positions=tuple(positions), trades=tuple(trades), openings=openings)


def _position(first: Order, opened: datetime, lots: tuple[Lot, ...]) -> Position:
    quantity = sum(lot.quantity for lot in lots)
    cost = sum((lot.price * lot.quantity for lot in lots), Decimal(0))
    r = first.request
    return Position(
        signal_id=r.signal_id, strategy=r.strategy, symbol=r.symbol, side=r.side, quantity=quantity,
        average_price=cost / quantity, opened=opened,
    )  # fmt: skip


def _trade(orders: list[Order], fills: list[Fill], closings: tuple[Closing, ...]) -> Trade:
    r = orders[0].request
    quantity = sum(c.quantity for c in closings)
    last = max(fills, key=lambda f: (f.at, f.fill_id))
    reason = next(o.request.reason for o in orders if o.request.client_order_id == last.client_order_id)
    return Trade(
        signal_id=r.signal_id, strategy=r.strategy, symbol=r.symbol, side=r.side, quantity=quantity,
        entry_price=sum((c.entry * c.quantity for c in closings), Decimal(0)) / quantity,
        exit_price=sum((c.exit * c.quantity for c in closings), Decimal(0)) / quantity,
        fees_usd=sum((c.fees_usd for c in closings), Decimal(0)),
        net_usd=sum((c.net_usd for c in closings), Decimal(0)),
        opened=fills[0].at, closed=last.at, exit_reason=reason,
    )  # fmt: skip


def day_used_usd(orders: Iterable[tuple[Order, datetime]], now: datetime) -> Decimal:
    """Opening notional spent or reserved on the New York date of `now` (DOMAIN 4.5).

    Args:
        orders: each order with the instant of its intent.
        now: whose New York date counts; an intent dated later than that (a clock set back) counts as well.

    Final orders count what was filled, all others their whole limit: UNKNOWN keeps its reservation.
    """
    today, used = new_york_date(now), Decimal(0)
    for order, intended in orders:
        if order.request.effect is not Effect.OPEN or new_york_date(intended) < today:
            continue
        if order.status.is_final:
            used += sum((f.price * f.quantity for f in order.fills), Decimal(0))
        else:
            used += order.request.notional_usd
    return used
