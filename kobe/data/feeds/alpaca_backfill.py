"""Minutes that the stream did not tell, from Alpaca's history through alpaca-py."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExternalError, KobeError
from kobe.data.feeds.port import MINUTE, MinuteBar

if TYPE_CHECKING:
    from alpaca.data.historical import StockHistoricalDataClient

_CONNECT_S = 5.0
_READ_S = 10.0
_KEYS_REFUSED = {401, 403}


class AlpacaBackfill:
    """Fills the `Backfill` port; raw (unadjusted) prices, as the stream tells them."""

    def __init__(
        self, key: str, secret: str, *, feed: str, clock: Clock, url: str | None = None, read_timeout_s: float = _READ_S
    ) -> None:
        """Nothing is asked until the first call.

        Args:
            key: the account's key.
            secret: its secret.
            feed: `iex` or `sip`.
            clock: tells when a bar was received.
            url: address without /v2; None means Alpaca's.
            read_timeout_s: longest wait for the server between two bytes.
        """
        self._keys = (key, secret)
        self._feed = feed
        self._clock = clock
        self._url = url
        self._timeout_s = (_CONNECT_S, read_timeout_s)
        self._client: StockHistoricalDataClient | None = None

    def __call__(self, symbol: str, first: datetime, last: datetime, /) -> Sequence[MinuteBar]:
        """Return the bars of a symbol from one minute to another, both included, ascending.

        Raises:
            ConfigError: the keys or the plan are refused.
            ExternalError: no answer in time, or not one that can be read.
        """
        _import_quietly()
        from alpaca.common.exceptions import APIError
        from requests import RequestException

        try:
            raw = self._ask(symbol, first, last)
        except APIError as error:
            raise _refused(error.status_code) from None  # the library's error carries the headers with the keys
        except (RequestException, ValueError, AttributeError, TypeError) as error:
            # The latter three: bodies that are not JSON, or JSON that is not an answer.
            raise ExternalError(
                "the history of minute bars did not answer", seen=type(error).__name__, retryable=True
            ) from None
        rows = raw.get(symbol) or []
        bars = [self._bar(symbol, row) for row in rows]
        wanted = {bar.minute: bar for bar in bars if first <= bar.opened_at <= last}
        return [wanted[minute] for minute in sorted(wanted)]

    def _ask(self, symbol: str, first: datetime, last: datetime) -> dict[str, Any]:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        request = StockBarsRequest(
            symbol_or_symbols=symbol,
            timeframe=TimeFrame(1, TimeFrameUnit.Minute),
            start=first,
            end=last + MINUTE / 2,  # the end is included there: half a minute more asks for nothing else
            feed=DataFeed(self._feed),
            adjustment=Adjustment.RAW,
        )
        answer = self._connected().get_stock_bars(request)
        if not isinstance(answer, dict):
            raise TypeError("not an answer")
        return answer

    def _connected(self) -> "StockHistoricalDataClient":
        if self._client is None:
            from alpaca.data.historical import StockHistoricalDataClient

            client = StockHistoricalDataClient(*self._keys, raw_data=True, url_override=self._url)
            client._retry = 0  # noqa: SLF001 - the feed asks again itself, and reads the stream meanwhile
            adapter = _adapter(self._timeout_s)
            client._session.mount("https://", adapter)  # noqa: SLF001 - the library has no timeouts of its own
            client._session.mount("http://", adapter)  # noqa: SLF001
            self._client = client
        return self._client

    def _bar(self, symbol: str, row: Any) -> MinuteBar:
        try:
            return MinuteBar(
                symbol=symbol,
                opened_at=datetime.fromisoformat(row["t"]),
                open=float(row["o"]),
                high=float(row["h"]),
                low=float(row["l"]),
                close=float(row["c"]),
                volume=float(row["v"]),
                feed=self._feed,
                received_at=self._clock.now(),
                backfilled=True,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            # One row that cannot be read makes the whole answer doubtful: the absence of others proves nothing.
            raise ExternalError(
                "the history of minute bars holds a row that makes no sense", seen=type(error).__name__, retryable=True
            ) from None


def _import_quietly() -> None:
    """Import alpaca-py, which on its way imports a part of websockets that warns of its own age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import alpaca.data.historical  # noqa: F401


def _adapter(timeout_s: tuple[float, float]) -> Any:
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        """Gives every request a connect and a read timeout."""

        def send(self, *request: Any, **options: Any) -> Any:
            return super().send(*request, **{**options, "timeout": timeout_s})

    return Patient()


def _refused(status: int | None) -> KobeError:
    seen = f"HTTP {status}"
    if status in _KEYS_REFUSED:
        return ConfigError("Alpaca refuses the history of minute bars", seen=seen, expected="valid keys and plan")
    return ExternalError("Alpaca gave no history of minute bars", seen=seen, retryable=True)
