"""Where an order would have filled inside a daily bar: the one set of rules, compiled, for backtest and live.

Order of events inside a bar (DOMAIN 2.1): pending exit at the open; gap through the stop at the open (worse than
the stop); gap through the target at the open (a limit gets the better price); stop before target when the bar
reaches both (pessimistic: daily bars cannot tell the order); a target needs a trade one tick through it; time exit
at the close. `side` is +1 for long and -1 for short throughout, and prices are dollars.
"""

import numpy as np

from kobe.core.compiled import njit

# Why a signal has no trade, or the trade no end yet.
CLOSED, OPEN, NO_BAR, GAP_INVALIDATED = 0, 1, 2, 3
# Why a trade was closed; STAY means it was not.
STAY, STOP, TARGET, SIGNAL_EXIT, TIME_EXIT, END_OF_DATA = 0, 1, 2, 3, 4, 5
REASONS = ("", "stop", "target", "signal", "time", "end_of_data")
STATES = ("closed", "open", "no_bar", "gap_invalidated")

TICK_USD = 0.01
PRICE_NOISE = 1e-9  # far below a tick, far above the rounding of adjusted prices


@njit(cache=True, nogil=True)
def entry_is_valid(
    side: int, open_: float, reference: float, stop_level: float, atr: float, max_gap_atr: float
) -> bool:
    """Say whether an entry at the open still makes sense (D10): not beyond a fixed stop, not too far from the close.

    `stop_level` is NaN for stops anchored to the fill.
    """
    if side * (open_ - stop_level) <= 0.0:
        return False
    return abs(open_ - reference) <= max_gap_atr * atr


@njit(cache=True, nogil=True)
def initial_stop(side: int, fill: float, stop_distance: float, stop_level: float) -> float:
    """Protective stop after a fill: the fixed level where there is one, else a distance from the fill."""
    return fill - side * stop_distance if np.isnan(stop_level) else stop_level


@njit(cache=True, nogil=True)
def exit_at_open(side: int, open_: float, stop: float, target: float, pending: bool) -> int:
    """Reason to leave at the open, or STAY. A NaN target never fills."""
    if pending:
        return SIGNAL_EXIT
    if side * (open_ - stop) <= 0.0:
        return STOP
    if side * (open_ - target) >= 0.0:
        return TARGET
    return STAY


@njit(cache=True, nogil=True)
def exit_inside(
    side: int, high: float, low: float, stop: float, target: float, tick: float, stop_first: bool
) -> tuple[int, bool]:
    """Reason to leave between open and close, and whether the bar reached both stop and target."""
    adverse, favourable = (low, high) if side > 0 else (high, low)
    hit_stop = side * (adverse - stop) <= 0.0
    touched = side * (favourable - target) >= 0.0
    traded_through = side * (favourable - target) >= tick - PRICE_NOISE
    ambiguous = hit_stop and touched
    if hit_stop and (stop_first or not traded_through):
        return STOP, ambiguous
    if traded_through:
        return TARGET, ambiguous
    return STAY, ambiguous


@njit(cache=True, nogil=True)
def exit_on_bar(  # the bar's facts in the order a bar reveals them
    side: int,
    bar: tuple[float, float, float, float],
    stop: float,
    target: float,
    tick: float,
    pending: bool,
    last_bar: bool,
    stop_first: bool,
) -> tuple[int, float, bool]:
    """Return (reason, price, ambiguous) for a position held into this bar; `bar` is (open, high, low, close)."""
    open_, high, low, close = bar
    reason = exit_at_open(side, open_, stop, target, pending)
    if reason != STAY:
        return reason, open_, False
    reason, ambiguous = exit_inside(side, high, low, stop, target, tick, stop_first)
    if reason == STOP:
        return reason, stop, ambiguous
    if reason == TARGET:
        return reason, target, ambiguous
    if last_bar:
        return TIME_EXIT, close, ambiguous
    return STAY, np.nan, ambiguous
