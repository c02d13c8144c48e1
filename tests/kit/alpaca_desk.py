"""How a test speaks to the made-up Alpaca's admin door, whether the server is here or in another process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Json = dict[str, Any]
Number = str | int | float | Decimal | None
KEY, SECRET = "PKTESTKEY", "very-secret-half"


class Desk:
    """The methods of the admin door; `call` carries them."""

    def call(self, name: str, **body: Any) -> Any:
        """Do what a route under /_kit/ does."""
        raise NotImplementedError

    def set_quote(
        self, symbol: str, bid: Number, ask: Number, *, bid_size: Number = 1000, ask_size: Number = 1000,
        last: Number = None, at: datetime | None = None, age_s: float = 0.0, feed: str | None = None,
        halted: bool = False,
    ) -> None:  # fmt: skip
        """Set a quote; its time is the clock's less `age_s`, unless `at` is given. Resting orders meet it at once."""
        self.call(
            "quote", symbol=symbol, bid=_word(bid), ask=_word(ask), bid_size=_word(bid_size), ask_size=_word(ask_size),
            last=_word(last), at=None if at is None else at.isoformat(), age_s=age_s, feed=feed, halted=halted,
        )  # fmt: skip

    def set_trade(self, symbol: str, price: Number, size: Number = 100) -> None:
        """Set the last trade of a symbol that has a quote."""
        self.call("quote", symbol=symbol, last=_word(price), last_size=_word(size))

    def set_bars(self, symbol: str, day: Json | None, previous_day: Json | None = None) -> None:
        """Set the daily bars of a snapshot, in the wire's words (t, o, h, l, c, v; n and vw have defaults)."""
        bars = [None if bar is None else {"n": 1, "vw": bar["c"], **bar} for bar in (day, previous_day)]
        self.call("quote", symbol=symbol, day=bars[0], previous_day=bars[1])

    def halt(self, symbol: str, *, halted: bool = True) -> None:
        """Halt or resume a symbol; a halted one executes nothing and keeps its quote."""
        self.call("quote", symbol=symbol, halted=halted)

    def set_asset(self, symbol: str, **fields: Any) -> Json:
        """Add or change an asset: status, tradable, shortable, easy_to_borrow, fractionable, exchange."""
        return self.call("asset", symbol=symbol, **fields)

    def set_clock(self, at: datetime | None = None, *, ticking: bool = False, skew_s: float | None = None) -> None:
        """Set the broker's time (still unless ticking), and how many seconds off /v2/clock tells it."""
        self.call("clock", at=None if at is None else at.isoformat(), ticking=ticking, skew_s=skew_s)

    def set_session(self, day: date, hours: tuple[str, str] | None) -> None:
        """Overrule the calendar for one day: ("09:30", "13:00"), or None for closed."""
        self.call("calendar", day=day.isoformat(), hours=hours)

    def set_account(self, **fields: Any) -> Json:
        """Set cash and last_equity; any other field overrules what /v2/account tells."""
        return self.call("account", **{k: _word(v) for k, v in fields.items()})

    def configure(self, **settings: Any) -> Json:
        """Change settings (`alpaca_books.SETTINGS`)."""
        return self.call("configure", **settings)

    def deposit(self, amount: Number) -> Json:
        """Pay cash in."""
        return self.activity("CSD", amount)

    def withdraw(self, amount: Number) -> Json:
        """Pay cash out."""
        return self.activity("CSW", -Decimal(str(amount)))

    def activity(self, kind: str, amount: Number, **more: Any) -> Json:
        """Book money that is no trade: FEE, DIV, INT and so on; the amount is signed."""
        return self.call("activity", kind=kind, amount=_word(amount), **more)

    def split(self, symbol: str, ratio: Number) -> None:
        """Split a symbol today by new shares for one old, announced; quotes move, stops and groups do not."""
        self.call("split", symbol=symbol, ratio=_word(ratio))

    def announce(self, kind: str, symbol: str, ex_date: date | None = None, **terms: Number) -> Json:
        """Announce a split (old_rate, new_rate) or a dividend (cash)."""
        day = None if ex_date is None else ex_date.isoformat()
        return self.call("announce", kind=kind, symbol=symbol, ex_date=day, **{k: _word(v) for k, v in terms.items()})

    def foreign_order(self, symbol: str, qty: Number, side: str, **fields: Any) -> Json:
        """Place an order as if by hand elsewhere; a market DAY order unless told otherwise."""
        told = {k: v if isinstance(v, (dict, bool)) else _word(v) for k, v in fields.items()}
        return self.call("foreign_order", symbol=symbol, qty=_word(qty), side=side, **told)

    def foreign_position(self, symbol: str, qty: Number, price: Number) -> Json:
        """Set a position that no order of this account made; 0 takes it away."""
        return self.call("foreign_position", symbol=symbol, qty=_word(qty), price=_word(price))

    def script(
        self, *parts: Number | tuple[Number, Number], status: str | None = None, symbol: str = "", contains: str = ""
    ) -> None:
        """Say how the next order executes: shares, or (shares, price), one fill for each; no part is no fill."""
        told = [[_word(p) for p in part] if isinstance(part, tuple) else _word(part) for part in parts]
        self.call("script", parts=told, status=status, symbol=symbol, contains=contains)

    def settle(self) -> None:
        """Let every order in flight reach its end without being looked at."""
        self.call("settle")

    def fill(self, order: str, qty: Number, price: Number = None) -> Json:
        """Execute shares of an order (id or client id), even after its cancel."""
        return self.call("fill", order=order, qty=_word(qty), price=_word(price))

    def end_order(self, order: str, status: str) -> Json:
        """End an open order from the broker's side."""
        return self.call("end_order", order=order, status=status)

    def duplicate_fill(self) -> Json:
        """Tell the last fill twice in the activities, under one id."""
        return self.call("duplicate_fill")

    def fault(
        self, method: str, path: str, fault: str, *, times: int = 1, contains: str = "", after: int = 0,
        seconds: float | None = None, done: bool | None = None,
    ) -> None:  # fmt: skip
        """Let the next `times` requests that meet this go wrong (-1: all), after letting `after` of them pass."""
        rule = {"method": method, "path": path, "fault": fault, "times": times, "contains": contains, "after": after,
                "seconds": seconds, "done": done}  # fmt: skip
        self.call("faults", rules=[rule])

    def clear_faults(self) -> None:
        """Let nothing more go wrong; what hangs is let go."""
        self.call("clear_faults")

    def orders(self) -> list[Json]:
        """Return every order as it truly is, oldest first, legs beside their parents."""
        return self.call("orders")

    def positions(self) -> list[Json]:
        """Return every position."""
        return self.call("positions")

    def account(self) -> Json:
        """Return the account."""
        return self.call("account")

    def activities(self) -> list[Json]:
        """Return every activity, oldest first."""
        return self.call("activities")

    def requests(self) -> list[Json]:
        """Return every request seen: n, method, path, body, fault, done_status, status, accepted.

        `done_status` is what the broker did, `status` what went over the wire; None stands for nothing.
        """
        return self.call("requests")

    def reset(self) -> None:
        """Return to the state after the start: books, faults, requests, clock."""
        self.call("reset")


class AlpacaDesk(Desk):
    """The desk of a server in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, name: str, **body: Any) -> Any:
        """Ask over HTTP."""
        content = json.dumps(body, default=str).encode()
        request = Request(f"{self.url}/_kit/{name}", content, {"Content-Type": "application/json"}, method="POST")
        try:
            with urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except HTTPError as error:
            with error:
                raise ValueError(error.read().decode()) from None


@contextmanager
def alpaca_process(state: Path | None = None, port: int = 0, **settings: Any) -> Iterator[AlpacaDesk]:
    """Run a server as a process of its own; it ends with this block, however its clients end."""
    command = [sys.executable, "-m", "kit.alpaca_server", "--port", str(port), "--settings", json.dumps(settings)]
    command += [] if state is None else ["--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        try:
            yield AlpacaDesk(json.loads(process.stdout.readline())["url"])
        finally:
            process.stdin.close()  # it stops when its input ends
            process.wait(20)


def _word(value: Any) -> Any:
    """Write a number as text, so that no digit is lost on the way."""
    return value if value is None or isinstance(value, (str, bool)) else str(value)
