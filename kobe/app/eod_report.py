"""`kobe eod-report`: the day as Markdown, HTML and JSON, and one line in the journal."""

from datetime import date
from decimal import Decimal

from kobe.app import desk, scan
from kobe.app.audit import run_audit_checkpoint
from kobe.app.context import Context
from kobe.app.start_up import order_desk
from kobe.app.status import audit_line
from kobe.core.clock import new_york_date
from kobe.core.errors import MissingDataError
from kobe.core.types import Order, Position
from kobe.execution import book, exits
from kobe.reports import end_of_day
from kobe.reports.document import Document, jsonable
from kobe.reports.render import html, markdown, terminal

JOURNAL = "journal"


def run_eod_report(ctx: Context, session: date | None = None) -> Document:
    """Write the report of a session (default: the last complete one) and a journal entry."""
    day = session or ctx.calendar.last_complete(ctx.clock.now())
    with order_desk(ctx) as oms:
        orders, books, intents = oms.orders(), oms.book(), oms.intents()
        account = ctx.broker.account()
    mine = [o for o in orders.values() if _touched(o, day)]
    closed = [t for t in books.trades if new_york_date(t.closed) == day]
    decided = scan.shown_trade_of_day(ctx, ctx.calendar.previous(day))
    run_audit_checkpoint(ctx)
    document = end_of_day.build(
        end_of_day.Day(
            session=day,
            decision=decided,
            orders=mine,
            closed=closed,
            positions=[(p, _last_price(ctx, p, day), _stop(orders, p)) for p in books.positions],
            cash_usd=account.cash_usd,
            equity_usd=account.equity_usd,
            realised_total_usd=sum((t.net_usd for t in books.trades), Decimal(0)),
            day_used_usd=book.day_used_usd(intents, ctx.clock.now()),
            day_limit_usd=ctx.limits.day_usd,
            mode=desk.current_mode(ctx).mode.name,
            audit_head=audit_line(ctx),
            banners=known_banners(ctx),
        )
    )
    folder = ctx.paths.of_session(day)
    ctx.artifacts.write(folder / "eod.md", markdown.render(document).encode())
    ctx.artifacts.write(folder / "eod.html", html.render(document).encode())
    ctx.artifacts.write(folder / "eod.json", (terminal.as_json(document) + "\n").encode())
    length = "half_day" if ctx.calendar.is_early_close(day) else "full_day"
    tags = [day.strftime("%A").lower(), day.strftime("%B").lower(), length]
    entry = {"session": str(day), "tags": tags, "text": " ".join(document.summary), "data": jsonable(document.data)}
    ctx.ledger.append(JOURNAL, str(day), "end_of_day", entry, key=f"eod:{day}:{len(_written(ctx, day)) + 1}")
    return document


def known_banners(ctx: Context) -> tuple[str, ...]:
    """Return what every report on these bars must say; nothing when there are none yet."""
    try:
        return ctx.panel().banners
    except MissingDataError:
        return ()


def _written(ctx: Context, day: date) -> list[object]:
    return list(ctx.ledger.events(JOURNAL, entity=str(day)))


def _touched(order: Order, day: date) -> bool:
    return order.request.session == day or any(new_york_date(f.at) == day for f in order.fills)


def _stop(orders: dict[str, Order], position: Position) -> Decimal | None:
    guard = exits.resting(orders.values(), position.signal_id)
    return None if guard is None else guard.request.stop_price


def _last_price(ctx: Context, position: Position, day: date) -> Decimal | None:
    panel = ctx.panel()
    if position.symbol not in panel.symbols:
        return None
    mine, number = panel[position.symbol], ctx.calendar.number(day)
    at = int((mine.session <= number).sum()) - 1
    if at < 0:
        return None
    row = mine.first_row + at
    return Decimal(str(round(float(panel.close[row] * panel.raw_factor[row]), 4)))
