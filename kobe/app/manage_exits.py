"""`kobe manage-exits`: protect what is open, close what is due, and say so when something could not be closed."""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from kobe.app import protect
from kobe.app.context import Context
from kobe.app.ladder import Closing, beyond_ours, close_all, quote_of
from kobe.app.start_up import order_desk
from kobe.core.errors import ExitCode, IntegrityError, KobeError
from kobe.core.panel import Panel
from kobe.core.types import Order, Position, TradePlan
from kobe.execution import corporate, exits, stops
from kobe.execution.exits import Due
from kobe.execution.oms import Oms, describe
from kobe.execution.reconcile import shares_by_symbol
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
    with order_desk(ctx, closing=True) as oms:
        if not oms.book().positions:
            run = _Run(message="nothing is open")
            if not dry_run:
                run.notes, run.warnings = protect.sweep(ctx, oms)
            return _document(ctx, run)
        past, missing = protect.bars(ctx)
        due = find_due(ctx, oms, past)
        if dry_run:
            lines = [f"{d.position.symbol} would be closed: {d.reason}" for d in due]
            return _document(ctx, _Run(message="; ".join(lines) or "nothing is due (--dry-run)", due=due))
        run = _act(ctx, oms, past, due)
        run.warnings += [f"signal exits are not known without bars: {missing}"] if missing else []
        return _document(ctx, run)


def _act(ctx: Context, oms: Oms, past: Panel, due: list[Due]) -> _Run:
    run = _Run(message="", due=due, closings=close_all(ctx, oms, past, due))
    stuck = [c for c in run.closings if c.stuck]
    run.warnings += [_next(f"NOT CLOSED: {c.due.position.symbol} ({c.due.reason}): {c.stuck}") for c in stuck]
    run.warnings += beyond_ours(ctx, oms, run.closings)
    run.notes += [note for c in run.closings for note in c.notes]
    _guard_others(ctx, oms, past, run)
    run.notes += _frozen_notes(oms)
    run.notes += [f"{o.request.symbol}: stop at {o.request.stop_price} for {o.request.quantity}" for o in run.placed]
    done, left = protect.sweep(ctx, oms)
    run.notes += done
    run.warnings += left
    run.message = f"{len(due) - len(stuck)} of {len(due)} due positions closed, {len(oms.book().positions)} open"
    return run


def _guard_others(ctx: Context, oms: Oms, past: Panel, run: _Run) -> None:
    """See to the protection of what is not due; no stop is placed that would sell at once while the books differ."""
    busy, doubtful, plans = {d.position.signal_id for d in run.due}, _differing(ctx, oms), oms.plans()
    for position in oms.book().positions:
        plan = plans.get(position.signal_id)
        if position.signal_id in busy:
            continue
        if plan and position.symbol in doubtful and _through_its_stop(ctx, oms, past, position, plan):
            run.warnings.append(
                f"{position.symbol}: UNPROTECTED, the market stands beyond its stop and the broker's shares are not "
                "ours; next: kobe reconcile, after a split: kobe jobs run holdings --again"
            )
            continue
        seen = protect.guard(ctx, oms, past, position.signal_id)
        run.placed += [seen.order] if seen.order is not None else []
        run.warnings += [_next(seen.note)] if seen.note else []


def _next(line: str) -> str:
    return line if "next: " in line else f"{line}; {NEXT}"


def find_due(ctx: Context, oms: Oms, past: Panel) -> list[Due]:
    """Return the positions whose end has come, with the reason; what a corporate action froze is not among them."""
    now, today = ctx.clock.now(), ctx.today
    closing = now >= ctx.calendar.closes_at(today) - CLOSING_WINDOW
    plans, found = oms.plans(), list[Due]()
    kept, doubtful = {f.symbol for f in frozen_holdings(oms)}, _differing(ctx, oms)
    for position in oms.book().positions:
        plan = plans.get(position.signal_id)
        if plan is None or position.symbol in kept:
            continue
        signal = exit_signal(ctx, past, plan)
        reason = exits.due_reason(plan, today, closing_slot=closing, exit_signal=signal)
        trusted = position.symbol not in doubtful
        if reason is None and trusted and _through_its_stop(ctx, oms, past, position, plan):
            reason = "stop"
        if reason is not None:
            found.append(Due(position=position, plan=plan, reason=reason))
    return found


def _differing(ctx: Context, oms: Oms) -> set[str]:
    """Return the symbols of which the broker holds another number of shares: a price of theirs may mean another share.

    Where the broker does not say, these are all.
    """
    ours = shares_by_symbol(oms.book().positions)
    try:
        theirs = ctx.broker.account().positions
    except IntegrityError:
        raise
    except KobeError:
        return set(ours)
    return {s for s, n in ours.items() if theirs.get(s, 0) != n}


def _through_its_stop(ctx: Context, oms: Oms, past: Panel, position: Position, plan: TradePlan) -> bool:
    """Say whether the market stands beyond a stop that no order at the broker holds: no broker takes it there."""
    stop = protect.levels(ctx, oms, past, position, plan).stop
    if protect.covered(oms, position, stop):
        return False
    quote = quote_of(ctx, position.symbol)
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
