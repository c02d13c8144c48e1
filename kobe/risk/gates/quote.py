"""The quote: sane, fresh and tight enough to trade on."""

from decimal import Decimal

from kobe.core.ports import Quote
from kobe.core.types import OrderRequest, OrderType, Verdict
from kobe.risk.answers import exempt, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

SANITY, SPREAD = "quote", "spread"
AHEAD_S = 1.0  # a quote may be this far ahead of our clock; from further ahead its age means nothing
_NEED_NONE = (OrderType.GTC_STOP, OrderType.GTC_OCO, OrderType.MARKET)


def _fault(quote: Quote | None, facts: GateFacts, limits: Limits) -> str | None:
    if quote is None:
        return "no quote"
    bid, ask = quote.bid, quote.ask
    if not (bid.is_finite() and ask.is_finite() and bid > 0 and ask > 0):
        return f"bid {bid} ask {ask}"
    if bid >= ask:
        return f"locked or crossed: bid {bid} ask {ask}"
    if quote.bid_size <= 0 or quote.ask_size <= 0:
        return f"one-sided: {quote.bid_size} x {quote.ask_size}"
    age = (facts.now - quote.at).total_seconds()
    if not -AHEAD_S <= age <= limits.quote_max_age_s:
        return f"{age:.1f} s old"
    return None


def check_sanity(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse without a quote that is positive, uncrossed, two-sided and fresh; stops and market exits need none."""
    limit = f"0 < bid < ask, age <= {limits.quote_max_age_s:g} s"
    if closes(request) and request.order_type in _NEED_NONE:
        return exempt(SANITY, limit, "needs no quote")
    fault = _fault(facts.quote, facts, limits)
    return passed(SANITY, "sane", limit) if fault is None else refused(SANITY, "bad_quote", fault, limit)


def relative_spread(quote: Quote) -> Decimal:
    """(ask - bid) / mid (DOMAIN 4.5): 10.00 to 10.20 is 1.980%, not 2%."""
    return (quote.ask - quote.bid) / ((quote.ask + quote.bid) / 2)


def check_spread(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings across a wide spread; an exit pays what it must."""
    limit = f"<= {limits.max_spread}"
    if closes(request):
        return exempt(SPREAD, limit)
    if facts.quote is None or _fault(facts.quote, facts, limits) is not None:
        return refused(SPREAD, "spread_unknown", "no sane quote", limit)
    bid, ask = facts.quote.bid, facts.quote.ask
    observed = f"{relative_spread(facts.quote):.5f}"
    if 2 * (ask - bid) > limits.max_spread * (ask + bid):  # without a division, which would round
        return refused(SPREAD, "spread_too_wide", observed, limit)
    return passed(SPREAD, observed, limit)
