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
    start, parts_of_row = log_odds_parts(card, row[None, :])
    shares = parts_of_row[0]
    end = start + float(shares.sum())
    base, p = _sigmoid(start), _sigmoid(end)
    rate = (p - base) / (end - start) if end != start else 0.0
    parts = [
        Contribution(name=name, value=float(v), log_odds=float(c), probability=float(c) * rate)
        for name, v, c in zip(FEATURE_COLUMNS, row, shares, strict=True)
    ]
    ordered = sorted(parts, key=lambda c: (-abs(c.log_odds), c.name))
    return Explanation(base=base, probability=p, base_log_odds=start, log_odds=end, parts=tuple(ordered))


def log_odds_parts(model: Logistic, matrix: Floats) -> tuple[float, Floats]:
    """Return the log-odds of a model as a constant and one part per feature, float64[n, features].

    A feature's being unknown is an input of its own to the model; here it belongs to the feature.
    """
    unknown = np.isnan(matrix)
    count = matrix.shape[1]
    slope = np.array(model.coefficients) / np.array(model.scales)
    means = np.array(model.means)
    parts = (np.where(unknown, np.array(model.medians), matrix) - means[:count]) * slope[:count]
    for k, column in enumerate(model.indicators, start=count):
        parts[:, column] += (unknown[:, column] - means[k]) * slope[k]
    if model.sigmoid is None:
        return model.intercept, parts
    a, b = model.sigmoid
    return -(a * model.intercept + b), -a * parts


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))
