"""The job `holdings`: what companies did overnight to what is held, before the open (D31)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from kobe.app import desk, protect, start_up
from kobe.app.context import Context
from kobe.app.manage_exits import frozen_holdings
from kobe.core.clock import new_york_date
from kobe.core.errors import ExitCode
from kobe.core.panel import Panel
from kobe.core.ports import CorporateChange
from kobe.core.types import Mode
from kobe.core.units import to_decimal
from kobe.execution import corporate, exits
from kobe.execution.oms import Oms
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

SOURCE = "corporate_actions"
MOST_SESSIONS = 30
COLUMNS = ("symbol", "what", "session", "ratio", "detail")


@dataclass(slots=True)
class _Found:
    """What was new, and what a person should know."""

    held: list[str] = field(default_factory=list)
    fresh: list[tuple[CorporateChange, date]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_holdings(ctx: Context, session: date) -> Document:
    """Ask the broker what changes each holding at the open of a session, write it down once, and act on it.

    A split rescales the lots and takes the protection away, which was in old shares; it is placed anew as soon as the
    gates let an order through, at the latest by the exits at the open. Whatever else happened freezes the holding:
    nothing is opened any more, its exits are not sent by themselves, its protection stays.
    """
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=start_up.LEASE_WAIT_S):
        oms = desk.manager(ctx)
        found = _Found(held=sorted({p.symbol for p in oms.book().positions}))
        if found.held:
            past = desk.last_panel(ctx)
            found.fresh = list(_new_changes(ctx, oms, session))
            for change, day in found.fresh:
                _write(ctx, past, change, day)
            start_up.start_up(ctx, oms)  # now the books are in the shares the broker counts
            _protect_anew(ctx, oms, past, found)
        found.warnings += _set_mode(ctx, oms)
        return _document(session, found)


def _new_changes(ctx: Context, oms: Oms, session: date) -> Iterator[tuple[CorporateChange, date]]:
    """Yield what the broker tells of each session since the oldest holding was opened that is not on record yet."""
    opened = {p.symbol: new_york_date(p.opened) for p in reversed(oms.book().positions)}
    known = {
        (e.entity, e.payload["kind"], e.payload["session"]) for e in oms.ledger.events(corporate.STREAM)
    }  # fmt: skip
    first = max(ctx.calendar.next(min(opened.values())), ctx.calendar.offset(session, -MOST_SESSIONS))
    for day in ctx.calendar.between(first, session):
        held = [symbol for symbol, since in opened.items() if since < day]
        for change in ctx.broker.corporate_changes(sorted(held), day):
            if change.symbol in held and (change.symbol, change.kind, day.isoformat()) not in known:
                yield change, day


def _write(ctx: Context, past: Panel, change: CorporateChange, day: date) -> None:
    """Record a change; a split needs the price at which the broker pays for what is left of a share."""
    price = Decimal(0)
    if change.kind == corporate.SPLIT and change.ratio is not None:
        before = protect.raw_closes(past, change.symbol, ctx.calendar.offset(day, -corporate.OLDEST_PRICE), ())
        closes = [c.price for c in before if c.session < day]
        ratio = corporate.exact_ratio(change.ratio)
        raw = to_decimal(round(closes[-1], 6)) if closes else Decimal(0)
        price = raw * ratio.denominator / ratio.numerator
    payload = corporate.change_json(change, day, ctx.calendar.opens_at(day), price)
    ctx.ledger.append(corporate.STREAM, change.symbol, change.kind, payload, key=corporate.key_of(change, day))
    ctx.audit.append("corporate_change", {"symbol": change.symbol, **payload})


def _protect_anew(ctx: Context, oms: Oms, past: Panel, found: _Found) -> None:
    """Take away protection in old shares and place it in new ones; what is missing is seen to as well."""
    split = {s.symbol for s in corporate.splits(oms.ledger.events(corporate.STREAM))}
    for position in oms.book().positions:
        if position.symbol not in split:
            continue
        for known in exits.guards(oms.orders().values(), position.signal_id):
            if protect.in_old_shares(oms, known, position):
                ended = oms.cancel(known.request.client_order_id)
                if not ended.status.is_final:
                    name = known.request.client_order_id
                    found.warnings.append(f"{name} is in old shares and not final after its cancel")
        seen = protect.guard(ctx, oms, past, position.signal_id)
        if seen.order is not None and not seen.note:
            found.notes.append(f"{position.symbol}: stop at {seen.order.request.stop_price} for {position.quantity}")
        elif seen.note:
            found.notes.append(f"{seen.note}; it is placed at the open")


def _set_mode(ctx: Context, oms: Oms) -> list[str]:
    """Turn openings off while a holding is frozen, and on again when none is; returns what to look at."""
    asleep = frozen_holdings(oms)
    lines = [f"{f.symbol}: {f.kind} on {f.session} {f.detail}".rstrip() for f in asleep]
    wanted = Mode.REDUCE_ONLY if asleep else Mode.NORMAL
    desk.set_mode(ctx, SOURCE, wanted, "; ".join(lines) or "no holding is frozen")
    return [f"FROZEN: {line}; next: kobe flatten --symbol {f.symbol}" for line, f in zip(lines, asleep, strict=True)]


def _document(session: date, found: _Found) -> Document:
    rows = tuple(
        (c.symbol, c.kind, str(day), None if c.ratio is None else str(corporate.exact_ratio(c.ratio)),
         c.detail or c.symbol_after)
        for c, day in found.fresh
    )  # fmt: skip
    sections = [Section(title="New", table=Table(columns=COLUMNS, rows=rows))] if rows else []
    if found.notes:
        sections.append(Section(title="Protection", lines=tuple(found.notes)))
    told = f"{len(found.fresh)} new changes of {len(found.held)} symbols held" if found.held else "nothing is held"
    return Document(
        schema="kobe.holdings/1", title=f"Holdings before the open of {session}", summary=(told, *found.warnings),
        sections=tuple(sections),
        data={
            "session": str(session), "held": found.held, "changes": [list(row) for row in rows],
            "warnings": found.warnings, "notes": found.notes,
        },
        exit_code=ExitCode.PARTIAL if found.warnings else ExitCode.OK,
    )  # fmt: skip
