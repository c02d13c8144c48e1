"""Compare the ledger with the broker: orders, fills and shares. A difference is named, never averaged away.

Every difference has a cause and a remedy. A rule repairs what can only be one thing (a fill that came late); what
could be several things halts openings until a person has looked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from kobe.core.ports import BrokerOrder
from kobe.core.types import Order, OrderStatus, OrderType, Position, Side

OURS = "kobe-"
SPAN_DAYS = 7  # how far back finished orders are compared
_WAITING = frozenset({"position", "orphan", "short", "fills", "missing_order", "cash"})
_NEVER_TOLD = frozenset({OrderStatus.INTENT, OrderStatus.SENT, OrderStatus.UNKNOWN})
_TOLD = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.FILLED})


class Cause(StrEnum):
    """What a difference comes from, as far as the books can tell."""

    LATE_FILL = "late_fill"
    LOST_ORDER = "lost_order"
    ORPHAN = "orphan"
    FEE = "fee"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    TRANSFER = "transfer"
    ROUNDING = "rounding"
    SPLIT = "split"
    OTHER = "other"


class Remedy(StrEnum):
    """What is done about it.

    `adopt` writes the broker's fills into the ledger, `book` writes money into the cash book; `wait` looks again in
    the next run; `note` is listed and harmless; `halt` stops openings until it is gone.
    """

    ADOPT = "adopt"
    BOOK = "book"
    WAIT = "wait"
    NOTE = "note"
    HALT = "halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing the two books disagree about.

    Attributes:
        kind: `unknown_order` (a name only kobe gives, which the ledger does not know), `missing_order` (the broker
            does not know what it once took), `untold_order` (it never told of one that may have been sent), `identity`
            (another order under the same name), `fills`, `status`,
            `foreign_order` and `foreign_fill` (placed by other means), `position`, `orphan` (kobe holds nothing of
            it), `short` (nobody here sold it short), `cash`, `cash_move`.
        cause: what it comes from.
        subject: an order's name, a symbol or the id of a move.
        symbol: whose shares it is about, empty for cash.
        ours, broker: what each side says.
        remedy: what is done about it.
        do: what a person does, or what the rule did.
        done: whether the remedy was applied.
    """

    kind: str
    cause: Cause
    subject: str
    symbol: str
    ours: str
    broker: str
    remedy: Remedy
    do: str
    done: bool = False

    @property
    def halts(self) -> bool:
        """Whether openings stop for it."""
        return self.remedy is Remedy.HALT

    @property
    def is_settled(self) -> bool:
        """Whether nobody has to look: repaired, or harmless."""
        return self.done or self.remedy is Remedy.NOTE

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "kind": self.kind, "class": self.cause.value, "subject": self.subject, "symbol": self.symbol,
            "ours": self.ours, "broker": self.broker, "remedy": self.remedy.value, "done": self.done, "do": self.do,
        }  # fmt: skip

    @property
    def sighting(self) -> list[str]:
        """What makes it the same difference in a later run."""
        return [self.kind, self.subject, self.ours, self.broker]


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """What the broker says: orders by name, and signed shares by symbol.

    `since` is the first session whose finished orders were asked for; `splits` are ratios of held symbols in force.
    """

    orders: Mapping[str, BrokerOrder]
    shares: Mapping[str, int]
    since: date
    splits: Mapping[str, Decimal] = field(default_factory=dict)


def since_when(orders: Iterable[Order], today: date) -> date:
    """Return from when on orders are compared: a week back, or as long as the oldest one that is not final."""
    return min([today - timedelta(days=SPAN_DAYS), *(o.request.session for o in orders if not o.status.is_final)])


def shares_by_symbol(positions: Iterable[Position]) -> dict[str, int]:
    """Return signed shares by symbol."""
    shares: dict[str, int] = {}
    for p in positions:
        sign = 1 if p.side is Side.LONG else -1
        shares[p.symbol] = shares.get(p.symbol, 0) + sign * p.quantity
    return {s: n for s, n in shares.items() if n}


def compare(orders: Mapping[str, Order], positions: Iterable[Position], theirs: Theirs) -> tuple[Difference, ...]:
    """Return every difference, sorted; none means the books are equal.

    Args:
        orders: ours by name: those that are not final, those since the broker was asked, and all that it names.
        positions: ours.
        theirs: the broker's word.
    """
    held = shares_by_symbol(positions)
    found = [_of_stranger(o, held, theirs.shares) for name, o in theirs.orders.items() if name not in orders]
    for name, mine in orders.items():
        other = theirs.orders.get(name)
        if other is None and mine.request.session < theirs.since and mine.status.is_final:
            continue  # too long over to be asked for
        found.append(_missing(mine, theirs.since) if other is None else _of_order(mine, other))
    found += [_of_shares(symbol, held.get(symbol, 0), theirs) for symbol in {*held, *theirs.shares}]
    return tuple(sorted((d for d in found if d is not None), key=lambda d: (d.kind, d.subject)))


