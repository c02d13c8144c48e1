"""What the made-up Alpaca refuses before an order exists, with the codes of the real one; then the order's legs."""

from datetime import time
from decimal import Decimal, InvalidOperation
from typing import Any

from kit.alpaca_books import Books, Json, Refusal, text, usable

D = Decimal
TYPES = {"market", "limit", "stop", "stop_limit"}
LIFETIMES = {"day", "gtc", "ioc", "fok", "opg", "cls"}
CLASSES = {"simple", "oco", "bracket", "oto"}


def place(books: Books, wanted: Any) -> Json:
    """Check a request and write its order with its legs; returns the order as the POST answers it.

    Raises:
        Refusal: 422 for what is malformed or not unique, 403 for what the account may not do.
    """
    order = _shape(wanted)
    _unique(books, order["client_order_id"])
    if books.asset(order["symbol"]) is None:
        raise _invalid(f'asset "{order["symbol"]}" not found')
    _lifetime(books, order)
    _fractions(books, order)
    legs = _legs(order, wanted)
    for member in (order, *legs):
        _increments(member)
    _sides(books, order, legs)
    order["_reserve"] = text(_reference(books, order))
    _allowed(books, order)
    return _write(books, order, legs)


def place_foreign(books: Books, wanted: Json) -> Json:
    """Place an order as if by hand elsewhere, with the same checks."""
    return place(books, {"type": "market", "time_in_force": "day", **wanted})


def replace(books: Books, old: Json, wanted: Any) -> Json:
    """Replace an open order by a new one with a new id and a new client_order_id; what is filled stays with the old.

    Money and shares are not asked for again.

    Raises:
        Refusal: the order is not open, the new numbers are not allowed, or the id is taken.
    """
    if old["status"] not in {"new", "accepted", "partially_filled", "held"}:
        raise _invalid(f'order in "{old["status"]}" state cannot be replaced')
    if not isinstance(wanted, dict):
        raise Refusal(422, 40010001, "request body format is invalid")
    name = wanted.get("client_order_id") or None
    _unique(books, name)
    prices = {p: _number(wanted, p) for p in ("limit_price", "stop_price")}
    total = _number(wanted, "qty") or D(old["qty"])
    if total <= D(old["filled_qty"]):
        raise _invalid("qty must be greater than filled qty")
    values = {
        **{k: old[k] for k in old if k[0] == "_" and k not in {"_cost", "_lucky", "_triggered"}},
        **{k: old[k] for k in ("symbol", "side", "type", "order_class", "position_intent", "extended_hours")},
        "qty": text(total - D(old["filled_qty"])), "client_order_id": name, "replaces": old["id"],
        "time_in_force": wanted.get("time_in_force") or old["time_in_force"],
        "status": "held" if old["status"] == "held" else "new",
        **{p: old[p] if n is None else text(n) for p, n in prices.items()},
    }  # fmt: skip
    _increments(values)
    books.finish(old, "replaced")
    new = books.add_order(values)
    old["replaced_by"] = new["id"]
    if new["_parent"]:
        family = books.orders[new["_parent"]]
        family["_legs"] = [new["id"] if leg == old["id"] else leg for leg in family["_legs"]]
    for leg in new["_legs"]:
        books.orders[leg]["_parent"] = new["id"]
    books.match(new["symbol"])
    return books.wire(new)


def _invalid(message: str) -> Refusal:
    return Refusal(422, 42210000, message)


def _number(wanted: Json, name: str) -> Decimal | None:
    value = wanted.get(name)
    if value is None or value == "":
        return None
    try:
        number = D(str(value))
    except InvalidOperation:
        number = D("NaN")
    if not number.is_finite() or isinstance(value, bool):
        raise Refusal(422, 40010001, f"{name} is not a number")
    return number


def _word(wanted: Json, name: str, choices: set[str], default: str | None = None) -> str:
    word = wanted.get(name) or default
    if word not in choices:
        raise Refusal(422, 40010001, f"invalid {name}")
    return word


