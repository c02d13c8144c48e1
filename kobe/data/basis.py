"""What the series rules look at, worked out for every bar at once: moves, gaps, runs, events of the day.

Every value of a row knows that row and earlier ones of its symbol only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.data import actions
from kobe.data.quality import FEED_SHARE, SPECIAL_DIVIDEND, Scope

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHORT_BARS, LONG_BARS = 10, 60
UNUSUAL_MOVE = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Arrays over all bars, sorted by symbol and date.

    Attributes:
        starts: row at which each symbol begins.
        number: session number.
        same: whether the row before is of the same symbol.
        prev, move, gap: last close; close and open over it, corrected by a split of the day where prices are raw.
        split: ratio of the day's split, NaN without one.
        paid: the day's dividend over the last raw close, NaN without one.
        skipped: sessions missing since the row before.
        equal, still: how many equal closes, and how many equal flat bars, end here.
        drop: largest volume of the last 10 bars over the mean of the 60 before, NaN while there are not enough.
    """

    starts: Ints
    number: npt.NDArray[np.int32]
    same: npt.NDArray[np.bool_]
    prev: Floats
    move: Floats
    gap: Floats
    split: Floats
    paid: Floats
    skipped: npt.NDArray[np.int32]
    equal: npt.NDArray[np.int32]
    still: npt.NDArray[np.int32]
    drop: Floats

    @classmethod
    def of(cls, bars: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> "Basis":
        """Work it out.

        Args:
            bars: clean, sorted by symbol (an Enum) and date.
            events: corporate actions.
            scope: calendar and adjustment.
        """
        days = bars.get_column("date").to_physical().to_numpy()
        code = bars.get_column("symbol").to_physical().to_numpy()
        same = np.append(False, code[1:] == code[:-1])
        drop = _volume_drop(bars.get_column("volume").to_numpy(), same)  # first: it needs the most room while it works
        close, opened = bars.get_column("close").to_numpy(), bars.get_column("open").to_numpy()
        flat = bars.get_column("high").to_numpy() == bars.get_column("low").to_numpy()
        prev = _before(close, same)
        split, dividend = _of_the_day(bars, code, days, events)
        fix = np.where(np.isnan(split), 1.0, split) if scope.adjustment == "raw" else 1.0
        number = _session_numbers(days, scope)
        goes_on = same & (close == prev)
        return cls(
            starts=np.flatnonzero(~same), number=number, same=same, prev=prev, move=close * fix / prev,
            gap=opened * fix / prev, split=split, paid=_paid(bars, days, same, split, dividend, events, scope),
            skipped=np.where(same, number - np.roll(number, 1) - 1, 0).astype(np.int32), equal=_run(goes_on),
            still=np.where(flat, _run(goes_on & flat & np.roll(flat, 1)), np.int32(0)), drop=drop,
        )  # fmt: skip

    def suspects(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the bars with something unusual about them, with all of this beside them in `_` columns."""
        usual = (np.abs(self.move - 1) <= UNUSUAL_MOVE) & (self.skipped == 0) & ~(self.drop < FEED_SHARE)
        usual &= np.isnan(self.split) & ~(self.paid > SPECIAL_DIVIDEND) & (self.equal < 5)
        high, low = bars.get_column("high").to_numpy(), bars.get_column("low").to_numpy()
        usual &= (high > low) & (high < 1.4 * low) & (bars.get_column("volume").to_numpy() > 0)
        rows = np.flatnonzero(~usual)
        before = np.maximum(rows - 1, 0)
        dropped = self.same[rows] & (self.drop[before] < FEED_SHARE)
        columns = {
            "_same": self.same[rows], "_prev": self.prev[rows], "_move": self.move[rows], "_gap": self.gap[rows],
            "_split": self.split[rows], "_paid": self.paid[rows], "_skipped": self.skipped[rows],
            "_equal": self.equal[rows], "_still": self.still[rows], "_drop": np.where(dropped, np.nan, self.drop[rows]),
        }  # fmt: skip
        found = bars[rows].with_columns([pl.Series(name, values) for name, values in columns.items()])
        return found.with_columns(pl.col("_prev", "_move", "_gap", "_split", "_paid", "_drop").fill_nan(None))


def _before(values: Floats, same: npt.NDArray[np.bool_]) -> Floats:
    earlier = np.roll(values, 1)
    earlier[~same] = np.nan
    return earlier


def _run(goes_on: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Return how many rows in a row, this one included, a condition has held; 1 where it does not."""
    place = np.arange(len(goes_on), dtype=np.int32)
    return place - np.maximum.accumulate(np.where(goes_on, np.int32(0), place)) + np.int32(1)


def _paid(
    bars: pl.DataFrame, days: npt.NDArray[np.int32], same: npt.NDArray[np.bool_], split: Floats, dividend: Floats,
    events: pl.DataFrame, scope: Scope,
) -> Floats:  # fmt: skip
    """Return each day's dividend over the last close on the tape; total-return prices have no gap to look for."""
    if scope.adjustment == "total-return" or np.isnan(dividend).all():
        return np.broadcast_to(np.nan, len(days))
    raw = bars.get_column("close").to_numpy() * _tape_factors(bars, days, same, events, scope.adjustment)
    return dividend * np.where(np.isnan(split), 1.0, split) / _before(raw, same)


def _session_numbers(days: npt.NDArray[np.int32], scope: Scope) -> npt.NDArray[np.int32]:
    first = int(scope.calendar.days[0])
    table = np.zeros(int(scope.calendar.days[-1]) - first + 1, dtype=np.int32)
    table[scope.calendar.days - first] = np.arange(len(scope.calendar.days), dtype=np.int32)
    return table[days - first]


def _volume_drop(volume: Floats, same: npt.NDArray[np.bool_]) -> Floats:
    """Return the ratio; windows that would reach into another symbol are NaN."""
    drop = np.full(len(volume), np.nan)
    reach = SHORT_BARS + LONG_BARS
    if len(volume) <= reach:
        return drop
    pairs = np.maximum(volume[1:], volume[:-1])  # windows of 2, 4, 8 and then two overlapping of 8 make one of 10
    eights = np.maximum(np.maximum(pairs[:-6], pairs[2:-4]), np.maximum(pairs[4:-2], pairs[6:]))
    largest = np.maximum(eights[:-2], eights[2:])
    sums = np.concatenate(([0.0], np.cumsum(volume)))
    mean = (sums[LONG_BARS:-SHORT_BARS] - sums[:-reach]) / LONG_BARS
    age = _run(same) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = largest[LONG_BARS:] / mean
    drop[reach - 1 :] = np.where((age[reach - 1 :] >= reach) & (mean >= 1.0), ratio, np.nan)
    return drop


def _of_the_day(
    bars: pl.DataFrame, code: npt.NDArray[np.uint32], days: npt.NDArray[np.int32], events: pl.DataFrame
) -> tuple[Floats, Floats]:
    """Return the split ratio and the dividend of each bar's day, NaN without; several on a day are combined."""
    kind = bars.schema["symbol"]
    names = kind.categories if isinstance(kind, pl.Enum) else pl.Series([], dtype=pl.String)
    told = events.filter(pl.col("symbol").is_in(names.implode()) & pl.col("kind").is_in(["split", "dividend"]))
    if len(told) == 0:
        return np.broadcast_to(np.nan, len(days)), np.broadcast_to(np.nan, len(days))
    split, dividend = np.full(len(days), np.nan), np.full(len(days), np.nan)
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
    bars: pl.DataFrame, days: npt.NDArray[np.int32], same: npt.NDArray[np.bool_], events: pl.DataFrame, adjustment: str
) -> Floats:
    """Return what turns each close into the close on the tape that day."""
    if adjustment == "raw":
        return np.ones(len(days))
    given = bars.get_column("raw_factor").to_numpy()
    starts = np.flatnonzero(~same)
    names = tuple(bars.get_column("symbol").gather(starts).cast(pl.String).to_list())
    factors = actions.split_factors(names, np.append(starts, len(days)).astype(np.int64), days, events)
    return np.where(given == 1.0, factors, given)
