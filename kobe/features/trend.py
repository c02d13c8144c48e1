"""Trend: moving averages and where the price stands against them."""

from kobe.core.panel import Panel
from kobe.features.passes import Pass


def simple_moving_average(panel: Panel, n: int) -> Pass:
    """Mean of the last n closes, dollars; NaN before bar n - 1. Known at the close. Oracle: TA-Lib SMA."""
    from kobe.features import kernels

    return Pass(kernels.sma, (panel.close, n))
