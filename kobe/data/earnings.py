"""Earnings dates as they were known, and the sessions around them in which nothing new is begun.

A calendar of announcements must have been archived while it was the future; a filing seen by a crawler is no
announcement and stands in for one only where a caller says so (`filing_seen`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.clock import as_utc, to_ns
from kobe.core.errors import DataError, SchemaError
from kobe.core.types import SYMBOL_PATTERN
from kobe.data.reference import KNOWN_AT, TABLES, Prepared, end_of_day, needed

if TYPE_CHECKING:
    import polars as pl

ANNOUNCEMENT, FILING_SEEN = "announcement", "filing_seen"
PARTS: dict[str, tuple[str, ...]] = {
    "bmo": ("bmo", "before market open", "pre-market", "premarket", "before open"),
    "amc": ("amc", "after market close", "after-hours", "after hours", "after close", "post-market"),
}
"""Part of the day -> what vendors call it; everything else is `unknown`, which blocks like both."""
RULES: dict[str, str] = {
    "bad_symbol": "no symbol, or nothing that can be one",
    "no_date": "no date",
    "negative_lag": "the filing was seen before its period ended",
    "repeat": "the same symbol, period and form was seen before; the first stays",
}
"""Why a row is set aside, in the order in which it is asked."""
BLOCKED, CLEAR, UNKNOWN = "blocked", "clear", "unknown"
QUIET_DAYS, AHEAD_DAYS = 45, 100
"""A calendar speaks for a session when it names an announcement so many days before it or so many after: companies
report quarterly, so within 45 days of one no other is due, and the next one is at most 100 days away."""


def announcements(frame: "pl.DataFrame", fetched_at: datetime) -> Prepared:
    """Bring an earnings calendar into the columns of the table `earnings`, kind `announcement`.

    Args:
        frame: columns symbol, date; optional part (bmo, amc, unknown), period (names the quarter, so that a moved
            date revises it; without it every date is an announcement of its own), known_at (aware; null: fetched_at).
        fetched_at: when the calendar was read, aware.

    Raises:
        SchemaError: a column is missing, no day can be read, or an instant is naive.
    """
    import polars as pl

    needed(frame, ("symbol", "date"), "the earnings calendar")
    if KNOWN_AT in frame.columns and not isinstance(frame.schema[KNOWN_AT], pl.Null):
        kind = frame.schema[KNOWN_AT]
        if not (isinstance(kind, pl.Datetime) and kind.time_zone is not None):
            raise SchemaError("known_at needs a time zone", seen=kind, expected="an aware instant")
    instant = pl.Datetime("us", "UTC")
    read = pl.lit(as_utc(fetched_at), instant)
    part = pl.col("part").cast(pl.String).str.strip_chars().str.to_lowercase() if "part" in frame.columns else None
    day = _days(frame, "date")
    rows = frame.select(
        symbol=_symbols(),
        kind=pl.lit(ANNOUNCEMENT),
        period=(pl.col("period").cast(pl.String) if "period" in frame.columns else pl.lit(None, pl.String)).fill_null(
            day.dt.to_string()
        ),
        date=day,
        part=pl.lit("unknown") if part is None else _part(part),
        known_at=pl.col(KNOWN_AT).cast(instant).fill_null(read) if KNOWN_AT in frame.columns else read,
    )
    marked = rows.with_columns(reason=_fault())
    vague = {"part_unknown": int((marked["reason"].is_null() & (marked["part"] == "unknown")).sum())}
    return _prepared(marked, {k: n for k, n in vague.items() if n})


def filings(frame: "pl.DataFrame") -> Prepared:
    """Bring filings a crawler saw into the table `earnings`, kind `filing_seen`: a stand-in, not announcements.

    The day is the day of the crawl, so a filing is known only from the end of that day in New York, and it says
    nothing about days ahead.

    Args:
        frame: columns symbol, date (day of the crawl), end_date (of the period), doc_type (the form).

    Raises:
        SchemaError: a column is missing or no day can be read.
    """
    import polars as pl

    needed(frame, ("symbol", "date", "end_date", "doc_type"), "the file of filings")
    seen = frame.select(
        symbol=_symbols(), date=_days(frame, "date"), ended=_days(frame, "end_date"), form=pl.col("doc_type")
    )
    rows = seen.with_columns(
        pl.lit(FILING_SEEN).alias("kind"),
        pl.concat_str("form", pl.col("ended").dt.to_string(), separator=" ").alias("period"),
        pl.lit("unknown").alias("part"),
        end_of_day("date").alias(KNOWN_AT),
    ).sort("date", "symbol", "period", nulls_last=True, maintain_order=True)
    early = pl.when(pl.col("date") < pl.col("ended")).then(pl.lit("negative_lag"))
    fault = pl.coalesce(_fault(), early)
    again = fault.is_null() & ~pl.struct("symbol", "period", fault.alias("fault")).is_first_distinct()
    reason = pl.when(again).then(pl.lit("repeat")).otherwise(fault)
    return _prepared(rows.with_columns(reason=reason), {})


@dataclass(frozen=True, slots=True)
class _Revision:
    """What was known of one event between two instants, as sessions and days it speaks of.

    `first` and `last` are session numbers blocked without the margins; instants are nanoseconds.
    """

    first: int
    last: int
    day: int
    known: int
    until: int
    covers: bool


def window(
    events: "pl.DataFrame",
    sessions: "pl.DataFrame",
    calendar: Calendar,
    *,
    before: int = 1,
    after: int = 1,
    trusted: Iterable[str] = (ANNOUNCEMENT,),
) -> "pl.DataFrame":
    """Say of symbols and sessions whether earnings are near, from what was known before the deciding close.

    Blocked are the session of the announcement, the session that trades on it first (the next one after the close or
    where the part of the day is unknown), `before` sessions ahead of the former and `after` behind the latter: the
    wider reading of +-1 session (DOMAIN 4). A moved date blocks as known at that time. Unknown means that no calendar
    known then speaks for the session (`QUIET_DAYS`, `AHEAD_DAYS`): the caller decides, it is never clear.

    Args:
        events: the table `earnings` with all its revisions (`ReferenceStore.read`).
        sessions: columns symbol, session; optional decided, the session whose close decides (default: the same).
        calendar: of sessions and closes.
        before: sessions ahead of the announcement, 0 or more.
        after: sessions behind the first that trades on it, 0 or more.
        trusted: kinds whose dates prove that a calendar was there; `filing_seen` only blocks unless named here.

    Returns:
        The rows of `sessions` in their order with the column state: blocked, clear or unknown.

    Raises:
        DataError: a date is no session, or a margin is negative.
        SchemaError: a column is missing.
    """
    import polars as pl

    if min(before, after) < 0:
        raise DataError("a window cannot be negative", seen=f"{before}, {after}", expected="0 sessions or more")
    needed(sessions, ("symbol", "session"), "the question")
    needed(events, TABLES["earnings"].columns, "the table of earnings")
    known = _revisions(events, calendar, frozenset(trusted))
    decided = "decided" if "decided" in sessions.columns else "session"
    numbers, closes = _numbers(sessions, "session", calendar), _closes(sessions, decided, calendar)
    days = calendar.days[numbers].astype(np.int64)
    states = np.full(len(sessions), UNKNOWN, dtype=object)
    asked = sessions.with_row_index("_row").group_by("symbol").agg("_row")
    for symbol, places in asked.iter_rows():
        rows = np.array(places, dtype=np.int64)
        near, covered = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
        for one in known.get(symbol, ()):
            # Strictly before: what becomes known at the very close cannot have decided it.
            told = (one.known < closes[rows]) & (closes[rows] <= one.until)
            near |= told & (numbers[rows] >= one.first - before) & (numbers[rows] <= one.last + after)
            away = one.day - days[rows]
            covered |= told & one.covers & (away >= -QUIET_DAYS) & (away <= AHEAD_DAYS)
        states[rows] = np.where(near, BLOCKED, np.where(covered, CLEAR, UNKNOWN))
    return sessions.with_columns(state=pl.Series(states.tolist(), dtype=pl.String))


def _revisions(events: "pl.DataFrame", calendar: Calendar, trusted: frozenset[str]) -> dict[str, list[_Revision]]:
    """Return per symbol what was known of each event, and until when; the same instant is the next one's."""
    import polars as pl

    order = [*TABLES["earnings"].key, KNOWN_AT]
    told = events.sort(order, maintain_order=True)
    ends = told.with_columns(until=pl.col(KNOWN_AT).shift(-1).over(order[:-1])).filter(pl.col("date").is_not_null())
    found: dict[str, list[_Revision]] = {}
    wanted = ends.select("symbol", "kind", "date", "part", KNOWN_AT, "until")
    for symbol, kind, day, part, known, until in wanted.iter_rows():
        first = int(np.searchsorted(calendar.days, _epoch_day(day)))  # a weekend's news meets the next session
        on_session = first < len(calendar.sessions) and calendar.sessions[first] == day
        last = first if part == "bmo" or not on_session else first + 1
        end = np.iinfo(np.int64).max if until is None else to_ns(until)
        revision = _Revision(first, last, _epoch_day(day), to_ns(known), int(end), kind in trusted)
        found.setdefault(symbol, []).append(revision)
    return found


