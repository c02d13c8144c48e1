"""What a strategy returns: its signals over a whole panel, as columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.ids import signal_id
from kobe.core.panel import Floats, Panel
from kobe.core.types import Side, Signal


@dataclass(frozen=True, kw_only=True)
class SignalTable:
    """Signals of one strategy with one set of parameters, ordered by row of the panel.

    Known at the close of each signal's bar. The stop is either a distance from the fill (`stop_distance`) or a
    fixed price (`stop_level`); the other one is NaN. The target is a multiple of the risk taken, or NaN for none.

    Attributes:
        strategy: id, such as `ibs_rsi`.
        params: the parameters as plain values.
        params_hash: their digest.
        row: int64[n], row of the panel at whose close the signal is known.
        side: int8[n], +1 long, -1 short.
        stop_distance, stop_level: float64[n], dollars.
        target_r: float64[n], target distance in units of risk (fill to stop).
        atr: float64[n], Wilder ATR at the signal bar, dollars.
        score: float64[n], strength in [0, 1]; orders candidates without a model.
        exit_mask: uint8[panel rows], bit 0 set where a long is closed at the next open, bit 1 where a short is.
        max_gap_atr: entries further than this many ATR from the reference close are dropped (D10).
        hold_bars: sessions until the time exit, the entry bar being the first (D6).
    """

    strategy: str
    params: dict[str, Any]
    params_hash: str
    row: npt.NDArray[np.int64]
    side: npt.NDArray[np.int8]
    stop_distance: Floats
    stop_level: Floats
    target_r: Floats
    atr: Floats
    score: Floats
    exit_mask: npt.NDArray[np.uint8]
    max_gap_atr: float
    hold_bars: int

    def __post_init__(self) -> None:
        columns = (self.side, self.stop_distance, self.stop_level, self.target_r, self.atr, self.score)
        if any(len(c) != len(self.row) for c in columns):
            msg = "the columns of a signal table must have one length"
            raise ValueError(msg)
        if np.any(np.isnan(self.stop_distance) == np.isnan(self.stop_level)):
            msg = "each signal has exactly one of stop_distance and stop_level"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.row)

    def signals(self, panel: Panel, picked: npt.NDArray[np.int64] | None = None) -> list[Signal]:
        """Return rows of the table as `Signal` values (all of them, or those at positions `picked`)."""
        wanted = np.arange(len(self)) if picked is None else picked
        return [self._signal(panel, int(i)) for i in wanted]

    def _signal(self, panel: Panel, i: int) -> Signal:
        row = int(self.row[i])
        symbol = panel.symbols[int(panel.symbol_of_row[row])]
        day = panel.calendar.sessions[int(panel.session[row])]
        side = Side.LONG if self.side[i] > 0 else Side.SHORT
        close, sign = float(panel.close[row]), float(self.side[i])
        by_distance = not np.isnan(self.stop_distance[i])
        stop = close - sign * float(self.stop_distance[i]) if by_distance else float(self.stop_level[i])
        target = close + float(self.target_r[i]) * (close - stop)
        return Signal(
            signal_id=signal_id(self.strategy, symbol, side.value, day, self.params_hash),
            strategy=self.strategy,
            symbol=symbol,
            side=side,
            signal_date=day,
            valid_session=panel.calendar.next(day),
            reference_close=close,
            stop=stop,
            stop_distance=float(self.stop_distance[i]) if by_distance else None,
            target=None if np.isnan(target) else target,
            target_r=None if np.isnan(target) else float(self.target_r[i]),
            atr=float(self.atr[i]),
            score=float(self.score[i]),
            params_hash=self.params_hash,
        )
