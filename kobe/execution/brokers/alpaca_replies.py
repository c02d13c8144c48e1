"""Alpaca's JSON about orders, read with suspicion: what is missing, odd or contradicts itself is an error.

A target-or-stop pair (OCO) is one order of ours: its parent is the target, its leg the stop, and what either fills
was filled under the one name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kobe.core.ports import BrokerOrder
from kobe.core.types import OrderRequest, OrderStatus
from kobe.execution.brokers.alpaca_door import unbelievable

ENDED = {
    "filled": OrderStatus.FILLED, "canceled": OrderStatus.CANCELED, "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED, "replaced": OrderStatus.REPLACED,
}  # fmt: skip
IN_FLIGHT = frozenset({
    "new", "accepted", "pending_new", "accepted_for_bidding", "partially_filled", "stopped", "suspended", "calculated",
    "done_for_day", "held", "pending_cancel", "pending_replace", "pending_review",
})  # fmt: skip
PLAIN = frozenset({"new", "accepted", "partially_filled", "filled", "canceled", "expired"})
OURS = "kobe-"
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_LARGEST = Decimal(1_000_000_000)
_WORDS = 80


class Doubt(ValueError):  # noqa: N818 - it becomes an ExternalError where it is known what was asked
    """A field is missing or cannot be what it says."""


@contextmanager
def believing(asked: str) -> Iterator[None]:
    """Turn a doubt about a field into the error of an answer that cannot be believed."""
    try:
        yield
    except Doubt as doubt:
        raise unbelievable(asked, doubt) from None


def number(row: Mapping[str, Any], name: str) -> Decimal:
    """Return a field as an exact number; text and JSON numbers are both in use.

    Raises:
        Doubt: it is missing, no plain finite number, or beyond a thousand million.
    """
    value = row.get(name)
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Doubt(f"{name} is {_short(value)}")
    if isinstance(value, float) and "e" in text and abs(value) < 1_000_000_000:
        text = format(Decimal(text), "f")
    if not _NUMBER.fullmatch(text) or abs(Decimal(text)) > _LARGEST:
        raise Doubt(f"{name} is {_short(value)}")
    return Decimal(text)


def optional(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a number that need not be there."""
    return None if row.get(name) is None else number(row, name)


def words(row: Mapping[str, Any], name: str) -> str:
    """Return a field of text.

    Raises:
        Doubt: it is missing, empty, or no printable text.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Doubt(f"{name} is {_short(value)}")
    return value


def flag(row: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false, and nothing that only looks like it.

    Raises:
        Doubt: it is missing or something else.
    """
    value = row.get(name)
    if not isinstance(value, bool):
        raise Doubt(f"{name} is {_short(value)}")
    return value


def instant(row: Mapping[str, Any], name: str, zone: ZoneInfo | None = None) -> datetime:
    """Return an instant in UTC, to the microsecond; a naive one only where its zone is known.

    Raises:
        Doubt: it is missing, no instant, or of no zone.
    """
    try:
        found = datetime.fromisoformat(words(row, name))
        found = found.replace(tzinfo=zone) if found.tzinfo is None and zone is not None else found
        if found.tzinfo is None:
            raise Doubt(f"{name} has no zone")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Doubt(f"{name} is {_short(row.get(name))}") from None


def day(row: Mapping[str, Any], name: str) -> date:
    """Return a date.

    Raises:
        Doubt: it is missing or none.
    """
    try:
        return date.fromisoformat(words(row, name)[:10])
    except ValueError:
        raise Doubt(f"{name} is {_short(row.get(name))}") from None


def object_of(answer: object, asked: str) -> dict[str, Any]:
    """Return an answer that must be a JSON object.

    Raises:
        ExternalError: it is none.
    """
    if not isinstance(answer, dict):
        raise unbelievable(asked, f"{type(answer).__name__} where an object belongs")
    return answer


