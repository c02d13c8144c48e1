"""The order manager: the intent is durable before the wire, and the broker is asked before anything is repeated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from kobe.core.clock import from_ns
from kobe.core.errors import ExternalError
from kobe.core.ports import AuditLog, Broker, BrokerOrder, KillSwitch, Ledger
from kobe.core.types import ClearedOrder, Order, OrderRequest, OrderStatus, OrderType, TradePlan
from kobe.execution import book, order
from kobe.execution.plans import PLANS, plan_from, plan_json

Checkpoint = Callable[[str], None]


def _no_checkpoint(_name: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Oms:
    """One writer of orders. Its caller holds the lease `orders`.

    Attributes:
        ledger: where every order event is kept.
        broker: where orders go.
        audit: where each step is chained.
        kill_switch: asked immediately before each send.
        checkpoint: called with the name of each step; crash tests stop there.
    """

    ledger: Ledger
    broker: Broker
    audit: AuditLog
    kill_switch: KillSwitch
    checkpoint: Checkpoint = field(default=_no_checkpoint)

    def orders(self) -> dict[str, Order]:
        """Return every order by client order id."""
        return order.fold(self.ledger.events(order.STREAM))

    def intents(self) -> list[tuple[Order, datetime]]:
        """Return every order with the instant its intent was written."""
        events = self.ledger.events(order.STREAM)
        instants = {e.entity: from_ns(e.at_ns) for e in events if e.kind == "intent"}
        return [(o, instants[name]) for name, o in order.fold(events).items()]

    def book(self) -> book.Book:
        """Return positions and trades."""
        return book.build(self.orders().values())

    def plans(self) -> dict[str, TradePlan]:
        """Return how each signal's position is to be closed."""
        return {e.entity: plan_from(e.payload) for e in self.ledger.events(PLANS)}

    def submit(self, cleared: ClearedOrder, plan: TradePlan | None = None) -> Order:
        """Send a cleared order once and record what came of it.

        Killed anywhere in here, a later `submit` or `recover` of the same order finds out from the broker what
        happened before it sends anything.

        Raises:
            ExternalError: the broker cannot be reached; the order stays UNKNOWN and keeps its reservation.
        """
        request = cleared.request
        name = request.client_order_id
        known = self.orders().get(name)
        if known is not None and known.status.is_final:
            return known
        if known is None:
            self._write_intent(cleared, plan)
        else:
            request = known.request
            seen = self._lookup(name)
            if seen is not None:
                return self._record(seen)
        self.checkpoint("before_send")
        if self.kill_switch.reason() is not None:
            return self._set_status(name, OrderStatus.ABANDONED, "kill switch before the wire")
        return self._send(request)

    def _write_intent(self, cleared: ClearedOrder, plan: TradePlan | None) -> None:
        request = cleared.request
        self.checkpoint("before_intent")
        with self.ledger.exclusive():
            if plan is not None:
                self.ledger.append(PLANS, plan.signal_id, "plan", plan_json(plan), key=plan.signal_id)
            document = order.request_json(request)
            self.ledger.append(order.STREAM, request.client_order_id, "intent", document, key=_key(request, "intent"))
        self.checkpoint("after_intent")
        self.audit.append("order_intent", document)
        self.checkpoint("after_intent_audit")

    def _send(self, request: OrderRequest) -> Order:
        name = request.client_order_id
        self._set_status(name, OrderStatus.SENT, "")
        self.checkpoint("after_sent")
        try:
            answer = self.broker.submit(request)
        except ExternalError:
            self._set_status(name, OrderStatus.UNKNOWN, "no answer from the broker")
            raise
        self.checkpoint("after_wire")
        return self._record(answer)

    def _lookup(self, name: str) -> BrokerOrder | None:
        self.checkpoint("before_lookup")
        return self.broker.lookup(name)

    def _record(self, answer: BrokerOrder) -> Order:
        """Write what the broker says; repeating it changes nothing."""
        name = answer.client_order_id
        with self.ledger.exclusive():
            fresh = [
                self.ledger.append(order.STREAM, name, "fill", order.fill_json(f), key=f"{name}:fill:{f.fill_id}")
                for f in answer.fills
            ]
            status = {"status": answer.status.word, "detail": answer.detail}
            changed = self.ledger.append(
                order.STREAM, name, "status", status, key=f"{name}:{answer.status.word}:{len(answer.fills)}"
            )
        self.checkpoint("after_record")
        if changed or any(fresh):
            filled = sum(f.quantity for f in answer.fills)
            self.audit.append("order_result", {"client_order_id": name, "filled": filled, **status})
        self.checkpoint("after_record_audit")
        return self.orders()[name]

    def _set_status(self, name: str, status: OrderStatus, detail: str) -> Order:
        payload = {"status": status.word, "detail": detail}
        if self.ledger.append(order.STREAM, name, "status", payload, key=f"{name}:{status.word}:0"):
            self.audit.append("order_status", {"client_order_id": name, **payload})
        return self.orders()[name]

    def cancel(self, name: str) -> Order:
        """Cancel what is still open of an order; allowed under the kill switch."""
        answer = self.broker.cancel(name)
        return self.orders()[name] if answer is None else self._record(answer)

    def refresh(self, today: date) -> list[Order]:
        """Ask the broker about every order that is not final; return those that changed.

        An order the broker never saw is abandoned once its session is over; until then a repeated submit may
        send it under the same name.
        """
        changed = []
        for name, known in self.orders().items():
            if known.status.is_final:
                continue
            answer = self._lookup(name)
            if answer is not None:
                now = self._record(answer)
            elif known.request.session < today and not _rests(known.request):
                now = self._set_status(name, OrderStatus.ABANDONED, "never reached the broker")
            else:
                continue
            if now != known:
                changed.append(now)
        return changed


def _rests(request: OrderRequest) -> bool:
    return request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)


def _key(request: OrderRequest, kind: str) -> str:
    return f"{request.client_order_id}:{kind}"


def describe(known: Order) -> dict[str, Any]:
    """Return an order as JSON-ready values for reports."""
    return {
        **order.request_json(known.request),
        "status": known.status.word,
        "detail": known.detail,
        "filled": known.filled,
        "fills": [order.fill_json(f) for f in known.fills],
    }