def _of_stranger(other: BrokerOrder, held: Mapping[str, int], shares: Mapping[str, int]) -> Difference | None:
    """Judge an order the ledger does not know."""
    name, symbol = other.client_order_id, other.symbol
    said = f"{'buy' if other.is_buy else 'sell'} {other.quantity} {symbol}, {other.status.word}, {other.filled} filled"
    if name.startswith(OURS):
        do = f"find out who sent it and cancel it at the broker; {'its shares are an orphan' if other.filled else said}"
        return Difference(kind="unknown_order", cause=Cause.LOST_ORDER, subject=name, symbol=symbol, ours="nothing",
                          broker=said, remedy=Remedy.HALT, do=do)  # fmt: skip
    reaches = not other.status.is_final and symbol in held
    kind = "foreign_fill" if other.filled else "foreign_order"
    do = "cancel it at the broker: it can act on what kobe holds" if reaches else "nothing: placed by other means"
    if other.filled and shares.get(symbol, 0) != held.get(symbol, 0):
        do = "undo it at the broker: its shares are not kobe's"
    return Difference(
        kind=kind, cause=Cause.OTHER, subject=name, symbol=symbol, ours="nothing", broker=said,
        remedy=Remedy.HALT if reaches else Remedy.NOTE, do=do,
    )  # fmt: skip


def _missing(mine: Order, since: date) -> Difference | None:
    """Judge an order of ours that the broker does not tell of."""
    r = mine.request
    if mine.status in _NEVER_TOLD and not mine.filled:
        return Difference(
            kind="untold_order", cause=Cause.LOST_ORDER, subject=r.client_order_id, symbol=r.symbol,
            ours=mine.status.word, broker="nothing", remedy=Remedy.NOTE,
            do="its command, run again, sends it under its name or not at all; abandoned when its session is over",
        )  # fmt: skip
    if r.session < since or not (mine.filled or mine.status in _TOLD):
        return None
    said = f"{mine.status.word}, {mine.filled} filled"
    return Difference(
        kind="missing_order", cause=Cause.LOST_ORDER, subject=r.client_order_id, symbol=r.symbol, ours=said,
        broker="nothing", remedy=Remedy.HALT, do="ask the broker what became of it",
    )  # fmt: skip


def _of_order(mine: Order, other: BrokerOrder) -> Difference | None:
    """Compare one order both sides know."""
    r = mine.request
    asked, told = (r.symbol, r.is_buy, r.quantity), (other.symbol, other.is_buy, other.quantity)
    if asked != told:
        return _order_difference("identity", Cause.OTHER, mine, f"{asked}", f"{told}", "ask the broker: not this order")
    if other.filled > mine.filled:
        found = _order_difference("fills", Cause.LATE_FILL, mine, f"{mine.filled} filled", f"{other.filled} filled",
                                  "the broker's fills are written into the ledger")  # fmt: skip
        return replace(found, remedy=Remedy.ADOPT)
    if other.filled < mine.filled:
        return _order_difference("fills", Cause.OTHER, mine, f"{mine.filled} filled", f"{other.filled} filled",
                                 "ask the broker: a fill was taken back")  # fmt: skip
    if other.status is OrderStatus.UNKNOWN or mine.status.is_final == other.status.is_final:
        return None
    if other.status.is_final:
        found = _order_difference("status", Cause.LOST_ORDER, mine, mine.status.word, other.status.word,
                                  "the broker's word is written into the ledger")  # fmt: skip
        return replace(found, remedy=Remedy.ADOPT)
    return _order_difference("status", Cause.LOST_ORDER, mine, mine.status.word, other.status.word,
                             "cancel it at the broker: the ledger counts it as ended")  # fmt: skip


def _order_difference(kind: str, cause: Cause, mine: Order, ours: str, broker: str, do: str) -> Difference:
    r = mine.request
    return Difference(kind=kind, cause=cause, subject=r.client_order_id, symbol=r.symbol, ours=ours, broker=broker,
                      remedy=Remedy.HALT, do=do)  # fmt: skip


def _of_shares(symbol: str, ours: int, theirs: Theirs) -> Difference | None:
    """Compare the shares of one symbol."""
    truth = theirs.shares.get(symbol, 0)
    if ours == truth:
        return None
    kind, cause, do = "position", Cause.OTHER, "find the fill that is missing on one side"
    ratio = theirs.splits.get(symbol)
    if ours and ratio is not None and truth == int(ours * ratio):
        cause, do = Cause.SPLIT, f"the split of {ratio} for 1 is not in the ledger yet"
    elif ours >= 0 and truth < 0:
        kind, cause, do = "short", Cause.ORPHAN, "buy it back at the broker: kobe never sold it short"
    elif not ours:
        kind, cause, do = "orphan", Cause.ORPHAN, "close it at the broker: kobe never bought it"
    return Difference(kind=kind, cause=cause, subject=symbol, symbol=symbol, ours=str(ours), broker=str(truth),
                      remedy=Remedy.HALT, do=do)  # fmt: skip


def may_wait(difference: Difference, orders: Iterable[Order]) -> bool:
    """Whether a difference may be an order on its way: it halts only when it is seen a second time."""
    if not difference.halts or difference.kind not in _WAITING or difference.cause is Cause.SPLIT:
        return False
    return any(_moves(o) and difference.symbol in ("", o.request.symbol) for o in orders)


def _moves(order: Order) -> bool:
    """Whether an order may change the books at any moment; a guard that rests has told where it stands."""
    resting = order.request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)
    return not order.status.is_final and not (resting and order.status is OrderStatus.ACCEPTED)


def waiting(difference: Difference) -> Difference:
    """Return the same difference, to be judged again in the next run."""
    return replace(difference, remedy=Remedy.WAIT, do="an order is on its way: judged again in the next run")
