"""Compare the ledger with the broker: orders, fills and shares. A difference is named, never averaged away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kobe.core.ports import BrokerOrder
from kobe.core.types import Order, Position, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing the two books disagree about.

    `kind` is `unknown_order` (the broker has an order kobe never wrote), `missing_order` (kobe believes it was
    accepted, the broker does not know it), `fills` or `position` (an orphan when kobe holds nothing).
    """

    kind: str
    subject: str
    ledger: str
    broker: str


def shares_by_symbol(positions: Iterable[Position]) -> dict[str, int]:
    """Return signed shares by symbol."""
    shares: dict[str, int] = {}
    for p in positions:
        sign = 1 if p.side is Side.LONG else -1
        shares[p.symbol] = shares.get(p.symbol, 0) + sign * p.quantity
    return {s: n for s, n in shares.items() if n}


def compare(
    orders: Mapping[str, Order],
    positions: Iterable[Position],
    broker_orders: Iterable[BrokerOrder],
    broker_shares: Mapping[str, int],
) -> tuple[Difference, ...]:
    """Return every difference, sorted; none means the books are equal."""
    theirs = {o.client_order_id: o for o in broker_orders}
    found = [
        Difference(kind="unknown_order", subject=name, ledger="nothing", broker=o.status.word)
        for name, o in theirs.items()
        if name not in orders
    ]
    for name, mine in orders.items():
        other = theirs.get(name)
        if other is None and (mine.filled or mine.status.word in ("accepted", "partial", "filled")):
            found.append(Difference(kind="missing_order", subject=name, ledger=mine.status.word, broker="nothing"))
        elif other is not None and sum(f.quantity for f in other.fills) != mine.filled:
            filled = sum(f.quantity for f in other.fills)
            found.append(Difference(kind="fills", subject=name, ledger=str(mine.filled), broker=str(filled)))
    held = shares_by_symbol(positions)
    for symbol in sorted(set(held) | set(broker_shares)):
        ours, truth = held.get(symbol, 0), broker_shares.get(symbol, 0)
        if ours != truth:
            found.append(Difference(kind="position", subject=symbol, ledger=str(ours), broker=str(truth)))
    return tuple(sorted(found, key=lambda d: (d.kind, d.subject)))
