"""Null markets keep what they say they keep and nothing else."""

import numpy as np
import pytest
from kit import panels

from kobe.backtest.nulls import phase_randomised, shuffled_sessions
from kobe.core.panel import Panel

NULLS = [phase_randomised, shuffled_sessions]
SYMBOLS, BARS = 5, 400


def returns(whole: Panel, symbol: str) -> np.ndarray:
    return np.diff(np.log(whole[symbol].close))


def lagged(x: np.ndarray, lag: int = 1) -> float:
    return float(np.corrcoef(x[lag:], x[:-lag])[0, 1])


def market(bars: int = BARS, reversal: float = 0.0, clustering: float = 0.0) -> Panel:
    """Symbols with a common part; `reversal` takes back a share of each move, `clustering` makes volatility last."""
    rng = np.random.default_rng(17)
    level = np.zeros(bars)
    for t in range(1, bars):
        level[t] = 0.95 * level[t - 1] + clustering * rng.normal()
    common = rng.normal(0, 0.01, bars) * np.exp(level)
    made = {}
    for k in range(SYMBOLS):
        shocks = common + rng.normal(0, 0.01, bars) * np.exp(level)
        moves = shocks - reversal * np.concatenate(([0.0], shocks[:-1]))
        close = 40.0 * np.exp(np.cumsum(moves))
        opened = np.concatenate(([40.0], close[:-1])) * np.exp(rng.normal(0, 0.004, bars))
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.005, bars)))
        low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.005, bars)))
        made[f"S{k}"] = panels.history(
            open=opened, high=high, low=low, close=close, volume=rng.uniform(1e6, 2e6, bars), raw_factor=1.0 + k
        )
    return panels.panel(made)


@pytest.mark.parametrize("null", NULLS)
def test_the_same_seed_gives_the_same_bits_and_another_one_another_market(null):
    whole = market()
    before = whole.digest
    assert null(whole, 3).digest == null(whole, 3).digest
    assert null(whole, 3).digest != null(whole, 4).digest
    assert whole.digest == before


@pytest.mark.parametrize("null", NULLS)
def test_a_null_market_has_the_same_sessions_and_says_that_it_is_made_up(null):
    whole = panels.random_panel(5, symbols=7, bars=260)
    made = null(whole, 1)
    for name in ("symbols", "universe", "feed"):
        assert getattr(made, name) == getattr(whole, name)
    for name in ("offsets", "session", "raw_factor", "tradable"):
        assert np.array_equal(getattr(made, name), getattr(whole, name))
    assert made.is_synthetic
    assert not whole.is_synthetic
    firsts = whole.offsets[:-1]
    assert np.array_equal(made.close[firsts], whole.close[firsts])


@pytest.mark.parametrize("null", NULLS)
def test_bars_of_a_null_market_are_bars(null):
    made = null(panels.random_panel(6, symbols=7, bars=260), 1)
    assert (made.low > 0).all()
    assert (made.low <= np.minimum(made.open, made.close) * (1 + 1e-12)).all()
    assert (made.high >= np.maximum(made.open, made.close) * (1 - 1e-12)).all()
    assert np.isfinite(made.high).all()
    assert (made.volume > 0).all()


@pytest.mark.parametrize("bars", [BARS, BARS + 1])
def test_turned_phases_keep_every_spectrum_and_every_cross_spectrum(bars):
    whole = market(bars, reversal=0.4)
    made = phase_randomised(whole, 9)
    for a in whole.symbols:
        for b in whole.symbols:
            old = np.fft.rfft(returns(whole, a)) * np.conj(np.fft.rfft(returns(whole, b)))
            new = np.fft.rfft(returns(made, a)) * np.conj(np.fft.rfft(returns(made, b)))
            assert np.allclose(old, new, rtol=0, atol=1e-9), (a, b)
        assert abs(np.corrcoef(returns(whole, a), returns(made, a))[0, 1]) < 0.2
        assert np.allclose(returns(whole, a).std(), returns(made, a).std())


@pytest.mark.parametrize("null", NULLS)
def test_the_drift_stays(null):
    whole = market()
    for seed in range(20):
        made = null(whole, seed)
        for s in whole.symbols:
            assert returns(made, s).mean() == pytest.approx(returns(whole, s).mean(), abs=1e-12)


def test_turned_phases_keep_a_linear_reversal_and_dealt_sessions_do_not():
    whole = market(2000, reversal=0.5)
    turned, dealt = phase_randomised(whole, 2), shuffled_sessions(whole, 2)
    for s in whole.symbols:
        assert lagged(returns(whole, s)) < -0.3
        assert lagged(returns(turned, s)) == pytest.approx(lagged(returns(whole, s)), abs=0.01)
        assert abs(lagged(returns(dealt, s))) < 0.1


@pytest.mark.parametrize("null", NULLS)
def test_volatility_no_longer_clusters(null):
    whole = market(2000, clustering=0.25)
    made = null(whole, 2)
    for s in whole.symbols:
        assert lagged(np.abs(returns(whole, s))) > 0.2
        assert abs(lagged(np.abs(returns(made, s)))) < 0.1


@pytest.mark.parametrize("null", NULLS)
def test_wicks_and_dollar_volumes_are_dealt_anew_for_all_symbols_alike(null):
    whole = market()
    made = null(whole, 5)

    def upper(of: Panel, symbol: str) -> np.ndarray:
        bars = of[symbol]
        return np.log(bars.high / np.maximum(bars.open, bars.close))[1:]

    orders = set()
    for s in whole.symbols:
        old, new = upper(whole, s), upper(made, s)
        assert np.allclose(np.sort(old), np.sort(new), atol=1e-12)
        assert not np.allclose(old, new, atol=1e-6)
        orders.add(tuple(np.argsort(old)[np.argsort(np.argsort(new))].tolist()))
        dollars = [np.sort(of[s].volume * of[s].close) for of in (whole, made)]
        assert np.allclose(*dollars)
    assert len(orders) == 1


def test_dealt_sessions_keep_what_happened_together():
    whole = market()
    made = shuffled_sessions(whole, 5)
    old = np.column_stack([returns(whole, s) for s in whole.symbols])
    new = np.column_stack([returns(made, s) for s in whole.symbols])
    assert np.allclose(old[np.argsort(old[:, 0])], new[np.argsort(new[:, 0])], atol=1e-12)
    assert not np.allclose(old, new)


@pytest.mark.parametrize("null", NULLS)
def test_histories_too_short_to_change_are_left_alone_and_no_bars_are_no_fault(null):
    short = panels.panel({"A": panels.f11().take(slice(0, 3))})
    assert np.array_equal(null(short, 1).close, short.close)
    assert len(null(panels.panel({}), 1)) == 0
