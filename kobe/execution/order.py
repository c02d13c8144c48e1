"""Orders as folds over ledger events: pure, so the same events always give the same book (DOMAIN 4.3).

INTENT -> SENT -> ACCEPTED / PARTIAL / UNKNOWN -> FILLED, CANCELED, EXPIRED, REJECTED, REPLACED
INTENT, SENT or UNKNOWN -> ABANDONED when the broker never saw it and its hour has passed
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kobe.core.clock import from_ns, new_york_date
from kobe.core.errors import IntegrityError
from kobe.core.ports import Event, Ledger
from kobe.core.types import Effect, Fill, Order, OrderRequest, OrderStatus, OrderType, Side, TradePlan
from kobe.execution import book
from kobe.execution.book import Book
from kobe.execution.corporate import Split
from kobe.execution.plans import PLANS, plan_from

STREAM = "orders"
STATUS_BY_WORD = {status.word: status for status in OrderStatus}


def request_json(request: OrderRequest) -> dict[str, Any]:
    """Return a request as JSON-ready values."""
    return {
        "client_order_id": request.client_order_id,
        "signal_id": request.signal_id,
        "strategy": request.strategy,
        "symbol": request.symbol,
        "side": request.side.value,
        "effect": request.effect.value,
        "order_type": request.order_type.value,
        "quantity": request.quantity,
        "limit_price": _text(request.limit_price),
        "stop_price": _text(request.stop_price),
        "session": request.session.isoformat(),
        "reason": request.reason,
    }


def request_from(document: dict[str, Any]) -> OrderRequest:
    """Rebuild a request from `request_json`."""
    return OrderRequest(
        client_order_id=document["client_order_id"],
        signal_id=document["signal_id"],
        strategy=document["strategy"],
        symbol=document["symbol"],
        side=Side(document["side"]),
        effect=Effect(document["effect"]),
        order_type=OrderType(document["order_type"]),
        quantity=int(document["quantity"]),
        limit_price=_money(document["limit_price"]),
        stop_price=_money(document["stop_price"]),
        session=date.fromisoformat(document["session"]),
        reason=document["reason"],
    )


def fill_json(fill: Fill) -> dict[str, Any]:
    """Return a fill as JSON-ready values."""
    return {
        "fill_id": fill.fill_id,
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "effect": fill.effect.value,
        "quantity": fill.quantity,
        "price": str(fill.price),
        "fee_usd": str(fill.fee_usd),
        "at": fill.at.isoformat(),
    }


def fill_from(document: dict[str, Any]) -> Fill:
    """Rebuild a fill from `fill_json`."""
    return Fill(
        fill_id=document["fill_id"],
        client_order_id=document["client_order_id"],
        symbol=document["symbol"],
        side=Side(document["side"]),
        effect=Effect(document["effect"]),
        quantity=int(document["quantity"]),
        price=Decimal(document["price"]),
        fee_usd=Decimal(document["fee_usd"]),
        at=datetime.fromisoformat(document["at"]),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def apply(order: Order | None, event: Event) -> Order:
    """Return the order after one event.

    Fills always count, even after a final status (a late fill is true); a final status never turns open again.

    Raises:
        IntegrityError: an event without an intent before it, or one that makes no sense.
    """
    try:
        after = _next(order, event)
        return replace(after, changes=(order.changes if order else 0) + 1)
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError(
            "the order ledger holds an event that makes no sense",
            seen=f"{event.kind} of {event.entity} at sequence {event.sequence}: {error}",
            next_command="kobe doctor",
        ) from error


def _next(order: Order | None, event: Event) -> Order:
    if event.kind == "intent":
        return Order(request=request_from(event.payload), status=OrderStatus.INTENT)
    if order is None or event.kind not in ("fill", "status"):
        raise KeyError(event.kind)
    if event.kind == "fill":
        return _with_fill(order, fill_from(event.payload))
    status = STATUS_BY_WORD[event.payload["status"]]
    if order.status.is_final or _is_old_news(order.status, status):
        return order
    return replace(order, status=status, detail=str(event.payload.get("detail", "")))


def _is_old_news(known: OrderStatus, told: OrderStatus) -> bool:
    """Whether a status comes from before the one that is known: answers may arrive out of order."""
    return _STAGE.get(told, _LAST) < _STAGE.get(known, _LAST) and told is not OrderStatus.UNKNOWN


_STAGE = {OrderStatus.INTENT: 0, OrderStatus.SENT: 1, OrderStatus.UNKNOWN: 1, OrderStatus.ACCEPTED: 2,
          OrderStatus.PARTIAL: 3}  # fmt: skip
_LAST = 4


def _with_fill(order: Order, fill: Fill) -> Order:
    if any(f.fill_id == fill.fill_id for f in order.fills):
        return order
    if fill.quantity > order.remaining or fill.client_order_id != order.request.client_order_id:
        msg = f"fill of {fill.quantity} against {order.remaining} remaining"
        raise ValueError(msg)
    return replace(order, fills=(*order.fills, fill))


def fold(events: Iterable[Event]) -> dict[str, Order]:
    """Return every order by client order id, in the order of their intents."""
    orders: dict[str, Order] = {}
    for event in events:
        orders[event.entity] = apply(orders.get(event.entity), event)
    return orders


@dataclass(slots=True)
class OrderFold:
    """The orders of a ledger, folded once and then carried on: what was read is not read again."""

    ledger: Ledger
    _orders: dict[str, Order] = field(default_factory=dict)
    _unfinished: dict[str, Order] = field(default_factory=dict)
    _intended: dict[str, datetime] = field(default_factory=dict)
    _replaces: dict[str, str] = field(default_factory=dict)
    _day_of: dict[str, date] = field(default_factory=dict)
    _on: dict[date, dict[str, None]] = field(default_factory=dict)
    _days: list[date] = field(default_factory=list)
    _seen: int = 0
    _plans: dict[str, TradePlan] = field(default_factory=dict)
    _plans_seen: int = 0
    _shelves: book.Shelves = field(default_factory=book.Shelves)
    _book: tuple[int, tuple[Split, ...], Book] | None = None

    def orders(self) -> dict[str, Order]:
        """Return every order by client order id, in the order of their intents.

        Raises:
            IntegrityError: the ledger holds an event that makes no sense.
        """
        self._read()
        return dict(self._orders)

    def find(self, name: str) -> Order | None:
        """Return one order; None where there is none.

        Raises:
            IntegrityError: as `orders`.
        """
        self._read()
        return self._orders.get(name)

    def intended(self, name: str) -> datetime:
        """Return the instant an order's intent was written.

        Raises:
            KeyError: there is no such order.
        """
        self._read()
        return self._intended[name]

    def unfinished(self) -> dict[str, Order]:
        """Return the orders whose status is not final, in the order of their intents.

        Raises:
            IntegrityError: as `orders`.
        """
        self._read()
        return dict(self._unfinished)

    def recent(self, first: date, names: Iterable[str] = ()) -> dict[str, Order]:
        """Return the orders of a session or with an event of a New York date from `first` on, and the unfinished ones.

        What a comparison of today needs costs the same after ten years as after one.

        Args:
            first: of the span.
            names: orders that are wanted whenever they were; those that are not there are left out.

        Raises:
            IntegrityError: as `orders`.
        """
        self._read()
        wanted = dict.fromkeys(self._unfinished)
        for day in self._days[bisect_left(self._days, first) :]:
            wanted |= self._on[day]
        wanted |= dict.fromkeys(name for name in names if name in self._orders)
        return {name: self._orders[name] for name in wanted}

    def _read(self) -> None:
        for event in self.ledger.events(STREAM, after=self._seen):
            now = self._orders[event.entity] = apply(self._orders.get(event.entity), event)
            if now.status.is_final:
                self._unfinished.pop(event.entity, None)
            else:
                self._unfinished[event.entity] = now
            if event.kind == "intent":
                self._intended[event.entity] = from_ns(event.at_ns)
                if event.payload.get("replaces"):
                    self._replaces[event.entity] = str(event.payload["replaces"])
            self._date(event.entity, max(now.request.session, new_york_date(from_ns(event.at_ns))))
            self._seen = event.sequence

    def _date(self, name: str, day: date) -> None:
        """Keep the last date on which something is known of an order."""
        before = self._day_of.get(name)
        if before is not None and before >= day:
            return
        if before is not None:
            del self._on[before][name]
        if day not in self._on:
            self._on[day] = {}
            insort(self._days, day)
        self._day_of[name] = day
        self._on[day][name] = None

    def intents(self) -> list[tuple[Order, datetime]]:
        """Return every order with the instant its intent was written."""
        return [(known, self._intended[name]) for name, known in self.orders().items()]

    def replaced_by(self, name: str) -> str | None:
        """Return the order that a replacement was meant to take the place of."""
        self._read()
        return self._replaces.get(name)

    def plans(self) -> dict[str, TradePlan]:
        """Return how each signal's position is to be closed; a later word about a signal replaces an earlier one."""
        for event in self.ledger.events(PLANS, after=self._plans_seen):
            self._plans[event.entity] = plan_from(event.payload)
            self._plans_seen = event.sequence
        return dict(self._plans)

    def book(self, changes: tuple[Split, ...]) -> Book:
        """Return positions and trades with the splits carried through; folded anew only where something happened."""
        self._read()
        if self._book is None or self._book[:2] != (self._seen, changes):
            self._book = self._seen, changes, book.build(self._orders.values(), changes, self._shelves)
        return self._book[2]
