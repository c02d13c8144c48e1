"""The compiled walk: each signal from its fill to its exit. `kernel_reference` says the same thing slowly.

Signals are walked independently of each other and of any account, so one pass serves every walk-forward window,
every portfolio and the data set of the meta-model.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.backtest.fills import (
    CLOSED,
    END_OF_DATA,
    GAP_INVALIDATED,
    NO_BAR,
    OPEN,
    STAY,
    TICK_USD,
    entry_is_valid,
    exit_on_bar,
    initial_stop,
)  # fmt: skip
from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints
from kobe.core.threads import in_parts

DELISTED_AFTER_SESSIONS = 5  # no bar for this long while the market traded: written off, not kept for ever
FETCHED, LINE = 32, 5  # signals whose bars are read ahead; the second bar read lies in the next cache line, if any


class Market(NamedTuple):
    """The panel as the kernel sees it; `exit_mask` is uint8 per row (bit 0 longs, bit 1 shorts)."""

    offsets: Ints
    session: npt.NDArray[np.int32]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    raw_factor: Floats
    exit_mask: npt.NDArray[np.uint8]
    last_session: int


class Wishes(NamedTuple):
    """Signals as columns of one length n."""

    row: Ints
    symbol: npt.NDArray[np.int32]
    side: npt.NDArray[np.int8]
    stop_distance: Floats
    stop_level: Floats
    target_r: Floats
    atr: Floats


class Rules(NamedTuple):
    """What holds for all of them; `stop_first` False is the optimistic second run of DOMAIN 2.1."""

    max_gap_atr: float
    hold_bars: int
    use_stop: bool
    stop_first: bool


class Walked(NamedTuple):
    """What became of each signal, one element each; excursions are dollars from the fill (bars before the exit)."""

    state: npt.NDArray[np.int8]
    entry_row: Ints
    entry_price: Floats
    stop: Floats
    target: Floats
    exit_row: Ints
    exit_price: Floats
    reason: npt.NDArray[np.int8]
    ambiguous: npt.NDArray[np.bool_]
    worst: Floats
    best: Floats


@njit(cache=True, nogil=True)
def _enter(m: Any, w: Any, rules: Any, i: int) -> tuple[int, float, float]:
    """Return (state, fill, stop) for signal i at the bar after its own."""
    t = w.row[i]
    end = m.offsets[w.symbol[i] + 1]
    if t + 1 >= end:
        return (OPEN if m.session[t] == m.last_session else NO_BAR), np.nan, np.nan
    if m.session[t + 1] != m.session[t] + 1:
        return NO_BAR, np.nan, np.nan
    fill = m.open[t + 1]
    if not entry_is_valid(w.side[i], fill, m.close[t], w.stop_level[i], w.atr[i], rules.max_gap_atr):
        return GAP_INVALIDATED, np.nan, np.nan
    return CLOSED, fill, initial_stop(w.side[i], fill, w.stop_distance[i], w.stop_level[i])


@njit(cache=True, nogil=True)
def _fetch(m: Any, rows: Ints) -> float:
    """Read the bars after some rows, for nothing but to have them in the cache; the sum keeps the compiler from it.

    The reads here wait for memory together. A walk guesses its way past every comparison with a bar that has not come
    yet, and after a wrong guess waits for the next bar anew.
    """
    end, seen = len(m.open) - 1, 0.0
    for row in rows:
        for t in (min(row + 1, end), min(row + LINE, end)):
            seen += m.open[t] + m.high[t] + m.low[t] + m.close[t] + m.session[t] + m.exit_mask[t]
    return seen


@njit(cache=True, nogil=True)
def _walk_part(first: int, last: int, m: Market, w: Wishes, rules: Rules, out: Walked) -> float:
    """Walk signals `first` to `last` (not included) from the fill to the exit; each fills its own place.

    One function, with a name of its own for every column: a call that is handed the columns counts references to each
    of them, in all threads at once, which took longer than the walk. What it returns means nothing (`_fetch`).
    """
    session, opened, high, low, close, factor = m.session, m.open, m.high, m.low, m.close, m.raw_factor
    exit_mask, states, reasons, ambiguous = m.exit_mask, out.state, out.reason, out.ambiguous
    entry_rows, fills, stops, targets = out.entry_row, out.entry_price, out.stop, out.target
    exit_rows, exits, worsts, bests = out.exit_row, out.exit_price, out.worst, out.best
    fetched = 0.0
    for i in range(first, last):
        if (i - first) % FETCHED == 0:
            fetched += _fetch(m, w.row[i : min(i + FETCHED, last)])
        state, fill, stop = _enter(m, w, rules, i)
        states[i] = state
        if state != CLOSED:
            continue
        sign, e, end = w.side[i], w.row[i] + 1, m.offsets[w.symbol[i] + 1]
        target = fill + sign * w.target_r[i] * (sign * (fill - stop))
        entry_rows[i], fills[i], stops[i], targets[i] = e, fill, stop, target
        stop = stop if rules.use_stop else -sign * np.inf
        bit, pending, both, why, price = (1 if sign > 0 else 2), False, False, STAY, np.nan
        worst, best, row, before = 0.0, 0.0, e, session[e]
        for j in range(e, end):
            if session[j] - before > DELISTED_AFTER_SESSIONS:
                break  # by then nobody could know that it would trade again
            row, before = j, session[j]
            bar = opened[j], high[j], low[j], close[j]
            tick = TICK_USD / factor[j] if not np.isnan(target) else 0.0  # without a target nothing asks for it
            last_bar = before - session[e] >= rules.hold_bars - 1
            why, price, reached = exit_on_bar(sign, bar, stop, target, tick, pending, last_bar, rules.stop_first)
            both |= reached
            if why != STAY:
                worst, best = min(worst, sign * (price - fill)), max(best, sign * (price - fill))
                break
            pending = (exit_mask[j] & bit) != 0
            adverse, favourable = (low[j], high[j]) if sign > 0 else (high[j], low[j])
            worst, best = min(worst, sign * (adverse - fill)), max(best, sign * (favourable - fill))
        ambiguous[i], worsts[i], bests[i] = both, worst, best
        if why == STAY and (row < end - 1 or m.last_session - before >= DELISTED_AFTER_SESSIONS):
            why, price = END_OF_DATA, close[row]  # a close after which the symbol has not traded for too long
        states[i] = OPEN if why == STAY else CLOSED
        if why != STAY:
            reasons[i], exit_rows[i], exits[i] = why, row, price
    return fetched


def walk_signals(market: Market, wishes: Wishes, rules: Rules) -> Walked:
    """Walk every signal through the bars after it."""
    n = len(wishes.row)
    out = Walked(
        np.full(n, NO_BAR, np.int8), np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan),
        np.full(n, np.nan), np.full(n, -1, np.int64), np.full(n, np.nan), np.zeros(n, np.int8),
        np.zeros(n, np.bool_), np.zeros(n), np.zeros(n),
    )  # fmt: skip
    in_parts(n, 10 * n, lambda a, b: _walk_part(a, b, market, wishes, rules, out))
    return out


@njit(cache=True, nogil=True)
def first_come(
    symbol: npt.NDArray[np.int32], row: Ints, exit_row: Ints, state: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """Mark the signals that find their symbol free: one position per symbol, earlier signals first.

    Rows ascend. A signal on the bar at which the last trade ended may enter again; a trade without end blocks the
    rest; signals without a trade take nothing.
    """
    taken = np.zeros(len(row), np.bool_)
    current = -1
    free_from = -1
    for i in range(len(row)):
        if symbol[i] != current:
            current = symbol[i]
            free_from = -1
        if state[i] > OPEN or row[i] < free_from:
            continue
        taken[i] = True
        free_from = exit_row[i] if state[i] == CLOSED else np.iinfo(np.int64).max
    return taken
