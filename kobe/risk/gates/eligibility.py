"""Whether a symbol may be traded at all: in the universe, on no hold for odd data, no earnings announcement near."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

TRADABLE, EARNINGS = "tradable", "earnings"


def check_tradable(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings in symbols on hold (kobe data quarantine), outside the universe, or without a bar."""
    del limits
    good = closes(request) or facts.tradable is True
    return verdict(TRADABLE, good=good, code="not_tradable", observed=facts.tradable, limit="in the universe, no hold")


def check_earnings(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings near an earnings announcement, or where nobody knows of any, while earnings.enabled is set."""
    del limits
    good = closes(request) or facts.clear_of_earnings is True
    return verdict(EARNINGS, good=good, code="earnings_near", observed=facts.clear_of_earnings, limit="none near")
