"""A broker over the simulated one that misbehaves when told to, and writes down what it was asked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kobe.core.errors import ExternalError
from kobe.core.ports import BrokerOrder, Execution
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType

ORDER_CALLS = ("submit", "replace", "cancel", "lookup")


class Killed(BaseException):
    """The process ends here, as far as the test is concerned."""


class Wayward:
    """Everything passes to the simulated broker but what a plan of `plan(method, *what)` changes, call by call.

    `lost`: done, no answer. `silent`: not done, no answer. `open`: not done, told as it is. `reject`: refused.
    `sold`: a cancel comes too late, the order has filled. `part N`: N shares are filled, the rest canceled. `hidden N`:
    done, but told as accepted and unfilled at N looks. `pass`: nothing goes wrong.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.log: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self._plans: dict[str, list[str]] = {}
        self._told: dict[str, BrokerOrder] = {}
        self._hidden: dict[str, int] = {}
        self._mine: set[str] = set()
        self.die_at: int | None = None
        self.on_call: Callable[[], None] = lambda: None
        self.quiet: set[str] = set()
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def plan(self, method: str, *what: str) -> None:
        """Say how the next calls of a method go; the last one does not repeat."""
        self._plans.setdefault(method, []).extend(what)

    def asked(self, method: str) -> list[str]:
        """Return the names a method was called with."""
        return [name for called, name in self.log if called == method]

    def quotes(self, symbols: Any) -> Any:
        """Quote what is not quiet."""
        return {s: q for s, q in self.inner.quotes(symbols).items() if s not in self.quiet}

    def orders(self, since: Any = None) -> list[BrokerOrder]:
        """Return the orders as they are told."""
        found = [self._as_told(o) for o in self.inner.orders(since) if o.client_order_id not in self._mine]
        return found + [o for n, o in self._told.items() if n not in {f.client_order_id for f in found}]

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Take an order."""
        return self._do("submit", request.client_order_id, lambda: self._submit(request), request)

    def replace(self, name: str, request: OrderRequest) -> BrokerOrder:
        """Replace an order."""
        return self._do("replace", request.client_order_id, lambda: self.inner.replace(name, request), request)

    def cancel(self, name: str) -> BrokerOrder | None:
        """Cancel an order."""
        return self._do("cancel", name, lambda: self._told.get(name) or self._seen(self.inner.cancel(name)), None)

    def lookup(self, name: str) -> BrokerOrder | None:
        """Tell of an order."""
        return self._do("lookup", name, lambda: self._told.get(name) or self._seen(self.inner.lookup(name)), None)

    def _do(self, method: str, name: str, act: Callable[[], BrokerOrder | None], request: OrderRequest | None) -> Any:
        self.log.append((method, name))
        self.on_call()
        self._die()
        planned = self._plans.get(method)
        how, _, count = (planned.pop(0) if planned else "pass").partition(" ")
        answer = self._behave(how, int(count or 0), name, act, request)
        self._die()
        return answer

    def _behave(
        self, how: str, count: int, name: str, act: Callable[[], BrokerOrder | None], request: OrderRequest | None
    ) -> Any:
        if how == "silent":
            raise ExternalError("the broker did not answer", seen=name)
        if how == "open":
            return self._as_told(self.inner.lookup(name))
        if how == "sold":
            return self._sold(name)
        if request is not None and how == "reject":
            return self._keep(self._blank(request, OrderStatus.REJECTED))
        if request is not None and how == "part":
            return self._part(request, count)
        if how == "hidden":
            self._hidden[name] = count
        answer = act()
        if how == "lost":
            raise ExternalError("the answer was lost", seen=name)
        return self._seen(answer)

    def _submit(self, request: OrderRequest) -> BrokerOrder:
        if request.effect is Effect.CLOSE:
            live = [o.client_order_id for o in self.inner.orders() if not o.status.is_final and not o.is_buy
                    and o.symbol == request.symbol and o.client_order_id != request.client_order_id]  # fmt: skip
            self.faults += [f"{request.client_order_id} beside {name}" for name in live]
        return self.inner.submit(request)

    def _sold(self, name: str) -> BrokerOrder:
        resting = self.inner.books.orders[name].request
        self.inner.cancel(name)
        return self._part(resting, resting.quantity, as_name=name)

    def _part(self, request: OrderRequest, count: int, as_name: str = "") -> BrokerOrder:
        name = as_name or request.client_order_id
        inner = replace(request, client_order_id=f"{name}~part", quantity=count, order_type=OrderType.MARKET,
                        limit_price=None, stop_price=None)  # fmt: skip
        self._mine.add(inner.client_order_id)
        done = self.inner.submit(inner)
        whole = count == request.quantity
        made = replace(
            done, client_order_id=name, quantity=request.quantity,
            status=OrderStatus.FILLED if whole else OrderStatus.CANCELED,
            executions=tuple(
                Execution(execution_id=f"{name}:{i}", quantity=e.quantity, price=e.price, at=e.at, fee_usd=e.fee_usd)
                for i, e in enumerate(done.executions)
            ),
        )  # fmt: skip
        return self._keep(made)

    def _keep(self, answer: BrokerOrder) -> BrokerOrder:
        self._told[answer.client_order_id] = answer
        return answer

    def _blank(self, request: OrderRequest, status: OrderStatus) -> BrokerOrder:
        return BrokerOrder(
            client_order_id=request.client_order_id, symbol=request.symbol, quantity=request.quantity,
            is_buy=request.is_buy, status=status, filled=0, average_price=None, at=self.inner.clock.now(),
            detail="40310000: refused",
        )  # fmt: skip

    def _seen(self, answer: BrokerOrder | None) -> BrokerOrder | None:
        if answer is None or self._hidden.get(answer.client_order_id, 0) <= 0:
            return answer
        self._hidden[answer.client_order_id] -= 1
        return replace(answer, status=OrderStatus.ACCEPTED, filled=0, average_price=None, executions=())

    def _as_told(self, answer: BrokerOrder) -> BrokerOrder:
        return self._told.get(answer.client_order_id, answer)

    def _die(self) -> None:
        self._calls += 1
        if self.die_at == self._calls:
            raise Killed


def wayward(ctx: Any) -> Any:
    """Return a context whose broker is a wayward one."""
    broker = Wayward(ctx.broker)
    return replace(ctx, broker=broker, quotes=broker)
