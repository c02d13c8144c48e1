"""When an intraday bar is complete, what bars add up to, and what a bar may know of a longer one.

Everything rests on one table, `expected_bars`: the bars a market should have, each with the instant at which it is
complete (`closes_at`). A bar that is not in the table is refused or marked, never placed by guess; whatever reads
other bars looks at `closes_at` alone, so that an open bucket cannot be seen. Instants come out in microseconds, UTC.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.clock import NEW_YORK, as_utc
from kobe.core.errors import DataError, SchemaError, UsageError

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BAR_COLUMNS = ("ts", "symbol", "open", "high", "low", "close", "volume")
INTERVALS: dict[str, int | None] = {"15m": 15, "1h": 60, "4h": 240, "1d": None}
"""Name -> minutes, from fine to coarse; None is one whole session."""
GRIDS = ("open", "clock")
"""Where buckets begin: counted from the session's opening (09:30, 10:30), or at hours of the clock (09:00, 10:00)."""
_EARLIEST, _LATEST = date(1990, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """When a market trades.

    Attributes:
        zone: the clock whose dates name its sessions.
        continuous: a session begins where the one before ends, so that a gap may reach over the border.
        hours: opening and closing instant of a date's session in UTC, or None where there is none.
    """

    zone: ZoneInfo
    continuous: bool
    hours: Callable[[Calendar, date], tuple[datetime, datetime] | None]


def _us_hours(calendar: Calendar, day: date) -> tuple[datetime, datetime] | None:
    return (calendar.opens_at(day), calendar.closes_at(day)) if day in calendar else None


def _utc_day(_: Calendar, day: date) -> tuple[datetime, datetime] | None:
    opens = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return (opens, opens + timedelta(days=1)) if _EARLIEST <= day < _LATEST else None


MARKETS: dict[str, Market] = {
    "us": Market(zone=NEW_YORK, continuous=False, hours=_us_hours),
    "always": Market(zone=ZoneInfo("UTC"), continuous=True, hours=_utc_day),
}


def expected_bars(interval: str, market: str, calendar: Calendar, days: Iterable[date], *, grid: str) -> "pl.DataFrame":
    """Return the bars a market should have on some days, each with the time it covers.

    Args:
        interval: name in `INTERVALS`.
        market: name in `MARKETS`.
        calendar: sessions of the `us` market.
        days: dates on the market's own clock; those without a session give nothing.
        grid: name in `GRIDS`. A session's own bar (1d) is stamped with its opening on either.

    Returns:
        Columns ts (the stamp), opens_at, closes_at (what it covers, cut to the session) and session (Date),
        ascending by ts. On the clock grid the bar stamped 09:00 covers 09:30 to 10:00.

    Raises:
        UsageError: a name is not in its table.
    """
    import polars as pl

    minutes, place = _minutes(interval), _market(market)
    if grid not in GRIDS:
        raise UsageError("no such bar grid", seen=grid, expected=", ".join(GRIDS))
    hours = {day: found for day in sorted(set(days)) if (found := place.hours(calendar, day)) is not None}
    stamp = pl.Datetime("us", "UTC")
    spans = pl.DataFrame(
        [(day, _origin(opens, minutes, place, grid), opens, closes) for day, (opens, closes) in hours.items()],
        schema={"session": pl.Date, "ts": stamp, "opens_at": stamp, "closes_at": stamp},
        orient="row",
    )
    columns = ("ts", "opens_at", "closes_at", "session")
    if minutes is None:
        return spans.select(columns)
    starts = pl.datetime_ranges("ts", "closes_at", interval=f"{minutes}m", closed="left")
    bars = spans.with_columns(ts=starts).explode("ts", empty_as_null=False)
    ends = pl.col("ts") + pl.duration(minutes=minutes)
    covered = {
        "opens_at": pl.max_horizontal("ts", "opens_at"),
        "closes_at": pl.min_horizontal(ends, "closes_at"),
    }
    return bars.with_columns(**covered).select(columns)


def typed_bars(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return `BAR_COLUMNS` alone: ts in microseconds UTC, symbol as text, numbers as Float64; values are not judged.

    Raises:
        SchemaError: a column is missing or of another type, or the stamps lie outside 1990 to 2100.
    """
    import polars as pl

    _need(frame, BAR_COLUMNS)
    odd = [f"{c}: {frame.schema[c]}" for c in BAR_COLUMNS[2:] if not frame.schema[c].is_numeric()]
    if odd:
        raise SchemaError("intraday bars have columns that are no numbers", seen=", ".join(odd), expected="numbers")
    return _timed(frame).select("ts", "symbol", *[pl.col(c).cast(pl.Float64) for c in BAR_COLUMNS[2:]])


def value_faults() -> "dict[str, pl.Expr]":
    """Return what can be wrong with the values of one bar: name -> condition, in the order in which to ask."""
    import polars as pl

    prices = [pl.col(c) for c in ("open", "high", "low", "close")]
    highest, lowest = pl.max_horizontal("open", "low", "close"), pl.min_horizontal("open", "high", "close")
    return {
        "missing_value": pl.any_horizontal(pl.col(BAR_COLUMNS).is_null()) | (pl.col("symbol").str.strip_chars() == ""),
        "bad_price": pl.any_horizontal(~p.is_finite() | (p <= 0) for p in prices),
        "bad_volume": ~pl.col("volume").is_finite() | (pl.col("volume") < 0),
        "ohlc_order": (pl.col("high") < highest) | (pl.col("low") > lowest),
    }


def with_known_at(
    frame: "pl.DataFrame", interval: str, market: str, calendar: Calendar, *, grid: str, outside: str = "refuse"
) -> "pl.DataFrame":
    """Add `closes_at`, the instant a bar is complete and may be known: its bucket's end, or the close before it.

    Args:
        frame: columns ts (UTC opening stamp) and symbol, any others; the order is kept.
        interval: name in `INTERVALS`, what the bars are.
        market: name in `MARKETS`.
        calendar: sessions of the `us` market.
        grid: name in `GRIDS`, how the bars are stamped. It is told, never guessed.
        outside: `refuse` bars that are not in `expected_bars`, or `mark` them: closes_at stays null and the
            column `fault` says `outside_session` (pre-market, holiday, no ts) or `off_grid` (inside, at an odd
            minute).

    Raises:
        DataError: bars lie outside the sessions or off the grid; the message counts both.
        SchemaError: ts or symbol is missing or of another type.
        UsageError: a name is not in its table.
    """
    import polars as pl

    if outside not in ("refuse", "mark"):
        raise UsageError("no such answer to bars outside the session", seen=outside, expected="refuse, mark")
    bars = _timed(frame).drop("closes_at", "fault", strict=False)
    days = _days(bars, market)
    expected = expected_bars(interval, market, calendar, days, grid=grid).select("ts", "closes_at")
    placed = bars.join(expected, on="ts", how="left", maintain_order="left")
    sessions = expected_bars("1d", market, calendar, days, grid=grid).select("ts", session_closes="closes_at")
    stray = placed.filter(pl.col("closes_at").is_null()).select(pl.col("ts").drop_nulls().unique().sort())
    inside = stray.join_asof(sessions, on="ts").filter(pl.col("ts") < pl.col("session_closes")).get_column("ts")
    where = pl.when(pl.col("ts").is_in(inside.implode())).then(pl.lit("off_grid")).otherwise(pl.lit("outside_session"))
    marked = placed.with_columns(fault=pl.when(pl.col("closes_at").is_null()).then(where))
    if outside == "mark":
        return marked
    astray = marked.filter(pl.col("fault").is_not_null())
    if len(astray):
        raise _astray(astray, f"{interval} bars of {market} on the grid {grid}")
    return placed


def resample(
    frame: "pl.DataFrame",
    to: str,
    market: str,
    calendar: Calendar,
    *,
    base: str,
    grid: str,
    asof: datetime | None = None,
) -> "pl.DataFrame":
    """Add bars up to longer ones; a bucket never crosses a session's border and appears only when its time is over.

    Args:
        frame: the bars, columns `BAR_COLUMNS` (others are ignored), in any order.
        to: the longer interval.
        market: name in `MARKETS`.
        calendar: sessions of the `us` market.
        base: the interval of `frame`.
        grid: how the bars are stamped, and how the longer ones will be.
        asof: a bucket that is not over at this instant is not emitted; without one, the instant the newest bar of
            the frame was complete.

    Returns:
        `BAR_COLUMNS`, closes_at and coverage: the share of the bucket's expected bars that were there. A bucket
        with none is left out. Less than 1 is a bar that is missing, or one that is late: when it comes, the bucket
        changes. Sorted by symbol and ts; the same bars give the same bytes. Known at closes_at.

    Raises:
        DataError: bars off the grid, twice the same bar, or a value that is no number.
        SchemaError: a column is missing or of another type.
        UsageError: a name is not in its table, or `to` is finer than `base`.
    """
    import polars as pl

    if list(INTERVALS).index(_known(to)) < list(INTERVALS).index(_known(base)):
        raise UsageError("bars add up to longer ones only", seen=f"{base} to {to}", expected="a longer interval")
    bars = with_known_at(_summable(frame), base, market, calendar, grid=grid)
    nested = _nested(base, to, market, calendar, _days(bars, market), grid)
    buckets = _summed(bars.drop("closes_at").join(nested, on="ts").sort("symbol", "ts"))
    hour = pl.lit(bars.get_column("closes_at").max() if asof is None else as_utc(asof), buckets.schema["closes_at"])
    return buckets.filter(pl.col("closes_at") <= hour)  # a bucket that is over holds no bar that is not


def visible_at(frame: "pl.DataFrame", instant: datetime) -> "pl.DataFrame":
    """Cut what was not complete yet at an instant; marked bars, which have no closes_at, go too.

    Args:
        frame: any bars with closes_at.
        instant: aware; a bar complete at this very instant stays.
    """
    import polars as pl

    return frame.filter(pl.col("closes_at") <= as_utc(instant))


def align(base: "pl.DataFrame", higher: "pl.DataFrame", interval: str) -> "pl.DataFrame":
    """Put beside each bar the last longer bar that was complete when it was.

    A longer bar that closes at the same instant is visible: both are complete then. After a gap the last one may be
    old; its `closes_at_...` says how old.

    Args:
        base: bars with symbol and closes_at; the order is kept.
        higher: longer bars with symbol and closes_at, as `resample` makes them.
        interval: what `higher` is; its columns come with this suffix (`close_1h`), null before the first.

    Raises:
        DataError: a longer bar is there twice, or a bar has no closes_at.
        SchemaError: a column is missing.
        UsageError: the interval is not in `INTERVALS`.
    """
    import polars as pl

    _known(interval)
    for bars in (base, higher):
        _need(bars, ("symbol", "closes_at"))
        if bars.get_column("closes_at").null_count():
            raise DataError("a bar outside the session cannot be aligned", expected="bars that have a closes_at")
    if higher.select("symbol", "closes_at").is_duplicated().any():
        raise DataError(f"a {interval} bar is there twice", expected="one bar of each symbol and closes_at")
    text = pl.col("symbol").cast(pl.String)
    key = pl.col("closes_at").cast(pl.Datetime("us", "UTC"))
    other = higher.with_columns(text, key)
    other = other.rename({c: f"{c}_{interval}" for c in other.columns if c != "symbol"})
    right = f"closes_at_{interval}"
    joined = (
        base.with_columns(text, key)
        .with_row_index("_row")
        .sort("closes_at", maintain_order=True)
        .join_asof(
            other.sort(right), left_on="closes_at", right_on=right, by="symbol", coalesce=False,
            check_sortedness=False,  # polars cannot check it within symbols and would warn; both are sorted here
        )
    )  # fmt: skip
    return joined.sort("_row").drop("_row")


def gaps(frame: "pl.DataFrame", interval: str, market: str, calendar: Calendar, *, grid: str) -> "pl.DataFrame":
    """List the expected bars that are missing between a symbol's first and last bar.

    Args:
        frame: columns ts and symbol, all of them on the grid.
        interval: name in `INTERVALS`.
        market: name in `MARKETS`; where it closes overnight, a gap ends with the session.
        calendar: sessions of the `us` market.
        grid: name in `GRIDS`.

    Returns:
        Columns symbol, first, last (stamps of the first and last missing bar) and bars (how many), sorted.

    Raises:
        DataError: bars lie off the grid.
    """
    import polars as pl

    here = with_known_at(frame, interval, market, calendar, grid=grid).select("symbol", "ts")
    days = _days(here, market)
    span = (days[0] + timedelta(days=i) for i in range((days[-1] - days[0]).days + 1)) if days else ()
    expected = expected_bars(interval, market, calendar, span, grid=grid).select("ts", "session").with_row_index("n")
    place = here.join(expected.select("ts", n=pl.col("n").cast(pl.Int64)), on="ts").sort("symbol", "n")
    after = pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col("n").shift(1) + 1)
    holes = place.with_columns(start=after).filter(pl.col("n") > pl.col("start"))
    missing = holes.select("symbol", "start", n=pl.int_ranges("start", "n", dtype=pl.UInt32))
    missing = missing.explode("n", empty_as_null=False).join(expected, on="n")
    border = [] if _market(market).continuous else ["session"]
    found = missing.group_by("symbol", "start", *border).agg(
        first=pl.col("ts").min(), last=pl.col("ts").max(), bars=pl.len().cast(pl.Int64)
    )
    return found.select("symbol", "first", "last", "bars").sort("symbol", "first")


def _known(interval: str) -> str:
    if interval not in INTERVALS:
        raise UsageError("no such interval", seen=interval, expected=", ".join(INTERVALS))
    return interval


def _minutes(interval: str) -> int | None:
    return INTERVALS[_known(interval)]


def _market(market: str) -> Market:
    if market not in MARKETS:
        raise UsageError("no such market", seen=market, expected=", ".join(MARKETS))
    return MARKETS[market]


def _origin(opens: datetime, minutes: int | None, market: Market, grid: str) -> datetime:
    """Return the stamp of a session's first bar; on the clock grid that is before the opening."""
    if minutes is None or grid == "open":
        return opens
    local = opens.astimezone(market.zone)
    return opens - timedelta(minutes=(local.hour * 60 + local.minute) % minutes)


def _need(frame: "pl.DataFrame", columns: Iterable[str]) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        seen = ", ".join(frame.columns)[:300]
        raise SchemaError("intraday bars lack columns", seen=seen, expected=", ".join(missing))


def _timed(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return the frame with ts in microseconds and symbol as text, or refuse it."""
    import polars as pl

    _need(frame, ("ts", "symbol"))
    stamp, text = frame.schema["ts"], frame.schema["symbol"]
    if stamp not in (pl.Datetime("ms", "UTC"), pl.Datetime("us", "UTC")):
        raise SchemaError("ts is no UTC instant", seen=stamp, expected="Datetime in ms or us, time zone UTC")
    if text not in (pl.String, pl.Categorical, pl.Enum):
        raise SchemaError("symbol is no text", seen=text, expected="String")
    first, last = (datetime(end.year, 1, 1, tzinfo=UTC) for end in (_EARLIEST, _LATEST))
    if not frame.get_column("ts").is_between(first, last, closed="left").all():
        raise SchemaError("ts lies far off", expected=f"{_EARLIEST} to {_LATEST} (is the unit right?)")
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")), pl.col("symbol").cast(pl.String))


def _summable(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return bars that can be added up, or refuse them."""
    import polars as pl

    bars = typed_bars(frame)
    fit = pl.all_horizontal(pl.col(BAR_COLUMNS[2:]).is_finite().fill_null(value=False))
    unfit = len(bars) - len(bars.filter(fit))
    if unfit:
        raise DataError("bars hold values that are no numbers", seen=f"{unfit} of {len(bars)} bars")
    if bars.select("symbol", "ts").is_duplicated().any():
        raise DataError("bars are there twice", expected="one bar of each symbol and ts")
    return bars


def _days(frame: "pl.DataFrame", market: str) -> list[date]:
    zone = _market(market).zone.key
    return frame.get_column("ts").drop_nulls().dt.convert_time_zone(zone).dt.date().unique().sort().to_list()


def _astray(bars: "pl.DataFrame", told: str) -> DataError:
    counts = ", ".join(f"{n} {fault}" for fault, n in bars.group_by("fault").len().sort("fault").iter_rows())
    symbol, first = bars.select("symbol", "ts").row(0)
    return DataError(
        "bars lie outside the sessions or off the grid",
        seen=f"{counts}; the first is {symbol} at {first}",
        expected=f"{told} (is the grid right?)",
    )


def _nested(base: str, to: str, market: str, calendar: Calendar, days: list[date], grid: str) -> "pl.DataFrame":
    """Return for each expected bar its bucket: ts, bucket, closes_at of the bucket, expected bars in the bucket."""
    import polars as pl

    small = expected_bars(base, market, calendar, days, grid=grid).select("ts", "opens_at")
    large = expected_bars(to, market, calendar, days, grid=grid)
    large = large.select("opens_at", "closes_at", bucket="ts")
    return small.join_asof(large, on="opens_at").with_columns(expected=pl.len().over("bucket")).drop("opens_at")


def _summed(ordered: "pl.DataFrame") -> "pl.DataFrame":
    """Add up runs of one bucket of one symbol, in the order of time."""
    import polars as pl

    run = ordered.select(pl.struct("symbol", "bucket").rle_id()).to_series().to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    lengths = np.diff(starts, append=len(run))
    column = {c: ordered.get_column(c).to_numpy() for c in BAR_COLUMNS[2:]}
    sums = {
        "open": column["open"][starts],
        "high": np.maximum.reduceat(column["high"], starts),
        "low": np.minimum.reduceat(column["low"], starts),
        "close": column["close"][starts + lengths - 1],
        "volume": _added(column["volume"], starts, lengths),
    }
    heads = ordered[starts].select("symbol", "closes_at", "expected", ts="bucket")
    made = heads.with_columns(pl.Series("bars", lengths), *[pl.Series(name, values) for name, values in sums.items()])
    return made.select(*BAR_COLUMNS, "closes_at", coverage=pl.col("bars") / pl.col("expected"))


def _added(values: Floats, starts: Ints, lengths: Ints) -> Floats:
    """Sum runs with Kahan's compensation, oldest first.

    The sum of a run has the same bits whatever stands around it, which a parallel sum of floats does not promise.
    """
    total, lost = np.zeros(len(starts)), np.zeros(len(starts))
    for step in range(int(lengths.max(initial=0))):
        runs = np.flatnonzero(lengths > step)
        term = values[starts[runs] + step] - lost[runs]
        grown = total[runs] + term
        lost[runs] = (grown - total[runs]) - term
        total[runs] = grown
    return total
