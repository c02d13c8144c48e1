"""The books of a made-up Alpaca: cash, positions, orders and their matching, as JSON-ready state. It knows no HTTP.

Orders are kept as they go over the wire, numbers as text; keys that begin with an underscore stay inside. A quote's
size is what each order may take, and is not used up. Stops and market orders fill whole at the touch.
"""

import math
import random
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from kit import alpaca_calendar
from kit.alpaca_calendar import NEW_YORK

D = Decimal
Json = dict[str, Any]
OPEN = frozenset({
    "new", "accepted", "pending_new", "partially_filled", "held", "pending_cancel", "pending_replace",
    "pending_review", "accepted_for_bidding", "stopped", "suspended", "calculated", "done_for_day",
})  # fmt: skip
SETTINGS = {
    "first_status": "accepted",  # what a POST answers: accepted, new, pending_new, or final
    "polls": 0,  # how many looks still see the first status
    "delay_s": 0.0,  # how long the first status lasts
    "cancel_polls": 0,  # how many looks see pending_cancel
    "paper_seed": None,  # random partial fills for one order in ten, as the paper account does
    "pdt_fields": False,  # the account as it was before July 2026
    "sip": True,  # whether the plan may ask for recent SIP data
    "auth_status": 401,  # what a wrong key meets; 403 is the other answer in use
    "rate_limit": None,  # requests a minute before a 429
    "hours": "auto",  # open and closed overrule the calendar
}
ORDER_FIELDS = (
    "id", "client_order_id", "created_at", "updated_at", "submitted_at", "filled_at", "expired_at", "expires_at",
    "canceled_at", "failed_at", "replaced_at", "replaced_by", "replaces", "asset_id", "symbol", "asset_class",
    "notional", "qty", "filled_qty", "filled_avg_price", "order_class", "order_type", "type", "side",
    "position_intent", "time_in_force", "limit_price", "stop_price", "status", "extended_hours", "legs",
    "trail_percent", "trail_price", "hwm", "subtag", "source",
)  # fmt: skip
_SECOND = 1_000_000_000
_ENDED = {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at", "filled": "filled_at",
          "replaced": "replaced_at"}  # fmt: skip


