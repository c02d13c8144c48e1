"""The books of the simulated broker: orders, shares and cash as a fold over its own ledger.

What happened to an order is written down when it is decided, with the instant from which it is told. Until then
neither the order nor the account shows it, but the shares and the cash it needs are taken.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kobe.core.clock import from_ns, new_york_date
from kobe.core.ports import BrokerOrder, Event, Execution, Ledger
from kobe.core.types import OrderRequest, OrderStatus, OrderType
from kobe.execution import order

STREAM = "broker"
NOTHING = Decimal(0)
_REACHED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One execution and the instant from which it is told."""

    execution: Execution
    told_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an order ended and the instant from which that is told."""

    status: OrderStatus
    detail: str
    told_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One order: what was asked and everything that was decided about it, told or not."""

    request: OrderRequest
    placed: datetime
    deals: tuple[Deal, ...] = ()
    end: End | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether the order still looks open from outside."""
        return self.end is None or self.end.told_at > now

    def left(self, now: datetime) -> int:
        """Return how many shares are not told as filled."""
        return self.request.quantity - sum(d.execution.quantity for d in self.deals if d.told_at <= now)

    def told(self, now: datetime) -> BrokerOrder:
        """Return the order as it is told at an instant."""
        r, deals = self.request, [d for d in self.deals if d.told_at <= now]
        end = None if self.is_open(now) else self.end
        open_status = OrderStatus.PARTIAL if deals else OrderStatus.ACCEPTED
        filled = sum(d.execution.quantity for d in deals)
        paid = sum((d.execution.price * d.execution.quantity for d in deals), NOTHING)
        return BrokerOrder(
            client_order_id=r.client_order_id, symbol=r.symbol, quantity=r.quantity, is_buy=r.is_buy,
            status=open_status if end is None else end.status, filled=filled,
            average_price=paid / filled if filled else None,
            at=max([self.placed, *(d.told_at for d in deals), *([end.told_at] if end else [])]),
            executions=tuple(d.execution for d in deals), detail=end.detail if end else "",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split of a held symbol in the night before a session: new shares for each old one, and cash for the rest."""

    symbol: str
    session: date
    at: datetime
    ratio: Fraction
    cash_usd: Decimal
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an account can spend and sell before one more order.

    Attributes:
        cash_usd: cash less what open buys may need.
        shares: of the symbol, less those that open sales hold.
        held_for_orders: shares that open sales hold.
        crossed: whether an order for the other side is open, other than stop and target in one.
    """

    cash_usd: Decimal
    shares: int
    held_for_orders: int
    crossed: bool


@dataclass(kw_only=True)
class SimBooks:
    """The fold, carried on from where it was: what was read is not read again."""

    ledger: Ledger
    cash_usd: Decimal
    orders: dict[str, Known] = field(default_factory=dict)
    undecided: dict[str, Known] = field(default_factory=dict)
    placed: dict[date, list[str]] = field(default_factory=dict)
    splits: dict[tuple[str, date], Split] = field(default_factory=dict)
    first_traded: dict[str, date] = field(default_factory=dict)
    _late: dict[str, Known] = field(default_factory=dict)
    _ended: dict[str, BrokerOrder] = field(default_factory=dict)
    _moves: list["_Move"] = field(default_factory=list)
    seen: int = 0
    # how many moves are summed up, and to what: the places that were asked about last, the first move before all
    _reached: list[tuple[int, Decimal, dict[str, int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reached = [(0, self.cash_usd, {})]

    def refresh(self) -> None:
        """Take in what was written since the last time, by whomever."""
        for event in self.ledger.events(STREAM, after=self.seen):
            self._take(event)
            self.seen = event.sequence

    def forget(self) -> None:
        """Begin anew: what was read may have been undone."""
        told = (self.orders, self.undecided, self.placed, self.splits, self.first_traded)
        for kept in (*told, self._late, self._ended, self._moves):
            kept.clear()
        self.seen, self._reached = 0, [(0, self.cash_usd, {})]

    def told(self, name: str, now: datetime) -> BrokerOrder:
        """Return an order as it is told at an instant; what is told as ended does not change any more."""
        ended = self._ended.get(name)
        if ended is not None and ended.at <= now:
            return ended
        known = self.orders[name]
        told = known.told(now)
        if not known.is_open(now):
            self._ended[name] = told
        return told

    def placed_since(self, first: date, now: datetime) -> list[str]:
        """Return the orders placed from a New York date on, and those still open, oldest first."""
        placed = [name for day, names in self.placed.items() if day >= first for name in names]
        wanted = dict.fromkeys([*placed, *(o.request.client_order_id for o in self._open(now, ""))])
        return sorted(wanted, key=lambda name: self.orders[name].placed)

    def holdings(self, until: datetime) -> tuple[Decimal, dict[str, int]]:
        """Return cash and shares by symbol after everything told up to an instant."""
        nearest = len(self._reached) - 1
        while nearest and self._moves[self._reached[nearest][0] - 1].at > until:
            nearest -= 1
        done, cash, known = self._reached[nearest]
        shares = dict(known)
        for move in self._moves[done:]:
            if move.at > until:
                break
            before = shares.get(move.symbol, 0)
            if move.ratio is not None:
                before = int(before * move.ratio // 1)
            shares[move.symbol] = before + move.shares
            cash += move.cash_usd
            done += 1
        if done > self._reached[nearest][0]:
            self._reached.insert(nearest + 1, (done, cash, shares))
            del self._reached[1:-_REACHED]  # the first begins with nothing
        return cash, {s: n for s, n in sorted(shares.items()) if n}

    def buying_power(self, now: datetime, *, without: str = "") -> Decimal:
        """Return cash less what open buys may need, leaving one order out."""
        needed = (_price(o.request, o.deals) * o.left(now) for o in self._open(now, without) if o.request.is_buy)
        return self.holdings(now)[0] - sum(needed, NOTHING)

    def standing(self, request: OrderRequest, now: datetime, *, without: str = "") -> Standing:
        """Return what an order for this symbol and side meets, leaving the order out that it replaces."""
        mine = [o for o in self._open(now, without) if o.request.symbol == request.symbol]
        held = sum(o.left(now) for o in mine if not o.request.is_buy)
        opposite = [o for o in mine if o.request.is_buy != request.is_buy]
        return Standing(
            cash_usd=self.buying_power(now, without=without),
            shares=self.holdings(now)[1].get(request.symbol, 0) - held, held_for_orders=held,
            crossed=any(o.request.order_type is not OrderType.GTC_OCO for o in opposite),
        )  # fmt: skip

    def _open(self, now: datetime, without: str) -> Iterator[Known]:
        """Yield the orders that look open: those not decided, and those told later than decided until they are."""
        late = [o for o in self._late.values() if o.is_open(now)]
        yield from (o for o in (*self.undecided.values(), *late) if o.request.client_order_id != without)

    # -- reading -----------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        name, told = event.entity, event.payload
        if event.kind == "accepted":
            known = Known(request=order.request_from(told), placed=from_ns(event.at_ns))
            self.orders[name] = self.undecided[name] = known
            self.placed.setdefault(new_york_date(known.placed), []).append(name)
        elif event.kind == "fill":
            self._take_deal(name, _deal(told))
        elif event.kind == "split":
            self._take_split(_split(told))
        elif order.STATUS_BY_WORD[told["status"]].is_final:
            at = _instant(told.get("told_at"), from_ns(event.at_ns))
            end = End(status=order.STATUS_BY_WORD[told["status"]], detail=told["detail"], told_at=at)
            self.orders[name] = replace(self.orders[name], end=end)
            self.undecided.pop(name, None)
            if at > from_ns(event.at_ns):
                self._late[name] = self.orders[name]

    def _take_deal(self, name: str, deal: Deal) -> None:
        known = replace(self.orders[name], deals=(*self.orders[name].deals, deal))
        self.orders[name] = known
        if name in self.undecided:
            self.undecided[name] = known
        r, done = known.request, deal.execution
        sign = 1 if r.is_buy else -1
        cash = -sign * done.price * done.quantity - done.fee_usd
        self._move(_Move(at=deal.told_at, rank=1, symbol=r.symbol, shares=sign * done.quantity, cash_usd=cash))
        day = new_york_date(deal.told_at)
        self.first_traded[r.symbol] = min(day, self.first_traded.get(r.symbol, day))

    def _take_split(self, split: Split) -> None:
        self.splits[split.symbol, split.session] = split
        self._move(_Move(at=split.at, rank=0, symbol=split.symbol, ratio=split.ratio, cash_usd=split.cash_usd))

    def _move(self, move: "_Move") -> None:
        place = bisect_right(self._moves, move.order, key=lambda m: m.order)
        self._moves.insert(place, move)
        while place < self._reached[-1][0]:
            self._reached.pop()

    # -- writing -----------------------------------------------------------------------------------------------

    def write_order(self, request: OrderRequest) -> None:
        """Write an order down."""
        name = request.client_order_id
        self.ledger.append(STREAM, name, "accepted", order.request_json(request), key=f"{name}:accepted")

    def write_deals(self, name: str, deals: Iterable[Deal]) -> None:
        """Write executions of an order down."""
        for deal in deals:
            e = deal.execution
            payload = {
                "fill_id": e.execution_id, "quantity": e.quantity, "price": str(e.price), "fee_usd": str(e.fee_usd),
                "at": e.at.isoformat(), "told_at": deal.told_at.isoformat(),
            }  # fmt: skip
            self.ledger.append(STREAM, name, "fill", payload, key=f"{name}:fill:{e.execution_id}")

    def write_end(self, name: str, end: End) -> None:
        """Write the end of an order down."""
        payload = {"status": end.status.word, "detail": end.detail, "told_at": end.told_at.isoformat()}
        self.ledger.append(STREAM, name, "status", payload, key=f"{name}:status:{end.status.word}")

    def write_split(self, split: Split) -> None:
        """Write a split of a held symbol down."""
        payload = {
            "symbol": split.symbol, "session": split.session.isoformat(), "at": split.at.isoformat(),
            "ratio": str(split.ratio), "cash_usd": str(split.cash_usd), "detail": split.detail,
        }  # fmt: skip
        name = f"split-{split.symbol}-{split.session.isoformat()}"
        self.ledger.append(STREAM, name, "split", payload, key=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """What changes shares and cash at an instant: first the ratio, then what came or went."""

    at: datetime
    rank: int
    symbol: str
    cash_usd: Decimal
    shares: int = 0
    ratio: Fraction | None = None

    @property
    def order(self) -> tuple[datetime, int]:
        """What comes first: a split before a deal at the same instant."""
        return self.at, self.rank


def _price(request: OrderRequest, deals: Iterable[Deal]) -> Decimal:
    """Most that a share of a buy can cost: its limit or stop, for a market order what it was decided to cost."""
    named = [p for p in (request.limit_price, request.stop_price) if p is not None]
    return max(named or [d.execution.price for d in deals] or [NOTHING])


def _deal(told: dict[str, Any]) -> Deal:
    at = datetime.fromisoformat(told["at"])
    execution = Execution(
        execution_id=told["fill_id"], quantity=int(told["quantity"]), price=Decimal(told["price"]), at=at,
        fee_usd=Decimal(told["fee_usd"]),
    )  # fmt: skip
    return Deal(execution=execution, told_at=_instant(told.get("told_at"), at))


def _split(told: dict[str, Any]) -> Split:
    return Split(
        symbol=told["symbol"], session=date.fromisoformat(told["session"]), at=datetime.fromisoformat(told["at"]),
        ratio=Fraction(told["ratio"]), cash_usd=Decimal(told["cash_usd"]), detail=told["detail"],
    )  # fmt: skip


def _instant(text: str | None, otherwise: datetime) -> datetime:
    return otherwise if text is None else datetime.fromisoformat(text)
