"""The quote: sane, fresh and tight enough to trade on."""

from decimal import Decimal

from kobe.core.ports import Quote
from kobe.core.types import OrderRequest, OrderType, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

SANITY, SPREAD = "quote", "spread"


def _fault(quote: Quote | None, facts: GateFacts, limits: Limits) -> str | None:
    if quote is None:
        return "no quote"
    prices = (quote.bid, quote.ask)
    if not all(p.is_finite() and p > 0 for p in prices):
        return f"bid {quote.bid} ask {quote.ask}"
    if quote.bid >= quote.ask:
        return f"locked or crossed: bid {quote.bid} ask {quote.ask}"
    if min(quote.bid_size, quote.ask_size) <= 0:
        return f"one-sided: {quote.bid_size} x {quote.ask_size}"
    age = (facts.now - quote.at).total_seconds()
    if not -1.0 <= age <= limits.quote_max_age_s:
        return f"{age:.1f} s old"
    return None


def check_sanity(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse without a quote that is positive, uncrossed, two-sided and fresh; resting stops need none."""
    rests = request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)
    fault = None if rests else _fault(facts.quote, facts, limits)
    limit = f"0 < bid < ask, age <= {limits.quote_max_age_s:g} s"
    return verdict(SANITY, good=fault is None, code="bad_quote", observed=fault or "sane", limit=limit)


def relative_spread(quote: Quote) -> Decimal:
    """(ask - bid) / mid (DOMAIN 4.5): 10.00 to 10.20 is 1.980%, not 2%."""
    return (quote.ask - quote.bid) / ((quote.ask + quote.bid) / 2)


def check_spread(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings across a wide spread; an exit pays what it must."""
    limit = f"<= {limits.max_spread}"
    if closes(request):
        return verdict(SPREAD, good=True, code="spread_too_wide", observed="exit", limit=limit)
    if _fault(facts.quote, facts, limits) is not None or facts.quote is None:
        return verdict(SPREAD, good=False, code="spread_unknown", observed="no sane quote", limit=limit)
    spread = relative_spread(facts.quote)
    observed = f"{spread:.5f}"
    return verdict(SPREAD, good=spread <= limits.max_spread, code="spread_too_wide", observed=observed, limit=limit)