def _numbers(sessions: "pl.DataFrame", column: str, calendar: Calendar) -> npt.NDArray[np.int64]:
    known = {day: calendar.number(day) for day in sessions.get_column(column).unique().to_list()}
    return np.array([known[day] for day in sessions.get_column(column).to_list()], dtype=np.int64)


def _closes(sessions: "pl.DataFrame", column: str, calendar: Calendar) -> npt.NDArray[np.int64]:
    known = {day: to_ns(calendar.closes_at(day)) for day in sessions.get_column(column).unique().to_list()}
    return np.array([known[day] for day in sessions.get_column(column).to_list()], dtype=np.int64)


def _epoch_day(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


def _symbols() -> "pl.Expr":
    import polars as pl

    return pl.col("symbol").cast(pl.String).str.strip_chars().str.to_uppercase()


def _days(frame: "pl.DataFrame", column: str) -> "pl.Expr":
    """Return a column as days; text must be ISO dates, and what is none becomes null."""
    import polars as pl

    kind: Any = frame.schema[column]
    if kind == pl.String:
        return pl.col(column).str.to_date("%Y-%m-%d", strict=False)
    if not (kind == pl.Date or isinstance(kind, pl.Datetime)):
        raise SchemaError("a column holds no days", seen=f"{column}: {kind}", expected="a date")
    return pl.col(column).cast(pl.Date)


def _part(told: "pl.Expr") -> "pl.Expr":
    import polars as pl

    words = {word: part for part, names in PARTS.items() for word in names}
    return told.replace_strict(words, default="unknown", return_dtype=pl.String).fill_null("unknown")


def _fault() -> "pl.Expr":
    """Return the first rule of any calendar that a row breaks, or null."""
    import polars as pl

    return (
        pl.when(~pl.col("symbol").str.contains(SYMBOL_PATTERN).fill_null(value=False)).then(pl.lit("bad_symbol"))
        .when(pl.col("date").is_null()).then(pl.lit("no_date"))
    )  # fmt: skip


def _prepared(marked: "pl.DataFrame", notes: dict[str, int]) -> Prepared:
    import polars as pl

    columns = list(TABLES["earnings"].columns)
    kept = marked.filter(pl.col("reason").is_null()).select(columns)
    rejected = marked.filter(pl.col("reason").is_not_null()).select(*columns, "reason")
    return Prepared(rows=kept.sort("symbol", "date", KNOWN_AT), rejected=rejected, notes=notes)
