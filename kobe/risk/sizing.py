"""How many shares: the least of every cap, whole and rounded down, with the cap that bound it."""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

from kobe.risk.facts import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Whole shares and the name of the cap that was smallest."""

    quantity: int
    bound_by: str


def halved(limits: Limits) -> Limits:
    """Return the limits of a strategy that is trusted half: an order may cost half as much."""
    return replace(limits, order_usd=limits.order_usd / 2)


def size_at(price: Decimal, limits: Limits, cash_usd: Decimal) -> Size:
    """Return the shares affordable at a raw price; 0 means `unaffordable_at_order_cap` or no cash (DOMAIN D21).

    Whole shares because immediate-or-cancel orders may not be fractional (DOMAIN 4.1).
    """
    if not price.is_finite() or price <= 0:
        return Size(quantity=0, bound_by="no price")
    caps = {"order_cap": limits.order_usd, "cash": cash_usd}
    name = min(caps, key=lambda n: caps[n])
    shares = int((caps[name] / price).to_integral_value(ROUND_FLOOR))
    return Size(quantity=max(shares, 0), bound_by=name)
