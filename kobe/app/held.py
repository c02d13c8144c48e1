"""What is held, as a report tells it: the newest price and its source, the stop and its distance, the time left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np

from kobe.app import known, protect
from kobe.app.context import Context
from kobe.app.known import Records
from kobe.core.clock import NEW_YORK, new_york_date
from kobe.core.errors import KobeError
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import Order, Position
from kobe.execution import corporate, exits
from kobe.features.table import FeatureTable
from kobe.reports.book_tables import Holding, Price

ATR_BARS = 14
LOOKED_BACK = 10
"""Sessions within which a last close is looked for."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Newest prices by symbol, the closes before them, ATR in raw dollars, and why there are no quotes."""

    last: dict[str, Price]
    before: dict[str, Decimal]
    atr: dict[str, float]
    silence: str = ""


def holdings(
    ctx: Context, records: Records, session: date, *, ask: bool, before_open: bool
) -> tuple[list[Holding], str]:
    """Return every open position, and why quotes are missing where they were asked for.

    Args:
        ctx: context.
        records: books at the instant of the report.
        session: the newest whose bars may be looked at.
        ask: whether quotes of now are of the report's time.
        before_open: the report is of the morning: a price is compared with the close of `session`.
    """
    held = records.book.positions
    found = prices(ctx, records, [p.symbol for p in held], session, ask=ask, before_open=before_open)
    open_ = [o for o in records.orders.values() if not o.status.is_final] if held else []
    guards = {p.signal_id: exits.resting(open_, p.signal_id) for p in held}
    told = [_holding(ctx, records, p, found, guards[p.signal_id], session, before_open=before_open) for p in held]
    return told, found.silence


def prices(
    ctx: Context, records: Records, symbols: Sequence[str], session: date, *, ask: bool, before_open: bool
) -> Prices:
    """Return quotes where the broker gives them, else closes, with the close each is to be compared with."""
    panel = known.bars(ctx, symbols, session) if symbols else None
    changes = corporate.splits(known.events(ctx, corporate.STREAM, records.instant))
    last, before, atr = dict[str, Price](), dict[str, Decimal](), dict[str, float]()
    for symbol in dict.fromkeys(symbols if panel is not None else ()):
        assert panel is not None
        closes = protect.raw_closes(panel, symbol, ctx.calendar.offset(session, -LOOKED_BACK), changes)
        if closes:
            newest = closes[-1]
            usd = known.raw_dollars(newest.price)
            last[symbol] = Price(usd=usd, source=f"close of {newest.session}")
            older = closes[-1:] if before_open else closes[-2:-1]
            before.update((symbol, known.raw_dollars(c.price)) for c in older)
            atr.update(_atr(panel, symbol))
    quotes, silence = _quotes(ctx, symbols) if ask and symbols else ({}, "")
    if before_open:  # a close is no gap away from itself
        before = {symbol: usd for symbol, usd in before.items() if symbol in quotes}
    for symbol, quote in quotes.items():
        if before_open or f"close of {session}" != (last[symbol].source if symbol in last else ""):
            last[symbol] = _of_quote(quote)
    return Prices(last=last, before=before, atr=atr, silence=silence)


def _quotes(ctx: Context, symbols: Sequence[str]) -> tuple[dict[str, Quote], str]:
    """Ask for quotes; a broker out of reach stops no report."""
    try:
        told = ctx.quotes.quotes(sorted(set(symbols)))
    except KobeError as error:
        return {}, f"the broker gave no quotes: {error.what}"
    sane = {s: q for s, q in told.items() if 0 < q.bid <= q.ask}
    return sane, "" if sane else "the broker gives no quotes at this hour"


def _of_quote(quote: Quote) -> Price:
    return Price(
        usd=(quote.bid + quote.ask) / 2,
        source=f"quote of {quote.at.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET ({quote.feed})",
    )


def _atr(panel: Panel, symbol: str) -> dict[str, float]:
    alone = panel.select({symbol})
    value = float(FeatureTable(alone).column("atr", ATR_BARS)[-1] * alone.raw_factor[-1])
    return {symbol: value} if np.isfinite(value) else {}


def _holding(
    ctx: Context, records: Records, position: Position, found: Prices, guard: Order | None, session: date, *,
    before_open: bool,
) -> Holding:  # fmt: skip
    plan = records.plans.get(position.signal_id)
    left = None
    if plan is not None:
        now = ctx.calendar.next(session) if before_open else session
        left = ctx.calendar.number(plan.exit_session) - ctx.calendar.number(now)
    return Holding(
        symbol=position.symbol, strategy=position.strategy, side=position.side.value, quantity=position.quantity,
        entry_usd=position.average_price, last=found.last.get(position.symbol),
        before_usd=found.before.get(position.symbol), stop_usd=None if guard is None else guard.request.stop_price,
        atr_usd=found.atr.get(position.symbol), opened=new_york_date(position.opened),
        exit_session=None if plan is None else plan.exit_session, sessions_left=left,
    )  # fmt: skip
