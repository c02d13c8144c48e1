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
def _write_off(m: Any, out: Any, i: int, row: int) -> None:
    """End trade i at a close after which its symbol has not traded for too long."""
    out.state[i], out.reason[i] = CLOSED, END_OF_DATA
    out.exit_row[i], out.exit_price[i] = row, m.close[row]


@njit(cache=True, nogil=True)
def _follow(m: Any, rules: Any, out: Any, i: int, sign: int, end: int) -> None:
    """Walk trade i from its entry bar to its exit and fill in the result columns."""
    e = out.entry_row[i]
    fill = out.entry_price[i]
    stop = out.stop[i] if rules.use_stop else -sign * np.inf
    bit = 1 if sign > 0 else 2
    for j in range(e, end):
        if j > e and m.session[j] - m.session[j - 1] > DELISTED_AFTER_SESSIONS:
            _write_off(m, out, i, j - 1)  # by then nobody could know that it would trade again
            return
        pending = j > e and (m.exit_mask[j - 1] & bit) != 0
        last_bar = m.session[j] - m.session[e] >= rules.hold_bars - 1
        bar = (m.open[j], m.high[j], m.low[j], m.close[j])
        tick = TICK_USD / m.raw_factor[j]
        why, price, both = exit_on_bar(sign, bar, stop, out.target[i], tick, pending, last_bar, rules.stop_first)
        out.ambiguous[i] |= both
        if why != STAY:
            out.state[i], out.reason[i], out.exit_row[i], out.exit_price[i] = CLOSED, why, j, price
            out.worst[i] = min(out.worst[i], sign * (price - fill))
            out.best[i] = max(out.best[i], sign * (price - fill))
            return
        adverse, favourable = (m.low[j], m.high[j]) if sign > 0 else (m.high[j], m.low[j])
        out.worst[i] = min(out.worst[i], sign * (adverse - fill))
        out.best[i] = max(out.best[i], sign * (favourable - fill))
    if m.last_session - m.session[end - 1] >= DELISTED_AFTER_SESSIONS:
        _write_off(m, out, i, end - 1)


@njit(cache=True, nogil=True)
def _walk_part(first: int, last: int, market: Market, wishes: Wishes, rules: Rules, out: Walked) -> None:
    """Walk signals `first` to `last` (not included); each fills its own place."""
    for i in range(first, last):
        state, fill, stop = _enter(market, wishes, rules, i)
        out.state[i] = state
        if state != CLOSED:
            continue
        sign = wishes.side[i]
        out.state[i] = OPEN
        out.entry_row[i], out.entry_price[i], out.stop[i] = wishes.row[i] + 1, fill, stop
        out.target[i] = fill + sign * wishes.target_r[i] * (sign * (fill - stop))
        _follow(market, rules, out, i, sign, market.offsets[wishes.symbol[i] + 1])


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
