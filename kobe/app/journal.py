"""`kobe journal`: finished trades with their tags, notes by hand, and what each tag was worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from kobe.app import cash_book, desk
from kobe.app.context import Context
from kobe.core.clock import from_ns
from kobe.core.errors import MissingDataError, UsageError
from kobe.core.types import SYMBOL_PATTERN, Effect, Order
from kobe.execution import journal, slippage
from kobe.execution.journal import ABOVE, BELOW, TAGS, UNKNOWN, Entry, Note, Worth
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table, jsonable

STREAM, NOTE = "journal", "note"
TREND_BARS = 200
LONGEST_NOTE = 2_000


@dataclass(frozen=True, kw_only=True)
class Journal:
    """Everything in it, oldest first; `days` is what the evenings wrote by session."""

    entries: list[Entry]
    notes: list[Note]
    days: dict[date, str]


def read(ctx: Context) -> Journal:
    """Read the ledger and tag every finished trade."""
    oms = desk.manager(ctx)
    plans, trades = oms.plans(), sorted(oms.book().trades, key=lambda t: (t.opened, t.signal_id))
    by_signal: dict[str, list[Order]] = {}
    for order in oms.orders().values():
        by_signal.setdefault(order.request.signal_id, []).append(order)
    quoted, fees = slippage.quotes(ctx.ledger.events(desk.QUOTES)), cash_book.booked_fees(ctx)
    regimes = _Regimes.of(ctx) if trades else None
    entries = []
    for trade in trades:
        plan, mine = plans.get(trade.signal_id), by_signal[trade.signal_id]
        factor = 1.0 if plan is None else desk.factor_at(ctx.panel(), trade.symbol, plan.signal_date)
        regime = UNKNOWN if plan is None or regimes is None else regimes.at(plan.signal_date)
        booked = sum((fees[n] for o in mine if (n := o.request.client_order_id) in fees), start=cash_book.NOTHING)
        entries.append(journal.entry(trade, plan, factor, regime, booked, _entry_bps(mine, quoted)))
    events = ctx.ledger.events(STREAM)
    notes = [
        Note(session=date.fromisoformat(e.payload["session"]), symbol=e.payload["symbol"], text=e.payload["text"],
             at=from_ns(e.at_ns).isoformat())
        for e in events if e.kind == NOTE
    ]  # fmt: skip
    days = {date.fromisoformat(e.entity): str(e.payload["text"]) for e in events if e.kind == "end_of_day"}
    return Journal(entries=entries, notes=notes, days=days)


@dataclass(frozen=True, kw_only=True)
class _Regimes:
    """Where the market stood against its average at each close."""

    ctx: Context
    session: Any
    close: Any
    average: Any

    @staticmethod
    def of(ctx: Context) -> "_Regimes":
        """Read the market's bars; without any, nothing is known."""
        try:
            market = ctx.panel().select({ctx.settings.market.symbol})
        except MissingDataError:
            return _Regimes(ctx=ctx, session=np.empty(0), close=np.empty(0), average=np.empty(0))
        average = FeatureTable(market).column("sma", TREND_BARS) if len(market) else np.empty(0)
        return _Regimes(ctx=ctx, session=market.session, close=market.close, average=average)

    def at(self, day: date) -> str:
        """Return the regime at the close of a session."""
        found = np.flatnonzero(self.session == self.ctx.calendar.number(day))
        if not len(found) or not np.isfinite(self.average[found[0]]):
            return UNKNOWN
        return ABOVE if self.close[found[0]] > self.average[found[0]] else BELOW


def _entry_bps(orders: Sequence[Order], quoted: dict[str, slippage.Quoted]) -> float | None:
    """Return what the entry cost against its quotes, by shares; None where one has no quote."""
    paid, shares = 0.0, 0
    for o in orders:
        if o.request.effect is Effect.OPEN and o.filled:
            quote = quoted.get(o.request.client_order_id)
            if quote is None:
                return None
            paid += slippage.cost_bps(slippage.average(o), quote.mid, is_buy=o.request.is_buy) * o.filled
            shares += o.filled
    return paid / shares if shares else None


