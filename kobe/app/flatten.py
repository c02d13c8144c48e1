"""`kobe flatten`: close everything, or one symbol, at an operator's word; safe to interrupt and to repeat."""

from contextlib import nullcontext
from dataclasses import dataclass

from kobe.app import desk, protect
from kobe.app.context import Context
from kobe.app.ladder import Closing, beyond_ours, close_all
from kobe.app.manage_exits import ORDER_COLUMNS, order_rows
from kobe.app.start_up import order_desk
from kobe.core.errors import ExitCode, IntegrityError, KobeError, RefusedError, UsageError
from kobe.core.types import Effect, Mode, Order, Position
from kobe.execution.exits import Due
from kobe.execution.oms import Oms, describe
from kobe.execution.reconcile import shares_by_symbol
from kobe.reports.document import Document, Section, Table

OPERATOR = "operator"
REASON = "flatten"
AFTERWARDS = "openings stay off until: kobe mode set NORMAL --reason WHY"


@dataclass(frozen=True, kw_only=True)
class FlattenRequest:
    """What to close: one symbol or everything; why; and whether the kill switch lets the closing orders through."""

    symbol: str | None = None
    override_kill: bool = False
    reason: str = ""
    dry_run: bool = False

    def concerns(self, symbol: str) -> bool:
        """Whether a symbol is to be closed."""
        return self.symbol is None or symbol == self.symbol


def run_flatten(ctx: Context, request: FlattenRequest) -> Document:
    """Cancel our open orders, openings first, then close each position by the exit ladder.

    The record of who asked and why is on the disk before anything is done; then openings are turned off, so that
    nothing is opened again behind it, and stay off until an operator says otherwise. A symbol of which nothing is
    held or on its way changes no mode.

    Raises:
        RefusedError: the kill switch is on and `override_kill` was not given, or an operator said HALT.
        UsageError: the override came without a reason.
    """
    blocked = ctx.kill_switch.blocks(closing=True)
    if request.override_kill and not request.reason.strip():
        raise UsageError("the override of the kill switch needs a reason", seen="no --reason", expected="--reason TEXT")
    if blocked is not None and not request.override_kill and not request.dry_run:
        raise RefusedError(
            "the kill switch holds back every order, closing ones too", seen=blocked, expected="no kill switch",
            next_command="kobe flatten --override-kill --reason TEXT",
        )  # fmt: skip
    if not request.dry_run:
        _refuse_in_halt(ctx)
        record = {"who": OPERATOR, "symbol": request.symbol, "override_kill": request.override_kill,
                  "kill_switch": blocked, "reason": request.reason}  # fmt: skip
        ctx.audit.append("flatten", record)
        if _concerns_something(ctx, request):
            desk.set_mode(ctx, OPERATOR, Mode.CLOSE_ONLY, f"flatten: {request.reason or 'no reason given'}")
    passing = request.override_kill and not request.dry_run
    with ctx.kill_switch.letting_close() if passing else nullcontext(), order_desk(ctx, closing=True) as oms:
        return _flatten(ctx, oms, request)


def _refuse_in_halt(ctx: Context) -> None:
    """Leave a stricter word of an operator alone: in HALT nothing is sent, and only they may loosen it.

    Raises:
        RefusedError: an operator said HALT.
    """
    said = [r for r in desk.current_mode(ctx).reasons if r.source == OPERATOR and r.mode > Mode.CLOSE_ONLY]
    if said:
        raise RefusedError(
            "an operator stopped everything, closing orders too", seen=f"{said[0].mode.name}: {said[0].reason}",
            expected=f"{Mode.CLOSE_ONLY.name} or less", next_command="kobe mode set CLOSE_ONLY --reason WHY",
        )  # fmt: skip


def _concerns_something(ctx: Context, request: FlattenRequest) -> bool:
    """Whether anything is held or may still be opened of what is to be closed."""
    if request.symbol is None:
        return True
    oms = desk.manager(ctx)
    return oms.book().holding(request.symbol) or any(request.concerns(o.request.symbol) for o in open_orders(oms))


