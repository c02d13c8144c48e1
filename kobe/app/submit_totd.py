"""`kobe submit-totd`: the trade of the day, judged by every gate, sent once and only once, then protected."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from kobe.app import decision, desk, scan, standing
from kobe.app.context import Context
from kobe.core.errors import ExitCode
from kobe.core.ids import client_order_id
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import (
    Candidate,
    Effect,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    Signal,
    TradePlan,
    Verdict,
)  # fmt: skip
from kobe.execution import exits
from kobe.execution.oms import Oms, describe
from kobe.execution.rounding import buy_limit
from kobe.learning.drift_states import Level
from kobe.reports.document import Document, Section, Table
from kobe.risk.facts import Limits
from kobe.risk.sizing import halved, size_at

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
    with desk.order_desk(ctx) as oms:
        return _document(ctx, signal_date, _submit(ctx, oms, signal_date, str(chosen["signal_id"]), request))


def _submit(ctx: Context, oms: Oms, signal_date: date, signal_id: str, request: SubmitRequest) -> _Outcome:
    past = desk.last_panel(ctx)
    inputs = decision.Inputs(**decision.read_record(ctx, signal_date)["inputs"])
    found = decision.decide(ctx, inputs)  # the settings of now are the gates' business, not the decision's
    candidate = found.trade_of_day
    if candidate is None or candidate.signal.signal_id != signal_id:
        message = f"today's recomputed decision differs from the recorded {signal_id}; next: kobe scan"
        return _Outcome(status="changed", message=message, code=ExitCode.REFUSED)
    attempt, mine = _attempt(oms, signal_id, retry=request.retry)
    if attempt is None:
        message = "already done: " + (f"{mine.status.word}, {mine.filled} filled" if mine else "nothing to retry")
        return _Outcome(status="already_done", message=message, order=_protected(ctx, oms, past, mine))
    symbol = candidate.signal.symbol
    quote = ctx.quotes.quotes([symbol]).get(symbol)
    if mine is not None and not mine.status.is_final:
        return _resume(ctx, oms, mine, quote, past)
    overtaken = _overtaken(ctx, inputs, candidate)
    if overtaken is not None:
        return _Outcome(status="overtaken", message=overtaken, code=ExitCode.REFUSED)
    if request.retry and _drifted(candidate, quote):
        message = f"price moved more than {MAX_DRIFT_ATR} ATR from the reference"
        return _Outcome(status="drifted", message=message, code=ExitCode.REFUSED)
    wish = _wish(ctx, candidate, quote, attempt)
    if isinstance(wish, str):
        return _Outcome(status="unaffordable", message=wish, code=ExitCode.REFUSED)
    if request.dry_run:
        verdicts = desk.judge(ctx, oms, wish, quote, past)
        return _result(None, verdicts, dry_run=True)
    order, verdicts = desk.send(ctx, oms, wish, quote, past, _plan(ctx, candidate))
    return _result(_protected(ctx, oms, past, order), verdicts, dry_run=False)


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


def _resume(ctx: Context, oms: Oms, known: Order, quote: Quote | None, past: Panel) -> _Outcome:
    """Finish an order whose process died: its own name is no duplicate, every other gate is asked again."""
    from kobe.risk import review

    facts = replace(desk.gather(ctx, oms, known.request, quote, past), already_ordered=False, symbol_held=False)
    reserved = facts.day_used_usd
    own = known.request.notional_usd
    facts = replace(facts, day_used_usd=None if reserved is None else reserved - own,
                    open_positions=max((facts.open_positions or 1) - 1, 0))  # fmt: skip
    verdicts = review.review(known.request, facts, ctx.limits)
    cleared = review.clear(known.request, verdicts)
    order = None if cleared is None else oms.submit(cleared)
    return _result(_protected(ctx, oms, past, order), verdicts, dry_run=False)


def _overtaken(ctx: Context, inputs: decision.Inputs, candidate: Candidate) -> str | None:
    """Say what took the ground from under a decision: its model speaks no more, or its strategy stands down."""
    s = candidate.signal
    speaks = ctx.models.champion(s.signal_date)
    if speaks != inputs.model_id:
        told = f"model_changed: scanned with {inputs.model_id}, champion is {speaks}"
        return f"{told}; next: kobe scan --session {s.signal_date}"
    if standing.states_at(ctx, s.signal_date).get(s.strategy) == Level.STAND_DOWN.name:
        return f"stand_down: {s.strategy} has drifted since the scan"
    return None


def _drifted(candidate: Candidate, quote: Quote | None) -> bool:
    if quote is None:
        return False  # the quote gate refuses by itself
    factor = candidate.raw_close / candidate.signal.reference_close
    return abs(float(quote.ask) - candidate.raw_close) > MAX_DRIFT_ATR * candidate.signal.atr * factor


def _wish(ctx: Context, candidate: Candidate, quote: Quote | None, attempt: int) -> OrderRequest | str:
    """Build the order: whole shares at the order cap, limit 0.1% through the ask; or say why there is none."""
    s = candidate.signal
    price = quote.ask if quote is not None and quote.ask > 0 else Decimal(str(round(candidate.raw_close, 6)))
    limit = buy_limit(price)
    size = size_at(limit, _limits(ctx, s), ctx.broker.account().cash_usd)
    if size.quantity == 0:
        return f"unaffordable: one share at {limit} exceeds {size.bound_by}"
    if s.side is not Side.LONG:
        return "short entries are research only"
    name = client_order_id(
        strategy=s.strategy, symbol=s.symbol, signal_date=s.signal_date, side=s.side.value, effect="open",
        attempt=attempt,
    )  # fmt: skip
    return OrderRequest(
        client_order_id=name, signal_id=s.signal_id, strategy=s.strategy, symbol=s.symbol, side=s.side,
        effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=size.quantity, limit_price=limit,
        stop_price=None, session=s.valid_session, reason=f"trade of the day, attempt {attempt}",
    )  # fmt: skip


def _limits(ctx: Context, signal: Signal) -> Limits:
    """Return the limits of an order; half the order cap while the strategy's drift says so."""
    level = standing.states_at(ctx, signal.signal_date).get(signal.strategy)
    return halved(ctx.limits) if level == Level.HALF_SIZE.name else ctx.limits


