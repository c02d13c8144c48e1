"""`kobe submit-totd`: the trade of the day, judged by every gate, sent once and only once, then protected."""

from dataclasses import dataclass, replace
from datetime import date, time

from kobe.app import decision, desk, entry_order, protect, scan, standing
from kobe.app.context import Context
from kobe.app.start_up import order_desk
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExitCode
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import (
    Candidate,
    Effect,
    Order,
    OrderRequest,
    OrderStatus,
    Side,
    Verdict,
)  # fmt: skip
from kobe.execution.oms import Oms, describe
from kobe.learning.drift_states import Level
from kobe.reports.document import Document, Section, Table

RETRY_FROM = time(10, 30)
MAX_DRIFT_ATR = 0.5  # a retry at 10:30 must still be near the reference price (DOMAIN D29)


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """`retry` is the 10:30 run: only an order of this morning that filled nothing is tried again."""

    retry: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    status: str
    message: str
    order: Order | None = None
    verdicts: tuple[Verdict, ...] = ()
    code: ExitCode = ExitCode.OK


def run_submit_totd(ctx: Context, request: SubmitRequest) -> Document:
    """Submit the trade of the day that yesterday's close decided, if today is its session."""
    today = ctx.today
    if today not in ctx.calendar:
        return _document(ctx, None, _Outcome(status="holiday", message=f"{today} is not a session: nothing to do"))
    signal_date = ctx.calendar.previous(today)
    chosen = scan.read_trade_of_day(ctx, signal_date)
    if chosen is None:
        message = f"no scan of {signal_date}; next: kobe scan --session {signal_date}"
        return _document(ctx, signal_date, _Outcome(status="no_scan", message=message, code=ExitCode.DATA))
    if chosen["action"] != "trade":
        return _document(ctx, signal_date, _Outcome(status="no_trade", message=f"no trade: {chosen['reason']}"))
    with order_desk(ctx) as oms:
        return _document(ctx, signal_date, _submit(ctx, oms, signal_date, str(chosen["signal_id"]), request))


def _submit(ctx: Context, oms: Oms, signal_date: date, signal_id: str, request: SubmitRequest) -> _Outcome:
    """Send what is due, then see that whatever is held of the signal is guarded, however this run ended."""
    past = desk.last_panel(ctx)
    outcome = _sent(ctx, oms, past, signal_date, signal_id, request)
    if request.dry_run:
        return outcome
    seen = protect.guard(ctx, oms, past, signal_id)
    if not seen.note:
        return outcome
    ctx.audit.append("unprotected", {"signal_id": signal_id, "why": seen.note})
    message = f"{outcome.message}; {seen.note}; next: kobe manage-exits"
    return replace(outcome, message=message, code=ExitCode.PARTIAL)


def _sent(
    ctx: Context, oms: Oms, past: Panel, signal_date: date, signal_id: str, request: SubmitRequest
) -> _Outcome:  # fmt: skip
    inputs = decision.Inputs(**decision.read_record(ctx, signal_date)["inputs"])
    found = decision.decide(ctx, inputs)  # the settings of now are the gates' business, not the decision's
    candidate = found.trade_of_day
    if candidate is None or candidate.signal.signal_id != signal_id:
        message = f"today's recomputed decision differs from the recorded {signal_id}; next: kobe scan"
        return _Outcome(status="changed", message=message, code=ExitCode.REFUSED)
    attempt, mine = _attempt(oms, signal_id, retry=request.retry)
    if attempt is None:
        message = "already done: " + (f"{mine.status.word}, {mine.filled} filled" if mine else "nothing to retry")
        return _Outcome(status="already_done", message=message, order=mine)
    overtaken = _too_early(ctx, request) or _overtaken(ctx, inputs, candidate)
    if overtaken is not None:
        return _Outcome(status="overtaken", message=overtaken, code=ExitCode.REFUSED)
    symbol = candidate.signal.symbol
    quote = ctx.quotes.quotes([symbol]).get(symbol)
    if request.retry and _drifted(candidate, quote):
        message = f"price moved more than {MAX_DRIFT_ATR} ATR from the reference"
        return _Outcome(status="drifted", message=message, code=ExitCode.REFUSED)
    if mine is not None and not mine.status.is_final:
        return _resume(ctx, oms, mine, candidate, quote, past, dry_run=request.dry_run)
    if candidate.signal.side is not Side.LONG:
        return _Outcome(status="short", message="short entries are research only", code=ExitCode.REFUSED)
    return _enter(ctx, oms, candidate, entry_order.draft(candidate, quote, attempt), quote, past, request)


def _too_early(ctx: Context, request: SubmitRequest) -> str | None:
    """Say when the second attempt begins (DOMAIN D29)."""
    if request.retry and ctx.clock.now().astimezone(NEW_YORK).time() < RETRY_FROM:
        return f"too_early: the second attempt begins at {RETRY_FROM:%H:%M} in New York"
    return None


def _enter(
    ctx: Context, oms: Oms, candidate: Candidate, draft: OrderRequest, quote: Quote | None, past: Panel,
    request: SubmitRequest,
) -> _Outcome:  # fmt: skip
    """Size a fresh order, ask every gate about it and send it."""
    size, facts = entry_order.sized(ctx, oms, draft, candidate, quote, past)
    if size.quantity == 0:
        message = f"unaffordable: no share at {draft.limit_price} within {size.bound_by}"
        verdicts = desk.judge_facts(ctx, draft, facts)
        return _Outcome(status="unaffordable", message=message, verdicts=verdicts, code=ExitCode.REFUSED)
    wish = replace(draft, quantity=size.quantity)
    if request.dry_run:
        return _result(None, desk.judge_facts(ctx, wish, facts), dry_run=True)
    order, verdicts = desk.send_judged(ctx, oms, wish, facts, entry_order.plan(ctx, candidate))
    return _result(order, verdicts, dry_run=False, bound_by=size.bound_by)


