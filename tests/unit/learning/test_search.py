"""Searches: within bounds, each genome once and counted, reproducible, and not fooled by a lone peak."""

import logging
import math
import pickle
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.backtest.costs import flat_costs
from kobe.backtest.engine import Assumptions
from kobe.backtest.fitness import Fitness, training
from kobe.backtest.folds import folds
from kobe.core.errors import ConfigError, UsageError
from kobe.core.expressions import names, size
from kobe.features.table import INDICATORS
from kobe.learning.genetic import Evolution, ParameterBreeder, evolve
from kobe.learning.rule_genes import MOST_NODES, RuleBreeder, entry_of, exit_of, rule_genome
from kobe.learning.samplers import nsga2, tpe
from kobe.learning.search import (
    Guards,
    TrialLog,
    check_grid,
    grid,
    grid_size,
    judge,
    neighbours_in,
    ranked,
    resolve,
)
from kobe.learning.spaces import SPACES, Choice, Genome, Real, Whole, genome, jittered, nearby, points, snap
from kobe.strategies import STRATEGIES
from kobe.strategies.rule import read_rule
from kobe.strategies.spec import BaseParams

SPACE = {
    "x": Real(low=0.0, high=10.0, step=0.25),
    "n": Whole(low=1, high=20),
    "mode": Choice(("a", "b", "c")),
}


class Hill:
    """A smooth hill at x = 6, n = 12, mode b; it counts what it is asked and remembers it."""

    def __init__(self, *, peak: bool = False, level: float = 3.0) -> None:
        self.asked: list[Genome] = []
        self.calls = 0
        self.peak = peak
        self.level = level

    def __call__(self, genomes):
        self.calls += 1
        self.asked += genomes
        return [self.of(g) for g in genomes]

    def of(self, candidate: Genome) -> Fitness:
        v = candidate.values
        at = (v["x"], v["n"], v["mode"]) == (6.0, 12, "b")
        if self.peak:
            t = 9.0 if at else 0.5
        else:
            t = self.level - abs(v["x"] - 6.0) / 10 - abs(v["n"] - 12) / 40 - (v["mode"] != "b") * 0.5
        return Fitness(t=t, trades=100, mean_r=t / 10)


def searches(evaluate, seed=5):
    """Every method over SPACE."""
    return {
        "grid": lambda: grid("test", SPACE, evaluate, seconds_per_trial=0.1),
        "genetic": lambda: evolve(
            ParameterBreeder(kind="test", space=SPACE), evaluate, Evolution(population=20, generations=10, seed=seed)
        ),
        "tpe": lambda: tpe("test", SPACE, evaluate, trials=80, seed=seed),
        "nsga2": lambda: nsga2("test", SPACE, evaluate, trials=150, seed=seed, population=20),
    }


METHODS = list(searches(None))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_climbs_the_hill_and_counts_each_genome_once(method):
    hill = Hill()
    found = searches(hill)[method]()
    digests = [t.genome.digest for t in found.trials]
    assert len(set(digests)) == len(digests)
    assert [t.genome for t in found.trials] == hill.asked
    assert [t.number for t in found.trials] == list(range(1, len(digests) + 1))
    assert found.best.fitness.t > 2.85
    assert found.best == ranked(found.trials)[0] or found.best.step != "plateau"
    assert found.plateau.passed
    assert found.plateau.neighbours >= 2
    assert found.chosen == found.best.genome
    for trial in found.trials:
        for name, value in trial.genome.genes:
            assert value == snap(SPACE[name], value)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_search(method):
    one, two = searches(Hill())[method](), searches(Hill())[method]()
    assert one == two
    if method != "grid":
        assert searches(Hill(), seed=6)[method]().trials != one.trials


def test_the_genetic_search_asks_for_a_generation_at_once():
    hill = Hill()
    found = searches(hill)["genetic"]()
    assert hill.calls <= 11
    assert {t.step for t in found.trials} >= {f"generation {k}" for k in range(1, 11)}


