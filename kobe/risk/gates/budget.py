"""Money: per order, per New York day, and what the account holds. Exits are never held back by a budget."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

ORDER, DAY, ACCOUNT = "order_budget", "day_budget", "account"


def check_order(request: OrderRequest, _facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening whose limit times quantity exceeds the order cap."""
    notional = request.notional_usd
    good = closes(request) or notional <= limits.order_usd
    return verdict(ORDER, good=good, code="order_cap", observed=notional, limit=f"<= {limits.order_usd}")


def check_day(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that would take today's spent and reserved notional over the cap; unknown counts as spent."""
    limit = f"<= {limits.day_usd}"
    if closes(request):
        return verdict(DAY, good=True, code="day_cap", observed="exit", limit=limit)
    if facts.day_used_usd is None:
        return verdict(DAY, good=False, code="day_cap_unknown", observed="unknown", limit=limit)
    total = facts.day_used_usd + request.notional_usd
    return verdict(DAY, good=total <= limits.day_usd, code="day_cap", observed=total, limit=limit)


def check_account(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse when the broker blocks the account or an opening costs more than the free cash."""
    if facts.account_blocked is not False:
        observed = "blocked" if facts.account_blocked else "unknown"
        return verdict(ACCOUNT, good=False, code="account_blocked", observed=observed, limit="open")
    if closes(request):
        return verdict(ACCOUNT, good=True, code="no_cash", observed="exit", limit="any")
    good = facts.cash_usd is not None and request.notional_usd <= facts.cash_usd
    return verdict(ACCOUNT, good=good, code="no_cash", observed=request.notional_usd, limit=f"<= {facts.cash_usd}")
