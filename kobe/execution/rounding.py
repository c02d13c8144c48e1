"""Limit and stop prices in ticks: the one place where a float price becomes a broker's Decimal (DOMAIN 4.4)."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

BUY_PAD, SELL_PAD = Decimal("1.001"), Decimal("0.999")
_DOLLAR = Decimal(1)
_CENT, _HUNDREDTH_CENT = Decimal("0.01"), Decimal("0.0001")


def tick_for(price: Decimal) -> Decimal:
    """Return the smallest price step brokers accept: a cent from a dollar up, a hundredth of a cent below."""
    return _CENT if price >= _DOLLAR else _HUNDREDTH_CENT


def floor_tick(price: Decimal) -> Decimal:
    """Round down to the tick."""
    tick = tick_for(price)
    return (price / tick).to_integral_value(ROUND_FLOOR) * tick


def ceil_tick(price: Decimal) -> Decimal:
    """Round up to the tick."""
    tick = tick_for(price)
    return (price / tick).to_integral_value(ROUND_CEILING) * tick


def buy_limit(ask: Decimal) -> Decimal:
    """Limit of an immediate-or-cancel buy: 0.1% through the ask, never below the ask itself (D23)."""
    return max(floor_tick(ask * BUY_PAD), ceil_tick(ask))


def sell_limit(bid: Decimal, pad: Decimal = SELL_PAD) -> Decimal:
    """Limit of an immediate-or-cancel sale: 0.1% through the bid, never above the bid itself (D23)."""
    return min(ceil_tick(bid * pad), floor_tick(bid))
