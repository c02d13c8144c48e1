"""Fitness sees the train window only, and equals what walk-forward computes for the same combination."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kobe.backtest import walk_forward
from kobe.backtest.costs import flat_costs
from kobe.backtest.engine import Assumptions
from kobe.backtest.fitness import fitness, training
from kobe.backtest.folds import folds
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

ASSUMED = Assumptions(costs=flat_costs(5.0))


@pytest.fixture(scope="module")
def fold(synthetic_panel):
    return folds(synthetic_panel.first_session + 250, synthetic_panel.last_session, train=504, test=126, step=126)[0]


def test_fitness_is_the_objective_of_walk_forward(synthetic_panel, fold):
    spec = STRATEGIES["ibs_rsi"]
    walked = walk_forward.run(
        synthetic_panel,
        FeatureTable(synthetic_panel),
        spec,
        spec.defaults,
        [fold],
        ASSUMED,
        choice=walk_forward.Choice(least_trades=30),
    )
    window = training(synthetic_panel, fold)
    known = 0
    for params, trial in zip(spec.combinations(spec.defaults), walked.splits[0].trials, strict=True):
        found = fitness(window, spec, params, ASSUMED)
        assert found.trades == trial.trades
        assert (found.t == trial.objective) or (math.isnan(found.t) and math.isnan(trial.objective))
        known += not math.isnan(found.t)
    assert known >= 10


def test_what_comes_after_the_window_is_not_there(synthetic_panel, fold):
    window = training(synthetic_panel, fold)
    assert window.panel.last_session == fold.train_last
    factor = np.where(synthetic_panel.session > fold.train_last, 0.25, 1.0)
    prices = {c: getattr(synthetic_panel, c) * factor for c in ("open", "high", "low", "close")}
    crashed = training(replace(synthetic_panel, **prices), fold)
    spec = STRATEGIES["turtle_soup"]
    before, after = (fitness(w, spec, spec.defaults, ASSUMED) for w in (window, crashed))
    assert before == after
    assert before.trades > 0


def test_below_the_least_number_of_trades_there_is_no_t(synthetic_panel, fold):
    window, spec = training(synthetic_panel, fold), STRATEGIES["ibs_rsi"]
    found = fitness(window, spec, spec.defaults, ASSUMED, complexity=7)
    assert (found.complexity, found.trades >= 30, math.isnan(found.t)) == (7, True, False)
    at = fitness(window, spec, spec.defaults, ASSUMED, least_trades=found.trades)
    above = fitness(window, spec, spec.defaults, ASSUMED, least_trades=found.trades + 1)
    assert at.t == found.t
    assert math.isnan(above.t)
    assert above.mean_r == found.mean_r
    none = fitness(window, spec, spec.params({"min_adv_usd": 1e15}), ASSUMED)
    assert none.trades == 0
    assert math.isnan(none.t)
    assert math.isnan(none.mean_r)
