"""Parameters are chosen in training alone, on a plateau or not at all (DOMAIN 3.1, D16, D17)."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from kit import panels

from kobe.backtest import engine, walk_forward
from kobe.backtest.costs import flat_costs
from kobe.backtest.folds import Fold, folds
from kobe.backtest.walk_forward import Choice, Trial, choose
from kobe.core.panel import Panel
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams, Strategy, params_hash

ASSUMED = engine.Assumptions(costs=flat_costs(5.0), delisting_haircut=0.0)
YOUNG = {"sma_bars": 20, "min_history_bars": 20, "min_adv_usd": 0.0, "shorts": True}
BASES = {"ibs_rsi": YOUNG, "turtle_soup": {**YOUNG, "min_depth_atr": 0.0, "lookback_bars": 10}}


# --- the choice alone -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TwoParams(BaseParams):
    """a and b are numbers, mode is a word."""

    a: int = 1
    mode: str = "p"
    b: float = 0.5


def no_signals(*_):
    raise AssertionError


def strategy_of(**grid) -> Strategy:
    return Strategy(name="x", summary="", defaults=TwoParams(), grid=grid, signals=no_signals)


def trials_of(objectives) -> list[Trial]:
    return [Trial(params={}, params_hash="", trades=50, mean_r=0.1, objective=float(v)) for v in objectives]


LINE = strategy_of(a=(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("objectives", "best"),
    [
        ((1.0, 2.0, 1.6, 0.0), None),  # neighbours 1.0 and 1.6: median 1.3 of 2.0
        ((1.7, 2.0, 1.6, 0.0), 1),  # median 1.65
        ((1.6, 2.0, 1.6, 0.0), 1),  # exactly 80%
        ((1.6, 2.0, 1.599, 0.0), None),
        ((0.0, 0.0, 1.6, 2.0), 3),  # at the edge one neighbour decides
        ((0.0, 3.0, 1.59, 2.0), None),
        ((math.nan, 2.0, 2.0, 1.0), None),  # too few trades next door counts as nothing: median 1.0
        ((math.nan, 2.0, 2.0, 1.9), None),  # of the first best, not of a better placed equal
        ((-1.0, -0.5, -2.0, -3.0), None),
        ((0.0, 0.0, 0.0, 0.0), None),
        ((math.nan,) * 4, None),
    ],
)
def test_the_best_wins_only_when_its_neighbours_median_is_four_fifths_of_it(objectives, best):
    got, why = choose(trials_of(objectives), LINE, Choice())
    assert got == best
    assert why


def test_neighbours_are_one_step_along_numbers_and_words_have_none():
    grid = strategy_of(a=(1, 2, 3), mode=("p", "q"), b=(0.5, 1.0))
    objectives = np.zeros((3, 2, 2))
    objectives[1, 1, 0] = 2.0
    objectives[0, 1, 0] = objectives[2, 1, 0] = objectives[1, 1, 1] = 1.7  # a - 1, a + 1 and b + 1
    best = int(np.ravel_multi_index((1, 1, 0), (3, 2, 2)))
    assert choose(trials_of(objectives.ravel()), grid, Choice())[0] == best
    objectives[0, 1, 0] = objectives[2, 1, 0] = 0.0
    objectives[1, 0, 0] = objectives[0, 1, 1] = objectives[2, 1, 1] = 2.0  # the other word and diagonals do not help
    assert choose(trials_of(objectives.ravel()), grid, Choice())[0] != best


def test_the_order_of_trials_is_the_order_of_the_grid():
    grid = strategy_of(a=(1, 2, 3), mode=("p", "q"), b=(0.5, 1.0))
    points = grid.combinations(TwoParams())
    place = int(np.ravel_multi_index((2, 0, 1), (3, 2, 2)))
    assert (points[place].a, points[place].mode, points[place].b) == (3, "p", 1.0)


# --- whole runs -------------------------------------------------------------------------------------------------


def walked(panel: Panel, name: str, windows: list[Fold], known=None, choice: Choice | None = None):
    strategy = STRATEGIES[name]
    features = FeatureTable(panel)
    base = strategy.params(BASES[name])
    support = None if known is None else walk_forward.Support(splits=known)
    return walk_forward.run(panel, features, strategy, base, windows, ASSUMED, support=support, choice=choice)


@pytest.fixture(scope="module")
def whole(calendar) -> Panel:
    """A made-up market with a planted reversal, of symbols that trade to the end: some splits find an edge."""
    spec = SyntheticSpec(symbols=60, years=2, reversal=2.5)
    everything = panel_from(synthetic_market(spec, calendar), calendar, Provenance(source="synthetic"))
    return everything.select({b.symbol for b in everything if b.session[-1] == everything.last_session})


@pytest.fixture(scope="module")
def windows(whole) -> list[Fold]:
    return folds(whole.first_session, whole.last_session, train=160, test=60, step=60)


@pytest.fixture(scope="module", params=list(BASES))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def result(whole, windows, name):
    return walked(whole, name, windows)


def corrupted_after(panel: Panel, session: int) -> Panel:
    rng = np.random.default_rng(session)
    factor = np.where(panel.session > session, np.exp(rng.normal(0, 0.1, len(panel))), 1.0)
    return replace(panel, **{c: getattr(panel, c) * factor for c in panels.PRICES})


def told(splits) -> list:
    return [(s.fold, s.params, s.params_hash, s.chosen_by, s.why, repr(s.trials)) for s in splits]


def closed_by(panel: Panel, o: engine.Outcomes, numbers, session: int) -> set:
    done = o.closed & (o.exit_session <= session)
    rows = np.flatnonzero(done)
    figures = np.column_stack([o.entry_paid, o.exit_got, o.net_r, o.gross_r, o.mae_r, o.mfe_r, o.score])[rows]
    return {
        (
            panel.symbols[o.symbol[i]],
            int(o.session[i]),
            int(o.side[i]),
            str(o.params_hash[i]),
            int(numbers[i]),
            f.tobytes(),
        )
        for i, f in zip(rows, figures, strict=True)
    }


def test_the_checked_run_trades_chooses_and_falls_back(result, windows):
    assert len(result.splits) == len(windows) == 5
    assert len(result.outcomes) > 30
    assert {t.trades >= 20 for s in result.splits for t in s.trials} >= {True}
    if result.strategy == "ibs_rsi":
        assert {s.chosen_by for s in result.splits} == {"train", "default"}


def test_bars_after_training_change_neither_the_choice_nor_any_trial(whole, windows, name, result):
    for k in (0, 2, len(windows) - 1):
        other = walked(corrupted_after(whole, windows[k].train_last), name, windows)
        assert told(other.splits[: k + 1]) == told(result.splits[: k + 1])


def test_bars_after_a_split_change_none_of_its_trades_that_were_over(whole, windows, name, result):
    for k in (1, 3):
        end = windows[k].test_last
        mine = closed_by(whole, result.outcomes, result.split_number, end)
        assert mine
        for other_bars in (corrupted_after(whole, end), whole.until(end)):
            other = walked(other_bars, name, windows[: k + 1])
            assert closed_by(other_bars, other.outcomes, other.split_number, end) == mine
            days = end - windows[0].test_first + 1
            assert other.portfolio.equity_usd[:days].tolist() == result.portfolio.equity_usd[:days].tolist()


def test_training_that_forgets_to_purge_is_caught_by_the_same_check(whole, windows, monkeypatch):
    """The mutant takes every signal of the window, also those whose trade ends in the test."""

    def leaky(fold, signal_session, _exit_session, _purge):
        return (signal_session >= fold.train_first) & (signal_session <= fold.train_last)

    monkeypatch.setattr(walk_forward, "in_train", leaky)
    one = walked(whole, "ibs_rsi", windows[:1])
    two = walked(corrupted_after(whole, windows[0].train_last), "ibs_rsi", windows[:1])
    assert told(one.splits) != told(two.splits)


def test_every_signal_of_a_test_window_has_the_parameters_of_its_own_split(whole, windows, name, result):
    strategy, features = STRATEGIES[name], FeatureTable(whole)
    o = result.outcomes
    for split in result.splits:
        mine = result.split_number == split.fold.number
        table = strategy.signals(whole, features, split.params)
        session = whole.session[table.row]
        wanted = table.row[(session >= split.fold.test_first) & (session <= split.fold.test_last)]
        assert o.row[mine].tolist() == wanted.tolist()
        assert set(o.params_hash[mine]) <= {split.params_hash} == {params_hash(name, split.params)}
    assert len(o) == sum(int((result.split_number == s.fold.number).sum()) for s in result.splits)


def test_a_trial_counts_the_trades_that_began_and_ended_in_training(whole, windows, name, result):
    """Recounted from the outcomes of each combination; one position per symbol at a time."""
    strategy, features = STRATEGIES[name], FeatureTable(whole)
    points = strategy.combinations(strategy.params(BASES[name]))
    for k in (0, len(points) // 2, len(points) - 1):
        o = engine.evaluate(whole, features, strategy.signals(whole, features, points[k]), ASSUMED)
        taken, busy = [], {}
        for i in range(len(o)):
            if o.walked.entry_row[i] < 0 or o.row[i] < busy.get(o.symbol[i], -1):
                continue
            busy[o.symbol[i]] = o.walked.exit_row[i] if o.closed[i] else 10**9
            taken.append(i)
        for split in result.splits:
            f = split.fold
            over = [i for i in taken if o.closed[i] and o.exit_session[i] <= f.train_last]
            rs = [o.net_r[i] for i in over if f.train_first <= o.session[i] <= f.train_last - 5]
            trial = split.trials[k]
            assert trial.trades == len(rs)
            if rs:
                assert trial.mean_r == pytest.approx(sum(rs) / len(rs), rel=1e-12)
            assert math.isnan(trial.objective) == (len(rs) < 20)


def test_a_combination_with_19_trades_has_no_objective_and_one_with_20_has(whole, windows, name, result):
    counts = sorted({t.trades for s in result.splits for t in s.trials if t.trades > 1})
    least = counts[len(counts) // 2]
    for asked, known in ((least, True), (least + 1, False)):
        other = walked(whole, name, windows[:], choice=Choice(least_trades=asked))
        same = [t for s in other.splits for t in s.trials if t.trades == least]
        assert same
        assert all(math.isnan(t.objective) != known for t in same)


def test_every_combination_of_every_split_counts_as_a_trial(result):
    size = len(STRATEGIES[result.strategy].combinations(STRATEGIES[result.strategy].defaults))
    assert result.trials == size * (len(result.splits) + 1)
    assert all(len(s.trials) == size for s in result.splits)


def test_a_fall_back_uses_the_base_parameters_and_says_why(result):
    base = STRATEGIES[result.strategy].params(BASES[result.strategy])
    for s in result.splits:
        if s.chosen_by == "default":
            assert s.params == base
            assert "lone peak" in s.why or "no combination" in s.why
        else:
            assert s.params.__class__ is base.__class__
            assert max(t.objective for t in s.trials if not math.isnan(t.objective)) > 0


def test_the_next_split_trains_on_what_ends_with_the_last_test(result, windows):
    last, following = windows[-1], result.next_split.fold
    assert (following.train_last, following.test_first) == (last.test_last, last.test_last + 1)
    assert following.train_last - following.train_first == last.train_last - last.train_first
    assert following.number == last.number + 1


def test_the_account_is_one_curve_over_all_test_sessions_with_no_jump_at_a_border(result, windows):
    p = result.portfolio
    assert p.first_session == windows[0].test_first
    assert len(p.equity_usd) == windows[-1].test_last - windows[0].test_first + 1
    done = result.outcomes.closed[p.offered] & (p.quantity > 0)
    crossing = 0
    for fold in windows[:-1]:
        o = result.outcomes.take(p.offered[done])
        crossing += int(((o.session <= fold.test_last) & (o.exit_session > fold.test_last)).sum())
    if result.strategy == "ibs_rsi":
        assert crossing > 0, "some trades run over a border to their natural exit"


def test_splits_finished_before_are_taken_over_and_the_rest_is_the_same(whole, windows, name, result):
    known = {s.fold.number: s for s in result.splits[:3]}
    again = walked(whole, name, windows, known=known)
    assert told(again.splits) == told(result.splits)
    assert all(again.splits[k] is result.splits[k] for k in range(3))
    assert again.portfolio.equity_usd.tolist() == result.portfolio.equity_usd.tolist()
