"""A loopback server that speaks Polygon, Stooq, Alpaca data and Yahoo for one made-up market, with faults on demand.

The market is told as each service tells it: Polygon and Alpaca raw or split-adjusted, Yahoo and Stooq adjusted as of
today. `faults` is a list taken from the left, one for each request; when it is empty, requests are answered well.
"""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

import numpy as np

from kobe.core.clock import NEW_YORK, to_ns

FAULTS = (
    "429", "429_after", "500", "503", "hang", "drop", "cut", "html", "empty", "disorder", "double", "null", "lie",
    "401", "404",
)  # fmt: skip


@dataclass
class Listing:
    """One symbol: tape bars (date, open, high, low, close, volume), splits and dividends by ex-date."""

    bars: list[tuple[date, float, float, float, float, float]]
    splits: dict[date, float] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)

    def later(self, day: date) -> float:
        """Product of the splits after a day."""
        factor = 1.0
        for ex_date, ratio in self.splits.items():
            factor *= ratio if ex_date > day else 1.0
        return factor

    def told(self, first: date, last: date, *, adjusted: bool) -> list[tuple[date, float, float, float, float, float]]:
        """Bars of a span, on the tape's scale or on today's."""
        rows = []
        for day, *prices, volume in self.bars:
            if first <= day <= last:
                f = self.later(day) if adjusted else 1.0
                rows.append((day, *(p / f for p in prices), volume * f))
        return rows


