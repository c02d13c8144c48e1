"""How a symbol moves with the market, from the bars of a panel cut at the day that asks."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kobe.core.panel import Bars, Panel

WINDOW_SESSIONS = 252
LEAST_SESSIONS = 60
UNKNOWN_DAILY_VOLATILITY = 0.03  # about 48% a year, a restless small company: what is not known is not called calm


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Sensitivity to the market and what it leaves over, from daily returns.

    Attributes:
        beta: regression slope on the market's return.
        own_volatility: standard deviation of the rest, a daily fraction.
        sessions: returns it rests on; below `LEAST_SESSIONS` beta is 1 and the volatility assumed.
    """

    beta: float
    own_volatility: float
    sessions: int

    @property
    def is_measured(self) -> bool:
        """Whether there was enough history."""
        return self.sessions >= LEAST_SESSIONS


def exposures(panel: Panel, symbols: Iterable[str], market: str) -> dict[str, Exposure]:
    """Regress symbols on the market symbol over the last 252 sessions both traded.

    Known at the close of the panel's last session. A symbol the panel does not hold, and every symbol when the
    market is not in it, gets beta 1.

    Args:
        panel: bars up to the day that asks.
        symbols: whose exposure is wanted.
        market: symbol that stands for the market.
    """
    whole = panel[market] if market in panel.symbols else None
    return {s: _exposure(panel[s] if s in panel.symbols else None, whole) for s in symbols}


def _exposure(mine: Bars | None, market: Bars | None) -> Exposure:
    if mine is None or market is None:
        return Exposure(beta=1.0, own_volatility=UNKNOWN_DAILY_VOLATILITY, sessions=0)
    _, here, there = np.intersect1d(mine.session, market.session, assume_unique=True, return_indices=True)
    here, there = here[-WINDOW_SESSIONS - 1 :], there[-WINDOW_SESSIONS - 1 :]
    y, x = (c[1:] / c[:-1] - 1.0 for c in (mine.close[here], market.close[there]))
    spread = float(np.sum((x - x.mean()) ** 2)) if len(x) else 0.0
    if len(x) < LEAST_SESSIONS or spread == 0.0:
        count = min(len(x), LEAST_SESSIONS - 1)
        return Exposure(beta=1.0, own_volatility=UNKNOWN_DAILY_VOLATILITY, sessions=count)
    beta = float(np.sum((x - x.mean()) * (y - y.mean()))) / spread
    rest = y - y.mean() - beta * (x - x.mean())
    return Exposure(beta=beta, own_volatility=float(np.sqrt(np.sum(rest**2) / (len(x) - 2))), sessions=len(x))
