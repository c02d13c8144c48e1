"""The end-of-day report: what was decided, sent, filled, closed and earned, and whether the books agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.core.types import Order, Position, Trade
from kobe.reports.document import Document, Section, Table


@dataclass(frozen=True, kw_only=True)
class Day:
    """Everything the report is made from."""

    session: date
    decision: dict[str, Any] | None
    orders: Sequence[Order]
    closed: Sequence[Trade]
    positions: Sequence[tuple[Position, Decimal | None, Decimal | None]]
    cash_usd: Decimal
    equity_usd: Decimal
    realised_total_usd: Decimal
    day_used_usd: Decimal
    day_limit_usd: Decimal
    mode: str
    audit_head: str
    banners: tuple[str, ...]


def build(day: Day) -> Document:
    """Build the report; `positions` come with their last price and resting stop."""
    realised = sum((t.net_usd for t in day.closed), Decimal(0))
    open_pnl = sum((_open_pnl(p, last) for p, last, _ in day.positions), Decimal(0))
    budget = f"opening budget used {day.day_used_usd:.2f} of {day.day_limit_usd} $"
    decided = "not scanned"
    if day.decision is not None:
        decided = f"{day.decision['action']}: {day.decision['symbol'] or ''} ({day.decision['reason']})"
    return Document(
        schema="kobe.eod_report/1",
        title=f"End of day, {day.session}",
        summary=(
            f"Decision for this session: {decided}",
            f"Closed today {len(day.closed)}: {realised:+.2f} $; open {len(day.positions)}: {open_pnl:+.2f} $ so far",
            f"Equity {day.equity_usd:.2f} $, cash {day.cash_usd:.2f} $; {budget}; mode {day.mode}",
            f"Audit: {day.audit_head}",
        ),
        banners=day.banners,
        sections=tuple(s for s in (_orders(day), _closed(day), _positions(day)) if s.table and s.table.rows),
        data={
            "session": str(day.session), "decision": day.decision, "realised_usd": str(realised),
            "open_pnl_usd": str(open_pnl), "equity_usd": str(day.equity_usd), "cash_usd": str(day.cash_usd),
            "realised_total_usd": str(day.realised_total_usd), "day_used_usd": str(day.day_used_usd),
            "mode": day.mode, "audit_head": day.audit_head, "orders": len(day.orders),
            "positions": [p.symbol for p, _, _ in day.positions],
        },
    )  # fmt: skip


def _open_pnl(position: Position, last: Decimal | None) -> Decimal:
    if last is None:
        return Decimal(0)
    sign = 1 if position.side.value == "long" else -1
    return sign * (last - position.average_price) * position.quantity


def _money(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _orders(day: Day) -> Section:
    rows = tuple(
        (
            o.request.symbol, o.request.effect.value, o.request.order_type.value, o.request.quantity, o.filled,
            o.status.word, _money(o.fills[0].price if o.fills else None), o.request.reason,
        )
        for o in day.orders
    )  # fmt: skip
    columns = ("symbol", "effect", "type", "wanted", "filled", "status", "price", "reason")
    return Section(title="Orders of the day", table=Table(columns=columns, rows=rows))


def _closed(day: Day) -> Section:
    rows = tuple(
        (t.symbol, t.strategy, t.quantity, _money(t.entry_price), _money(t.exit_price), _money(t.fees_usd),
         f"{t.net_usd:+.2f}", t.exit_reason)
        for t in day.closed
    )  # fmt: skip
    columns = ("symbol", "strategy", "shares", "entry", "exit", "fees", "net $", "why")
    return Section(title="Closed today", table=Table(columns=columns, rows=rows))


def _positions(day: Day) -> Section:
    rows = tuple(
        (p.symbol, p.strategy, p.quantity, _money(p.average_price), _money(last), _money(stop),
         f"{_open_pnl(p, last):+.2f}")
        for p, last, stop in day.positions
    )  # fmt: skip
    columns = ("symbol", "strategy", "shares", "entry", "last", "stop", "open $")
    return Section(title="Open positions", table=Table(columns=columns, rows=rows))
