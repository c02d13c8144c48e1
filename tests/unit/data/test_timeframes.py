"""A bar is known when it is complete, longer bars stay inside their session, and real files add up to real files."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from conftest import DATA
from polars.testing import assert_frame_equal

from kobe.core.clock import NEW_YORK
from kobe.core.errors import DataError, SchemaError, UsageError
from kobe.data import timeframes as tf

HALF_DAY, AFTER_SPRING, AFTER_AUTUMN, PLAIN = (
    date(2026, 11, 27),
    date(2026, 3, 9),
    date(2026, 11, 2),
    date(2026, 11, 18),
)


def new_york(day: date, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day.isoformat()}T{clock}").replace(tzinfo=NEW_YORK).astimezone(UTC)


def local(stamps: pl.Series) -> list[str]:
    return stamps.dt.convert_time_zone("America/New_York").dt.strftime("%H:%M").to_list()


def bars_of(stamps, symbol="AAA", unit="us") -> pl.DataFrame:
    n = len(stamps)
    close = [100.0 + i for i in range(n)]
    return pl.DataFrame(
        {"ts": stamps, "symbol": [symbol] * n, "open": [c - 0.5 for c in close], "high": [c + 1 for c in close],
         "low": [c - 1 for c in close], "close": close, "volume": [10.0 + i for i in range(n)]},
        schema_overrides={"ts": pl.Datetime(unit, "UTC")},
    )  # fmt: skip


def full(calendar, days, interval="15m", market="us", grid="open", symbol="AAA") -> pl.DataFrame:
    stamps = tf.expected_bars(interval, market, calendar, days, grid=grid).get_column("ts").to_list()
    return bars_of(stamps, symbol)


def real(name: str) -> pl.DataFrame:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real bars are not there: {path} (set KOBE_TEST_DATA)")
    return pl.read_parquet(path)


@pytest.mark.parametrize(
    ("interval", "grid", "day", "stamps", "closes"),
    [
        ("4h", "open", PLAIN, ["09:30", "13:30"], ["13:30", "16:00"]),
        ("4h", "open", HALF_DAY, ["09:30"], ["13:00"]),
        ("1h", "open", PLAIN, [f"{h:02}:30" for h in range(9, 16)], [f"{h}:30" for h in range(10, 16)] + ["16:00"]),
        ("1h", "open", HALF_DAY, ["09:30", "10:30", "11:30", "12:30"], ["10:30", "11:30", "12:30", "13:00"]),
        ("1h", "clock", PLAIN, [f"{h:02}:00" for h in range(9, 16)], [f"{h}:00" for h in range(10, 17)]),
        ("1h", "clock", HALF_DAY, ["09:00", "10:00", "11:00", "12:00"], ["10:00", "11:00", "12:00", "13:00"]),
        ("4h", "clock", PLAIN, ["08:00", "12:00"], ["12:00", "16:00"]),
        ("1d", "clock", HALF_DAY, ["09:30"], ["13:00"]),
        ("1d", "open", AFTER_SPRING, ["09:30"], ["16:00"]),
        ("1h", "open", date(2026, 11, 26), [], []),
    ],
)
def test_expected_bars_follow_the_session_on_either_grid(calendar, interval, grid, day, stamps, closes):
    bars = tf.expected_bars(interval, "us", calendar, [day], grid=grid)
    assert local(bars["ts"]) == stamps
    assert local(bars["closes_at"]) == closes


@pytest.mark.parametrize(("day", "utc_hour"), [(date(2026, 3, 6), 14), (AFTER_SPRING, 13), (date(2026, 10, 30), 13),
                                               (AFTER_AUTUMN, 14)])  # fmt: skip
def test_the_first_bar_moves_with_new_york_s_clock_change(calendar, day, utc_hour):
    first = tf.expected_bars("15m", "us", calendar, [day], grid="open").row(0, named=True)
    assert first["ts"] == datetime(day.year, day.month, day.day, utc_hour, 30, tzinfo=UTC)


@pytest.mark.parametrize("grid", tf.GRIDS)
def test_around_the_clock_a_day_is_a_utc_day_on_both_grids_and_clock_changes_do_not_matter(calendar, grid):
    days = [date(2026, 3, 8), date(2026, 11, 1)]
    assert [len(tf.expected_bars(i, "always", calendar, days, grid=grid)) for i in tf.INTERVALS] == [192, 48, 12, 2]
    day = tf.expected_bars("1d", "always", calendar, days[:1], grid=grid).row(0, named=True)
    assert (day["ts"], day["closes_at"]) == (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC))


def test_expected_bars_of_a_session_cover_it_without_a_hole_or_an_overlap(calendar):
    days = [date(2026, 11, 25) + timedelta(days=i) for i in range(7)]
    for market in tf.MARKETS:
        for grid in tf.GRIDS:
            whole = tf.expected_bars("1d", market, calendar, days, grid=grid)
            for interval in tf.INTERVALS:
                bars = tf.expected_bars(interval, market, calendar, days, grid=grid)
                joint = bars.filter(pl.col("session") == pl.col("session").shift(1))
                before = bars.filter(pl.col("session") == pl.col("session").shift(-1))
                assert joint["opens_at"].to_list() == before["closes_at"].to_list()
                ends = bars.group_by("session").agg(pl.col("opens_at").min(), pl.col("closes_at").max()).sort("session")
                assert_frame_equal(ends, whole.select("session", "opens_at", "closes_at"))


def test_every_interval_and_market_is_known_and_others_are_refused(calendar):
    frame = full(calendar, [PLAIN])
    for wrong in ({"interval": "5m"}, {"market": "eu"}, {"grid": "guess"}, {"outside": "keep"}):
        words = {"interval": "15m", "market": "us", "grid": "open", **wrong}
        with pytest.raises(UsageError):
            tf.with_known_at(frame, words.pop("interval"), words.pop("market"), calendar, **words)
    with pytest.raises(UsageError, match="1h to 15m"):
        tf.resample(full(calendar, [PLAIN], "1h"), "15m", "us", calendar, base="1h", grid="open")
    with pytest.raises(UsageError):
        tf.align(frame, frame, "2h")


def test_bars_on_the_wrong_grid_are_refused_with_their_count_and_never_moved(calendar):
    clock = full(calendar, [PLAIN], "1h", grid="clock")
    with pytest.raises(DataError, match="6 off_grid, 1 outside_session"):
        tf.with_known_at(clock, "1h", "us", calendar, grid="open")
    assert local(tf.with_known_at(clock, "1h", "us", calendar, grid="clock")["closes_at"])[0] == "10:00"


def test_bars_before_and_after_the_session_are_marked_or_refused(calendar):
    stamps = [new_york(PLAIN, c) for c in ("16:00", "09:15", "09:30", "10:05", "20:00", "15:45")]
    stamps.append(new_york(date(2026, 11, 26), "10:00"))
    frame = bars_of(stamps).with_columns(extra=pl.lit(1))
    marked = tf.with_known_at(frame, "15m", "us", calendar, grid="open", outside="mark")
    assert marked.select(frame.columns).equals(frame)
    assert marked["fault"].to_list() == ["outside_session", "outside_session", None, "off_grid", "outside_session",
                                         None, "outside_session"]  # fmt: skip
    assert marked["closes_at"].is_null().to_list() == [True, True, False, True, True, False, True]
    assert len(tf.visible_at(marked, stamps[-1])) == 2
    for work in (
        lambda: tf.with_known_at(frame, "15m", "us", calendar, grid="open"),
        lambda: tf.resample(frame, "1h", "us", calendar, base="15m", grid="open"),
        lambda: tf.gaps(frame, "15m", "us", calendar, grid="open"),
    ):
        with pytest.raises(DataError, match="1 off_grid, 4 outside_session"):
            work()
    with pytest.raises(DataError, match="cannot be aligned"):
        tf.align(marked, marked, "1h")


@pytest.mark.parametrize(
    "broken",
    [
        lambda f: f.drop("volume"),
        lambda f: f.with_columns(pl.col("ts").dt.replace_time_zone(None)),
        lambda f: f.with_columns(pl.col("ts").dt.cast_time_unit("ns")),
        lambda f: f.with_columns(pl.col("ts").dt.convert_time_zone("America/New_York")),
        lambda f: f.with_columns(pl.col("ts").dt.strftime("%c")),
        lambda f: f.with_columns(symbol=pl.lit(7)),
        lambda f: f.with_columns(close=pl.lit("7")),
        lambda f: f.with_columns(close=pl.lit(value=True)),
        lambda f: f.with_columns(ts=pl.lit(2**62).cast(pl.Datetime("ms", "UTC"))),
    ],
)
def test_a_frame_of_another_shape_is_a_schema_error(calendar, broken):
    with pytest.raises(SchemaError):
        tf.resample(broken(full(calendar, [PLAIN])), "1h", "us", calendar, base="15m", grid="open")


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["open", "volume"])
def test_what_is_no_number_is_not_added_up(calendar, value, column):
    frame = full(calendar, [PLAIN]).with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value, dtype=pl.Float64)).otherwise(column).alias(column)
    )
    with pytest.raises(DataError, match="1 of 26"):
        tf.resample(frame, "1h", "us", calendar, base="15m", grid="open")


def test_the_same_bar_twice_is_not_added_up(calendar):
    frame = full(calendar, [PLAIN])
    with pytest.raises(DataError, match="twice"):
        tf.resample(pl.concat([frame, frame.head(1)]), "1h", "us", calendar, base="15m", grid="open")


def test_four_quarters_make_an_hour_and_the_last_bucket_of_a_session_is_the_rest(calendar):
    frame = full(calendar, [PLAIN, HALF_DAY])
    hours = tf.resample(frame.sample(fraction=1.0, shuffle=True, seed=1), "1h", "us", calendar, base="15m", grid="open")
    assert len(hours) == 7 + 4
    assert hours["coverage"].to_list() == [1.0] * 11
    first = hours.row(0, named=True)
    assert [first[c] for c in tf.BAR_COLUMNS[2:]] == [99.5, 104.0, 99.0, 103.0, 46.0]
    assert local(hours["closes_at"])[6] == "16:00"
    assert local(hours["closes_at"])[-1] == "13:00"
    assert hours.columns == [*tf.BAR_COLUMNS, "closes_at", "coverage"]


def test_a_missing_lower_bar_shows_as_coverage_and_an_empty_bucket_is_left_out(calendar):
    frame = full(calendar, [PLAIN])
    hours = tf.resample(frame.filter(~pl.int_range(pl.len()).is_in([1, 2, 4, 5, 6, 7, 24])), "1h", "us", calendar,
                        base="15m", grid="open")  # fmt: skip
    assert local(hours["ts"]) == ["09:30", "11:30", "12:30", "13:30", "14:30", "15:30"]
    assert hours["coverage"].to_list() == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5]


def test_a_bucket_appears_at_the_instant_its_time_is_over_and_not_before(calendar):
    frame = full(calendar, [PLAIN])
    end = new_york(PLAIN, "10:30")

    def hours(asof):
        return tf.resample(frame, "1h", "us", calendar, base="15m", grid="open", asof=asof)

    assert len(hours(end - timedelta(microseconds=1))) == 0
    assert len(hours(end)) == 1
    assert len(hours(None)) == 7
    late = frame.filter(pl.col("ts") < new_york(PLAIN, "10:15"))  # its last quarter is missing, its time is over
    assert tf.resample(late, "1h", "us", calendar, base="15m", grid="open").is_empty()
    assert tf.resample(late, "1h", "us", calendar, base="15m", grid="open", asof=end)["coverage"].to_list() == [0.75]
    with pytest.raises(ValueError, match="naive"):
        hours(datetime(2026, 11, 18, 12))  # noqa: DTZ001


def test_no_bars_make_no_bars_with_the_same_columns(calendar):
    frame = full(calendar, [PLAIN])
    none, some = (tf.resample(f, "1h", "us", calendar, base="15m", grid="open") for f in (frame.clear(), frame))
    assert none.schema == some.schema
    assert none.is_empty()
    assert tf.gaps(frame.clear(), "15m", "us", calendar, grid="open").is_empty()


def test_an_equal_close_is_visible_and_the_first_bars_see_none(calendar):
    frame = pl.concat([full(calendar, [PLAIN], symbol=s) for s in ("BBB", "AAA")])
    base = tf.with_known_at(frame, "15m", "us", calendar, grid="open")
    hours = tf.resample(frame, "1h", "us", calendar, base="15m", grid="open")
    hours = hours.filter((pl.col("symbol") == "AAA") | (pl.col("ts") > new_york(PLAIN, "10:30")))
    seen = tf.align(base, hours, "1h")
    assert seen.select(base.columns).equals(base)
    first = dict(seen.filter(pl.col("ts_1h").is_not_null()).group_by("symbol").agg(pl.col("ts").min()).iter_rows())
    assert first == {"AAA": new_york(PLAIN, "10:15"), "BBB": new_york(PLAIN, "12:15")}
    assert (seen["closes_at_1h"] <= seen["closes_at"]).all()
    assert seen.filter(pl.col("ts") == new_york(PLAIN, "15:45"))["ts_1h"].to_list() == [new_york(PLAIN, "15:30")] * 2
    assert {f"{c}_1h" for c in ("open", "high", "low", "close", "volume", "coverage")} <= set(seen.columns)


def test_aligning_twice_gives_two_sets_of_columns_and_a_longer_bar_twice_is_refused(calendar):
    frame = full(calendar, [PLAIN, HALF_DAY])
    base = tf.with_known_at(frame, "15m", "us", calendar, grid="open")
    for to in ("1h", "4h", "1d"):
        base = tf.align(base, tf.resample(frame, to, "us", calendar, base="15m", grid="open"), to)
    assert base.row(26, named=True)["close_1d"] == base.row(25, named=True)["close"] == 125.0
    assert base.row(24, named=True)["close_1d"] is None
    hours = tf.resample(frame, "1h", "us", calendar, base="15m", grid="open")
    with pytest.raises(DataError, match="twice"):
        tf.align(base.select("symbol", "closes_at"), pl.concat([hours, hours]), "1h")
    with pytest.raises(SchemaError):
        tf.align(frame, hours, "1h")


def test_instants_in_milliseconds_and_symbols_as_categories_give_the_same(calendar):
    frame = full(calendar, [PLAIN])
    other = frame.with_columns(pl.col("ts").dt.cast_time_unit("ms"), pl.col("symbol").cast(pl.Categorical))
    one, two = (tf.resample(f, "1h", "us", calendar, base="15m", grid="open") for f in (frame, other))
    assert_frame_equal(one, two, check_exact=True)
    base = tf.with_known_at(other, "15m", "us", calendar, grid="open")
    odd = two.with_columns(pl.col("closes_at").dt.cast_time_unit("ms"), pl.col("symbol").cast(pl.Categorical))
    assert_frame_equal(tf.align(base, odd, "1h").select("close_1h"), tf.align(base, one, "1h").select("close_1h"))


def test_gaps_end_with_the_session_where_the_market_closes_and_go_on_where_it_does_not(calendar):
    days = [date(2026, 11, 25), HALF_DAY, date(2026, 11, 30)]
    frame = full(calendar, days)
    lost = frame.filter(~pl.int_range(pl.len()).is_in([3, 24, 25, 26, 27]))
    found = tf.gaps(lost, "15m", "us", calendar, grid="open")
    assert [*zip(local(found["first"]), local(found["last"]), found["bars"], strict=True)] == [
        ("10:15", "10:15", 1), ("15:30", "15:45", 2), ("09:30", "09:45", 2)]  # fmt: skip
    whole = tf.gaps(frame.filter(pl.col("ts").dt.date() != HALF_DAY), "15m", "us", calendar, grid="open")
    assert whole["bars"].to_list() == [14]
    round_clock = full(calendar, days[:2], "1h", "always").filter(~pl.int_range(pl.len()).is_in([22, 23, 24]))
    found = tf.gaps(round_clock, "1h", "always", calendar, grid="clock")
    assert found["bars"].to_list() == [2 + 24 + 1]


def test_gaps_are_told_per_symbol_inside_its_own_life(calendar):
    a, b = full(calendar, [PLAIN], symbol="AAA"), full(calendar, [PLAIN], symbol="BBB")
    frame = pl.concat([a.slice(5, 10), b.filter(pl.int_range(pl.len()) != 7)])
    found = tf.gaps(frame, "15m", "us", calendar, grid="open")
    assert found["symbol"].to_list() == ["BBB"]
    assert local(found["first"]) == ["11:15"]
    apart = pl.concat([a.head(5), b.tail(5)])
    assert tf.gaps(apart, "15m", "us", calendar, grid="open").is_empty()


def test_hours_of_crypto_add_up_to_its_daily_file_to_the_last_digit(calendar):
    hours, days = real("crypto_1h.parquet"), real("crypto_daily.parquet")
    made = tf.resample(hours, "1d", "always", calendar, base="1h", grid="clock")
    ours = made.select(pl.col("ts").dt.replace_time_zone(None).dt.cast_time_unit("ms").alias("date"), "symbol",
                       *tf.BAR_COLUMNS[2:])  # fmt: skip
    assert_frame_equal(ours, days.select(ours.columns).sort("symbol", "date"), check_exact=True)
    partial = made.filter(pl.col("coverage") < 1).group_by("ts", "coverage").len().sort("ts")
    assert [(str(ts.date()), round(c * 24), n) for ts, c, n in partial.iter_rows()] == [
        ("2021-08-21", 3, 5), ("2021-09-29", 22, 5), ("2023-03-24", 23, 5)]  # fmt: skip


def test_hours_of_spy_add_up_to_its_daily_bars(calendar):
    hours = real("intraday_1h_lean_raw.parquet")
    days = real("equities_daily.parquet").filter(pl.col("symbol") == "SPY").sort("date")
    made = tf.resample(hours, "1d", "us", calendar, base="1h", grid="clock")
    halt = made.filter(pl.col("coverage") < 1)
    assert [(r["symbol"], str(r["ts"].date())) for r in halt.iter_rows(named=True)] == [("AAPL", "2013-08-22")]
    spy = made.filter(pl.col("symbol") == "SPY")
    assert spy["ts"].dt.convert_time_zone("America/New_York").dt.date().to_list() == days["date"].dt.date().to_list()
    for column in tf.BAR_COLUMNS[2:]:
        assert spy[column].to_list() == days[column].cast(pl.Float64).to_list(), column


@pytest.mark.parametrize(
    ("name", "interval", "market", "grid", "expected"),
    [
        ("crypto_1h.parquet", "1h", "always", "clock", [("2021-09-29 07:00", 2, 5), ("2023-03-24 13:00", 1, 5)]),
        ("intraday_15m_yahoo.parquet", "15m", "us", "open", []),
        ("intraday_1h_lean_raw.parquet", "1h", "us", "clock", [("2013-08-22 17:00", 2, 1)]),
    ],
)
def test_the_gaps_of_the_real_files_are_those_their_readme_tells(calendar, name, interval, market, grid, expected):
    found = tf.gaps(real(name), interval, market, calendar, grid=grid)
    told = found.group_by("first", "bars").agg(n=pl.len()).sort("first")
    assert [(f"{first:%Y-%m-%d %H:%M}", bars, n) for first, bars, n in told.iter_rows()] == expected
