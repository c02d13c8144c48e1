"""The routes of the made-up Alpaca: (method, path, query, body) to (status, JSON), over the books."""

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kit import alpaca_rules
from kit.alpaca_books import OPEN, Books, Json, Refusal, rounded, text, to_ns, usable, wire_time

D = Decimal
Answer = tuple[int, Any]
ACCOUNT_ID = str(uuid.uuid5(uuid.NAMESPACE_OID, "account"))
_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = []
_NOT_FOUND = Refusal(404, 40410000, "endpoint not found")


def _route(method: str, pattern: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    def add(function: Callable[..., Answer]) -> Callable[..., Answer]:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


def answer(books: Books, method: str, path: str, query: Json, body: Any) -> Answer:
    """Answer a request whose keys are right."""
    books.tick()
    try:
        for verb, pattern, function in _ROUTES:
            found = pattern.fullmatch(path) if verb == method else None
            if found:
                return function(books, query, body, *found.groups())
    except Refusal as refusal:
        return refusal.status, refusal.body
    except (ValueError, KeyError, TypeError) as error:
        return 422, {"code": 40010001, "message": f"request is invalid: {error!r}"}
    return _NOT_FOUND.status, _NOT_FOUND.body


# -- account, time, assets ---------------------------------------------------------------------------------------


@_route("GET", "/v2/account")
def _account(books: Books, *_: Any) -> Answer:
    return 200, account(books)


def account(books: Books) -> Json:
    """Return the account as the API tells it; what the desk has set overrules what is computed."""
    state, worth = books.state, books.worth()
    sizes = [(D(p["qty"]), books.mark(s)) for s, p in state["positions"].items()]
    longs = sum((n * price for n, price in sizes if n > 0), D(0))
    shorts = sum((n * price for n, price in sizes if n < 0), D(0))
    upkeep = sum((abs(n) * price * (D("0.3") if price >= D("2.5") else D(1)) for n, price in sizes), D(0))
    power = books.buying_power()
    told: Json = {
        "id": ACCOUNT_ID, "account_number": "PA3KOBETEST1", "status": "ACTIVE", "crypto_status": "INACTIVE",
        "currency": "USD", "cash": state["cash"], "equity": text(worth), "portfolio_value": text(worth),
        "last_equity": state["last_equity"], "buying_power": text(power), "regt_buying_power": text(power),
        "non_marginable_buying_power": text(min(power, D(state["cash"]))), "accrued_fees": "0", "multiplier": "1",
        "long_market_value": text(longs), "short_market_value": text(shorts), "sma": "0",
        "initial_margin": text((longs - shorts) / 2), "maintenance_margin": text(upkeep),
        "last_maintenance_margin": "0", "trading_blocked": False, "transfers_blocked": False, "account_blocked": False,
        "trade_suspended_by_user": False, "shorting_enabled": True, "options_approved_level": 0,
        "options_trading_level": 0, "created_at": "2024-01-02T15:00:00.000000000Z",
    }  # fmt: skip
    if books.settings["pdt_fields"]:
        told |= {"pattern_day_trader": False, "daytrade_count": 0, "daytrading_buying_power": "0"}
    return {**told, **state["account"]}


@_route("GET", "/v2/clock")
def _clock(books: Books, *_: Any) -> Answer:
    now = books.now()
    told = now + timedelta(seconds=books.state["clock"]["skew_s"])
    nanoseconds = f"{told:%Y-%m-%dT%H:%M:%S}.{told.microsecond:06d}000{told:%z}"
    return 200, {
        "timestamp": f"{nanoseconds[:-2]}:{nanoseconds[-2:]}", "is_open": books.is_open(),
        "next_open": books.session_after(now, 0).isoformat(), "next_close": books.session_after(now, 1).isoformat(),
    }  # fmt: skip


@_route("GET", "/v2/calendar")
def _calendar(books: Books, query: Json, *_: Any) -> Answer:
    first = datetime.fromisoformat(query.get("start") or "2020-01-01").date()
    last = datetime.fromisoformat(query.get("end") or "2029-12-31").date()
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    sessions = ((day, books.session(day)) for day in days)
    return 200, [
        {"date": day.isoformat(), "open": f"{times[0]:%H:%M}", "close": f"{times[1]:%H:%M}", "session_open": "0400",
         "session_close": "2000", "settlement_date": books.session_after(times[1], 0).date().isoformat()}
        for day, times in sessions if times
    ]  # fmt: skip


@_route("GET", "/v2/assets")
def _assets(books: Books, query: Json, *_: Any) -> Answer:
    names = {"status": "status", "asset_class": "class", "exchange": "exchange"}
    wanted = {ours: query[theirs] for theirs, ours in names.items() if theirs in query}
    return 200, [a for a in books.state["assets"].values() if all(a[k] == v for k, v in wanted.items())]


@_route("GET", "/v2/assets/([^/]+)")
def _asset(books: Books, _query: Json, _body: Any, symbol: str) -> Answer:
    found = books.asset(symbol)
    if found is None:
        raise Refusal(404, 40410000, f"asset not found for {symbol}")
    return 200, found


# -- orders ------------------------------------------------------------------------------------------------------


def find(books: Books, name: str) -> Json:
    """Return an order by id.

    Raises:
        Refusal: there is none.
    """
    if name not in books.orders:
        raise Refusal(404, 40410000, f"order not found for {name}")
    return books.orders[name]


@_route("POST", "/v2/orders")
def _submit(books: Books, _query: Json, body: Any) -> Answer:
    return 200, alpaca_rules.place(books, body)


@_route("GET", "/v2/orders")
def _list(books: Books, query: Json, *_: Any) -> Answer:
    wanted, nested = query.get("status") or "open", _flag(query, "nested")
    symbols = set(query["symbols"].split(",")) if query.get("symbols") else None
    after, until = (to_ns(query[k]) if query.get(k) else None for k in ("after", "until"))
    found = []
    for order in list(books.orders.values()):
        if symbols is not None and order["symbol"] not in symbols:
            continue
        if query.get("side") not in {None, order["side"]}:
            continue
        books.look(order)
        at = to_ns(order["submitted_at"])
        late_enough = (after is None or at > after) and (until is None or at <= until)
        if late_enough and wanted in {"all", "open" if order["status"] in OPEN else "closed"}:
            found.append(order)
    if query.get("direction") != "asc":
        found.reverse()
    if nested:
        names = {order["id"] for order in found}
        found = [order for order in found if order["_parent"] not in names]
    found = found[: min(int(query.get("limit") or 50), 500)]
    return 200, [books.wire(order, nested=nested) for order in found]


@_route("GET", "/v2/orders:by_client_order_id")
def _by_client(books: Books, query: Json, *_: Any) -> Answer:
    name = query.get("client_order_id", "")
    order = find(books, books.state["by_client"].get(name, ""))
    books.look(order)
    return 200, books.wire(order, nested=_flag(query, "nested"))


@_route("GET", "/v2/orders/([^/]+)")
def _by_id(books: Books, query: Json, _body: Any, name: str) -> Answer:
    order = find(books, name)
    books.look(order)
    return 200, books.wire(order, nested=_flag(query, "nested"))


@_route("PATCH", "/v2/orders/([^/]+)")
def _replace(books: Books, _query: Json, body: Any, name: str) -> Answer:
    return 200, alpaca_rules.replace(books, find(books, name), body)


@_route("DELETE", "/v2/orders/([^/]+)")
def _cancel(books: Books, _query: Json, _body: Any, name: str) -> Answer:
    books.cancel(find(books, name))
    return 204, None


@_route("DELETE", "/v2/orders")
def _cancel_all(books: Books, *_: Any) -> Answer:
    told = []
    for order in books.open_orders():
        if order["status"] in OPEN:  # not canceled with a sibling meanwhile
            books.cancel(order)
            told.append({"id": order["id"], "status": 200})
    return 207, told


def _flag(query: Json, name: str) -> bool:
    return str(query.get(name, "")).lower() in {"true", "1"}


# -- positions ---------------------------------------------------------------------------------------------------


def position(books: Books, symbol: str) -> Json:
    """Return a position as the API tells it.

    Raises:
        Refusal: nothing is held.
    """
    asset = books.asset(symbol)
    held = books.state["positions"].get(asset["symbol"]) if asset else None
    if asset is None or held is None:
        raise Refusal(404, 40410000, "position does not exist")
    symbol = asset["symbol"]
    shares, cost, mark = D(held["qty"]), D(held["cost"]), books.mark(symbol)
    gain, worth = shares * mark - cost, shares * mark
    free = abs(shares) - books.held_for_orders(symbol, "sell" if shares > 0 else "buy")
    share = rounded(gain / abs(cost)) if cost else "0"
    return {
        "asset_id": asset["id"], "symbol": symbol, "exchange": asset["exchange"], "asset_class": "us_equity",
        "asset_marginable": asset["marginable"], "qty": text(shares), "qty_available": text(free.copy_sign(shares)),
        "avg_entry_price": rounded(cost / shares), "side": "long" if shares > 0 else "short",
        "market_value": text(worth), "cost_basis": rounded(cost), "unrealized_pl": rounded(gain),
        "unrealized_plpc": share, "unrealized_intraday_pl": rounded(gain), "unrealized_intraday_plpc": share,
        "current_price": text(mark), "lastday_price": text(mark), "change_today": "0",
    }  # fmt: skip


@_route("GET", "/v2/positions")
def _positions(books: Books, *_: Any) -> Answer:
    return 200, [position(books, symbol) for symbol in books.state["positions"]]


@_route("GET", "/v2/positions/([^/]+)")
def _position(books: Books, _query: Json, _body: Any, symbol: str) -> Answer:
    return 200, position(books, symbol)


@_route("DELETE", "/v2/positions/([^/]+)")
def _close(books: Books, query: Json, _body: Any, symbol: str) -> Answer:
    asset = books.asset(symbol)
    return 200, alpaca_rules.closing_order(books, asset["symbol"] if asset else symbol, query)


@_route("DELETE", "/v2/positions")
def _close_all(books: Books, query: Json, *_: Any) -> Answer:
    if _flag(query, "cancel_orders"):
        _cancel_all(books)
    told = []
    for symbol in list(books.state["positions"]):
        try:
            told.append({"symbol": symbol, "status": 200, "body": alpaca_rules.closing_order(books, symbol, {})})
        except Refusal as refusal:
            told.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
    return 207, told


# -- activities and corporate actions ----------------------------------------------------------------------------


@_route("GET", "/v2/account/activities(?:/([A-Z,]+))?")
def _activities(books: Books, query: Json, _body: Any, kinds: str | None) -> Answer:
    kinds = kinds or query.get("activity_types")
    wanted = set(kinds.split(",")) if kinds else None
    found = [a for a in books.state["activities"] if wanted is None or a["activity_type"] in wanted]
    day = lambda a: a.get("transaction_time", a.get("date"))  # noqa: E731
    if query.get("date"):
        found = [a for a in found if day(a)[:10] == query["date"][:10]]
    for edge, keep in (("after", 1), ("until", -1)):
        if query.get(edge):
            limit = to_ns(query[edge])
            found = [a for a in found if (to_ns(day(a)) - limit) * keep > 0]
    if query.get("direction") != "asc":
        found = found[::-1]
    if query.get("page_token"):
        places = [n for n, a in enumerate(found) if a["id"] == query["page_token"]]
        found = found[places[-1] + 1 :] if places else []
    return 200, found[: min(int(query.get("page_size") or 100), 100)]


@_route("GET", "/v2/corporate_actions/announcements")
def _announcements(books: Books, query: Json, *_: Any) -> Answer:
    if not {"ca_types", "since", "until"} <= set(query):
        raise Refusal(422, 40010001, "ca_types, since and until are required")
    kinds, by = set(query["ca_types"].lower().split(",")), query.get("date_type") or "ex_date"
    return 200, [
        a for a in books.state["announcements"]
        if a["ca_type"] in kinds and query["since"] <= a[by] <= query["until"]
        and query.get("symbol") in {None, a["initiating_symbol"]}
    ]  # fmt: skip


@_route("GET", "/v2/corporate_actions/announcements/([^/]+)")
def _announcement(books: Books, _query: Json, _body: Any, name: str) -> Answer:
    for told in books.state["announcements"]:
        if told["id"] == name:
            return 200, told
    raise Refusal(404, 40410000, "announcement not found")


@_route("GET", "/v1/corporate-actions")
def _actions(books: Books, query: Json, *_: Any) -> Answer:
    told: Json = {}
    symbols = set(query["symbols"].split(",")) if query.get("symbols") else None
    first, last = query.get("start") or "0000", query.get("end") or "9999"
    for a in books.state["announcements"]:
        if (symbols is not None and a["initiating_symbol"] not in symbols) or not first <= a["ex_date"] <= last:
            continue
        ratio = D(a["new_rate"]) / D(a["old_rate"]) if a["ca_type"] == "split" else None
        kind = "cash_dividend" if ratio is None else "forward_split" if ratio > 1 else "reverse_split"
        if query.get("types") and kind not in query["types"].split(","):
            continue
        dates = {k: a[k] for k in ("ex_date", "record_date", "payable_date")}
        action = {"id": a["id"], "symbol": a["initiating_symbol"], "process_date": a["ex_date"], **dates}
        if kind == "cash_dividend":
            action |= {"cusip": "000000000", "rate": float(a["cash"]), "special": False, "foreign": False}
        else:
            action |= {"new_rate": float(a["new_rate"]), "old_rate": float(a["old_rate"])}
            names = ("cusip",) if kind == "forward_split" else ("old_cusip", "new_cusip")
            action |= dict.fromkeys(names, "000000000")
        told.setdefault(f"{kind}s", []).append(action)
    return 200, {"corporate_actions": told, "next_page_token": None}


# -- market data -------------------------------------------------------------------------------------------------


def _quotes(books: Books, query: Json) -> dict[str, Json]:
    """Quotes of the asked symbols as the asked feed has them."""
    feed = query.get("feed") or ("sip" if books.settings["sip"] else "iex")
    if feed == "sip" and not books.settings["sip"]:
        raise Refusal(403, 40310000, "subscription does not permit querying recent SIP data")
    quotes = books.state["quotes"]
    names = [name for name in query.get("symbols", "").split(",") if name]
    found = {name: quotes.get(f"{name}@{feed}") or quotes.get(name) for name in names}
    return {name: quote for name, quote in found.items() if quote is not None}


def _at(books: Books, quote: Json) -> str:
    if quote["at"] is not None:
        return quote["at"]
    return wire_time(books.now_ns() - int(quote["age_s"] * 1_000_000_000))


def _json_number(number: Any) -> Any:
    """A price as a JSON number; what is no number goes out as it was set."""
    try:
        return int(number) if float(number).is_integer() and "." not in str(number) else float(number)
    except (TypeError, ValueError, OverflowError):
        return number


def _quote(books: Books, q: Json) -> Json:
    bid, ask, bids, asks = (_json_number(q[k]) for k in ("bid", "ask", "bid_size", "ask_size"))
    return {"t": _at(books, q), "ax": "V", "ap": ask, "as": asks, "bx": "V", "bp": bid, "bs": bids, "c": ["R"],
            "z": "B"}  # fmt: skip


def _trade(books: Books, q: Json) -> Json | None:
    bid, ask = usable(q["bid"]), usable(q["ask"])
    price = q["last"] if q["last"] is not None else text((bid + ask) / 2) if bid and ask else None
    if price is None:
        return None
    size = _json_number(q["last_size"])
    return {"t": _at(books, q), "x": "V", "p": _json_number(price), "s": size, "c": ["@"], "i": 1, "z": "B"}


@_route("GET", "/v2/stocks/quotes/latest")
def _latest_quotes(books: Books, query: Json, *_: Any) -> Answer:
    return 200, {"quotes": {s: _quote(books, q) for s, q in _quotes(books, query).items()}}


@_route("GET", "/v2/stocks/trades/latest")
def _latest_trades(books: Books, query: Json, *_: Any) -> Answer:
    trades = ((s, _trade(books, q)) for s, q in _quotes(books, query).items())
    return 200, {"trades": {s: t for s, t in trades if t is not None}}


@_route("GET", "/v2/stocks/snapshots")
def _snapshots(books: Books, query: Json, *_: Any) -> Answer:
    return 200, {
        s: {"latestTrade": _trade(books, q), "latestQuote": _quote(books, q), "minuteBar": None,
            "dailyBar": q.get("day"), "prevDailyBar": q.get("previous_day")}
        for s, q in _quotes(books, query).items()
    }  # fmt: skip
