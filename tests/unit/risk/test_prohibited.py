"""The prohibited list: what is in force at an instant, and what an entry nobody can read does."""

from datetime import UTC, date, datetime, timedelta

import pytest

from kobe.core.clock import NEW_YORK, to_ns
from kobe.core.ports import Event
from kobe.risk.prohibited import KINDS, active, fold, instant

AT = datetime(2024, 6, 3, 14, 0, tzinfo=UTC)


def said(kind="add", symbol="ABC", n=1, at=AT, **changed):
    payload = {"symbol": symbol, "kind": "news", "reason": "trial", "from": None, "until": None, "source": "operator"}
    return Event(sequence=n, stream="prohibited", entity=symbol, kind=kind, at_ns=to_ns(at), payload=payload | changed)


def in_force(events, now=AT, symbol="ABC"):
    return active(fold(events), symbol, now)


def test_an_entry_holds_from_its_first_instant_and_no_more_at_its_last():
    events = [said(**{"from": "2024-06-03T10:30:00-04:00", "until": "2024-06-05T09:30:00-04:00"})]
    start, end = datetime(2024, 6, 3, 14, 30, tzinfo=UTC), datetime(2024, 6, 5, 13, 30, tzinfo=UTC)
    moment = timedelta(microseconds=1)
    assert in_force(events, start - moment) == ()
    assert in_force(events, start) == ("news: trial (until 2024-06-05 09:30 ET, operator)",)
    assert len(in_force(events, end - moment)) == 1
    assert in_force(events, end) == ()


@pytest.mark.parametrize("day", [date(2024, 3, 10), date(2024, 11, 3), date(2024, 6, 5)])
def test_a_date_ends_at_its_midnight_in_new_york_also_when_clocks_change(day):
    events = [said(at=AT.replace(month=1), until=day.isoformat())]
    midnight = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)
    assert len(in_force(events, midnight - timedelta(seconds=1))) == 1
    assert in_force(events, midnight) == ()


def test_without_an_end_it_holds_until_it_is_removed():
    assert len(in_force([said()], AT + timedelta(days=9999))) == 1
    assert in_force([said(), said("remove", n=2)]) == ()
    assert len(in_force([said(), said("remove", n=2), said(n=3, kind="add")])) == 1


def test_two_entries_are_told_apart_and_a_removal_takes_both():
    events = [said(), said(n=2, reason="earnings call")]
    assert len(in_force(events)) == 2
    assert in_force([*events, said("remove", n=3)]) == ()
    assert in_force(events, symbol="XYZ") == ()


BROKEN = [{"until": "soon"}, {"until": 7}, {"from": "x"}, {"reason": None}, {"symbol": "XYZ"}, {"until": "2024-13-01"}]


@pytest.mark.parametrize("changed", BROKEN)
def test_an_entry_that_cannot_be_read_makes_its_symbol_unknown_until_it_is_removed(changed):
    broken = said(n=2, symbol="ABC")
    broken.payload.update(changed)
    assert in_force([said(), broken]) is None
    assert in_force([said(), broken, said(n=3)]) is None
    assert in_force([said(), broken, said("remove", n=3)]) == ()
    assert in_force([broken], symbol="DEF") == ()


def test_a_kind_nobody_knows_and_an_event_of_another_kind_are_unreadable():
    event = said()
    event.payload["kind"] = "mood"
    assert in_force([event]) is None
    assert in_force([said("added")]) is None
    assert in_force([Event(sequence=1, stream="prohibited", entity="ABC", kind="add", at_ns=0, payload=[])]) is None


def test_an_entry_whose_symbols_contradict_each_other_makes_both_unknown():
    event = said()
    event.payload["symbol"] = "XYZ"
    assert in_force([event]) is None
    assert in_force([event], symbol="XYZ") is None


def test_every_kind_is_read():
    for kind in KINDS:
        event = said()
        event.payload["kind"] = kind
        assert in_force([event])[0].startswith(kind)


def test_an_instant_without_an_offset_is_new_york_s():
    assert instant("2024-06-05T09:30") == datetime(2024, 6, 5, 13, 30, tzinfo=UTC)
    assert instant("2024-06-05T09:30:00Z") == datetime(2024, 6, 5, 9, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="isoformat"):
        instant("tomorrow")