def _shape(wanted: Any) -> Json:
    if not isinstance(wanted, dict):
        raise Refusal(422, 40010001, "request body format is invalid")
    kind = _word(wanted, "type", TYPES)
    group = _word(wanted, "order_class", CLASSES, "simple")
    numbers = {n: _number(wanted, n) for n in ("qty", "notional", "limit_price", "stop_price")}
    if (numbers["qty"] is None) == (numbers["notional"] is None):
        raise Refusal(422, 40010001, "qty or notional is required")
    for name, number in numbers.items():
        if number is not None and number <= 0:
            raise _invalid(f"{name} must be > 0")
    if group == "oco":
        profit = wanted.get("take_profit") or {}
        numbers["limit_price"] = _number(profit, "limit_price") or numbers["limit_price"]
    for name, types in (("limit_price", {"limit", "stop_limit"}), ("stop_price", {"stop", "stop_limit"})):
        if (numbers[name] is None) == (kind in types):
            raise Refusal(422, 40010001, f"{kind} orders {'require' if kind in types else 'must not have'} {name}")
    return {
        "symbol": str(wanted.get("symbol") or ""), "side": _word(wanted, "side", {"buy", "sell"}), "type": kind,
        "time_in_force": _word(wanted, "time_in_force", LIFETIMES), "order_class": "" if group == "simple" else group,
        "extended_hours": bool(wanted.get("extended_hours")), "position_intent": wanted.get("position_intent"),
        "client_order_id": wanted.get("client_order_id") or None,
        **{name: None if number is None else text(number) for name, number in numbers.items()},
    }  # fmt: skip


def _unique(books: Books, name: str | None) -> None:
    if name is not None and (not isinstance(name, str) or len(name) > 128):
        raise Refusal(422, 40010001, "client_order_id must be no more than 128 characters")
    if name in books.state["by_client"]:
        raise Refusal(422, 40010001, "client_order_id must be unique")


def _lifetime(books: Books, order: Json) -> None:
    lifetime, now = order["time_in_force"], books.now().time()
    if order["order_class"] and lifetime not in {"day", "gtc"}:
        raise _invalid(f"{order['order_class']} orders must be day or gtc")
    if order["extended_hours"] and (order["type"] != "limit" or lifetime not in {"day", "gtc"}):
        raise _invalid("extended hours order must be DAY or GTC limit orders")
    if lifetime == "opg" and time(9, 28) <= now < time(19):
        raise _invalid("opg orders are not accepted between 9:28am and 7:00pm")
    if lifetime == "cls" and time(15, 50) <= now < time(19):
        raise _invalid("cls orders are not accepted between 3:50pm and 7:00pm")
    if lifetime in {"opg", "cls"} and order["type"] not in {"market", "limit"}:
        raise _invalid(f"{lifetime} orders must be market or limit orders")


def _fractions(books: Books, order: Json) -> None:
    amount = D(order["qty"] or "0.5")
    if amount == amount.to_integral_value():
        return
    if order["time_in_force"] != "day":
        raise _invalid("fractional orders must be DAY orders")
    if order["order_class"]:
        raise _invalid("fractional orders must be simple orders")
    if order["type"] not in {"market", "limit"}:
        raise _invalid("fractional orders must be market or limit orders")
    if not books.asset(order["symbol"])["fractionable"]:
        raise Refusal(403, 40310000, f'asset "{order["symbol"]}" is not fractionable')
    if order["notional"] and (D(order["notional"]) < 1 or D(order["notional"]) != round(D(order["notional"]), 2)):
        raise _invalid("notional must be at least 1 with 2 decimals")
    if amount != round(amount, 9):
        raise _invalid("qty must have no more than 9 decimals")
    if order["side"] == "sell" and books.position(order["symbol"]) <= 0:
        raise _invalid("fractional orders cannot be sold short")


