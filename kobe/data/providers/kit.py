"""What every provider is given, and the two checks every delivery passes."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, MissingDataError, SchemaError
from kobe.data.delivery import Delivery
from kobe.infra.http import HttpClient
from kobe.infra.token_bucket import TokenBucket

if TYPE_CHECKING:
    import polars as pl

BAR_COLUMNS = ("date", "symbol", "open", "high", "low", "close", "volume", "raw_factor")
ACTION_COLUMNS = ("symbol", "date", "kind", "value", "detail")


@dataclass(frozen=True, kw_only=True)
class ProviderKit:
    """Ports and settings for providers.

    Attributes:
        clock, sleep, rng: time, waiting and jitter.
        limits: folder of the request limits shared by processes.
        cache: folder a provider's library may use.
        feed: Alpaca's feed, `iex` or `sip`.
        secrets: name of the environment variable -> its value.
        base_urls: provider -> address instead of its own.
        timeouts: seconds to connect and to read.
    """

    clock: Clock
    sleep: Callable[[float], None]
    rng: random.Random
    limits: Path
    cache: Path
    feed: str = "iex"
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    timeouts: tuple[float, float] = (3.0, 10.0)

    def secret(self, provider: str, *names: str) -> str:
        """Return the first secret that is set.

        Raises:
            ConfigError: none is.
        """
        found = next((self.secrets[name] for name in names if self.secrets.get(name)), None)
        if found is None:
            raise ConfigError(
                f"{provider} needs a key", seen="none", expected=f"{' or '.join(names)} in the environment or .env"
            )
        return found

    def client(self, provider: str, own_url: str, bucket: TokenBucket, headers: Mapping[str, str]) -> HttpClient:
        """Return a client for a provider's address."""
        return HttpClient(
            base_url=self.base_urls.get(provider, own_url), clock=self.clock, sleep=self.sleep, rng=self.rng,
            headers=headers, before=bucket.take, timeouts=self.timeouts,
        )  # fmt: skip

    def bucket(self, name: str, *, capacity: int, per_s: float) -> TokenBucket:
        """Return a request limit."""
        return TokenBucket(self.limits, name, capacity=capacity, per_s=per_s, clock=self.clock, sleep=self.sleep)


def bars_frame(symbol: str, rows: list[dict[str, Any]], first: date, last: date, *, source: str) -> "pl.DataFrame":
    """Return told bars as a frame; order and span are part of every provider's contract.

    Args:
        symbol: as kobe writes it.
        rows: date, open, high, low, close, volume and perhaps raw_factor each.
        first: first day that was asked for.
        last: last day that was asked for.
        source: the provider.

    Raises:
        MissingDataError: there is none.
        SchemaError: dates do not ascend, repeat, or lie outside what was asked for.
    """
    import polars as pl

    if not rows:
        raise MissingDataError("no bar in that span", seen=f"{source}: {symbol} {first} to {last}")
    days = [row["date"] for row in rows]
    if any(a >= b for a, b in pairwise(days)):
        raise SchemaError("dates out of order or repeated", seen=f"{source}: {symbol}", expected="ascending dates")
    if days[0] < first or days[-1] > last:
        raise SchemaError("bars outside what was asked for", seen=f"{source}: {symbol} {days[0]} to {days[-1]}",
                          expected=f"{first} to {last}")  # fmt: skip
    numbers = ("open", "high", "low", "close", "volume")
    filled = [{"raw_factor": 1.0, **row, "symbol": symbol} for row in rows]
    schema = {"date": pl.Date, "symbol": pl.String, **dict.fromkeys((*numbers, "raw_factor"), pl.Float64)}
    try:
        return pl.DataFrame(filled, schema=schema, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise SchemaError("a bar holds something that is no number", seen=f"{source}: {symbol}") from error


def actions_frame(rows: list[tuple[str, date, str, float, str]]) -> "pl.DataFrame":
    """Return told events as a frame: symbol, date, kind, value, detail."""
    import polars as pl

    kinds = (pl.String, pl.Date, pl.String, pl.Float64, pl.String)
    frame = pl.DataFrame(rows, schema=dict(zip(ACTION_COLUMNS, kinds, strict=True)), orient="row")
    return frame.sort("date", "kind")


def delivery(
    symbol: str, bars: "pl.DataFrame", actions: "pl.DataFrame", *, source: str, feed: str, adjustment: str, at: datetime
) -> Delivery:
    """Return what a provider hands over."""
    return Delivery(
        symbol=symbol, bars=bars, actions=actions, source=source, feed=feed, adjustment=adjustment, fetched_at=at
    )


def json_of(body: bytes, source: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SchemaError: it is none: HTML with status 200, half an answer.
    """
    import json

    try:
        found = json.loads(body)
    except ValueError as error:
        start = body[:40].decode("ascii", errors="replace")
        raise SchemaError("the answer is not JSON", seen=f"{source}: {start!r}", expected="a JSON object") from error
    if not isinstance(found, dict):
        raise SchemaError("the answer is no JSON object", seen=f"{source}: {type(found).__name__}")
    return found
