"""`kobe reconcile`: the ledger against the broker. A difference halts openings until a person has looked."""

from dataclasses import asdict

from kobe.app import desk
from kobe.app.context import Context
from kobe.core.errors import ExitCode
from kobe.core.types import Mode
from kobe.execution import reconcile
from kobe.reports.document import Document, Section, Table

SOURCE = "reconcile"


def run_reconcile(ctx: Context) -> Document:
    """Ask the broker about everything open, compare both books, and set the mode accordingly."""
    with desk.order_desk(ctx) as oms:
        orders, positions = oms.orders(), oms.book().positions
        account = ctx.broker.account()
        found = reconcile.compare(orders, positions, ctx.broker.orders(), account.positions)
        wanted = Mode.REDUCE_ONLY if found else Mode.NORMAL
        why = f"{len(found)} differences with {ctx.broker.name}" if found else "books are equal"
        desk.set_mode(ctx, SOURCE, wanted, why)
        ctx.audit.append("reconcile", {"orders": len(orders), "differences": [asdict(d) for d in found]})
    table = Table(
        columns=("kind", "subject", "ledger", "broker"),
        rows=tuple((d.kind, d.subject, d.ledger, d.broker) for d in found),
    )
    return Document(
        schema="kobe.reconcile/1",
        title=f"Reconcile with {ctx.broker.name}",
        summary=(f"{len(orders)} orders and {len(positions)} positions compared: {why}.",),
        sections=(Section(title="Differences", table=table),) if found else (),
        data={
            "orders": len(orders), "positions": desk.position_lines(positions),
            "differences": [asdict(d) for d in found], "cash_usd": str(account.cash_usd),
            "equity_usd": str(account.equity_usd),
        },
        exit_code=ExitCode.PARTIAL if found else ExitCode.OK,
    )  # fmt: skip