def _increments(order: Json) -> None:
    for name in ("limit_price", "stop_price"):
        price = order.get(name)
        if price is not None and (D(price) <= 0 or D(price) != round(D(price), 2 if D(price) >= 1 else 4)):
            raise _invalid(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")


def _legs(order: Json, wanted: Json) -> list[Json]:
    """The orders that come with this one."""
    group = order["order_class"]
    if not group:
        return []
    profit, loss = (wanted.get(name) or {} for name in ("take_profit", "stop_loss"))
    target, stop, below = _number(profit, "limit_price"), _number(loss, "stop_price"), _number(loss, "limit_price")
    if (group in {"oco", "bracket"} and None in {target, stop}) or (target is None and stop is None):
        raise Refusal(422, 40010001, f"{group} orders require take_profit.limit_price and stop_loss.stop_price")
    if group == "oto" and None not in {target, stop}:
        raise Refusal(422, 40010001, "oto orders require either take_profit or stop_loss")
    if group == "oco" and order["type"] != "limit":
        raise _invalid("oco orders must be limit orders")
    side = order["side"] if group == "oco" else {"buy": "sell", "sell": "buy"}[order["side"]]
    shared = {k: order[k] for k in ("symbol", "qty", "order_class", "time_in_force")}
    shared |= {"side": side, "client_order_id": None, "status": "held", "_waits": group != "oco"}
    legs = []
    if target is not None and group != "oco":
        legs.append({**shared, "type": "limit", "limit_price": text(target)})
    if stop is not None:
        kind = "stop" if below is None else "stop_limit"
        legs.append({**shared, "type": kind, "stop_price": text(stop), "limit_price": below and text(below)})
    return legs


def _sides(books: Books, order: Json, legs: list[Json]) -> None:
    """A stop must lie beyond the market, a target on its other side."""
    bid, ask = (usable((books.state["quotes"].get(order["symbol"]) or {}).get(end)) for end in ("bid", "ask"))
    if "stop" in order["type"]:
        price = D(order["stop_price"])
        if order["side"] == "sell" and bid is not None and price >= bid:
            raise _invalid("stop price must be less than current price")
        if order["side"] == "buy" and ask is not None and price <= ask:
            raise _invalid("stop price must be greater than current price")
    base = usable(order["limit_price"]) if order["order_class"] != "oco" else None
    base = base or (bid if (legs and legs[0]["side"] == "sell") else ask)
    members = [*legs, order] if order["order_class"] == "oco" else legs
    for leg in members:
        if base is None:
            return
        up = 1 if leg["side"] == "sell" else -1
        if "stop" in leg["type"] and up * (D(leg["stop_price"]) - base) >= 0:
            raise _invalid(f"stop_loss.stop_price must be {'<' if up > 0 else '>'} base_price", base_price=text(base))
        if leg["type"] == "limit" and leg is not order and up * (D(leg["limit_price"]) - base) <= 0:
            raise _invalid(f"take_profit.limit_price must be {'>' if up > 0 else '<'} base_price")
    if order["order_class"] == "oco":
        up = 1 if order["side"] == "sell" else -1
        if up * (D(order["limit_price"]) - D(legs[0]["stop_price"])) <= 0:
            raise _invalid("take_profit.limit_price must be beyond stop_loss.stop_price")


def _reference(books: Books, order: Json) -> Decimal:
    """Money one share may need: the limit, the stop or the ask; a short at 3% above the ask. Sells of a holding: 0."""
    met = usable((books.state["quotes"].get(order["symbol"]) or {}).get("ask")) or books.mark(order["symbol"])
    held = books.position(order["symbol"])
    if (order["side"] == "sell" and held > 0) or (order["side"] == "buy" and held < 0):
        return D(0)
    named = D(order["limit_price"] or order["stop_price"] or 0)
    return max(named, D("1.03") * met) if order["side"] == "sell" else named or met


def _allowed(books: Books, order: Json) -> None:
    account, asset = books.state["account"], books.asset(order["symbol"])
    if account.get("trading_blocked") or account.get("account_blocked"):
        raise Refusal(403, 40310000, "account is blocked from trading")
    if account.get("trade_suspended_by_user"):
        raise Refusal(403, 40310000, "new orders are rejected by user request")
    if not asset["tradable"] or asset["status"] != "active":
        raise _invalid(f"asset {order['symbol']} is not tradable")
    _no_wash(books, order)
    held, wanted = books.position(order["symbol"]), D(order["qty"] or 0)
    if (order["side"] == "sell" and held > 0) or (order["side"] == "buy" and held < 0):
        promised = books.held_for_orders(order["symbol"], order["side"])
        free = abs(held) - promised
        if wanted > free:
            raise Refusal(
                403, 40310000, f"insufficient qty available for order (requested: {text(wanted)}, available: "
                f"{text(free)})", available=text(free), existing_qty=text(abs(held)), held_for_orders=text(promised),
                symbol=order["symbol"],
            )  # fmt: skip
        return
    if order["side"] == "sell":
        _may_short(books, order, asset)
    need = D(order["notional"] or 0) or wanted * D(order["_reserve"])
    power = books.buying_power()
    if need > power:
        raise Refusal(403, 40310000, "insufficient buying power", buying_power=text(power), cost_basis=text(need))


def _may_short(books: Books, order: Json, asset: Json) -> None:
    if order["order_class"] == "oco":
        raise _invalid("oco orders must be exit orders")
    if not books.state["account"].get("shorting_enabled", True) or books.worth() < 2000:
        raise Refusal(403, 40310000, "account is not allowed to short")
    if not (asset["shortable"] and asset["easy_to_borrow"]):
        raise _invalid(f'asset "{order["symbol"]}" cannot be sold short')


def _no_wash(books: Books, order: Json) -> None:
    """Opposite open orders are refused unless both are limits that do not cross, or belong to a group."""
    if order["order_class"]:
        return
    for other in books.open_orders(order["symbol"]):
        if other["side"] == order["side"] or other["order_class"]:
            continue
        limits = {order["type"], other["type"]} == {"limit"}
        if limits:
            buy, sell = (order, other) if order["side"] == "buy" else (other, order)
            limits = D(buy["limit_price"]) < D(sell["limit_price"])
        if not limits:
            raise Refusal(
                403, 40310000, "potential wash trade detected. use complex orders", existing_order_id=other["id"],
                reject_reason=f"opposite side {other['type']} order exists",
            )  # fmt: skip


def _write(books: Books, order: Json, legs: list[Json]) -> Json:
    opens = (order["side"] == "buy") == (books.position(order["symbol"]) >= 0)
    opens = opens and order["order_class"] != "oco"
    order["position_intent"] = order["position_intent"] or f"{order['side']}_to_{'open' if opens else 'close'}"
    parent = books.add_order(order)
    for leg in legs:
        intent = f"{leg['side']}_to_close"
        written = books.add_order({**leg, "_parent": parent["id"], "position_intent": intent})
        parent["_legs"].append(written["id"])
    first = books.wire(parent)
    books.start(parent)
    return books.wire(parent) if books.settings["first_status"] == "final" else first


def closing_order(books: Books, symbol: str, query: Json) -> Json:
    """Close a position, or a part of it, by a market order.

    Raises:
        Refusal: no such position, or its shares are promised to open orders.
    """
    held = books.position(symbol)
    if not held:
        raise Refusal(404, 40410000, f"position does not exist: {symbol}")
    part = _number(query, "percentage")
    shares = _number(query, "qty") or abs(held) * (100 if part is None else part) / 100
    side = "sell" if held > 0 else "buy"
    return place(books, {"symbol": symbol, "qty": shares, "side": side, "type": "market", "time_in_force": "day"})
