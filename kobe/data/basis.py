"""What the series rules look at: moves, gaps, runs and events of the day of every bar that is unusual in any way.

Every value of a row knows that row and earlier ones of its symbol only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.panel import BAR_COLUMNS
from kobe.data import actions, kernels
from kobe.data.quality import FEED_SHARE, SPECIAL_DIVIDEND, Scope

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What is known of bars sorted by symbol and date.

    Attributes:
        starts: row at which each symbol begins.
        number: session number of every bar.
        suspects: the bars with something unusual about them, and beside them, in columns with a leading `_`: whether
            the row before is of the same symbol, the last close (prev), close and open over it (move, gap; corrected
            by a split of the day where prices are raw), the day's split ratio and dividend share (split, paid), the
            sessions missing since the row before (skipped), how many equal closes and how many equal flat bars end
            here (equal, still), and the largest volume of the last 10 bars over the mean of the 60 before (drop).
    """

    starts: Ints
    number: npt.NDArray[np.int32]
    suspects: pl.DataFrame

    @classmethod
    def of(cls, bars: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> "Basis":
        """Work it out.

        Args:
            bars: clean, sorted by symbol (an Enum) and date.
            events: corporate actions.
            scope: calendar and adjustment.
        """
        c = columns_of(bars)
        starts = np.flatnonzero(np.append(True, c.code[1:] != c.code[:-1]))
        split, dividend = _of_the_day(bars, c.code, c.day, events)
        paid = _paid(bars, c.day, starts, split, dividend, events, scope)
        number = _session_numbers(c.day, scope)
        raw = scope.adjustment == "raw"
        found = kernels.unusual_rows(c, number, split, paid, raw, SPECIAL_DIVIDEND, FEED_SHARE)
        beside = {
            "_same": ~np.isin(found.row, starts), "_prev": found.prev, "_move": found.move, "_gap": found.gap,
            "_split": split[found.row], "_paid": paid[found.row], "_skipped": found.skipped, "_equal": found.equal,
            "_still": found.still, "_drop": found.drop,
        }  # fmt: skip
        suspects = bars[found.row].with_columns([pl.Series(name, values) for name, values in beside.items()])
        unknown = pl.col("_prev", "_move", "_gap", "_split", "_paid", "_drop").fill_nan(None)
        return cls(starts=starts, number=number, suspects=suspects.with_columns(unknown))


def columns_of(bars: pl.DataFrame) -> kernels.Columns:
    """Return bars as arrays; an empty symbol or date is the smallest number, an empty price NaN."""
    least = np.iinfo(np.int32).min
    code = bars.get_column("symbol").to_physical().cast(pl.Int32).fill_null(least).to_numpy()
    day = bars.get_column("date").to_physical().fill_null(least).to_numpy()
    return kernels.Columns(*(read_only(a) for a in (code, day, *(bars[name].to_numpy() for name in BAR_COLUMNS))))


def read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that cannot be written: polars hands out both kinds, and each would be compiled for by itself."""
    view = values.view()
    view.flags.writeable = False
    return view


def _paid(
    bars: pl.DataFrame, days: npt.NDArray[np.int32], starts: Ints, split: Floats, dividend: Floats,
    events: pl.DataFrame, scope: Scope,
) -> Floats:  # fmt: skip
    """Return each day's dividend over the last close on the tape; total-return prices have no gap to look for."""
    paid = np.full(len(days), np.nan)
    rows = np.setdiff1d(np.flatnonzero(~np.isnan(dividend)), starts)
    if scope.adjustment == "total-return" or len(rows) == 0:
        return paid
    factors = _tape_factors(bars, days, starts, events, scope.adjustment)
    last_raw = bars.get_column("close").to_numpy()[rows - 1] * factors[rows - 1]
    paid[rows] = dividend[rows] * np.where(np.isnan(split[rows]), 1.0, split[rows]) / last_raw
    return paid


def _session_numbers(days: npt.NDArray[np.int32], scope: Scope) -> npt.NDArray[np.int32]:
    first = int(scope.calendar.days[0])
    table = np.zeros(int(scope.calendar.days[-1]) - first + 1, dtype=np.int32)
    table[scope.calendar.days - first] = np.arange(len(scope.calendar.days), dtype=np.int32)
    return table[days - first]


def _of_the_day(
    bars: pl.DataFrame, code: npt.NDArray[np.int32], days: npt.NDArray[np.int32], events: pl.DataFrame
) -> tuple[Floats, Floats]:
    """Return the split ratio and the dividend of each bar's day, NaN without; several on a day are combined."""
    kind = bars.schema["symbol"]
    names = kind.categories if isinstance(kind, pl.Enum) else pl.Series([], dtype=pl.String)
    told = events.filter(pl.col("symbol").is_in(names.implode()) & pl.col("kind").is_in(["split", "dividend"]))
    split, dividend = np.full(len(days), np.nan), np.full(len(days), np.nan)
    if len(told) == 0:
        return split, dividend
    key = (code.astype(np.int64) << 32) + days
    theirs = told.get_column("symbol").cast(kind).to_physical().to_numpy().astype(np.int64) << 32
    wanted = theirs + told.get_column("date").to_physical().to_numpy()
    rows = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    for row, there, what, value in zip(rows, key[rows] == wanted, told["kind"], told["value"], strict=True):
        if there and what == "split":
            split[row] = value if np.isnan(split[row]) else split[row] * value
        elif there:
            dividend[row] = value if np.isnan(dividend[row]) else dividend[row] + value
    return split, dividend


def _tape_factors(
    bars: pl.DataFrame, days: npt.NDArray[np.int32], starts: Ints, events: pl.DataFrame, adjustment: str
) -> Floats:
    """Return what turns each close into the close on the tape that day."""
    if adjustment == "raw":
        return np.ones(len(days))
    given = bars.get_column("raw_factor").to_numpy()
    names = tuple(bars.get_column("symbol").gather(starts).cast(pl.String).to_list())
    factors = actions.split_factors(names, np.append(starts, len(days)).astype(np.int64), days, events)
    return np.where(given == 1.0, factors, given)
