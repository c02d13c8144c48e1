"""The kill switch: while its file is present, nothing leaves. Asked again immediately before the wire."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import passed, refused
from kobe.risk.facts import GateFacts, Limits

GATE = "kill_switch"


def check(_request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse every order while the switch is on; cancelling stays possible elsewhere."""
    if facts.kill_reason is None:
        return passed(GATE, "off", "off")
    return refused(GATE, "kill_switch", facts.kill_reason or "on, no reason given", "off")
