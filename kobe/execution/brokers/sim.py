"""The simulated broker: the embedded default. It keeps its own ledger, as a real broker keeps its own books.

An immediate-or-cancel order fills whole, in part or not at all, decided by a hash of its name, so that a rerun
meets the same luck. Resting stops and targets are judged by the very rules of the backtest (`backtest.fills`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from kobe.core.clock import Clock, new_york_date
from kobe.core.ports import Account, BrokerOrder, Event, Ledger, Quote
from kobe.core.types import Effect, Fill, OrderRequest, OrderStatus, OrderType, Side
from kobe.core.units import fee_cents, to_decimal
from kobe.execution import order
from kobe.execution.brokers.sim_market import EDGE, SimBar, SimMarket

STREAM = "broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTerms:
    """How the made-up broker behaves; shares of all orders."""

    cash_usd: Decimal = Decimal(10_000)
    no_fill_share: float = 0.03
    partial_share: float = 0.07


def luck(client_order_id: str) -> float:
    """Return a number in [0, 1) that belongs to an order's name."""
    return int.from_bytes(hashlib.sha256(client_order_id.encode()).digest()[:8], "big") / 2**64


@dataclass(kw_only=True)
class SimBroker:
    """A broker in this process with durable books. The name of an order is its identity."""

    ledger: Ledger
    market: SimMarket
    clock: Clock
    terms: SimTerms = field(default_factory=SimTerms)
    name: str = "sim"

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Return current quotes."""
        return self.market.quotes(symbols)

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Take an order; the same name again returns the order that has it."""
        self._settle()
        known = self._orders().get(request.client_order_id)
        if known is not None:
            return known
        answer = self._execute(request)
        with self.ledger.exclusive():
            self._append(request.client_order_id, "accepted", order.request_json(request))
            for fill in answer.fills:
                self._append_fill(fill)
            self._append_status(answer)
        return answer

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by name."""
        self._settle()
        return self._orders().get(client_order_id)

    def cancel(self, client_order_id: str) -> BrokerOrder | None:
        """Cancel what is open of an order."""
        known = self.lookup(client_order_id)
        if known is None or known.status.is_final:
            return known
        canceled = replace(known, status=OrderStatus.CANCELED, detail="canceled by request")
        self._append_status(canceled)
        return canceled

    def orders(self) -> Iterable[BrokerOrder]:
        """Return every order."""
        self._settle()
        return list(self._orders().values())

    def account(self) -> Account:
        """Return cash, equity at the last known prices, and positions."""
        self._settle()
        cash, shares = self.terms.cash_usd, dict[str, int]()
        for known in self._orders().values():
            sign = 1 if known.request.is_buy else -1
            for fill in known.fills:
                cash -= sign * fill.price * fill.quantity + fill.fee_usd
                shares[fill.symbol] = shares.get(fill.symbol, 0) + sign * fill.quantity
        held = {s: n for s, n in sorted(shares.items()) if n}
        worth = sum((self._mark(s) * n for s, n in held.items()), Decimal(0))
        return Account(cash_usd=cash, equity_usd=cash + worth, blocked=False, positions=held)

    def _mark(self, symbol: str) -> Decimal:
        """Last price of a symbol: the quote's middle, or the close of the last complete session with a bar."""
        quote = self.market.quotes([symbol]).get(symbol)
        if quote is not None:
            return (quote.bid + quote.ask) / 2
        day = self.market.calendar.last_complete(self.clock.now())
        for back in range(10):
            seen = self.market.bar(symbol, self.market.calendar.offset(day, -back))
            if seen is not None:
                return _money(seen.bar[3])
        return Decimal(0)

    # -- executing ---------------------------------------------------------------------------------------------

    def _execute(self, request: OrderRequest) -> BrokerOrder:
        def answer(status: OrderStatus, fills: tuple[Fill, ...] = (), detail: str = "") -> BrokerOrder:
            return BrokerOrder(
                client_order_id=request.client_order_id, request=request, status=status, fills=fills, detail=detail
            )

        if request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO):
            return answer(OrderStatus.ACCEPTED)
        quote = self.market.quotes([request.symbol]).get(request.symbol)
        if quote is None:
            return answer(OrderStatus.REJECTED, detail="no market: closed or halted")
        price = quote.ask if request.is_buy else quote.bid
        limit = request.limit_price
        if limit is not None and (price > limit if request.is_buy else price < limit):
            return answer(OrderStatus.CANCELED, detail="limit not reached")
        quantity = self._filled_quantity(request, quote)
        if quantity == 0:
            return answer(OrderStatus.CANCELED, detail="nothing at the limit")
        fill = self._fill(request, quantity, price, self.clock.now())
        whole = quantity == request.quantity
        return answer(OrderStatus.FILLED if whole else OrderStatus.CANCELED, (fill,), "" if whole else "part filled")

    def _filled_quantity(self, request: OrderRequest, quote: Quote) -> int:
        shown = quote.ask_size if request.is_buy else quote.bid_size
        if request.order_type is OrderType.MARKET:
            return request.quantity
        chance = luck(request.client_order_id)
        if chance < self.terms.no_fill_share:
            return 0
        available = min(request.quantity, shown)
        partial = chance < self.terms.no_fill_share + self.terms.partial_share
        return available // 2 if partial and available > 1 else available

    def _fill(self, request: OrderRequest, quantity: int, price: Decimal, at: datetime) -> Fill:
        rate = to_decimal(self.market.costs.at(new_york_date(at)).sec_fee_per_million_usd) / 1_000_000
        fee = Decimal(0) if request.is_buy else fee_cents(price * quantity * rate)
        return Fill(
            fill_id=f"{request.client_order_id}:1", client_order_id=request.client_order_id, symbol=request.symbol,
            side=request.side, effect=request.effect, quantity=quantity, price=price, fee_usd=fee, at=at,
        )  # fmt: skip

    # -- resting orders ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let the bars since each resting order was placed work on it."""
        for placed, known in self._resting():
            found = self._triggered(known.request, placed)
            if found is None:
                continue
            price, at, detail = found
            fill = self._fill(known.request, known.request.quantity, price, at)
            with self.ledger.exclusive():
                self._append_fill(fill)
                self._append_status(replace(known, status=OrderStatus.FILLED, fills=(fill,), detail=detail))

    def _triggered(self, request: OrderRequest, placed: date) -> tuple[Decimal, datetime, str] | None:
        from kobe.backtest import fills as rules

        now = self.clock.now()
        calendar = self.market.calendar
        for session in calendar.between(placed, new_york_date(now)):
            seen = self.market.bar(request.symbol, session)
            opens, late = calendar.opens_at(session), calendar.closes_at(session) - EDGE
            if seen is None or now < opens:
                continue
            reason, price = self._judge(request, seen, fresh=session == placed, range_known=now >= late)
            if reason != rules.STAY:
                at = opens if price == seen.bar[0] and session != placed else late - timedelta(seconds=1)
                return _money(price), at, rules.REASONS[reason]
        return None

    @staticmethod
    def _judge(request: OrderRequest, seen: SimBar, *, fresh: bool, range_known: bool) -> tuple[int, float]:
        """Return (reason, price) of a resting order in one bar; a fresh order never sees the bar's open."""
        from kobe.backtest import fills as rules

        side = 1 if request.side is Side.LONG else -1
        stop = float(request.stop_price or 0)
        target = float("nan") if request.limit_price is None else float(request.limit_price)
        if not range_known:
            reason = rules.STAY if fresh else rules.exit_at_open(side, seen.bar[0], stop, target, False)
            return reason, seen.bar[0]
        reason, price, _ = rules.exit_on_bar(side, seen.bar, stop, target, rules.TICK_USD, False, False, True)
        return reason, price

    # -- books -------------------------------------------------------------------------------------------------

    def _resting(self) -> list[tuple[date, BrokerOrder]]:
        events = self.ledger.events(STREAM)
        placed = {e.entity: date.fromisoformat(e.payload["session"]) for e in events if e.kind == "accepted"}
        return [(placed[n], o) for n, o in _fold(events).items() if not o.status.is_final]

    def _orders(self) -> dict[str, BrokerOrder]:
        return _fold(self.ledger.events(STREAM))

    def _append(self, name: str, kind: str, payload: dict[str, Any]) -> None:
        self.ledger.append(STREAM, name, kind, payload, key=f"{name}:{kind}")

    def _append_fill(self, fill: Fill) -> None:
        key = f"{fill.client_order_id}:fill:{fill.fill_id}"
        self.ledger.append(STREAM, fill.client_order_id, "fill", order.fill_json(fill), key=key)

    def _append_status(self, answer: BrokerOrder) -> None:
        payload = {"status": answer.status.word, "detail": answer.detail}
        key = f"{answer.client_order_id}:status:{answer.status.word}"
        self.ledger.append(STREAM, answer.client_order_id, "status", payload, key=key)


def _fold(events: Iterable[Event]) -> dict[str, BrokerOrder]:
    books: dict[str, BrokerOrder] = {}
    for event in events:
        name = event.entity
        if event.kind == "accepted":
            request = order.request_from(event.payload)
            books[name] = BrokerOrder(client_order_id=name, request=request, status=OrderStatus.ACCEPTED, fills=())
        elif event.kind == "fill":
            books[name] = replace(books[name], fills=(*books[name].fills, order.fill_from(event.payload)))
        else:
            status = order.STATUS_BY_WORD[event.payload["status"]]
            books[name] = replace(books[name], status=status, detail=event.payload["detail"])
    return books


def _money(value: float) -> Decimal:
    return to_decimal(round(value, 6))


def opening_orders(broker: SimBroker, signal_id: str) -> list[BrokerOrder]:
    """Return the orders that opened a signal at the broker; tests count them."""
    return [o for o in broker.orders() if o.request.signal_id == signal_id and o.request.effect is Effect.OPEN]
