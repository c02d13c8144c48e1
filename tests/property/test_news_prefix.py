"""News of tomorrow changes nothing that was known today: neither the tone of a session nor an earnings window."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.calendar import xnys
from kobe.data import earnings
from kobe.features import sentiment

CALENDAR = xnys()
DAYS = CALENDAR.between(date(2024, 11, 20), date(2024, 12, 6))  # Thanksgiving, a half day and two weekends
START = datetime(2024, 11, 19, 12, tzinfo=UTC)
AWARE = pl.Datetime("us", "UTC")
TITLES = ("Acme beats estimates", "Profit warning at Acme", "Acme names a chair", "ACME beats estimates!", "利润", None)
CLOSE_MINUTES = [int((CALENDAR.closes_at(day) - START).total_seconds() // 60) for day in DAYS]
minutes = st.one_of(st.integers(0, 17 * 24 * 60), st.sampled_from(CLOSE_MINUTES))
news = st.lists(
    st.tuples(
        st.sampled_from(["ACME", "OTHR"]), st.sampled_from(TITLES), minutes,
        st.one_of(st.none(), st.integers(0, 3 * 24 * 60)),
    ),
    max_size=25,
)  # fmt: skip
calendar_rows = st.lists(
    st.tuples(st.sampled_from(["ACME", "OTHR"]), st.sampled_from(["Q3", "Q4"]), st.integers(-20, 40),
              st.sampled_from(["bmo", "amc", "unknown"]), minutes),
    max_size=12, unique_by=lambda row: (row[0], row[1], row[4]),
)  # fmt: skip


def frame(rows: list[tuple]) -> pl.DataFrame:
    told = [
        (symbol, title, START + timedelta(minutes=at), None if lag is None else START + timedelta(minutes=at + lag))
        for symbol, title, at, lag in rows
    ]
    schema = {"symbol": pl.String, "title": pl.String, "published_at": AWARE, "fetched_at": AWARE}
    return pl.DataFrame(told, schema=schema, orient="row")


@settings(max_examples=150, deadline=None)
@given(rows=news, cut=st.integers(0, len(DAYS) - 1))
def test_headlines_that_could_not_be_known_at_a_close_change_no_tone_up_to_it(rows, cut):
    whole = frame(rows)
    close = CALENDAR.closes_at(DAYS[cut])
    known = whole.filter(pl.max_horizontal("published_at", "fetched_at") < close)
    upto = DAYS[: cut + 1]
    symbols = ["ACME", "OTHR"]
    now = sentiment.by_session(known, symbols, upto, CALENDAR)
    later = sentiment.by_session(whole, symbols, DAYS, CALENDAR).filter(pl.col("session").is_in(list(upto)))
    assert now.equals(later)


@settings(max_examples=60, deadline=None)
@given(rows=news, order=st.randoms(use_true_random=False))
def test_the_order_of_delivery_does_not_matter_and_every_headline_serves_one_session_at_most(rows, order):
    shuffled = list(rows)
    order.shuffle(shuffled)
    one = sentiment.by_session(frame(rows), ["ACME"], DAYS, CALENDAR)
    assert one.equals(sentiment.by_session(frame(shuffled), ["ACME"], DAYS, CALENDAR))
    assert one["n"].sum() + one["unread"].sum() <= sum(row[0] == "ACME" for row in rows)


@settings(max_examples=100, deadline=None)
@given(rows=calendar_rows, cut=st.integers(0, len(DAYS) - 1))
def test_what_a_calendar_says_later_changes_no_earlier_window(rows, cut):
    told = [
        (symbol, "announcement", period, START.date() + timedelta(days=day), part, START + timedelta(minutes=at))
        for symbol, period, day, part, at in rows
    ]
    schema = {"symbol": pl.String, "kind": pl.String, "period": pl.String, "date": pl.Date, "part": pl.String,
              "known_at": AWARE}  # fmt: skip
    events = pl.DataFrame(told, schema=schema, orient="row")
    asked = pl.DataFrame({"symbol": ["ACME", "OTHR"]}).join(pl.DataFrame({"session": DAYS[: cut + 1]}), how="cross")
    known = events.filter(pl.col("known_at") < CALENDAR.closes_at(DAYS[cut]))
    assert earnings.window(known, asked, CALENDAR).equals(earnings.window(events, asked, CALENDAR))
