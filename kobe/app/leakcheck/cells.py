"""Figures named by symbol and session, and the comparison of what the whole world says with what was known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.panel import Floats

Names = npt.NDArray[np.str_]
ROUNDING = 1e-9  # a split by three or seven is no exact division in binary floats; decisions must not turn on it
POWERS = (0, 1, -1, 2, -2)
ROW = "(row)"
KEY = ["symbol", "session"]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Columns of one length; a pair of symbol and session occurs once.

    Attributes:
        symbol: whose figure, with strategy or side after a slash; empty for the whole market.
        session: int32[n], session in which it is known.
        columns: float64[n] each; NaN where there is none.
        units: float64[n], raw price over adjusted price, where columns may be in adjusted dollars or shares; empty:
            the columns have no such unit, and a later split may change nothing.
    """

    symbol: Names
    session: npt.NDArray[np.int32]
    columns: dict[str, Floats]
    units: Floats = field(default_factory=lambda: np.empty(0))

    def until(self, session: int) -> "Cells":
        """Keep what is known by a session's close."""
        keep = self.session <= session
        columns = {name: values[keep] for name, values in self.columns.items()}
        units = self.units[keep] if len(self.units) else self.units
        return Cells(symbol=self.symbol[keep], session=self.session[keep], columns=columns, units=units)


def of_rows(rows: Sequence[tuple[str, int, tuple[float, ...]]], columns: Sequence[str]) -> Cells:
    """Make cells of rows: name, session, one figure per column."""
    values = np.array([figures for _, _, figures in rows], dtype=np.float64).reshape(len(rows), len(columns))
    return Cells(
        symbol=np.array([name for name, _, _ in rows], dtype=np.str_),
        session=np.array([session for _, session, _ in rows], dtype=np.int32),
        columns={name: values[:, k] for k, name in enumerate(columns)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One figure that differs: `whole` from all of history, `known` from what was known in that session."""

    probe: str
    test: str
    cut: int
    symbol: str
    session: int
    column: str
    whole: float
    known: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many figures were compared, how many differ by the rounding of a later split only, and which differ."""

    cells: int
    rounded: int
    differing: int
    alarms: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Whose comparison it is, and the symbols that a split after the cut counts in other units."""

    probe: str
    test: str
    cut: int
    rescaled: frozenset[str]


def compare(case: Case, whole: Cells, known: Cells, most: int = 5) -> Comparison:
    """Compare figures to the bit; NaN equals NaN.

    Args:
        case: names the comparison.
        whole: from all of history.
        known: from what was known at the cut.
        most: alarms kept per column.
    """
    pairs = _frame(whole, "w").join(_frame(known, "k"), on=KEY, how="full", coalesce=True)
    lonely = pairs.filter(pl.col("w").is_null() | pl.col("k").is_null()).sort("session", "symbol")
    both = pairs.drop_nulls()
    at_w, at_k = both.get_column("w").to_numpy(), both.get_column("k").to_numpy()
    loose = _loose(whole.symbol[at_w], case.rescaled)
    alarms = [_row_alarm(case, symbol, session, w is not None) for symbol, session, w, _ in lonely.head(most).rows()]
    rounded, differing = 0, len(lonely)
    for name, values in whole.columns.items():
        a, b = values[at_w], known.columns[name][at_k]
        differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if not differs.any():
            continue
        near = differs & loose & _near(a, b, _steps(whole, known, at_w, at_k))
        rounded += int(near.sum())
        bad = np.flatnonzero(differs & ~near)
        differing += len(bad)
        order = bad[np.argsort(whole.session[at_w[bad]], kind="stable")][:most]
        for i in order.tolist():
            key = str(whole.symbol[at_w[i]]), int(whole.session[at_w[i]])
            alarms.append(_alarm(case, *key, name, float(a[i]), float(b[i])))
    cells = len(both) * max(len(whole.columns), 1) + len(lonely)
    return Comparison(cells=cells, rounded=rounded, differing=differing, alarms=tuple(alarms))


def _frame(cells: Cells, name: str) -> pl.DataFrame:
    symbol = pl.Series("symbol", cells.symbol, dtype=pl.String)
    return pl.DataFrame({"symbol": symbol, "session": cells.session, name: np.arange(len(cells.session))})


def _alarm(case: Case, symbol: str, session: int, column: str, whole: float, known: float) -> Alarm:
    return Alarm(
        probe=case.probe, test=case.test, cut=case.cut, symbol=symbol, session=session, column=column, whole=whole,
        known=known,
    )  # fmt: skip


def _row_alarm(case: Case, symbol: str, session: int, in_whole: bool) -> Alarm:
    return _alarm(case, symbol, session, ROW, float(in_whole), float(not in_whole))


def _loose(symbols: Names, rescaled: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Say which rows a later split may round: those of its symbols, and those of the whole market."""
    if not rescaled:
        return np.zeros(len(symbols), dtype=np.bool_)
    names, back = np.unique(symbols, return_inverse=True)
    some = np.array([n.partition("/")[0] in {*rescaled, ""} for n in names.tolist()], dtype=np.bool_)
    return some[back]


def _steps(whole: Cells, known: Cells, at_w: npt.NDArray[np.int64], at_k: npt.NDArray[np.int64]) -> Floats:
    """Return how much larger the unit of `whole` is, 1 where the columns have none."""
    if not len(whole.units):
        return np.ones(len(at_w))
    return whole.units[at_w] / known.units[at_k]


def _near(a: Floats, b: Floats, step: Floats) -> npt.NDArray[np.bool_]:
    """Say where two figures are one figure in two units, to rounding."""
    told = np.abs(a[~np.isnan(a)])
    usual = float(np.median(told)) if len(told) else 0.0
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), usual)
    near = np.zeros(len(a), dtype=np.bool_)
    for power in POWERS if np.any(step != 1.0) else (0,):
        with np.errstate(invalid="ignore"):
            near |= np.abs(a * step**power - b) <= ROUNDING * scale
    return near
