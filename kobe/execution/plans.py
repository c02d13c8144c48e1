"""Trade plans in the ledger: how a position will be closed, written together with the intent that opens it."""

from dataclasses import asdict
from datetime import date
from typing import Any

from kobe.core.types import Side, TradePlan

PLANS = "plans"
_DATES = ("signal_date", "entry_session", "exit_session")


def plan_json(plan: TradePlan) -> dict[str, Any]:
    """Return a plan as JSON-ready values."""
    document = asdict(plan)
    return document | {name: document[name].isoformat() for name in _DATES} | {"side": plan.side.value}


def plan_from(document: dict[str, Any]) -> TradePlan:
    """Rebuild a plan from `plan_json`."""
    dates = {name: date.fromisoformat(document[name]) for name in _DATES}
    return TradePlan(**{**document, **dates, "side": Side(document["side"])})
