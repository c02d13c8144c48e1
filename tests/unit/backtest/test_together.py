"""Tables followed together have the digits of tables followed one by one, however they overlap or disagree."""

from dataclasses import fields, replace

import numpy as np
import pytest

from kobe.backtest import engine, kernel, together
from kobe.backtest.costs import flat_costs
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

ASSUMED = Assumptions(costs=flat_costs(5.0))


def same(a: Outcomes, b: Outcomes) -> bool:
    columns = [f.name for f in fields(Outcomes) if f.name != "walked"]
    pairs = [(getattr(a, name), getattr(b, name)) for name in columns] + list(zip(a.walked, b.walked, strict=True))
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def whole(followed: together.Followed) -> Outcomes:
    return followed.take(np.ones(len(followed.place), dtype=np.bool_))


@pytest.mark.parametrize("name", list(STRATEGIES))
@pytest.mark.parametrize("shorts", [False, True])
def test_a_whole_grid_followed_together_equals_each_combination_by_itself(name, shorts, synthetic_panel: Panel):
    strategy, features = STRATEGIES[name], FeatureTable(synthetic_panel)
    grid = strategy.combinations(replace(strategy.defaults, shorts=shorts))
    tables = [strategy.signals(synthetic_panel, features, params) for params in grid]
    found = together.follow(synthetic_panel, features, tables, ASSUMED)
    assert sum(len(t) for t in tables) > 300
    for table, mine in zip(tables, found, strict=True):
        assert same(whole(mine), engine.evaluate(synthetic_panel, features, table, ASSUMED))


def test_combinations_that_share_their_exits_are_walked_once(synthetic_panel: Panel):
    strategy, features = STRATEGIES["ibs_rsi"], FeatureTable(synthetic_panel)
    grid = [strategy.params({"ibs_max": ibs}) for ibs in (0.10, 0.15, 0.20)]
    tables = [strategy.signals(synthetic_panel, features, params) for params in grid]
    found = together.follow(synthetic_panel, features, tables, ASSUMED)
    assert all(f.outcomes is found[0].outcomes for f in found)
    assert len(found[0].outcomes) == len(tables[2]) > len(tables[0])


def test_a_table_that_disagrees_about_one_stop_is_followed_by_itself(synthetic_panel: Panel):
    strategy, features = STRATEGIES["ibs_rsi"], FeatureTable(synthetic_panel)
    wide = strategy.signals(synthetic_panel, features, strategy.params({"ibs_max": 0.25}))
    narrow = strategy.signals(synthetic_panel, features, strategy.defaults)
    stops = wide.stop_distance.copy()
    stops[-1] = np.nextafter(stops[-1], 0.0)
    other = replace(wide, stop_distance=stops)
    found = together.follow(synthetic_panel, features, [narrow, wide, other], ASSUMED)
    assert found[0].outcomes is found[1].outcomes
    assert found[2].outcomes is not found[1].outcomes
    for table, mine in zip((narrow, wide, other), found, strict=True):
        assert same(whole(mine), engine.evaluate(synthetic_panel, features, table, ASSUMED))


def test_a_long_and_a_short_of_one_bar_keep_their_own_outcomes(synthetic_panel: Panel):
    strategy, features = STRATEGIES["ibs_rsi"], FeatureTable(synthetic_panel)
    table = strategy.signals(synthetic_panel, features, strategy.defaults)
    columns = ("row", "side", "stop_distance", "stop_level", "target_r", "atr", "score")
    doubled = replace(table, **{name: np.repeat(getattr(table, name), 2) for name in columns})
    doubled.side[1::2] = -1
    found = together.follow(synthetic_panel, features, [doubled, table], ASSUMED)
    assert same(whole(found[0]), engine.evaluate(synthetic_panel, features, doubled, ASSUMED))
    assert same(whole(found[1]), engine.evaluate(synthetic_panel, features, table, ASSUMED))


def test_tables_without_signals_are_followed_too(synthetic_panel: Panel):
    strategy, features = STRATEGIES["ibs_rsi"], FeatureTable(synthetic_panel)
    none = strategy.signals(synthetic_panel, features, strategy.params({"min_price_usd": 1e9}))
    some = strategy.signals(synthetic_panel, features, strategy.defaults)
    found = together.follow(synthetic_panel, features, [none, some, none], ASSUMED)
    assert [len(f.place) for f in found] == [0, len(some), 0]
    assert same(whole(found[1]), engine.evaluate(synthetic_panel, features, some, ASSUMED))


def test_first_come_on_shared_places_equals_first_come_on_the_table(synthetic_panel: Panel):
    strategy, features = STRATEGIES["ibs_rsi"], FeatureTable(synthetic_panel)
    grid = [strategy.params({"rsi_max": top}) for top in (5.0, 10.0)]
    tables = [strategy.signals(synthetic_panel, features, params) for params in grid]
    mine = together.follow(synthetic_panel, features, tables, ASSUMED)[0]
    o, place = mine.outcomes, mine.place
    ours = kernel.first_come(o.symbol[place], o.row[place], o.walked.exit_row[place], o.walked.state[place])
    alone = engine.evaluate(synthetic_panel, features, tables[0], ASSUMED)
    assert np.array_equal(ours, engine.one_per_symbol(alone))
