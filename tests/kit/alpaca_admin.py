"""The admin door of the made-up Alpaca: what a test changes behind the client's back. Each function is a route."""

import time
from decimal import ROUND_DOWN, Decimal
from typing import Any

from kit import alpaca_rules
from kit.alpaca_books import SETTINGS, Books, Json, text, to_ns, usable
from kit.alpaca_routes import account, find, position

D = Decimal
QUOTE = {"bid": None, "ask": None, "bid_size": "1000", "ask_size": "1000", "last": None, "last_size": "100",
         "at": None, "age_s": 0.0, "halted": False, "day": None, "previous_day": None}  # fmt: skip


def quote(books: Books, *, symbol: str, feed: str | None = None, **changes: Any) -> Json:
    """Set what is given of a quote and let resting orders meet it; a quote for one feed only is told, not traded on."""
    unknown = set(changes) - set(QUOTE)
    if unknown:
        raise ValueError(f"a quote has no {sorted(unknown)}")
    if symbol not in books.state["assets"]:
        asset(books, symbol=symbol)
    key = symbol if feed is None else f"{symbol}@{feed}"
    known = books.state["quotes"].get(key) or books.state["quotes"].get(symbol) or QUOTE
    books.state["quotes"][key] = {**known, **changes}
    books.match(symbol)
    return books.state["quotes"][key]


def asset(books: Books, *, symbol: str, **changes: Any) -> Json:
    """Add or change an asset."""
    known = books.state["assets"].get(symbol) or {
        "id": books.new_id(), "class": "us_equity", "exchange": "NASDAQ", "symbol": symbol, "name": f"{symbol} Inc.",
        "status": "active", "tradable": True, "marginable": True, "shortable": True, "easy_to_borrow": True,
        "fractionable": True, "maintenance_margin_requirement": 30, "attributes": [],
    }  # fmt: skip
    books.state["assets"][symbol] = {**known, **changes}
    return books.state["assets"][symbol]


def clock(books: Books, *, at: str | None = None, ticking: bool = False, skew_s: float | None = None) -> Json:
    """Set the broker's time, still or ticking, and how wrong /v2/clock tells it; orders may expire or start."""
    told = books.state["clock"]
    if at is not None:
        day, worth = books.now().date(), books.worth()
        ns = to_ns(at)
        told["fixed_ns"], told["offset_ns"] = (None, ns - time.time_ns()) if ticking else (ns, 0)
        books.tick()
        if books.now().date() > day:
            books.state["last_equity"] = text(worth)
        books.match()
    if skew_s is not None:
        told["skew_s"] = skew_s
    return told


def calendar(books: Books, *, day: str, hours: list[str] | None) -> None:
    """Overrule one day: ["09:30", "13:00"], or None for closed."""
    books.state["calendar"][day] = hours


def set_account(books: Books, **fields: Any) -> Json:
    """Set cash and last_equity in the books; any other field overrules what is told."""
    for name, value in fields.items():
        if name in {"cash", "last_equity"}:
            books.state[name] = text(D(str(value)))
        else:
            books.state["account"][name] = value
    return account(books)


def configure(books: Books, **settings: Any) -> Json:
    """Change how the broker behaves."""
    unknown = set(settings) - set(SETTINGS)
    if unknown:
        raise ValueError(f"unknown settings: {sorted(unknown)}")
    books.settings.update(settings)
    books.match()
    return books.settings


def activity(books: Books, *, kind: str, amount: str, **more: Any) -> Json:
    """Book money that is no trade."""
    return books.add_activity(kind, D(amount), **more)


def split(books: Books, *, symbol: str, ratio: str, announce_it: bool = True) -> None:
    """Split a symbol by `ratio` new shares for one: position, quote and plain GTC limits; stops and groups stay."""
    factor = D(ratio)
    held = books.state["positions"].pop(symbol, None)
    told = books.state["quotes"].get(symbol, {})
    for name in ("bid", "ask", "last"):
        price = usable(told.get(name))
        if price is not None:
            told[name] = text(price / factor)
    if held is not None:
        exact = D(held["qty"]) * factor
        whole = exact.to_integral_value(ROUND_DOWN)
        if whole:
            books.state["positions"][symbol] = {"qty": text(whole), "cost": str(D(held["cost"]) * whole / exact)}
        books.add_activity("SPLIT", D(0), symbol=symbol, qty=text(whole - D(held["qty"])))
        if exact != whole:
            books.add_activity("CIL", (exact - whole) * books.mark(symbol), symbol=symbol, qty=text(exact - whole))
    for order in books.open_orders(symbol):
        if order["type"] == "limit" and order["time_in_force"] == "gtc" and not order["order_class"]:
            order["limit_price"] = text(round(D(order["limit_price"]) / factor, 2))
            order["qty"] = text((D(order["qty"]) * factor).to_integral_value(ROUND_DOWN))
    if announce_it:
        terms = {"new_rate": factor, "old_rate": D(1)} if factor > 1 else {"new_rate": D(1), "old_rate": 1 / factor}
        announce(books, kind="split", symbol=symbol, **{k: rate(v) for k, v in terms.items()})
    books.match(symbol)


