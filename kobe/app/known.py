"""The records as they stood at an instant: a report of a past session tells what was known then, and nothing later."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter, itemgetter

import numpy as np

from kobe.app import cash_book, equity
from kobe.app.carry import carried
from kobe.app.context import Context
from kobe.core.clock import from_ns, midnight, new_york_date, to_ns
from kobe.core.errors import MissingDataError
from kobe.core.panel import Panel
from kobe.core.ports import Event
from kobe.core.types import Order, Trade, TradePlan
from kobe.core.units import to_decimal
from kobe.execution import book, cash, corporate, journal, order
from kobe.execution.order import OrderFold
from kobe.execution.plans import PLANS, plan_from
from kobe.reports.book_tables import NOTHING, Closed, Profit
from kobe.risk import mode

_closed_on = attrgetter("closed")
TOLD = 1 << 14  # finished trades that are kept as told
SHOWN_CLOSES = 252
"""Closes of the equity curve that a report shows: a year, so that a report is as long after ten years as after one."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Orders and books at an instant.

    Attributes:
        instant: when.
        orders: by client order id; intents: each with the instant it was written.
        book: positions and finished trades.
        plans: by signal id.
        fold: the fold they were taken from, where that knows them all.
    """

    instant: datetime
    orders: dict[str, Order]
    intents: tuple[tuple[Order, datetime], ...]
    book: book.Book
    plans: dict[str, TradePlan]
    fold: OrderFold | None = None

    def touched(self, session: date) -> list[Order]:
        """Return the orders of a session, and those that something filled of in it."""
        first, end = midnight(session), midnight(session + timedelta(days=1))
        near = self.orders if self.fold is None else self.fold.recent(session)
        return [
            o for name, o in self.orders.items()
            if name in near and (o.request.session == session or any(first <= f.at < end for f in o.fills))
        ]  # fmt: skip


def events(ctx: Context, stream: str, instant: datetime, entity: str | None = None) -> list[Event]:
    """Return what a stream held at an instant, oldest first."""
    last = to_ns(instant)
    return [e for e in ctx.ledger.events(stream, entity=entity) if e.at_ns <= last]


def read(ctx: Context, instant: datetime) -> Records:
    """Fold the ledger up to an instant, that instant included."""
    now = _now(ctx, instant)
    if now is not None:
        return now
    told = events(ctx, order.STREAM, instant)
    orders = order.fold(told)
    written = {e.entity: from_ns(e.at_ns) for e in told if e.kind == "intent"}
    return Records(
        instant=instant, orders=orders, intents=tuple((known, written[name]) for name, known in orders.items()),
        book=book.build(orders.values(), corporate.splits(events(ctx, corporate.STREAM, instant))),
        plans={e.entity: plan_from(e.payload) for e in events(ctx, PLANS, instant)},
    )  # fmt: skip


def _now(ctx: Context, instant: datetime) -> Records | None:
    """Return what is known now where nothing about orders is younger than the instant: it is folded already."""
    fold, newest = ctx.fold, dict[str, int]()
    for stream in (order.STREAM, corporate.STREAM, PLANS):
        at_ns, newest[stream] = carried(ctx, stream, lambda: [0, 0], _add_latest)
        if at_ns > to_ns(instant):
            return None
    orders, intents, plans = fold.orders(), fold.intents(), fold.plans()
    made = Records(
        instant=instant, orders=orders, intents=tuple(intents), plans=plans, fold=fold,
        book=fold.book(corporate.splits(ctx.ledger.events(corporate.STREAM))),
    )  # fmt: skip
    return None if any(ctx.ledger.events(stream, after=seen) for stream, seen in newest.items()) else made


def _add_latest(kept: list[int], event: Event) -> None:
    """Keep the latest instant of a stream, for a clock may have gone back, and its last event's number."""
    kept[:] = max(event.at_ns, kept[0]), event.sequence


def mode_at(ctx: Context, instant: datetime) -> mode.State:
    """Return what the system might do at an instant, and why."""
    return mode.current(events(ctx, mode.STREAM, instant))


def bars(ctx: Context, symbols: Sequence[str], session: date) -> Panel | None:
    """Return the bars of some symbols up to a session and nothing later; None where the store has none at all."""
    try:
        return ctx.panel().until(ctx.calendar.number(session)).select(set(symbols))
    except MissingDataError:
        return None


def closed_trades(ctx: Context, known: Records) -> list[Closed]:
    """Return every finished trade up to the records' instant with its net result after booked fees, oldest first."""
    fees: dict[str, Decimal] = {}
    for name, usd in cash_book.booked_fees(ctx).items():
        if name in known.orders:
            signal = known.orders[name].request.signal_id
            fees[signal] = fees.get(signal, NOTHING) + usd
    panel, found = _panel(ctx), []
    for trade in sorted(known.book.trades, key=attrgetter("closed", "signal_id")):
        plan = known.plans.get(trade.signal_id)
        factor = None if plan is None or panel is None else _factor(panel, plan)
        booked = fees.get(trade.signal_id, NOTHING)
        found.append(_closed(trade, None if factor is None else plan, factor or 1.0, booked))
    return found


