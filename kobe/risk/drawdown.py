"""SAFE_MODE: how much of the equity may be lost in a day or a month before nothing is opened (DOMAIN 7)."""

from decimal import Decimal

from kobe.risk.answers import known
from kobe.risk.facts import Limits

DAY, MONTH, UNKNOWN = "safe_mode_day", "safe_mode_month", "equity_unknown"


def fault(equity: Decimal | None, last: Decimal | None, peak: Decimal | None, limits: Limits) -> str | None:
    """Return why nothing may be opened, or None; a loss of exactly the bound triggers, the month's comes first.

    Args:
        equity: now, in dollars.
        last: at the close before, money moved since then included, so that no transfer looks like a loss.
        peak: highest since the month began, likewise.
        limits: the bounds.
    """
    if not known(equity) or not known(last) or not known(peak) or last <= 0 or peak <= 0:
        return UNKNOWN
    if peak - equity >= limits.month_drawdown * peak:
        return MONTH
    return DAY if last - equity >= limits.day_drawdown * last else None
