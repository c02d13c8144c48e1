"""What a logistic meta-model looks at: permutation importance by date, and Shapley values of single forecasts.

Shapley values are interventional: a feature that is not in the coalition takes its value from a background row,
whatever the others are. In log-odds the model is a sum over features and its Shapley values are exact; in
probabilities they are means over orders in which the features are revealed.

Source: Breiman 2001; Lundberg and Lee 2017; Mitchell et al. 2022 for antithetic orders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt

from kobe.core.errors import DataError
from kobe.core.panel import Floats, Ints
from kobe.learning import calibrate
from kobe.learning.contributions import log_odds_parts
from kobe.learning.model import Logistic

REPEATS = 50
PAIRS = 16  # orders of the features, each walked there and back
CHUNK = 2_000_000  # floats held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Shapley values of some forecasts.

    Attributes:
        base: mean forecast over the background.
        values: float64[rows, features]; base plus a row's sum is its forecast. No NaN.
    """

    base: float
    values: Floats

    @property
    def size(self) -> Floats:
        """Mean size per feature, float64[features]."""
        result: Floats = np.abs(self.values).mean(axis=0)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """By how much the Brier score rises when a feature's values are dealt to other dates, per feature.

    Attributes:
        brier: of the model as it is.
        rise: float64[features], mean over the repeats; negative where the feature did harm.
        spread: float64[features], standard deviation over the repeats.
    """

    brier: float
    rise: Floats
    spread: Floats


def dealt_by_date(session: npt.NDArray[np.int32], rng: np.random.Generator) -> Ints:
    """Return for each row the row whose value it is given: every date gets the values of one date, in order.

    Each date gives to exactly one. Where the giver has fewer rows they are gone through again, where it has more some
    are left out, beginning anywhere. So what rows of one date have in common they still have in common.
    """
    order = np.argsort(session, kind="stable")
    _, starts, counts = np.unique(session[order], return_index=True, return_counts=True)
    giver = np.repeat(rng.permutation(len(starts)), counts)
    begun = np.repeat(rng.integers(0, np.iinfo(np.int32).max, len(starts)), counts)
    place = np.arange(len(session)) - np.repeat(starts, counts)
    source = np.empty(len(session), dtype=np.int64)
    source[order] = order[starts[giver] + (place + begun) % counts[giver]]
    return source


def permutation_importance(
    probability: Callable[[Floats], Floats], matrix: Floats, y: Floats, session: npt.NDArray[np.int32],
    *, seed: int, repeats: int = REPEATS,
) -> Importance:  # fmt: skip
    """Deal each feature's values to other dates and see how much worse the forecasts get.

    Args:
        probability: the model, from float64[n, features] to float64[n].
        matrix: its inputs, NaN where unknown; what is unknown is dealt like any value.
        y: outcomes, 0 or 1.
        session: of each row.
        seed: of the dealing, which is the same for every feature.
        repeats: how often each feature is dealt.

    Raises:
        DataError: no rows.
    """
    _check_rows(matrix)
    rng = np.random.default_rng(seed)
    as_it_is = calibrate.brier(probability(matrix), y)
    rises = np.empty((repeats, matrix.shape[1]))
    for turn in range(repeats):
        source = dealt_by_date(session, rng)
        for k in range(matrix.shape[1]):
            dealt = matrix.copy()
            dealt[:, k] = matrix[source, k]
            rises[turn, k] = calibrate.brier(probability(dealt), y) - as_it_is
    return Importance(brier=as_it_is, rise=rises.mean(axis=0), spread=rises.std(axis=0))


def _check_rows(*matrices: Floats) -> None:
    if any(len(m) == 0 for m in matrices):
        raise DataError("no rows to explain a model by", expected="one or more", next_command="kobe walk-forward")


def linear_shap(model: Logistic, matrix: Floats, background: Floats) -> Attribution:
    """Return the exact Shapley values of a model's log-odds.

    Args:
        model: the model.
        matrix: rows to explain, float64[n, features], NaN where unknown.
        background: rows the model was made for, float64[m, features].

    Raises:
        DataError: no rows.
    """
    _check_rows(matrix, background)
    constant, parts = log_odds_parts(model, matrix)
    usual = log_odds_parts(model, background)[1].mean(axis=0)
    return Attribution(base=constant + float(usual.sum()), values=parts - usual)


def permutation_shap(
    model: Logistic, matrix: Floats, background: Floats, *, seed: int, pairs: int = PAIRS
) -> Attribution:
    """Return Shapley values of a model's probabilities, as means over orders of its features.

    Every order is walked there and back (antithetic). Where there are no more orders than `2 * pairs` all are walked
    and the values are exact. Each walk begins at the base and ends at the forecast, so that the values add up.

    Args:
        model: the model.
        matrix: rows to explain, float64[n, features], NaN where unknown.
        background: rows the model was made for, float64[m, features]; time grows with their number.
        seed: of the orders.
        pairs: how many orders.

    Raises:
        DataError: no rows.
    """
    _check_rows(matrix, background)
    constant, parts = log_odds_parts(model, matrix)
    behind = log_odds_parts(model, background)[1]
    start = constant + behind.sum(axis=1)
    orders = _orders(matrix.shape[1], pairs, seed)
    total = np.zeros(matrix.shape)
    rows = max(1, CHUNK // behind.size)
    for first in range(0, len(parts), rows):
        part = slice(first, first + rows)
        for order in orders:
            steps = np.cumsum(parts[part, None, order] - behind[None, :, order], axis=2)
            walked = _sigmoid(start[None, :, None] + steps).mean(axis=1)
            before = np.column_stack([np.full(len(walked), _sigmoid(start).mean()), walked[:, :-1]])
            total[part, order] += walked - before
    return Attribution(base=float(_sigmoid(start).mean()), values=total / len(orders))


def _orders(count: int, pairs: int, seed: int) -> list[Ints]:
    if factorial(count) <= 2 * pairs:
        return [np.array(order, dtype=np.int64) for order in permutations(range(count))]
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(count) for _ in range(pairs)]
    return [order for there in drawn for order in (there, there[::-1])]


def _sigmoid(score: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-score))
    return result
