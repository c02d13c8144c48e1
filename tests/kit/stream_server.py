"""Alpaca's market-data stream on this machine: speaks the protocol, and misbehaves exactly as its script says.

A script is one list of steps per connection; the last list serves every later connection. A step is a function
of the `Talk` with one client. `Hang()` keeps the connection open until the server closes.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

KEY, SECRET = "PK-TEST-KEY", "very-secret-half"


def bar_message(symbol: str, opened_at: datetime, price: float = 100.0, *, kind: str = "b", volume: int = 10) -> dict:
    """Return a bar as Alpaca writes it; `kind` "u" is a correction."""
    return {
        "T": kind, "S": symbol, "o": price, "h": price + 1, "l": price - 1, "c": price + 0.5, "v": volume,
        "t": rfc3339(opened_at), "n": 3, "vw": price,
    }  # fmt: skip


def trade_message(symbol: str, at: datetime) -> dict:
    """Return a trade with its timestamp."""
    return {"T": "t", "S": symbol, "i": 1, "x": "V", "p": 100.0, "s": 1, "c": ["@"], "z": "B", "t": rfc3339(at, 789)}


def quote_message(symbol: str, at: datetime) -> dict:
    """Return a quote with its timestamp."""
    return {"T": "q", "S": symbol, "bp": 1.0, "bs": 1, "ap": 1.1, "as": 1, "c": ["R"], "z": "B", "t": rfc3339(at, 12)}


def error_message(code: int, text: str = "") -> dict:
    """Return an error; servers may echo anything in its text."""
    return {"T": "error", "code": code, "msg": text or f"error {code} for key {KEY} secret {SECRET}"}


def rfc3339(at: datetime, nanoseconds: int = 0) -> str:
    """Return an instant with nine decimals, as the stream writes ticks."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}{nanoseconds:03d}Z"


class Talk:
    """The server's side of one connection."""

    def __init__(self, connection: Any, server: "StreamServer") -> None:
        self.connection = connection
        self.server = server

    def send(self, *messages: dict) -> None:
        self.connection.send(json.dumps(list(messages)))

    def hear(self) -> dict:
        """Wait for the client's next message and remember it."""
        heard = json.loads(self.connection.recv(timeout=10))
        self.server.heard.append(heard)
        return heard

    def drop(self) -> None:
        """Cut the TCP connection without a closing handshake."""
        self.connection.close_socket()


Step = Callable[[Talk], None]


def welcome(talk: Talk) -> None:
    """Greet, check the keys, confirm the subscription."""
    talk.send({"T": "success", "msg": "connected"})
    heard = talk.hear()
    if (heard.get("key"), heard.get("secret")) != (KEY, SECRET):
        talk.send(error_message(402))
        return
    talk.send({"T": "success", "msg": "authenticated"})
    wanted = talk.hear()
    channels = {c: wanted.get(c, []) for c in ("trades", "quotes", "bars", "updatedBars")}
    talk.send({"T": "subscription", "dailyBars": [], "statuses": [], **channels})


def say(*messages: dict) -> Step:
    """Send messages in one frame."""
    return lambda talk: talk.send(*messages)


def say_raw(text: str | bytes) -> Step:
    """Send any text, such as garbage or half a message."""
    return lambda talk: talk.connection.send(text)


def greet_with_error(code: int) -> Step:
    """Answer the connection with an error instead of a greeting."""
    return lambda talk: talk.send(error_message(code))


def error(code: int) -> Step:
    """Report an error in the middle."""
    return lambda talk: talk.send(error_message(code))


def drop(talk: Talk) -> None:
    """Cut the connection."""
    talk.drop()


def wait_for(event: threading.Event) -> Step:
    """Go on when the test says so."""
    return lambda talk: event.wait(10) and None


def hang(talk: Talk) -> None:
    """Keep the connection open, silently, until the client or the server ends it."""
    with suppress(Exception):
        while True:
            talk.connection.recv()


def ticks(symbol: str, now: Callable[[], datetime], offsets_ms: Iterable[float]) -> Step:
    """Send one trade per frame, each so many milliseconds away from the present."""

    def step(talk: Talk) -> None:
        for offset in offsets_ms:
            talk.send(trade_message(symbol, now() + timedelta(milliseconds=offset)))

    return step


class StreamServer:
    """A websocket server on 127.0.0.1 that plays a script.

    Example:
        with StreamServer([[welcome, say(bar), drop], [welcome, hang]]) as server: ... server.url
    """

    def __init__(self, script: Sequence[Sequence[Step]]) -> None:
        from websockets.sync.server import serve

        self.script = [list(steps) for steps in script]
        self.connections = 0
        self.heard: list[dict] = []
        self._lock = threading.Lock()
        self._server = serve(self._talk, "127.0.0.1", 0, compression=None, close_timeout=0.2, ping_interval=None)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _talk(self, connection: Any) -> None:
        with self._lock:
            steps = self.script[min(self.connections, len(self.script) - 1)]
            self.connections += 1
        with suppress(Exception):  # the client may hang up at any step
            for step in steps:
                step(Talk(connection, self))
