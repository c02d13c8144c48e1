"""Why the model says what it says: exact shares of every input in the log-odds and in the probability.

Log-odds are a sum, so an input's share is its own term, counted from the average training row. The probability is a
curve over that sum; its shares are those of Aumann and Shapley along the straight line from the average row to this
one, which for a logistic curve have a closed form: each input gets the same part of the change in probability as it
has of the change in log-odds. Both add up exactly.
"""

import math
from dataclasses import dataclass

import numpy as np

from kobe.core.panel import Floats
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import Logistic


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One input's share.

    Attributes:
        name: of the feature.
        value: what it was; NaN where it was unknown, and then its share is that of being unknown.
        log_odds: share of the log-odds over the average training row.
        probability: share of the probability over that row's.
    """

    name: str
    value: float
    log_odds: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A probability taken apart: `base` plus every share is `probability`, to rounding."""

    base: float
    probability: float
    base_log_odds: float
    log_odds: float
    parts: tuple[Contribution, ...]


def explain(card: Logistic, row: Floats) -> Explanation:
    """Take one probability apart.

    Args:
        card: the model as arrays.
        row: float64[len(FEATURE_COLUMNS)], NaN where unknown.

    Returns:
        Shares sorted by size, largest first; ties by name.
    """
    unknown = np.isnan(row)
    filled = np.where(unknown, np.array(card.medians), row)
    inputs = np.concatenate([filled, unknown[list(card.indicators)].astype(np.float64)])
    terms = np.array(card.coefficients) * (inputs - np.array(card.means)) / np.array(card.scales)
    slope, shift = (1.0, 0.0) if card.sigmoid is None else (-card.sigmoid[0], -card.sigmoid[1])
    terms = slope * terms
    shares = terms[: len(row)].copy()
    for k, column in enumerate(card.indicators):
        shares[column] += terms[len(row) + k]
    start = slope * card.intercept + shift
    end = start + float(terms.sum())
    base, p = _sigmoid(start), _sigmoid(end)
    rate = (p - base) / (end - start) if end != start else 0.0
    parts = [
        Contribution(name=name, value=float(v), log_odds=float(c), probability=float(c) * rate)
        for name, v, c in zip(FEATURE_COLUMNS, row, shares, strict=True)
    ]
    ordered = sorted(parts, key=lambda c: (-abs(c.log_odds), c.name))
    return Explanation(base=base, probability=p, base_log_odds=start, log_odds=end, parts=tuple(ordered))


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))
