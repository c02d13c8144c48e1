"""The rules one by one and the strategy that decides say the same: a long signal is a row that breaks none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.conditions import first_broken

YOUNG = {"sma_bars": 20, "min_history_bars": 30, "min_adv_usd": 0.0}
CHANGES = [
    ("ibs_rsi", {}),
    ("ibs_rsi", YOUNG),
    ("ibs_rsi", YOUNG | {"ibs_max": 0.5, "rsi_max": 50.0, "shorts": True}),
    ("turtle_soup", {}),
    ("turtle_soup", YOUNG | {"min_depth_atr": 0.0, "lookback_bars": 6}),
    ("turtle_soup", YOUNG | {"min_age_bars": 1, "max_depth_atr": 0.5, "lookback_bars": 5}),
]


def agree(panel, name: str, change: dict) -> int:
    strategy, features = STRATEGIES[name], FeatureTable(panel)
    params = strategy.params(change)
    rules = strategy.conditions(panel, features, params, np.arange(len(panel)))
    table = strategy.signals(panel, features, params)
    fired = np.zeros(len(panel), dtype=bool)
    fired[table.row[table.side == 1]] = True
    np.testing.assert_array_equal(first_broken(rules) == len(rules), fired)
    assert ((sum(rule.miss() for rule in rules) == 0) == fired).all()
    return int(fired.sum())


@pytest.mark.parametrize(("name", "change"), CHANGES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_row_fires_exactly_where_every_condition_is_met(seed, name, change):
    agree(panels.random_panel(seed, symbols=3, bars=400), name, change)


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_on_real_bars_too(real_panel, name, change):
    assert agree(real_panel, name, change) > 0
