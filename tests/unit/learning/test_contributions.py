"""Shares of an explanation against brute force: the trained pipeline asked again with one input at its average."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from kobe.learning import train
from kobe.learning.contributions import explain
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import Logistic

N = len(FEATURE_COLUMNS)
UNKNOWN = [FEATURE_COLUMNS.index(n) for n in ("volatility_rank", "return_60", "depth_atr")]


@dataclass(frozen=True)
class Fitted:
    """A pipeline, its calibrator or None, its card, and rows to explain."""

    pipeline: Any
    wrapped: Any
    card: Logistic
    rows: np.ndarray

    def inputs(self, row: np.ndarray) -> np.ndarray:
        return self.pipeline[0].transform(row[None])[0]

    @property
    def average(self) -> np.ndarray:
        return self.pipeline[1].mean_

    def log_odds(self, inputs: np.ndarray) -> np.ndarray:
        """Log-odds of imputed inputs, float64[rows], by scikit-learn's scaler, regression and sigmoid."""
        score = self.pipeline[1:].decision_function(np.atleast_2d(inputs))
        if self.wrapped is None:
            return score
        sigmoid = self.wrapped.calibrated_classifiers_[0].calibrators[0]
        return -(sigmoid.a_ * score + sigmoid.b_)

    def probability(self, inputs: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-self.log_odds(inputs)))

    def places(self, k: int) -> list[int]:
        """Return where a feature stands among the inputs, its being unknown included."""
        features = self.pipeline[0].indicator_.features_.tolist()
        return [k, *([N + features.index(k)] if k in features else [])]


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "sigmoid"])
def fitted(request) -> Fitted:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(900, N)) * rng.uniform(0.1, 50, N) + rng.uniform(-5, 5, N)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    gone = rng.random((900, len(UNKNOWN))) < 0.2
    y = (rng.random(900) < 1 / (1 + np.exp(-(z[:, 0] - z[:, 5] + gone[:, 0])))).astype(float)
    for place, column in enumerate(UNKNOWN):
        x[gone[:, place], column] = np.nan
    pipeline = train._fit(x[:600], y[:600], rng.uniform(0.2, 1.0, 600), 0.1)
    wrapped, sigmoid = None, None
    if request.param:
        wrapped = CalibratedClassifierCV(FrozenEstimator(pipeline), method="sigmoid").fit(x[600:], y[600:])
        inner = wrapped.calibrated_classifiers_[0].calibrators[0]
        sigmoid = (float(inner.a_), float(inner.b_))
    return Fitted(pipeline, wrapped, train._arrays(pipeline, sigmoid), x[-40:])


def test_the_explained_probability_is_the_pipeline_s(fitted):
    model = fitted.pipeline if fitted.wrapped is None else fitted.wrapped
    for row, p in zip(fitted.rows, model.predict_proba(fitted.rows)[:, 1], strict=True):
        told = explain(fitted.card, row)
        assert told.probability == pytest.approx(p, abs=1e-12)
        assert told.base == pytest.approx(fitted.probability(fitted.average)[0], abs=1e-12)
        assert told.base + sum(c.probability for c in told.parts) == pytest.approx(p, abs=1e-12)
        assert told.base_log_odds + sum(c.log_odds for c in told.parts) == pytest.approx(told.log_odds, abs=1e-12)


def test_a_share_of_the_log_odds_is_what_is_lost_with_the_input_at_its_average(fitted):
    assert any(np.isnan(row[UNKNOWN]).any() for row in fitted.rows)
    for row in fitted.rows:
        inputs = fitted.inputs(row)
        shares = {c.name: c.log_odds for c in explain(fitted.card, row).parts}
        for k, name in enumerate(FEATURE_COLUMNS):
            without = inputs.copy()
            without[fitted.places(k)] = fitted.average[fitted.places(k)]
            lost = fitted.log_odds(inputs)[0] - fitted.log_odds(without)[0]
            assert shares[name] == pytest.approx(lost, abs=1e-10)


def test_a_share_of_the_probability_is_the_integral_of_its_slope_on_the_way_from_the_average(fitted):
    node, weight = np.polynomial.legendre.leggauss(48)
    t, step = (node + 1) / 2, 1e-5
    for row in fitted.rows[:12]:
        way = fitted.inputs(row) - fitted.average
        path = fitted.average + t[:, None] * way
        shares = {c.name: c.probability for c in explain(fitted.card, row).parts}
        for k, name in enumerate(FEATURE_COLUMNS):
            along = np.zeros_like(way)
            along[fitted.places(k)] = step * way[fitted.places(k)]
            slope = (fitted.probability(path + along) - fitted.probability(path - along)) / (2 * step)
            assert shares[name] == pytest.approx(float(weight @ slope) / 2, abs=1e-8)


def test_parts_keep_their_values_come_largest_first_and_ties_by_name(fitted):
    row = fitted.rows[np.isnan(fitted.rows).any(axis=1)][0]
    told = explain(fitted.card, row)
    assert {c.name for c in told.parts} == set(FEATURE_COLUMNS)
    np.testing.assert_array_equal([{c.name: c.value for c in told.parts}[n] for n in FEATURE_COLUMNS], row)
    sizes = [abs(c.log_odds) for c in told.parts]
    assert sizes == sorted(sizes, reverse=True)
    mute = replace(fitted.card, coefficients=(0.0,) * len(fitted.card.coefficients))
    assert [c.name for c in explain(mute, row).parts] == sorted(FEATURE_COLUMNS)


def test_the_average_row_has_nothing_to_explain_and_extreme_odds_do_not_overflow(fitted):
    known = replace(
        fitted.card, indicators=(), means=fitted.card.means[:N], scales=fitted.card.scales[:N],
        coefficients=fitted.card.coefficients[:N],
    )  # fmt: skip
    told = explain(known, np.array(known.means))
    assert told.probability == told.base
    assert {c.probability for c in told.parts} == {0.0}
    for sign in (-1.0, 1.0):
        far = explain(replace(known, intercept=sign * 5000.0, sigmoid=None), fitted.rows[0])
        assert far.probability == (1.0 if sign > 0 else 0.0)
        assert all(np.isfinite(c.probability) for c in far.parts)
