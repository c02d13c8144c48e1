"""Which book is put under stress: what the broker holds, or the fullest one of the last walk-forward."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from kobe.app import desk, split_files
from kobe.app.context import Context
from kobe.backtest.exposure import LEAST_SESSIONS, Exposure, exposures
from kobe.backtest.stress import Book, Holding
from kobe.core.errors import DataError, KobeError, MissingDataError
from kobe.core.panel import Panel
from kobe.core.types import Position, Side
from kobe.execution import exits
from kobe.execution.oms import Oms
from kobe.features.table import FeatureTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Shares of one symbol before anything is known about how it moves; raw dollars."""

    symbol: str
    side: Side
    shares: float
    price: float
    stop: float | None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A book with its name, its day, and what a reader must know about it."""

    of: str
    as_of: date
    book: Book
    notes: tuple[str, ...]
    banners: tuple[str, ...]


def actual(ctx: Context) -> Subject:
    """Return the broker's positions and cash, with the stops that rest for them.

    Raises:
        MissingDataError: a holding has neither bars nor a known price.
    """
    of, account, oms = f"the book at {ctx.broker.name}", ctx.broker.account(), desk.manager(ctx)
    gone = sorted({p.symbol for p in oms.book().positions} - set(account.positions))
    notes = [f"{s}: in the ledger, not at the broker; left out; next: kobe reconcile" for s in gone]
    if not account.positions:
        book = Book(holdings=(), cash_usd=float(account.cash_usd))
        return Subject(of=of, as_of=ctx.today, book=book, notes=tuple(notes), banners=_banners(ctx))
    past = desk.last_panel(ctx)
    lots = [lot for s, n in account.positions.items() for lot in _lots(oms, past, s, n, notes)]
    as_of = ctx.calendar.sessions[past.last_session]
    return _subject(ctx, of, as_of, past, lots, float(account.cash_usd), notes)


def fullest(ctx: Context) -> Subject:
    """Return the out-of-sample book of the last walk-forward on the close at which it was most exposed.

    Rebuilt from the trade lists: shares at their entry's raw prices, marked at that close, cash as it was.

    Raises:
        MissingDataError: no walk-forward yet, or it never held anything.
        DataError: the store's bars are not those of the walk-forward.
    """
    names, root = list(ctx.settings.strategies), ctx.paths.walk_forward
    curves = split_files.read_last(root, names, "equity_curve")
    peaks = {
        s: c.row(int(c.get_column("exposure").fill_nan(0.0).arg_max() or 0), named=True) for s, c in curves.items()
    }
    strategy = max(peaks, key=lambda s: peaks[s]["exposure"])
    day, equity = peaks[strategy]["date"], float(peaks[strategy]["equity_usd"])
    trades = split_files.read_last(root, [strategy], "trade_list")[strategy]
    open_then = (pl.col("quantity") > 0) & (pl.col("entry_date") <= day)
    held = trades.filter(open_then & (pl.col("exit_date").is_null() | (pl.col("exit_date") > day)))
    if not held.height:
        raise MissingDataError("the walk-forward never held a position", next_command="kobe walk-forward")
    past = ctx.panel().until(ctx.calendar.number(day))
    lots = [_past_lot(past, row) for row in held.iter_rows(named=True)]
    cash = equity - sum((1 if x.side is Side.LONG else -1) * x.shares * x.price for x in lots)
    return _subject(ctx, f"the fullest out-of-sample book of {strategy}", day, past, lots, cash, [])


def _banners(ctx: Context) -> tuple[str, ...]:
    try:
        return ctx.panel().banners
    except KobeError:
        return ()


def _lots(oms: Oms, past: Panel, symbol: str, shares: int, notes: list[str]) -> list[Lot]:
    """Split what the broker holds of a symbol by signal, or take it whole without a stop where the books differ."""
    side = Side.LONG if shares > 0 else Side.SHORT
    mine = [p for p in oms.book().positions if p.symbol == symbol and p.side is side]
    known = sum(p.quantity for p in mine)
    price = _price(past, symbol, mine, notes)
    if known != abs(shares):
        notes.append(f"{symbol}: the broker holds {shares:+d}, the ledger {known}; no stop taken for granted; next: "
                     "kobe reconcile")  # fmt: skip
        return [Lot(symbol=symbol, side=side, shares=float(abs(shares)), price=price, stop=None)]
    orders = oms.orders()
    found = []
    for p in mine:
        order = exits.resting(orders.values(), p.signal_id)
        stop = None if order is None or order.request.stop_price is None else float(order.request.stop_price)
        found.append(Lot(symbol=symbol, side=side, shares=float(p.quantity), price=price, stop=stop))
    return found


def _price(past: Panel, symbol: str, mine: Sequence[Position], notes: list[str]) -> float:
    if symbol in past.symbols:
        row = int(past.offsets[past.position(symbol) + 1]) - 1
        if past.session[row] < past.last_session:
            notes.append(f"{symbol}: marked at its last bar, of {past.calendar.sessions[past.session[row]]}")
        return float(past.close[row] * past.raw_factor[row])
    if not mine:
        raise MissingDataError("no bars of a held symbol", seen=symbol, next_command="kobe data import FILE")
    notes.append(f"{symbol}: no bars, marked at what was paid")
    return float(mine[0].average_price)


def _past_lot(past: Panel, row: dict[str, object]) -> Lot:
    symbol, entered = str(row["symbol"]), row["entry_date"]
    assert isinstance(entered, date)
    if symbol in past.symbols:
        bars, session = past[symbol], past.calendar.number(entered)
        at = int(np.searchsorted(bars.session, session))
        if at < len(bars) and bars.session[at] == session:
            factor = float(past.raw_factor[bars.first_row + at])
            shares, stop = (float(str(row[name])) for name in ("quantity", "stop"))
            side = Side(str(row["side"]))
            return Lot(
                symbol=symbol, side=side, shares=shares, price=float(bars.close[-1]) * factor, stop=stop * factor
            )
    raise DataError(
        "the store's bars are not those of the walk-forward", seen=f"{symbol} without a bar on {entered}",
        next_command="kobe walk-forward",
    )  # fmt: skip


def _subject(
    ctx: Context, of: str, as_of: date, past: Panel, lots: Sequence[Lot], cash: float, notes: list[str]
) -> Subject:
    symbols = sorted({lot.symbol for lot in lots})
    found = exposures(past, symbols, ctx.settings.market.symbol)
    notes += [_unmeasured(s, e) for s, e in found.items() if not e.is_measured]
    spreads = _half_spreads(ctx, past, as_of, lots)
    holdings = tuple(
        Holding(
            symbol=lot.symbol, side=lot.side, shares=lot.shares, price=lot.price, stop=lot.stop,
            beta=found[lot.symbol].beta, own_volatility=found[lot.symbol].own_volatility, half_spread=spread,
        )
        for lot, spread in zip(lots, spreads, strict=True)
    )  # fmt: skip
    book = Book(holdings=holdings, cash_usd=cash)
    return Subject(of=of, as_of=as_of, book=book, notes=tuple(notes), banners=past.banners)


def _unmeasured(symbol: str, e: Exposure) -> str:
    return (
        f"{symbol}: fewer than {LEAST_SESSIONS} sessions in common with the market; beta 1 and {e.own_volatility:.0%} "
        "a day taken for granted"
    )


def _half_spreads(ctx: Context, past: Panel, as_of: date, lots: Sequence[Lot]) -> list[float]:
    known = past.select({lot.symbol for lot in lots})
    adv = FeatureTable(known).column("adv_usd", 20) if len(known) else np.empty(0)
    last = {s: float(adv[known.offsets[k + 1] - 1]) for k, s in enumerate(known.symbols)}
    liquid = np.array([last.get(lot.symbol, np.nan) for lot in lots])
    prices = np.array([lot.price for lot in lots])
    found = ctx.costs.half_spread(ctx.costs.at(as_of), prices, liquid)
    return [float(x) for x in found]
