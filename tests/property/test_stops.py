"""A stop under any closes: it never steps back, and nothing of the present or the future moves it."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kobe.core.types import Side
from kobe.execution.stops import Close, Entry, StopRule, levels

DAYS = [date(2024, 3, 1) + timedelta(days=n) for n in range(15)]
PRICES = st.floats(1.0, 500.0).map(lambda p: round(p, 4))
ENTRIES = st.builds(
    Entry, side=st.sampled_from(Side), price=PRICES, distance=st.floats(0.01, 50.0), level=st.none(),
    target_r=st.none() | st.floats(0.5, 3.0), atr=st.floats(0.01, 25.0), costs_usd=st.floats(0.0, 1.0),
)  # fmt: skip
RULES = st.builds(
    StopRule, breakeven_r=st.sampled_from([0.0, 0.5, 1.0, 2.0]), trail_atr=st.sampled_from([0.0, 1.0, 2.5])
)
PATHS = st.lists(PRICES, min_size=1, max_size=14)


def closes(path):
    return [Close(session=day, price=p) for day, p in zip(DAYS, path, strict=False)]


@given(entry=ENTRIES, rule=RULES, path=PATHS)
def test_from_session_to_session_a_stop_only_moves_towards_the_market(entry, rule, path):
    stops = [levels(entry, rule, closes(path), day).stop for day in DAYS]
    steps = [entry.sign * (b - a) for a, b in pairwise(stops)]
    assert all(step >= 0 for step in steps)


@given(entry=ENTRIES, rule=RULES, path=PATHS, now=st.integers(0, 14), later=PATHS)
def test_what_happens_in_the_session_and_after_it_moves_nothing(entry, rule, path, now, later):
    known = closes(path)[:now]
    changed = known + [Close(session=day, price=p) for day, p in zip(DAYS[now:], later, strict=False)]
    assert levels(entry, rule, known, DAYS[now]) == levels(entry, rule, closes(path), DAYS[now])
    assert levels(entry, rule, known, DAYS[now]) == levels(entry, rule, changed, DAYS[now])


@given(entry=ENTRIES, path=PATHS)
def test_with_both_rules_off_closes_say_nothing(entry, path):
    assert levels(entry, StopRule(), closes(path), DAYS[14]) == levels(entry, StopRule(), (), DAYS[0])


@given(entry=ENTRIES, rule=RULES, path=PATHS, order=st.randoms(use_true_random=False))
def test_the_order_in_which_closes_are_told_does_not_matter(entry, rule, path, order):
    told = closes(path)
    mixed = list(told)
    order.shuffle(mixed)
    assert levels(entry, rule, told, DAYS[14]) == levels(entry, rule, mixed, DAYS[14])
