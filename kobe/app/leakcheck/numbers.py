"""What the stages from bars to trades said up to a session, as cells."""

import numpy as np
import polars as pl

from kobe.app.leakcheck.cells import Cells
from kobe.app.leakcheck.lab import joined, symbols_at, told
from kobe.app.leakcheck.stages import Stages, rows_between
from kobe.core.panel import PRICE_COLUMNS, Floats
from kobe.data import universe
from kobe.features.table import INDICATORS
from kobe.learning.dataset import FEATURE_COLUMNS

PERIODS = (2, 14, 20, 200)
INPUT_SESSIONS = 3  # model inputs are asked for at the newest rows, as the scan does
TABLE_COLUMNS = ("stop_distance", "stop_level", "atr", "target_r", "score")
IN_DOLLARS = ("stop_distance", "stop_level", "atr")


def adjusted(stages: Stages, session: int) -> Cells:
    """Return tape prices, dollars traded and the move from the bar before: what adjustment may never change."""
    panel = stages.whole_panel
    rows = rows_between(panel, 0, session)
    previous = np.maximum(rows - 1, panel.offsets[panel.symbol_of_row[rows]])
    columns = {f"tape_{name}": (getattr(panel, name) * panel.raw_factor)[rows] for name in PRICE_COLUMNS}
    columns |= {
        "tape_dividend": (panel.dividend * panel.raw_factor)[rows],
        "tape_volume": (panel.volume / panel.raw_factor)[rows],
        "dollars": (panel.close * panel.volume)[rows],
        "move": panel.close[rows] / panel.close[previous],
        "overnight": panel.open[rows] / panel.close[previous],
    }
    return Cells(symbol=symbols_at(panel, rows), session=panel.session[rows], columns=columns)


def held(stages: Stages, _session: int) -> Cells:
    """Return every hold by its first session, with the day it ends; infinite while it stands."""
    days = stages.world.calendar.days
    found = stages.held.with_columns(pl.col("since", "until").to_physical())
    names = pl.concat_str("symbol", "code", separator="/")
    return Cells(
        symbol=found.select(names).to_series().to_numpy(),
        session=np.searchsorted(days, found.get_column("since").to_numpy()).astype(np.int32),
        columns={"until": found.get_column("until").cast(pl.Float64).fill_null(np.inf).to_numpy()},
    )


def members(stages: Stages, session: int) -> Cells:
    """Return who belonged to the universe, and whose bar could carry a signal."""
    panel = stages.panel
    rows = rows_between(panel, 0, session)
    columns = {
        "member": universe.member_rows(panel, stages.members)[rows].astype(np.float64),
        "tradable": panel.tradable[rows].astype(np.float64),
    }
    return Cells(symbol=symbols_at(panel, rows), session=panel.session[rows], columns=columns)


def indicators(stages: Stages, session: int) -> Cells:
    """Return every indicator at every bar, in the unit of account of its world."""
    panel = stages.panel
    rows = rows_between(panel, 0, session)
    columns = {f"{name} {n}": stages.features.column(name, n)[rows] for name in INDICATORS for n in PERIODS}
    return Cells(
        symbol=symbols_at(panel, rows), session=panel.session[rows], columns=columns, units=panel.raw_factor[rows]
    )


def inputs(stages: Stages, session: int) -> Cells:
    """Return the model's inputs at the newest bars."""
    panel = stages.panel
    rows = rows_between(panel, session - INPUT_SESSIONS + 1, session)
    values = stages.pipeline.inputs(stages.features, rows, ["turtle_soup"] * len(rows))
    return Cells(
        symbol=symbols_at(panel, rows),
        session=panel.session[rows],
        columns={name: values[:, k] for k, name in enumerate(FEATURE_COLUMNS)},
    )


def signals(stages: Stages, session: int) -> Cells:
    """Return every row of the panel, NaN where a strategy says nothing; stops in tape dollars of the day."""
    panel = stages.panel
    rows = rows_between(panel, 0, session)
    columns: dict[str, Floats] = {}
    for name in stages.pipeline.strategies:
        table = stages.signals(name, shorts=True)
        columns[f"{name} exit"] = table.exit_mask[rows].astype(np.float64)
        for sign, word in ((1, "long"), (-1, "short")):
            picked = table.side == sign
            at = table.row[picked]
            for column in TABLE_COLUMNS:
                dense = np.full(len(panel), np.nan)
                unit = panel.raw_factor[at] if column in IN_DOLLARS else 1.0
                dense[at] = getattr(table, column)[picked] * unit
                columns[f"{name} {word} {column}"] = dense[rows]
    return Cells(symbol=symbols_at(panel, rows), session=panel.session[rows], columns=columns)


def outcomes(stages: Stages, session: int) -> Cells:
    """Return the ended trades of every strategy with the configured parameters, shorts among them."""
    parts = []
    for name in stages.pipeline.strategies:
        found = stages.outcomes(name)
        parts.append(told(stages.panel, found, [name] * len(found), session))
    return joined(parts)
