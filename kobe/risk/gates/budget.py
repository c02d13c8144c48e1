"""Money and size: per order, per New York day, and what the sizing allows. No budget ever holds an exit back."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import cost_of, exempt, known, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

ORDER, SIZE, DAY = "order_budget", "size", "day_budget"


def check_order(request: OrderRequest, _facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening whose limit times quantity exceeds the order cap, or that has no limit to bound it."""
    limit = f"<= {limits.order_usd}"
    if closes(request):
        return exempt(ORDER, limit)
    cost = cost_of(request)
    if cost is None:
        return refused(ORDER, "no_limit_price", request.limit_price or "no limit", limit)
    return passed(ORDER, cost, limit) if cost <= limits.order_usd else refused(ORDER, "order_cap", cost, limit)


def check_size(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse an opening of more shares than the sizing allows, or that was never sized."""
    cap = facts.size_cap
    if closes(request):
        return exempt(SIZE, "any")
    if cap is None:
        return refused(SIZE, "size_unknown", "not sized", "a size")
    limit = f"<= {cap} shares, bound by {facts.size_bound_by or 'an unnamed cap'}"
    if request.quantity > cap:
        return refused(SIZE, "size_cap", request.quantity, limit)
    return passed(SIZE, request.quantity, limit)


def check_day(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that would take today's spent and reserved notional over the cap; unknown counts as spent."""
    limit, used = f"<= {limits.day_usd}", facts.day_used_usd
    if closes(request):
        return exempt(DAY, limit)
    cost = cost_of(request)
    if not known(used) or cost is None:
        return refused(DAY, "day_cap_unknown", f"{used} used, order {cost}", limit)
    total = used + cost
    return passed(DAY, total, limit) if total <= limits.day_usd else refused(DAY, "day_cap", total, limit)
