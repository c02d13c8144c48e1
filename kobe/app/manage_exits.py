"""`kobe manage-exits`: protect what is open, close what is due, and say so when something could not be closed."""

from datetime import timedelta

import numpy as np

from kobe.app import desk
from kobe.app.context import Context
from kobe.app.submit_totd import protect
from kobe.core.errors import ExitCode
from kobe.core.panel import Panel
from kobe.core.types import Order, Position, TradePlan
from kobe.execution import exits
from kobe.execution.exits import Due
from kobe.execution.oms import Oms, describe
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import LONG_EXIT

CLOSING_WINDOW = timedelta(minutes=10)


def run_manage_exits(ctx: Context, *, dry_run: bool = False) -> Document:
    """Close every position that is due in this slot and protect the others."""
    today = ctx.today
    if today not in ctx.calendar:
        return _document(ctx, [], [], f"{today} is not a session: nothing to do")
    with desk.order_desk(ctx) as oms:
        if not oms.book().positions:
            return _document(ctx, [], [], "nothing is open")
        past = desk.last_panel(ctx)
        due = find_due(ctx, oms, past)
        if dry_run:
            lines = [f"{d.position.symbol} would be closed: {d.reason}" for d in due]
            return _document(ctx, due, [], "; ".join(lines) or "nothing is due (--dry-run)")
        closed = [order for d in due for order in close(ctx, oms, past, d)]
        for position in oms.book().positions:
            if all(d.position.signal_id != position.signal_id for d in due):
                protect(ctx, oms, past, position.signal_id)
        left = {p.signal_id for p in oms.book().positions}
        stuck = [d for d in due if d.position.signal_id in left]
        message = f"{len(due) - len(stuck)} of {len(due)} due positions closed, {len(left)} open"
        return _document(ctx, due, closed, message, stuck=stuck)


def find_due(ctx: Context, oms: Oms, past: Panel) -> list[Due]:
    """Return the positions whose end has come, with the reason."""
    now, today = ctx.clock.now(), ctx.today
    closing = now >= ctx.calendar.closes_at(today) - CLOSING_WINDOW
    plans = oms.plans()
    found = []
    for position in oms.book().positions:
        plan = plans.get(position.signal_id)
        if plan is None:
            continue
        signal = exit_signal(ctx, past, plan)
        reason = exits.due_reason(plan, today, closing_slot=closing, exit_signal=signal)
        if reason is not None:
            found.append(Due(position=position, plan=plan, reason=reason))
    return found


def exit_signal(ctx: Context, past: Panel, plan: TradePlan) -> bool:
    """Say whether the strategy's exit rule held at the last complete close, from the entry session on."""
    if plan.symbol not in past.symbols:
        return False
    alone = past.select({plan.symbol})
    number = ctx.calendar.number(ctx.calendar.last_complete(ctx.clock.now()))
    if number < ctx.calendar.number(plan.entry_session) or int(alone.session[-1]) != number:
        return False
    strategy = STRATEGIES[plan.strategy]
    table = strategy.signals(alone, FeatureTable(alone, ctx.settings.market.symbol), strategy.params(plan.params))
    return bool(np.bitwise_and(table.exit_mask[-1], LONG_EXIT))


def close(ctx: Context, oms: Oms, past: Panel, due: Due) -> list[Order]:
    """Walk the exit ladder for one position: cancel its protection, then sell until flat or out of rungs."""
    sent: list[Order] = []
    signal_id = due.position.signal_id
    guard = exits.resting(oms.orders().values(), signal_id)
    if guard is not None:
        oms.cancel(guard.request.client_order_id)
    for step in range(len(exits.LADDER_PADS) + 1):
        position = _still_open(oms, signal_id)
        if position is None:
            break
        attempt = exits.next_attempt(oms.orders().values(), signal_id, exits.CLOSE)
        quote = ctx.quotes.quotes([position.symbol]).get(position.symbol)
        wish = exits.rung(position, due.plan, quote, ctx.today, attempt, step, due.reason)
        order, verdicts = desk.send(ctx, oms, wish, quote, past)
        if order is None:
            ctx.audit.append("exit_refused", {"symbol": position.symbol, "codes": [v.code for v in verdicts]})
            break
        sent.append(order)
    return sent


def _still_open(oms: Oms, signal_id: str) -> Position | None:
    pending = exits.pending_close(oms.orders().values(), signal_id)
    if pending is not None:
        oms.refresh(pending.request.session)
    return next((p for p in oms.book().positions if p.signal_id == signal_id), None)


def _document(
    ctx: Context, due: list[Due], closed: list[Order], message: str, stuck: list[Due] | None = None
) -> Document:
    rows = tuple(
        (o.request.symbol, o.request.reason, o.status.word, o.filled, str(o.fills[0].price) if o.fills else None)
        for o in closed
    )
    warnings = tuple(f"NOT CLOSED: {d.position.symbol} ({d.reason}); next: kobe manage-exits" for d in stuck or [])
    return Document(
        schema="kobe.manage_exits/1",
        title=f"Exits, {ctx.today}",
        summary=(message, *warnings),
        sections=(Section(title="", table=Table(columns=("symbol", "reason", "status", "filled", "price"), rows=rows)),)
        if rows
        else (),
        data={
            "due": [{"symbol": d.position.symbol, "reason": d.reason} for d in due],
            "orders": [describe(o) for o in closed], "stuck": [d.position.symbol for d in stuck or []],
        },
        exit_code=ExitCode.PARTIAL if stuck else ExitCode.OK,
    )  # fmt: skip
