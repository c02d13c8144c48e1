"""The cash book: what the account must hold, to the cent, from the last sum both sides agreed on.

expected = anchor - bought + sold - fees + what came and went by other means. An anchor is the broker's own figure,
taken when everything was equal; the book before it is never needed again. What the broker charges without a word
(regulatory fees are told a day late) is recognised by its size and booked to the sales it belongs to.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from kobe.core.clock import new_york_date
from kobe.core.ports import BrokerOrder, CashMove
from kobe.core.types import Effect, Fill, Side
from kobe.core.units import CENT, to_cents
from kobe.execution.reconcile import OURS, Cause, Difference, Remedy

STREAM = "cash"
LATE_DAYS = 7  # how many days late a broker may tell of a move
NOTHING = Decimal(0)
# Three regulatory fees, each rounded up to a cent, and their rates rounded up (DOMAIN 2.3): more is not a fee.
FEE_CENTS, FEE_RATE, FEE_PER_SHARE = 3 * CENT, Decimal("0.0001"), Decimal("0.0003")
_WORDS = {"fills": "fills", "fees": "fees", "moves": "moves", "foreign": "placed by hand", "adjusted": "adjusted"}
_CAUSES = {"transfer": Cause.TRANSFER, "dividend": Cause.DIVIDEND, "interest": Cause.INTEREST, "fee": Cause.FEE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A sum both sides agreed on.

    Attributes:
        cash_usd: the broker's cash.
        day: the New York date.
        sequence: last event of the orders' stream that is in it.
        moves: ids of the moves that are in it, as far back as a move may be told late.
        foreign: what each order placed by other means had brought by then, negative when it had cost.
        ahead_usd: fees that are in it though the broker had not told of them.
    """

    cash_usd: Decimal
    day: date
    sequence: int
    moves: frozenset[str] = frozenset()
    foreign: Mapping[str, Decimal] = field(default_factory=dict)
    ahead_usd: Decimal = NOTHING

    @property
    def moves_since(self) -> date:
        """First date whose moves must be asked for."""
        return self.day - timedelta(days=LATE_DAYS)

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "cash_usd": str(self.cash_usd), "day": self.day.isoformat(), "sequence": self.sequence,
            "moves": sorted(self.moves), "foreign": {n: str(usd) for n, usd in sorted(self.foreign.items())},
            "ahead_usd": str(self.ahead_usd),
        }  # fmt: skip

    @staticmethod
    def read(document: Mapping[str, Any]) -> "Anchor":
        """Rebuild an anchor."""
        return Anchor(
            cash_usd=Decimal(document["cash_usd"]), day=date.fromisoformat(document["day"]),
            sequence=int(document["sequence"]), moves=frozenset(document["moves"]),
            foreign={n: Decimal(usd) for n, usd in document["foreign"].items()},
            ahead_usd=Decimal(document["ahead_usd"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The account's cash taken apart; every part signed as it changed the cash.

    `adjusted_usd` is what was booked though nothing told it: rounding, fees without a word, what a person adopted.
    """

    anchor_usd: Decimal
    fills_usd: Decimal
    fees_usd: Decimal
    moves_usd: Decimal
    foreign_usd: Decimal
    broker_usd: Decimal
    adjusted_usd: Decimal = NOTHING

    @property
    def expected_usd(self) -> Decimal:
        """What the account must hold."""
        return self.anchor_usd + sum(self.parts().values(), NOTHING)

    @property
    def difference_usd(self) -> Decimal:
        """What the broker has more than expected, to the cent."""
        return to_cents(self.broker_usd - self.expected_usd)

    def parts(self) -> dict[str, Decimal]:
        """Return what changed the cash since the anchor."""
        return {
            "fills": self.fills_usd, "fees": self.fees_usd, "moves": self.moves_usd, "foreign": self.foreign_usd,
            "adjusted": self.adjusted_usd,
        }  # fmt: skip

    def agreed(self) -> dict[str, str]:
        """Return the parts as a step to the next anchor, where nothing is left over."""
        left = {"adjusted": self.adjusted_usd + self.broker_usd - self.expected_usd}
        return {name: str(usd) for name, usd in (self.parts() | left).items()}

    def before(self, anchor_usd: Decimal, steps: Iterable[Mapping[str, str]]) -> "Identity":
        """Return the same from an earlier anchor on, over the steps that led here."""
        sums = self.parts()
        for step in steps:
            sums = {name: usd + Decimal(step[name]) for name, usd in sums.items()}
        return Identity(anchor_usd=anchor_usd, broker_usd=self.broker_usd, **{f"{n}_usd": v for n, v in sums.items()})

    @property
    def words(self) -> str:
        """The identity as one line."""
        parts = self.parts().items()
        told = "".join(f" {'-' if usd < 0 else '+'} {to_cents(abs(usd)):,} {_WORDS[n]}" for n, usd in parts if usd)
        expected = f"{to_cents(self.anchor_usd):,}{told} = {to_cents(self.expected_usd):,}"
        return f"cash: {expected}; broker {to_cents(self.broker_usd):,}; difference {self.difference_usd:,}"


def is_buy(fill: Fill) -> bool:
    """Whether a fill bought shares."""
    return (fill.side is Side.LONG) == (fill.effect is Effect.OPEN)


def gross_usd(fill: Fill) -> Decimal:
    """What a fill brought before fees; negative when it cost."""
    return fill.price * fill.quantity * (-1 if is_buy(fill) else 1)


def foreign_flows(orders: Iterable[BrokerOrder]) -> dict[str, Decimal]:
    """Return what each filled order placed by other means brought; negative when it cost."""
    return {
        o.client_order_id: o.average_price * o.filled * (-1 if o.is_buy else 1)
        for o in orders
        if not o.client_order_id.startswith(OURS) and o.filled and o.average_price is not None
    }


def identity(
    anchor: Anchor, fills: Iterable[Fill], moves: Iterable[CashMove], foreign: Mapping[str, Decimal], cash_usd: Decimal
) -> Identity:
    """Work out what the account must hold now.

    Args:
        anchor: the last agreed sum.
        fills: those written after it.
        moves: as the broker tells them from `anchor.moves_since` on; the known ones do not count again.
        foreign: as `foreign_flows` tells them.
        cash_usd: what the broker says.
    """
    known, new = list(fills), fresh(anchor, moves)
    told = sum((m.usd for m in new), NOTHING) + sum((took for _, took in _absorbed(anchor, new)), NOTHING)
    return Identity(
        anchor_usd=anchor.cash_usd, fills_usd=sum(map(gross_usd, known), NOTHING),
        fees_usd=-sum((f.fee_usd for f in known), NOTHING), moves_usd=told,
        foreign_usd=sum((usd - anchor.foreign.get(n, NOTHING) for n, usd in foreign.items()), NOTHING),
        broker_usd=cash_usd,
    )  # fmt: skip


def fresh(anchor: Anchor, moves: Iterable[CashMove]) -> list[CashMove]:
    """Return the moves that are not in an anchor."""
    return [m for m in moves if m.move_id not in anchor.moves]


def _absorbed(anchor: Anchor, moves: Iterable[CashMove]) -> list[tuple[CashMove, Decimal]]:
    """Return each fee with the part that was charged, and booked, before it was told."""
    left, found = anchor.ahead_usd, []
    for move in moves:
        took = min(left, max(-move.usd, NOTHING)) if move.kind == "fee" else NOTHING
        left -= took
        found.append((move, took))
    return found


def of_moves(moves: Iterable[CashMove]) -> list[Difference]:
    """Name every move the ledger did not know; a rule books it."""
    return [
        Difference(
            kind="cash_move", cause=_CAUSES.get(m.kind, Cause.OTHER), subject=m.move_id, symbol="", ours="nothing",
            broker=f"{m.usd:+} on {m.day}", remedy=Remedy.BOOK, do=m.detail or f"booked as {m.kind}",
        )
        for m in moves
        if m.usd
    ]  # fmt: skip


def sales_of(fills: Iterable[Fill]) -> list[Fill]:
    """Return the fills that sold, oldest first."""
    return sorted((f for f in fills if not is_buy(f)), key=lambda f: (f.at, f.fill_id))


def unpaid(sales: Iterable[Fill], booked: Container[str], today: date) -> list[Fill]:
    """Return the sales of the last days for which nobody has told a fee, in their fill or in a booked one."""
    first = today - timedelta(days=LATE_DAYS)
    return [f for f in sales if not f.fee_usd and f.client_order_id not in booked and new_york_date(f.at) >= first]


def judge(
    found: Identity, fills: Sequence[Fill], free: Sequence[Fill], by_hand_usd: Decimal = NOTHING
) -> Difference | None:
    """Name what the identity leaves unexplained: a fee nobody told, rounding, or a halt.

    Args:
        found: the identity.
        fills: those in it.
        free: sales without a fee (`unpaid`).
        by_hand_usd: most that sales placed by other means may have been charged (`fees_by_hand`).
    """
    left = found.difference_usd
    if not left:
        return None
    if left < 0 and -left <= sum((_largest_fee(f.price, f.quantity) for f in free), by_hand_usd):
        return _difference(found, Cause.FEE, Remedy.BOOK, f"a fee of {-left} is booked to {len(free)} sales")
    if abs(left) <= CENT * len(fills):
        return _difference(found, Cause.ROUNDING, Remedy.BOOK, f"rounding of {left} over {len(fills)} fills is booked")
    do = "look at the account's activities; then: kobe reconcile --adopt-cash REASON"
    return _difference(found, Cause.OTHER, Remedy.HALT, do)


def _difference(found: Identity, cause: Cause, remedy: Remedy, do: str) -> Difference:
    return Difference(kind="cash", cause=cause, subject="cash", symbol="", ours=str(to_cents(found.expected_usd)),
                      broker=str(to_cents(found.broker_usd)), remedy=remedy, do=do)  # fmt: skip


def fees_by_hand(anchor: Anchor, orders: Iterable[BrokerOrder]) -> Decimal:
    """Return the most that may have been charged for sales placed by other means since an anchor."""
    flows = foreign_flows(orders_now := list(orders))
    new = {n for n, usd in flows.items() if usd > 0 and anchor.foreign.get(n) != usd}
    return sum((_largest_fee(o.average_price or NOTHING, o.filled) for o in orders_now if o.client_order_id in new),
               NOTHING)  # fmt: skip


def _largest_fee(price: Decimal, quantity: int) -> Decimal:
    return FEE_CENTS + FEE_RATE * price * quantity + FEE_PER_SHARE * quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeShare:
    """A fee the broker charged by itself, and the orders it is booked to."""

    key: str
    day: date
    usd: Decimal
    parts: dict[str, Decimal]

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"usd": str(self.usd), "day": self.day.isoformat(), "parts": {n: str(v) for n, v in self.parts.items()}}


def fee_shares(anchor: Anchor, moves: Sequence[CashMove], sales: Sequence[Fill]) -> list[FeeShare]:
    """Spread every fee that is told now over the sales of its day, or of the last day before it that had any."""
    found = []
    for move, took in _absorbed(anchor, fresh(anchor, moves)):
        usd = -move.usd - took
        if move.kind == "fee" and usd:
            days = [d for f in sales if (d := new_york_date(f.at)) <= move.day]
            of_day = [f for f in sales if days and new_york_date(f.at) == max(days)]
            found.append(FeeShare(key=move.move_id, day=move.day, usd=usd, parts=spread(usd, of_day)))
    return found


def untold_fee(found: Identity, free: Sequence[Fill], day: date, number: int) -> FeeShare:
    """Spread a fee that was charged and not told over the sales that have none; `number` tells it from the next."""
    usd = -found.difference_usd
    return FeeShare(key=f"untold:{day}:{number}", day=day, usd=usd, parts=spread(usd, free))


def spread(usd: Decimal, sales: Sequence[Fill]) -> dict[str, Decimal]:
    """Share an amount among orders by what they sold, in cents that sum to it; the rests go to the largest."""
    sold: dict[str, Decimal] = {}
    for f in sales:
        sold[f.client_order_id] = sold.get(f.client_order_id, NOTHING) + f.price * f.quantity
    if not sold:
        return {}
    total = sum(sold.values(), NOTHING)
    parts = {n: (usd * v / total).quantize(CENT, ROUND_DOWN) for n, v in sold.items()}
    left, step = usd - sum(parts.values(), NOTHING), CENT if usd > 0 else -CENT
    for name in sorted(sold, key=lambda n: (-sold[n], n)):
        if abs(left) < CENT:
            break
        parts[name] += step
        left -= step
    largest = max(sold, key=lambda n: (sold[n], n))
    parts[largest] += left
    return {n: v for n, v in parts.items() if v}


def next_anchor(
    before: Anchor | None, moves: Sequence[CashMove], foreign: Mapping[str, Decimal], now: Anchor
) -> Anchor:  # fmt: skip
    """Return the anchor after a clean comparison.

    Args:
        before: the last one, if any.
        moves: as the broker tells them.
        foreign: as `foreign_flows` tells them.
        now: cash, day and sequence of this moment; its `ahead_usd` is what was charged without a word since.
    """
    ahead = now.ahead_usd
    if before is not None:
        ahead += before.ahead_usd - sum((took for _, took in _absorbed(before, fresh(before, moves))), NOTHING)
    kept = frozenset(m.move_id for m in moves if m.day >= now.moves_since)
    return replace(now, moves=kept, foreign=dict(foreign), ahead_usd=ahead)
