"""Both sides of the gap: the backtest's trade of each signal, and what became of it in the account."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from kobe.app import cash_book, desk
from kobe.app.context import Context
from kobe.backtest import engine, fills
from kobe.core.clock import new_york_date
from kobe.core.panel import Panel
from kobe.core.types import Effect, Fill, Order, Position, Side, Signal, TradePlan
from kobe.core.units import fee_cents, to_decimal
from kobe.execution import slippage
from kobe.execution.gap import Ideal, Real
from kobe.execution.slippage import Quoted
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What the backtest makes of one signal: its trade for some shares, or why it has none."""

    state: str
    reason: str
    entry: Decimal | None = None
    exit: Decimal | None = None
    entry_paid: Decimal = Decimal(0)
    exit_got: Decimal = Decimal(0)
    carried: Decimal = Decimal(0)
    fee_rate: Decimal = Decimal(0)
    side: int = 1

    def ideal(self, quantity: int) -> Ideal | None:
        """Return the trade of so many shares; None where there is none."""
        if self.entry is None or self.exit is None:
            return None
        sold = self.exit if self.side > 0 else self.entry
        return Ideal(
            side=self.side, quantity=quantity, entry=self.entry, exit=self.exit, entry_paid=self.entry_paid,
            exit_got=self.exit_got, carried_usd=quantity * self.carried,
            fee_usd=fee_cents(sold * quantity * self.fee_rate),
        )  # fmt: skip


def backtested(ctx: Context, wishes: Iterable[tuple[Signal, BaseParams]]) -> dict[str, Tested]:
    """Follow signals through the backtest's engine over the bars of now; by signal id.

    A signal the strategy does not make over these bars has no entry.
    """
    groups: dict[tuple[str, str], list[Signal]] = {}
    params: dict[tuple[str, str], BaseParams] = {}
    for signal, chosen in wishes:
        key = signal.strategy, signal.params_hash
        groups.setdefault(key, []).append(signal)
        params[key] = chosen
    found: dict[str, Tested] = {}
    market = ctx.settings.market.symbol
    for key, signals in groups.items():
        symbols = {s.symbol for s in signals}
        panel = ctx.panel().select(symbols | {market})
        features = FeatureTable(panel, market)
        table = STRATEGIES[key[0]].signals(panel, features, params[key])
        outcomes = engine.evaluate(panel, features, table, ctx.assumptions())
        wanted = {s.signal_id for s in signals}
        rows = {s.signal_id: i for i, s in enumerate(table.signals(panel)) if s.signal_id in wanted}
        found |= {name: _tested(ctx, panel, outcomes, i) for name, i in rows.items()}
    return found


def _tested(ctx: Context, panel: Panel, o: engine.Outcomes, i: int) -> Tested:
    w = o.walked
    state, row, side = int(w.state[i]), int(w.entry_row[i]), int(o.side[i])
    word = fills.STATES[state]
    if row < 0:
        return Tested(state=word, reason="", side=side)
    factor = float(panel.raw_factor[row])
    last = int(panel.offsets[int(o.symbol[i]) + 1]) - 1
    closed = state == fills.CLOSED
    out = float(w.exit_price[i]) if closed else float(panel.close[last])
    got = float(o.exit_got[i]) if closed else out
    carried = side * float(o.dividend[i]) - float(o.borrow[i])
    sale_row = int(w.exit_row[i]) if side > 0 and closed else row
    rate = float(ctx.costs.fee_rate(panel, np.array([sale_row]))[0]) if closed else 0.0
    money = (_usd(v * factor) for v in (float(w.entry_price[i]), out, float(o.entry_paid[i]), got, carried))
    entry, out_usd, paid, got_usd, carried_usd = money
    return Tested(state=word, reason=fills.REASONS[int(w.reason[i])], entry=entry, exit=out_usd, entry_paid=paid,
                  exit_got=got_usd, carried=carried_usd, fee_rate=to_decimal(rate), side=side)  # fmt: skip


