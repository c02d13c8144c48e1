"""What a broker's answer adds to what is known of an order: pure, and suspicious.

Truth is the filled quantity, not the status (DOMAIN 4.3). A broker that tells single executions is taken at its
word; one that tells only sums has told a new fill whenever the sum grew.
"""

from decimal import ROUND_HALF_EVEN, Decimal

from kobe.core.errors import ExternalError
from kobe.core.ports import BrokerOrder, Execution
from kobe.core.types import Fill, Order, OrderStatus

_PLACES = Decimal("0.000000001")


def fresh_fills(known: Order, answer: BrokerOrder) -> tuple[Fill, ...]:
    """Return the fills an answer tells that are not known yet.

    Raises:
        ExternalError: the answer is about something else, takes shares back, or fills more than was asked for.
    """
    _check_identity(known, answer)
    if answer.executions:
        seen = {f.fill_id for f in known.fills}
        fresh = [e for e in answer.executions if e.execution_id not in seen]
        if sum(f.quantity for f in known.fills) + sum(e.quantity for e in fresh) != answer.filled:
            raise _unbelievable(known, f"executions that do not add up to {answer.filled} filled")
        return tuple(_fill(known, e) for e in fresh)
    quantity = answer.filled - known.filled
    if not quantity:
        return ()
    price = _price_of_the_rest(known, answer, quantity)
    execution_id = f"{known.request.client_order_id}:{answer.filled}"
    return (_fill(known, Execution(execution_id=execution_id, quantity=quantity, price=price, at=answer.at)),)


def status_after(known: Order, answer: BrokerOrder) -> OrderStatus:
    """Return the status an answer means; open with some shares filled is PARTIAL."""
    if not answer.status.is_final and answer.filled >= known.request.quantity:
        return OrderStatus.FILLED
    if answer.status is OrderStatus.ACCEPTED and answer.filled:
        return OrderStatus.PARTIAL
    return answer.status


def _check_identity(known: Order, answer: BrokerOrder) -> None:
    r = known.request
    asked = (r.client_order_id, r.symbol, r.quantity, r.is_buy)
    told = (answer.client_order_id, answer.symbol, answer.quantity, answer.is_buy)
    if asked != told:
        raise _unbelievable(known, f"an order for {told} where {asked} was sent")
    if answer.filled < known.filled:
        raise _unbelievable(known, f"{answer.filled} filled after {known.filled}")
    if answer.filled > r.quantity:
        raise _unbelievable(known, f"{answer.filled} filled of {r.quantity}")


def _price_of_the_rest(known: Order, answer: BrokerOrder, quantity: int) -> Decimal:
    """Return the price of the shares that came since: what all cost less what the known ones cost."""
    average = answer.average_price
    if average is None or not average.is_finite() or average <= 0:
        raise _unbelievable(known, f"{answer.filled} filled at {average}")
    before = sum((f.price * f.quantity for f in known.fills), Decimal(0))
    price = (average * answer.filled - before) / quantity
    if price <= 0:
        raise _unbelievable(known, f"an average of {average} that the fills before it do not allow")
    return price.quantize(_PLACES, ROUND_HALF_EVEN) if price.as_tuple().exponent < -9 else price  # type: ignore[operator]


def _fill(known: Order, execution: Execution) -> Fill:
    r = known.request
    return Fill(
        fill_id=execution.execution_id, client_order_id=r.client_order_id, symbol=r.symbol, side=r.side,
        effect=r.effect, quantity=execution.quantity, price=execution.price, fee_usd=execution.fee_usd,
        at=execution.at,
    )  # fmt: skip


def _unbelievable(known: Order, seen: str) -> ExternalError:
    return ExternalError(
        "the broker's answer contradicts the order", seen=f"{known.request.client_order_id}: {seen}",
        expected="the order that was sent, with at least the shares told before", next_command="kobe reconcile",
    )  # fmt: skip