def _plan(ctx: Context, candidate: Candidate) -> TradePlan:
    s = candidate.signal
    model = decision.champion(ctx, s.signal_date)
    params = decision.scan_params(ctx, model[1] if model else None)[s.strategy]
    from dataclasses import asdict

    return TradePlan(
        signal_id=s.signal_id, strategy=s.strategy, symbol=s.symbol, side=s.side, signal_date=s.signal_date,
        entry_session=s.valid_session, exit_session=ctx.calendar.offset(s.valid_session, params.hold_bars - 1),
        stop_distance=s.stop_distance, stop_level=None if s.stop_distance is not None else s.stop,
        target_r=s.target_r, atr=s.atr, reference_close=s.reference_close, params=asdict(params),
    )  # fmt: skip


def _protected(ctx: Context, oms: Oms, past: Panel, order: Order | None) -> Order | None:
    """Place the protective order of a fresh fill; on any refusal the position is left for `manage-exits`."""
    if order is not None and order.filled:
        protect(ctx, oms, past, order.request.signal_id)
    return order


def protect(ctx: Context, oms: Oms, past: Panel, signal_id: str) -> Order | None:
    """Make sure an open position has its resting stop (and target); returns the order when one was placed."""
    orders = oms.orders().values()
    position = next((p for p in oms.book().positions if p.signal_id == signal_id), None)
    plan = oms.plans().get(signal_id)
    guard = exits.resting(orders, signal_id)
    if position is None or plan is None or (guard is not None and guard.status is OrderStatus.ACCEPTED):
        return None
    if guard is not None:
        wish = guard.request
    else:
        factor = desk.factor_at(past, plan.symbol, plan.signal_date)
        attempt = exits.next_attempt(orders, signal_id, exits.PROTECT)
        wish = exits.protection(position, plan, factor, ctx.today, attempt)
    from kobe.risk import review

    facts = replace(desk.gather(ctx, oms, wish, None, past), already_ordered=False)
    cleared = review.clear(wish, review.review(wish, facts, ctx.limits))
    return None if cleared is None else oms.submit(cleared)


def _result(order: Order | None, verdicts: tuple[Verdict, ...], *, dry_run: bool) -> _Outcome:
    from kobe.risk import review

    refused = review.refusals(verdicts)
    if refused:
        why = ", ".join(f"{v.code} ({v.observed}, limit {v.limit})" for v in refused)
        return _Outcome(status="refused", message=f"refused: {why}", verdicts=verdicts, code=ExitCode.REFUSED)
    if dry_run or order is None:
        return _Outcome(status="dry_run", message="every gate passes; nothing was sent (--dry-run)", verdicts=verdicts)
    r = order.request
    paid = f" at {order.fills[0].price}" if order.fills else ""
    message = f"{r.symbol}: {order.status.word}, {order.filled} of {r.quantity} filled{paid} ({r.client_order_id})"
    return _Outcome(status=order.status.word, message=message, order=order, verdicts=verdicts)


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
