"""How many shares: the least of every cap, whole and rounded down, with the cap that bound it (DOMAIN 7)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from kobe.core.types import Side
from kobe.risk.answers import known
from kobe.risk.facts import Limits
from kobe.risk.gates.account import spendable
from kobe.risk.gates.exposure import HARD_LEVERAGE

SURE, BARELY = Decimal("0.80"), Decimal("0.60")
NO_STOP, NO_PRICE, BELOW_GATE, STOOD_DOWN = "no_stop", "no_price", "below_gate", "stood_down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Whole shares, the name of the cap that was smallest, and the shares each cap allows."""

    quantity: int
    bound_by: str
    caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeInputs:
    """What a size is made of; None is unknown and gives no shares. Raw dollars.

    Attributes:
        entry, stop: the limit to be paid and where the loss is taken.
        side: direction of the position.
        probability: calibrated, of a net win; None where no model may speak, which gives the least size.
        gate: least probability worth acting on.
        factor: share of a normal risk that mode and breakers allow, 0 to 1.
        environment: sim, paper or live; a simulated broker need not tell a buying power.
        equity_usd, cash_usd, buying_power_usd: of the account.
        day_used_usd: opening notional spent and reserved today.
        gross_usd, name_usd, sector_usd: open notional, reservations included.
        adv_usd: average dollars a day; over `entry` they are shares.
    """

    entry: Decimal
    stop: Decimal | None
    side: Side = Side.LONG
    probability: float | None
    gate: float
    factor: Decimal = Decimal(1)
    environment: str | None = None
    equity_usd: Decimal | None
    cash_usd: Decimal | None
    buying_power_usd: Decimal | None
    day_used_usd: Decimal | None
    gross_usd: Decimal | None
    name_usd: Decimal | None
    sector_usd: Decimal | None
    adv_usd: float | None


def risk_fraction(probability: float | None, gate: float, limits: Limits) -> Decimal:
    """Return the share of equity to lose at the stop: from `min_size` at 60% to `max_size` at 80% and above.

    Args:
        probability: calibrated; None where no model may speak, which risks `min_size`; NaN risks nothing.
        gate: least probability worth acting on; below it nothing is risked.
        limits: holds both sizes.
    """
    if probability is None:
        return limits.min_size
    if math.isnan(probability) or probability < gate:
        return Decimal(0)
    sure = min(max(Decimal(str(probability)), BARELY), SURE)
    return limits.min_size + (sure - BARELY) / (SURE - BARELY) * (limits.max_size - limits.min_size)


def size(i: SizeInputs, limits: Limits) -> Size:
    """Return the least of all caps in whole shares; no shares come with the reason in `bound_by`.

    `stood_down` where mode or breakers allow nothing, `below_gate`, `no_price`, `no_stop`, the name of an input that is
    not known with `_unknown`, or the cap that leaves less than one share.
    """
    if not known(i.entry) or i.entry <= 0:
        return Size(quantity=0, bound_by=NO_PRICE)
    distance = _distance(i)
    if distance is None:
        return Size(quantity=0, bound_by=NO_STOP)
    if not known(i.factor) or i.factor <= 0:
        return Size(quantity=0, bound_by=STOOD_DOWN)
    fraction = risk_fraction(i.probability, i.gate, limits)
    if fraction <= 0:
        return Size(quantity=0, bound_by=BELOW_GATE)
    dollars = _dollar_caps(i, limits)
    unknown = [name for name, usd in dollars.items() if usd is None]
    if unknown or not known(i.equity_usd):
        name = unknown[0] if known(i.equity_usd) else "equity"
        return Size(quantity=0, bound_by=f"{name}_unknown")
    at_risk = fraction * min(i.factor, Decimal(1)) * i.equity_usd
    caps = {"risk": _whole(at_risk, distance)} | {
        name: _whole(usd, i.entry) for name, usd in dollars.items() if usd is not None
    }
    name = min(caps, key=lambda n: caps[n])
    return Size(quantity=caps[name], bound_by=name, caps=caps)


def _distance(i: SizeInputs) -> Decimal | None:
    if not known(i.stop):
        return None
    distance = i.entry - i.stop if i.side is Side.LONG else i.stop - i.entry
    return distance if distance > 0 else None


def _dollar_caps(i: SizeInputs, limits: Limits) -> dict[str, Decimal | None]:
    """What each cap lets one spend; None where it is not known."""
    gross = min(limits.max_gross, limits.leverage, HARD_LEVERAGE)
    caps = {
        "order_cap": limits.order_usd,
        "day_budget": limits.day_usd - i.day_used_usd if known(i.day_used_usd) else None,
        "cash": spendable(i.cash_usd, i.equity_usd, limits),
        "gross": _room(gross, i.equity_usd, i.gross_usd),
        "name": _room(limits.max_name, i.equity_usd, i.name_usd),
        "sector": _room(limits.max_sector, i.equity_usd, i.sector_usd),
        "adv_share": limits.max_adv_share * Decimal(str(i.adv_usd)) if _finite(i.adv_usd) else None,
        "buying_power": i.buying_power_usd if known(i.buying_power_usd) else None,
    }
    if i.buying_power_usd is None and i.environment == "sim":
        del caps["buying_power"]
    return caps


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _room(share: Decimal, equity: Decimal | None, used: Decimal | None) -> Decimal | None:
    return share * equity - used if known(equity) and known(used) else None


def _whole(amount: Decimal, each: Decimal) -> int:
    """Whole units an amount pays for; `//` cuts without rounding first."""
    return max(int(amount // each), 0)


def halved(limits: Limits) -> Limits:
    """Return the limits of a strategy that is trusted half: an order may cost half as much."""
    return replace(limits, order_usd=limits.order_usd / 2)


def size_at(price: Decimal, limits: Limits, cash_usd: Decimal) -> Size:
    """Return the shares affordable at a raw price; 0 means `unaffordable_at_order_cap` or no cash (DOMAIN D21).

    Whole shares because immediate-or-cancel orders may not be fractional (DOMAIN 4.1).
    """
    if not price.is_finite() or price <= 0:
        return Size(quantity=0, bound_by="no price")
    caps = {"order_cap": _whole(limits.order_usd, price), "cash": _whole(cash_usd, price)}
    name = min(caps, key=lambda n: caps[n])
    return Size(quantity=caps[name], bound_by=name, caps=caps)
