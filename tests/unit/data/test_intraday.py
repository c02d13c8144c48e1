"""Intraday bars are kept whole, never change once held, and what is refused or missing is told."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from conftest import DATA
from polars.testing import assert_frame_equal

from kobe.core.errors import DataError, ExternalError, IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.data import timeframes as tf
from kobe.data.intraday import MANIFEST, PERIODS, RULES, IntradayStore, read_intraday
from kobe.infra.records.artifacts import FileArtifacts

DAYS = [date(2026, 10, 29), date(2026, 10, 30), date(2026, 11, 2)]
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def store(tmp_path, calendar) -> IntradayStore:
    return IntradayStore(tmp_path / "intraday", FileArtifacts(), calendar)


def bars(calendar, symbol="AAA", days=DAYS, interval="15m", market="us", grid="open") -> pl.DataFrame:
    stamps = tf.expected_bars(interval, market, calendar, days, grid=grid).get_column("ts")
    close = 100.0 + pl.int_range(pl.len())
    return pl.DataFrame({"ts": stamps}).select(
        "ts", symbol=pl.lit(symbol), open=close - 0.5, high=close + 1.0, low=close - 1.0, close=close,
        volume=10.0 + pl.int_range(pl.len()),
    )  # fmt: skip


def put(store, frame, interval="15m", market="us", source="file", feed="consolidated", grid="open", **more):
    return store.write(frame, interval, market, source, feed, grid, **more)


def at(row: int, **values):
    return [
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in values.items()
    ]


def names(store) -> list[str]:
    return sorted(p.name for p in store.folder.iterdir())


def test_what_was_written_is_read_by_symbol_and_time(store, calendar):
    frame = pl.concat([bars(calendar, "BBB"), bars(calendar, "AAA")]).sample(fraction=1.0, shuffle=True, seed=3)
    done = put(store, frame.with_columns(extra=pl.lit(1), volume=pl.col("volume").cast(pl.Int64)))
    assert (done.delivered, done.added, done.known, done.reasons) == (156, 156, 0, {})
    assert done.gaps.is_empty()
    held = store.read("15m")
    assert_frame_equal(held.select(tf.BAR_COLUMNS), frame.sort("symbol", "ts"), check_exact=True)
    assert held.select("source", "feed").unique().rows() == [("file", "consolidated")]
    first, last = frame["ts"].sort()[30], frame["ts"].sort()[120]
    some = store.read("15m", ["BBB"], first, last)
    assert some["symbol"].unique().to_list() == ["BBB"]
    assert (some["ts"].min(), some["ts"].max()) == (first, last)
    assert len(store.read("15m", first=datetime(2027, 1, 1, tzinfo=UTC))) == 0


def test_a_part_holds_every_symbol_of_a_month_or_a_year(store, calendar):
    put(store, pl.concat([bars(calendar, "AAA"), bars(calendar, "BBB")]))
    put(store, bars(calendar, interval="1h"), "1h")
    held = store.manifest()
    assert {i: {p: part.rows for p, part in parts.items()} for i, parts in held.parts.items()} == {
        "15m": {"2026-10": 104, "2026-11": 52}, "1h": {"2026": 21}}  # fmt: skip
    assert names(store) == sorted([*(p.name for p in held.files), MANIFEST])
    assert set(PERIODS) == set(tf.INTERVALS)
    one = held.series["15m"]["BBB"]
    assert (one.market, one.grid, one.rows, one.first.date(), one.last.date()) == ("us", "open", 78, DAYS[0], DAYS[-1])


def test_only_the_periods_that_change_are_written_again(store, calendar):
    put(store, bars(calendar, days=DAYS[:2]))
    before = store.manifest()
    done = put(store, bars(calendar), source="later", feed="iex")
    after = store.manifest()
    assert (done.added, done.known, done.reasons) == (26, 52, {})
    assert after.parts["15m"]["2026-10"] == before.parts["15m"]["2026-10"]
    assert after.digest != before.digest
    one = after.series["15m"]["AAA"]
    assert (one.rows, one.first.date(), one.last.date()) == (78, DAYS[0], DAYS[-1])
    one = put(store, bars(calendar, days=[date(2026, 9, 1)])).manifest.series["15m"]["AAA"]
    assert (one.rows, one.first.date(), one.last.date()) == (104, date(2026, 9, 1), DAYS[-1])
    feeds = store.read("15m").group_by("source", "feed").len().sort("len")
    assert feeds.rows() == [("later", "iex", 26), ("file", "consolidated", 78)]


def test_writing_the_same_again_changes_no_file(store, calendar):
    spoiled = bars(calendar).with_columns(at(3, close=NAN))
    first = put(store, spoiled)
    files = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in store.folder.iterdir()}
    again = put(store, spoiled)
    assert (again.added, again.known, again.reasons) == (0, 77, {"bad_price": 1})
    assert again.manifest == first.manifest == store.manifest()
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in store.folder.iterdir()} == files


def test_the_order_of_deliveries_does_not_matter_for_what_is_held(tmp_path, calendar):
    frame = pl.concat([bars(calendar, "AAA"), bars(calendar, "BBB")])
    digests = set()
    for n, parts in enumerate([[frame], [frame[100:], frame[:100]], [frame[:90], frame[50:]]]):
        store = IntradayStore(tmp_path / str(n), FileArtifacts(), calendar)
        for part in parts:
            put(store, part)
        digests.add(store.manifest().digest)
    assert len(digests) == 1


def test_another_value_for_a_held_bar_is_set_aside_and_never_mixed(store, calendar):
    frame = bars(calendar)
    put(store, frame)
    held = store.read("15m")
    done = put(store, frame.with_columns(at(5, close=105.25)), source="other")
    assert (done.added, done.known, done.reasons) == (0, 77, {"differs_from_held": 1})
    assert done.aside["close"].to_list() == [105.25]
    assert store.read("15m").equals(held)
    kept = store.set_aside()
    assert kept.select("ts", "close", "reason", "interval", "source", "feed").rows() == [
        (frame["ts"][5], 105.25, "differs_from_held", "15m", "other", "consolidated")]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("missing_value", {"close": None}),
        ("missing_value", {"symbol": None}),
        ("missing_value", {"symbol": " "}),
        ("missing_value", {"ts": None}),
        ("missing_value", {"volume": None}),
        ("bad_price", {"open": 0.0}),
        ("bad_price", {"low": -1.0}),
        ("bad_price", {"high": INF}),
        ("bad_price", {"close": NAN}),
        ("bad_volume", {"volume": -1.0}),
        ("bad_volume", {"volume": NAN}),
        ("bad_volume", {"volume": INF}),
        ("ohlc_order", {"high": 103.9}),
        ("ohlc_order", {"low": 103.6}),
        ("outside_session", {"ts": datetime(2026, 10, 29, 20, 0, tzinfo=UTC)}),
        ("outside_session", {"ts": datetime(2026, 10, 31, 15, 0, tzinfo=UTC)}),
        ("off_grid", {"ts": datetime(2026, 10, 29, 15, 1, tzinfo=UTC)}),
    ],
)
def test_a_bar_that_breaks_a_rule_is_set_aside_with_its_name_and_the_rest_is_kept(store, calendar, rule, change):
    done = put(store, bars(calendar).with_columns(at(4, **change)))
    assert done.reasons == {rule: 1}
    assert (done.added, done.known, len(store.read("15m"))) == (77, 0, 77)
    assert done.gaps["first"].to_list() == [bars(calendar)["ts"][4]]
    assert len(store.set_aside()) == 1


def test_every_reason_has_a_text():
    assert set(tf.value_faults()) < set(RULES)


def test_a_zero_volume_and_a_flat_bar_are_bars(store, calendar):
    flat = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    assert put(store, bars(calendar).with_columns(at(4, volume=0.0, **flat))).added == 78


def test_a_bar_told_twice_counts_once_and_told_in_two_ways_not_at_all(store, calendar):
    frame = bars(calendar)
    other = frame[7:8].with_columns(volume=pl.lit(99.0))
    done = put(store, pl.concat([frame, frame[3:5], other]))
    assert (done.added, done.known, done.reasons) == (77, 2, {"duplicate": 2})
    assert done.aside["ts"].unique().to_list() == [frame["ts"][7]]


def test_a_bar_that_was_still_open_is_set_aside_and_comes_in_when_it_is_complete(store, calendar):
    frame = bars(calendar)
    asof = frame["ts"][40] + timedelta(minutes=5)
    early = frame[:41].with_columns(at(40, volume=1.0))
    assert put(store, early, asof=asof).reasons == {"not_complete": 1}
    done = put(store, frame, asof=frame["ts"][-1] + timedelta(minutes=15))
    assert (done.added, done.reasons) == (38, {})
    assert store.read("15m")["volume"][40] == 50.0


def test_a_symbol_of_one_interval_is_of_one_market_and_one_grid(store, calendar):
    put(store, bars(calendar, interval="1h", grid="clock"), "1h", grid="clock")
    before = names(store)
    for words in ({"grid": "open"}, {"market": "always", "grid": "clock"}):
        with pytest.raises(DataError, match=r"AAA is held as other 1h bars.*market us, grid clock"):
            put(store, bars(calendar, interval="1h"), "1h", **words)
    assert names(store) == before
    round_clock = bars(calendar, "BTC", interval="1h", market="always")
    put(store, round_clock.filter(pl.int_range(pl.len()) != 9), "1h", "always", grid="clock")
    found = store.gaps("1h")
    assert (found["symbol"].to_list(), found["bars"].to_list()) == (["BTC", "BTC"], [1, 48])
    assert len(store.gaps("1h", ["AAA"])) == 0


def test_gaps_of_the_periods_a_delivery_touched_are_told_with_what_was_held(store, calendar):
    frame = pl.concat([bars(calendar, "AAA"), bars(calendar, "BBB")])
    put(store, frame.filter(pl.int_range(pl.len()).over("symbol") % 2 == 0))
    done = put(store, frame.filter((pl.col("symbol") == "AAA") & (pl.int_range(pl.len()) < 45)))
    assert done.gaps["symbol"].unique().to_list() == ["AAA"]
    assert done.gaps["bars"].to_list() == [1, 1, 1]
    assert store.gaps("15m").group_by("symbol").len().sort("symbol").rows() == [("AAA", 16), ("BBB", 38)]


def test_words_that_are_in_no_table_are_refused_before_anything_is_written(store, calendar):
    for words in ({"interval": "5m"}, {"market": "eu"}, {"grid": "guess"}):
        with pytest.raises(UsageError):
            put(store, bars(calendar), **words)
    assert not store.folder.exists()


def test_an_empty_delivery_or_one_without_a_fit_bar_leaves_no_bars(store, calendar):
    assert put(store, bars(calendar).clear()).delivered == 0
    assert not store.folder.exists()
    assert store.set_aside().is_empty()
    done = put(store, bars(calendar).with_columns(close=pl.lit(0.0)))
    assert (done.added, done.reasons, len(done.gaps)) == (0, {"bad_price": 78}, 0)
    with pytest.raises(MissingDataError):
        store.read("15m")
    assert len(store.set_aside()) == 78


def test_what_is_not_held_is_named(store, calendar):
    with pytest.raises(MissingDataError):
        store.manifest()
    put(store, bars(calendar))
    with pytest.raises(MissingDataError, match=r"CCC.*AAA"):
        store.read("15m", ["AAA", "CCC"])
    with pytest.raises(MissingDataError):
        store.read("1h")


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "empty"])
def test_a_damaged_part_is_never_read(store, calendar, damage):
    put(store, bars(calendar))
    path = store.folder / store.manifest().parts["15m"]["2026-10"].name
    content = path.read_bytes()
    spoiled = {"flip": content[:99] + bytes([content[99] ^ 1]) + content[100:], "cut": content[:-9], "empty": b""}
    path.unlink() if damage == "gone" else path.write_bytes(spoiled[damage])
    with pytest.raises(IntegrityError, match="15m-2026-10"):
        store.read("15m")
    with pytest.raises(IntegrityError):
        put(store, bars(calendar, "BBB"))
    assert len(store.read("15m", first=datetime(2026, 11, 1, tzinfo=UTC))) == 26


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema":1}', b'{"schema":1,"parts":{"1h":3}}', b"\xff"])
def test_a_damaged_manifest_is_an_integrity_error_and_a_newer_one_a_schema_error(store, calendar, content):
    put(store, bars(calendar))
    (store.folder / MANIFEST).write_bytes(content)
    with pytest.raises(IntegrityError, match="manifest"):
        store.manifest()
    with pytest.raises(IntegrityError):
        put(store, bars(calendar))
    (store.folder / MANIFEST).write_bytes(json.dumps({"schema": 99}).encode())
    with pytest.raises(SchemaError, match="99"):
        store.manifest()


def test_a_reader_of_the_state_before_still_finds_its_parts_and_older_ones_are_forgotten(store, calendar):
    frame = bars(calendar)
    states = [put(store, frame[a:b]).manifest for a, b in ((0, 20), (20, 40), (40, 50))]
    for part in states[1].files:
        assert (store.folder / part.name).is_file()
    assert not (store.folder / states[0].files[0].name).exists()


class FailingArtifacts(FileArtifacts):
    """A disk that fails at the n-th file."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed

    def write(self, path, content):
        if self.allowed == 0:
            raise ExternalError("the disk is full", retryable=True)
        self.allowed -= 1
        return super().write(path, content)


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_wherever_a_write_fails_the_state_before_stays_and_the_next_write_heals(store, calendar, allowed):
    put(store, bars(calendar, days=DAYS[:1]))
    before = store.read("15m")
    delivery = bars(calendar).with_columns(at(77, close=NAN))  # two parts, one file set aside, the manifest
    failing = IntradayStore(store.folder, FailingArtifacts(allowed), calendar)
    with pytest.raises(ExternalError):
        put(failing, delivery)
    assert store.read("15m").equals(before)
    assert put(store, delivery).added == 51
    assert len(store.read("15m")) == 77
    kept = {p.name for p in store.manifest().files}
    assert kept <= set(names(store))


