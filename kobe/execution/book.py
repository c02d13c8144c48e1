"""The position book: open positions and finished round trips, folded from orders (FIFO, DOMAIN 2.2).

Splits rescale the lots that were open before them (D31): whole shares stay, what is left of a share is paid out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from kobe.core.clock import midnight, new_york_date
from kobe.core.types import Effect, Fill, Order, Position, Side, Trade
from kobe.core.units import to_cents
from kobe.execution.corporate import Split

CASH_IN_LIEU = "cash_in_lieu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Shares bought in one fill and not sold yet; `fee_usd` is the part of the entry fee they carry."""

    quantity: int
    price: Decimal
    fee_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Part of a lot that was sold, with its FIFO result."""

    quantity: int
    entry: Decimal
    exit: Decimal
    fees_usd: Decimal
    side: Side

    @property
    def net_usd(self) -> Decimal:
        """Gain after fees."""
        sign = 1 if self.side is Side.LONG else -1
        return sign * (self.exit - self.entry) * self.quantity - self.fees_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class CashInLieu:
    """A fraction of a share that a split left and the broker paid out."""

    at: datetime
    usd: Decimal
    cost_usd: Decimal
    fees_usd: Decimal
    side: Side

    @property
    def net_usd(self) -> Decimal:
        """Gain after fees."""
        sign = 1 if self.side is Side.LONG else -1
        return sign * (self.usd - self.cost_usd) - self.fees_usd


@dataclass(slots=True)
class Holding:
    """The lots of one signal on their way through its fills and splits."""

    lots: list[Lot] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    in_lieu: list[CashInLieu] = field(default_factory=list)
    oversold: int = 0
    """Shares closed beyond those that were open: a late fill of a guard after the exit had sold."""

    def take(self, fill: Fill) -> None:
        """Add a fill: a lot more, or the oldest lots closed.

        Fees are shared by quantity; the last part of a fill carries the rest, so that the sums are exact. A position is
        never turned around: what is closed beyond it is counted by itself, and the broker's books show it as a short.
        """
        if fill.effect is Effect.OPEN:
            self.lots.append(Lot(quantity=fill.quantity, price=fill.price, fee_usd=fill.fee_usd))
            return
        left, fee_left = fill.quantity, fill.fee_usd
        while left:
            if not self.lots:
                self.oversold += left
                return
            lot = self.lots.pop(0)
            part = min(left, lot.quantity)
            entry_fee = lot.fee_usd if part == lot.quantity else lot.fee_usd * part / lot.quantity
            exit_fee = fee_left if part == left else fee_left * part / left
            fees = entry_fee + exit_fee
            self.closings.append(
                Closing(quantity=part, entry=lot.price, exit=fill.price, fees_usd=fees, side=fill.side)
            )
            if part < lot.quantity:
                self.lots.insert(0, replace(lot, quantity=lot.quantity - part, fee_usd=lot.fee_usd - entry_fee))
            left -= part
            fee_left -= exit_fee


def match_fifo(fills: Iterable[Fill]) -> tuple[tuple[Lot, ...], tuple[Closing, ...]]:
    """Match the fills of one signal first in, first out; return open lots and closed parts.

    Raises:
        ValueError: more shares were closed than opened.
    """
    mine = Holding()
    for fill in fills:
        mine.take(fill)
    if mine.oversold:
        msg = f"{mine.oversold} shares more were closed than are open"
        raise ValueError(msg)
    return tuple(mine.lots), tuple(mine.closings)


def rescale(holders: list[Holding], change: Split, side: Side) -> None:
    """Carry a split through the lots of all who hold a symbol on one side, the oldest holder first.

    Every lot keeps its whole new shares at its own price. What is left of the lots is put together, as the broker
    counts the holding as one: whole shares of it stay with the oldest holder at their average price, and the rest is
    paid in cash. What was paid for the shares stays the same to the last digit Decimal has.
    """
    rest, cost, fees = Fraction(0), Decimal(0), Decimal(0)
    for holder in holders:
        kept = []
        for lot in holder.lots:
            exact = lot.quantity * change.ratio
            whole = exact.numerator // exact.denominator
            price = _times(lot.price, 1 / change.ratio)
            fee = lot.fee_usd if exact == whole else _times(lot.fee_usd, whole / exact)
            if whole:
                kept.append(Lot(quantity=whole, price=price, fee_usd=fee))
            rest += exact - whole
            cost += _times(price, exact - whole)
            fees += lot.fee_usd - fee
        holder.lots = kept
    if not rest:
        return
    whole, oldest = rest.numerator // rest.denominator, holders[0]
    if whole:
        part = whole / rest
        oldest.lots.append(Lot(quantity=whole, price=_times(cost, part) / whole, fee_usd=_times(fees, part)))
        cost, fees, rest = cost - _times(cost, part), fees - _times(fees, part), rest - whole
    if rest:
        usd = to_cents(_times(change.cash_price, rest))
        oldest.in_lieu.append(CashInLieu(at=change.at, usd=usd, cost_usd=cost, fees_usd=fees, side=side))


def _times(amount: Decimal, share: Fraction) -> Decimal:
    return amount * share.numerator / share.denominator


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What is open and what is over, by signal."""

    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]
    openings: dict[str, tuple[Order, ...]] = field(default_factory=dict)
    in_lieu_usd: Decimal = Decimal(0)
    """Cash that splits left of fractions, by our own reckoning."""
    oversold: dict[str, int] = field(default_factory=dict)
    """Shares by symbol that were closed beyond those open; reconciling names the short they left."""

    def holding(self, symbol: str) -> bool:
        """Whether a symbol is held."""
        return any(p.symbol == symbol for p in self.positions)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What came of the orders in one symbol."""

    orders: tuple[Order, ...]
    changes: tuple[Split, ...]
    positions: dict[str, Position]
    trades: dict[str, Trade]
    paid_usd: Decimal
    oversold: int


@dataclass(slots=True)
class Shelves:
    """The symbols as they were folded last; one whose orders and splits are the same is not folded again."""

    by_symbol: dict[str, _Shelf] = field(default_factory=dict)


def build(orders: Iterable[Order], changes: Iterable[Split] = (), shelves: Shelves | None = None) -> Book:
    """Fold all orders, and the splits between their fills, into the book.

    More shares closed than opened is a truth the broker may tell, so it never keeps the book from being read.

    Args:
        orders: all of them, in the order of their intents.
        changes: splits on record.
        shelves: what the last fold left; changed by this one.
    """
    by_symbol: dict[str, list[Order]] = {}
    by_signal: dict[str, list[Order]] = {}
    for order in orders:
        by_symbol.setdefault(order.request.symbol, []).append(order)
        by_signal.setdefault(order.request.signal_id, []).append(order)
    told: dict[str, list[Split]] = {}
    for change in sorted(changes, key=lambda c: c.at):
        told.setdefault(change.symbol, []).append(change)
    kept = Shelves() if shelves is None else shelves
    for symbol, mine in by_symbol.items():
        asked, splits = tuple(mine), tuple(told.get(symbol, ()))
        known = kept.by_symbol.get(symbol)
        if known is None or known.orders != asked or known.changes != splits:
            kept.by_symbol[symbol] = _shelf(asked, splits)
    found = [(signal, kept.by_symbol[mine[0].request.symbol]) for signal, mine in by_signal.items()]
    here = [kept.by_symbol[symbol] for symbol in by_symbol]
    return Book(
        positions=tuple(s.positions[signal] for signal, s in found if signal in s.positions),
        trades=tuple(s.trades[signal] for signal, s in found if signal in s.trades),
        openings={
            signal: tuple(o for o in mine if o.request.effect is Effect.OPEN) for signal, mine in by_signal.items()
        },
        in_lieu_usd=sum((s.paid_usd for s in here), Decimal(0)),
        oversold={symbol: kept.by_symbol[symbol].oversold for symbol in by_symbol if kept.by_symbol[symbol].oversold},
    )


def _shelf(orders: tuple[Order, ...], changes: tuple[Split, ...]) -> _Shelf:
    """Fold the orders in one symbol; a signal has one symbol, and a split touches nothing outside its own."""
    by_signal: dict[str, list[Order]] = {}
    for order in orders:
        by_signal.setdefault(order.request.signal_id, []).append(order)
    fills = {signal: _in_order(mine) for signal, mine in by_signal.items()}
    held = _folded({signal: mine for signal, mine in fills.items() if mine}, list(changes))
    positions, trades = {}, {}
    for signal, mine in held.items():
        if mine.lots:
            positions[signal] = _position(by_signal[signal][0], fills[signal][0].at, tuple(mine.lots))
        elif mine.closings or mine.in_lieu:
            trades[signal] = _trade(by_signal[signal], fills[signal], mine)
    return _Shelf(
        orders=orders, changes=changes, positions=positions, trades=trades,
        paid_usd=sum((c.usd for mine in held.values() for c in mine.in_lieu), Decimal(0)),
        oversold=sum(mine.oversold for mine in held.values()),
    )  # fmt: skip


def _in_order(orders: Iterable[Order]) -> list[Fill]:
    return sorted((f for o in orders for f in o.fills), key=lambda f: (f.at, f.effect is Effect.CLOSE, f.fill_id))


def _folded(fills: dict[str, list[Fill]], changes: list[Split]) -> dict[str, Holding]:
    """Take every signal's fills up to each split, carry it through, and go on; signals stay in their order."""
    held = {signal: Holding() for signal in fills}
    done = dict.fromkeys(fills, 0)
    for change in changes:
        mine = [s for s, told in fills.items() if told[0].symbol == change.symbol and told[0].at < change.at]
        for signal in mine:
            while done[signal] < len(fills[signal]) and fills[signal][done[signal]].at < change.at:
                held[signal].take(fills[signal][done[signal]])
                done[signal] += 1
        for side in Side:
            holders = [held[s] for s in mine if fills[s][0].side is side and held[s].lots]
            if holders:
                rescale(holders, change, side)
    for signal, told in fills.items():
        for fill in told[done[signal] :]:
            held[signal].take(fill)
    return held


