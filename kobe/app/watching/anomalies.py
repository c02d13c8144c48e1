"""`kobe anomalies`: odd bars and quotes of what is held, picked and the market, and data that grew old."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from kobe.app import decision, desk, protect
from kobe.app.context import Context
from kobe.app.decision import PICKS
from kobe.app.watching import data_age
from kobe.core.clock import new_york_date
from kobe.core.errors import KobeError, MissingDataError, StaleDataError
from kobe.core.panel import Panel
from kobe.core.types import Position, Side
from kobe.execution import corporate
from kobe.reports import anomalies as numbers
from kobe.reports.anomalies import Reading, Watched
from kobe.reports.document import Document

HELD, PICKED, MARKET = "held", "picked", "market"
LOOKED_BACK = 10
"""Sessions within which a last close is looked for."""


def run_anomalies(ctx: Context, session: date | None = None) -> Document:
    """Judge the watched names in a session (default: the last one with bars).

    Raises:
        MissingDataError: the store holds no bars.
        StaleDataError: it has none of the session.
    """
    return numbers.build(_watched(ctx, ctx.panel(), session))


def look(ctx: Context) -> Watched | None:
    """Return what `kobe anomalies` would find now, None where it cannot look: what is wrong is told elsewhere."""
    try:
        return _watched(ctx, ctx.panel(), None)
    except KobeError:
        return None


def _watched(ctx: Context, panel: Panel, session: date | None) -> Watched:
    newest = ctx.calendar.last_complete(ctx.clock.now())
    day = session or min(newest, ctx.calendar.sessions[panel.last_session])
    number = ctx.calendar.number(day)
    if number > min(panel.last_session, ctx.calendar.number(newest)):
        raise StaleDataError(
            "no bars for the session", seen=f"newest bar {ctx.calendar.sessions[panel.last_session]}", expected=day,
            next_command="kobe data import FILE",
        )  # fmt: skip
    names = watched_names(ctx, day)
    bounds = ctx.settings.watch
    readings, silent = numbers.judge(panel, number, list(names), bounds.window_bars)
    return Watched(
        session=day, names=names, readings=[*readings, *_spreads(ctx, names, day)], silent=silent,
        sources=data_age.sources(ctx), most_z=bounds.odd_z, banners=panel.banners,
    )  # fmt: skip


def watched_names(ctx: Context, session: date) -> dict[str, str]:
    """Return symbol -> why it is watched in a session: held at its close, picked at it or on its eve, the market."""
    books = desk.manager(ctx).book()
    found = {ctx.settings.market.symbol: MARKET}
    for day in (session, ctx.calendar.previous(session)):
        found |= dict.fromkeys(_picked(ctx, day), PICKED)
    held = [p.symbol for p in books.positions if new_york_date(p.opened) <= session]
    held += [t.symbol for t in books.trades if new_york_date(t.opened) <= session < new_york_date(t.closed)]
    return found | dict.fromkeys(held, HELD)


def _picked(ctx: Context, session: date) -> list[str]:
    """Return the picks of a session; what cannot be believed is told by the status page and watched by nobody."""
    try:
        rows = decision.read_rows(ctx, session, decision.read_record(ctx, session), PICKS)
    except KobeError:
        return []
    return [str(row["symbol"]) for row in rows]


def _spreads(ctx: Context, names: dict[str, str], session: date) -> list[Reading]:
    """Judge the newest quote that an order of the session was sent on, against all that came before it.

    A name is quoted too seldom to have a past of its own, so all names are one.
    """
    orders = desk.manager(ctx).orders()
    quoted = [
        (new_york_date(datetime.fromisoformat(e.payload["at"])), orders[e.entity].request.symbol, e.payload)
        for e in ctx.ledger.events(desk.QUOTES)
        if e.entity in orders
    ]
    known = [(day, symbol, _width(Decimal(p["bid"]), Decimal(p["ask"]))) for day, symbol, p in quoted if day <= session]
    found = list[Reading]()
    for symbol in names:
        at = max((k for k, (day, s, _) in enumerate(known) if s == symbol and day == session), default=None)
        reading = None if at is None else numbers.read_spread(symbol, [width for _, _, width in known[: at + 1]])
        found += [] if reading is None else [reading]
    return found


def _width(bid: Decimal, ask: Decimal) -> float:
    middle = (bid + ask) / 2
    return float((ask - bid) / middle) if middle > 0 else 0.0


def open_profit_usd(ctx: Context, positions: Sequence[Position]) -> Decimal | None:
    """Return what the open positions have gained at the last close, fees left out; None where a price is missing."""
    if not positions:
        return Decimal(0)
    try:
        past = desk.last_panel(ctx)
    except MissingDataError:
        return None
    changes = corporate.splits(ctx.ledger.events(corporate.STREAM))
    first = ctx.calendar.offset(ctx.calendar.previous_or_same(ctx.today), -LOOKED_BACK)
    gained = Decimal(0)
    for p in positions:
        closes = protect.raw_closes(past, p.symbol, first, changes)
        if not closes:
            return None
        price = Decimal(str(round(closes[-1].price, 4)))
        gained += (price - p.average_price) * p.quantity * (1 if p.side is Side.LONG else -1)
    return gained
