"""Alpaca's JSON about everything but orders: account, clock, calendar, assets, cash, corporate actions, quotes."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from kobe.core.clock import NEW_YORK
from kobe.core.ports import Account, Asset, CashMove, CorporateChange, Quote
from kobe.execution.brokers.alpaca_replies import (
    Doubt,
    believing,
    day,
    flag,
    instant,
    list_of,
    number,
    object_of,
    optional,
    words,
)

FRACTION = ":fraction"
TRANSFERS, FEES = frozenset({"CSD", "CSW", "JNLC", "ACATC"}), frozenset({"FEE", "CFEE", "PTC", "PTR"})
INTEREST = frozenset({"INT", "INTPNL"})
TRADES = frozenset({"FILL"})
_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
_DETAIL = 120


def account(answer: object, positions: object) -> Account:
    """Read the account; both shapes will do, with and without the fields of the old day-trade rule.

    A fraction of a share would be hidden by rounding it. The whole shares stand under the symbol; that there is a
    fraction stands under SYMBOL:fraction as one share, which no ledger of ours can equal: reconciling names it and
    openings stop, while exits of everything else go on.

    Raises:
        ExternalError: a field is missing or odd; whether it may trade must not be guessed.
    """
    asked = "the account"
    row = object_of(answer, asked)
    with believing(asked):
        blocked = [name for name in _BLOCKS if flag(row, name)]
        if row.get("currency", "USD") != "USD":
            raise Doubt(f"currency is {row['currency']!r}")
        return Account(
            cash_usd=number(row, "cash"), equity_usd=number(row, "equity"),
            blocked=bool(blocked) or words(row, "status") != "ACTIVE", positions=_positions(positions),
            account_id=words(row, "id"), last_equity_usd=optional(row, "last_equity"),
            buying_power_usd=optional(row, "buying_power"), maintenance_usd=optional(row, "maintenance_margin"),
            may_short=row.get("shorting_enabled") is True,
        )  # fmt: skip


def _positions(answer: object) -> dict[str, int]:
    held: dict[str, int] = {}
    for row in list_of(answer, "the positions"):
        symbol, shares, side = words(row, "symbol"), number(row, "qty"), row.get("side")
        if side not in ("long", "short") or (side == "long" and shares < 0):
            raise Doubt(f"{side!r} position of {shares} {symbol}")
        if symbol in held:
            raise Doubt(f"{symbol} is told twice")
        sign = 1 if side == "long" else -1
        if abs(shares) % 1:
            held[symbol + FRACTION] = sign
        held[symbol] = sign * int(abs(shares))
    return {symbol: n for symbol, n in sorted(held.items()) if n}


def now(answer: object) -> datetime:
    """Read the broker's clock; a time without a zone is New York's.

    Raises:
        ExternalError: it tells no time.
    """
    with believing("the clock"):
        return instant(object_of(answer, "the clock"), "timestamp", NEW_YORK)


def sessions(answer: object, first: date, last: date) -> dict[date, tuple[datetime, datetime]]:
    """Read the calendar of a span, whose hours are New York's.

    Raises:
        ExternalError: a session is malformed or told twice.
    """
    found: dict[date, tuple[datetime, datetime]] = {}
    with believing("the calendar"):
        for row in list_of(answer, "the calendar"):
            session = day(row, "date")
            opens, closes = (_hour(row, name, session) for name in ("open", "close"))
            if session in found or opens >= closes:
                raise Doubt(f"{session} is told twice or backwards")
            if first <= session <= last:
                found[session] = (opens, closes)
    return dict(sorted(found.items()))


def _hour(row: Mapping[str, Any], name: str, session: date) -> datetime:
    clock = words(row, name)
    return instant({name: f"{session.isoformat()}T{clock if ':' in clock else clock[:2] + ':' + clock[2:]}"}, name,
                   NEW_YORK)  # fmt: skip


def asset(answer: object, symbol: str) -> Asset:
    """Read what may be done with a symbol; what is not said may not be done.

    Raises:
        ExternalError: it is about another symbol, or does not say whether it trades.
    """
    asked = f"the asset {symbol}"
    row = object_of(answer, asked)
    with believing(asked):
        if words(row, "symbol") != symbol:
            raise Doubt(f"symbol is {row['symbol']!r}")
        equity = row.get("class", row.get("asset_class", "us_equity")) == "us_equity"
        return Asset(
            symbol=symbol, active=words(row, "status") == "active", tradable=flag(row, "tradable") and equity,
            shortable=row.get("shortable") is True, easy_to_borrow=row.get("easy_to_borrow") is True,
            fractionable=row.get("fractionable") is True,
        )  # fmt: skip


def cash_moves(rows: Iterable[dict[str, Any]], since: date) -> tuple[CashMove, ...]:
    """Read account activities that are no trades, from a date on; what was cancelled did not happen.

    Raises:
        ExternalError: one that moves money does not say how much.
    """
    found: dict[str, CashMove] = {}
    with believing("the account's activities"):
        for row in rows:
            word = words(row, "activity_type")
            if word in TRADES or row.get("status") == "canceled" or day(row, "date") < since:
                continue
            kind = _kind(word)
            usd = optional(row, "net_amount") if kind == "other" else number(row, "net_amount")
            told = (word, *(row.get(name) for name in ("symbol", "description")))
            found[words(row, "id")] = CashMove(
                move_id=words(row, "id"), kind=kind, day=day(row, "date"), usd=usd or Decimal(0),
                detail=_printable(" ".join(t for t in told if isinstance(t, str) and t)),
            )  # fmt: skip
    return tuple(sorted(found.values(), key=lambda m: (m.day, m.move_id)))


def _kind(word: str) -> str:
    if word in TRANSFERS:
        return "transfer"
    if word.startswith("DIV"):
        return "dividend"
    return "interest" if word in INTEREST else "fee" if word in FEES else "other"


SPLITS = {"forward_splits": "symbol", "reverse_splits": "symbol", "unit_splits": "old_symbol"}
MERGERS = {
    "cash_mergers": "acquiree_symbol", "stock_mergers": "acquiree_symbol", "stock_and_cash_mergers": "acquiree_symbol",
    "spin_offs": "source_symbol", "rights_distributions": "source_symbol",
}  # fmt: skip
ENDINGS = {"worthless_removals": "symbol", "redemptions": "symbol"}
DATES = ("ex_date", "effective_date", "process_date")


def corporate_changes(
    groups: Mapping[str, list[dict[str, Any]]], symbols: Iterable[str], session: date
) -> tuple[CorporateChange, ...]:
    """Read what changes holdings at the open of a session; what is dated on the weekend before it counts as well.

    A stock dividend is a split by another name. A spin-off or rights change what a holding is worth beyond any ratio:
    they are told as a merger, for somebody to look at.

    Raises:
        ExternalError: one does not say what it does.
    """
    asked, wanted, found = "corporate actions", set(symbols), list[CorporateChange]()
    with believing(asked):
        for group, rows in groups.items():
            for row in list_of(rows, asked):
                change = _change(group, row)
                if change is not None and change.symbol in wanted and _falls_on(change.effective, session):
                    found.append(change)
    return tuple(sorted(set(found), key=lambda c: (c.symbol, c.kind, c.detail)))


def _falls_on(effective: date, session: date) -> bool:
    between = (effective + timedelta(days=n) for n in range((session - effective).days))
    return effective <= session and all(d.weekday() >= 5 for d in between)


def _change(group: str, row: dict[str, Any]) -> CorporateChange | None:
    effective = day(row, next((name for name in DATES if row.get(name) is not None), DATES[0]))
    detail = _printable(group.removesuffix("s").replace("_", " "))
    if group in SPLITS:
        old, new = number(row, "old_rate"), number(row, "new_rate")
        if old <= 0 or new <= 0:
            raise Doubt(f"{new} new shares for {old}")
        after = words(row, "new_symbol") if group == "unit_splits" else None
        return CorporateChange(symbol=words(row, SPLITS[group]), kind="split", effective=effective, ratio=new / old,
                               symbol_after=after, detail=f"{detail} {new} for {old}")  # fmt: skip
    if group == "stock_dividends":
        rate = number(row, "rate")
        return CorporateChange(symbol=words(row, "symbol"), kind="split", effective=effective, ratio=1 + rate,
                               detail=f"{detail} {rate}")  # fmt: skip
    if group == "name_changes":
        before, after = words(row, "old_symbol"), words(row, "new_symbol")
        return None if before == after else CorporateChange(
            symbol=before, kind="symbol_change", effective=effective, symbol_after=after, detail=detail
        )  # fmt: skip
    if group in MERGERS:
        after = row.get("acquirer_symbol")
        into = after if isinstance(after, str) and after.isprintable() else None
        return CorporateChange(symbol=words(row, MERGERS[group]), kind="merger", effective=effective,
                               symbol_after=into, detail=detail)  # fmt: skip
    if group in ENDINGS:
        return CorporateChange(symbol=words(row, ENDINGS[group]), kind="delisting", effective=effective, detail=detail)
    return None


def quotes(answer: object, feed: str) -> dict[str, Quote]:
    """Read snapshots; a side that is missing or odd is 0, which the gates refuse, and so is a size.

    Raises:
        ExternalError: it is no object.
    """
    found = {}
    for symbol, row in object_of(answer, "quotes").items():
        told = row.get("latestQuote") if isinstance(row, dict) else None
        if not isinstance(told, dict):
            continue
        try:
            at = instant(told, "t")
        except Doubt:
            continue
        trade = row.get("latestTrade")
        last = _positive(trade, "p") if isinstance(trade, dict) else Decimal(0)
        found[symbol] = Quote(
            symbol=symbol, bid=_positive(told, "bp"), ask=_positive(told, "ap"), bid_size=int(_positive(told, "bs")),
            ask_size=int(_positive(told, "as")), at=at.astimezone(UTC), feed=feed, last=last or None,
        )  # fmt: skip
    return found


def _positive(row: Mapping[str, Any], name: str) -> Decimal:
    try:
        return max(number(row, name), Decimal(0))
    except Doubt:
        return Decimal(0)


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_DETAIL]
