"""Structure: prior extremes and their age."""

from kobe.core.panel import Floats, Ints, Panel


def prior_low(panel: Panel, n: int) -> Floats:
    """Lowest low of the n bars before each bar, that bar excluded; dollars, NaN before bar n (DOMAIN D8)."""
    return _prior(panel.offsets, panel.low, n)[0]


def prior_low_age(panel: Panel, n: int) -> Floats:
    """Bars since that lowest low; of equal lows the most recent counts. NaN before bar n."""
    return _prior(panel.offsets, panel.low, n)[1]


def prior_high(panel: Panel, n: int) -> Floats:
    """Highest high of the n bars before each bar, that bar excluded; the mirror of `prior_low`."""
    return -_prior(panel.offsets, -panel.high, n)[0]


def prior_high_age(panel: Panel, n: int) -> Floats:
    """Bars since that highest high; of equal highs the most recent counts. NaN before bar n."""
    return _prior(panel.offsets, -panel.high, n)[1]


def bars_seen(panel: Panel, n: int = 1) -> Floats:  # noqa: ARG001 - a plain count
    """Count the bars of the same symbol before each bar; 0 at the first."""
    from kobe.features import kernels

    values: Floats = kernels.filled(kernels.bars_seen, panel.offsets)
    return values


def _prior(offsets: Ints, low: Floats, n: int) -> tuple[Floats, Floats]:
    from kobe.features import kernels

    lowest, age = kernels.filled(kernels.prior_low_and_age, offsets, low, n, columns=2)
    return lowest, age
