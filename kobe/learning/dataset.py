"""The data set of the meta-model: one row per closed out-of-sample signal, with what was known at its close.

The label asks whether the trade made money after spread, slippage, dividends and loans (docs/decisions/0007).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kobe.core.frames import pl
from kobe.core.ids import short_digest
from kobe.core.panel import Floats, Panel
from kobe.features.table import FEATURES, FeatureTable

if TYPE_CHECKING:
    from kobe.backtest.walk_forward import WalkForward

STRATEGY_COLUMN = "is_turtle_soup"
FEATURE_COLUMNS = (*FEATURES, STRATEGY_COLUMN)
SCHEMA_HASH = short_digest(list(FEATURE_COLUMNS))
LABEL_COLUMNS = ("y", "r_net", "r_gross", "mae_r", "mfe_r", "ambiguous", "taken", "weight")


def feature_matrix(features: FeatureTable, rows: npt.NDArray[np.int64], strategies: Sequence[str]) -> Floats:
    """Return the model's inputs at some rows, float64[len(rows), len(FEATURE_COLUMNS)]; NaN where unknown.

    Known at the close of each row's bar. The one function for training and for the scan.
    """
    own = np.array([s == "turtle_soup" for s in strategies], dtype=np.float64)
    return np.column_stack([features.matrix(rows), own])


def average_uniqueness(first: npt.NDArray[np.int32], last: npt.NDArray[np.int32]) -> Floats:
    """Weight of each label by how little it overlaps the others, in (0, 1] (AFML ch. 4).

    A label spans sessions first..last, both included; its uniqueness is the mean of 1 / (labels alive) over them.
    """
    if len(first) == 0:
        return np.zeros(0)
    base = int(first.min())
    change = np.bincount(first - base, minlength=int(last.max()) - base + 2).astype(np.float64)
    change -= np.bincount(last - base + 1, minlength=len(change))
    alive = np.maximum(np.cumsum(change), 1.0)
    running = np.concatenate(([0.0], np.cumsum(1.0 / alive)))
    unique: Floats = (running[last - base + 1] - running[first - base]) / (last - first + 1)
    return unique


def build(panel: Panel, features: FeatureTable, records: Sequence["WalkForward"]) -> "pl.DataFrame":
    """Return the data set, sorted by signal date, symbol and strategy.

    Only signals of test windows are in it, made with parameters chosen before them; signals the account had no
    room for stay in with `taken` false, because leaving them out would be a selection.
    """
    frames = [_rows(panel, features, record) for record in records]
    frame = pl.concat(frames).sort("signal_date", "symbol", "strategy")
    first = frame.get_column("session").to_numpy() + 1
    last = frame.get_column("exit_session").to_numpy()
    weights = average_uniqueness(first.astype(np.int32), np.maximum(first, last).astype(np.int32))
    return frame.with_columns(pl.Series("weight", weights))


def _rows(panel: Panel, features: FeatureTable, record: "WalkForward") -> "pl.DataFrame":
    outcomes = record.outcomes
    bought = np.zeros(len(outcomes), dtype=np.bool_)
    bought[record.portfolio.offered] = record.portfolio.quantity > 0
    closed = outcomes.closed
    o = outcomes.take(closed)
    days = panel.calendar.days
    values = feature_matrix(features, o.row, [record.strategy] * len(o))
    columns = {
        "signal_date": pl.Series(days[o.session]).cast(pl.Date),
        "entry_date": pl.Series(days[panel.session[o.walked.entry_row]]).cast(pl.Date),
        "exit_date": pl.Series(days[o.exit_session]).cast(pl.Date),
        "session": o.session,
        "exit_session": o.exit_session,
        "symbol": [panel.symbols[k] for k in o.symbol],
        "strategy": [record.strategy] * len(o),
        "side": o.side,
        "split": record.split_number[closed],
        "params_hash": o.params_hash,
        "taken": bought[closed],
        "y": (o.net_r > 0).astype(np.int8),
        "r_net": o.net_r,
        "r_gross": o.gross_r,
        "mae_r": o.mae_r,
        "mfe_r": o.mfe_r,
        "ambiguous": o.walked.ambiguous,
        "weight": np.ones(len(o)),
    }
    return pl.DataFrame(columns | {name: values[:, k] for k, name in enumerate(FEATURE_COLUMNS)})
