"""The one way an order is cleared: every gate sees it, and none refuses."""

from kobe.core.types import ClearedOrder, OrderRequest, Outcome, Verdict, seal
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import GATES


def review(request: OrderRequest, facts: GateFacts, limits: Limits) -> tuple[Verdict, ...]:
    """Return the verdict of every gate, in order."""
    return tuple(gate(request, facts, limits) for gate in GATES.values())


def refusals(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """Return the verdicts that refuse."""
    return tuple(v for v in verdicts if v.outcome is Outcome.REJECT)


def clear(request: OrderRequest, verdicts: tuple[Verdict, ...]) -> ClearedOrder | None:
    """Return the cleared order, or None when a gate refused or some gate was not asked."""
    asked = [v.gate for v in verdicts]
    if refusals(verdicts) or asked != list(GATES):
        return None
    return ClearedOrder(request=request, verdicts=verdicts, _seal=seal())