def _flatten(ctx: Context, oms: Oms, request: FlattenRequest) -> Document:
    openings = [o for o in open_orders(oms) if request.concerns(o.request.symbol)]
    positions = [p for p in oms.book().positions if request.concerns(p.symbol)]
    orphans = _orphans(ctx, oms, request)
    if request.dry_run:
        lines = [f"would cancel {o.request.client_order_id}" for o in openings]
        lines += [f"would sell {p.quantity} {p.symbol}" for p in positions]
        return _document(ctx, request, [], lines or ["nothing is open"], [], orphans)
    lines, stuck = _cancel(oms, openings)
    past, _ = protect.bars(ctx)
    due, plans = list[Due](), oms.plans()
    for position in [p for p in oms.book().positions if request.concerns(p.symbol)]:
        plan = plans.get(position.signal_id)
        if plan is None:
            stuck.append(f"{position.symbol}: no plan on record; {_by_hand(ctx, position)}")
            continue
        due.append(Due(position=position, plan=plan, reason=REASON))
    closings = close_all(ctx, oms, past, due)
    stuck += [f"NOT CLOSED: {c.due.position.symbol}: {c.stuck}; next: kobe flatten" for c in closings if c.stuck]
    stuck += beyond_ours(ctx, oms, closings)
    swept, unswept = protect.sweep(ctx, oms)
    lines, stuck = lines + swept, stuck + unswept
    left = [p for p in oms.book().positions if request.concerns(p.symbol)]
    ctx.audit.append("flattened", {"who": OPERATOR, "left": [p.symbol for p in left], "stuck": stuck})
    return _document(ctx, request, closings, lines, stuck, orphans)


def open_orders(oms: Oms) -> list[Order]:
    """Return openings of ours that may still act; what protects a position is taken away by the ladder."""
    return [o for o in oms.orders().values() if not o.status.is_final and o.request.effect is Effect.OPEN]


def _cancel(oms: Oms, orders: list[Order]) -> tuple[list[str], list[str]]:
    lines, stuck = [], []
    for known in orders:
        name = known.request.client_order_id
        try:
            ended = oms.cancel(name)
        except IntegrityError:
            raise
        except KobeError as error:
            stuck.append(f"{name} could not be cancelled: {error.message}; it may still open a position")
            continue
        if ended.status.is_final:
            lines.append(f"{name}: {ended.status.word}, {ended.filled} filled")
        else:
            stuck.append(f"{name} is {ended.status.word} after its cancel; it may still open a position")
    return lines, stuck


def _orphans(ctx: Context, oms: Oms, request: FlattenRequest) -> list[str]:
    """Name what the broker holds beyond our books: without an entry on record no ladder of ours may sell it."""
    ours, theirs = shares_by_symbol(oms.book().positions), ctx.broker.account().positions
    found = {s: n - ours.get(s, 0) for s, n in theirs.items() if n != ours.get(s, 0) and request.concerns(s)}
    return [
        f"{n} {symbol} at {ctx.broker.name} were not opened by kobe and are not touched; close them at the broker, "
        "then: kobe reconcile"
        for symbol, n in sorted(found.items())
    ]


def _is_off(ctx: Context) -> bool:
    return any(r.source == OPERATOR for r in desk.current_mode(ctx).reasons)


def _by_hand(ctx: Context, position: Position) -> str:
    return f"close {position.quantity} {position.symbol} at {ctx.broker.name}"


def _document(
    ctx: Context, request: FlattenRequest, closings: list[Closing], lines: list[str], stuck: list[str],
    orphans: list[str],
) -> Document:  # fmt: skip
    sent = [o for c in closings for o in c.orders]
    done = sum(not c.stuck for c in closings)
    what = request.symbol or "everything"
    told = f"{done} of {len(closings)} positions closed" if closings else "no position to close"
    off = AFTERWARDS if _is_off(ctx) else "openings stay as they are"
    head = f"would flatten {what} (--dry-run)" if request.dry_run else f"flatten {what}: {told}; {off}"
    sections = [Section(title="Orders", lines=tuple(lines))] if lines else []
    if sent:
        sections.append(Section(title="Sold", table=Table(columns=ORDER_COLUMNS, rows=order_rows(sent))))
    notes = [note for c in closings for note in c.notes]
    if notes or orphans:
        sections.append(Section(title="To be looked at", lines=(*notes, *orphans)))
    bad = bool(stuck) or (bool(orphans) and not request.dry_run)
    return Document(
        schema="kobe.flatten/1", title=f"Flatten, {ctx.today}", summary=(head, *stuck), sections=tuple(sections),
        data={
            "symbol": request.symbol, "dry_run": request.dry_run, "orders": [describe(o) for o in sent],
            "closed": [c.due.position.symbol for c in closings if not c.stuck],
            "stuck": [c.due.position.symbol for c in closings if c.stuck], "warnings": stuck, "cancelled": lines,
            "orphans": orphans, "notes": notes,
        },
        exit_code=ExitCode.PARTIAL if bad else ExitCode.OK,
    )  # fmt: skip