def _usd(value: float) -> Decimal:
    return to_decimal(round(value, 9))


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the ledger and the bars know of each signal; read once."""

    ctx: Context
    orders: dict[str, list[Order]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    plans: dict[str, TradePlan] = field(default_factory=dict)

    @staticmethod
    def read(ctx: Context) -> "Account":
        """Read the ledger."""
        oms = desk.manager(ctx)
        by_signal: dict[str, list[Order]] = {}
        for order in oms.orders().values():
            by_signal.setdefault(order.request.signal_id, []).append(order)
        held = {p.signal_id: p for p in oms.book().positions}
        return Account(ctx=ctx, orders=by_signal, positions=held, plans=oms.plans())

    @property
    def entry_sessions(self) -> set[date]:
        """Sessions for which an opening order was written."""
        return {o.request.session for mine in self.orders.values() for o in mine if o.request.effect is Effect.OPEN}

    @cached_property
    def quotes(self) -> dict[str, Quoted]:
        """The quotes orders were sent on."""
        return slippage.quotes(self.ctx.ledger.events(desk.QUOTES))

    @cached_property
    def booked_fees(self) -> dict[str, Decimal]:
        """Fees booked to orders besides those of their fills."""
        return cash_book.booked_fees(self.ctx)

    def openings(self, signal_id: str) -> list[Order]:
        """Return the opening orders of a signal, oldest first."""
        return [o for o in self.orders.get(signal_id, []) if o.request.effect is Effect.OPEN]

    def real(self, signal_id: str) -> Real | None:
        """Return what became of a signal; None where nothing was filled."""
        mine = [o for o in self.orders.get(signal_id, []) if o.filled]
        bought = [o for o in mine if o.request.effect is Effect.OPEN]
        if not bought:
            return None
        sold = [o for o in mine if o.request.effect is Effect.CLOSE]
        quantity, position = sum(o.filled for o in bought), self.positions.get(signal_id)
        left = Decimal(0) if position is None else self._worth(position)
        proceeds = sum((f.price * f.quantity for o in sold for f in o.fills), left)
        paid = sum((f.price * f.quantity for o in bought for f in o.fills), Decimal(0))
        stood_in, stood_out = self._stood(bought), self._stood(sold)
        fees = sum((f.fee_usd for o in mine for f in o.fills), Decimal(0))
        fees += sum((self.booked_fees.get(o.request.client_order_id, Decimal(0)) for o in mine), Decimal(0))
        return Real(
            side=1 if bought[0].request.side is Side.LONG else -1, quantity=quantity, entry=paid / quantity,
            exit=proceeds / quantity, entry_reference=None if stood_in is None else stood_in / quantity,
            exit_reference=None if stood_out is None else (stood_out + left) / quantity, fee_usd=fees,
            carried_usd=self._dividends(bought[0], [f for o in mine for f in o.fills], position is not None),
        )  # fmt: skip

    def _stood(self, orders: list[Order]) -> Decimal | None:
        """Return the worth of the filled shares where the market stood; None where nobody knows of one of them."""
        worth = Decimal(0)
        for o in orders:
            opened = open_of(self.ctx, o.request.symbol, new_york_date(o.fills[0].at))
            stood = slippage.market_at(o, self.quotes.get(o.request.client_order_id), opened)
            if stood is None:
                return None
            worth += stood * o.filled
        return worth

    def _worth(self, position: Position) -> Decimal:
        """Return what is still open at the last complete close; at its entry price where there is no bar."""
        newest = self.ctx.calendar.last_complete(self.ctx.clock.now())
        last = raw_price(self.ctx, position.symbol, newest, "close")
        return (position.average_price if last is None else last) * position.quantity

    def _dividends(self, first: Order, all_fills: list[Fill], still_open: bool) -> Decimal:
        """Return the dividends booked for a symbol from the day after the entry until the exit."""
        days = [new_york_date(f.at) for f in all_fills]
        until = date.max if still_open else max(days)
        told = (
            m for m in cash_book.dividends(self.ctx) if min(days) < m.day and first.request.symbol in m.detail.split()
        )
        return sum((m.usd for m in told if m.day <= until), Decimal(0))


def open_of(ctx: Context, symbol: str, session: date) -> Decimal | None:
    """Return the official open of a session in raw dollars; None without a bar."""
    return raw_price(ctx, symbol, session, "open", exact=True)


def raw_price(ctx: Context, symbol: str, session: date, name: str, *, exact: bool = False) -> Decimal | None:
    """Return a price of a bar in raw dollars: the bar of a session, or without `exact` the last one up to it."""
    panel = ctx.panel()
    if symbol not in panel.symbols or session not in ctx.calendar:
        return None
    mine, number = panel[symbol], ctx.calendar.number(session)
    at = int(np.searchsorted(mine.session, number, side="right")) - 1
    if at < 0 or (exact and int(mine.session[at]) != number):
        return None
    value: Any = getattr(mine, name)[at]
    return _usd(float(value) * float(panel.raw_factor[mine.first_row + at]))
