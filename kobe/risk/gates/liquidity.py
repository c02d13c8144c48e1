"""Price and liquidity of the symbol: no penny stocks, no thin ones."""

import math

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import exempt, known, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

PRICE, ADV = "price", "adv"
IEX = "iex"


def check_price(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings below the least raw price (SEC Rule 3a51-1 calls them penny stocks)."""
    limit, price = f">= {limits.min_price_usd}", facts.raw_close
    if closes(request):
        return exempt(PRICE, limit)
    if not known(price):
        return refused(PRICE, "price_unknown", "no close", limit)
    if price < limits.min_price_usd:
        return refused(PRICE, "price_too_low", price, limit)
    return passed(PRICE, price, limit)


def check_adv(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings whose average dollar volume is too small or unknown, or comes from a part of the tape only."""
    limit, adv, feed = f">= {limits.min_adv_usd:g}", facts.adv_usd, facts.adv_feed
    if closes(request):
        return exempt(ADV, limit)
    if adv is None or not math.isfinite(adv):
        return refused(ADV, "adv_unknown", "unknown", limit)
    if not feed:
        return refused(ADV, "adv_feed_unknown", f"{adv:.0f} of an unknown feed", "volume of the whole tape")
    if feed == IEX and not limits.trust_iex_volume:
        return refused(ADV, "adv_feed_untrusted", f"{adv:.0f} on iex", "volume of the whole tape")
    observed = f"{adv:.2f} on {feed}"
    return passed(ADV, observed, limit) if adv >= limits.min_adv_usd else refused(ADV, "adv_too_low", observed, limit)
