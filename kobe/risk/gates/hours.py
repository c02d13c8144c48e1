"""Trading hours: from five minutes after the open to two minutes before the close, half days included; no halts."""

from datetime import datetime, timedelta

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import exempt, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes, rests

HOURS, HALTED = "hours", "halted"


def check_hours(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse orders outside the window; an exit may go from the open, a guard at any time. Unknown hours refuse."""
    if rests(request):
        return exempt(HOURS, "any time", "rests at the broker")
    if facts.opens_at is None or facts.closes_at is None:
        return refused(HOURS, "market_closed", "no session today", "a session")
    first = facts.opens_at if closes(request) else facts.opens_at + timedelta(seconds=limits.open_delay_s)
    last = facts.closes_at - timedelta(seconds=limits.close_margin_s)
    observed, limit = f"{_hour(facts.now)} UTC", f"{_hour(first)} to {_hour(last)} UTC"
    if first <= facts.now <= last:
        return passed(HOURS, observed, limit)
    return refused(HOURS, "outside_hours", observed, limit)


def _hour(instant: datetime) -> str:
    """Hour, minute and second; strftime would be a tenth of the whole review."""
    return instant.isoformat(timespec="seconds")[11:19]


def check_halted(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings in a symbol whose trading is halted, or without a quote that could tell."""
    if closes(request):
        return exempt(HALTED, "not halted")
    if facts.quote is None:
        return refused(HALTED, "halt_unknown", "no quote", "not halted")
    if facts.quote.halted:
        return refused(HALTED, "halted", f"halted, says {facts.quote.feed}", "not halted")
    return passed(HALTED, "trading", "not halted")