class Spy:
    """A breeder that notes the parents it is handed; children are strangers."""

    def __init__(self) -> None:
        self.inner = ParameterBreeder(kind="test", space=SPACE)
        self.parents: list[Genome] = []

    def random(self, rng):
        return self.inner.random(rng)

    def cross(self, rng, one, two):
        self.parents += [one, two]
        return self.inner.random(rng)

    def mutate(self, rng, parent):
        return parent

    def neighbours(self, centre):
        return []


def test_the_best_genomes_live_on_and_have_children_in_every_generation():
    spy, count = Spy(), iter(range(10_000))

    def evaluate(genomes):
        return [Fitness(t=100.0 - next(count), trades=50, mean_r=0.1) for _ in genomes]

    found = evolve(spy, evaluate, Evolution(population=10, generations=12, elite=2, crossover=1.0))
    elite = [t.genome for t in found.trials[:2]]
    last = spy.parents[-16:]
    assert len(found.trials) == 10 + 11 * 8
    assert set(elite) & set(last)
    assert not set(last) & {t.genome for t in found.trials[2:80]}


def test_a_tournament_prefers_the_better_and_a_larger_one_more_so():
    means = []
    for tournament in (2, 5):
        spy, hill = Spy(), Hill()
        found = evolve(spy, hill, Evolution(population=20, generations=8, tournament=tournament, crossover=1.0))
        drawn = np.mean([t.fitness.t for t in found.trials])
        means.append(np.mean([hill.of(p).t for p in spy.parents]) - drawn)
    assert 0.1 < means[0] < means[1]


def test_a_lone_peak_is_found_and_rejected():
    found = grid("test", SPACE, Hill(peak=True), seconds_per_trial=0.0)
    assert found.best.score == 9.0
    assert not found.plateau.passed
    assert found.chosen is None
    assert found.plateau.why == "neighbours' median 0.50 against 9.00"


def test_the_plateau_is_the_median_of_each_gene_moved_by_a_tenth():
    asked = []
    centre = genome("test", {"x": 5.0, "n": 10, "mode": "a"}, SPACE)
    scores = {(4.5, 10): 0.8, (5.5, 10): 0.8, (5.0, 9): 0.9, (5.0, 11): 0.1}

    def evaluate(genomes):
        asked.extend((g.values["x"], g.values["n"]) for g in genomes)
        return [
            Fitness(t=scores.get(asked[-len(genomes) + i], 1.0), trades=50, mean_r=0.1) for i in range(len(genomes))
        ]

    log = TrialLog(evaluate, Guards())
    log.ask([centre], "given")
    found = log.conclude(neighbours_in(SPACE, 0.1))
    assert sorted(asked[1:]) == sorted(scores)
    assert (found.plateau.median, found.plateau.passed) == (0.8, True)
    scores[4.5, 10] = scores[5.5, 10] = 0.79
    log = TrialLog(evaluate, Guards())
    log.ask([centre], "given")
    assert not log.conclude(neighbours_in(SPACE, 0.1)).plateau.passed
    assert len(found.trials) == 5


def test_neighbours_with_too_few_trades_count_as_nothing():
    def evaluate(genomes):
        at = [g.values["x"] == 5.0 and g.values["n"] == 10 for g in genomes]
        return [Fitness(t=2.0 if a else math.nan, trades=100 if a else 29, mean_r=0.1) for a in at]

    log = TrialLog(evaluate, Guards())
    log.ask([genome("test", {"x": 5.0, "n": 10, "mode": "a"}, SPACE)], "given")
    found = log.conclude(neighbours_in(SPACE, 0.1))
    assert (found.plateau.passed, found.plateau.median, found.plateau.neighbours) == (False, 0.0, 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [math.nan, -5.0])
def test_nothing_is_chosen_where_nothing_made_money_or_traded_enough(method, level):
    found = searches(Hill(level=level))[method]()
    assert len(found.trials) > 50
    assert found.chosen is None
    assert (found.best is None) == math.isnan(level)
    assert found.best is None or found.plateau.why.startswith("no genome made money")


