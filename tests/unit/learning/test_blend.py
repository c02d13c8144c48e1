"""Headlines pull on the log-odds, a little, and only where there are any (DOMAIN D20)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.learning.blend import MOST_WEIGHT, REPORTED_WEIGHT, blended

ODDS = st.floats(1e-9, 1 - 1e-9)
TONE = st.floats(-1, 1)
WEIGHT = st.floats(0, MOST_WEIGHT)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_the_golden_blend_is_not_the_brief_s_linear_one():
    assert blended(0.62, -0.4, REPORTED_WEIGHT) == pytest.approx(0.591, abs=5e-4)
    assert blended(0.62, -0.4, REPORTED_WEIGHT) != pytest.approx(0.8 * 0.62 + 0.2 * 0.3, abs=5e-3)


@given(p=st.floats(0, 1), tone=TONE, weight=WEIGHT)
def test_without_weight_or_without_headlines_a_probability_stays_to_the_bit(p, tone, weight):
    assert blended(p, tone, 0.0) == p
    assert blended(p, 0.0, weight) == p


@given(p=ODDS, tone=TONE, weight=WEIGHT)
def test_the_pull_is_that_of_the_tone_and_bounded_in_log_odds(p, tone, weight):
    pulled = blended(p, tone, weight)
    assert 0.0 < pulled < 1.0
    assert logit(pulled) - logit(p) == pytest.approx(weight * tone, abs=1e-6)
    assert blended(1 - p, -tone, weight) == pytest.approx(1 - pulled, abs=1e-9)


@given(p=ODDS, q=ODDS, tones=st.tuples(TONE, TONE), weight=WEIGHT)
def test_it_rises_with_probability_and_with_tone(p, q, tones, weight):
    low, high = sorted((p, q))
    sad, glad = sorted(tones)
    noise = 1e-12  # a logarithm and back
    assert blended(low, sad, weight) <= blended(high, sad, weight) + noise
    assert blended(p, sad, weight) <= blended(p, glad, weight) + noise


@pytest.mark.parametrize(
    ("tone", "weight"), [(0.1, 0.41), (0.1, -0.01), (1.01, 0.3), (-1.01, 0.3), (math.nan, 0.3), (0.1, math.nan)]
)
def test_a_weight_or_a_tone_out_of_bounds_is_refused(tone, weight):
    with pytest.raises(ValueError, match="weight"):
        blended(0.6, tone, weight)


def test_the_bounds_themselves_are_allowed_and_certainty_is_not_argued_with():
    assert blended(0.5, 1.0, MOST_WEIGHT) == pytest.approx(1 / (1 + math.exp(-0.4)))
    assert (blended(0.0, 1.0, 0.4), blended(1.0, -1.0, 0.4)) == (0.0, 1.0)
