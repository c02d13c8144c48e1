"""Picks that are one bet in two names: too correlated with a better pick, or one too many of a sector."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kobe.core.panel import Floats, Panel
from kobe.core.types import Candidate

CORRELATED, CORRELATION_UNKNOWN, SECTOR_FULL = "correlated", "correlation_unknown", "sector_full"
RETURNS, LEAST_RETURNS = 60, 40


@dataclass(frozen=True)
class Spread:
    """Judges a candidate against the picks already made, from bars up to the session.

    Attributes:
        panel: bars up to the session and none later.
        max_correlation: of the last 60 daily returns; at or above it two names are one bet. 1 turns it off.
        sectors: symbol -> sector; a symbol without one is in no sector.
        max_per_sector: picks of one sector at most; 0 turns it off.
    """

    panel: Panel
    max_correlation: float = 1.0
    sectors: Mapping[str, str] = field(default_factory=dict)
    max_per_sector: int = 0

    def clash(self, candidate: Candidate, picked: Sequence[Candidate]) -> tuple[str, str] | None:
        """Return the code and the detail of a clash with the picks, or None."""
        sector = self.sectors.get(candidate.signal.symbol)
        counts = Counter(self.sectors.get(c.signal.symbol) for c in picked)
        if self.max_per_sector and sector and counts[sector] >= self.max_per_sector:
            return SECTOR_FULL, f"{counts[sector]} picks of {sector}, at most {self.max_per_sector}"
        if self.max_correlation >= 1.0:
            return None
        for other in picked:
            rho = self.correlation(candidate.signal.symbol, other.signal.symbol)
            if np.isnan(rho):
                return CORRELATION_UNKNOWN, f"fewer than {LEAST_RETURNS} common returns with {other.signal.symbol}"
            if rho >= self.max_correlation:
                return CORRELATED, f"{rho:.2f} with {other.signal.symbol}, below {self.max_correlation:g} asked"
        return None

    def correlation(self, one: str, other: str) -> float:
        """Return the correlation of the log returns over the last common sessions; NaN with too few of them."""
        a, b = self.panel[one], self.panel[other]
        _, mine, theirs = np.intersect1d(
            a.session[-RETURNS - 1 :], b.session[-RETURNS - 1 :], assume_unique=True, return_indices=True
        )
        if len(mine) <= LEAST_RETURNS:
            return float("nan")
        x, y = (np.diff(np.log(bars.close[-RETURNS - 1 :][at])) for bars, at in ((a, mine), (b, theirs)))
        return _pearson(x, y)


def _pearson(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0
