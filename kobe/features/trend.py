"""Trend: moving averages and where the price stands against them."""

from kobe.core.panel import Floats, Panel


def simple_moving_average(panel: Panel, n: int) -> Floats:
    """Mean of the last n closes, dollars; NaN before bar n - 1. Known at the close. Oracle: TA-Lib SMA."""
    from kobe.features import kernels

    values: Floats = kernels.filled(kernels.sma, panel.offsets, panel.close, n)
    return values
