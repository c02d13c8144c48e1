"""The parts of a Brier score are those DOMAIN 3.3 prints, and they sum to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.intervals import wilson_interval
from kobe.learning import calibrate
from kobe.learning.scorecard import SHARES, coverage_curve, decomposition

P = np.array([0.55, 0.62, 0.58, 0.71, 0.66, 0.45, 0.80, 0.52, 0.61, 0.68])
Y = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0, 1], dtype=float)
R = np.array([0.5, 1.0, -1.0, 2.0, -0.5, -1.0, 1.5, 0.2, -0.8, 0.4])
EDGES = np.array([0.0, 0.5, 0.6, 0.7, 1.0])


def test_the_golden_forecasts_come_apart_as_printed():
    parts = decomposition(P, Y, EDGES)
    assert round(parts["reliability"], 5) == 0.04446
    assert round(parts["resolution"], 5) == 0.07333
    assert parts["uncertainty"] == pytest.approx(0.24, abs=1e-12)
    assert parts["within"] == pytest.approx(0.21504 - 0.21113, abs=1e-5)


def total(parts: dict[str, float]) -> float:
    return parts["reliability"] - parts["resolution"] + parts["uncertainty"]


@given(st.integers(0, 2**31), st.integers(2, 300))
def test_the_parts_sum_to_the_score_and_nothing_is_within_when_forecasts_of_a_bin_agree(seed, n):
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    y = (rng.random(n) < p).astype(float)
    parts = decomposition(p, y, EDGES)
    assert total(parts) + parts["within"] == pytest.approx(calibrate.brier(p, y), abs=1e-12)
    assert min(parts["reliability"], parts["resolution"], parts["uncertainty"]) >= 0
    which = np.searchsorted(EDGES, p, side="right")
    agreed = np.array([p[which == w].mean() for w in which])
    assert decomposition(agreed, y, EDGES)["within"] == pytest.approx(0.0, abs=1e-12)


def test_the_surest_forecasts_are_taken_first_and_shares_without_a_trade_are_left_out():
    rows = coverage_curve(P, Y, R)
    assert [(r["share"], r["n"], r["least_p"], r["won"]) for r in rows] == [
        (1.0, 10, 0.45, 0.6), (0.75, 8, 0.55, 5 / 8), (0.5, 5, 0.62, 4 / 5), (0.25, 2, 0.71, 1.0), (0.1, 1, 0.80, 1.0),
    ]  # fmt: skip
    assert [r["mean_r"] for r in rows] == pytest.approx([R.mean(), 3.1 / 8, 4.4 / 5, 1.75, 1.5])
    for row in rows:
        wins = round(row["won"] * row["n"])
        assert (row["wilson_lo"], row["wilson_hi"]) == wilson_interval(wins, row["n"])
        assert row["wilson_lo"] <= row["won"] <= row["wilson_hi"]
    assert [r["share"] for r in coverage_curve(np.tile(P, 4), np.tile(Y, 4), np.tile(R, 4))] == list(SHARES)


def test_equal_forecasts_are_taken_in_the_order_they_come():
    y = np.array([1.0, 0.0, 0.0, 0.0])
    rows = coverage_curve(np.full(4, 0.6), y, y)
    assert [r["won"] for r in rows if r["n"] == 1] == [1.0]