def rate(number: Decimal) -> str:
    """Write a split's term: 1 for 8 is 0.125 new shares."""
    return text(round(number, 6))


def announce(
    books: Books, *, kind: str, symbol: str, ex_date: str | None = None, old_rate: str = "1", new_rate: str = "1",
    cash: str = "0",
) -> Json:  # fmt: skip
    """Announce a split or a dividend."""
    day = ex_date or books.now().date().isoformat()
    forward = D(new_rate) > D(old_rate)
    kinds = {"dividend": "cash", "split": "stock_split" if forward else "reverse_split"}
    told = {
        "id": books.new_id(), "corporate_action_id": f"{symbol}-{day}", "ca_type": kind,
        "ca_sub_type": kinds.get(kind, kind), "initiating_symbol": symbol, "initiating_original_cusip": "000000000",
        "target_symbol": symbol, "target_original_cusip": "000000000", "declaration_date": day, "ex_date": day,
        "record_date": day, "payable_date": day, "cash": cash, "old_rate": old_rate, "new_rate": new_rate,
    }  # fmt: skip
    books.state["announcements"].append(told)
    return told


def foreign_order(books: Books, **order: Any) -> Json:
    """Place an order as if by hand elsewhere."""
    return alpaca_rules.place_foreign(books, order)


def foreign_position(books: Books, *, symbol: str, qty: str, price: str) -> Json:
    """Set a position as if it had been transferred in; cash stays. A quantity of 0 takes it away."""
    if symbol not in books.state["assets"]:
        asset(books, symbol=symbol)
    books.state["positions"].pop(symbol, None)
    if D(qty):
        books.state["positions"][symbol] = {"qty": text(D(qty)), "cost": str(D(qty) * D(price))}
        return position(books, symbol)
    return {}


def script(
    books: Books, *, parts: list[Any], status: str | None = None, symbol: str = "", contains: str = ""
) -> None:  # fmt: skip
    """Say how the next order (of this symbol, with this in its client_order_id) executes: [shares or [shares, price]].

    Immediate orders end canceled after their parts unless filled; `status` ends any order so.
    """
    books.state["scripts"].append({"parts": parts, "status": status, "symbol": symbol, "contains": contains})


def settle(books: Books) -> None:
    """Let every order in flight reach its end without being looked at."""
    books.tick(force=True)
    for order in books.open_orders():
        if order["status"] == "pending_cancel":
            books.finish(order, "canceled")


def end_order(books: Books, *, order: str, status: str) -> Json:
    """End an open order from the broker's side: canceled, expired or rejected."""
    known = _named(books, order)
    books.finish(known, status)
    return books.wire(known)


def fill(books: Books, *, order: str, qty: str, price: str | None = None) -> Json:
    """Execute shares of an order by id or client id, even after its end."""
    known = _named(books, order)
    books.fill(known, D(qty), D(price) if price else D(known["limit_price"] or 0) or books.mark(known["symbol"]))
    return books.wire(known)


def duplicate_fill(books: Books) -> Json:
    """Tell the last fill a second time in the activities, under the same id; nothing else changes."""
    last = [a for a in books.state["activities"] if a["activity_type"] == "FILL"][-1]
    books.state["activities"].append(dict(last))
    return last


def orders(books: Books) -> list[Json]:
    """Return every order as it truly is, oldest first, legs beside their parents; it does not count as a look."""
    return [books.wire(order, nested=False) for order in books.orders.values()]


def positions(books: Books) -> list[Json]:
    """Return every position."""
    return [position(books, symbol) for symbol in books.state["positions"]]


def activities(books: Books) -> list[Json]:
    """Return every activity, oldest first."""
    return list(books.state["activities"])


def _named(books: Books, name: str) -> Json:
    return find(books, books.state["by_client"].get(name, name))


ROUTES = {
    "quote": quote, "asset": asset, "clock": clock, "calendar": calendar,
    "account": set_account, "configure": configure, "activity": activity, "split": split, "announce": announce,
    "foreign_order": foreign_order, "foreign_position": foreign_position, "script": script, "settle": settle,
    "end_order": end_order, "fill": fill, "duplicate_fill": duplicate_fill, "orders": orders, "positions": positions,
    "activities": activities,
}  # fmt: skip
READS = {"orders", "positions", "activities"}
