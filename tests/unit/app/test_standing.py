"""The newest standing of a strategy, found by its session, is the one a look at every record would find."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kobe.app import standing
from kobe.core.ports import Event

FIRST = date(2024, 1, 1)


def event(number: int, day: int | None) -> Event:
    session = "no date" if day is None else str(FIRST + timedelta(days=day))
    payload = {"session": session, "since": None, "state": "NORMAL"}
    return Event(sequence=number, stream="drift", entity="a", kind="state", at_ns=number, payload=payload)


@given(
    days=st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=12), asked=st.integers(-1, 10), tidy=st.booleans()
)
def test_the_newest_record_up_to_a_session_whatever_the_order(days, asked, tidy):
    days = sorted(d for d in days if d is not None) if tidy else days
    track = standing._Track()
    newest, wanted = -1, None
    for number, day in enumerate(days):
        told = event(number, day)
        track.add(told)
        if day is None or newest <= day <= asked:
            newest, wanted = newest if day is None else day, told
    assert track.in_order or not tidy
    assert standing._newest(track, FIRST + timedelta(days=asked)) == wanted
