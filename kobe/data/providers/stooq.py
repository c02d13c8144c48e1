"""Stooq: daily bars as CSV, without a key.

Its prices come adjusted for splits; whether a dividend is in them differs by symbol and is not told, so a series of
it is only as good as the overlap with another source. It tells no events.
"""

import csv
import io
from datetime import date
from typing import Any

from kobe.core.errors import ExternalError, MissingDataError, SchemaError
from kobe.data.delivery import Delivery
from kobe.data.providers.kit import ProviderKit, actions_frame, bars_frame, delivery

URL = "https://stooq.com"
HEADER = ["Date", "Open", "High", "Low", "Close", "Volume"]


class Stooq:
    """A body that is not CSV is an error, whatever its status says: browsers get pages, programs get puzzles."""

    name = "stooq"
    adjustments: tuple[str, ...] = ("split",)

    def __init__(self, kit: ProviderKit) -> None:
        """Take the shared request limit."""
        bucket = kit.bucket(self.name, capacity=3, per_s=1.0)
        self._http = kit.client(self.name, URL, bucket, {"User-Agent": "kobe"})
        self._clock = kit.clock

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Fetch the bars of one symbol."""
        asked = {"s": _theirs(symbol), "d1": f"{first:%Y%m%d}", "d2": f"{last:%Y%m%d}", "i": "d"}
        body = self._http.get("/q/d/l/", asked)
        bars = bars_frame(symbol, _rows(body, symbol), first, last, source=self.name)
        return delivery(symbol, bars, actions_frame([]), source=self.name, feed="consolidated", adjustment=adjustment,
                        at=self._clock.now())  # fmt: skip


def _theirs(symbol: str) -> str:
    return symbol.lower().replace(".", "-") + ".us"


def _rows(body: bytes, symbol: str) -> list[dict[str, Any]]:
    text = body.decode("utf-8", errors="replace")
    if text.strip().lower() in ("no data", ""):
        raise MissingDataError("the provider has no data", seen=f"stooq: {symbol}")
    if "exceeded the daily hits limit" in text.lower():
        raise ExternalError(
            "the provider's daily limit is used up", seen="stooq", expected="try tomorrow", retryable=True
        )
    lines = list(csv.reader(io.StringIO(text)))
    if lines[0] != HEADER:
        raise SchemaError("the answer is not CSV", seen=f"stooq: {text[:40]!r}", expected=",".join(HEADER))
    if not text.endswith("\n"):
        raise SchemaError("the answer is cut in its last line", seen=f"stooq: {text[-30:]!r}")
    return [_row(line) for line in lines[1:] if line]


def _row(line: list[str]) -> dict[str, Any]:
    try:
        day, *numbers = line
        names = ("open", "high", "low", "close", "volume")
        return {"date": date.fromisoformat(day), **dict(zip(names, map(float, numbers), strict=True))}
    except ValueError:
        raise SchemaError("a line is not a bar", seen=f"stooq: {','.join(line)[:60]!r}") from None
