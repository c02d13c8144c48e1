"""Alpaca's market data through alpaca-py. The free feed is IEX, a few percent of the tape's volume: it is recorded."""

import warnings
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

from kobe.core.clock import NEW_YORK
from kobe.core.errors import SchemaError
from kobe.data.delivery import Delivery
from kobe.data.providers.kit import ProviderKit, actions_frame, bars_frame, delivery

URL = "https://data.alpaca.markets"
FEEDS = {"iex": "iex", "sip": "consolidated"}


class Alpaca:
    """alpaca-py has no timeout of its own and repeats by itself; both are put right here (STACK)."""

    name = "alpaca"
    adjustments: tuple[str, ...] = ("raw", "split")

    def __init__(self, kit: ProviderKit) -> None:
        """Take the keys and the feed."""
        self._key = kit.secret(self.name, "APCA_API_KEY_ID", "ALPACA_API_KEY")
        self._secret = kit.secret(self.name, "APCA_API_SECRET_KEY", "ALPACA_SECRET_KEY")
        self._http = kit.client(self.name, URL, kit.bucket(self.name, capacity=10, per_s=200 / 60), {})
        self._timeouts, self._clock, self._feed = kit.timeouts, kit.clock, kit.feed

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Fetch bars, splits and dividends of one symbol."""
        told = self._bars(symbol, first, last, adjustment)
        bars = bars_frame(symbol, [_bar(row) for row in told], first, last, source=self.name)
        actions = actions_frame(self._actions(symbol, first, last))
        return delivery(symbol, bars, actions, source=self.name, feed=FEEDS[self._feed], adjustment=adjustment,
                        at=self._clock.now())  # fmt: skip

    @staticmethod
    def _import_quietly() -> None:
        """Import alpaca-py, which on its way imports a part of websockets that warns of its own age."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import alpaca.data.historical  # noqa: F401

    def _bars(self, symbol: str, first: date, last: date, adjustment: str) -> list[dict[str, Any]]:
        self._import_quietly()
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.historical.stock import StockHistoricalDataClient
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame

        asked = StockBarsRequest(
            symbol_or_symbols=symbol, timeframe=TimeFrame.Day, adjustment=Adjustment(adjustment),
            start=datetime.combine(first, time(0), NEW_YORK), end=datetime.combine(last, time(23, 59), NEW_YORK),
            feed=DataFeed(self._feed),
        )  # fmt: skip
        client = self._mended(StockHistoricalDataClient)
        found = self._asked(lambda: client.get_stock_bars(asked))
        return list(found.get(symbol) or []) if isinstance(found, dict) else []

    def _actions(self, symbol: str, first: date, last: date) -> list[tuple[str, date, str, float, str]]:
        from alpaca.data.enums import CorporateActionsType
        from alpaca.data.historical.corporate_actions import CorporateActionsClient
        from alpaca.data.requests import CorporateActionsRequest

        kinds = [
            CorporateActionsType.FORWARD_SPLIT,
            CorporateActionsType.REVERSE_SPLIT,
            CorporateActionsType.CASH_DIVIDEND,
        ]
        asked = CorporateActionsRequest(symbols=[symbol], types=kinds, start=first, end=last)
        client = self._mended(CorporateActionsClient)
        found = self._asked(lambda: client.get_corporate_actions(asked))
        rows = []
        for group, told in (found or {}).items():
            rows += [_action(symbol, group, row) for row in told]
        return rows

    def _mended(self, kind: Callable[..., Any]) -> Any:
        """Make a client with timeouts on its session and no retries of its own."""
        from requests.adapters import HTTPAdapter

        timeouts = self._timeouts

        class Impatient(HTTPAdapter):
            def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
                return super().send(request, **{**options, "timeout": timeouts})

        client = kind(self._key, self._secret, raw_data=True, url_override=self._http.base_url)
        client._retry = 0  # noqa: SLF001 - the library has no other door
        session = client._session  # noqa: SLF001
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, Impatient(max_retries=0))
        return client

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Make one safe read through the library, with our retries and our errors."""
        from alpaca.common.exceptions import APIError
        from requests.exceptions import JSONDecodeError, RequestException

        kept: dict[str, Any] = {}

        def once() -> bytes:
            if self._http.before is not None:
                self._http.before()
            try:
                kept["answer"] = call()
            except APIError as error:
                self._http.judge(error.status_code or 500, _retry_after(error))
                raise SchemaError("the answer is an error", seen=f"alpaca: status {error.status_code}") from None
            except JSONDecodeError:
                raise SchemaError("the answer is not JSON", seen="alpaca", expected="a JSON object") from None
            except RequestException as error:
                raise self._http.ask_again(type(error).__name__) from None
            return b""

        self._http.repeat(once)
        return kept["answer"]


def _retry_after(error: Any) -> str | None:
    reply = getattr(getattr(error, "_http_error", None), "response", None)
    return reply.headers.get("retry-after") if reply is not None else None


def _bar(row: Any) -> dict[str, Any]:
    try:
        stamp = datetime.fromisoformat(str(row["t"])).astimezone(NEW_YORK)
        names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
        return {"date": stamp.date(), **{ours: float(row[theirs]) for ours, theirs in names.items()}}
    except (KeyError, TypeError, ValueError):
        raise SchemaError("a row is not a bar", seen=f"alpaca: {str(row)[:60]!r}") from None


def _action(symbol: str, group: str, row: Any) -> tuple[str, date, str, float, str]:
    try:
        day = date.fromisoformat(str(row["ex_date"]))
        if group == "cash_dividends":
            return symbol, day, "dividend", float(row["rate"]), ""
        return symbol, day, "split", float(row["new_rate"]) / float(row["old_rate"]), ""
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise SchemaError("a row is no corporate action", seen=f"alpaca {group}: {str(row)[:60]!r}") from None
