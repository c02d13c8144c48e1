"""What stops openings after losses or faults: the drawdown of day and month, and the circuit breakers."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk import drawdown
from kobe.risk.answers import exempt, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

DRAWDOWN, BREAKERS = "drawdown", "breakers"


def check_drawdown(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings in SAFE_MODE: too much lost since the last close, or since the month's highest equity."""
    limit = f"day < {limits.day_drawdown}, month < {limits.month_drawdown}"
    if closes(request):
        return exempt(DRAWDOWN, limit)
    observed = f"equity {facts.equity_usd}, last close {facts.last_equity_usd}, month's peak {facts.month_peak_usd}"
    fault = drawdown.fault(facts.equity_usd, facts.last_equity_usd, facts.month_peak_usd, limits)
    return passed(DRAWDOWN, observed, limit) if fault is None else refused(DRAWDOWN, fault, observed, limit)


def check_breakers(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings while a circuit breaker is open, or when nobody can say."""
    if closes(request):
        return exempt(BREAKERS, "all closed")
    if facts.breakers is None:
        return refused(BREAKERS, "breakers_unknown", "unknown", "all closed")
    if facts.breakers:
        told = "; ".join(f"{name}: {why}" for name, why in sorted(facts.breakers.items()))
        return refused(BREAKERS, "breaker_open", told, "all closed")
    return passed(BREAKERS, "all closed", "all closed")