def list_of(answer: object, asked: str) -> list[dict[str, Any]]:
    """Return an answer that must be a list of JSON objects.

    Raises:
        ExternalError: it is none.
    """
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise unbelievable(asked, f"{type(answer).__name__} where a list of objects belongs")
    return answer


@dataclass(frozen=True, slots=True)
class _Part:
    """One record of an order: ours may have two."""

    word: str
    quantity: int
    filled: int
    average: Decimal | None
    at: datetime


def order(answer: object, asked: str, *, name: str = "", request: OrderRequest | None = None) -> BrokerOrder:
    """Read an order, its legs included where they are the same order.

    Args:
        answer: the JSON, with nested legs.
        asked: names the call in errors.
        name: what was asked for; empty when any order will do.
        request: what was sent, when it is known.

    Raises:
        ExternalError: a field is missing, odd, contradicts another, or belongs to another order.
    """
    row = object_of(answer, asked)
    with believing(asked):
        told = _order(row)
    if name and told.client_order_id != name:
        raise unbelievable(asked, f"an order named {told.client_order_id[:_WORDS]!r}, not {name!r}")
    if request is not None:
        sent, seen = (request.symbol, request.is_buy, request.quantity), (told.symbol, told.is_buy, told.quantity)
        if sent != seen:
            raise unbelievable(asked, f"{_said(*seen)} under the name of {_said(*sent)}")
    return told


def is_pair(row: Mapping[str, Any]) -> bool:
    """Say whether an order is a target-or-stop pair."""
    return row.get("order_class") == "oco"


def needs_legs(row: Mapping[str, Any]) -> bool:
    """Say whether a pair came without its stop, so that half of its fills would be unseen."""
    return is_pair(row) and not row.get("legs") and row.get("status") != "rejected"


def every_order(rows: Iterable[dict[str, Any]], asked: str) -> list[BrokerOrder]:
    """Read orders of the account, ours or not; legs of other people's orders are orders of their own.

    Raises:
        ExternalError: one of them cannot be believed.
    """
    told, legs_of_pairs = dict[str, BrokerOrder](), set[str]()
    for row in rows:
        legs = list_of(row.get("legs") or [], asked)
        if is_pair(row):
            legs_of_pairs |= {str(leg.get("id")) for leg in legs}
        else:
            told |= {str(leg.get("id")): order(leg, asked) for leg in legs}
        told[str(row.get("id"))] = order(row, asked)
    return [found for order_id, found in told.items() if order_id not in legs_of_pairs]


def _order(row: dict[str, Any]) -> BrokerOrder:
    name, symbol = words(row, "client_order_id"), _symbol(row)
    side = row.get("side") or _first_leg(row).get("side")
    if side not in ("buy", "sell"):
        raise Doubt(f"side is {_short(side)}")
    notes = [] if name.startswith(OURS) else _fraction(row)
    parts = [_part(row, whole=not notes)]
    if is_pair(row) and row.get("status") != "rejected":
        parts += _legs(row, symbol, side)
    filled, quantity = sum(p.filled for p in parts), parts[0].quantity
    if filled > quantity and not notes:
        raise Doubt(f"{filled} of {quantity} shares are filled")
    status, detail = _status(parts, filled, None if notes else quantity)
    return BrokerOrder(
        client_order_id=name, symbol=symbol, quantity=quantity, is_buy=side == "buy", status=status, filled=filled,
        average_price=_average(parts), at=max(p.at for p in parts),
        detail="; ".join(filter(None, [detail, _reason(row, status), *notes])),
    )  # fmt: skip


def _legs(row: dict[str, Any], symbol: str, side: object) -> list[_Part]:
    legs = row.get("legs")
    if not isinstance(legs, list) or not legs or not all(isinstance(leg, dict) for leg in legs):
        raise Doubt("a target without its stop")
    for leg in legs:
        if leg.get("symbol") != symbol or leg.get("side") != side:
            raise Doubt("a target and a stop that do not belong together")
    return [_part(leg, whole=True) for leg in legs]


