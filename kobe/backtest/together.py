"""Several signal tables of one panel followed at once: a trade that many parameter combinations share is walked once.

What becomes of a signal depends on its own columns and on the exit rule of its table, never on the other signals
(`kernel`). Combinations that differ in their thresholds alone therefore share most of their trades.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kobe.backtest import engine
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.core.compiled import njit
from kobe.core.panel import Ints, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable

COLUMNS = ("side", "stop_distance", "stop_level", "target_r", "atr", "score")
Bits = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One table's part of what was followed together.

    Attributes:
        outcomes: of all signals followed with it; the digest of parameters in it is not this table's.
        place: int64[n], where each of the table's signals stands in `outcomes`, in the table's order.
        params_hash: digest of the table's parameters.
    """

    outcomes: Outcomes
    place: Ints
    params_hash: str

    def take(self, keep: npt.NDArray[np.bool_]) -> Outcomes:
        """Return the table's own outcomes where `keep` (bool[n]) says so, with its digest."""
        mine = self.outcomes.take(self.place[keep])
        return replace(mine, params_hash=np.full(len(mine), self.params_hash))


def follow(
    panel: Panel, features: FeatureTable, tables: Sequence[SignalTable], assumptions: Assumptions
) -> list[Followed]:
    """Evaluate tables of one panel, each shared trade once; the digits are those of `engine.evaluate`, table by table.

    Args:
        panel: bars the tables' rows index.
        features: the panel's feature table.
        tables: in any number and order; only those of one exit rule with equal columns share anything.
        assumptions: costs, stop and order inside a bar.
    """
    found: dict[int, Followed] = {}
    for k, table in enumerate(tables):
        if np.any(np.diff(table.row) <= 0):  # a long and a short of one bar have no place of their own
            alone = engine.evaluate(panel, features, table, assumptions)
            found[k] = Followed(outcomes=alone, place=np.arange(len(table)), params_hash=table.params_hash)
    waiting = [k for k in range(len(tables)) if k not in found]
    while waiting:
        members, union, places = _merge(panel, tables, waiting)
        outcomes = engine.evaluate(panel, features, union, assumptions)
        for k, place in zip(members, places, strict=True):
            found[k] = Followed(outcomes=outcomes, place=place, params_hash=tables[k].params_hash)
        waiting = [k for k in waiting if k not in found]
    return [found[k] for k in range(len(tables))]


def _merge(
    panel: Panel, tables: Sequence[SignalTable], waiting: list[int]
) -> tuple[list[int], SignalTable, list[Ints]]:
    """Join the first waiting table with those that agree with it; return who joined, the union and their places."""
    first = tables[waiting[0]]
    alike = [k for k in waiting if _one_rule(tables[k], first)]
    marked = np.zeros(len(panel), dtype=np.bool_)
    for k in alike:
        marked[tables[k].row] = True
    rows = np.flatnonzero(marked)
    place_of_row = np.empty(len(panel), dtype=np.int64)
    place_of_row[rows] = np.arange(len(rows))
    bits, known = np.zeros((len(rows), len(COLUMNS)), dtype=np.int64), np.zeros(len(rows), dtype=np.bool_)
    members, places = [], []
    for k in alike:
        place = place_of_row[tables[k].row]
        if _join(place, _bits(tables[k]), bits, known):
            members.append(k)
            places.append(place)
    if not known.all():  # rows of tables that did not join
        kept = np.cumsum(known) - 1
        rows, bits, places = rows[known], bits[known], [kept[place] for place in places]
    return members, _table(first, rows, bits), places


@njit(cache=True, nogil=True)
def _join(place: Ints, mine: Bits, bits: Bits, known: npt.NDArray[np.bool_]) -> bool:
    """Enter a table's columns at their places, unless another table's say something else there."""
    for i in range(len(place)):
        for c in range(mine.shape[1]):
            if known[place[i]] and bits[place[i], c] != mine[i, c]:
                return False
    for i in range(len(place)):
        known[place[i]] = True
        for c in range(mine.shape[1]):
            bits[place[i], c] = mine[i, c]
    return True


def _one_rule(a: SignalTable, b: SignalTable) -> bool:
    """Whether two tables end their trades by the same rule."""
    same = a.exit_mask is b.exit_mask or np.array_equal(a.exit_mask, b.exit_mask)
    return a.strategy == b.strategy and (a.hold_bars, a.max_gap_atr) == (b.hold_bars, b.max_gap_atr) and same


def _bits(table: SignalTable) -> Bits:
    """The columns as bit patterns, int64[n, columns]: equal means equal to the last digit, NaN included."""
    found = np.empty((len(table), len(COLUMNS)))
    for c, name in enumerate(COLUMNS):
        found[:, c] = getattr(table, name)
    return found.view(np.int64)


def _table(like: SignalTable, rows: Ints, bits: Bits) -> SignalTable:
    values = np.ascontiguousarray(bits.T).view(np.float64)
    columns = dict(zip(COLUMNS, values, strict=True))
    return replace(like, row=rows, **columns | {"side": columns["side"].astype(np.int8)})
