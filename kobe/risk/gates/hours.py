"""Trading hours: from five minutes after the open to two minutes before the close, half days included."""

from datetime import timedelta

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, closes, verdict

GATE = "hours"


def check(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse orders outside the window; an exit may go from the open itself. Unknown hours refuse."""
    if facts.opens_at is None or facts.closes_at is None:
        return verdict(GATE, good=False, code="market_closed", observed="no session today", limit="a session")
    first = facts.opens_at if closes(request) else facts.opens_at + timedelta(seconds=limits.open_delay_s)
    last = facts.closes_at - timedelta(seconds=limits.close_margin_s)
    return verdict(
        GATE,
        good=first <= facts.now <= last,
        code="outside_hours",
        observed=f"{facts.now:%H:%M:%S} UTC",
        limit=f"{first:%H:%M:%S} to {last:%H:%M:%S} UTC",
    )
