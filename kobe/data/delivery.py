"""What a provider hands over for one symbol, and the port every provider of daily bars fills."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl

ACTION_KINDS = ("split", "dividend", "rename", "delisting", "relisted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Bars and corporate actions of one symbol, as one provider told them at one instant.

    Attributes:
        symbol: ticker as kobe writes it (upper case, share classes with a dot: BRK.B).
        bars: columns date (Date), symbol, open, high, low, close, volume (Float64), raw_factor (Float64), ascending
            by date, nothing repaired: the quality rules judge them later. `raw_factor` turns a delivered price into
            the price on the tape that day; it is 1 everywhere for `raw` bars.
        actions: columns symbol, date (Date, the ex-date), kind (one of ACTION_KINDS), value (Float64), detail
            (String). A split's value is new shares per old share (2.0 for 2:1, 0.125 for a 1:8 reverse split); a
            dividend's is dollars per share as paid on the tape that day. Empty where there were none.
        source: the provider's name in `PROVIDERS`.
        feed: which tape the volume counts: `consolidated` or `iex`.
        adjustment: what the prices are: `raw` or `split`.
        fetched_at: UTC instant of the last reply this was made of.
    """

    symbol: str
    bars: "pl.DataFrame"
    actions: "pl.DataFrame"
    source: str
    feed: str
    adjustment: str
    fetched_at: datetime


class Provider(Protocol):
    """A source of daily bars.

    Attributes:
        name: key in `PROVIDERS`.
        adjustments: what it can deliver, of `raw` and `split`.
    """

    name: str
    adjustments: tuple[str, ...]

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Fetch the bars of one symbol, both dates included, with the actions of that span.

        Raises:
            MissingDataError: the provider answered, and knows no such symbol or has no bar in that span.
            SchemaError: the reply is not what the provider's contract says (HTML, half a CSV, missing columns,
                dates out of order or out of span).
            ConfigError: a key is missing or refused.
            ExternalError: out of reach after the allowed tries; `retryable` says whether later may help.
        """
        ...
