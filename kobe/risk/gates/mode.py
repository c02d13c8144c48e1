"""The system's mode: what may be done at all just now."""

from kobe.core.types import Mode, OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

GATE = "mode"


def check(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings from REDUCE_ONLY on, and everything in HALT."""
    allowed = Mode.CLOSE_ONLY if closes(request) else Mode.REDUCED
    return verdict(
        GATE, good=facts.mode <= allowed, code="mode", observed=facts.mode.name, limit=f"at most {allowed.name}"
    )
