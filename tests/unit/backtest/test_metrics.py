"""The fixtures of DOMAIN 2.7 to 1e-9, and what is undefined stays undefined."""

import math

import numpy as np
import pytest

from kobe.backtest import metrics
from kobe.core.intervals import wilson_interval

R = np.array([0.01, -0.02, 0.03, -0.01, 0.02, 0, -0.015, 0.012, 0.004, -0.006])
PNL = np.array([120, -80, 45, 60, -100, 30, -20, 75, -55, 0], dtype=float)
R_MULTIPLES = np.array([1.2, -1, 0.45, 0.6, -1.25, 0.3, -0.2, 0.75, -0.55, 0])


def test_the_curve_fixture_gives_the_printed_figures():
    assert metrics.sharpe(R) == pytest.approx(2.50525, abs=5e-6)
    assert metrics.sharpe(R, 0.05) == pytest.approx(2.31122, abs=5e-6)
    assert metrics.sortino(R) == pytest.approx(4.54934, abs=5e-6)
    assert metrics.max_drawdown(R) == pytest.approx(-0.02, abs=1e-9)
    assert np.prod(1 + R) == pytest.approx(1.0241342, abs=5e-8)
    assert metrics.cagr(R) == pytest.approx(0.82387, abs=5e-6)


def test_sharpe_and_sortino_equal_their_definitions_to_1e_9():
    mean = sum(R) / 10
    spread = math.sqrt(sum((x - mean) ** 2 for x in R) / 9)
    downside = math.sqrt(sum(min(x, 0) ** 2 for x in R) / 10)
    assert metrics.sharpe(R) == pytest.approx(math.sqrt(252) * mean / spread, abs=1e-9)
    assert metrics.sortino(R) == pytest.approx(math.sqrt(252) * mean / downside, abs=1e-9)


def test_a_drawdown_from_the_starting_equity_counts():
    assert metrics.max_drawdown(np.array([-0.10, 0.05, 0.02])) == pytest.approx(-0.10, abs=1e-12)


def test_the_trade_fixture_gives_the_printed_figures():
    t = metrics.trade_metrics(PNL, R_MULTIPLES, np.arange(10, dtype=np.int32))
    assert t.profit_factor == pytest.approx(330 / 255, abs=1e-9)
    assert t.win_rate == pytest.approx(0.5, abs=1e-12)
    assert t.payoff == pytest.approx(1.035294, abs=5e-7)
    assert t.expectancy == pytest.approx(7.5, abs=1e-12)
    assert t.average_r == pytest.approx(0.03, abs=1e-12)


def test_what_is_undefined_is_nan_and_neither_zero_nor_infinite():
    flat, gains = np.zeros(5), np.array([1.0, 2.0])
    assert math.isnan(metrics.sharpe(flat))
    assert math.isnan(metrics.sharpe(R[:1]))
    assert math.isnan(metrics.profit_factor(gains))
    assert math.isnan(metrics.payoff(gains))
    assert math.isnan(metrics.win_rate(np.zeros(0)))
    assert math.isnan(metrics.cagr(np.zeros(0)))
    assert metrics.cagr(np.array([-1.0])) == -1.0
    assert math.isnan(wilson_interval(0, 0)[0])


def test_wilson_s_interval_of_eighteen_in_thirty_is_the_printed_one():
    low, high = wilson_interval(18, 30)
    assert (round(low, 2), round(high, 2)) == (0.42, 0.75)


def test_trades_of_one_date_count_as_one_observation():
    """Copying every trade within its date must not make the mean look surer."""
    rng = np.random.default_rng(3)
    r, dates = rng.normal(0.1, 1, 60), np.arange(60, dtype=np.int32)
    once = metrics.date_clustered_t(r, dates)
    many = metrics.date_clustered_t(np.repeat(r, 5), np.repeat(dates, 5))
    assert many == pytest.approx(once, rel=1e-12)
    assert once == pytest.approx(r.mean() / (r.std(ddof=1) / math.sqrt(60)), rel=0.02)
