"""`kobe reconcile`: orders, fills, shares and cash against the broker. What is not repaired by rule halts openings."""

from dataclasses import dataclass
from typing import Any

from kobe.app import books, desk, equity
from kobe.app.books import Settlement
from kobe.app.context import Context
from kobe.app.start_up import order_desk
from kobe.core.errors import ExitCode
from kobe.execution.oms import Oms
from kobe.execution.reconcile import Remedy
from kobe.reports.document import Document, Section, Table

_ANSWERS = {
    Remedy.ADOPT: "repaired", Remedy.BOOK: "booked", Remedy.WAIT: "judged again", Remedy.NOTE: "listed",
    Remedy.HALT: "halts openings",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReconcileRequest:
    """`dry_run` only looks; `adopt_cash` says why the broker's cash is to be believed against our book."""

    dry_run: bool = False
    adopt_cash: str = ""


def run_reconcile(ctx: Context, request: ReconcileRequest = ReconcileRequest()) -> Document:
    """Compare both books, repair what a rule can, and after the close keep the equity of the session."""
    if request.dry_run:
        oms = desk.manager(ctx)
        result = books.settle(ctx, oms, repair=False, adopt_cash=request.adopt_cash)
        return _document(ctx, oms, result, [d.document() for d in result.differences], request)
    before = max((e.sequence for e in ctx.ledger.events(books.SOURCE)), default=0)
    with order_desk(ctx) as oms:  # compares and repairs by itself: what it found is on record
        result = books.settle(ctx, oms, adopt_cash=request.adopt_cash)
        now = [d.document() for d in result.differences]
        told = [d for d in books.found_since(ctx, before) if d["done"] and d not in now] + now
        ctx.audit.append("reconcile", {"orders": len(oms.orders()), "differences": told, "cash": _cash_line(result)})
        today = ctx.today
        if today in ctx.calendar and ctx.clock.now() >= ctx.calendar.closes_at(today):
            equity.mark(ctx, result.account, today)
        equity.mark_before(ctx, result.account)
        return _document(ctx, oms, result, told, request)


def _cash_line(result: Settlement) -> str:
    if result.money is None:
        return f"cash: {result.account.cash_usd:,.2f} at the broker is where our book begins"
    return result.money.words


def _answer(d: dict[str, Any]) -> str:
    remedy = Remedy(d["remedy"])
    undone = remedy in (Remedy.ADOPT, Remedy.BOOK) and not d["done"]
    return f"would be {_ANSWERS[remedy]}" if undone else _ANSWERS[remedy]


def _document(
    ctx: Context, oms: Oms, result: Settlement, differences: list[dict[str, Any]], request: ReconcileRequest
) -> Document:
    orders, positions = oms.orders(), oms.book().positions
    columns = ("kind", "class", "subject", "ours", "broker", "answer", "to do")
    names = ("kind", "class", "subject", "ours", "broker")
    rows = tuple((*(d[n] for n in names), _answer(d), d["do"]) for d in differences)
    told = f"{len(orders)} orders and {len(positions)} positions compared with {result.orders} of {ctx.broker.name}"
    dry = " (--dry-run: nothing was changed)" if request.dry_run else ""
    money = result.money
    return Document(
        schema="kobe.reconcile/2",
        title=f"Reconcile with {ctx.broker.name}",
        summary=(f"{told}: {result.why}{dry}", _cash_line(result)),
        sections=(Section(title="Differences", table=Table(columns=columns, rows=rows)),) if rows else (),
        data={
            "orders": len(orders), "positions": desk.position_lines(positions), "dry_run": request.dry_run,
            "differences": differences, "cash_usd": str(result.account.cash_usd),
            "equity_usd": str(result.account.equity_usd),
            "cash": None if money is None else {
                **{f"{name}_usd": str(usd) for name, usd in money.parts().items()},
                "anchor_usd": str(money.anchor_usd), "expected_usd": str(money.expected_usd),
                "broker_usd": str(money.broker_usd), "difference_usd": str(money.difference_usd),
            },
        },
        exit_code=ExitCode.PARTIAL if result.unsettled else ExitCode.OK,
    )  # fmt: skip