def parse_tags(pairs: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE pairs.

    Raises:
        UsageError: a pair is malformed or there is no such tag.
    """
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name not in TAGS:
            raise UsageError("--tag wants NAME=VALUE", seen=pair, expected=f"a name of {', '.join(TAGS)}")
        found[name] = value
    return found


def run_list(ctx: Context, tags: dict[str, str], since: date | None = None) -> Document:
    """List finished trades with these tags, and the notes of the same time, oldest first."""
    kept = read(ctx)
    entries = journal.wanted(kept.entries, tags, since)
    notes = [n for n in kept.notes if (since is None or n.session >= since) and _about(n, tags)]
    rows = tuple(
        (e.tags["session"], e.tags["weekday"], e.tags["symbol"], e.tags["strategy"], e.tags["exit_reason"],
         e.tags["regime"], row["quantity"], row["entry_price"], row["exit_price"], row["net_usd"], row["r"],
         row["entry_slippage_bps"])
        for e in entries for row in (e.row(),)
    )  # fmt: skip
    columns = ("session", "weekday", "symbol", "strategy", "exit", "regime", "shares", "entry", "exit at", "net $",
               "R", "slippage bps")  # fmt: skip
    net = sum((e.net_usd for e in entries), start=cash_book.NOTHING)
    return Document(
        schema="kobe.journal/1", title="Journal",
        summary=(f"{len(entries)} trades, {net:+,.2f} dollars net; {len(notes)} notes",),
        sections=_filled(Section(title="Trades", table=Table(columns=columns, rows=rows)), _notes(notes)),
        data={"trades": [e.row() for e in entries], "notes": [_note(n) for n in notes]},
    )  # fmt: skip


def run_stats(ctx: Context, by: str | None = None, since: date | None = None) -> Document:
    """Show what each value of a tag was worth.

    Raises:
        UsageError: there is no such tag.
    """
    if by is not None and by not in TAGS:
        raise UsageError("no such tag", seen=by, expected=", ".join(TAGS))
    entries = journal.wanted(read(ctx).entries, {}, since)
    names = (by,) if by else tuple(t for t in TAGS if t not in ("session", "symbol"))
    found = [w for name in names for w in journal.by_tag(entries, name)]
    columns = ("tag", "value", "trades", "won", "win rate", "low 95%", "high 95%", "net $", "mean R")
    rows = tuple(
        (w.tag, w.value, w.trades, w.wins, w.win_rate, w.low, w.high, f"{w.net_usd:.2f}", w.mean_r) for w in found
    )
    return Document(
        schema="kobe.journal_stats/1", title="Journal by tag", summary=(f"{len(entries)} finished trades",),
        sections=_filled(Section(title="", table=Table(columns=columns, rows=rows))),
        data={"trades": len(entries), "tags": [_worth(w) for w in found]},
    )  # fmt: skip


def run_show(ctx: Context, session: date | None = None) -> Document:
    """Show one session: what its evening wrote, the trades opened or closed in it, and its notes."""
    day, kept = session or ctx.calendar.last_complete(ctx.clock.now()), read(ctx)
    entries = [e for e in kept.entries if str(day) in (e.tags["session"], e.trade.closed.date().isoformat())]
    notes = [n for n in kept.notes if n.session == day]
    lines = tuple(
        f"{e.trade.symbol} ({e.trade.strategy}): {e.trade.quantity} at {round(e.trade.entry_price, 4)}, out at "
        f"{round(e.trade.exit_price, 4)} ({e.trade.exit_reason}), {e.net_usd:+.2f} dollars"
        for e in entries
    )
    text = kept.days.get(day, "no end-of-day report was written")
    return Document(
        schema="kobe.journal_day/1", title=f"Journal of {day}", summary=(text,),
        sections=_filled(Section(title="Trades", lines=lines), _notes(notes)),
        data={"session": str(day), "text": text, "trades": [e.row() for e in entries],
              "notes": [_note(n) for n in notes]},
    )  # fmt: skip


def run_add(ctx: Context, text: str, *, symbol: str = "", session: date | None = None) -> Document:
    """Write a note; what is written stays.

    Raises:
        UsageError: there is nothing to write, too much of it, or the symbol is none.
    """
    import re

    said, name = " ".join(text.split()), symbol.upper()
    if not said or len(said) > LONGEST_NOTE:
        raise UsageError("a note has words", seen=f"{len(said)} letters", expected=f"1 to {LONGEST_NOTE}")
    if name and not re.fullmatch(SYMBOL_PATTERN, name):
        raise UsageError("no symbol is called that", seen=symbol, expected="such as SPY")
    day = session or (ctx.today if ctx.today in ctx.calendar else ctx.calendar.last_complete(ctx.clock.now()))
    count = len(ctx.ledger.events(STREAM))
    payload = {"session": str(day), "symbol": name, "text": said}
    ctx.ledger.append(STREAM, str(day), NOTE, payload, key=f"note:{day}:{count + 1}")
    ctx.audit.append("journal_note", payload)
    return Document(schema="kobe.journal_note/1", title="Journal", summary=(f"noted for {day}: {said}",), data=payload)


def run_export(ctx: Context, out: Path) -> Document:
    """Write trades and notes as CSV."""
    kept = read(ctx)
    ctx.artifacts.write(out.resolve(), journal.as_csv(kept.entries, kept.notes).encode())
    return Document(
        schema="kobe.journal_export/1", title="Journal",
        summary=(f"{len(kept.entries)} trades and {len(kept.notes)} notes written to {out}",),
        data={"trades": len(kept.entries), "notes": len(kept.notes), "file": str(out)},
    )  # fmt: skip


def _about(note: Note, tags: dict[str, str]) -> bool:
    """Whether a note has the tags that notes have."""
    told = {"session": str(note.session), "symbol": note.symbol, "weekday": note.session.strftime("%A").lower(),
            "month": note.session.strftime("%B").lower()}  # fmt: skip
    return all(told.get(name) == value for name, value in tags.items())


def _notes(notes: Sequence[Note]) -> Section:
    return Section(title="Notes", lines=tuple(f"{n.session} {n.symbol or '-'}: {n.text}" for n in notes))


def _note(note: Note) -> dict[str, str]:
    return {"session": str(note.session), "symbol": note.symbol, "text": note.text, "at": note.at}


def _worth(w: Worth) -> dict[str, Any]:
    values = {
        "tag": w.tag, "value": w.value, "trades": w.trades, "wins": w.wins, "win_rate": w.win_rate, "low": w.low,
        "high": w.high, "net_usd": f"{w.net_usd:.2f}", "mean_r": w.mean_r,
    }  # fmt: skip
    return {name: jsonable(value) for name, value in values.items()}


def _filled(*sections: Section) -> tuple[Section, ...]:
    return tuple(s for s in sections if s.lines or (s.table and s.table.rows))
