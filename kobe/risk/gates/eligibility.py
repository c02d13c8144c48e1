"""Whether a symbol may be traded at all: in the universe, and not on hold for odd data."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

TRADABLE = "tradable"


def check_tradable(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings in symbols on hold (kobe data quarantine), outside the universe, or without a bar."""
    del limits
    good = closes(request) or facts.tradable is True
    return verdict(TRADABLE, good=good, code="not_tradable", observed=facts.tradable, limit="in the universe, no hold")
