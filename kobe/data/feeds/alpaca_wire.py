"""Alpaca's market-data stream, version 2, as JSON: what is sent, what comes, what its error codes mean."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from kobe.core.clock import as_utc
from kobe.core.errors import ConfigError, KobeError, SchemaError
from kobe.data.feeds.port import MinuteBar

CONNECTION_LIMIT = 406
_REFUSED: dict[int, tuple[str, str]] = {
    402: ("Alpaca refuses the keys of the stream", "a valid key and secret of this account"),
    405: ("Alpaca refuses so many symbols", "at most as many symbols as the data plan allows"),
    408: ("Alpaca's stream is not enabled for this account", "an account with market data v2"),
    409: ("Alpaca's data plan does not include this feed", "feed iex, or a plan with sip"),
    410: ("Alpaca refuses the kind of subscription", "trades, quotes, bars and updatedBars"),
}
"""Codes after which asking again cannot help: what is wrong, what would be right."""
_PASSING: dict[int, str] = {
    400: "it could not read our message",
    401: "it wanted the keys first",
    403: "it had the keys already",
    404: "it waited too long for the keys",
    406: "too many connections are open for this account",
    407: "we read too slowly",
    500: "an internal error at Alpaca",
}
"""Codes after which a new connection may help. Only our own words are shown: a server's text could echo a secret."""


def auth_message(key: str, secret: str) -> str:
    """Return the message that shows the keys."""
    return json.dumps({"action": "auth", "key": key, "secret": secret})


def subscribe_message(symbols: Sequence[str], probes: Sequence[str]) -> str:
    """Return the message that asks for bars and corrections of symbols, trades and quotes of the probes."""
    bars, ticks = list(symbols), list(probes)
    return json.dumps({"action": "subscribe", "bars": bars, "updatedBars": bars, "trades": ticks, "quotes": ticks})


def messages_in(frame: str | bytes) -> list[Mapping[str, Any]]:
    """Return the messages of one frame.

    Raises:
        SchemaError: it is not a JSON array of objects.
    """
    try:
        content = json.loads(frame, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise SchemaError("a message of the stream is not JSON") from error
    if not isinstance(content, list) or not all(isinstance(message, dict) for message in content):
        raise SchemaError("a message of the stream is not an array of objects")
    return content


def bar_in(message: Mapping[str, Any], feed: str, received_at: datetime) -> MinuteBar:
    """Return the bar a message tells of; one of type `u` as a revision.

    Raises:
        SchemaError: fields are missing or make no sense.
    """
    try:
        return MinuteBar(
            symbol=_text(message["S"]),
            opened_at=instant_in(message),
            open=_number(message["o"]),
            high=_number(message["h"]),
            low=_number(message["l"]),
            close=_number(message["c"]),
            volume=_number(message["v"]),
            feed=feed,
            received_at=received_at,
            revision=message.get("T") == "u",
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError("a bar of the stream makes no sense", seen=type(error).__name__) from error


def instant_in(message: Mapping[str, Any]) -> datetime:
    """Return a message's timestamp, cut to microseconds.

    Raises:
        SchemaError: there is none, or it names no instant.
    """
    try:
        return as_utc(datetime.fromisoformat(message["t"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError("a message of the stream has no proper timestamp") from error


def error_code(message: Mapping[str, Any]) -> int:
    """Return the code of an error message; 0 where it is none."""
    code = message.get("code")
    return code if isinstance(code, int) else 0


def refusal(code: int) -> KobeError | None:
    """Return the fault of a code after which asking again cannot help, or None."""
    if code not in _REFUSED:
        return None
    what, expected = _REFUSED[code]
    return ConfigError(what, seen=f"code {code}", expected=expected, next_command="kobe doctor")


def meaning(code: int) -> str:
    """Return what a passing error means, in our words."""
    return f"code {code}: {_PASSING.get(code, 'unknown')}"


def _no_constant(word: str) -> NoReturn:
    msg = f"{word} is not JSON"
    raise ValueError(msg)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)
