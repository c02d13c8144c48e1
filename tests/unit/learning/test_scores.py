"""Scores of DOMAIN 3.3 against the golden ten forecasts, and honest yardsticks."""

import numpy as np
import pytest

from kobe.learning import calibrate
from kobe.learning.dataset import average_uniqueness

P = np.array([0.55, 0.62, 0.58, 0.71, 0.66, 0.45, 0.80, 0.52, 0.61, 0.68])
Y = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0, 1], dtype=float)
EDGES = np.array([0.0, 0.5, 0.6, 0.7, 1.0])


def test_the_golden_forecasts_give_the_printed_scores():
    assert calibrate.brier(P, Y) == pytest.approx(0.21504, abs=5e-6)
    assert calibrate.log_loss(P, Y) == pytest.approx(0.616685, abs=5e-7)
    assert calibrate.brier_skill(P, Y) == pytest.approx(0.104, abs=5e-4)
    bins = calibrate.reliability(P, Y, EDGES)
    assert [b.n for b in bins] == [1, 3, 4, 2]
    assert calibrate.expected_calibration_error(P, Y, EDGES) == pytest.approx(0.1860, abs=5e-5)
    reliability = sum(b.n * (b.mean_p - b.frac_pos) ** 2 for b in bins) / 10
    resolution = sum(b.n * (b.frac_pos - Y.mean()) ** 2 for b in bins) / 10
    assert (round(reliability, 5), round(resolution, 5)) == (0.04446, 0.07333)
    of_bins = np.array([next(b.mean_p for b in bins if b.lo <= p < b.hi or b.hi == 1.0) for p in P])
    assert calibrate.brier(of_bins, Y) == pytest.approx(reliability - resolution + 0.24, abs=1e-12)


def test_even_a_perfect_forecaster_has_a_calibration_error():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.3, 0.8, 200)
    edges = calibrate.quantile_edges(p)
    assert 0.07 < calibrate.ece_null(p, edges, seed=1) < 0.13


def test_labels_that_share_their_days_weigh_less_and_weights_average_one():
    first, last = np.array([0, 0, 10], dtype=np.int32), np.array([4, 4, 14], dtype=np.int32)
    np.testing.assert_allclose(average_uniqueness(first, last), [0.5, 0.5, 1.0])
    assert len(average_uniqueness(first[:0], last[:0])) == 0
