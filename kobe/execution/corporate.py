"""What happened to companies while kobe held them, in the ledger: splits rescale lots, all else freezes a holding."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kobe.core.clock import from_ns
from kobe.core.ports import CorporateChange, Event

STREAM = "corporate"
SPLIT, VOID = "split", "void"
OLDEST_PRICE = 10  # sessions before a split in which a close is looked for
LARGEST_DENOMINATOR = 10_000  # 0.333333 is meant to be a third


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Shares that became others overnight.

    Attributes:
        symbol: of the shares.
        session: first session in new shares.
        at: instant from which fills are in new shares, the open of that session.
        ratio: new shares for each old one.
        cash_price: dollars a whole new share was paid at where only a fraction was left.
        recorded: when kobe wrote it down; orders from before it are in old shares.
    """

    symbol: str
    session: date
    at: datetime
    ratio: Fraction
    cash_price: Decimal
    recorded: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A holding that only a person may decide about, from a session on."""

    symbol: str
    kind: str
    session: date
    detail: str


def identity(symbol: str, kind: str, session: str, ratio: str | None) -> tuple[str, ...]:
    """Return what makes a change the same when it is told again; splits of one session differ by their ratio."""
    return (symbol, kind, session, *((ratio or "",) if kind == SPLIT else ()))


def identity_of(change: CorporateChange, session: date) -> tuple[str, ...]:
    """Return the identity of a change that the broker told."""
    ratio = None if change.ratio is None else str(exact_ratio(change.ratio))
    return identity(change.symbol, change.kind, session.isoformat(), ratio)


def key_of(change: CorporateChange, session: date, voids: int = 0) -> str:
    """Return the ledger's key of a change; after a void the same one may be written again."""
    return ":".join(identity_of(change, session)) + (f"#{voids}" if voids else "")


def in_force(events: Iterable[Event]) -> list[Event]:
    """Return the changes on record, oldest first, without the splits that an operator has declared void."""
    found = list[Event]()
    for e in events:
        if e.payload["kind"] == VOID:
            found = [f for f in found if not _voids(e, f)]
        else:
            found.append(e)
    return found


def voids(events: Iterable[Event]) -> list[tuple[Split, datetime]]:
    """Return every split that was declared void, with the instant of that word."""
    found, gone = list[Event](), list[tuple[Split, datetime]]()
    for e in events:
        if e.payload["kind"] == VOID:
            gone += [(_split(f), from_ns(e.at_ns)) for f in found if _voids(e, f)]
            found = [f for f in found if not _voids(e, f)]
        else:
            found.append(e)
    return gone


def _voids(void: Event, told: Event) -> bool:
    same = void.entity == told.entity and void.payload["session"] == told.payload["session"]
    return same and bool(told.payload["kind"] == SPLIT)


def change_json(change: CorporateChange, session: date, at: datetime, cash_price: Decimal) -> dict[str, Any]:
    """Return a change as JSON-ready values.

    Args:
        change: what the broker told.
        session: first session it holds in; a weekend belongs to the session after it.
        at: open of that session.
        cash_price: of a new share, for fractions; zero where there are none.
    """
    ratio = None if change.ratio is None else str(exact_ratio(change.ratio))
    return {
        "kind": change.kind, "session": session.isoformat(), "at": at.isoformat(), "ratio": ratio,
        "cash_price": str(cash_price), "symbol_after": change.symbol_after, "detail": change.detail,
    }  # fmt: skip


def exact_ratio(told: Decimal) -> Fraction:
    """Return the ratio a broker meant by a decimal number.

    Raises:
        ValueError: it is not positive.
    """
    ratio = Fraction(told).limit_denominator(LARGEST_DENOMINATOR)
    if ratio <= 0:
        msg = f"a split needs a positive ratio, got {told}"
        raise ValueError(msg)
    return ratio


def splits(events: Iterable[Event]) -> tuple[Split, ...]:
    """Return the splits on record, oldest first."""
    found = [_split(e) for e in in_force(events) if e.payload["kind"] == SPLIT]
    return tuple(sorted(found, key=lambda s: (s.at, s.symbol)))


def _split(e: Event) -> Split:
    return Split(
        symbol=e.entity, session=date.fromisoformat(e.payload["session"]),
        at=datetime.fromisoformat(e.payload["at"]), ratio=Fraction(e.payload["ratio"]),
        cash_price=Decimal(e.payload["cash_price"]), recorded=from_ns(e.at_ns),
    )  # fmt: skip


def frozen(events: Iterable[Event]) -> tuple[Frozen, ...]:
    """Return what freezes a holding, oldest first."""
    return tuple(
        Frozen(
            symbol=e.entity, kind=e.payload["kind"], session=date.fromisoformat(e.payload["session"]),
            detail=e.payload["detail"] or (e.payload["symbol_after"] or ""),
        )
        for e in events
        if e.payload["kind"] not in (SPLIT, VOID)
    )  # fmt: skip


def ratio_after(changes: Iterable[Split], symbol: str, instant: datetime) -> Fraction:
    """Return how many shares of now one share of an instant has become."""
    product = Fraction(1)
    for change in changes:
        if change.symbol == symbol and change.at > instant:
            product *= change.ratio
    return product
