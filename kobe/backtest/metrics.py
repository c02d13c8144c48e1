"""The figures people quote, exactly as DOMAIN 2.7 defines them. Undefined is NaN, never 0 or infinity."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.compiled import njit
from kobe.core.panel import Floats
from kobe.core.units import SESSIONS_PER_YEAR

NOISE = 1e-12  # ten equal returns have a standard deviation of 1e-19 in floats, and it means zero


def sharpe(returns: Floats, rf_annual: float = 0.0) -> float:
    """Annualised Sharpe ratio of daily returns: sqrt(252) * mean / std with ddof 1; idle days stay in.

    NaN with fewer than two returns or no variation. Equals quantstats.
    """
    if len(returns) < 2:
        return math.nan
    excess = returns - ((1.0 + rf_annual) ** (1.0 / SESSIONS_PER_YEAR) - 1.0)
    spread = float(np.std(excess, ddof=1))
    varies = spread > NOISE * float(np.max(np.abs(excess)))
    return math.sqrt(SESSIONS_PER_YEAR) * float(np.mean(excess)) / spread if varies else math.nan


def sortino(returns: Floats) -> float:
    """Annualised Sortino ratio; the denominator is the root mean square of min(r, 0) over all n days."""
    if len(returns) < 2:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return math.sqrt(SESSIONS_PER_YEAR) * float(np.mean(returns)) / downside if downside > 0 else math.nan


def drawdown_curve(returns: Floats) -> Floats:
    """Fraction below the highest equity so far, starting equity included; float64[n], 0 or negative."""
    equity = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    result: Floats = (equity / np.maximum.accumulate(equity) - 1.0)[1:]
    return result


def max_drawdown(returns: Floats) -> float:
    """Deepest drawdown as a negative fraction; 0 for no returns."""
    return float(drawdown_curve(returns).min(initial=0.0))


def cagr(returns: Floats) -> float:
    """Compound annual growth over 252-session years; NaN for no returns, -1 when all is lost."""
    if len(returns) == 0:
        return math.nan
    final = float(np.prod(1.0 + returns))
    return final ** (SESSIONS_PER_YEAR / len(returns)) - 1.0 if final > 0 else -1.0


def profit_factor(pnl: Floats) -> float:
    """Sum of gains over sum of losses of closed trades; NaN without a loss."""
    losses = -float(pnl[pnl < 0].sum())
    return float(pnl[pnl > 0].sum()) / losses if losses > 0 else math.nan


def win_rate(pnl: Floats) -> float:
    """Share of trades with a strictly positive net result; a flat trade is not a win."""
    return float(np.mean(pnl > 0)) if len(pnl) else math.nan


def payoff(pnl: Floats) -> float:
    """Average win over average loss; NaN when either is missing."""
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    return float(wins.mean() / -losses.mean()) if len(wins) and len(losses) else math.nan


@njit(cache=True, nogil=True)
def _clustered_t(values: Floats, dates: npt.NDArray[np.int32]) -> float:
    n = len(values)
    if n < 2:
        return np.nan
    mean = 0.0
    for value in values:
        mean += value
    mean /= n
    squares, residual, clusters = 0.0, 0.0, 1
    for i in range(n):
        if i and dates[i] != dates[i - 1]:
            squares += residual * residual
            residual = 0.0
            clusters += 1
        residual += values[i] - mean
    squares += residual * residual
    if clusters < 2 or squares <= 0.0:
        return np.nan
    return float(mean * n / np.sqrt(squares * clusters / (clusters - 1)))


def date_clustered_t(values: Floats, dates: npt.NDArray[np.int32]) -> float:
    """T statistic of the mean when values of one date move together; NaN with fewer than two dates."""
    if np.any(dates[1:] < dates[:-1]):
        order = np.argsort(dates, kind="stable")
        values, dates = values[order], dates[order]
    return float(_clustered_t(values, dates))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveMetrics:
    """Figures of a daily equity curve; fractions, the Sharpe and Sortino ratios annualised."""

    days: int
    sharpe: float
    sortino: float
    cagr: float
    max_drawdown: float
    mar: float
    exposure: float


def curve_metrics(returns: Floats, exposure: Floats) -> CurveMetrics:
    """Summarise a curve; MAR is CAGR over the depth of the worst drawdown of the whole period."""
    growth, depth = cagr(returns), max_drawdown(returns)
    return CurveMetrics(
        days=len(returns),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        cagr=growth,
        max_drawdown=depth,
        mar=growth / -depth if depth < 0 else math.nan,
        exposure=float(np.mean(exposure)) if len(exposure) else math.nan,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeMetrics:
    """Figures of closed round trips after costs."""

    trades: int
    win_rate: float
    profit_factor: float
    payoff: float
    expectancy: float
    average_r: float
    t_clustered: float


def trade_metrics(net: Floats, net_r: Floats, dates: npt.NDArray[np.int32]) -> TradeMetrics:
    """Summarise closed trades: `net` in dollars (or R), `net_r` in R, `dates` of their signals."""
    return TradeMetrics(
        trades=len(net),
        win_rate=win_rate(net),
        profit_factor=profit_factor(net),
        payoff=payoff(net),
        expectancy=float(net.mean()) if len(net) else math.nan,
        average_r=float(net_r.mean()) if len(net_r) else math.nan,
        t_clustered=date_clustered_t(net_r, dates),
    )
