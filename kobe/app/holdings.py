"""The job `holdings`: what companies did overnight to what is held, before the open (D31)."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import combinations

from kobe.app import desk, protect, start_up
from kobe.app.context import Context
from kobe.app.manage_exits import frozen_holdings
from kobe.core.clock import new_york_date
from kobe.core.errors import ExitCode, ExternalError, UsageError
from kobe.core.panel import Panel
from kobe.core.ports import CorporateChange
from kobe.core.types import Mode
from kobe.core.units import to_decimal
from kobe.execution import book, corporate, exits
from kobe.execution.corporate import Split
from kobe.execution.oms import Oms
from kobe.execution.reconcile import shares_by_symbol
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

SOURCE = "corporate_actions"
MOST_SESSIONS = 30
MOST_AT_ONCE = 6  # splits of one symbol that are weighed against the broker's shares together
AGAIN = "kobe jobs run holdings --again"
COLUMNS = ("symbol", "what", "session", "ratio", "detail")


@dataclass(slots=True)
class _Found:
    """What was new, what the broker does not show yet, and what a person should know."""

    held: list[str] = field(default_factory=list)
    fresh: list[tuple[CorporateChange, date]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_holdings(ctx: Context, session: date) -> Document:
    """Ask the broker what changes each holding at the open of a session, write it down once, and act on it.

    A split rescales the lots and takes the protection away, which was in old shares; it is placed anew as soon as the
    gates let an order through, at the latest by the exits at the open. It is written down once the broker holds the
    new shares; until then the job is not over. Whatever else happened freezes the holding: nothing is opened any
    more, its exits are not sent by themselves, its protection stays.
    """
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=start_up.LEASE_WAIT_S):
        oms = desk.manager(ctx)
        found = _Found(held=sorted({p.symbol for p in oms.book().positions}))
        if found.held:
            past, _ = protect.bars(ctx)
            with suppress(ExternalError):  # what it sold meanwhile is looked at before its shares are counted
                oms.refresh(ctx.today)
            for change, day in _believed(ctx, oms, list(_new_changes(ctx, oms, session)), found):
                _write(ctx, past, change, day)
                found.fresh.append((change, day))
            start_up.start_up(ctx, oms)  # now the books are in the shares the broker counts
            _protect_anew(ctx, oms, past, found)
        swept, unswept = protect.sweep(ctx, oms)
        found.notes += swept
        found.warnings += found.waiting + unswept + _set_mode(ctx, oms)
        return _document(session, found)


def void_split(ctx: Context, symbol: str, session: date, reason: str) -> Document:
    """Take the splits of a symbol that were recorded for a session out of the books; the record of them stays.

    Raises:
        UsageError: no reason was given, or no such split is in force.
    """
    if not reason.strip():
        raise UsageError("a split is not declared void without a reason", seen="no --reason", expected="--reason TEXT")
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=start_up.LEASE_WAIT_S):
        events = ctx.ledger.events(corporate.STREAM)
        known = corporate.splits(events)
        gone = [s for s in known if (s.symbol, s.session) == (symbol, session)]
        if not gone:
            told = ", ".join(f"{s.symbol}:{s.session}" for s in known)
            raise UsageError("no such split is in force", seen=f"{symbol}:{session}", expected=told or "none is")
        payload = {"kind": corporate.VOID, "session": session.isoformat(), "reason": " ".join(reason.split())}
        number = _voids(ctx, symbol) + 1
        ctx.ledger.append(corporate.STREAM, symbol, corporate.VOID, payload, key=f"{symbol}:void:{number}")
        ctx.audit.append("corporate_void", {"symbol": symbol, **payload})
        oms = desk.manager(ctx)
        held = sum(p.quantity for p in oms.book().positions if p.symbol == symbol)
    ratios = [str(s.ratio) for s in gone]
    return Document(
        schema="kobe.void_split/1", title=f"Split of {symbol} on {session} is void",
        summary=(f"{', '.join(ratios)} for 1 no longer counts: our books hold {held} {symbol}",
                 "next: kobe reconcile, then: kobe manage-exits"),
        data={"symbol": symbol, "session": str(session), "ratios": ratios, "held": held, "reason": payload["reason"]},
    )  # fmt: skip


def _voids(ctx: Context, symbol: str) -> int:
    return sum(e.kind == corporate.VOID for e in ctx.ledger.events(corporate.STREAM, entity=symbol))


def _new_changes(ctx: Context, oms: Oms, session: date) -> Iterator[tuple[CorporateChange, date]]:
    """Yield what the broker tells of each session since the oldest holding was opened that is not on record yet."""
    opened = {p.symbol: new_york_date(p.opened) for p in reversed(oms.book().positions)}
    known = {
        corporate.identity(e.entity, e.payload["kind"], e.payload["session"], e.payload["ratio"])
        for e in corporate.in_force(oms.ledger.events(corporate.STREAM))
    }
    first = max(ctx.calendar.next(min(opened.values())), ctx.calendar.offset(session, -MOST_SESSIONS))
    for day in ctx.calendar.between(first, session):
        held = [symbol for symbol, since in opened.items() if since < day]
        for change in ctx.broker.corporate_changes(sorted(held), day):
            if change.symbol in held and corporate.identity_of(change, day) not in known:
                known.add(corporate.identity_of(change, day))
                yield change, day


def _believed(
    ctx: Context, oms: Oms, changes: list[tuple[CorporateChange, date]], found: _Found
) -> list[tuple[CorporateChange, date]]:
    """Return what is to be written down: of splits those that bring our shares nearer to the broker's.

    The others it has not carried out yet, or they are one of ours told again for another session.
    """
    splits = [(c, day) for c, day in changes if _is_split(c)]
    theirs = ctx.broker.account().positions if splits else {}
    chosen = [(c, day) for c, day in changes if not _is_split(c)]
    for symbol in sorted({c.symbol for c, _ in splits}):
        mine = [(c, day) for c, day in splits if c.symbol == symbol][:MOST_AT_ONCE]
        best = _nearest(ctx, oms, mine, theirs.get(symbol, 0))
        chosen += best
        for one in mine:
            if one not in best:
                _set_aside(oms, *one, found)
    return sorted(chosen, key=lambda told: told[1])


def _is_split(change: CorporateChange) -> bool:
    return change.kind == corporate.SPLIT and change.ratio is not None


def _nearest(
    ctx: Context, oms: Oms, told: list[tuple[CorporateChange, date]], theirs: int
) -> list[tuple[CorporateChange, date]]:
    """Return the splits that together bring our shares nearest to the broker's; none, and then fewer, come first."""
    known, orders = corporate.splits(oms.ledger.events(corporate.STREAM)), oms.orders().values()
    symbol = told[0][0].symbol

    def distance(some: Iterable[tuple[CorporateChange, date]]) -> int:
        more = [_as_split(ctx, c, day) for c, day in some]
        ours = shares_by_symbol(book.build(orders, (*known, *more)).positions)
        return abs(ours.get(symbol, 0) - theirs)

    tries = [list(some) for count in range(len(told) + 1) for some in combinations(told, count)]
    return min(tries, key=distance)


