"""Rolling Sharpe: each window equals the one formula, its band is seeded and holds the truth as often as it says."""

import numpy as np
import pytest

from kobe.backtest import metrics
from kobe.backtest.montecarlo import bootstrap_interval
from kobe.backtest.rolling import rolling_sharpe


def test_each_value_is_the_sharpe_ratio_of_its_own_window_and_the_last_ends_with_the_last_return():
    returns = np.random.default_rng(3).normal(0.0005, 0.01, 1000)
    told = rolling_sharpe(returns, seed=1, samples=20)
    assert told.ends[-1] == 999
    assert set(np.diff(told.ends)) == {21}
    assert told.ends[0] >= 251
    for end, value in zip(told.ends, told.value, strict=True):
        assert value == pytest.approx(metrics.sharpe(returns[end - 251 : end + 1]), rel=1e-12)


def test_later_returns_change_no_earlier_window():
    returns = np.random.default_rng(4).normal(0, 0.01, 252 + 21 * 10)
    spoiled = returns.copy()
    spoiled[-21:] *= 7
    a, b = (rolling_sharpe(r, seed=1, samples=50) for r in (returns, spoiled))
    assert np.array_equal(a.value[:-1], b.value[:-1])
    assert np.array_equal(a.low[:-1], b.low[:-1])
    assert a.value[-1] != b.value[-1]


def test_the_band_is_that_of_the_bootstrap_used_everywhere():
    returns = np.random.default_rng(5).normal(0.001, 0.01, 252)
    told = rolling_sharpe(returns, seed=7, samples=300)
    low, high = bootstrap_interval(returns, metrics.sharpe, seed=7, samples=300)
    assert (told.low[0], told.high[0]) == pytest.approx((low, high), rel=1e-9)


def test_too_few_returns_give_no_window_and_flat_ones_no_figure():
    assert len(rolling_sharpe(np.zeros(251), seed=1, samples=5).ends) == 0
    flat = rolling_sharpe(np.zeros(300), seed=1, samples=5)
    assert np.isnan(flat.value).all()
    assert np.isnan(flat.low).all()
