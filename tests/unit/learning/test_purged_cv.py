"""No training label touches a test label or its embargo, nothing else is lost, and skfolio agrees where it can."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV

from kobe.core.errors import ConfigError, DataError
from kobe.learning import purged_cv


def labels(seed: int, dates: int, rows: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Signals in any order on some dates, several a date, each with an end of its own."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(4 * dates, dates, replace=False))
    session = np.concatenate((days, rng.choice(days, rows)))
    rng.shuffle(session)
    return session.astype(np.int32), (session + rng.integers(0, longest + 1, len(session))).astype(np.int32)


def touching(session, exit_session, test, embargo) -> np.ndarray:
    """Pair by pair: is a row's label alive during a test label, or does it begin in the embargo after it?"""
    first, last = session[:, None], exit_session[:, None]
    return ((first <= exit_session[test] + embargo) & (last >= session[test])).any(axis=1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    folds=st.integers(3, 7),
    embargo=st.integers(5, 30),
    longest=st.integers(0, 12),
    data=st.data(),
)
def test_no_training_label_touches_a_test_label_or_its_embargo_and_no_other_is_lost(
    seed, folds, embargo, longest, data
):
    test_folds = data.draw(st.integers(1, folds - 2))
    session, exit_session = labels(seed, dates=60 * folds, rows=50, longest=longest)
    splits = purged_cv.combinatorial_splits(
        session, exit_session, folds=folds, test_folds=test_folds, embargo_sessions=embargo
    )
    assert len(splits) == math.comb(folds, test_folds)
    for split in splits:
        touched = touching(session, exit_session, split.test, embargo)
        np.testing.assert_array_equal(split.train, np.flatnonzero(~touched))
        assert not np.isin(session[split.train], session[split.test]).any()


def test_the_folds_hold_every_row_once_in_runs_of_dates_that_differ_by_one_at_most():
    session, exit_session = labels(3, dates=203, rows=300, longest=5)
    splits = purged_cv.purged_kfold(session, exit_session, folds=5)
    tests = [s.test for s in splits]
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(session)))
    spans = [(session[t].min(), session[t].max()) for t in tests]
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    counts = [len(np.unique(session[t])) for t in tests]
    assert max(counts) - min(counts) <= 1
    assert [s.folds for s in splits] == [(k,) for k in range(5)]


@pytest.mark.parametrize(("folds", "test_folds", "span", "embargo"), [(6, 2, 5, 25), (5, 3, 0, 5), (8, 2, 3, 10)])
def test_with_one_row_a_session_and_equal_labels_the_splits_are_skfolio_s(folds, test_folds, span, embargo):
    """Its rows are then sessions, its purge is the label's length; with other data the two rightly differ."""
    session = np.arange(folds * 60, dtype=np.int32)
    ours = purged_cv.combinatorial_splits(
        session, session + span, folds=folds, test_folds=test_folds, embargo_sessions=embargo
    )
    theirs = CombinatorialPurgedCV(
        n_folds=folds, n_test_folds=test_folds, purged_size=span, embargo_size=embargo
    )  # fmt: skip
    for split, (train, tests) in zip(ours, theirs.split(session[:, None]), strict=True):
        np.testing.assert_array_equal(split.train, train)
        for mine, other in zip(split.tests, tests, strict=True):
            np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(purged_cv.backtest_paths(folds, test_folds), theirs.recombined_paths.T)


def test_skfolio_s_fixed_purge_leaks_a_label_that_lasts_longer_and_ours_does_not():
    session = np.arange(240, dtype=np.int32)
    exit_session = session + 3
    exit_session[38] = 70  # a halted name, alive far into the second fold
    ours = purged_cv.combinatorial_splits(session, exit_session, folds=6, test_folds=2, embargo_sessions=5)
    theirs = CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=1, embargo_size=5).split(session[:, None])
    judged = [k for k, s in enumerate(ours) if 1 in s.folds and 0 not in s.folds]
    assert judged
    kept = [train for k, (train, _) in enumerate(theirs) if k in judged]
    assert all(38 in train for train in kept)
    assert all(38 not in ours[k].train for k in judged)


@pytest.mark.parametrize(("folds", "test_folds"), [(4, 1), (5, 2), (6, 3), (6, 5)])
def test_every_path_crosses_each_fold_once_and_uses_each_judgement_once(folds, test_folds):
    paths = purged_cv.backtest_paths(folds, test_folds)
    chosen = list(combinations(range(folds), test_folds))
    assert paths.shape == (math.comb(folds - 1, test_folds - 1), folds)
    pairs = {(int(split), fold) for path in paths for fold, split in enumerate(path)}
    assert pairs == {(k, fold) for k, split in enumerate(chosen) for fold in split}


def test_joined_paths_hold_for_every_row_the_value_of_the_path_s_split():
    session, exit_session = labels(5, dates=240, rows=100, longest=5)
    splits = purged_cv.combinatorial_splits(session, exit_session, folds=5, test_folds=2)
    judged = [1000.0 * k + split.test for k, split in enumerate(splits)]
    joined = purged_cv.join_paths(splits, judged, len(session))
    paths = purged_cv.backtest_paths(5, 2)
    assert joined.shape == (4, len(session))
    assert np.isfinite(joined).all()
    fold = np.empty(len(session), dtype=int)
    for split in splits:
        for number, test in zip(split.folds, split.tests, strict=True):
            fold[test] = number
    np.testing.assert_array_equal(joined, 1000.0 * paths[:, fold] + np.arange(len(session)))
    with pytest.raises(DataError, match="fit"):
        purged_cv.join_paths(splits, judged[:-1], len(session))


@pytest.mark.parametrize(
    "plan",
    [
        {"embargo_sessions": 4}, {"folds": 1, "test_folds": 1}, {"folds": 4, "test_folds": 4},
        {"folds": 4, "test_folds": 0}, {"folds": 20, "test_folds": 10},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(plan):
    session = np.arange(300, dtype=np.int32)
    with pytest.raises(ConfigError, match="expected"):
        purged_cv.combinatorial_splits(session, session + 5, **plan)


def test_labels_that_cannot_be_cut_are_refused():
    session = np.arange(300, dtype=np.int32)
    with pytest.raises(DataError, match="row 7"):
        purged_cv.purged_kfold(session, np.where(session == 7, 6, session).astype(np.int32))
    unended = np.where(session == 40, np.iinfo(np.int32).max, session + 5).astype(np.int32)
    with pytest.raises(DataError, match="row 40"):
        purged_cv.purged_kfold(session, unended)
    with pytest.raises(DataError, match="4 dates"):
        purged_cv.purged_kfold(session[:4], session[:4], folds=5)
    with pytest.raises(DataError, match="nothing to train on"):
        purged_cv.combinatorial_splits(session[:60], session[:60] + 5, folds=6, test_folds=5)
