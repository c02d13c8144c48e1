"""Yahoo through yfinance: free, split-adjusted as of today, and quick to answer with nothing.

An empty frame is an error until proved otherwise: yfinance returns one for an unknown symbol, for a refused request
and for a broken page alike.
"""

import logging
import warnings
from datetime import date, timedelta
from typing import Any

from kobe.core.clock import new_york_date
from kobe.core.errors import ExternalError, MissingDataError, SchemaError
from kobe.data.delivery import Delivery
from kobe.data.providers.kit import ProviderKit, actions_frame, bars_frame, delivery

KNOWN_GOOD = "SPY"


class _Heard(logging.Handler):
    """Keeps the last word of the library, which it logs instead of raising."""

    last = "nothing"

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it."""
        word = record.getMessage().partition("\n")[0]
        if "possibly delisted" not in word:  # its guess at every failure
            self.last = word[:140]


class Yahoo:
    """Its prices carry all splits until today; raw ones are had back by the splits it tells."""

    name = "yahoo"
    adjustments: tuple[str, ...] = ("raw", "split")

    def __init__(self, kit: ProviderKit) -> None:
        """Take the request limit and a folder for the library's cache."""
        self._kit, self._clock, self._heard = kit, kit.clock, _Heard()
        self._http = kit.client(
            self.name, "https://query2.finance.yahoo.com", kit.bucket(self.name, capacity=10, per_s=1.0), {}
        )

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Fetch bars, splits and dividends; asks until today, because later splits are in earlier prices."""
        frame = self._history(symbol, first)
        if len(frame) == 0:
            frame = self._second_look(symbol, first)
        splits = [(day, float(x)) for day, x in zip(_days(frame), frame["Stock Splits"], strict=True) if x > 0]
        rows = [row for row in _rows(frame, splits, raw=adjustment == "raw") if row["date"] <= last]
        bars = bars_frame(symbol, rows, first, last, source=self.name)
        told = [(symbol, day, "split", ratio, "") for day, ratio in splits if day <= last]
        told += [
            (symbol, day, "dividend", float(paid) * _later(day, splits), "")
            for day, paid in zip(_days(frame), frame["Dividends"], strict=True)
            if paid > 0 and day <= last
        ]
        return delivery(symbol, bars, actions_frame(told), source=self.name, feed="consolidated", adjustment=adjustment,
                        at=self._clock.now())  # fmt: skip

    def _history(self, symbol: str, first: date) -> Any:
        """Return yfinance's frame, or an empty one; faults of the way there are retried."""
        import yfinance as yf
        from yfinance.data import YfData
        from yfinance.exceptions import YFException

        self._kit.cache.mkdir(parents=True, exist_ok=True)
        yf.set_tz_cache_location(str(self._kit.cache))
        logger = logging.getLogger("yfinance")
        logger.handlers, logger.propagate = [self._heard], False
        kept: dict[str, Any] = {}
        until = new_york_date(self._clock.now()) + timedelta(days=1)

        def once() -> bytes:
            if self._http.before is not None:
                self._http.before()
            try:
                YfData.cache_get.cache_clear()  # what it remembers was told at another time
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the library uses what pandas will drop
                    ticker = yf.Ticker(symbol.replace(".", "-"), session=self._session())
                    kept["frame"] = ticker.history(
                        start=str(first), end=str(until), interval="1d", auto_adjust=False, actions=True,
                        timeout=self._kit.timeouts[1],
                    )  # fmt: skip
            except YFException as error:
                name = type(error).__name__
                if "RateLimit" in name:
                    raise self._http.ask_again(name) from None
                raise MissingDataError("the provider knows no such data", seen=f"yahoo: {symbol} ({name})") from None
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
            ) as error:  # its parser meets what is not JSON
                raise self._http.ask_again(type(error).__name__) from None
            return b""

        self._http.repeat(once)
        return kept["frame"]

    def _session(self) -> Any:
        """Return a session of the library's own kind, sent elsewhere where the settings say so."""
        from curl_cffi import requests

        there = self._kit.base_urls.get(self.name)
        session: Any = requests.Session(impersonate="chrome")
        if there is not None:
            own = session.request

            def elsewhere(method: str, url: str, *arguments: Any, **options: Any) -> Any:
                path = url.split("://", 1)[-1].partition("/")[2]
                return own(method, f"{there}/{path}", *arguments, **options)

            session.request = elsewhere
        return session

    def _second_look(self, symbol: str, first: date) -> Any:
        """Find out what an empty answer means: a fault on the way, nothing there, or nothing works.

        Raises:
            MissingDataError: a symbol that surely has bars was answered, and this one is empty again.
            ExternalError: that one is empty too.
        """
        if symbol == KNOWN_GOOD or len(self._history(KNOWN_GOOD, first)) == 0:
            raise ExternalError(
                "the provider answers with nothing at all",
                seen=f"yahoo: {KNOWN_GOOD} is empty too; heard: {self._heard.last}",
                next_command="run it again later",
                retryable=True,
            )  # fmt: skip
        frame = self._history(symbol, first)
        if len(frame) == 0:
            raise MissingDataError("the provider has no bar of it", seen=f"yahoo: {symbol} since {first}")
        return frame


def _days(frame: Any) -> list[date]:
    return [stamp.date() for stamp in frame.index]


def _later(day: date, splits: list[tuple[date, float]]) -> float:
    factor = 1.0
    for ex_date, ratio in splits:
        factor *= ratio if ex_date > day else 1.0
    return factor


def _rows(frame: Any, splits: list[tuple[date, float]], *, raw: bool) -> list[dict[str, Any]]:
    """Turn the frame into bars; `raw` undoes the later splits, else the way back to the tape is kept beside."""
    rows = []
    names = ("Open", "High", "Low", "Close", "Volume")
    try:
        told = zip(_days(frame), *(frame[name] for name in names), strict=True)
    except KeyError as error:
        raise SchemaError("the answer lacks a column", seen=f"yahoo: {error}") from None
    for day, *numbers in told:
        factor = _later(day, splits)
        prices = [float(x) * (factor if raw else 1.0) for x in numbers[:4]]
        volume = float(numbers[4]) / (factor if raw else 1.0)
        values = dict(zip(("open", "high", "low", "close"), prices, strict=True))
        rows.append({"date": day, **values, "volume": volume, "raw_factor": 1.0 if raw else factor})
    return rows
