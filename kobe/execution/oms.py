"""The order manager: the intent is durable before the wire, and the broker is asked before anything is repeated."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from kobe.core.clock import Clock
from kobe.core.errors import ExternalError, IntegrityError
from kobe.core.ports import AuditLog, Broker, BrokerOrder, KillSwitch, Ledger
from kobe.core.types import ClearedOrder, Effect, Order, OrderRequest, OrderStatus, OrderType, TradePlan
from kobe.execution import answers, book, corporate, order
from kobe.execution.order import OrderFold
from kobe.execution.plans import PLANS, plan_json

Checkpoint = Callable[[str], None]
SEARCH_S = (0.0, 10.0, 20.0)  # a lost order is looked for three times over thirty seconds (DOMAIN 4.3)
POLL_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.0)  # the last one repeats until the deadline
MOST_POLLS = 200  # a clock that stands still ends it too


def _no_checkpoint(_name: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Oms:
    """One writer of orders. Its caller holds the lease `orders`.

    Attributes:
        ledger: where every order event is kept.
        fold: the orders of that ledger.
        broker: where orders go.
        audit: where each step is chained.
        kill_switch: asked immediately before each send.
        clock, wait: the present, and letting some seconds of it pass.
        deadline_s: how long an order that should end at once is asked after.
        checkpoint: called with the name of each step; crash tests stop there.
    """

    ledger: Ledger
    fold: OrderFold
    broker: Broker
    audit: AuditLog
    kill_switch: KillSwitch
    clock: Clock
    wait: Callable[[float], None]
    deadline_s: float = 10.0
    checkpoint: Checkpoint = field(default=_no_checkpoint)

    def orders(self) -> dict[str, Order]:
        """Return every order by client order id."""
        return self.fold.orders()

    def order(self, name: str) -> Order | None:
        """Return one order; None where there is none."""
        return self.fold.find(name)

    def unfinished(self) -> dict[str, Order]:
        """Return the orders whose status is not final, by client order id."""
        return self.fold.unfinished()

    def recent(self, first: date, names: Iterable[str] = ()) -> dict[str, Order]:
        """Return the orders of a span of dates up to now, those not final, and some by name (`OrderFold.recent`)."""
        return self.fold.recent(first, names)

    def intents(self) -> list[tuple[Order, datetime]]:
        """Return every order with the instant its intent was written."""
        return self.fold.intents()

    def book(self) -> book.Book:
        """Return positions and trades, the splits on record carried through."""
        return self.fold.book(corporate.splits(self.ledger.events(corporate.STREAM)))

    def plans(self) -> dict[str, TradePlan]:
        """Return how each signal's position is to be closed; a later word about a signal replaces an earlier one."""
        return self.fold.plans()

    # -- sending -----------------------------------------------------------------------------------------------

    def submit(self, cleared: ClearedOrder, plan: TradePlan | None = None) -> Order:
        """Send a cleared order once and record what came of it.

        Killed anywhere in here, a later `submit` or `refresh` of the same order finds out from the broker what
        happened before it sends anything.

        Raises:
            ExternalError: no answer that can be believed; the order stays UNKNOWN and keeps its reservation.
        """
        return self._go(cleared, plan, replaces=None)

    def amend(self, name: str, cleared: ClearedOrder) -> Order:
        """Put a cleared order in the place of a resting one; at no instant do both rest.

        Raises:
            ExternalError: no answer that can be believed; `refresh` finds out later which of the two rests.
        """
        return self._go(cleared, None, replaces=name)

    def _go(self, cleared: ClearedOrder, plan: TradePlan | None, *, replaces: str | None) -> Order:
        request = cleared.request
        name = request.client_order_id
        known = self.order(name)
        if known is not None and known.status.is_final:
            return known
        if known is None:
            self._write_intent(cleared, plan, replaces)
        else:
            request, replaces = known.request, self.fold.replaced_by(name)
            seen = self._search(known)
            if seen is not None:
                return self._follow(request, self._record(seen))
            self.audit.append("order_intent", order.request_json(request) | {"again": True})
        self.checkpoint("before_send")
        self._set_status(name, OrderStatus.SENT, "")
        self.checkpoint("after_sent")
        why = self.kill_switch.blocks(closing=request.effect is Effect.CLOSE)
        if why is not None:
            return self._set_status(name, OrderStatus.ABANDONED, f"kill switch before the wire: {why}")
        return self._send(request, replaces)

    def _write_intent(self, cleared: ClearedOrder, plan: TradePlan | None, replaces: str | None) -> None:
        request = cleared.request
        self.checkpoint("before_intent")
        document = order.request_json(request) | ({"replaces": replaces} if replaces else {})
        name = request.client_order_id
        with self.ledger.exclusive():
            if plan is not None:
                key = f"{plan.signal_id}:{request.client_order_id}"
                self.ledger.append(PLANS, plan.signal_id, "plan", plan_json(plan), key=key)
            self.ledger.append(order.STREAM, name, "intent", document, key=f"{name}:intent")
        self.checkpoint("after_intent")
        self.audit.append("order_intent", document)
        self.checkpoint("after_intent_audit")

    def _send(self, request: OrderRequest, replaces: str | None) -> Order:
        name = request.client_order_id
        try:
            answer = self.broker.submit(request) if replaces is None else self.broker.replace(replaces, request)
            self.checkpoint("after_wire")
            known = self._record(answer)
        except ExternalError as error:
            self._set_status(name, OrderStatus.UNKNOWN, f"no answer that can be believed: {error.what}")
            self.checkpoint("after_unknown")
            found = self._search(self._order(name))
            if found is None:
                raise
            known = self._record(found)
        if replaces is not None:
            self._look(replaces)
        return self._follow(request, known)

    def _follow(self, request: OrderRequest, known: Order) -> Order:
        """Ask after an order that ends at once until it has ended; past the deadline it is UNKNOWN, not gone."""
        if _rests(request):
            return known
        name = request.client_order_id
        known = self._until_final(name, known)
        if known.status.is_final:
            return known
        return self._set_status(name, OrderStatus.UNKNOWN, f"not final after {self.deadline_s:g} s")

    def _until_final(self, name: str, known: Order) -> Order:
        """Ask after an order until it has ended or the deadline has passed; slow answers count as time too."""
        ends, step = self.clock.now() + timedelta(seconds=self.deadline_s), 0
        while not known.status.is_final and self.clock.now() < ends and step < MOST_POLLS:
            self.wait(POLL_S[min(step, len(POLL_S) - 1)])
            step += 1
            self.checkpoint("before_poll")
            known = self._look(name) or known
        return known

    def _look(self, name: str) -> Order | None:
        """Ask once; silence leaves everything as it is."""
        try:
            answer = self._lookup(name)
        except ExternalError:
            return None
        return None if answer is None else self._record(answer)

    def _search(self, known: Order) -> BrokerOrder | None:
        """Look for an order that may have been sent; None when the broker does not know it for long enough."""
        may_be_there = known.status is not OrderStatus.INTENT
        for pause in SEARCH_S if may_be_there else SEARCH_S[:1]:
            self.wait(pause)
            found = self._lookup(known.request.client_order_id)
            if found is not None:
                return found
        return None

    def _lookup(self, name: str) -> BrokerOrder | None:
        self.checkpoint("before_lookup")
        return self.broker.lookup(name)

    # -- recording ---------------------------------------------------------------------------------------------

    def _record(self, answer: BrokerOrder) -> Order:
        """Write what the broker says; repeating it changes nothing.

        Raises:
            ExternalError: it contradicts what was asked for or was told before; the order stays as it is.
            IntegrityError: the order was never intended here.
        """
        name = answer.client_order_id
        known = self.order(name)
        if known is None:
            raise IntegrityError("the broker told of an order that was never intended", seen=name,
                                 next_command="kobe reconcile")  # fmt: skip
        try:
            fills = answers.fresh_fills(known, answer)
        except ExternalError as error:
            self.audit.append("broker_contradiction", {"client_order_id": name, "seen": str(error.seen)})
            raise
        status = answers.status_after(known, answer)
        self.checkpoint("before_record")
        with self.ledger.exclusive():
            for fill in fills:
                key = f"{name}:fill:{fill.fill_id}"
                self.ledger.append(order.STREAM, name, "fill", order.fill_json(fill), key=key)
            changed = self._append_status(name, known, status, answer.detail)
        self.checkpoint("after_record")
        if changed or fills:
            told = {"client_order_id": name, "filled": answer.filled, "status": status.word, "detail": answer.detail}
            self.audit.append("order_result", told)
        self.checkpoint("after_record_audit")
        return self._order(name)

    def _order(self, name: str) -> Order:
        known = self.order(name)
        assert known is not None
        return known

    def _set_status(self, name: str, status: OrderStatus, detail: str) -> Order:
        known = self._order(name)
        if self._append_status(name, known, status, detail):
            self.audit.append("order_status", {"client_order_id": name, "status": status.word, "detail": detail})
        return self._order(name)

    def _append_status(self, name: str, known: Order, status: OrderStatus, detail: str) -> bool:
        """Append a status that is news; the same again is none."""
        if known.status is status and (known.detail == detail or status is OrderStatus.SENT):
            return False
        payload = {"status": status.word, "detail": detail}
        key = f"{name}:{status.word}:{known.filled}:{known.changes}"
        return self.ledger.append(order.STREAM, name, "status", payload, key=key)

    # -- looking after -----------------------------------------------------------------------------------------

    def cancel(self, name: str) -> Order:
        """Cancel what is still open of an order and wait until the broker says how it ended.

        Allowed under the kill switch. What was filled before the cancel arrived counts.

        Raises:
            ExternalError: the broker cannot be reached.
        """
        self.checkpoint("before_cancel")
        answer = self.broker.cancel(name)
        self.checkpoint("after_cancel")
        if answer is None:
            return self._order(name)
        return self._until_final(name, self._record(answer))

    def refresh(self, today: date) -> list[Order]:
        """Ask the broker about every order that is not final; return those that changed.

        An order the broker never saw is abandoned once its session is over; until then a repeated submit may
        send it under the same name. One that cannot be believed does not keep the others from being asked.

        Raises:
            ExternalError: about at least one of them nothing believable was heard.
        """
        changed, faults = [], list[ExternalError]()
        for name, known in self.unfinished().items():
            try:
                now = self._refreshed(name, known, today)
            except ExternalError as error:
                faults.append(error)
                continue
            if now != known:
                changed.append(now)
        if faults:
            raise faults[0]
        return changed

    def _refreshed(self, name: str, known: Order, today: date) -> Order:
        answer = self._lookup(name)
        if answer is not None:
            return self._record(answer)
        over = known.request.session < today and not _rests(known.request)
        moved = self.fold.replaced_by(name) is not None and known.request.session < today
        if over or moved:
            return self._set_status(name, OrderStatus.ABANDONED, "never reached the broker")
        return known

    def adopt(self, answer: BrokerOrder) -> Order:
        """Write what the broker says about an order of ours that may already count as final: late fills are true."""
        return self._record(answer)


def _rests(request: OrderRequest) -> bool:
    return request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)


def describe(known: Order) -> dict[str, Any]:
    """Return an order as JSON-ready values for reports."""
    return {
        **order.request_json(known.request),
        "status": known.status.word,
        "detail": known.detail,
        "filled": known.filled,
        "fills": [order.fill_json(f) for f in known.fills],
    }
