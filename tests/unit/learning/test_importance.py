"""Shapley values equal the definition over all subsets; values are dealt by dates; what is unused is worth nothing."""

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np
import pytest

from kobe.core.errors import DataError
from kobe.learning import importance
from kobe.learning.importance import dealt_by_date, linear_shap, permutation_importance, permutation_shap
from kobe.learning.model import Logistic

Value = Callable[[np.ndarray], np.ndarray]


def made(rng: np.random.Generator, features: int, *, sigmoid: bool, unknown: tuple[int, ...] = ()) -> Logistic:
    inputs = features + len(unknown)
    return Logistic(
        medians=tuple(rng.normal(size=features)), indicators=unknown, means=tuple(rng.normal(size=inputs)),
        scales=tuple(rng.uniform(0.5, 2.0, inputs)), coefficients=tuple(rng.normal(size=inputs)),
        intercept=float(rng.normal()), sigmoid=(-1.3, 0.2) if sigmoid else None,
    )  # fmt: skip


def rows(rng: np.random.Generator, n: int, features: int, unknown: tuple[int, ...] = ()) -> np.ndarray:
    matrix = rng.normal(size=(n, features))
    for k in unknown:
        matrix[rng.random(n) < 0.3, k] = np.nan
    return matrix


def log_odds(model: Logistic) -> Value:
    def value(matrix: np.ndarray) -> np.ndarray:
        p = model.probability(matrix)
        return np.log(p / (1.0 - p))

    return value


