"""Signals are offered by session, best score first, then the most liquid, then the symbol; unknown figures last."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.backtest.account import best_first


@settings(max_examples=200, deadline=None)
@given(count=st.integers(0, 60), seed=st.integers(0, 2**32 - 1))
def test_the_order_is_that_of_a_sort_by_all_four_keys(count, seed):
    rng = np.random.default_rng(seed)
    session = rng.integers(5, 12, count).astype(np.int32)
    score = rng.choice([0.1, 0.5, 0.5, 0.9, np.nan], count)
    adv_usd = rng.choice([1e6, 2e6, np.nan], count)
    symbol = rng.integers(0, 4, count).astype(np.int32)
    wanted = np.lexsort((symbol, -adv_usd, -score, session))
    assert best_first(session, score, adv_usd, symbol).tolist() == wanted.tolist()