def _position(first: Order, opened: datetime, lots: tuple[Lot, ...]) -> Position:
    quantity = sum(lot.quantity for lot in lots)
    cost = sum((lot.price * lot.quantity for lot in lots), Decimal(0))
    r = first.request
    return Position(
        signal_id=r.signal_id, strategy=r.strategy, symbol=r.symbol, side=r.side, quantity=quantity,
        average_price=cost / quantity, opened=opened,
    )  # fmt: skip


def _trade(orders: list[Order], fills: list[Fill], held: Holding) -> Trade:
    r = orders[0].request
    closings, in_lieu = held.closings, held.in_lieu
    last = max(fills, key=lambda f: (f.at, f.fill_id))
    reason = next(o.request.reason for o in orders if o.request.client_order_id == last.client_order_id)
    quantity = sum(c.quantity for c in closings)
    if closings:
        entry = sum((c.entry * c.quantity for c in closings), Decimal(0)) / quantity
        out = sum((c.exit * c.quantity for c in closings), Decimal(0)) / quantity
    else:  # a reverse split left less than a share of it
        quantity = sum(f.quantity for f in fills)
        entry = sum((c.cost_usd for c in in_lieu), Decimal(0)) / quantity
        out = sum((c.usd for c in in_lieu), Decimal(0)) / quantity
        reason = CASH_IN_LIEU
    parts: tuple[Closing | CashInLieu, ...] = (*closings, *in_lieu)
    return Trade(
        signal_id=r.signal_id, strategy=r.strategy, symbol=r.symbol, side=r.side, quantity=quantity,
        entry_price=entry, exit_price=out, fees_usd=sum((c.fees_usd for c in parts), Decimal(0)),
        net_usd=sum((c.net_usd for c in parts), Decimal(0)), opened=fills[0].at,
        closed=max([last.at, *(c.at for c in in_lieu)]), exit_reason=reason,
    )  # fmt: skip


def day_used_usd(orders: Iterable[tuple[Order, datetime]], now: datetime) -> Decimal:
    """Opening notional spent or reserved on the New York date of `now` (DOMAIN 4.5).

    Args:
        orders: each order with the instant of its intent.
        now: whose New York date counts; an intent dated later than that (a clock set back) counts as well.

    Final orders count what was filled, all others their whole limit: UNKNOWN keeps its reservation.
    """
    begins, used = midnight(new_york_date(now)), Decimal(0)
    for order, intended in orders:
        if order.request.effect is not Effect.OPEN or intended < begins:
            continue
        if order.status.is_final:
            used += sum((f.price * f.quantity for f in order.fills), Decimal(0))
        else:
            used += order.request.notional_usd
    return used
