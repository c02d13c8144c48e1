"""A provider of made-up bars that does what a script says: knows symbols or not, is out of reach, lies, rebases."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import polars as pl

from kobe.core.errors import KobeError, MissingDataError
from kobe.data import actions
from kobe.data.delivery import Delivery


@dataclass
class ListProvider:
    """Delivers from a frame.

    Attributes:
        bars: what it knows, in the store's columns.
        name, feed, adjustments: as it introduces itself.
        faults: symbol -> what to raise instead, taken from the left.
        asked: every request it saw.
    """

    bars: pl.DataFrame
    name: str = "list"
    feed: str = "consolidated"
    adjustments: tuple[str, ...] = ("raw", "split")
    faults: dict[str, list[KobeError]] = field(default_factory=dict)
    asked: list[tuple[str, date, date]] = field(default_factory=list)
    events: pl.DataFrame = field(default_factory=actions.none)

    def daily(self, symbol: str, first: date, last: date, *, adjustment: str) -> Delivery:
        """Deliver one symbol."""
        self.asked.append((symbol, first, last))
        if self.faults.get(symbol):
            raise self.faults[symbol].pop(0)
        mine = self.bars.filter((pl.col("symbol") == symbol) & pl.col("date").is_between(first, last))
        if len(mine) == 0:
            raise MissingDataError("no such symbol", seen=symbol)
        told = self.events.filter((pl.col("symbol") == symbol) & pl.col("date").is_between(first, last))
        return Delivery(
            symbol=symbol, bars=mine.sort("date"), actions=told.drop("source"), source=self.name, feed=self.feed,
            adjustment=adjustment, fetched_at=datetime(2021, 1, 4, 22, tzinfo=UTC),
        )  # fmt: skip
