"""Quarantine: symbols on hold. Their bars stay, nothing of them can be traded while a hold lasts.

A hold begins with the bar that was found odd, so it never reaches into the past that was knowable before it. It
ends by itself when no indicator looks across the odd bar any more, or when a person releases it and says why.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from kobe.core.frames import pl

SCHEMA = {"symbol": str, "code": str, "since": date, "until": date, "detail": str, "released": str}
KEY = ["symbol", "code", "since"]


@dataclass(frozen=True, slots=True, order=True)
class Hold:
    """A symbol must not be traded on its own bars from a session on.

    Attributes:
        symbol: who.
        code: the rule that found it.
        since: session of the odd bar, included.
        until: first session it may be traded again; None: only after a release.
        detail: what was seen.
        released: why a person released it; empty while it stands.
    """

    symbol: str
    code: str
    since: date
    until: date | None
    detail: str
    released: str = ""

    def covers(self, day: date) -> bool:
        """Whether this hold keeps its symbol from being traded on a session's bar."""
        return not self.released and self.since <= day and (self.until is None or day < self.until)


def to_frame(holds: Iterable[Hold]) -> "pl.DataFrame":
    """Return holds as a table sorted by symbol, code and day."""
    rows = [(h.symbol, h.code, h.since, h.until, h.detail, h.released) for h in holds]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort(KEY)


def from_frame(frame: "pl.DataFrame") -> list[Hold]:
    """Return the holds of a table."""
    return [Hold(*row) for row in frame.select(list(SCHEMA)).iter_rows()]


def merge(held: "pl.DataFrame", new: "pl.DataFrame") -> "pl.DataFrame":
    """Add holds; one that is already there stays as it is, so that a release is not undone by a second check."""
    return pl.concat([held, new.join(held, on=KEY, how="anti")]).unique(KEY, keep="first").sort(KEY)


def release(held: "pl.DataFrame", symbol: str, code: str | None, reason: str) -> "tuple[pl.DataFrame, int]":
    """Lift the standing holds of a symbol, or only those of one code.

    Returns:
        The holds, and how many were lifted.
    """
    mine = (pl.col("symbol") == symbol) & (pl.col("released") == "")
    if code is not None:
        mine &= pl.col("code") == code
    lifted = held.select(mine.sum()).item()
    return held.with_columns(released=pl.when(mine).then(pl.lit(reason)).otherwise(pl.col("released"))), int(lifted)


def standing(held: "pl.DataFrame", day: date) -> list[Hold]:
    """Return the holds that keep their symbols from being traded on a day's bars."""
    return [hold for hold in from_frame(held) if hold.covers(day)]


def free_rows(
    symbols: tuple[str, ...], offsets: npt.NDArray[np.int64], days: npt.NDArray[np.int32], held: "pl.DataFrame"
) -> npt.NDArray[np.bool_]:
    """Return, per bar, whether no hold covers it: bool[rows].

    Args:
        symbols: in panel order.
        offsets: int64[n_symbols + 1], row borders.
        days: int32[rows], days since 1970-01-01, ascending within a symbol.
        held: the store's holds.
    """
    free = np.ones(len(days), dtype=np.bool_)
    place = {symbol: k for k, symbol in enumerate(symbols)}
    spans = held.filter(pl.col("released") == "").select(
        "symbol", pl.col("since").to_physical(), pl.col("until").to_physical()
    )
    for symbol, since, until in spans.iter_rows():
        k = place.get(symbol)
        if k is not None:
            start, stop = int(offsets[k]), int(offsets[k + 1])
            first = start + int(np.searchsorted(days[start:stop], since))
            end = stop if until is None else start + int(np.searchsorted(days[start:stop], until))
            free[first:end] = False
    return free