def _part(row: Mapping[str, Any], *, whole: bool) -> _Part:
    quantity, filled = number(row, "qty") if whole else optional(row, "qty") or Decimal(0), number(row, "filled_qty")
    if quantity < 0 or (whole and quantity <= 0) or (whole and quantity % 1) or (whole and filled % 1):
        raise Doubt(f"{filled} of {quantity} shares, which are not whole shares")
    if filled < 0 or (whole and filled > quantity):
        raise Doubt(f"{filled} of {quantity} shares are filled")
    average = number(row, "filled_avg_price") if filled else None
    if average is not None and average <= 0:
        raise Doubt(f"filled_avg_price is {average}")
    return _Part(words(row, "status"), int(quantity), int(filled), average if int(filled) else None, _changed(row))


def _changed(row: Mapping[str, Any]) -> datetime:
    names = [n for n in ("updated_at", "submitted_at", "created_at") if row.get(n) is not None]
    return instant(row, names[0] if names else "updated_at")


def _average(parts: list[_Part]) -> Decimal | None:
    filled = [(p.filled, p.average) for p in parts if p.average is not None]
    if len(filled) == 1:
        return filled[0][1]
    shares = sum(n for n, _ in filled)
    return sum((n * price for n, price in filled), Decimal(0)) / shares if shares else None


def _status(parts: list[_Part], filled: int, quantity: int | None) -> tuple[OrderStatus, str]:
    """Return where an order stands and the broker's word for it; a word nobody knows is UNKNOWN.

    Shares count more than the word, except for fractions (None), which are told rounded.
    """
    said = "/".join(p.word for p in parts)
    odd = [p.word for p in parts if p.word not in ENDED and p.word not in IN_FLIGHT]
    if odd:
        return OrderStatus.UNKNOWN, f"status {_short(odd[0])}"
    if quantity is not None and any(p.word == "filled" and p.filled < p.quantity for p in parts):
        return OrderStatus.UNKNOWN, f"said to be filled with {filled} of {quantity} shares"
    detail = "" if len(parts) == 1 and said in PLAIN else said
    if any(p.word in IN_FLIGHT for p in parts):
        return (OrderStatus.PARTIAL if filled else OrderStatus.ACCEPTED), detail
    if filled == quantity:
        return OrderStatus.FILLED, detail
    ends = {ENDED[p.word] for p in parts}
    order_of_ends = (OrderStatus.REPLACED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)
    return next((end for end in order_of_ends if end in ends), OrderStatus.FILLED), detail


def _reason(row: Mapping[str, Any], status: OrderStatus) -> str:
    """Return what came of an order in the broker's words."""
    told = row.get("replaced_by" if status is OrderStatus.REPLACED else "reject_reason")
    return "".join(c for c in told if c.isprintable())[:_WORDS] if isinstance(told, str) else ""


def _fraction(row: Mapping[str, Any]) -> list[str]:
    """Say when somebody else's order is not of whole shares: kobe tells it by the whole shares in it."""
    if row.get("qty") is None and row.get("notional") is not None:
        return [f"for {number(row, 'notional')} dollars, told in whole shares"]
    quantity, filled = number(row, "qty"), number(row, "filled_qty")
    return [f"{filled} of {quantity} shares, told in whole shares"] if quantity % 1 or filled % 1 else []


def _symbol(row: Mapping[str, Any]) -> str:
    """Return the symbol; an order of many legs has none of its own."""
    return words(row if row.get("symbol") else _first_leg(row), "symbol")


def _first_leg(row: Mapping[str, Any]) -> Mapping[str, Any]:
    legs = row.get("legs")
    return legs[0] if row.get("order_class") == "mleg" and isinstance(legs, list) and legs else {}


def _said(symbol: str, is_buy: bool, quantity: int) -> str:
    return f"{'buy' if is_buy else 'sell'} {quantity} {symbol[:_WORDS]}"


def _short(value: object) -> str:
    return "missing" if value is None else repr(value)[:_WORDS]
