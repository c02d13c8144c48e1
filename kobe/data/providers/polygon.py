"""Polygon (renamed Massive): daily bars, splits and dividends over REST. The free plan allows 5 calls a minute."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from kobe.core.clock import NEW_YORK
from kobe.core.errors import SchemaError
from kobe.data.delivery import Delivery
from kobe.data.providers.kit import ProviderKit, actions_frame, bars_frame, delivery, json_of

URL = "https://api.polygon.io"
GOOD = ("OK", "DELAYED")
PAGES = 100


class Polygon:
    """`adjusted=true` adjusts for splits only, which is what kobe calls `split`."""

    name = "polygon"
    adjustments: tuple[str, ...] = ("raw", "split")

    def __init__(self, kit: ProviderKit) -> None:
        """Take the key and the shared request limit."""
        key = kit.secret(self.name, "POLYGON_API_KEY", "MASSIVE_API_KEY")
        bucket = kit.bucket(self.name, capacity=5, per_s=5 / 60)
        self._http = kit.client(self.name, URL, bucket, {"Authorization": f"Bearer {key}"})
        self._clock = kit.clock

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Fetch bars, splits and dividends of one symbol."""
        path = f"/v2/aggs/ticker/{symbol}/range/1/day/{first}/{last}"
        wanted = adjustment == "split"
        asked = {"adjusted": str(wanted).lower(), "sort": "asc", "limit": 50_000}
        rows = []
        for page in self._pages(path, asked):
            if bool(page.get("adjusted", wanted)) != wanted:
                raise SchemaError(
                    "the answer is adjusted otherwise than asked", seen=page.get("adjusted"), expected=wanted
                )
            results = page.get("results") or []
            if page.get("resultsCount", len(results)) != len(results):
                raise SchemaError("the answer is cut", seen=len(results), expected=page["resultsCount"])
            rows += [_bar(row) for row in results]
        bars = bars_frame(symbol, rows, first, last, source=self.name)
        actions = actions_frame([*self._splits(symbol, first, last), *self._dividends(symbol, first, last)])
        return delivery(symbol, bars, actions, source=self.name, feed="consolidated", adjustment=adjustment,
                        at=self._clock.now())  # fmt: skip

    def _splits(self, symbol: str, first: date, last: date) -> list[tuple[str, date, str, float, str]]:
        rows = self._reference("/v3/reference/splits", symbol, "execution_date", first, last)
        return [
            (symbol, _day(r, "execution_date"), "split", _number(r, "split_to") / _number(r, "split_from"), "")
            for r in rows
        ]

    def _dividends(self, symbol: str, first: date, last: date) -> list[tuple[str, date, str, float, str]]:
        rows = self._reference("/v3/reference/dividends", symbol, "ex_dividend_date", first, last)
        return [(symbol, _day(r, "ex_dividend_date"), "dividend", _number(r, "cash_amount"), "") for r in rows]

    def _reference(self, path: str, symbol: str, day: str, first: date, last: date) -> list[dict[str, Any]]:
        asked = {"ticker": symbol, f"{day}.gte": str(first), f"{day}.lte": str(last), "order": "asc", "limit": 1000}
        return [row for page in self._pages(path, asked) for row in page.get("results") or []]

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Follow `next_url`, on the same host only, which the client checks."""
        place, asked = path, dict(params)
        for _ in range(PAGES):
            page = json_of(self._http.get(place, asked), self.name)
            if page.get("status") not in GOOD:
                raise SchemaError("the answer has another status", seen=page.get("status"), expected=" or ".join(GOOD))
            yield page
            if not page.get("next_url"):
                return
            place, asked = str(page["next_url"]), {}
        raise SchemaError("the answer never ends", seen=f"{PAGES} pages")


def _bar(row: Mapping[str, Any]) -> dict[str, Any]:
    """Polygon stamps a daily bar with midnight in New York, in UTC milliseconds."""
    day = datetime.fromtimestamp(_number(row, "t") / 1000, UTC).astimezone(NEW_YORK).date()
    names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    return {"date": day, **{ours: _number(row, theirs) for ours, theirs in names.items()}}


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SchemaError("a field holds no number", seen=f"polygon {name}: {value!r}"[:80])
    return float(value)


def _day(row: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(str(row.get(name)))
    except ValueError:
        raise SchemaError("a field holds no date", seen=f"polygon {name}: {row.get(name)!r}"[:80]) from None
