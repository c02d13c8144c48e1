"""`kobe gates`: what every order must pass, what a refusal means, and what the last order met."""

from typing import Any

from kobe.app.context import Context
from kobe.core.errors import UsageError
from kobe.core.types import Outcome
from kobe.infra.records import audit_newest
from kobe.infra.records.audit_lines import AuditRecord
from kobe.reports.document import Document, Section, Table
from kobe.risk.gates import GATES
from kobe.risk.gates.codes import CODES, HOLDS_EXITS, SETTINGS, of_gate

DECISION = "order_decision"


def about(gate: str) -> str:
    """Return what a gate does, in a sentence."""
    return " ".join((GATES[gate].__doc__ or "").split())


def setting(ctx: Context, key: str) -> str:
    """Return a setting's present value."""
    value: Any = ctx.settings
    for part in key.split("."):
        value = getattr(value, part)
    return str(value)


def run_gates_list(ctx: Context) -> Document:
    """List every gate in the order they are asked, with the settings they go by."""
    lines = [
        {"order": k, "gate": name, "does": about(name), "holds_exits": name in HOLDS_EXITS,
         "settings": {key: setting(ctx, key) for key in SETTINGS.get(name, ())}, "codes": list(of_gate(name))}
        for k, name in enumerate(GATES, 1)
    ]  # fmt: skip
    rows = tuple(
        (k, name, about(name), "yes" if name in HOLDS_EXITS else "no",
         "; ".join(f"{key} = {setting(ctx, key)}" for key in SETTINGS.get(name, ())))
        for k, name in enumerate(GATES, 1)
    )  # fmt: skip
    columns = ("", "gate", "what it does", "asks exits", "settings")
    return Document(
        schema="kobe.gates/1",
        title="The gates, in the order they are asked",
        summary=("Every order meets every one; what is unknown refuses. kobe gates explain NAME tells more.",),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"gates": lines},
    )


def run_gates_explain(ctx: Context, given: str) -> Document:
    """Explain a gate, or the gate of a code: what it does, its bounds, its refusals and what to do about each.

    Raises:
        UsageError: there is neither.
    """
    if given not in GATES and given not in CODES:
        raise UsageError("no such gate and no such code", seen=given, next_command="kobe gates list")
    gate = given if given in GATES else CODES[given].gate
    bounds = tuple((key, setting(ctx, key), ctx.origins.get(key, "default")) for key in SETTINGS.get(gate, ()))
    codes = of_gate(gate)
    refusals = tuple((name, code.meaning, code.remedy) for name, code in codes.items())
    told = [about(gate)]
    if given in CODES and given != gate:
        told.append(f"{given}: {CODES[given].meaning}; next: {CODES[given].remedy}")
    exits = "Exits are asked too." if gate in HOLDS_EXITS else "Exits pass."
    told.append(f"{exits} What is unknown refuses an opening.")
    sections = [Section(title="Refusals", table=Table(columns=("code", "it means", "what to do"), rows=refusals))]
    if bounds:
        table = Table(columns=("setting", "value", "set in"), rows=bounds)
        sections.insert(0, Section(title="Bounds", table=table))
    return Document(
        schema="kobe.gate/1",
        title=f"Gate {gate}, number {list(GATES).index(gate) + 1} of {len(GATES)}",
        summary=tuple(told),
        sections=tuple(sections),
        data={"gate": gate, "does": about(gate), "holds_exits": gate in HOLDS_EXITS,
              "settings": {key: value for key, value, _ in bounds},
              "codes": {name: {"meaning": c.meaning, "remedy": c.remedy} for name, c in codes.items()}},
    )  # fmt: skip


def run_gates_last(ctx: Context, symbol: str | None = None) -> Document:
    """Show what the gates said of the last order that was decided on, of one symbol or of any."""
    record = _newest(ctx, symbol)
    if record is None:
        nothing = f"no order in {symbol} was decided on yet" if symbol else "no order was decided on yet"
        return Document(schema="kobe.gates_last/1", title="Last order", summary=(nothing,), data={"record": None})
    said, order = record.payload, record.payload["order"]
    verdicts = [tuple(str(part) for part in v) for v in said["verdicts"]]
    refused = [v for v in verdicts if v[1] == Outcome.REJECT.value]
    told = [f"{said['action']}: {order['quantity']} {order['symbol']} at {order['limit']}, {said['as_of']}"]
    told += [f"{v[0]} refused ({v[2]}): {v[3]}, allowed {v[4]}; next: {_remedy(v[2])}" for v in refused]
    columns = ("gate", "outcome", "code", "seen", "allowed")
    return Document(
        schema="kobe.gates_last/1",
        title=f"Last order: {order['client_order_id']}",
        summary=tuple(told),
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(verdicts))),),
        data={"record": record.seq, "at": record.at, **said},
    )


def _remedy(code: str) -> str:
    return CODES[code].remedy if code in CODES else "kobe gates list"


def _newest(ctx: Context, symbol: str | None) -> AuditRecord | None:
    for record in audit_newest.newest(ctx.paths.audit, DECISION):
        if symbol in (None, record.payload["order"]["symbol"]):
            return record
    return None
