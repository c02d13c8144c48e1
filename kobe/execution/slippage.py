"""What fills really cost: against the middle of the quote the order was sent on, and against the backtest's price.

The backtest enters at the official open and leaves a stop at its level, and charges half a spread and slippage there.
What was paid beyond the middle, less the half-spread it charges, is what its slippage should have been.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.backtest.costs import CostModel
from kobe.core.clock import new_york_date
from kobe.core.ports import Event
from kobe.core.types import Effect, Order, OrderType

STREAM = "slippage"
LEAST_FILLS = 30  # fewer do not speak
_BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Quoted:
    """The quote an order was sent on, raw dollars."""

    bid: Decimal
    ask: Decimal

    @property
    def mid(self) -> Decimal:
        """Its middle."""
        return (self.bid + self.ask) / 2


def quotes(events: Iterable[Event]) -> dict[str, Quoted]:
    """Return the last quote of each order by client order id; what cannot be one is left out."""
    found: dict[str, Quoted] = {}
    for event in events:
        bid, ask = (_price(event.payload.get(name)) for name in ("bid", "ask"))
        if bid is not None and ask is not None and bid <= ask:
            found[event.entity] = Quoted(bid, ask)
    return found


def _price(told: Any) -> Decimal | None:
    try:
        price = Decimal(str(told))
    except ArithmeticError:
        return None
    return price if price.is_finite() and price > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One order's fills.

    Attributes:
        client_order_id, symbol, day: which, and the New York date of its first fill.
        side: buy or sell.
        kind: entry, exit (closed by an order of the day), stop or target (closed by what rested).
        quantity, price: filled shares and their average price.
        mid_bps: cost against the middle of the quote; None without one.
        reference_bps: cost against the price the backtest takes (open, stop); None where it takes no such price.
        half_spread_bps: what the cost model charges for the spread; None where its liquidity is unknown.
    """

    client_order_id: str
    symbol: str
    day: date
    side: str
    kind: str
    quantity: int
    price: Decimal
    mid_bps: float | None
    reference_bps: float | None
    half_spread_bps: float | None = None

    @property
    def excess_bps(self) -> float | None:
        """What slippage of the cost model would have been right: of a quoted order, or of a stop."""
        paid = self.mid_bps if self.mid_bps is not None else self.reference_bps if self.kind == "stop" else None
        return None if paid is None or self.half_spread_bps is None else paid - self.half_spread_bps


def kind_of(order: Order) -> str:
    """Say what an order with fills was: entry, exit, stop or target."""
    r = order.request
    if r.effect is Effect.OPEN:
        return "entry"
    if r.order_type is OrderType.GTC_STOP:
        return "stop"
    if r.order_type is not OrderType.GTC_OCO or r.stop_price is None or r.limit_price is None:
        return "exit"
    middle, sells = (r.stop_price + r.limit_price) / 2, not r.is_buy
    return "stop" if (average(order) < middle) == sells else "target"


def average(order: Order) -> Decimal:
    """Return the average price of an order's fills."""
    return sum((f.price * f.quantity for f in order.fills), Decimal(0)) / order.filled


def market_at(order: Order, quoted: Quoted | None, open_: Decimal | None) -> Decimal | None:
    """Return where the market stood when an order with fills was filled; None where nobody knows.

    Args:
        order: with fills.
        quoted: what it was sent on.
        open_: the official open of the session of its first fill, raw dollars.
    """
    kind = kind_of(order)
    if kind == "stop":
        return _stop_price(order, open_)
    if kind == "target":
        return order.request.limit_price
    return None if quoted is None else quoted.mid


def _stop_price(order: Order, open_: Decimal | None) -> Decimal | None:
    """Where the backtest leaves a stop: at its level, or at an open beyond it when it rested before."""
    r = order.request
    rested = r.session < new_york_date(order.fills[0].at)
    if r.stop_price is None or open_ is None or not rested:
        return r.stop_price
    beyond = open_ >= r.stop_price if r.is_buy else open_ <= r.stop_price
    return open_ if beyond else r.stop_price


def sample(order: Order, quoted: Quoted | None, open_: Decimal | None) -> Sample:
    """Measure one order with fills; see `market_at`."""
    r, price, kind = order.request, average(order), kind_of(order)
    reference = open_ if kind == "entry" else _stop_price(order, open_) if kind == "stop" else None
    return Sample(
        client_order_id=r.client_order_id, symbol=r.symbol, day=new_york_date(order.fills[0].at),
        side="buy" if r.is_buy else "sell", kind=kind, quantity=order.filled, price=price,
        mid_bps=None if quoted is None else cost_bps(price, quoted.mid, is_buy=r.is_buy),
        reference_bps=None if reference is None else cost_bps(price, reference, is_buy=r.is_buy),
    )  # fmt: skip


def cost_bps(price: Decimal, reference: Decimal, *, is_buy: bool) -> float:
    """Return what a price cost against another, in basis points; negative where it was better."""
    return float((price / reference - 1) * _BPS * (1 if is_buy else -1))


def rate_document(effective: date, slippage_bps: float, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measured rate as the ledger keeps it."""
    return {"effective": effective.isoformat(), "slippage_bps": slippage_bps, **facts}


def with_measured(model: CostModel, events: Iterable[Event]) -> CostModel:
    """Return a cost schedule raised to the measured slippage, each measurement from its date until the next one.

    Only raises: where the schedule already charges more, it stays.
    """
    told = [e.payload for e in events if e.kind == "rate"]
    measured = {date.fromisoformat(p["effective"]): float(p["slippage_bps"]) for p in told}
    if not measured:
        return model
    days = sorted({*measured, *(r.effective for r in model.rates)})
    rates = []
    for day in days:
        then = model.at(day)
        bps = next((measured[d] for d in sorted(measured, reverse=True) if d <= day), 0.0)
        rates.append(replace(then, effective=day, slippage_bps=max(then.slippage_bps, bps)))
    return replace(model, name=f"{model.name}, slippage as measured", rates=tuple(rates))
