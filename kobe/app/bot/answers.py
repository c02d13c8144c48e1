"""What the bot answers: existing use cases as short plain text. Nothing here changes anything."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kobe.app import decision, desk, equity, scan
from kobe.app.context import Context
from kobe.app.day.runner_once import next_instant
from kobe.app.day.runs import of_session
from kobe.app.status import run_status
from kobe.app.why_not import run_why_not
from kobe.core.clock import new_york_date
from kobe.core.errors import UsageError
from kobe.reports.document import Document, Section, Table, shown

MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class Question:
    """Something that may be asked: what it tells, how it is answered from the words behind it."""

    tells: str
    answer: Callable[[Context, list[str]], Document]


def _status(ctx: Context, _words: list[str]) -> Document:
    return run_status(ctx, write=False)


def _today(ctx: Context, _words: list[str]) -> Document:
    day = ctx.today
    if day not in ctx.calendar:
        told = (f"{day} is no session; the next is {ctx.calendar.next(day)}",)
        return Document(schema="kobe.bot_today/1", title=f"Today, {day}", summary=told)
    close = " (early close)" if ctx.calendar.is_early_close(day) else ""
    lines = tuple(f"{r.job}: {r.status}{f', {r.detail}' if r.detail else ''}" for r in of_session(ctx.ledger, day))
    return Document(
        schema="kobe.bot_today/1", title=f"Today, {day}{close}",
        summary=(_pick_line(ctx), f"next: {next_instant(ctx)}"),
        sections=(Section(title="Jobs", lines=lines or ("nothing ran yet",)),),
    )  # fmt: skip


def _picks(ctx: Context, _words: list[str]) -> Document:
    session = ctx.calendar.last_complete(ctx.clock.now())
    title = f"Picks of {session}"
    if not (ctx.paths.of_session(session) / decision.RECORD).is_file():
        return Document(schema="kobe.bot_picks/1", title=title, summary=("not scanned yet",))
    rows = decision.read_rows(ctx, session, decision.read_record(ctx, session), decision.PICKS)
    table = Table(
        columns=("symbol", "strategy", "p", "gate", "close", "stop"),
        rows=tuple((r["symbol"], r["strategy"], r["probability"], r["gate"], r["raw_close"], r["stop"]) for r in rows),
    )
    return Document(schema="kobe.bot_picks/1", title=title, summary=(_pick_line(ctx),),
                    sections=(Section(title="", table=table),) if rows else ())  # fmt: skip


def _positions(ctx: Context, _words: list[str]) -> Document:
    held = desk.manager(ctx).book().positions
    rows = tuple(
        (p.symbol, p.side.value, p.quantity, str(round(p.average_price, 2)), str(new_york_date(p.opened))) for p in held
    )
    table = Table(columns=("symbol", "side", "shares", "at $", "since"), rows=rows)
    return Document(schema="kobe.bot_positions/1", title="Positions", summary=(f"{len(rows)} positions",),
                    sections=(Section(title="", table=table),) if rows else ())  # fmt: skip


def _pnl(ctx: Context, _words: list[str]) -> Document:
    account, trades = ctx.broker.account(), desk.manager(ctx).book().trades
    last = equity.standing(ctx, account).last_usd
    today = [t for t in trades if new_york_date(t.closed) == ctx.today]
    net, all_net = (sum((t.net_usd for t in some), Decimal(0)) for some in (today, trades))
    change = "unknown" if last is None else f"{account.equity_usd - last:+,.2f}"
    return Document(
        schema="kobe.bot_pnl/1", title="Profit and loss, dollars",
        summary=(f"equity {account.equity_usd:,.2f}, since the last close {change}",
                 f"closed today: {len(today)} trades, {net:+,.2f} net; all {len(trades)}: {all_net:+,.2f}"),
    )  # fmt: skip


def _why(ctx: Context, words: list[str]) -> Document:
    if len(words) != 1:
        raise UsageError("which symbol?", expected="/why SYMBOL")
    return run_why_not(ctx, words[0].upper(), None)


def _health(ctx: Context, _words: list[str]) -> Document:
    from kobe.app.watching.health import run_health

    return run_health(ctx)


def _next(ctx: Context, _words: list[str]) -> Document:
    return Document(schema="kobe.bot_next/1", title="Next", summary=(next_instant(ctx),))


QUESTIONS: dict[str, Question] = {
    "/status": Question("everything at a glance", _status),
    "/today": Question("the pick and the jobs of today", _today),
    "/picks": Question("the newest picks", _picks),
    "/positions": Question("what is held", _positions),
    "/pnl": Question("equity and closed trades", _pnl),
    "/why": Question("why a symbol was not picked: /why SYMBOL", _why),
    "/health": Question("what is not well", _health),
    "/next": Question("when something runs next", _next),
}


def answer(ctx: Context, command: str, words: list[str]) -> str:
    """Return the answer to a question as plain text."""
    return as_text(QUESTIONS[command].answer(ctx, words))


def as_text(document: Document) -> str:
    """Render a document for a small screen: tables become lines, pictures are left out."""
    lines = [document.title, *document.banners, *document.summary]
    for section in document.sections:
        body = [*section.lines, *(f"{head}: {s}" for head, said in section.lists for s in said)]
        if section.table is not None:
            body += _rows(section.table)
        if body:
            lines += ["", *([section.title] if section.title else []), *body]
    return "\n".join(lines)


def _rows(table: Table) -> list[str]:
    """Return rows as lines; beside one value its column's name says nothing."""
    told, named = [], len(table.columns) > 2
    for row in table.rows[:MOST_ROWS]:
        cells = [(name, shown(cell)) for name, cell in zip(table.columns[1:], row[1:], strict=True) if cell != ""]
        rest = ", ".join(f"{name} {cell}" if named else cell for name, cell in cells)
        told.append(f"- {shown(row[0])}: {rest}" if rest else f"- {shown(row[0])}")
    more = len(table.rows) - MOST_ROWS
    return [*told, *([f"... and {more} more"] if more > 0 else [])]


def _pick_line(ctx: Context) -> str:
    session = ctx.calendar.last_complete(ctx.clock.now())
    chosen = scan.shown_trade_of_day(ctx, session)
    if chosen is None:
        return f"{session} not scanned yet"
    return f"{chosen['symbol'] or 'no trade'} for {chosen['valid_session']} ({chosen['reason']})"
