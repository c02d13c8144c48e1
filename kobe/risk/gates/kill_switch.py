"""The kill switch: while its file is present, nothing leaves. Asked again immediately before the wire."""

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits, verdict

GATE = "kill_switch"


def check(_request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse every order while the switch is on; cancelling stays possible elsewhere."""
    observed = facts.kill_reason or "off"
    return verdict(GATE, good=facts.kill_reason is None, code="kill_switch", observed=observed, limit="off")
