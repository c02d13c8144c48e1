"""In markets without drift nothing is earned before costs, and costs are lost (DOMAIN 1.5, item 4)."""

import math

import numpy as np
import pytest
from kit import panels

from kobe.backtest import engine
from kobe.backtest.costs import flat_costs
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

UNIVERSES, SYMBOLS, BARS, STEPS = 200, 16, 200, 26
YOUNG = {"min_history_bars": 60, "min_adv_usd": 0.0, "shorts": True}
CHANGES = {
    "ibs_rsi": {**YOUNG, "sma_bars": 20},
    "turtle_soup": {**YOUNG, "sma_bars": 60, "lookback_bars": 6, "min_depth_atr": 0.0},
}


def martingale(rng: np.random.Generator, volatility: float) -> panels.History:
    """Bars whose every step, overnight and inside the session, has an expected price equal to the last one."""
    gap, step = volatility * 0.5, volatility * math.sqrt(0.75 / STEPS)
    moves = np.column_stack((rng.normal(-gap * gap / 2, gap, BARS), rng.normal(-step * step / 2, step, (BARS, STEPS))))
    path = 50.0 * np.exp(np.cumsum(moves.ravel())).reshape(BARS, STEPS + 1)
    return panels.history(open=path[:, 0], high=path.max(axis=1), low=path.min(axis=1), close=path[:, -1])


@pytest.fixture(scope="module")
def results() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gross and net R of every closed trade of both strategies over all universes."""
    rng = np.random.default_rng(2026)
    found: dict[str, list] = {name: [] for name in CHANGES}
    for _ in range(UNIVERSES):
        panel = panels.panel({f"S{k:02d}": martingale(rng, float(rng.uniform(0.01, 0.03))) for k in range(SYMBOLS)})
        features = FeatureTable(panel)
        for name, change in CHANGES.items():
            strategy = STRATEGIES[name]
            signals = strategy.signals(panel, features, strategy.params(change))
            o = engine.evaluate(panel, features, signals, engine.Assumptions(costs=flat_costs(10.0)))
            kept = o.take(engine.one_per_symbol(o) & o.closed)
            found[name].append((kept.gross_r, kept.net_r))
    return {name: tuple(np.concatenate(x) for x in zip(*parts, strict=True)) for name, parts in found.items()}


@pytest.mark.parametrize("name", list(CHANGES))
def test_two_hundred_markets_without_drift_give_no_edge_and_cost_money(results, name):
    gross, net = results[name]
    assert len(gross) > 1500
    t = gross.mean() / (gross.std(ddof=1) / math.sqrt(len(gross)))
    assert abs(t) < 3
    assert net.mean() < 0
    assert (net < gross).all()