def _attempt(oms: Oms, signal_id: str, *, retry: bool) -> tuple[int | None, Order | None]:
    """Return the attempt that is due and the order it continues, or None when everything was done."""
    mine = [o for o in oms.orders().values() if o.request.signal_id == signal_id and o.request.effect is Effect.OPEN]
    if not mine:
        return (None, None) if retry else (1, None)
    last = mine[-1]
    if not last.status.is_final:
        return len(mine), last
    empty = last.filled == 0 and last.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED)
    if retry and empty and len(mine) == 1:
        return 2, None
    return None, last


def _resume(
    ctx: Context, oms: Oms, known: Order, candidate: Candidate, quote: Quote | None, past: Panel, *, dry_run: bool
) -> _Outcome:
    """Finish an order whose process died: its own name is no duplicate, every gate is asked again."""
    _, facts = entry_order.sized(ctx, oms, known.request, candidate, quote, past, again=True)
    if dry_run:
        return _result(None, desk.judge_facts(ctx, known.request, facts), dry_run=True)
    order, verdicts = desk.send_judged(ctx, oms, known.request, facts)
    return _result(order, verdicts, dry_run=False)


def _overtaken(ctx: Context, inputs: decision.Inputs, candidate: Candidate) -> str | None:
    """Say what took the ground from under a decision: its model speaks no more, or its strategy stands down."""
    s = candidate.signal
    speaks = ctx.models.champion(s.signal_date)
    if speaks != inputs.model_id:
        told = f"model_changed: scanned with {inputs.model_id}, champion is {speaks}"
        return f"{told}; next: kobe scan --session {s.signal_date}"
    if standing.states_at(ctx, s.signal_date).get(s.strategy) == Level.STAND_DOWN.name:
        return f"stand_down: {s.strategy} has drifted since the scan"
    return entry_order.model_fault(ctx, s.signal_date)


def _drifted(candidate: Candidate, quote: Quote | None) -> bool:
    if quote is None:
        return False  # the quote gate refuses by itself
    factor = candidate.raw_close / candidate.signal.reference_close
    return abs(float(quote.ask) - candidate.raw_close) > MAX_DRIFT_ATR * candidate.signal.atr * factor


def _result(order: Order | None, verdicts: tuple[Verdict, ...], *, dry_run: bool, bound_by: str = "") -> _Outcome:
    from kobe.risk import review

    refused = review.refusals(verdicts)
    if refused:
        why = ", ".join(f"{v.code} ({v.observed}, limit {v.limit})" for v in refused)
        return _Outcome(status="refused", message=f"refused: {why}", verdicts=verdicts, code=ExitCode.REFUSED)
    if dry_run or order is None:
        return _Outcome(status="dry_run", message="every gate passes; nothing was sent (--dry-run)", verdicts=verdicts)
    return _Outcome(
        status=order.status.word, message=_told(order, bound_by), order=order, verdicts=verdicts,
        code=_CODES.get(order.status, ExitCode.OK),
    )  # fmt: skip


_CODES = {OrderStatus.UNKNOWN: ExitCode.PARTIAL, OrderStatus.REJECTED: ExitCode.REFUSED,
          OrderStatus.ABANDONED: ExitCode.REFUSED}  # fmt: skip


def _told(order: Order, bound_by: str) -> str:
    """Say what became of an order and, where it is not over or came to nothing, what comes next."""
    r = order.request
    paid = f" at {order.fills[0].price}" if order.fills else ""
    sized = f", size bound by {bound_by}" if bound_by else ""
    told = f"{r.symbol}: {order.status.word}, {order.filled} of {r.quantity} filled{paid}{sized} ({r.client_order_id})"
    if order.status is OrderStatus.UNKNOWN:
        return f"{told}: it may be live and stays reserved; next: kobe submit-totd, which asks and sends no other"
    if order.status in _CODES:
        return f"{told}: {order.detail}"
    if not order.filled and r.client_order_id.endswith("-1"):
        return f"{told}; from {RETRY_FROM:%H:%M}: kobe submit-totd --retry"
    return told


def _document(ctx: Context, signal_date: date | None, outcome: _Outcome) -> Document:
    table = Table(
        columns=("gate", "verdict", "code", "observed", "limit"),
        rows=tuple((v.gate, v.outcome.value, v.code, v.observed, v.limit) for v in outcome.verdicts),
    )
    return Document(
        schema="kobe.submit_totd/1",
        title=f"Submit trade of the day, {ctx.today}",
        summary=(outcome.message,),
        sections=(Section(title="Gates", table=table),) if outcome.verdicts else (),
        data={
            "signal_date": str(signal_date) if signal_date else None, "status": outcome.status,
            "message": outcome.message, "order": describe(outcome.order) if outcome.order else None,
            "verdicts": [[v.gate, v.outcome.value, v.code, v.observed, v.limit] for v in outcome.verdicts],
        },
        exit_code=outcome.code,
    )  # fmt: skip
