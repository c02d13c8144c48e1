"""Whether a symbol may be traded at all: by the broker, by our data, by the prohibited list, by the calendar."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import exempt, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

ASSET, TRADABLE, PROHIBITED, EARNINGS = "asset", "tradable", "prohibited", "earnings"


def check_asset(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings in what the broker does not know, lists as inactive or does not let one trade."""
    limit, asset = "active and tradable", facts.asset
    if closes(request):
        return exempt(ASSET, limit)
    if asset is None:
        return refused(ASSET, "asset_unknown", "unknown to the broker", limit)
    if not asset.active:
        return refused(ASSET, "asset_inactive", "inactive", limit)
    if not asset.tradable:
        return refused(ASSET, "not_tradable_at_broker", "not tradable", limit)
    return passed(ASSET, limit, limit)


def check_tradable(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings in symbols on hold (kobe data quarantine), outside the universe, or without a bar."""
    limit = "in the universe, no hold"
    if closes(request):
        return exempt(TRADABLE, limit)
    if facts.tradable is None:
        return refused(TRADABLE, "tradable_unknown", "no bar", limit)
    if not facts.tradable:
        return refused(TRADABLE, "not_tradable", "on hold, or outside the universe", limit)
    return passed(TRADABLE, "yes", limit)


def check_prohibited(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings in symbols on the prohibited list (kobe prohibit), or when the list cannot be read."""
    limit = "not on the list"
    if closes(request):
        return exempt(PROHIBITED, limit)
    if facts.prohibited is None:
        return refused(PROHIBITED, "prohibitions_unknown", "the list cannot be read", limit)
    if facts.prohibited:
        return refused(PROHIBITED, "prohibited", "; ".join(facts.prohibited), limit)
    return passed(PROHIBITED, "not listed", limit)


def check_earnings(request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse openings near an earnings announcement, or where nobody knows of any, while earnings.enabled is set."""
    limit = "none near"
    if closes(request):
        return exempt(EARNINGS, limit)
    if facts.clear_of_earnings is None:
        return refused(EARNINGS, "earnings_unknown", "no calendar speaks for the session", limit)
    if not facts.clear_of_earnings:
        return refused(EARNINGS, "earnings_near", "an announcement is near", limit)
    return passed(EARNINGS, limit, limit)
