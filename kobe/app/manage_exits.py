"""`kobe manage-exits`: protect what is open, close what is due, and say so when something could not be closed."""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from kobe.app import desk, protect
from kobe.app.context import Context
from kobe.app.ladder import Closing, close
from kobe.app.start_up import order_desk
from kobe.core.errors import ExitCode
from kobe.core.panel import Panel
from kobe.core.types import Order, Position, TradePlan
from kobe.execution import corporate, exits, stops
from kobe.execution.exits import Due
from kobe.execution.oms import Oms, describe
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import LONG_EXIT

CLOSING_WINDOW = timedelta(minutes=10)
NEXT = "next: kobe manage-exits"


@dataclass(slots=True)
class _Run:
    """What one run found and did."""

    message: str
    due: list[Due] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    placed: list[Order] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_manage_exits(ctx: Context, *, dry_run: bool = False) -> Document:
    """Close every position that is due in this slot and see to the protection of the others."""
    today = ctx.today
    if today not in ctx.calendar:
        return _document(ctx, _Run(message=f"{today} is not a session: nothing to do"))
    with order_desk(ctx) as oms:
        if not oms.book().positions:
            return _document(ctx, _Run(message="nothing is open"))
        past = desk.last_panel(ctx)
        due = find_due(ctx, oms, past)
        if dry_run:
            lines = [f"{d.position.symbol} would be closed: {d.reason}" for d in due]
            return _document(ctx, _Run(message="; ".join(lines) or "nothing is due (--dry-run)", due=due))
        return _document(ctx, _act(ctx, oms, past, due))


def _act(ctx: Context, oms: Oms, past: Panel, due: list[Due]) -> _Run:
    run = _Run(message="", due=due, closings=[close(ctx, oms, past, d) for d in due])
    busy = {d.position.signal_id for d in due}
    for position in oms.book().positions:
        if position.signal_id not in busy:
            seen = protect.guard(ctx, oms, past, position.signal_id)
            run.placed += [seen.order] if seen.order is not None else []
            run.warnings += [f"{seen.note}; {NEXT}"] if seen.note else []
    stuck = [c for c in run.closings if c.stuck]
    run.warnings += [f"NOT CLOSED: {c.due.position.symbol} ({c.due.reason}): {c.stuck}; {NEXT}" for c in stuck]
    run.notes += [note for c in run.closings for note in c.notes] + _frozen_notes(oms)
    run.notes += [f"{o.request.symbol}: stop at {o.request.stop_price} for {o.request.quantity}" for o in run.placed]
    left = len(oms.book().positions)
    run.message = f"{len(due) - len(stuck)} of {len(due)} due positions closed, {left} open"
    return run


def find_due(ctx: Context, oms: Oms, past: Panel) -> list[Due]:
    """Return the positions whose end has come, with the reason; what a corporate action froze is not among them."""
    now, today = ctx.clock.now(), ctx.today
    closing = now >= ctx.calendar.closes_at(today) - CLOSING_WINDOW
    plans, found, asleep = oms.plans(), [], {f.symbol for f in frozen_holdings(oms)}
    for position in oms.book().positions:
        plan = plans.get(position.signal_id)
        if plan is None or position.symbol in asleep:
            continue
        signal = exit_signal(ctx, past, plan)
        reason = exits.due_reason(plan, today, closing_slot=closing, exit_signal=signal)
        if reason is None and _through_its_stop(ctx, oms, past, position, plan):
            reason = "stop"
        if reason is not None:
            found.append(Due(position=position, plan=plan, reason=reason))
    return found


def _through_its_stop(ctx: Context, oms: Oms, past: Panel, position: Position, plan: TradePlan) -> bool:
    """Say whether the market stands beyond a stop that no order at the broker holds: no broker takes it there."""
    stop = protect.levels(ctx, oms, past, position, plan).stop
    if protect.covered(oms, position, stop):
        return False
    quote = ctx.quotes.quotes([position.symbol]).get(position.symbol)
    return quote is not None and quote.bid > 0 and stops.is_through(position.side, stop, quote.bid, quote.ask)


def frozen_holdings(oms: Oms) -> list[corporate.Frozen]:
    """Return the merger, delisting or new name of each open position that came while it was held."""
    opened = {p.symbol: p.opened for p in oms.book().positions}
    known = corporate.frozen(oms.ledger.events(corporate.STREAM))
    return [f for f in known if f.symbol in opened and f.session >= opened[f.symbol].date()]


def _frozen_notes(oms: Oms) -> list[str]:
    return [
        f"{f.symbol}: {f.kind} on {f.session}, its exits are not sent; next: kobe flatten --symbol {f.symbol}"
        for f in frozen_holdings(oms)
    ]


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


def order_rows(orders: list[Order]) -> tuple[tuple[str | int | None, ...], ...]:
    """Return closing orders as rows of a table."""
    return tuple(
        (o.request.symbol, o.request.reason, o.request.order_type.value, o.status.word, o.filled,
         str(o.fills[0].price) if o.fills else None)
        for o in orders
    )  # fmt: skip


ORDER_COLUMNS = ("symbol", "reason", "type", "status", "filled", "price")


def _document(ctx: Context, run: _Run) -> Document:
    closed = [o for c in run.closings for o in c.orders]
    sections = []
    if closed:
        sections.append(Section(title="", table=Table(columns=ORDER_COLUMNS, rows=order_rows(closed))))
    if run.notes:
        sections.append(Section(title="Protection", lines=tuple(run.notes)))
    stuck = [c for c in run.closings if c.stuck]
    return Document(
        schema="kobe.manage_exits/1",
        title=f"Exits, {ctx.today}",
        summary=(run.message, *run.warnings),
        sections=tuple(sections),
        data={
            "due": [{"symbol": d.position.symbol, "reason": d.reason} for d in run.due],
            "orders": [describe(o) for o in closed], "protection": [describe(o) for o in run.placed],
            "stuck": [c.due.position.symbol for c in stuck], "why": [c.stuck for c in stuck],
            "warnings": run.warnings, "notes": run.notes,
        },
        exit_code=ExitCode.PARTIAL if run.warnings else ExitCode.OK,
    )  # fmt: skip