@dataclass
class MarketServer:
    """Serves a market; use it as a context manager."""

    market: dict[str, Listing]
    faults: list[str] = field(default_factory=list)
    page: int = 40
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request, well or with the next fault."""
        parts = urlsplit(handler.path)
        asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
        if parts.path in {"/", "/consent", "/v1/test/getcrumb"}:  # Yahoo's way to a cookie
            _send(handler, 200, b"crumb", kind="text/plain")
            return
        self.requests.append(handler.path)
        self.headers.append(dict(handler.headers))
        fault = self.faults.pop(0) if self.faults else ""
        if fault in {"401", "404", "500", "503"}:
            _send(handler, int(fault), b'{"message": "no"}')
        elif fault.startswith("429"):
            _send(handler, 429, b"{}", {"Retry-After": "7"} if fault == "429_after" else {})
        elif fault == "hang":
            self._released.wait(20)
        elif fault == "html":
            _send(handler, 200, b"<!doctype html><html><body>Just a moment...</body></html>", kind="text/html")
        else:
            self._send_body(handler, self._body(parts.path, asked, fault), fault)

    def _send_body(self, handler: BaseHTTPRequestHandler, body: bytes | None, fault: str) -> None:
        if body is None:
            _send(handler, 404, b'{"message": "not found"}')
        elif fault == "drop":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[: len(body) // 2])
            handler.close_connection = True
        else:
            _send(handler, 200, body[: int(len(body) * 0.7)] if fault == "cut" else body)

    def _body(self, path: str, asked: dict[str, str], fault: str) -> bytes | None:
        if path.startswith("/v2/aggs/"):
            return self._polygon_bars(path, asked, fault)
        if path.startswith("/v3/reference/"):
            return self._polygon_reference(path, asked)
        if path == "/q/d/l/":
            return self._stooq(asked, fault)
        if path == "/v2/stocks/bars":
            return self._alpaca_bars(asked, fault)
        if path == "/v1/corporate-actions":
            return self._alpaca_actions(asked)
        if path.startswith("/v8/finance/chart/"):
            return self._yahoo(path, asked, fault)
        return None

    def _rows(self, symbol: str, first: date, last: date, fault: str, *, adjusted: bool) -> list[list]:
        listing = self.market.get(symbol)
        if listing is None or fault == "empty":
            return []
        rows = [list(row) for row in listing.told(first, last, adjusted=adjusted)]
        if fault == "disorder":
            rows[2], rows[3] = rows[3], rows[2]
        if fault == "double":
            rows.insert(3, list(rows[3]))
        if fault == "null":
            rows[4][4] = None
        return rows

    def _polygon_bars(self, path: str, asked: dict[str, str], fault: str) -> bytes:
        *_, symbol, _, _, _, first, last = path.split("/")
        adjusted = (asked.get("adjusted", "true") == "true") ^ (fault == "lie")
        rows = self._rows(symbol, date.fromisoformat(first), date.fromisoformat(last), fault, adjusted=adjusted)
        start = int(asked.get("cursor", 0))
        part = rows[start : start + self.page]
        results = [
            {"t": _midnight_ms(d), "o": o, "h": h, "l": low, "c": c, "v": v, "n": 9} for d, o, h, low, c, v in part
        ]
        page = {"ticker": symbol, "adjusted": adjusted, "status": "OK", "resultsCount": len(part), "results": results}
        if start + self.page < len(rows):
            flag = str(adjusted).lower()
            page["next_url"] = f"{self.url}{path}?cursor={start + self.page}&adjusted={flag}"
        return json.dumps(page).encode()

    def _polygon_reference(self, path: str, asked: dict[str, str]) -> bytes:
        listing = self.market.get(asked["ticker"]) or Listing([])
        if path.endswith("splits"):
            first, last = asked["execution_date.gte"], asked["execution_date.lte"]
            rows = [
                {"execution_date": str(d), "split_from": 1 if r >= 1 else round(1 / r), "split_to": max(r, 1),
                 "ticker": asked["ticker"]}
                for d, r in listing.splits.items() if first <= str(d) <= last
            ]  # fmt: skip
        else:
            first, last = asked["ex_dividend_date.gte"], asked["ex_dividend_date.lte"]
            rows = [
                {"ex_dividend_date": str(d), "cash_amount": x}
                for d, x in listing.dividends.items()
                if first <= str(d) <= last
            ]
        return json.dumps({"status": "OK", "results": rows}).encode()

    def _stooq(self, asked: dict[str, str], fault: str) -> bytes:
        symbol = asked["s"].removesuffix(".us").replace("-", ".").upper()
        first, last = (datetime.strptime(asked[k], "%Y%m%d").date() for k in ("d1", "d2"))  # noqa: DTZ007 - a date
        rows = self._rows(symbol, first, last, fault, adjusted=True)
        if not rows:
            return b"No data"
        lines = [",".join("" if x is None else str(x) for x in row) for row in rows]
        return ("Date,Open,High,Low,Close,Volume\r\n" + "\r\n".join(lines) + "\r\n").encode()

    def _alpaca_bars(self, asked: dict[str, str], fault: str) -> bytes:
        symbol, adjusted = asked["symbols"], (asked.get("adjustment", "raw") == "split") ^ (fault == "lie")
        first, last = (datetime.fromisoformat(asked[k]).astimezone(NEW_YORK).date() for k in ("start", "end"))
        rows = self._rows(symbol, first, last, fault, adjusted=adjusted)
        start = int(asked.get("page_token") or 0)
        part = rows[start : start + self.page]
        bars = [{"t": f"{_midnight(d).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "o": o, "h": h, "l": low, "c": c, "v": v}
                for d, o, h, low, c, v in part]  # fmt: skip
        token = str(start + self.page) if start + self.page < len(rows) else None
        return json.dumps({"bars": {symbol: bars} if bars else {}, "next_page_token": token}).encode()

    def _alpaca_actions(self, asked: dict[str, str]) -> bytes:
        listing = self.market.get(asked["symbols"]) or Listing([])
        inside = lambda d: asked["start"][:10] <= str(d) <= asked["end"][:10]  # noqa: E731
        forward = [{"symbol": asked["symbols"], "new_rate": r, "old_rate": 1, "ex_date": str(d)}
                   for d, r in listing.splits.items() if inside(d) and r > 1]  # fmt: skip
        reverse = [{"symbol": asked["symbols"], "new_rate": 1, "old_rate": round(1 / r), "ex_date": str(d)}
                   for d, r in listing.splits.items() if inside(d) and r < 1]  # fmt: skip
        paid = [
            {"symbol": asked["symbols"], "rate": x, "ex_date": str(d)}
            for d, x in listing.dividends.items()
            if inside(d)
        ]
        told = {"forward_splits": forward, "reverse_splits": reverse, "cash_dividends": paid}
        return json.dumps({"corporate_actions": {k: v for k, v in told.items() if v}, "next_page_token": None}).encode()

    def _yahoo(self, path: str, asked: dict[str, str], fault: str) -> bytes:
        symbol = path.rsplit("/", 1)[-1].replace("-", ".")
        now = str(int(_at_open(date(2020, 7, 1)).timestamp()))
        first, last = (datetime.fromtimestamp(int(asked.get(k, now)), NEW_YORK).date() for k in ("period1", "period2"))
        rows = self._rows(symbol, first, last - timedelta(days=1), fault, adjusted=True)
        meta = {"currency": "USD", "symbol": symbol, "exchangeName": "NYQ", "instrumentType": "EQUITY",
                "exchangeTimezoneName": "America/New_York", "timezone": "EST", "gmtoffset": -18000, "priceHint": 2,
                "dataGranularity": "1d", "range": "", "validRanges": ["1d", "max"], "regularMarketPrice": 1.0,
                "firstTradeDate": 0, "regularMarketTime": 0, "chartPreviousClose": 1.0}  # fmt: skip
        if not rows:
            if symbol not in self.market:
                error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
                return json.dumps({"chart": {"result": None, "error": error}}).encode()
            return json.dumps(
                {"chart": {"result": [{"meta": meta, "indicators": {"quote": [{}]}}], "error": None}}
            ).encode()
        listing = self.market[symbol]
        quote = {name: [row[k] for row in rows] for k, name in enumerate(("open", "high", "low", "close", "volume"), 1)}
        stamps = [int(_at_open(row[0]).timestamp()) for row in rows]
        events = {
            "splits": {str(int(_at_open(d).timestamp())): {"date": int(_at_open(d).timestamp()),
                                                          "numerator": max(r, 1),
                                                          "denominator": 1 if r >= 1 else round(1 / r)}
                       for d, r in listing.splits.items() if first <= d < last},
            "dividends": {str(int(_at_open(d).timestamp())): {"date": int(_at_open(d).timestamp()),
                                                             "amount": x / listing.later(d)}
                          for d, x in listing.dividends.items() if first <= d < last},
        }  # fmt: skip
        result = {"meta": meta, "timestamp": stamps, "events": {k: v for k, v in events.items() if v},
                  "indicators": {"quote": [quote], "adjclose": [{"adjclose": quote["close"]}]}}  # fmt: skip
        return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), NEW_YORK)


def _at_open(day: date) -> datetime:
    return datetime.combine(day, time(9, 30), NEW_YORK)


def _midnight_ms(day: date) -> int:
    return to_ns(_midnight(day)) // 1_000_000


def _send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, more: dict | None = None, kind="application/json"
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in (more or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def small_market(calendar) -> dict[str, Listing]:
    """SPY calm; AAA with a 4:1 split and a dividend before it; BRK.B with a 1:8 reverse split after the span."""
    rng = np.random.default_rng(5)
    days = calendar.between(date(2019, 1, 2), date(2020, 6, 30))
    market = {}
    for symbol in ("SPY", "AAA", "BRK.B"):
        close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), 2)
        rows = [
            (d, c - 0.1, c + 0.5, c - 0.6, c, 1e6 + k)
            for k, (d, c) in enumerate(zip(days, close.tolist(), strict=True))
        ]
        market[symbol] = Listing(rows)
    market["AAA"].splits[days[120]] = 4.0
    market["AAA"].dividends[days[60]] = 0.48
    market["AAA"].bars = [
        (d, *(p * (4.0 if d < days[120] else 1.0) for p in prices), v) for d, *prices, v in market["AAA"].bars
    ]
    market["BRK.B"].splits[date(2020, 3, 2)] = 0.125
    return market
