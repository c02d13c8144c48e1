"""The VIX of each session, and the last level that was known at an instant.

A session's level is known 15 minutes after the stock market's close: the S&P 500 options it is made of trade until
15:15 Chicago (Cboe, "Record volume in ETH session", 2015-06-16), so 16:15 New York and 13:15 on half days. Levels
before 2003-09-22 were computed by Cboe after the fact, by the method of that day; nobody saw them at the time.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from kobe.core.calendar import Calendar
from kobe.core.clock import as_utc
from kobe.core.errors import MissingDataError, SchemaError
from kobe.data.reference import KNOWN_AT, TABLES, Prepared, needed

if TYPE_CHECKING:
    import polars as pl

SETTLES_AFTER = timedelta(minutes=15)
RULES: dict[str, str] = {
    "missing_value": "the date or a price is empty",
    "bad_price": "a price is no positive finite number",
    "not_a_session": "the market was closed that day",
    "close_outside_range": "the close is above the high or below the low, or the high below the low",
    "repeat": "the same session again; the first sound one stays",
}
"""Why a row is set aside, in the order in which it is asked."""
NOTES: dict[str, str] = {
    "open_outside_range": "the open is above the high or below the low; only the close is read, so the row is kept",
    "ohlc_order": "rows that break the order of open, high, low and close, set aside or kept",
}
"""What is counted of rows whether kept or not."""
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Level:
    """A level with the session it is of.

    Attributes:
        session: whose close it is.
        close: index points.
        known_at: since when it was known, UTC.
    """

    session: date
    close: float
    known_at: datetime


def normalise(frame: "pl.DataFrame", calendar: Calendar) -> Prepared:
    """Check daily bars of the VIX and say when each was known.

    Args:
        frame: columns date (a day or a naive stamp), open, high, low, close in index points.
        calendar: says what a session is and when it closes.

    Raises:
        SchemaError: a column is missing or cannot be read as day or number.
    """
    import polars as pl

    needed(frame, ("date", *_PRICES), "the VIX file")
    try:
        bars = frame.select(pl.col("date").cast(pl.Date), pl.col(_PRICES).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise SchemaError("the VIX file cannot be read", seen=str(error).splitlines()[0][:160]) from error
    marked = bars.with_columns(reason=_reason(calendar), wide=_breaks_order("open", "close"))
    kept = marked.filter(pl.col("reason").is_null())
    closes = {day: calendar.closes_at(day) + SETTLES_AFTER for day in kept.get_column("date").to_list()}
    known = pl.Series(KNOWN_AT, list(closes.values()), dtype=pl.Datetime("us", "UTC"))
    rows = kept.with_columns(known).select(list(TABLES["vix"].columns))
    rejected = marked.filter(pl.col("reason").is_not_null()).select(*bars.columns, "reason")
    notes = {"open_outside_range": int(kept.get_column("wide").sum()), "ohlc_order": int(marked["wide"].sum())}
    return Prepared(rows=rows.sort("date"), rejected=rejected, notes={k: n for k, n in notes.items() if n})


def level_at(rows: "pl.DataFrame", instant: datetime) -> Level:
    """Return the newest level known at an instant, that instant included.

    Args:
        rows: the table `vix` with all its revisions (`ReferenceStore.read`).
        instant: aware.

    Raises:
        MissingDataError: none was known yet.
    """
    import polars as pl

    at = as_utc(instant)
    known = rows.filter(pl.col(KNOWN_AT) <= at).sort("date", KNOWN_AT)
    if not len(known):
        raise MissingDataError(
            "no VIX was known at that instant", seen=at.isoformat(timespec="seconds"),
            expected="a level settled before it", next_command="kobe data vix import FILE",
        )  # fmt: skip
    newest = known.row(-1, named=True)
    return Level(newest["date"], newest["close"], newest[KNOWN_AT])


def _reason(calendar: Calendar) -> "pl.Expr":
    """Return the first rule a row breaks, or null."""
    import polars as pl

    values = ("date", *_PRICES)
    bad = pl.any_horizontal((~pl.col(c).is_finite()) | (pl.col(c) <= 0) for c in _PRICES)
    closed = ~pl.col("date").is_in(list(calendar.sessions))
    fault = (
        pl.when(pl.any_horizontal(pl.col(values).is_null())).then(pl.lit("missing_value"))
        .when(bad).then(pl.lit("bad_price"))
        .when(closed).then(pl.lit("not_a_session"))
        .when(_breaks_order("close")).then(pl.lit("close_outside_range"))
    )  # fmt: skip
    again = fault.is_null() & ~pl.struct("date", fault.alias("fault")).is_first_distinct()
    return pl.when(again).then(pl.lit("repeat")).otherwise(fault)


def _breaks_order(*inside: str) -> "pl.Expr":
    """Whether the high is below the low or one of some prices is outside them."""
    import polars as pl

    outside = [(pl.col(c) > pl.col("high")) | (pl.col(c) < pl.col("low")) for c in inside]
    return pl.any_horizontal(pl.col("high") < pl.col("low"), *outside).fill_null(value=False)