_Told = tuple[Trade, TradePlan | None, float, Decimal]
_told: dict[str, tuple[_Told, Closed]] = {}


def _closed(trade: Trade, plan: TradePlan | None, factor: float, booked: Decimal) -> Closed:
    """Tell a finished trade; it stays as it is, and every report asks for all of them."""
    asked = trade, plan, factor, booked
    before = _told.get(trade.signal_id)
    if before is not None and before[0] == asked:
        return before[1]
    if len(_told) >= TOLD:
        _told.clear()
    told = journal.entry(trade, plan, factor, journal.UNKNOWN, booked)
    made = Closed(
        symbol=trade.symbol, strategy=trade.strategy, side=trade.side.value, quantity=trade.quantity,
        entry_usd=trade.entry_price, exit_usd=trade.exit_price, fees_usd=trade.fees_usd + booked,
        net_usd=told.net_usd, r=None if told.r is None else round(float(told.r), 4),
        opened=new_york_date(trade.opened), closed=new_york_date(trade.closed), reason=trade.exit_reason,
    )  # fmt: skip
    _told[trade.signal_id] = asked, made
    return made


def _panel(ctx: Context) -> Panel | None:
    try:
        return ctx.panel()
    except MissingDataError:
        return None


def _factor(panel: Panel, plan: TradePlan) -> float | None:
    """Return raw over adjusted price at the signal's close; None where its bar is not in the store."""
    kept: dict[tuple[str, date], float | None] = panel.__dict__.setdefault("_raw_factors", {})
    key = plan.symbol, plan.signal_date
    if key not in kept:
        kept[key] = _factor_in(panel, *key)
    return kept[key]


def _factor_in(panel: Panel, symbol: str, day: date) -> float | None:
    if symbol not in panel.symbols:
        return None
    mine = panel[symbol]
    at = int(np.searchsorted(mine.session, panel.calendar.number(day), side="right")) - 1
    return None if at < 0 else float(panel.raw_factor[mine.first_row + at])


def marks(ctx: Context) -> dict[date, tuple[Decimal, Decimal]]:
    """Return (equity, cash) at each close that was marked, of the account that is traded now; no broker is asked."""
    return equity.kept(ctx, ctx.settings.run.mode)


def equity_points(ctx: Context, last: date) -> list[tuple[date, Decimal]]:
    """Return the equity at each close up to a session, as if no money had ever moved in or out since the first."""
    marked = [(day, equity_usd) for day, (equity_usd, _) in marks(ctx).items() if day <= last]
    moves = _transfers(ctx)
    first = marked[0][0] if marked else last
    return [(day, usd - _between(moves, first, day)) for day, usd in marked] if moves else marked


def moved(ctx: Context, first: date, last: date) -> Decimal:
    """Return the money that came in after a date and up to another, withdrawals negative."""
    return _between(_transfers(ctx), first, last)


def _transfers(ctx: Context) -> list[tuple[date, Decimal]]:
    return [
        (date.fromisoformat(e.payload["day"]), Decimal(e.payload["usd"]))
        for e in ctx.ledger.events(cash.STREAM)
        if e.kind == "move" and e.payload["kind"] == "transfer"
    ]


def _between(moves: Sequence[tuple[date, Decimal]], first: date, last: date) -> Decimal:
    return sum((usd for day, usd in moves if first < day <= last), NOTHING)


def profit(closed: Sequence[Closed], points: Sequence[tuple[date, Decimal]], first: date, last: date) -> Profit:
    """Return what a span of sessions brought.

    Args:
        closed: finished trades, oldest first.
        points: equity by session, oldest first.
        first: session of the span; the equity moves from the last close before it.
        last: session of the span, included.
    """
    told = closed[bisect_left(closed, first, key=_closed_on) : bisect_right(closed, last, key=_closed_on)]
    realised = sum((t.net_usd for t in told), NOTHING)
    begin, end = bisect_left(points, first, key=itemgetter(0)), bisect_right(points, last, key=itemgetter(0))
    inside = [usd for _, usd in points[begin:end]]
    base = points[begin - 1][1] if begin else inside[0] if len(inside) > 1 else None
    moved = None if base is None or not inside else inside[-1] - base
    return Profit(realised_usd=realised, equity_usd=moved)


def raw_dollars(value: float) -> Decimal:
    """Return a price of the bars as money."""
    return to_decimal(round(value, 4))
