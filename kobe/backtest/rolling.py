"""A figure asked again and again over a sliding window, each time with how sure it is."""

from dataclasses import dataclass

import numpy as np

from kobe.backtest.metrics import NOISE
from kobe.backtest.montecarlo import LEAST_BLOCK, stationary_indices
from kobe.core.panel import Floats, Ints
from kobe.core.units import SESSIONS_PER_YEAR


@dataclass(frozen=True, kw_only=True)
class RollingSharpe:
    """Sharpe ratios of windows that end at some sessions.

    Attributes:
        window_sessions: length of each window.
        ends: int64[m], position of each window's last return.
        value: float64[m], annualised Sharpe ratio; NaN without variation.
        low, high: float64[m], ends of the 95% band.
    """

    window_sessions: int
    ends: Ints
    value: Floats
    low: Floats
    high: Floats


def rolling_sharpe(
    returns: Floats, *, seed: int, window: int = 252, step: int = 21, samples: int = 400, block: float = 10.0
) -> RollingSharpe:
    """Return the Sharpe ratio of every `step`-th window of daily returns with a stationary-bootstrap band.

    The windows overlap, so neighbouring values are nearly one observation; only windows that share no session are
    independent. All windows are resampled with the same drawn places, so the band does not jitter between them.

    Args:
        returns: float64[n], daily returns, fractions; no NaN.
        seed: of the resampling; the same seed gives the same digits.
        window: sessions per window; fewer returns than that give no window.
        step: sessions between windows; the last window ends with the last return.
        samples: resamplings per window.
        block: mean length of a resampled block in sessions, at least `LEAST_BLOCK`.

    Returns:
        Figures known at the close of each window's last session.
    """
    ends = np.arange(len(returns) - 1, window - 2, -step)[::-1].astype(np.int64)
    rng = np.random.default_rng(seed)
    width = max(block, LEAST_BLOCK)
    drawn = np.array([stationary_indices(window, width, rng) for _ in range(samples)])
    value, low, high = (np.full(len(ends), np.nan) for _ in range(3))
    for k, end in enumerate(ends):
        mine = returns[end - window + 1 : end + 1]
        value[k] = _sharpes(mine[None, :])[0]
        told = _sharpes(mine[drawn])
        told = told[np.isfinite(told)]
        if len(told):
            low[k], high[k] = np.quantile(told, [0.025, 0.975])
    return RollingSharpe(window_sessions=window, ends=ends, value=value, low=low, high=high)


def _sharpes(rows: Floats) -> Floats:
    """Annualised Sharpe ratio of each row as `metrics.sharpe` defines it; NaN without variation."""
    spread = np.std(rows, axis=1, ddof=1)
    varies = spread > NOISE * np.max(np.abs(rows), axis=1)
    safe = np.where(varies, spread, 1.0)
    result: Floats = np.where(varies, np.sqrt(SESSIONS_PER_YEAR) * rows.mean(axis=1) / safe, np.nan)
    return result