def _as_split(ctx: Context, change: CorporateChange, day: date) -> Split:
    ratio = corporate.exact_ratio(change.ratio or Decimal(1))
    return Split(symbol=change.symbol, session=day, at=ctx.calendar.opens_at(day), ratio=ratio, cash_price=Decimal(0),
                 recorded=ctx.clock.now())  # fmt: skip


def _set_aside(oms: Oms, change: CorporateChange, day: date, found: _Found) -> None:
    """Say of a split that was not written down whether it is one of ours again or still to come."""
    ratio = corporate.exact_ratio(change.ratio or Decimal(1))
    known = corporate.splits(oms.ledger.events(corporate.STREAM))
    ours = [s for s in known if s.symbol == change.symbol and s.ratio == ratio]
    told = f"{change.symbol}: split of {ratio} for 1 on {day}"
    if ours:
        found.notes.append(f"{told} is the one of {ours[-1].session} told again; it is not applied twice")
    else:
        found.waiting.append(f"{told} does not explain the shares the broker holds; next: {AGAIN}")


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
    key = corporate.key_of(change, day, _voids(ctx, change.symbol))
    ctx.ledger.append(corporate.STREAM, change.symbol, change.kind, payload, key=key)
    ctx.audit.append("corporate_change", {"symbol": change.symbol, **payload})


def _protect_anew(ctx: Context, oms: Oms, past: Panel, found: _Found) -> None:
    """Take away protection in old shares and place it in new ones; what is missing is seen to as well."""
    split = {s.symbol for s in corporate.splits(oms.ledger.events(corporate.STREAM))}
    for position in oms.book().positions:
        if position.symbol not in split:
            continue
        for known in exits.guards(oms.unfinished().values(), position.signal_id):
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
            "waiting": found.waiting, "warnings": found.warnings, "notes": found.notes,
        },
        exit_code=ExitCode.PARTIAL if found.warnings else ExitCode.OK,
    )  # fmt: skip
