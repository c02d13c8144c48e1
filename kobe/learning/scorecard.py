"""What a forecast's score is made of, and how it does where it is surest (DOMAIN 3.3)."""

import numpy as np

from kobe.core.intervals import wilson_interval
from kobe.core.panel import Floats
from kobe.learning.calibrate import brier, reliability

SHARES = (1.0, 0.75, 0.5, 0.25, 0.1, 0.05)


def decomposition(p: Floats, y: Floats, edges: Floats) -> dict[str, float]:
    """Split the Brier score into reliability - resolution + uncertainty over bins (Murphy 1973).

    Returns:
        The three parts and `within`, what forecasts that differ inside a bin add, so that they sum to the score.
    """
    rows, rate = reliability(p, y, edges), float(y.mean())
    unreliable = sum(b.n * (b.mean_p - b.frac_pos) ** 2 for b in rows) / len(p)
    resolved = sum(b.n * (b.frac_pos - rate) ** 2 for b in rows) / len(p)
    uncertain = rate * (1.0 - rate)
    return {
        "reliability": unreliable, "resolution": resolved, "uncertainty": uncertain,
        "within": brier(p, y) - (unreliable - resolved + uncertain),
    }  # fmt: skip


def coverage_curve(p: Floats, y: Floats, r: Floats) -> list[dict[str, float]]:
    """Say how often the surest forecasts win: precision against the share that is acted on.

    Args:
        p: probabilities, float64[n].
        y: outcomes, 0 or 1, float64[n].
        r: net R, float64[n].

    Returns:
        One row per share of SHARES that holds a trade: share, least p, n, won with its 95% Wilson bounds, mean R.
    """
    order = np.argsort(-p, kind="stable")
    rows = []
    for share in SHARES:
        n = round(share * len(p))
        if n:
            top = order[:n]
            low, high = wilson_interval(int(y[top].sum()), n)
            rows.append(
                {
                    "share": share, "least_p": float(p[top[-1]]), "n": n, "won": float(y[top].mean()),
                    "wilson_lo": low, "wilson_hi": high, "mean_r": float(r[top].mean()),
                }
            )  # fmt: skip
    return rows
