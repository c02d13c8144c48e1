"""Is a probability true? Scores of DOMAIN 3.3, with the honest yardstick for each."""

from dataclasses import dataclass

import numpy as np

from kobe.core.intervals import wilson_interval
from kobe.core.panel import Floats

CLIP = 1e-12


def brier(p: Floats, y: Floats) -> float:
    """Mean squared error of probabilities; 0 is perfect."""
    return float(np.mean((p - y) ** 2))


def brier_skill(p: Floats, y: Floats) -> float:
    """1 - Brier / (ybar (1 - ybar)): share of the outcome's variance that is explained; NaN for one class."""
    uncertainty = float(y.mean() * (1 - y.mean()))
    return 1.0 - brier(p, y) / uncertainty if uncertainty > 0 else float("nan")


def log_loss(p: Floats, y: Floats) -> float:
    """Mean negative log-likelihood in nats."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.mean(y * np.log(q) + (1 - y) * np.log(1 - q)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One line of a reliability table; lo <= p < hi (the last bin holds its upper border)."""

    lo: float
    hi: float
    n: int
    mean_p: float
    frac_pos: float
    wilson_lo: float
    wilson_hi: float


def reliability(p: Floats, y: Floats, edges: Floats) -> list[Bin]:
    """Return the reliability table over bins with these edges; empty bins are left out."""
    which = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for b in range(len(edges) - 1):
        mine = which == b
        n = int(mine.sum())
        if n:
            wins = int(y[mine].sum())
            low, high = wilson_interval(wins, n)
            bins.append(
                Bin(
                    lo=float(edges[b]), hi=float(edges[b + 1]), n=n, mean_p=float(p[mine].mean()), frac_pos=wins / n,
                    wilson_lo=low, wilson_hi=high,
                )
            )  # fmt: skip
    return bins


AT_ONCE = 1 << 16  # forecasts that are drawn together


def quantile_edges(p: Floats, bins: int = 10) -> Floats:
    """Edges with equal counts per bin, for small samples; duplicates are merged, 0 and 1 always there."""
    inner = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    return np.unique(np.concatenate(([0.0], inner, [1.0])))


def expected_calibration_error(p: Floats, y: Floats, edges: Floats) -> float:
    """Mean over forecasts of |mean p - mean y| of their bin. Biased upwards: judge it against `ece_null`."""
    return sum(b.n * abs(b.mean_p - b.frac_pos) for b in reliability(p, y, edges)) / len(p)


def ece_draws(p: Floats, edges: Floats, *, seed: int, samples: int = 400) -> Floats:
    """Return simulated ECEs of a perfect forecaster with these probabilities, float64[samples]."""
    rng = np.random.default_rng(seed)
    which = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    sums = np.bincount(which, weights=p, minlength=len(edges) - 1)
    bins, together = len(sums), max(AT_ONCE // len(p), 1)
    drawn = []
    for first in range(0, samples, together):
        rows = min(together, samples - first)
        won = rng.random((rows, len(p))) < p
        place = (which + bins * np.arange(rows)[:, None])[won]
        wins = np.bincount(place, minlength=rows * bins).reshape(rows, bins)
        drawn.append(np.abs(sums - wins).sum(axis=1) / len(p))
    return np.concatenate(drawn)


def ece_null(p: Floats, edges: Floats, *, seed: int, samples: int = 400) -> float:
    """95% quantile of the ECE that a perfect forecaster with these probabilities would show."""
    return float(np.quantile(ece_draws(p, edges, seed=seed, samples=samples), 0.95))
