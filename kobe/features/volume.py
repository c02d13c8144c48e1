"""Volume: the average dollars that change hands in a day."""

from kobe.core.panel import Panel
from kobe.features.passes import Pass

LEAST_OBSERVATIONS = 15


def average_dollar_volume(panel: Panel, n: int) -> Pass:
    """Mean of raw close times raw volume over the last n bars, dollars; NaN with fewer than 15 (DOMAIN 4.5).

    Split adjustment cancels in the product, so adjusted columns give the raw figure. Known at the close.
    """
    from kobe.features import kernels

    return Pass(kernels.mean_product, (panel.close, panel.volume, n, min(n, LEAST_OBSERVATIONS)))
