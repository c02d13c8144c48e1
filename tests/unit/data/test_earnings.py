"""Earnings dates block the sessions around them, by what was known then; no calendar is never clear."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from conftest import DATA

from kobe.core.errors import DataError, SchemaError
from kobe.data import earnings

READ = datetime(2024, 5, 1, tzinfo=UTC)
DAY = date(2024, 6, 12)  # a Wednesday
AROUND = [date(2024, 6, d) for d in (7, 10, 11, 12, 13, 14, 17)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar_of(*rows: dict) -> pl.DataFrame:
    return earnings.announcements(pl.DataFrame(list(rows)), READ).rows


def states(events, days, calendar, symbol="ACME", **given) -> dict[date, str]:
    asked = pl.DataFrame({"symbol": [symbol] * len(days), "session": days})
    return dict(earnings.window(events, asked, calendar, **given).select("session", "state").iter_rows())


def blocked(events, calendar, **given) -> list[int]:
    return [day.day for day, state in states(events, AROUND, calendar, **given).items() if state == "blocked"]


@pytest.mark.parametrize(
    ("part", "days"), [("bmo", [11, 12, 13]), ("amc", [11, 12, 13, 14]), ("unknown", [11, 12, 13, 14])]
)
def test_one_session_on_either_side_is_blocked_and_the_next_is_clear(calendar, part, days):
    events = calendar_of({"symbol": "ACME", "date": DAY, "part": part})
    assert blocked(events, calendar) == days
    assert set(states(events, AROUND, calendar).values()) == {"blocked", "clear"}


def test_margins_are_sessions_and_a_weekend_meets_monday(calendar):
    wide = calendar_of({"symbol": "ACME", "date": DAY, "part": "bmo"})
    assert blocked(wide, calendar, before=0, after=0) == [12]
    assert blocked(wide, calendar, before=3, after=2) == [7, 10, 11, 12, 13, 14]
    saturday = calendar_of({"symbol": "ACME", "date": date(2024, 6, 15), "part": "amc"})
    assert blocked(saturday, calendar) == [14, 17]
    with pytest.raises(DataError):
        blocked(wide, calendar, before=-1)


def test_a_symbol_without_calendar_is_unknown_and_so_is_a_session_out_of_its_reach(calendar):
    events = calendar_of({"symbol": "ACME", "date": DAY, "part": "bmo"})
    assert set(states(events, AROUND, calendar, symbol="NONE").values()) == {"unknown"}
    days = [date(2024, 7, 26), date(2024, 7, 29)]  # 44 and 47 days after
    assert list(states(events, days, calendar).values()) == ["clear", "unknown"]
    assert list(states(events, [date(2024, 5, 2)], calendar).values()) == ["clear"]
    far = calendar_of({"symbol": "ACME", "date": date(2024, 9, 30)})
    assert list(states(far, [date(2024, 6, 21), date(2024, 6, 24)], calendar).values()) == ["unknown", "clear"]


def test_only_what_was_known_strictly_before_the_deciding_close_counts(calendar):
    close = calendar.closes_at(date(2024, 6, 11))
    exactly = calendar_of({"symbol": "ACME", "date": DAY, "part": "bmo", "known_at": close})
    assert list(states(exactly, [date(2024, 6, 11), DAY], calendar).values()) == ["unknown", "blocked"]
    before = exactly.with_columns(pl.col("known_at").dt.offset_by("-1us"))
    assert list(states(before, [date(2024, 6, 11)], calendar).values()) == ["blocked"]


def test_the_deciding_session_may_be_the_one_before(calendar):
    known = calendar_of({"symbol": "ACME", "date": DAY, "part": "bmo", "known_at": at("2024-06-11T22:00")})
    asked = pl.DataFrame({"symbol": ["ACME"] * 2, "session": [DAY] * 2, "decided": [date(2024, 6, 11), DAY]})
    assert earnings.window(known, asked, calendar)["state"].to_list() == ["unknown", "blocked"]


def test_a_moved_date_blocks_as_it_was_known_at_the_time(calendar):
    rows = [
        {"symbol": "ACME", "period": "2024Q2", "date": DAY, "part": "bmo", "known_at": at("2024-05-01T00:00")},
        {"symbol": "ACME", "period": "2024Q2", "date": date(2024, 7, 17), "part": "bmo",
         "known_at": at("2024-06-12T00:00")},
    ]  # fmt: skip
    assert blocked(calendar_of(*rows), calendar) == [11]
    assert states(calendar_of(*rows), [date(2024, 7, 16)], calendar) == {date(2024, 7, 16): "blocked"}


def test_calendars_are_read_in_the_vendors_words_and_bad_rows_go_with_a_reason():
    frame = pl.DataFrame({
        "symbol": ["acme", "=cmd", "ACME", "BRK.B"], "date": ["2024-06-12", "2024-06-12", "soon", "2024-06-13"],
        "part": ["After Market Close", "bmo", "bmo", "during"],
    })  # fmt: skip
    done = earnings.announcements(frame, READ)
    assert done.rows.select("symbol", "kind", "period", "part").rows() == [
        ("ACME", "announcement", "2024-06-12", "amc"), ("BRK.B", "announcement", "2024-06-13", "unknown"),
    ]  # fmt: skip
    assert done.reasons == {"bad_symbol": 1, "no_date": 1}
    assert done.notes == {"part_unknown": 1}
    assert done.rows["known_at"].unique().to_list() == [READ]
    with pytest.raises(SchemaError):
        earnings.announcements(frame.drop("date"), READ)
    with pytest.raises(SchemaError):
        earnings.announcements(frame.with_columns(known_at=pl.lit(datetime(2024, 5, 1))), READ)  # noqa: DTZ001


def test_filings_keep_the_first_and_are_known_from_the_end_of_the_crawl_day(calendar):
    rows = [("ACME", date(2024, 6, 12)), ("ACME", date(2024, 6, 11)), ("ACME", date(2024, 3, 1))]
    frame = pl.DataFrame(rows, schema=["symbol", "date"], orient="row").with_columns(
        end_date=pl.lit(date(2024, 3, 31)), doc_type=pl.lit("10-Q")
    )
    done = earnings.filings(frame)
    assert done.reasons == {"negative_lag": 1, "repeat": 1}
    assert done.rows.row(0) == (
        "ACME", "filing_seen", "10-Q 2024-03-31", date(2024, 6, 11), "unknown", at("2024-06-12T04:00")
    )  # fmt: skip
    assert blocked(done.rows, calendar) == [12, 13]
    assert "clear" not in states(done.rows, AROUND, calendar).values()
    assert states(done.rows, [date(2024, 6, 14)], calendar, trusted=["filing_seen"]) == {date(2024, 6, 14): "clear"}


def test_real_filings_lose_their_repeats_and_the_two_negative_lags(calendar):
    path = DATA / "sec_filings_2015_2017.parquet"
    if not path.is_file():
        pytest.skip(f"real filings are not there: {path} (set KOBE_TEST_DATA)")
    done = earnings.filings(pl.read_parquet(path))
    assert done.reasons == {"negative_lag": 2, "repeat": 3691}
    assert len(done.rows) == 3504
    assert set(done.rows["kind"]) == {"filing_seen"}


def test_a_closed_day_is_refused(calendar):
    events = calendar_of({"symbol": "ACME", "date": DAY})
    with pytest.raises(DataError):
        states(events, [date(2024, 6, 15)], calendar)
    assert states(events, [], calendar) == {}
