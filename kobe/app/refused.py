"""What the gates refused, read back from the audit chain."""

from collections.abc import Iterable
from datetime import date, datetime

from kobe.app.context import Context
from kobe.app.gates import DECISION
from kobe.core.clock import new_york_date
from kobe.core.errors import KobeError
from kobe.core.types import Outcome
from kobe.infra.records import audit_newest
from kobe.infra.records.audit import AuditRecord
from kobe.reports.book_tables import Refused
from kobe.risk.gates.codes import CODES

OLDER = 50  # decisions of earlier days in a row, after which no later one is looked for: instants may be pretended


def refusals(ctx: Context, first: date, last: date, until: datetime) -> tuple[list[Refused], str]:
    """Return every refusal of an order decided in a span of sessions, oldest first, and why it is not known.

    The chain keeps the host's time, which is not that of a simulation: what counts is the instant of the decision.

    Args:
        ctx: context.
        first: session of the span.
        last: session of the span, included.
        until: nothing decided later is told.
    """
    try:
        records = _since(ctx, first)
    except KobeError as error:
        return [], error.message
    found = list[Refused]()
    for record in records:
        at = datetime.fromisoformat(record.payload["as_of"])
        if first <= new_york_date(at) <= last and at <= until:
            found += _of(record, new_york_date(at))
    return found, ""


def _since(ctx: Context, first: date) -> list[AuditRecord]:
    """Return the decisions about orders from a date on, oldest first."""
    found, older = list[AuditRecord](), 0
    for record in audit_newest.newest(ctx.paths.audit, DECISION):
        if new_york_date(datetime.fromisoformat(record.payload["as_of"])) >= first:
            found.append(record)
            older = 0
        else:
            older += 1
        if older == OLDER:
            break
    return found[::-1]


def _of(record: AuditRecord, session: date) -> Iterable[Refused]:
    order = record.payload["order"]
    for gate, outcome, code, observed, limit in record.payload["verdicts"]:
        if outcome == Outcome.REJECT.value:
            meaning = CODES[code].meaning if code in CODES else ""
            yield Refused(session=session, symbol=order["symbol"], order=order["client_order_id"], gate=gate,
                          code=code, observed=str(observed), limit=str(limit), meaning=meaning)  # fmt: skip
