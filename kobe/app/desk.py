"""What every use case that touches orders shares: the order manager, the mode, the judgement, the lease."""

from datetime import date
from decimal import Decimal

from kobe.app import breakers, order_facts
from kobe.app.context import Context
from kobe.core.ids import digest
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import ClearedOrder, Effect, Mode, Order, OrderRequest, Position, TradePlan, Verdict
from kobe.execution.oms import Oms
from kobe.risk import mode, review
from kobe.risk.facts import GateFacts

QUOTES = "quotes"
"""Ledger stream of the quote each order was sent on."""


def manager(ctx: Context) -> Oms:
    """Return the order manager without the lease: for reading."""
    return Oms(
        ledger=ctx.ledger, fold=ctx.fold, broker=ctx.broker, audit=ctx.audit, kill_switch=ctx.kill_switch,
        clock=ctx.clock, wait=ctx.wait, deadline_s=ctx.settings.broker.poll_deadline_s,
    )  # fmt: skip


def current_mode(ctx: Context) -> mode.State:
    """Return what the system may do and why."""
    return mode.current(ctx.ledger.events(mode.STREAM))


def set_mode(ctx: Context, source: str, wanted: Mode, reason: str, factor: Decimal | None = None) -> None:
    """Record what a source asks for; a repeated word changes nothing.

    Args:
        ctx: context.
        source: who asks; its word before is replaced, nobody else's.
        wanted: the mode.
        reason: why, for people.
        factor: of sizes, with REDUCED.
    """
    payload = {"mode": wanted.name, "reason": reason} | ({} if factor is None else {"factor": str(factor)})
    events = ctx.ledger.events(mode.STREAM, entity=source)
    said = events[-1].payload if events else {"mode": Mode.NORMAL.name}
    if all(said.get(name) == payload.get(name) for name in ("mode", "factor")):
        return
    ctx.ledger.append(mode.STREAM, source, "set", payload, key=f"{source}:{len(events) + 1}")
    ctx.audit.append("mode", {"source": source, **payload})


def last_panel(ctx: Context) -> Panel:
    """Return the bars that are complete by now and nothing later: all that a decision may see."""
    return ctx.panel().until(ctx.calendar.number(ctx.calendar.last_complete(ctx.clock.now())))


def judge(
    ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel, *, again: bool = False
) -> tuple[Verdict, ...]:
    """Gather the facts for a request, ask every gate and record the decision before anything is done about it."""
    return judge_facts(ctx, request, order_facts.gather(ctx, oms, request, quote, past, again=again))


def judge_facts(ctx: Context, request: OrderRequest, facts: GateFacts) -> tuple[Verdict, ...]:
    """Ask every gate about facts that were gathered, and record the decision."""
    verdicts = review.review(request, facts, ctx.limits)
    refused = review.refusals(verdicts)
    order = {"client_order_id": request.client_order_id, "symbol": request.symbol, "quantity": request.quantity,
             "limit": str(request.limit_price), "stop": str(request.stop_price)}  # fmt: skip
    ctx.audit.append(
        "order_decision",
        {
            "decision_id": digest([order, str(facts.now)])[:16], "as_of": facts.now.isoformat(),
            "action": "refuse" if refused else "send", "order": order, "reason": request.reason,
            "quote": quote_json(facts.quote), "size_bound_by": facts.size_bound_by,
            "verdicts": [[v.gate, v.outcome.value, v.code, v.observed, v.limit] for v in verdicts],
        },
    )  # fmt: skip
    return verdicts


def quote_json(quote: Quote | None) -> dict[str, str | None] | None:
    """Return a quote as JSON-ready values."""
    if quote is None:
        return None
    last = None if quote.last is None else str(quote.last)
    return {"bid": str(quote.bid), "ask": str(quote.ask), "last": last, "at": quote.at.isoformat(), "feed": quote.feed}


def send(
    ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel, *, again: bool = False
) -> tuple[Order | None, tuple[Verdict, ...]]:
    """Judge a request and send it if no gate refuses; returns the order, or None with the verdicts."""
    return send_judged(ctx, oms, request, order_facts.gather(ctx, oms, request, quote, past, again=again))


def send_judged(
    ctx: Context, oms: Oms, request: OrderRequest, facts: GateFacts, plan: TradePlan | None = None,
    instead_of: str | None = None,
) -> tuple[Order | None, tuple[Verdict, ...]]:  # fmt: skip
    """Judge a request on facts that were gathered and send it, or put it in the place of a resting order."""
    verdicts = judge_facts(ctx, request, facts)
    cleared: ClearedOrder | None = review.clear(request, verdicts)
    if cleared is None:
        return None, verdicts
    if facts.quote is not None:
        name = request.client_order_id
        ctx.ledger.append(QUOTES, name, "quote", quote_json(facts.quote) or {}, key=f"{name}:{facts.now.isoformat()}")
    if request.effect is Effect.OPEN:
        breakers.note_probe(ctx, request.client_order_id)
    order = oms.submit(cleared, plan) if instead_of is None else oms.amend(instead_of, cleared)
    return order, verdicts


def factor_at(past: Panel, symbol: str, session: date) -> float:
    """Return raw price over adjusted price of a symbol at its last bar up to a session; 1 when it has none."""
    if symbol not in past.symbols:
        return 1.0
    mine = past[symbol]
    rows = [i for i, s in enumerate(mine.session.tolist()) if s <= past.calendar.number(session)]
    return float(past.raw_factor[mine.first_row + rows[-1]]) if rows else 1.0


def position_lines(positions: tuple[Position, ...]) -> list[dict[str, object]]:
    """Return positions as JSON-ready values."""
    return [
        {
            "symbol": p.symbol, "strategy": p.strategy, "side": p.side.value, "quantity": p.quantity,
            "average_price": str(round(p.average_price, 4)), "opened": p.opened.isoformat(), "signal_id": p.signal_id,
        }
        for p in positions
    ]  # fmt: skip