def test_a_small_space_is_searched_through_and_then_left():
    tiny = {"n": Whole(low=1, high=6), "mode": Choice(("a", "b"))}
    calls = []

    def evaluate(genomes):
        calls.extend(genomes)
        return [Fitness(t=float(g.values["n"]), trades=50, mean_r=0.1) for g in genomes]

    evolve(ParameterBreeder(kind="test", space=tiny), evaluate, Evolution(population=10, generations=50))
    assert len(calls) == len({g.digest for g in calls}) == 12
    calls.clear()
    tpe("test", tiny, evaluate, trials=40, seed=1)
    assert len(calls) == len({g.digest for g in calls}) <= 12


def test_complexity_costs_score():
    def evaluate(genomes):
        return [Fitness(t=2.0, trades=50, mean_r=0.1, complexity=30 if g.values["n"] == 1 else 3) for g in genomes]

    log = TrialLog(evaluate, Guards(complexity_penalty=0.02))
    both = [Genome("rule", (("n", 1),)), Genome("rule", (("n", 2),))]
    long, short = log.ask(both, "given")
    assert (long.score, short.score) == (pytest.approx(1.4), pytest.approx(1.94))
    assert ranked(log.trials)[0] == short


def test_an_evaluation_that_forgets_a_genome_is_a_fault():
    with pytest.raises(ValueError, match="2 genomes were asked for and 1 answered"):
        TrialLog(lambda _: [Fitness(t=1.0, trades=50, mean_r=0.1)], Guards()).ask(
            [Genome("a", (("n", 1),)), Genome("a", (("n", 2),))], "given"
        )


def test_a_grid_of_a_million_is_refused_with_what_it_would_take_and_nothing_is_evaluated():
    axes = {name: Whole(low=1, high=10) for name in "abcdef"}
    hill = Hill()
    assert grid_size(axes) == 1_000_000
    with pytest.raises(UsageError, match=r"1,000,000 trials, about 27\.8 hours at 0\.1 s .*at most 10,000"):
        grid("test", axes, hill, seconds_per_trial=0.1)
    assert hill.calls == 0
    at = {"a": Whole(low=1, high=100), "b": Whole(low=1, high=100)}
    assert check_grid(at, seconds_per_trial=1.0) == 10_000
    with pytest.raises(UsageError):
        check_grid({**at, "c": Choice(("x", "y"))}, seconds_per_trial=1.0)
    with pytest.raises(ConfigError, match="no grid"):
        grid_size({"a": Real(low=0.0, high=1.0)})


@pytest.mark.parametrize("changes", [
    {"population": 3}, {"population": 501}, {"generations": 0}, {"generations": 201}, {"tournament": 1},
    {"tournament": 41}, {"elite": 0}, {"elite": 21}, {"crossover": 1.1}, {"population": 500, "generations": 41},
])  # fmt: skip
def test_an_evolution_out_of_bounds_is_refused(changes):
    with pytest.raises(ConfigError, match=r"out of bounds; seen: .*; expected: .* to"):
        Evolution(**changes)
    Evolution(population=500, generations=40)


def test_samplers_refuse_rules_and_too_many_trials():
    for kind, trials in (("rule", 10), ("test", 0), ("test", 20_001)):
        with pytest.raises(ConfigError, match="out of bounds"):
            tpe(kind, SPACE, Hill(), trials=trials, seed=1)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"next: pip install 'kobe\[research\]'"):
        tpe("test", SPACE, Hill(), trials=5, seed=1)


