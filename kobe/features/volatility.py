"""Volatility: Wilder's ATR and the Yang-Zhang estimate."""

import numpy as np

from kobe.core.panel import Floats, Panel
from kobe.features.passes import Pass


def average_true_range(panel: Panel, n: int) -> Pass:
    """Wilder ATR in dollars; NaN before bar n, never 0 in the warm-up. Known at the close. Oracle: TA-Lib ATR."""
    from kobe.features import kernels

    return Pass(kernels.wilder_atr, (panel.high, panel.low, panel.close, n))


def yang_zhang(panel: Panel, n: int) -> Pass | Floats:
    """Annualised Yang-Zhang volatility of the last n bars (0.25 = 25% a year).

    NaN before bar n, and everywhere for n = 1. Known at the close. Source: Yang and Zhang 2000; fixture F11 in
    DOMAIN 5.
    """
    from kobe.features import volatility_kernels

    if n < 2:
        return np.full(len(panel), np.nan)
    return Pass(volatility_kernels.yang_zhang, (panel.open, panel.high, panel.low, panel.close, n))
