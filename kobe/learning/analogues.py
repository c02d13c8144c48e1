"""The signals of the past that looked most like this one, and how they ended."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from kobe.core.intervals import wilson_interval
from kobe.core.panel import Floats
from kobe.learning.dataset import FEATURE_COLUMNS

NOISE = 1e-9  # a column that differs by less than this share of itself is the same number everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Analogue:
    """A past signal of the same strategy: how far its inputs are, in standard deviations per input, and its end."""

    symbol: str
    signal_date: date
    exit_date: date
    distance: float
    r_net: float
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The nearest past signals and what they say together; NaN without any."""

    nearest: tuple[Analogue, ...]
    searched: int
    won: float
    low: float
    high: float
    mean_r: float


def nearest(frame: pl.DataFrame, strategy: str, row: Floats, known_by: date, *, count: int = 20) -> Likeness:
    """Find the past signals most like one.

    Args:
        frame: the data set of the meta-model.
        strategy: only its own signals are compared.
        row: float64[len(FEATURE_COLUMNS)], NaN where unknown.
        known_by: only trades that ended on or before this session are known.
        count: how many.

    Returns:
        Nearest first; ties by date and symbol. Inputs unknown on either side are left out of the distance, which is
        the root mean square over the rest, each in standard deviations of the rows searched.
    """
    past = frame.filter((pl.col("strategy") == strategy) & (pl.col("exit_date") <= known_by)).sort(
        "signal_date", "symbol"
    )
    nothing = float("nan")
    if not len(past):
        return Likeness(nearest=(), searched=0, won=nothing, low=nothing, high=nothing, mean_r=nothing)
    values = past.select(FEATURE_COLUMNS).to_numpy()
    distance = _distances(values, row)
    order = np.argsort(distance, kind="stable")[:count]
    chosen = past[order]
    r = chosen.get_column("r_net").to_numpy()
    low, high = wilson_interval(int((r > 0).sum()), len(r))
    found = tuple(
        Analogue(symbol=s, signal_date=d, exit_date=e, distance=float(x), r_net=float(n), taken=bool(t))
        for (s, d, e, n, t), x in zip(
            chosen.select("symbol", "signal_date", "exit_date", "r_net", "taken").iter_rows(), distance[order],
            strict=True,
        )
    )  # fmt: skip
    return Likeness(
        nearest=found, searched=len(past), won=float((r > 0).mean()), low=low, high=high, mean_r=float(r.mean())
    )


def _distances(values: Floats, row: Floats) -> Floats:
    """Root mean square of the gaps in standard deviations; infinite for a row that shares no known input."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
    varies = spread > NOISE * np.maximum(np.abs(mean), 1.0)
    usable = varies & ~np.isnan(row)
    shared = known[:, usable]
    gaps = np.where(shared, (values[:, usable] - row[usable]) / spread[usable], 0.0)
    inputs = shared.sum(axis=1)
    found: Floats = np.sqrt((gaps**2).sum(axis=1) / np.maximum(inputs, 1))
    return np.where(inputs > 0, found, np.inf)
