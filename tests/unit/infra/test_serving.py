"""One makes what many ask for, and nobody asks more often than is granted."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.infra.serving import GuestRates, Kept


class Hand:
    """Seconds that move by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_many_threads_get_one_value_until_it_is_too_old():
    hand, made, together = Hand(), [], threading.Barrier(8)
    kept = Kept(lambda: made.append(1) or len(made), 1.0, monotonic=hand)

    def ask(_):
        together.wait()
        return kept()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}
        hand.now = 0.999
        assert set(pool.map(ask, range(8))) == {1}
        hand.now = 1.0
        assert set(pool.map(ask, range(8))) == {2}


def test_what_making_raises_goes_to_the_one_who_asked_and_is_not_kept():
    answers = iter([ValueError("no"), 7])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Kept(make, 1.0)
    with pytest.raises(ValueError, match="no"):
        kept()
    assert kept() == 7


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), max_size=200))
def test_no_guest_is_admitted_more_often_than_a_full_bucket_and_its_refill(per_minute, asked):
    hand = Hand()
    rates, admitted = GuestRates(per_minute, monotonic=hand), dict[int, int]()
    for waited, guest in asked:
        hand.now += waited
        if rates.admits(str(guest)):
            admitted[guest] = admitted.get(guest, 0) + 1
        assert admitted.get(guest, 0) <= per_minute + hand.now * per_minute / 60 + 1e-6


def test_a_guest_alone_is_admitted_at_its_rate_and_guests_of_long_ago_are_forgotten():
    hand = Hand()
    rates = GuestRates(2, most_guests=2, monotonic=hand)
    assert [rates.admits("a") for _ in range(3)] == [True, True, False]
    hand.now = 30.0
    assert [rates.admits("a") for _ in range(2)] == [True, False]
    assert rates.admits("b")
    assert rates.admits("c")
    assert rates.admits("a"), "it was forgotten, so its bucket is full"
