"""What every strategy of the table must keep, whatever it trades."""

import re
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from kit import panels

from kobe.core.errors import ConfigError
from kobe.core.ids import signal_id
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams, Strategy, params_hash

COLUMNS = ("row", "side", "stop_distance", "stop_level", "target_r", "atr", "score", "exit_mask")


@pytest.fixture(params=list(STRATEGIES))
def strategy(request) -> Strategy:
    return STRATEGIES[request.param]


@pytest.fixture(scope="module")
def market() -> Panel:
    return panels.random_panel(21, symbols=30, bars=420)


def run(strategy: Strategy, whole: Panel, params: BaseParams | None = None) -> SignalTable:
    return strategy.signals(whole, FeatureTable(whole), params or strategy.defaults)


def eager(strategy: Strategy) -> BaseParams:
    """Both sides, every bar old and liquid enough: as many signals as the rules allow."""
    free = {"shorts": True, "min_history_bars": 0, "min_adv_usd": 0.0, "min_price_usd": 0.0, "sma_bars": 2}
    return strategy.params(free)


def test_the_table_names_each_strategy_as_it_names_itself():
    assert set(STRATEGIES) == {"ibs_rsi", "turtle_soup"}
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name
        assert strategy.summary.strip()
        assert not strategy.defaults.shorts


def test_the_same_bars_give_the_same_signals_and_are_left_alone(strategy, market):
    before = market.digest
    again = panels.panel(panels.histories(market))
    one, two = run(strategy, market), run(strategy, again)
    assert all(getattr(one, c).tobytes() == getattr(two, c).tobytes() for c in COLUMNS)
    assert one.signals(market) == two.signals(again)
    del market.__dict__["digest"]
    assert market.digest == before


def test_a_table_of_features_already_used_gives_the_same_signals(strategy, market):
    shared = FeatureTable(market)
    for other in STRATEGIES.values():
        other.signals(market, shared, eager(other))
    one, two = strategy.signals(market, shared, strategy.defaults), run(strategy, market)
    assert all(getattr(one, c).tobytes() == getattr(two, c).tobytes() for c in COLUMNS)


@pytest.mark.parametrize("params_of", [lambda s: s.defaults, eager], ids=["defaults", "eager"])
def test_signals_are_ordered_finite_and_bounded(strategy, market, params_of: Callable[[Strategy], BaseParams]):
    params = params_of(strategy)
    table = run(strategy, market, params)
    assert len(table) > 5
    assert (np.diff(table.row) > 0).all()
    assert set(table.side.tolist()) <= {1, -1}
    assert params.shorts or set(table.side.tolist()) == {1}
    assert len(table.exit_mask) == len(market)
    assert ((table.score >= 0) & (table.score <= 1)).all()
    assert (table.atr > 0).all()
    assert np.array_equal(table.atr, FeatureTable(market).column("atr", params.atr_bars)[table.row])
    stop = np.where(np.isnan(table.stop_level), table.stop_distance, table.stop_level)
    assert (np.isfinite(stop) & (stop > 0)).all()
    assert (table.target_r[~np.isnan(table.target_r)] > 0).all()
    assert (table.strategy, table.params_hash) == (strategy.name, params_hash(strategy.name, params))
    assert (table.max_gap_atr, table.hold_bars) == (params.max_gap_atr, params.hold_bars)


def test_every_grid_point_puts_the_stop_on_the_losing_side_and_the_target_on_the_winning_one(strategy, market):
    for params in strategy.combinations(replace(strategy.defaults, shorts=True)):
        for signal in run(strategy, market, params).signals(market):
            sign = 1 if signal.side == "long" else -1
            assert sign * (signal.reference_close - signal.stop) > 0
            assert signal.target is None or sign * (signal.target - signal.reference_close) > 0


