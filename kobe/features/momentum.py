"""Momentum and mean reversion: IBS and Wilder's RSI."""

import numpy as np

from kobe.core.panel import Floats, Panel
from kobe.features import kernels


def internal_bar_strength(panel: Panel, n: int = 1) -> Floats:  # noqa: ARG001 - one bar by definition
    """(close - low) / (high - low) in [0, 1]; NaN where high equals low, never 0 (DOMAIN 1.2).

    Known at the close. Source: Pagonidis 2013.
    """
    span = panel.high - panel.low
    out = np.full(len(panel), np.nan)
    np.divide(panel.close - panel.low, span, out=out, where=span > 0)
    return out


def relative_strength_index(panel: Panel, n: int) -> Floats:
    """Wilder RSI of closes in [0, 100]; NaN before bar n and where nothing moved. Oracle: TA-Lib RSI."""
    return kernels.rsi(panel.offsets, panel.close, n)