def test_a_file_is_read_into_the_bar_columns_and_other_columns_are_ignored(tmp_path, calendar):
    frame = bars(calendar)
    path = tmp_path / "x.parquet"
    frame.with_columns(pl.col("ts").dt.cast_time_unit("ms"), interval=pl.lit("15m")).write_parquet(path)
    assert_frame_equal(read_intraday(path), frame)


@pytest.mark.parametrize(
    "broken",
    [
        lambda f: f.drop("close"),
        lambda f: f.rename({"ts": "date"}),
        lambda f: f.with_columns(pl.col("ts").dt.replace_time_zone(None)),
        lambda f: f.with_columns(pl.col("ts").dt.epoch("ms")),
        lambda f: f.with_columns(open=pl.lit("1.0")),
        lambda f: f.with_columns(volume=pl.lit(value=True)),
        lambda f: f.with_columns(symbol=pl.lit(3)),
    ],
)
def test_a_file_of_another_shape_is_a_schema_error(tmp_path, calendar, broken):
    path = tmp_path / "x.parquet"
    broken(bars(calendar)).write_parquet(path)
    with pytest.raises(SchemaError):
        read_intraday(path)


def test_a_file_that_is_not_there_or_no_parquet_says_so(tmp_path):
    with pytest.raises(MissingDataError):
        read_intraday(tmp_path / "x.parquet")
    for content in (b"", b"ts,symbol\n", b"PAR1" * 9):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(SchemaError, match="cannot be read"):
            read_intraday(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "interval", "market", "grid", "rows", "missing"),
    [
        ("crypto_1h.parquet", "1h", "always", "clock", 125_280, [2, 1] * 5),
        ("intraday_15m_yahoo.parquet", "15m", "us", "open", 4_644, []),
        ("intraday_1h_lean_raw.parquet", "1h", "us", "clock", 96_553, [2]),
    ],
)
def test_real_files_are_held_whole_and_their_gaps_are_told(store, name, interval, market, grid, rows, missing):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real bars are not there: {path} (set KOBE_TEST_DATA)")
    frame = read_intraday(path)
    done = put(store, frame, interval, market, grid=grid)
    assert (done.added, done.known, done.reasons) == (rows, 0, {})
    assert done.gaps["bars"].to_list() == missing
    assert_frame_equal(store.gaps(interval), done.gaps)
    assert_frame_equal(store.read(interval).select(tf.BAR_COLUMNS), frame.sort("symbol", "ts"), check_exact=True)
