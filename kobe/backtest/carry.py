"""What holding a position brings and costs between its fills: cash dividends, and the loan of shares sold short.

A dividend belongs to who holds the share at the open of its ex-date: bought in an earlier session, sold in this one
at the earliest. A loan is charged in every session after the entry's, the exit's included, on the value at the close
before it. Both are dollars per share beside the fills; `kernel_reference` says the same thing slowly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.backtest.costs import CostModel
from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints, Panel


class Carry(NamedTuple):
    """What is paid where: `dividend` float64[rows] per share, `borrow` float64 by session, a share of the value.

    Either is empty where there is none of it.
    """

    dividend: Floats
    borrow: Floats


def carry_of(panel: Panel, side: npt.NDArray[np.int8], costs: CostModel, last_session: int) -> Carry:
    """Return what holding brings and costs in a panel to positions of these sides, up to a session."""
    none = np.empty(0)
    shorts = bool((side < 0).any())
    return Carry(
        dividend=panel.dividend if panel.pays else none,
        borrow=costs.borrow_shares(panel.calendar, last_session) if shorts else none,
    )


def dividends_held(carry: Carry, entry_row: Ints, exit_row: Ints) -> Floats:
    """Dividends of the bars after each entry up to its exit, adjusted dollars per share; float64[n].

    Args:
        carry: of the panel the rows index.
        entry_row: int64[n], bar of the fill; -1 where there was none.
        exit_row: int64[n], bar of the exit, or the last known one of a position that is still held.
    """
    paid = np.zeros(len(entry_row))
    if len(carry.dividend):
        _add_dividends(carry.dividend, entry_row, exit_row, paid)
    return paid


@njit(cache=True, nogil=True)
def _add_dividends(dividend: Floats, entry_row: Ints, exit_row: Ints, paid: Floats) -> None:
    for i in range(len(entry_row)):
        if entry_row[i] >= 0:
            for row in range(entry_row[i] + 1, exit_row[i] + 1):
                paid[i] += dividend[row]


def borrow_held(
    carry: Carry, panel: Panel, side: npt.NDArray[np.int8], entry_row: Ints, exit_row: Ints, end: Ints
) -> Floats:
    """Cost of the loan of each short from the session after its fill, adjusted dollars per share; float64[n].

    Args:
        carry: of the panel.
        panel: the bars; a session without one is charged on the last close.
        side: int8[n]; longs pay nothing.
        entry_row: int64[n], bar of the fill; -1 where there was none.
        exit_row: int64[n], the last bar that is looked at for a value.
        end: int64[n], last session that is charged: the one in which the position ends.
    """
    cost = np.zeros(len(side))
    if len(carry.borrow):
        _add_loans(carry.borrow, panel.session, panel.close, side, entry_row, exit_row, end, cost)
    return cost


@njit(cache=True, nogil=True)
def _add_loans(
    borrow: Floats, session: npt.NDArray[np.int32], close: Floats, side: npt.NDArray[np.int8], entry_row: Ints,
    exit_row: Ints, end: Ints, cost: Floats,
) -> None:  # fmt: skip
    for i in range(len(side)):
        if side[i] > 0 or entry_row[i] < 0:
            continue
        row = entry_row[i]
        for today in range(session[row] + 1, end[i] + 1):
            while row < exit_row[i] and session[row + 1] < today:
                row += 1
            cost[i] += close[row] * borrow[today]
