"""Structure: prior extremes and their age."""

import numpy as np

from kobe.core.panel import Floats, Ints, Panel
from kobe.features.passes import Pass


def prior_low(panel: Panel, n: int) -> Floats:
    """Lowest low of the n bars before each bar, that bar excluded; dollars, NaN before bar n (DOMAIN D8)."""
    return _prior(panel, "low", n, 0)


def prior_low_age(panel: Panel, n: int) -> Floats:
    """Bars since that lowest low; of equal lows the most recent counts. NaN before bar n."""
    return _prior(panel, "low", n, 1)


def prior_high(panel: Panel, n: int) -> Floats:
    """Highest high of the n bars before each bar, that bar excluded; the mirror of `prior_low`."""
    return -_prior(panel, "high", n, 0)


def prior_high_age(panel: Panel, n: int) -> Floats:
    """Bars since that highest high; of equal highs the most recent counts. NaN before bar n."""
    return _prior(panel, "high", n, 1)


def bars_seen(panel: Panel, n: int = 1) -> Pass:  # noqa: ARG001 - a plain count
    """Count the bars of the same symbol before each bar; 0 at the first."""
    from kobe.features import kernels

    return Pass(kernels.bars_seen, ())


def _prior(panel: Panel, side: str, n: int, wanted: int) -> Floats:
    """Return the level (0) or its age (1); the other, found with it, waits at the panel until it is asked for."""
    from kobe.features import kernels, prior_kernels

    waiting: dict[tuple[str, int, int], Floats] = panel.__dict__.setdefault("_waiting_priors", {})
    kept = waiting.pop((side, n, wanted), None)
    if kept is not None:
        return kept
    low = panel.low if side == "low" else -panel.high
    both = kernels.filled(prior_kernels.prior_low_and_age, panel.offsets, low, n, columns=2)
    waiting[side, n, 1 - wanted] = both[1 - wanted]
    return both[wanted]


def prior_low_at(panel: Panel, n: int, rows: Ints) -> Floats:
    """Return `prior_low` at some rows."""
    return _prior_at(panel, n, rows)[0]


def prior_low_age_at(panel: Panel, n: int, rows: Ints) -> Floats:
    """Return `prior_low_age` at some rows."""
    return _prior_at(panel, n, rows)[1]


def _prior_at(panel: Panel, n: int, rows: Ints) -> tuple[Floats, Floats]:
    from kobe.features import prior_kernels

    lowest, age = np.empty(len(rows)), np.empty(len(rows))
    starts = panel.offsets[panel.symbol_of_row[rows]]
    prior_kernels.prior_low_and_age_at(starts, rows, panel.low, n, lowest, age)
    return lowest, age
