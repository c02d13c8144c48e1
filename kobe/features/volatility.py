"""Volatility: Wilder's ATR and the Yang-Zhang estimate."""

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.features import kernels


def average_true_range(panel: Panel, n: int) -> Floats:
    """Wilder ATR in dollars; NaN before bar n, never 0 in the warm-up. Known at the close. Oracle: TA-Lib ATR."""
    ranges = kernels.true_range(panel.offsets, panel.high, panel.low, panel.close)
    return kernels.wilder_atr(panel.offsets, ranges, n)


def yang_zhang(panel: Panel, rows: npt.NDArray[np.int64], n: int = 20) -> Floats:
    """Annualised Yang-Zhang volatility of the n bars ending at each row (0.25 = 25% a year).

    NaN with fewer than n + 1 bars. Known at the close. Source: Yang and Zhang 2000; fixture F11 in DOMAIN 5.
    """
    wanted, back = np.unique(rows, return_inverse=True)
    overnight = np.zeros(len(panel))
    overnight[1:] = np.log(panel.open[1:] / panel.close[:-1])  # a symbol's first bar is never inside a window
    up, down = np.log(panel.high / panel.open), np.log(panel.low / panel.open)
    body = np.log(panel.close / panel.open)
    first = panel.offsets[panel.symbol_of_row[wanted]]
    return kernels.yang_zhang_at(wanted, first, overnight, up, down, body, n)[back]