def test_signal_names_are_unique_and_made_from_the_five_facts(strategy, market):
    both = [s for params in (strategy.defaults, eager(strategy)) for s in run(strategy, market, params).signals(market)]
    assert len({s.signal_id for s in both}) == len(both)
    for s in both:
        assert s.signal_id == signal_id(strategy.name, s.symbol, s.side, s.signal_date, s.params_hash)
        assert s.valid_session == market.calendar.next(s.signal_date)
        bars = market[s.symbol]
        t = np.flatnonzero(bars.session == market.calendar.number(s.signal_date))
        assert s.reference_close == bars.close[t[0]]


def test_another_parameter_is_another_hash_and_another_strategy_too(strategy):
    hashes = [params_hash(strategy.name, p) for p in strategy.combinations(strategy.defaults)]
    assert len(set(hashes)) == len(hashes)
    assert params_hash(strategy.name, replace(strategy.defaults)) == params_hash(strategy.name, strategy.defaults)
    assert params_hash("another", strategy.defaults) != params_hash(strategy.name, strategy.defaults)


def odd_panels() -> dict[str, Panel]:
    rng = np.random.default_rng(5)
    walk = panels.random_walk(rng, 300)
    return {
        "no symbols": panels.panel({}),
        "one bar": panels.panel({"A": panels.f11().take(slice(0, 1))}),
        "one bar each": panels.panel({name: walk.take(slice(k, k + 1)) for k, name in enumerate("ABC")}),
        "two bars": panels.panel({"A": walk.take(slice(0, 2))}),
        "a bar short of history": panels.panel({"A": walk.take(slice(0, 250)), "SPY": walk.take(slice(50, 300))}),
        "all flat": panels.panel({"A": panels.flat(20.0, 400), "B": panels.flat(33.33, 300)}),
        "no volume": panels.panel({"A": replace(walk, volume=np.zeros(300))}),
        "penny stock": panels.panel({"A": panels.random_walk(rng, 300, price=0.5)}),
    }


@pytest.mark.parametrize("name", list(odd_panels()))
def test_odd_panels_give_no_signal_and_no_fault(strategy, name):
    whole = odd_panels()[name]
    table = run(strategy, whole, strategy.params({"shorts": True}))
    assert len(table) == 0
    assert table.signals(whole) == []
    assert len(table.exit_mask) == len(whole)


def test_a_missing_session_is_skipped_and_disturbs_no_other_symbol(strategy, market):
    holes = {**panels.histories(market)}
    missing = np.arange(len(holes["S000"])) % 50 != 49
    holes["S000"] = holes["S000"].take(missing)
    with_holes = panels.panel(holes)
    sides = [
        {(s.symbol, s.signal_date, s.side) for s in run(strategy, p, eager(strategy)).signals(p) if s.symbol != "S000"}
        for p in (market, with_holes)
    ]
    assert sides[0] == sides[1]
    days = {market.calendar.sessions[i] for i in market["S000"].session[~missing]}
    found = run(strategy, with_holes, eager(strategy)).signals(with_holes)
    assert not days & {s.signal_date for s in found if s.symbol == "S000"}


def test_every_parameter_is_documented(strategy):
    documented = set()
    for kind in type(strategy.defaults).__mro__[:-1]:
        attributes = (kind.__doc__ or "").partition("Attributes:")[2]
        for names in re.findall(r"^\s+((?:\w+, )*\w+): ", attributes, re.MULTILINE):
            documented |= set(names.split(", "))
    assert documented == {f.name for f in fields(strategy.defaults)}


def test_the_grid_turns_parameters_the_strategy_has_around_its_defaults(strategy):
    assert set(strategy.grid) <= {f.name for f in fields(strategy.defaults)}
    points = strategy.combinations(strategy.defaults)
    assert strategy.defaults in points
    assert len({repr(p) for p in points}) == len(points) == np.prod([len(v) for v in strategy.grid.values()])


def test_an_unknown_parameter_is_refused_with_the_known_ones(strategy):
    with pytest.raises(ConfigError, match=f"unknown parameter of {strategy.name}; seen: no_such_thing; .*atr_bars"):
        strategy.params({"no_such_thing": 1, "sma_bars": 50})
    assert strategy.params({"sma_bars": 50}) == replace(strategy.defaults, sma_bars=50)
    assert strategy.params({}) == strategy.defaults
