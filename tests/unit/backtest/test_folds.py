"""The 35 splits of DOMAIN 3.1 with their dates, and the purge by actual exit."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.backtest.folds import folds, in_test, in_train
from kobe.backtest.walk_forward import following

INT = np.int32


def test_ten_years_give_thirty_five_splits_with_the_printed_dates(calendar):
    first, last = calendar.number(date(2015, 1, 2)), calendar.number(date(2024, 12, 31))
    assert last - first + 1 == 2516
    splits = folds(first, last)
    day = calendar.sessions
    assert len(splits) == 35
    one, end = splits[0], splits[-1]
    assert (day[one.train_first], day[one.train_last]) == (date(2015, 1, 2), date(2015, 12, 31))
    assert (day[one.test_first], day[one.test_last]) == (date(2016, 1, 4), date(2016, 4, 4))
    assert (day[end.test_first], day[end.test_last]) == (date(2024, 7, 10), date(2024, 10, 7))
    assert last - end.test_last == 59


@given(n=st.integers(1, 2000), train=st.integers(1, 300), test=st.integers(1, 90), anchored=st.booleans())
def test_tests_tile_follow_their_training_and_never_reach_past_the_end(n, train, test, anchored):
    splits = folds(100, 99 + n, train=train, test=test, step=test, anchored=anchored)
    assert len(splits) == max(0, (n - train) // test)
    for before, after in pairwise(splits):
        assert after.test_first == before.test_last + 1
    for s in splits:
        assert s.train_last + 1 == s.test_first <= s.test_last <= 99 + n
        assert s.train_first == (100 if anchored else s.train_last - train + 1)
        assert following(s).train_last == s.test_last


def test_a_label_that_ends_in_the_test_is_purged_whenever_it_began():
    split = folds(0, 400)[0]
    sessions = np.array([0, 240, 246, 246, 247, 251, 252], dtype=INT)
    exits = np.array([5, 251, 251, 252, 251, 256, 257], dtype=INT)
    assert in_train(split, sessions, exits, purge=5).tolist() == [True, True, True, False, False, False, False]
    assert in_test(split, sessions).tolist() == [False] * 6 + [True]


def test_overlapping_tests_are_refused():
    with pytest.raises(ValueError, match="step >= test"):
        folds(0, 1000, train=100, test=60, step=50)