def test_optuna_says_nothing_and_its_log_is_left_as_it_was(capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    tpe("test", SPACE, Hill(), trials=5, seed=1)
    nsga2("test", SPACE, Hill(), trials=5, seed=1)
    assert optuna.logging.get_verbosity() == before == logging.INFO
    assert capfd.readouterr() == ("", "")


def test_the_front_holds_what_nothing_beats_in_both():
    told = {1: (3.0, 0.1), 2: (2.0, 0.3), 3: (2.5, 0.05), 4: (1.0, 0.3), 5: (0.5, 0.9), 6: (math.nan, 5.0)}

    def evaluate(genomes):
        return [Fitness(t=told[g.values["n"]][0], trades=50, mean_r=told[g.values["n"]][1]) for g in genomes]

    log = TrialLog(evaluate, Guards())
    log.ask([Genome("test", (("n", k),)) for k in told], "given")
    assert [t.genome.values["n"] for t in log.conclude(lambda _: []).front] == [1, 2, 5]


AXES = st.one_of(
    st.builds(lambda low, w: Real(low=low, high=low + w), st.floats(-50, 50), st.floats(0.01, 50)),
    st.builds(lambda low, k, s: Real(low=low, high=low + k * s, step=s), st.integers(-5, 5).map(float),
              st.integers(1, 40), st.sampled_from([0.05, 0.25, 1.0])),
    st.builds(lambda low, w: Whole(low=low, high=low + w), st.integers(-50, 50), st.integers(1, 100)),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(axis=AXES, seed=st.integers(0, 10**6), value=st.floats(-200, 200))
def test_values_stay_on_their_axis_and_snapping_changes_nothing_twice(axis, seed, value):
    rng = np.random.default_rng(seed)
    start = snap(axis, value)
    slack = 1e-4 * max(1.0, abs(axis.low), abs(axis.high)) if axis.step is None else 1e-9
    for v in (start, jittered(axis, start, rng, 0.5), *nearby(axis, start, 0.1)):
        assert axis.low - slack <= v <= axis.high + slack
        assert snap(axis, v) == v
        assert isinstance(v, int) == isinstance(axis, Whole)
    assert start not in nearby(axis, start, 0.1)
    if axis.step is not None:
        assert nearby(axis, start, 0.1)
        assert start in points(axis)


def test_values_that_do_not_fit_are_refused():
    for axis, value in ((Choice(("a",)), "b"), (Choice(("a",)), 1), (Whole(low=1, high=2), "a")):
        with pytest.raises(ConfigError, match="does not fit its axis"):
            snap(axis, value)
    with pytest.raises(ConfigError, match="genes of test do not fit its space; seen: x; expected: mode, n, x"):
        genome("test", {"x": 1.0}, SPACE)
    for bad in (lambda: Real(low=1.0, high=1.0), lambda: Whole(low=1, high=2, step=0), lambda: Choice(("a", "a"))):
        with pytest.raises(ConfigError):
            bad()


def test_equal_values_written_differently_are_one_genome():
    one = genome("test", {"x": 5, "n": 10.2, "mode": "a"}, SPACE)
    two = genome("test", {"mode": "a", "n": 10, "x": 5.0000001}, SPACE)
    assert one == two
    assert one.digest == two.digest != genome("other", two.values, SPACE).digest
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_the_space_of_a_strategy_turns_its_own_parameters_around_its_defaults(name):
    strategy, space = STRATEGIES[name], SPACES[name]
    assert set(space) <= {f.name for f in fields(strategy.defaults)}
    values = {n: getattr(strategy.defaults, n) for n in space}
    centre = genome(name, values, space)
    assert centre.values == values
    assert resolve(centre, strategy.defaults) == (strategy, strategy.defaults, 0)
    rng = np.random.default_rng(3)
    for _ in range(30):
        drawn = ParameterBreeder(kind=name, space=space).random(rng)
        params = resolve(drawn, strategy.defaults)[1]
        assert {n: getattr(params, n) for n in space} == drawn.values
        assert params.min_adv_usd == strategy.defaults.min_adv_usd
    for axis in space.values():
        for value in points(axis):
            assert snap(axis, value) == value


def many_rules(count: int, seed: int = 1) -> list[Genome]:
    """Rules drawn, crossed and mutated over and over."""
    rng, breeder = np.random.default_rng(seed), RuleBreeder()
    found = [breeder.random(rng) for _ in range(40)]
    while len(found) < count:
        one, two = (found[int(rng.integers(len(found)))] for _ in range(2))
        found.append(breeder.mutate(rng, breeder.cross(rng, one, two)))
    return found


def test_drawn_crossed_and_mutated_rules_are_readable_bounded_and_canonical():
    rules = many_rules(1500)
    used = set()
    for made in rules:
        entry, leave = entry_of(made), exit_of(made)
        assert size(entry) <= MOST_NODES
        assert rule_genome(entry, leave) == made
        used |= {n.rpartition("_")[0] or n for n in names(entry)}
    assert len({r.digest for r in rules}) > 1000
    assert {i for i in INDICATORS if i != "bars_seen"} <= used  # a count of bars says nothing about a market


def test_rules_are_bred_from_their_seed_alone():
    assert many_rules(200) == many_rules(200)
    assert many_rules(200) != many_rules(200, seed=2)


def test_a_child_of_two_rules_is_made_of_their_parts():
    rng, breeder = np.random.default_rng(4), RuleBreeder()
    one = rule_genome(read_rule("ibs <= 0.2 and close > sma_200"), None)
    two = rule_genome(read_rule("rsi_2 <= 10 and close < open"), read_rule("ibs >= 0.8"))
    parts = {"ibs <= 0.2", "close > sma_200", "rsi_2 <= 10", "close < open"}
    children = [breeder.cross(rng, one, two) for _ in range(60)]
    assert all(set(str(c.values["entry"]).split(" and ")) <= parts for c in children)
    assert {str(c.values["exit"]) for c in children} == {"", "ibs >= 0.8"}
    assert any(len(set(str(c.values["entry"]).split(" and ")) & {"ibs <= 0.2", "close > sma_200"}) > 0
               and "open" in str(c.values["entry"]) for c in children)  # fmt: skip


def test_the_neighbours_of_a_rule_turn_each_level_and_period_by_a_tenth():
    centre = rule_genome(read_rule("ibs <= 0.2 and close > sma_200"), read_rule("rsi_2 >= 70"))
    around = {(g.values["entry"], g.values["exit"]) for g in RuleBreeder().neighbours(centre)}
    entry, leave = "close > sma_200 and ibs <= 0.2", "rsi_2 >= 70"
    assert around == {
        ("close > sma_180 and ibs <= 0.2", leave), ("close > sma_220 and ibs <= 0.2", leave),
        ("close > sma_200 and ibs <= 0.18", leave), ("close > sma_200 and ibs <= 0.22", leave),
        (entry, "rsi_3 >= 70"), (entry, "rsi_2 >= 63"), (entry, "rsi_2 >= 77"),
    }  # fmt: skip
    assert RuleBreeder().neighbours(rule_genome(read_rule("close > open"), None)) == []


def test_judging_needs_nothing_but_the_window_and_gives_the_same_figures_twice(synthetic_panel):
    fold = folds(synthetic_panel.first_session + 250, synthetic_panel.last_session, train=504, test=126, step=126)[0]
    window, assumed = training(synthetic_panel, fold), Assumptions(costs=flat_costs(5.0))
    made = rule_genome(read_rule("ibs <= 0.2 and rsi_2 <= 10 and close > sma_200"), read_rule("rsi_2 >= 70"))
    found = judge(window, BaseParams(), assumed, made)
    assert found.complexity == 13
    assert found.trades >= 30
    written = genome(
        "ibs_rsi", {n: getattr(STRATEGIES["ibs_rsi"].defaults, n) for n in SPACES["ibs_rsi"]}, SPACES["ibs_rsi"]
    )
    same = judge(window, STRATEGIES["ibs_rsi"].defaults, assumed, written)
    assert (same.t, same.trades, same.mean_r) == (found.t, found.trades, found.mean_r)
    again = pickle.loads(pickle.dumps((window, BaseParams(), assumed, made)))
    assert judge(*again) == found
