"""How a gate answers: passed, refused, or not asked because the order is an exit."""

from decimal import Decimal
from typing import TypeGuard

from kobe.core.types import OrderRequest, Outcome, Verdict

OK = "ok"


def passed(gate: str, observed: object, limit: object) -> Verdict:
    """Return a verdict that lets the order through."""
    return Verdict(gate=gate, outcome=Outcome.PASS, code=OK, observed=str(observed), limit=str(limit))


def refused(gate: str, code: str, observed: object, limit: object) -> Verdict:
    """Return a verdict that refuses with a code of `gates.codes.CODES`."""
    return Verdict(gate=gate, outcome=Outcome.REJECT, code=code, observed=str(observed), limit=str(limit))


def exempt(gate: str, limit: object, why: str = "exit") -> Verdict:
    """Return the pass of an order this gate does not judge."""
    return Verdict(gate=gate, outcome=Outcome.PASS, code=OK, observed=why, limit=str(limit))


def known(value: Decimal | None) -> TypeGuard[Decimal]:
    """Whether an amount is known: neither missing nor NaN nor infinite."""
    return value is not None and value.is_finite()


def cost_of(request: OrderRequest) -> Decimal | None:
    """Return limit times quantity in dollars; None where there is no limit that bounds what is spent."""
    limit = request.limit_price
    return limit * request.quantity if known(limit) and limit > 0 else None
