"""The plain twin of `kernel.walk_signals` and `carry`: one signal at a time, written from DOMAIN alone, for tests.

It shares no code with `fills` and `carry` on purpose; they must agree to the bit on any bars.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kobe.core.panel import Bars


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known about a trade before its entry session."""

    row: int
    side: int
    stop_distance: float
    stop_level: float
    target_r: float
    atr: float
    max_gap_atr: float = 2.0
    hold_bars: int = 5


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of it; rows count from the symbol's first bar."""

    state: str
    reason: str = ""
    entry_row: int = -1
    entry_price: float = np.nan
    exit_row: int = -1
    exit_price: float = np.nan
    ambiguous: bool = False


def walk_one(bars: Bars, plan: Plan, exits: list[bool], *, last_session: int, stop_first: bool = True) -> Result:
    """Follow one signal bar by bar; `exits[j]` says that the exit rule holds at the close of bar j."""
    entry = plan.row + 1
    if entry >= len(bars):
        return Result(state="open" if bars.session[plan.row] == last_session else "no_bar")
    if bars.session[entry] != bars.session[plan.row] + 1:
        return Result(state="no_bar")
    fill = float(bars.open[entry])
    fixed = not np.isnan(plan.stop_level)
    stop = plan.stop_level if fixed else fill - plan.side * plan.stop_distance
    beyond_stop = fixed and (fill <= stop if plan.side > 0 else fill >= stop)
    if beyond_stop or abs(fill - float(bars.close[plan.row])) > plan.max_gap_atr * plan.atr:
        return Result(state="gap_invalidated")
    target = fill + plan.side * plan.target_r * (plan.side * (fill - stop))
    found = _follow(bars, plan, exits, entry, stop, target, stop_first=stop_first)
    if found.state == "open" and last_session - bars.session[-1] >= 5:
        last = len(bars) - 1
        found = Result(
            state="closed", reason="end_of_data", exit_row=last, exit_price=float(bars.close[last]),
            ambiguous=found.ambiguous,
        )  # fmt: skip
    return Result(
        state=found.state, reason=found.reason, entry_row=entry, entry_price=fill,
        exit_row=found.exit_row, exit_price=found.exit_price, ambiguous=found.ambiguous,
    )  # fmt: skip


def _follow(
    bars: Bars, plan: Plan, exits: list[bool], entry: int, stop: float, target: float, *, stop_first: bool
) -> Result:
    ambiguous = False
    for j in range(entry, len(bars)):
        if j > entry and bars.session[j] > bars.session[j - 1] + 5:
            before = float(bars.close[j - 1])
            return Result(state="closed", reason="end_of_data", exit_row=j - 1, exit_price=before, ambiguous=ambiguous)
        o, h, low, c = (float(x[j]) for x in (bars.open, bars.high, bars.low, bars.close))
        if j > entry and exits[j - 1]:
            return Result(state="closed", reason="signal", exit_row=j, exit_price=o, ambiguous=ambiguous)
        if plan.side > 0:
            gap_stop, gap_target = o <= stop, o >= target
            hit, touch, through = low <= stop, h >= target, h - target >= 0.01 - 1e-9
        else:
            gap_stop, gap_target = o >= stop, o <= target
            hit, touch, through = h >= stop, low <= target, target - low >= 0.01 - 1e-9
        if gap_stop or gap_target:
            reason = "stop" if gap_stop else "target"
            return Result(state="closed", reason=reason, exit_row=j, exit_price=o, ambiguous=ambiguous)
        ambiguous |= hit and touch
        if hit and (stop_first or not through):
            return Result(state="closed", reason="stop", exit_row=j, exit_price=stop, ambiguous=ambiguous)
        if through:
            return Result(state="closed", reason="target", exit_row=j, exit_price=target, ambiguous=ambiguous)
        if bars.session[j] - bars.session[entry] >= plan.hold_bars - 1:
            return Result(state="closed", reason="time", exit_row=j, exit_price=c, ambiguous=ambiguous)
    return Result(state="open", ambiguous=ambiguous)


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What is paid while a position is held.

    Attributes:
        dividend: dollars per share by bar of the symbol, to who held it before the bar's open.
        day_of: calendar day of a session number, counted from any day.
        borrow_rate: what a loan of shares costs a year at a session, as a fraction of their value.
    """

    dividend: Sequence[float]
    day_of: Callable[[int], int]
    borrow_rate: Callable[[int], float]


def hold_one(bars: Bars, side: int, result: Result, holding: Holding, *, last_session: int) -> tuple[float, float]:
    """Return dividends per share and cost of the loan per share of one trade, until its end or the newest session."""
    if result.entry_row < 0:
        return 0.0, 0.0
    closed = result.state == "closed"
    last = result.exit_row if closed else len(bars) - 1
    received = 0.0
    for j in range(result.entry_row + 1, last + 1):
        received += holding.dividend[j]
    if side > 0:
        return received, 0.0
    end = int(bars.session[last]) + (5 if result.reason == "end_of_data" else 0) if closed else last_session
    loan = 0.0
    for today in range(int(bars.session[result.entry_row]) + 1, end + 1):
        before = max(j for j in range(result.entry_row, last + 1) if bars.session[j] < today)
        days = holding.day_of(today) - holding.day_of(today - 1)
        loan += float(bars.close[before]) * (holding.borrow_rate(today) * days / 360)
    return received, loan