class Refusal(Exception):  # noqa: N818 - an answer of the broker, not a defect
    """The broker says no: an HTTP status and the JSON body that goes with it."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message, **more}


def text(number: Decimal) -> str:
    """Write a number as Alpaca does: plain digits, no trailing zeros."""
    return format(number.normalize(), "f") if number else "0"


def rounded(number: Decimal, places: int = 6) -> str:
    """Write a quotient."""
    return text(round(number, places))


def wire_time(ns: int) -> str:
    """Write nanoseconds since 1970 as RFC 3339 with nine decimals."""
    return f"{datetime.fromtimestamp(ns // _SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{ns % _SECOND:09d}Z"


def to_ns(written: str) -> int:
    """Read an instant to whole microseconds; without a zone it is UTC."""
    at = datetime.fromisoformat(written)
    gap = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (gap // timedelta(microseconds=1)) * 1000


class Books:
    """Everything the broker knows. Callers hold a lock; `state` may be written as JSON and read back."""

    def __init__(self, state: Json | None = None, cash: str = "10000", **settings: Any) -> None:
        unknown = set(settings) - set(SETTINGS)
        if unknown:
            raise ValueError(f"unknown settings: {sorted(unknown)}")
        self.state: Json = state or {
            "cash": cash, "last_equity": cash, "orders": {}, "by_client": {}, "positions": {}, "activities": [],
            "quotes": {}, "assets": {}, "calendar": {}, "announcements": [], "account": {}, "scripts": [],
            "settings": {**SETTINGS, **settings}, "number": 0, "clock": {"offset_ns": 0, "fixed_ns": None, "skew_s": 0},
        }  # fmt: skip
        self.orders: dict[str, Json] = self.state["orders"]
        self.settings: Json = self.state["settings"]
        self.touched: set[str] = set()  # orders changed since the books were last written
        self._open = [order for order in self.orders.values() if order["status"] in OPEN]

    # -- time ----------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return the broker's time."""
        clock = self.state["clock"]
        return clock["fixed_ns"] if clock["fixed_ns"] is not None else time.time_ns() + clock["offset_ns"]

    def now(self) -> datetime:
        """Return the broker's time in New York, to the microsecond."""
        ns = self.now_ns()
        return datetime.fromtimestamp(ns // _SECOND, NEW_YORK).replace(microsecond=ns % _SECOND // 1000)

    def stamp(self) -> str:
        """Return the time for a record; records of one instant differ by nanoseconds."""
        self.state["number"] += 1
        return wire_time(self.now_ns() // 1000 * 1000 + self.state["number"] % 1000)

    def session(self, day: date) -> tuple[datetime, datetime] | None:
        """Return (open, close) of a day's session, or None."""
        calendar = self.state["calendar"]
        words = calendar[day.isoformat()] if day.isoformat() in calendar else alpaca_calendar.hours(day)
        if words is None:
            return None
        first, last = (datetime.fromisoformat(f"{day}T{word}").replace(tzinfo=NEW_YORK) for word in words)
        return first, last

    def session_after(self, now: datetime, edge: int) -> datetime:
        """Return the next open (edge 0) or close (edge 1) after an instant."""
        for ahead in range(400):
            times = self.session(now.date() + timedelta(days=ahead))
            if times and times[edge] > now:
                return times[edge]
        raise ValueError("no session within a year")

    def is_open(self) -> bool:
        """Say whether orders execute now."""
        if self.settings["hours"] != "auto":
            return self.settings["hours"] == "open"
        now = self.now()
        times = self.session(now.date())
        return times is not None and times[0] <= now < times[1]

    # -- the market ----------------------------------------------------------------------------------------------

    def asset(self, symbol: str) -> Json | None:
        """Return an asset by symbol or id."""
        assets = self.state["assets"]
        return assets.get(symbol) or next((a for a in assets.values() if a["id"] == symbol), None)

    def touch(self, symbol: str, side: str) -> tuple[Decimal, Decimal] | None:
        """Return (price, size) an order of this side meets, or None when there is no market."""
        quote = self.state["quotes"].get(symbol)
        if quote is None or quote["halted"]:
            return None
        end = "ask" if side == "buy" else "bid"
        price, size = usable(quote[end]), usable(quote[f"{end}_size"])
        return None if price is None or size is None else (price, size)

    def mark(self, symbol: str) -> Decimal:
        """Return the price positions are valued at: the last trade, the middle, or what they cost."""
        quote = self.state["quotes"].get(symbol, {})
        last, bid, ask = (usable(quote.get(name)) for name in ("last", "bid", "ask"))
        if last is not None:
            return last
        if bid is not None and ask is not None:
            return (bid + ask) / 2
        held = self.state["positions"].get(symbol)
        return D(held["cost"]) / D(held["qty"]) if held else D(0)

    # -- money ---------------------------------------------------------------------------------------------------

    def position(self, symbol: str) -> Decimal:
        """Return shares held; short is negative."""
        return D(self.state["positions"].get(symbol, {"qty": "0"})["qty"])

    def held_for_orders(self, symbol: str, side: str) -> Decimal:
        """Return shares promised to open orders; the members of an OCO promise the same shares once."""
        groups: dict[str, Decimal] = {}
        for order in self._open:
            if order["symbol"] == symbol and order["side"] == side and not order["_waits"] and order["qty"]:
                group = order["_parent"] or order["id"]
                groups[group] = max(groups.get(group, D(0)), remaining(order))
        return sum(groups.values(), D(0))

    def worth(self) -> Decimal:
        """Return equity: cash and positions at their marks."""
        held = self.state["positions"].items()
        return D(self.state["cash"]) + sum((D(p["qty"]) * self.mark(s) for s, p in held), D(0))

    def buying_power(self) -> Decimal:
        """Return what new orders may use."""
        overruled = self.state["account"].get("buying_power")
        if overruled is not None:
            return D(str(overruled))
        factor = D(str(self.state["account"].get("multiplier", "1")))
        used = sum((abs(D(p["qty"])) * self.mark(s) for s, p in self.state["positions"].items()), D(0))
        return self.worth() * factor - used - self.reserved()

    def reserved(self) -> Decimal:
        """Return the money open orders would need."""
        waiting = (order for order in self._open if not order["_waits"])
        return sum((self._need(order) for order in waiting), D(0))

    def _need(self, order: Json) -> Decimal:
        if order["notional"]:
            return D(order["notional"])
        return remaining(order) * D(order["_reserve"])

    def add_activity(self, kind: str, amount: Decimal, **more: Any) -> Json:
        """Book money that is no trade: CSD, CSW, DIV, FEE, INT, SPLIT, CIL."""
        self.state["cash"] = text(D(self.state["cash"]) + amount)
        activity = {
            "activity_type": kind, "id": self._activity_id(), "date": self.now().date().isoformat(),
            "net_amount": text(amount), "description": kind, "status": "executed", **more,
        }  # fmt: skip
        self.state["activities"].append(activity)
        return activity

    def _activity_id(self) -> str:
        return f"{self.now().astimezone(UTC):%Y%m%d%H%M%S%f}"[:17] + f"::{self.new_id()}"

    def new_id(self) -> str:
        """Return a new UUID; a reset server gives the same ones again."""
        self.state["number"] += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self.state["number"])))

    def _move(self, symbol: str, quantity: Decimal, price: Decimal) -> None:
        """Change a position by a signed quantity, and cash by what it costs."""
        held = self.state["positions"].pop(symbol, {"qty": "0", "cost": "0"})
        before, cost = D(held["qty"]), D(held["cost"])
        after = before + quantity
        if before * quantity >= 0:
            cost += quantity * price
        elif before * after >= 0:
            cost = cost * after / before
        else:
            cost = after * price
        self.state["cash"] = text(D(self.state["cash"]) - quantity * price)
        if after:
            self.state["positions"][symbol] = {"qty": text(after), "cost": str(cost)}

    # -- orders --------------------------------------------------------------------------------------------------

    def add_order(self, values: Json) -> Json:
        """Write an order into the books without letting it execute."""
        at = self.stamp()
        order: Json = {
            **dict.fromkeys(ORDER_FIELDS), "id": self.new_id(), "created_at": at, "updated_at": at, "submitted_at": at,
            "asset_class": "us_equity", "filled_qty": "0", "order_class": "", "extended_hours": False,
            "status": self._first_status(), "_cost": "0", "_legs": [], "_parent": None, "_waits": False,
            "_arrived": False, "_born": time.time(), "_polls": self.settings["polls"], "_cancel_polls": 0,
            "_reserve": "0", **values,
        }  # fmt: skip
        order["order_type"] = order["type"]
        order["client_order_id"] = order["client_order_id"] or self.new_id()
        order["asset_id"] = self.state["assets"][order["symbol"]]["id"]
        now = self.now()
        end = now + timedelta(days=90) if order["time_in_force"] == "gtc" else self.session_after(now, 1)
        order["expires_at"] = order["expires_at"] or end.astimezone(UTC).isoformat().replace("+00:00", "Z")
        self.orders[order["id"]] = order
        self.touched.add(order["id"])
        self.state["by_client"][order["client_order_id"]] = order["id"]
        self._open.append(order)
        return order

    def _first_status(self) -> str:
        first = self.settings["first_status"]
        return "new" if first == "final" else first

    def wire(self, order: Json, *, nested: bool = True) -> Json:
        """Return an order as the API tells it."""
        told = {name: order[name] for name in ORDER_FIELDS}
        if nested and order["_legs"]:
            told["legs"] = [self.wire(self.orders[leg]) for leg in order["_legs"]]
        return told

    def start(self, order: Json) -> None:
        """Let a new order reach the market, unless it shall be looked at a few times first."""
        if order["_polls"] == 0 and self.settings["delay_s"] == 0:
            self._arrive(order)

    def look(self, order: Json) -> None:
        """Count one look of a client at an order, and let happen what was due."""
        if order["status"] == "pending_cancel":
            order["_cancel_polls"] -= 1
            if order["_cancel_polls"] < 0:
                self.finish(order, "canceled")
        elif not order["_arrived"] and order["status"] in OPEN and not order["_parent"]:
            if order["_polls"] > 0:
                order["_polls"] -= 1
            elif time.time() - order["_born"] >= self.settings["delay_s"]:
                self._arrive(order)

    def tick(self, *, force: bool = False) -> bool:
        """Let pass what time brings: delayed arrivals and expiries. With `force` every order arrives now."""
        changed, now = False, self.now_ns()
        for order in list(self._open):
            due = order["_polls"] == 0 and 0 < self.settings["delay_s"] <= time.time() - order["_born"]
            if (force or due) and not order["_arrived"] and not order["_parent"] and order["status"] in OPEN:
                self._arrive(order)
                changed = True
            if order["status"] in OPEN and now >= to_ns(order["expires_at"]):
                if order["time_in_force"] == "cls":
                    self._work(order, closing=True)
                self.finish(order, "expired")
                changed = True
        return changed

    def match(self, symbol: str | None = None) -> None:
        """Let the market work on resting orders, oldest first."""
        for order in list(self._open):
            if order["_arrived"] and symbol in {None, order["symbol"]}:
                self._work(order)
                if order["time_in_force"] == "opg" and self.is_open():
                    self.finish(order, "expired")

    def _arrive(self, order: Json) -> None:
        """The order reaches the market: a script, the touch, or rest."""
        order["_arrived"] = True
        for leg in order["_legs"]:
            self.orders[leg]["_arrived"] = True
        script = self._take_script(order)
        if script is not None:
            self._play(order, script)
            return
        if self.is_open():
            order["status"] = "new"
        self._work(order)
        if order["time_in_force"] in {"ioc", "fok"}:
            self.finish(order, "canceled")

    def _take_script(self, order: Json) -> Json | None:
        for n, script in enumerate(self.state["scripts"]):
            if script["symbol"] in {"", order["symbol"]} and script["contains"] in order["client_order_id"]:
                return self.state["scripts"].pop(n)
        return None

    def _play(self, order: Json, script: Json) -> None:
        order["status"] = "new"
        met = self.touch(order["symbol"], order["side"])
        for part in script["parts"]:
            size, price = part if isinstance(part, list) else (part, None)
            fallback = met[0] if met else D(order["limit_price"] or order["stop_price"] or 1)
            shares = remaining(order) / 2 if size == "half" else D(str(size))
            shares = max(D(1), shares.to_integral_value(ROUND_DOWN)) if size == "half" else shares
            self.fill(order, shares, D(str(price)) if price else fallback)
        ends = script["status"] or ("canceled" if order["time_in_force"] in {"ioc", "fok"} else None)
        if ends:
            self.finish(order, ends)

    def _work(self, order: Json, *, closing: bool = False) -> None:
        """Fill what the touch allows; an order that waits for its parent, or for the auction, stays."""
        if order["status"] not in OPEN or order["_waits"] or not (closing or self.is_open()):
            return
        met = self.touch(order["symbol"], order["side"])
        if met is None or (order["time_in_force"] == "cls" and not closing):
            return
        price, size = met
        order["status"] = "new" if order["status"] == "accepted" else order["status"]
        if not self._reaches(order, price):
            return
        whole = remaining(order) if order["qty"] else (D(order["notional"]) / price).quantize(D("1e-9"), ROUND_DOWN)
        shares = min(whole, size) if order["type"] in {"limit", "stop_limit"} else whole
        shares = self._by_luck(order, shares)
        if order["time_in_force"] == "fok" and shares < whole:
            return
        self.fill(order, shares, price)

    @staticmethod
    def _reaches(order: Json, price: Decimal) -> bool:
        buys = order["side"] == "buy"
        if order["stop_price"] is not None and not order.get("_triggered"):
            stop = D(order["stop_price"])
            if price < stop if buys else price > stop:
                return False
            order["_triggered"] = True
        if order["type"] in {"limit", "stop_limit"}:
            limit = D(order["limit_price"])
            return price <= limit if buys else price >= limit
        return True

    def _by_luck(self, order: Json, shares: Decimal) -> Decimal:
        seed = self.settings["paper_seed"]
        if seed is None or shares <= 1 or order.get("_lucky"):
            return shares
        order["_lucky"] = True
        dice = random.Random(f"{seed}:{order['client_order_id']}")
        return D(dice.randint(1, int(shares) - 1)) if dice.random() < 0.1 and int(shares) > 1 else shares

    def fill(self, order: Json, shares: Decimal, price: Decimal) -> None:
        """Execute shares of an order, whatever its status is: late fills are real too."""
        self.touched.add(order["id"])
        self._move(order["symbol"], shares if order["side"] == "buy" else -shares, price)
        filled, cost = D(order["filled_qty"]) + shares, D(order["_cost"]) + shares * price
        order["filled_qty"], order["_cost"] = text(filled), str(cost)
        order["filled_avg_price"], order["updated_at"] = rounded(cost / filled), self.stamp()
        whole = order["qty"] is None or filled >= D(order["qty"])
        late = order["status"] not in OPEN
        if not late and order["status"] != "pending_cancel":
            order["status"] = "partially_filled"
        self.state["activities"].append({
            "activity_type": "FILL", "id": self._activity_id(), "cum_qty": text(filled),
            "leaves_qty": text(max(remaining(order), D(0))) if order["qty"] else "0", "price": text(price),
            "qty": text(shares), "side": order["side"], "symbol": order["symbol"], "order_id": order["id"],
            "transaction_time": order["updated_at"], "type": "fill" if whole else "partial_fill",
            "order_status": "filled" if whole else order["status"],
        })  # fmt: skip
        if late:
            if whole:
                order["status"] = "filled"
            return
        if whole:
            self.finish(order, "filled")
            return
        for other in self._siblings(order):
            other["qty"] = text(D(other["qty"]) - shares)  # the rest of an OCO protects what is left

    def _siblings(self, order: Json) -> list[Json]:
        """Open members of the same one-cancels-the-other group."""
        parent = self.orders[order["_parent"]] if order["_parent"] else order
        names = list(parent["_legs"])
        if parent["order_class"] == "oco":
            names.append(parent["id"])
        elif parent is order:
            return []
        members = (self.orders[name] for name in names if name != order["id"])
        return [member for member in members if member["status"] in OPEN]

    def finish(self, order: Json, status: str) -> None:
        """End an open order, and with it what depends on it."""
        if order["status"] not in OPEN:
            return
        self.touched.add(order["id"])
        order["status"], order["updated_at"] = status, self.stamp()
        order[_ENDED[status]] = order["updated_at"]
        self._open = [other for other in self._open if other is not order]
        if status == "replaced":
            return
        for sibling in self._siblings(order):
            self.finish(sibling, "canceled")
        legs = [self.orders[leg] for leg in order["_legs"] if order["order_class"] != "oco"]
        for leg in legs:
            if status == "filled":
                leg["_waits"], leg["status"] = False, "new" if leg is legs[0] else "held"
            else:
                self.finish(leg, "canceled")

    def cancel(self, order: Json) -> None:
        """Cancel as a client asks.

        Raises:
            Refusal: the order is final.
        """
        if order["status"] not in OPEN:
            raise Refusal(422, 42210000, f'order is already in "{order["status"]}" state')
        if self.settings["cancel_polls"] and order["status"] != "pending_cancel":
            order["status"], order["_cancel_polls"] = "pending_cancel", self.settings["cancel_polls"]
        elif order["status"] != "pending_cancel":
            self.finish(order, "canceled")

    def open_orders(self, symbol: str | None = None) -> list[Json]:
        """Return open orders, oldest first."""
        return [order for order in self._open if symbol in {None, order["symbol"]}]


def remaining(order: Json) -> Decimal:
    """Return shares not filled yet."""
    return D(order["qty"] or 0) - D(order["filled_qty"])


def usable(number: Any) -> Decimal | None:
    """Return a price or size one can trade on, or None."""
    try:
        value = float(number)
    except (TypeError, ValueError):
        return None
    return D(str(number)) if math.isfinite(value) and value > 0 else None
