"""Markets in which the past tells less, or nothing, about the future: what a search must not find an edge in.

Both keep every symbol's sessions, its first bar, its raw-price factors and what is common to symbols on one day;
both are marked synthetic.

- `phase_randomised` keeps each symbol's spectrum and the cross-correlations at every lag. What is linear in time
  survives, a reversal of returns too: it is a null for everything but mean reversion and trend.
- `shuffled_sessions` deals whole sessions anew. Nothing but chance connects one with the next.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kobe.core.panel import Floats, Ints, Panel

LEAST_BARS = 4  # a shorter history has no phase to turn


@dataclass(frozen=True, slots=True)
class _Shape:
    """Bars of one symbol after its first, taken apart: log moves, log wicks, dollar volume."""

    overnight: Floats
    session: Floats
    up: Floats
    down: Floats
    dollars: Floats

    def take(self, order: Ints) -> "_Shape":
        return _Shape(self.overnight[order], self.session[order], self.up[order], self.down[order], self.dollars[order])


def phase_randomised(panel: Panel, seed: int) -> Panel:
    """Turn the phase of every frequency of log returns by a random angle, the same for all symbols.

    Overnight and intraday moves are turned alike, so that their sum, the daily return, keeps its spectrum; wicks
    and dollar volumes are dealt anew among the sessions, the same way for all symbols. A symbol with fewer sessions
    than others gets its angles from its own part of the common noise: its spectrum is kept, its correlations in part.

    Args:
        panel: bars; returns are close to close.
        seed: the same seed gives the same bits.

    Source: Theiler et al. 1992; Prichard and Theiler 1994 for common phases.
    """
    rng = np.random.default_rng([seed, 1])
    noise, keys = rng.standard_normal(_span(panel)), rng.random(_span(panel))

    def turned(shape: _Shape, place: Ints) -> _Shape:
        dealt = shape.take(np.argsort(keys[place], kind="stable"))
        turn = np.exp(1j * np.angle(np.fft.rfft(noise[place])))
        turn[0] = 1.0  # the mean stays
        moves = [np.fft.irfft(np.fft.rfft(m) * turn, len(place)) for m in (shape.overnight, shape.session)]
        return replace(dealt, overnight=moves[0], session=moves[1])

    return _remade(panel, turned)


def shuffled_sessions(panel: Panel, seed: int) -> Panel:
    """Deal the sessions anew, each whole: the day's moves, wicks and volumes of all symbols stay together.

    The same seed gives the same bits. A null for mean reversion too; volatility no longer clusters.
    """
    rng = np.random.default_rng([seed, 2])
    keys = rng.random(_span(panel))
    return _remade(panel, lambda shape, place: shape.take(np.argsort(keys[place], kind="stable")))


def _span(panel: Panel) -> int:
    return panel.last_session - panel.first_session + 1 if len(panel) else 0


def _remade(panel: Panel, change: Callable[[_Shape, Ints], _Shape]) -> Panel:
    columns = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for k in range(len(panel.symbols)):
        rows = slice(int(panel.offsets[k]), int(panel.offsets[k + 1]))
        if rows.stop - rows.start < LEAST_BARS:
            continue
        bars = panel[panel.symbols[k]]
        place = bars.session[1:].astype(np.int64) - panel.first_session
        shape = change(_taken_apart(panel, rows), place)
        later = slice(rows.start + 1, rows.stop)
        close = np.log(bars.close[0]) + np.cumsum(shape.overnight + shape.session)
        opened = close - shape.session
        columns["open"][later], columns["close"][later] = np.exp(opened), np.exp(close)
        columns["high"][later] = np.exp(np.maximum(opened, close) + shape.up)
        columns["low"][later] = np.exp(np.minimum(opened, close) - shape.down)
        columns["volume"][later] = shape.dollars / columns["close"][later]
    unpaid = np.empty(0)  # no price falls on an ex-date any more: a dividend would be money from nowhere
    return replace(panel, source="synthetic", dividend=unpaid, **columns)


def _taken_apart(panel: Panel, rows: slice) -> _Shape:
    opened, high, low, close = (np.log(getattr(panel, c)[rows]) for c in ("open", "high", "low", "close"))
    dollars = panel.volume[rows] * panel.close[rows]
    return _Shape(
        overnight=opened[1:] - close[:-1],
        session=close[1:] - opened[1:],
        up=high[1:] - np.maximum(opened, close)[1:],
        down=np.minimum(opened, close)[1:] - low[1:],
        dollars=dollars[1:],
    )
