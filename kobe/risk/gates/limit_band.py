"""The limit price: inside the exchange's limit-up limit-down band and not far from the last close.

The band's share follows the close before, its centre the last trade (the plan takes the mean of five minutes, which
no feed of ours tells). Bands are doubled in the last 25 minutes for tier 1 and up to $3.00, at the open no more since
amendment 18 of the plan (2019).
"""

from datetime import timedelta
from decimal import Decimal

from kobe.core.types import OrderRequest, OrderType, Verdict
from kobe.risk.answers import exempt, known, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

GATE = "limit_band"
TIER_2 = 2
THREE, THREE_QUARTERS = Decimal(3), Decimal("0.75")
SHARES = {1: Decimal("0.05"), TIER_2: Decimal("0.10")}
CHEAP_SHARE, CHEAPEST_USD, CHEAPEST_SHARE = Decimal("0.20"), Decimal("0.15"), Decimal("0.75")
DOUBLED = timedelta(minutes=25)


def half_width(reference: Decimal, close_before: Decimal, tier: int | None, *, late: bool) -> Decimal:
    """Return how far the band reaches from its centre, in dollars.

    Args:
        reference: centre of the band.
        close_before: raw close of the session before, which says whose share holds.
        tier: 1 or 2 of the plan; anything else counts as 1.
        late: whether it is one of the last 25 minutes.
    """
    if close_before > THREE:
        share = SHARES[TIER_2 if tier == TIER_2 else 1]
        doubled = late and tier != TIER_2
        width = share * reference
    else:
        doubled = late
        width = CHEAP_SHARE * reference
        if close_before < THREE_QUARTERS:
            width = min(CHEAPEST_USD, CHEAPEST_SHARE * reference)
    return 2 * width if doubled else width


def reference_of(facts: GateFacts) -> Decimal | None:
    """Return the last trade, or the close before where the feed tells none; None when neither is known."""
    last = None if facts.quote is None else facts.quote.last
    if last is None:
        last = facts.raw_close
    return last if known(last) and last > 0 else None


def check(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse limits at or beyond the price band, openings also far from the last close; stops and markets pass."""
    price, allowed = request.limit_price, "inside the price band"
    if request.order_type is not OrderType.IOC_LIMIT or price is None:
        return exempt(GATE, allowed, "rests, or has no limit")
    reference = reference_of(facts) if facts.quote is not None else None
    if not known(price) or reference is None:
        if closes(request) and known(price):
            return exempt(GATE, allowed, "exit, no last trade and no close known")
        return refused(GATE, "band_unknown", f"limit {price}, no last trade and no close known", allowed)
    before = facts.raw_close if known(facts.raw_close) else reference
    late = facts.closes_at is not None and facts.now >= facts.closes_at - DOUBLED
    room = half_width(reference, before, facts.luld_tier, late=late) - limits.luld_margin * reference
    if abs(price - reference) > room:
        return refused(GATE, "luld_band", price, f"{reference - room} to {reference + room}")
    if closes(request):
        return passed(GATE, price, f"{reference - room} to {reference + room}")
    return _near_the_close(price, facts, limits)


def _near_the_close(price: Decimal, facts: GateFacts, limits: Limits) -> Verdict:
    close, atr = facts.raw_close, facts.atr_usd
    if not known(close) or not known(atr) or atr <= 0:
        return refused(GATE, "atr_unknown", f"close {close}, ATR {atr}", f"{limits.limit_max_atr} ATR from the close")
    room = limits.limit_max_atr * atr
    limit = f"{close - room} to {close + room}"
    return refused(GATE, "limit_too_far", price, limit) if abs(price - close) > room else passed(GATE, price, limit)
