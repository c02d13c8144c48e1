"""Figures against scipy, against sums done by hand, and where there is nothing to divide by (DOMAIN 2.7, 2.8)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from kobe.backtest import metrics
from kobe.core.intervals import wilson_interval

R = np.array([0.01, -0.02, 0.03, -0.01, 0.02, 0, -0.015, 0.012, 0.004, -0.006])


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_s_interval_equals_scipy_s(n, data):
    wins = data.draw(st.integers(0, n))
    theirs = binomtest(wins, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(wins, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_the_clustered_t_statistic_of_four_trades_on_three_dates_by_hand():
    """Mean 0.625; sums of residuals by date 1.75, -1.625, -0.125; squares 5.71875, times 3/2; root over 4."""
    error = math.sqrt(5.71875 * 3 / 2) / 4
    got = metrics.date_clustered_t(np.array([1.0, -1.0, 2.0, 0.5]), np.array([7, 8, 7, 9], dtype=np.int32))
    assert got == pytest.approx(0.625 / error, abs=1e-12)
    assert got == pytest.approx(0.85358, abs=5e-6)


def test_with_one_trade_a_date_the_t_statistic_is_students():
    rng = np.random.default_rng(5)
    x = rng.normal(0.2, 1, 40)
    wanted = x.mean() / (x.std(ddof=1) / math.sqrt(40))
    assert metrics.date_clustered_t(x, np.arange(40, dtype=np.int32)) == pytest.approx(wanted, rel=1e-12)


def test_the_t_statistic_of_one_date_is_unknown():
    assert math.isnan(metrics.date_clustered_t(np.array([1.0, 2.0]), np.array([3, 3], dtype=np.int32)))
    assert math.isnan(metrics.date_clustered_t(np.zeros(0), np.zeros(0, np.int32)))


def test_the_sharpe_ratio_of_returns_that_never_vary_is_unknown():
    """The standard deviation is 0: NaN, never infinite and never the quotient of two roundings."""
    cases = {(value, n): metrics.sharpe(np.full(n, value)) for value in (0.0, 0.001, 0.1, -0.002) for n in (2, 10, 252)}
    assert {case: got for case, got in cases.items() if not math.isnan(got)} == {}


@given(value=st.floats(-0.9, 0.9), n=st.integers(1, 300))
def test_the_drawdown_and_growth_of_one_constant_return_have_closed_forms(value, n):
    returns = np.full(n, value)
    lowest = (1 + value) ** n - 1 if value < 0 else 0.0
    assert metrics.max_drawdown(returns) == pytest.approx(lowest, abs=1e-9)
    assert metrics.cagr(returns) == pytest.approx((1 + value) ** 252 - 1, rel=1e-9)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
def test_the_drawdown_equals_the_deepest_fall_from_any_earlier_equity(returns):
    equity = [1.0]
    for r in returns:
        equity.append(equity[-1] * (1 + r))
    worst = min(equity[j] / equity[i] - 1 for i in range(len(equity)) for j in range(i, len(equity)))
    assert metrics.max_drawdown(np.array(returns)) == pytest.approx(worst, abs=1e-12)


def test_the_fixture_s_drawdown_ratio_and_mar():
    m = metrics.curve_metrics(R, np.full(10, 0.3))
    assert m.days == 10
    assert m.max_drawdown == pytest.approx(-0.02, abs=1e-9)
    assert m.mar == pytest.approx((np.prod(1 + R) ** 25.2 - 1) / 0.02, rel=1e-9)
    assert m.exposure == pytest.approx(0.3)
    assert math.isnan(metrics.curve_metrics(np.full(5, 0.01), np.zeros(5)).mar)


def test_idle_days_stay_in_the_ratio():
    idle = np.concatenate((R, np.zeros(10)))
    assert metrics.sharpe(idle) == pytest.approx(math.sqrt(252) * idle.mean() / idle.std(ddof=1), abs=1e-9)
    assert metrics.sharpe(idle) < metrics.sharpe(R)


def test_the_trade_fixture_to_1e_9():
    pnl = np.array([120, -80, 45, 60, -100, 30, -20, 75, -55, 0], dtype=float)
    assert metrics.profit_factor(pnl) == pytest.approx(330 / 255, abs=1e-9)
    assert metrics.payoff(pnl) == pytest.approx((330 / 5) / (255 / 4), abs=1e-9)
    assert metrics.win_rate(pnl) == 0.5
    assert metrics.win_rate(pnl[pnl != 0]) == pytest.approx(0.5556, abs=5e-5)
    assert metrics.profit_factor(-np.abs(pnl)) == 0.0
    assert math.isnan(metrics.profit_factor(np.zeros(3)))
