"""Momentum and mean reversion: IBS and Wilder's RSI."""

from kobe.core.panel import Panel
from kobe.features.passes import Pass


def internal_bar_strength(panel: Panel, n: int = 1) -> Pass:  # noqa: ARG001 - one bar by definition
    """(close - low) / (high - low) in [0, 1]; NaN where high equals low, never 0 (DOMAIN 1.2).

    Known at the close. Source: Pagonidis 2013.
    """
    from kobe.features import kernels

    return Pass(kernels.ibs, (panel.high, panel.low, panel.close))


def relative_strength_index(panel: Panel, n: int) -> Pass:
    """Wilder RSI of closes in [0, 100]; NaN before bar n and where nothing moved. Oracle: TA-Lib RSI."""
    from kobe.features import kernels

    return Pass(kernels.rsi, (panel.close, n))
