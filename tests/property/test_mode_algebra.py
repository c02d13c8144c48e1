"""The mode's algebra: words combine to the strictest in any order, and no word ever loosens another's."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kobe.core.ports import Event
from kobe.core.types import Mode
from kobe.risk.mode import HALF, LIFTED_BY, NORMAL, STREAM, current, strictest, word

SOURCES = ("operator", "reconcile", "drawdown_day", "drawdown_month", "breakers", "drift", "calendar", "x")


def event(source, payload, n=1):
    return Event(sequence=n, stream=STREAM, entity=source, kind="set", at_ns=n * 10**9, payload=payload)


payloads = st.one_of(
    st.fixed_dictionaries(
        {"mode": st.sampled_from([m.name for m in Mode])},
        optional={
            "reason": st.text(max_size=8),
            "factor": st.sampled_from(["0.25", "0.5", "1", "0", "2", "NaN", "x", 7]),
        },
    ),
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=2),
    st.sampled_from([None, [], "HALT", {"mode": None}, {"mode": "normal"}]),
)
events = st.builds(event, st.sampled_from(SOURCES), payloads, st.integers(1, 99))
words = st.lists(events, max_size=12)
states = st.builds(lambda told: current(told), words)  # noqa: PLW0108


def looser(one, other):
    return one.mode < other.mode or one.factor > other.factor


@given(states, states, states)
def test_combining_is_commutative_associative_and_idempotent_with_normal_as_its_neutral_element(a, b, c):
    assert strictest(a, b) == strictest(b, a)
    assert strictest(a, strictest(b, c)) == strictest(strictest(a, b), c)
    assert strictest(a, a) == a
    assert strictest(a, NORMAL) == a


@given(states, states)
def test_a_combination_is_never_looser_than_either(a, b):
    both = strictest(a, b)
    assert not looser(both, a)
    assert not looser(both, b)


@given(words, payloads)
def test_a_source_that_never_spoke_cannot_loosen_anything(told, said):
    before, after = current(told), current([*told, event("newcomer", said)])
    assert not looser(after, before)


@given(words, events)
def test_a_word_changes_nothing_but_what_its_own_source_said(told, more):
    others = current([e for e in told if e.entity != more.entity])
    assert current([*told, more]) == strictest(others, word(more))


@given(words)
def test_the_order_of_different_sources_does_not_matter(told):
    latest = list({e.entity: e for e in told}.values())
    assert current(latest) == current(reversed(latest)) == current(told)


def test_each_source_s_latest_word_counts_and_only_itself_takes_it_back():
    said = [event("reconcile", {"mode": "REDUCE_ONLY", "reason": "a"}, 1), event("operator", {"mode": "NORMAL"}, 2)]
    state = current(said)
    assert (state.mode, state.why) == (Mode.REDUCE_ONLY, "reconcile: a")
    assert current([*said, event("reconcile", {"mode": "NORMAL"}, 3)]) == NORMAL


def test_of_two_reduced_words_the_smaller_factor_holds_and_a_missing_one_is_a_half():
    said = [event("drift", {"mode": "REDUCED", "factor": "0.75"}, 1), event("operator", {"mode": "REDUCED"}, 2)]
    assert (current(said).mode, current(said).factor) == (Mode.REDUCED, HALF)
    assert current([*said, event("x", {"mode": "REDUCED", "factor": "0.25"}, 3)]).factor == Decimal("0.25")


def test_a_word_that_cannot_be_read_is_a_halt_and_says_so():
    for payload in ({}, None, {"mode": "normal"}, {"mode": 0}, {"mode": "REDUCED", "factor": "2"},
                    {"mode": "REDUCED", "factor": "x"}, {"mode": "REDUCED", "factor": "0"}):  # fmt: skip
        state = current([event("drift", payload)])
        assert state.mode is Mode.HALT
        assert "cannot be read" in state.why


def test_the_reason_is_one_line_and_every_known_source_has_a_way_back():
    state = current([event("a", {"mode": "HALT", "reason": "two\nlines"}), event("b", {"mode": "HALT", "reason": "x"}),
                     event("c", {"mode": "REDUCED", "reason": "no"})])  # fmt: skip
    assert state.why == "a: two lines; b: x"
    assert [r.source for r in state.reasons] == ["a", "b", "c"]
    assert all(command.startswith("kobe ") for command in LIFTED_BY.values())
