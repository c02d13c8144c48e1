"""Why a signal was not traded, from what was written down: the decision, the jobs, the gates, the orders."""

import json
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.decision import RECORD
from kobe.core.ids import client_order_id, digest
from kobe.core.types import JobRecord, Order, OrderStatus, Signal
from kobe.execution.gap import Part

HELD_BACK = frozenset({
    "no_bar", "not_tradable", "earnings_near", "earnings_unknown", "against_regime", "regime_unknown",
})  # fmt: skip
GATES_OF_UNIVERSE = frozenset({"asset", "tradable", "prohibited", "earnings", "halted"})
ATTEMPTS = (1, 2)
# What a run of submit says when it sends nothing (app/submit_totd.py), and what that is in the gap.
_SAID: tuple[tuple[str, Part], ...] = (
    ("refused", Part.GATE), ("unaffordable", Part.GATE), ("price moved", Part.PRICE),
    ("today's recomputed decision", Part.SIGNAL), ("model_changed", Part.SIGNAL), ("stand_down", Part.SIGNAL),
    ("no trade", Part.SIGNAL), ("model_scope", Part.GATE), ("short entries", Part.GATE),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Records:
    """The written past, read once.

    Attributes:
        decisions: signal date -> what the audit chain says of its last scan.
        judged: client order id -> the last judgement of the gates, as the audit chain has it.
        jobs: session -> job -> its last run.
    """

    decisions: dict[date, dict[str, Any]] = field(default_factory=dict)
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[date, dict[str, JobRecord]] = field(default_factory=dict)

    @staticmethod
    def read(ctx: Context) -> "Records":
        """Read the audit chain and the jobs."""
        from kobe.infra.records import audit

        found = Records()
        for record in audit.read(ctx.paths.audit):
            if record.kind == "decision":
                found.decisions[date.fromisoformat(record.payload["session"])] = record.payload
            elif record.kind == "order_decision":
                found.judged[record.payload["order"]["client_order_id"]] = record.payload
        for job in runs.history(ctx.ledger):
            found.jobs.setdefault(job.session, {})[job.job] = job
        return found

    def record(self, ctx: Context, signal_date: date) -> dict[str, Any] | None:
        """Return the record of a decision where it is the one the audit chain names."""
        told, path = self.decisions.get(signal_date), ctx.paths.of_session(signal_date) / RECORD
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if told is not None and isinstance(kept, dict) and digest(kept) == told.get("record") else None

    def refusal(self, signal: Signal) -> dict[str, Any] | None:
        """Return the last judgement that refused an opening order of a signal."""
        for attempt in reversed(ATTEMPTS):
            judged = self.judged.get(_name(signal, attempt))
            if judged is not None and judged["action"] == "refuse":
                return judged
        return None


def _name(signal: Signal, attempt: int) -> str:
    return client_order_id(
        strategy=signal.strategy, symbol=signal.symbol, signal_date=signal.signal_date, side=signal.side.value,
        effect="open", attempt=attempt,
    )  # fmt: skip


def not_decided(signal: Signal, told: dict[str, Any] | None, record: dict[str, Any] | None) -> tuple[Part, str]:
    """Say why a trade the strategies would make today was not the decision then."""
    if told is None:
        return Part.MISSED_RUN, f"no scan of {signal.signal_date}"
    fate = (record or {}).get("fates", {}).get(signal.symbol, "")
    if fate in HELD_BACK:
        return Part.UNIVERSE, f"{signal.symbol} was {fate}"
    return Part.SIGNAL, f"decided {told['subject'] or told['action']} then"


def not_sent(signal: Signal, records: Records) -> tuple[Part, str]:
    """Say why a decision became no order."""
    refused = records.refusal(signal)
    if refused is not None:
        named = [(v[0], v[2]) for v in refused["verdicts"] if v[1] == "REJECT"]
        held_back = bool(named) and all(gate in GATES_OF_UNIVERSE for gate, _ in named)
        return (Part.UNIVERSE if held_back else Part.GATE), ", ".join(code for _, code in named)
    job = records.jobs.get(signal.valid_session, {}).get("submit")
    if job is None or job.status != runs.DONE:
        return Part.MISSED_RUN, "submit did not run" if job is None else f"submit {job.status}: {job.detail}"
    part = next((part for words, part in _SAID if job.detail.startswith(words)), Part.MISSED_RUN)
    return part, job.detail


def not_filled(orders: list[Order]) -> tuple[Part, str]:
    """Say why orders filled nothing."""
    last = orders[-1]
    said = f"{last.status.word}{': ' if last.detail else ''}{last.detail}"
    if last.status is OrderStatus.REJECTED or "kill switch" in last.detail:
        return Part.GATE, said
    if last.status is OrderStatus.ABANDONED:
        return Part.MISSED_RUN, said
    return Part.FILL, said
