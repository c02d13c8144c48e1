"""Conditions judged several bars at a time let through the rows that a plain look at each bar lets through."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.features import row_conditions

NOISE = 1e-9
LEVELS = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0 * (1.0 + NOISE / 2.0), 1.0, 0.0, np.nan])  # most pass any bound


@st.composite
def markets(draw):
    """Borders of up to six symbols, some of them empty, and six columns of levels."""
    lengths = draw(st.lists(st.integers(0, 40), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = [rng.choice(LEVELS, sum(lengths)) for _ in range(6)]
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), columns


@settings(max_examples=150, deadline=None)
@given(
    market=markets(),
    sign=st.sampled_from([-1, 0, 1]),
    history=st.integers(-2, 42),
    least=st.sampled_from([0.0, 2.0]),
    data=st.data(),
)
def test_usable_rows_are_those_that_pass_each_condition_alone(market, sign, history, least, data):
    offsets, (held, close, factor, adv, atr, average) = market
    trend = average - sign  # so that most closes are beyond it
    symbols = len(offsets) - 1
    first = data.draw(st.integers(0, symbols))
    last = data.draw(st.integers(first, symbols))
    out, tradable = np.ones(len(close), dtype=np.bool_), held >= 1.0
    wanted = out.copy()
    for k in range(first, last):
        for t in range(offsets[k], offsets[k + 1]):
            old_enough = t - offsets[k] >= history
            liquid = bool(tradable[t]) and close[t] * factor[t] >= least and adv[t] >= 2.0 and atr[t] > 0.0
            trending = sign == 0 or sign * (close[t] - trend[t]) > NOISE * abs(trend[t])
            wanted[t] = old_enough and liquid and trending
    columns = (tradable, close, factor, adv, atr, trend)
    row_conditions.usable_rows(first, last, offsets, sign, *columns, least, 2.0, history, NOISE, out)
    assert np.array_equal(out, wanted)  # rows of symbols that were not asked for stay as they were


@settings(max_examples=100, deadline=None)
@given(market=markets(), data=st.data())
def test_rows_within_bounds_and_exit_bits_count_the_bounds_themselves(market, data):
    offsets, (held, a, b, *_) = market
    first = data.draw(st.integers(0, len(offsets) - 1))
    last = data.draw(st.integers(first, len(offsets) - 1))
    usable, part = held >= 1.0, range(offsets[first], offsets[last])
    inside = [t for t in part if usable[t] and 1.0 <= a[t] <= 2.0 and 0.0 <= b[t] <= 2.0]
    rows, of_a, of_b = row_conditions.rows_within(first, last, offsets, usable, a, b, (1.0, 2.0, 0.0, 2.0))
    assert rows.tolist() == inside
    assert np.array_equal(of_a, a[inside])
    assert np.array_equal(of_b, b[inside])
    bits = np.full(len(a), 9, np.uint8)
    row_conditions.exit_bits(first, last, offsets, a, 2.0, 1.0, bits)
    assert bits.tolist() == [(x >= 2.0) + 2 * (x <= 1.0) if t in part else 9 for t, x in enumerate(a)]
