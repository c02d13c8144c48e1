"""The line to the broker: the right keys for the right address, both keys turned for live, one time on both ends."""

import math

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import exempt, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

KEYS, CLOCK = "keys", "clock"
ENVIRONMENTS = ("sim", "paper", "live")


def check_keys(_request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse every order when keys and address do not belong together, or live trading is not armed."""
    limit = "keys of this address; live only with --live"
    if facts.environment not in ENVIRONMENTS:
        return refused(KEYS, "environment_unknown", facts.environment or "unknown", ", ".join(ENVIRONMENTS))
    if facts.keys_fault is None:
        return refused(KEYS, "keys_unknown", "unknown", limit)
    if facts.keys_fault:
        return refused(KEYS, "keys_mismatch", facts.keys_fault, limit)
    if facts.environment == "live" and not facts.armed:
        return refused(KEYS, "live_not_armed", "live without --live", limit)
    return passed(KEYS, facts.environment, limit)


def check_clock(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings while this machine's clock and the broker's differ too much, or nobody knows by how much."""
    limit = f"<= {limits.max_clock_skew_s:g} s"
    if closes(request):
        return exempt(CLOCK, limit)
    skew = facts.clock_skew_s
    if skew is None or math.isnan(skew):
        return refused(CLOCK, "clock_unknown", "unknown", limit)
    if abs(skew) > limits.max_clock_skew_s:
        return refused(CLOCK, "clock_skew", f"{skew:.3f} s", limit)
    return passed(CLOCK, f"{skew:.3f} s", limit)
