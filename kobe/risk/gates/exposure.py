"""Exposure: how many positions, and never the same wish twice."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

POSITIONS, HELD, DUPLICATE = "max_positions", "symbol_held", "duplicate"


def check_positions(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening when the book is full or its size unknown."""
    count = facts.open_positions
    good = closes(request) or (count is not None and count < limits.max_positions)
    return verdict(POSITIONS, good=good, code="max_positions", observed=count, limit=f"< {limits.max_positions}")


def check_held(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse an opening in a symbol that is already held or on order."""
    good = closes(request) or facts.symbol_held is False
    return verdict(HELD, good=good, code="symbol_held", observed=facts.symbol_held, limit=False)


def check_duplicate(_request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse an order whose name was ever sent: one intent, at most one order."""
    good = facts.already_ordered is False
    return verdict(DUPLICATE, good=good, code="duplicate_intent", observed=facts.already_ordered, limit=False)
