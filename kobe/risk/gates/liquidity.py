"""Price and liquidity of the symbol: no penny stocks, no thin ones."""

import math

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

PRICE, ADV = "price", "adv"


def check_price(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings below the least raw price (SEC Rule 3a51-1 calls them penny stocks)."""
    price = facts.raw_close
    good = closes(request) or (price is not None and price.is_finite() and price >= limits.min_price_usd)
    return verdict(PRICE, good=good, code="price_too_low", observed=price, limit=f">= {limits.min_price_usd}")


def check_adv(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings in symbols whose average dollar volume is too small or unknown."""
    adv = facts.adv_usd
    good = closes(request) or (adv is not None and math.isfinite(adv) and adv >= limits.min_adv_usd)
    return verdict(ADV, good=good, code="adv_too_low", observed=adv, limit=f">= {limits.min_adv_usd:g}")