def by_definition(value: Value, x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley values of one row: the weighted mean over all subsets of what each feature adds to them."""
    d = len(x)

    def worth(known: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(known)] = x[list(known)]
        return float(value(mixed).mean())

    result = np.zeros(d)
    for k in range(d):
        others = [j for j in range(d) if j != k]
        for size in range(d):
            weight = factorial(size) * factorial(d - size - 1) / factorial(d)
            for known in combinations(others, size):
                result[k] += weight * (worth((*known, k)) - worth(known))
    return result


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("unknown", [(), (1, 3)])
def test_linear_shap_is_the_definition_over_all_subsets_in_log_odds(sigmoid, unknown):
    rng = np.random.default_rng(1)
    model, x, behind = (
        made(rng, 5, sigmoid=sigmoid, unknown=unknown),
        rows(rng, 6, 5, unknown),
        rows(rng, 9, 5, unknown),
    )
    found = linear_shap(model, x, behind)
    for k in range(len(x)):
        assert np.allclose(found.values[k], by_definition(log_odds(model), x[k], behind), rtol=0, atol=1e-9)
    assert np.allclose(found.base + found.values.sum(axis=1), log_odds(model)(x), rtol=0, atol=1e-9)
    assert found.base == pytest.approx(log_odds(model)(behind).mean(), abs=1e-9)


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_permutation_shap_over_all_orders_is_the_definition_over_all_subsets(features, sigmoid):
    rng = np.random.default_rng(features)
    unknown = (0,) if features > 2 else ()
    model, x = made(rng, features, sigmoid=sigmoid, unknown=unknown), rows(rng, 3, features, unknown)
    behind = rows(rng, 7, features, unknown)
    found = permutation_shap(model, x, behind, seed=1, pairs=factorial(features))
    for k in range(len(x)):
        assert np.allclose(found.values[k], by_definition(model.probability, x[k], behind), rtol=0, atol=1e-12)


def test_sampled_orders_come_close_to_the_definition_and_closer_with_more_of_them():
    rng = np.random.default_rng(6)
    model, x, behind = made(rng, 6, sigmoid=True), rows(rng, 12, 6), rows(rng, 10, 6)
    exact = np.array([by_definition(model.probability, row, behind) for row in x])
    worst = [np.abs(permutation_shap(model, x, behind, seed=2, pairs=n).values - exact).max() for n in (2, 16, 128)]
    assert worst[0] > worst[1] > worst[2]
    assert worst[1] < 0.01


def test_walking_there_and_back_is_nearer_than_as_many_independent_orders():
    rng = np.random.default_rng(7)
    model, x, behind = made(rng, 6, sigmoid=False), rows(rng, 8, 6), rows(rng, 10, 6)
    exact = np.array([by_definition(model.probability, row, behind) for row in x])

    def alone(seed: int) -> np.ndarray:
        orders = np.random.default_rng(seed)
        found = np.zeros(x.shape)
        for _ in range(8):
            order = orders.permutation(6)
            walked = behind[None].repeat(len(x), axis=0)
            before = model.probability(behind).mean()
            for k in order:
                walked[:, :, k] = x[:, None, k]
                now = model.probability(walked.reshape(-1, 6)).reshape(len(x), -1).mean(axis=1)
                found[:, k] += (now - before) / 8
                before = now
        return found

    pairs = [np.square(permutation_shap(model, x, behind, seed=s, pairs=4).values - exact).mean() for s in range(30)]
    apart = [np.square(alone(s) - exact).mean() for s in range(30)]
    assert np.mean(pairs) < 0.5 * np.mean(apart)


@pytest.mark.parametrize("pairs", [1, 3])
def test_values_of_any_number_of_orders_add_up_to_the_forecast_in_parts_of_any_size(pairs):
    rng = np.random.default_rng(8)
    unknown = (2, 10, 16)
    model, x = made(rng, 21, sigmoid=True, unknown=unknown), rows(rng, 2300, 21, unknown)
    behind = rows(rng, 100, 21, unknown)
    assert x.size * 100 > importance.CHUNK, "more than one part"
    found = permutation_shap(model, x, behind, seed=3, pairs=pairs)
    assert np.abs(found.base + found.values.sum(axis=1) - model.probability(x)).max() < 1e-9
    again = permutation_shap(model, x[1100:1300], behind, seed=3, pairs=pairs)
    assert np.array_equal(again.values, found.values[1100:1300])
    assert not np.array_equal(permutation_shap(model, x[:50], behind, seed=4, pairs=pairs).values, found.values[:50])


def test_a_feature_the_model_does_not_use_is_worth_nothing_by_every_measure():
    rng = np.random.default_rng(9)
    model = made(rng, 8, sigmoid=False)
    blind = Logistic(**{**{n: getattr(model, n) for n in model.__dataclass_fields__},
                        "coefficients": (*model.coefficients[:5], 0.0, *model.coefficients[6:])})  # fmt: skip
    x, behind = rows(rng, 60, 8), rows(rng, 10, 8)
    session = np.repeat(np.arange(12, dtype=np.int32), 5)
    y = (rng.random(60) < blind.probability(x)).astype(float)
    assert np.all(linear_shap(blind, x, behind).values[:, 5] == 0.0)
    assert np.abs(permutation_shap(blind, x, behind, seed=1).values[:, 5]).max() < 1e-15
    dealt = permutation_importance(blind.probability, x, y, session, seed=1)
    assert dealt.rise[5] == 0.0
    assert dealt.spread[5] == 0.0
    assert dealt.rise[0] != 0.0


def test_every_date_is_dealt_the_values_of_one_date_in_order_and_each_date_gives_once():
    rng = np.random.default_rng(10)
    session = np.sort(rng.integers(0, 40, 300)).astype(np.int32)
    for _ in range(20):
        source = dealt_by_date(session, rng)
        givers = [set(session[source[session == day]].tolist()) for day in np.unique(session)]
        assert all(len(g) == 1 for g in givers), "what rows of one date have in common they keep"
        assert len(set().union(*givers)) == len(givers)
        for day in np.unique(session):
            mine = source[session == day]
            theirs = np.flatnonzero(session == session[mine[0]])
            assert len(set(mine.tolist())) == min(len(mine), len(theirs))


def test_dates_of_one_size_are_shuffled_whole_so_that_no_value_is_lost():
    rng = np.random.default_rng(11)
    session = rng.permutation(np.repeat(np.arange(30, dtype=np.int32), 4))
    source = dealt_by_date(session, rng)
    assert np.array_equal(np.sort(source), np.arange(120))
    assert not np.array_equal(source, np.arange(120))


def test_what_is_the_same_for_a_whole_date_is_not_mistaken_for_many_independent_values():
    """A feature of the date that decides the date's outcomes; the feature that is noise does no better than chance."""
    rng = np.random.default_rng(12)
    session = np.repeat(np.arange(200, dtype=np.int32), 6)
    weather, noise = np.repeat(rng.normal(size=200), 6), rng.normal(size=1200)
    model = Logistic(medians=(0.0, 0.0), indicators=(), means=(0.0, 0.0), scales=(1.0, 1.0), coefficients=(1.5, 0.3),
                     intercept=0.0, sigmoid=None)  # fmt: skip
    y = (rng.random(1200) < 1 / (1 + np.exp(-1.5 * weather))).astype(float)
    matrix = np.column_stack([weather, noise])
    found = permutation_importance(model.probability, matrix, y, session, seed=1)
    assert found.rise[0] > 10 * abs(found.rise[1])
    assert found.brier == pytest.approx(np.mean((model.probability(matrix) - y) ** 2))
    again = permutation_importance(model.probability, matrix, y, session, seed=1)
    assert np.array_equal(found.rise, again.rise)


def test_nothing_is_explained_by_no_rows():
    rng = np.random.default_rng(13)
    model, none = made(rng, 3, sigmoid=False), np.empty((0, 3))
    with pytest.raises(DataError, match="no rows"):
        linear_shap(model, rows(rng, 2, 3), none)
    with pytest.raises(DataError, match="no rows"):
        permutation_shap(model, none, rows(rng, 2, 3), seed=1)
    with pytest.raises(DataError, match="no rows"):
        permutation_importance(model.probability, none, np.empty(0), np.empty(0, np.int32), seed=1)
