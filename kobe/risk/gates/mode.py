"""The system's mode: what may be done at all just now."""

from kobe.core.types import Mode, OrderRequest, Verdict
from kobe.risk.answers import passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

GATE = "mode"


def check(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings from REDUCE_ONLY on, and everything in HALT."""
    allowed = Mode.CLOSE_ONLY if closes(request) else Mode.REDUCED
    limit = f"at most {allowed.name}"
    if facts.mode <= allowed:
        return passed(GATE, facts.mode.name, limit)
    return refused(GATE, "mode", facts.mode.name, limit)
