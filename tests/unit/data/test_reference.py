"""The small tables only grow forward, say what was known when, and notice every damage."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from conftest import DATA

from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.data import headlines, vix
from kobe.data.reference import MANIFEST, TABLES, ReferenceStore
from kobe.infra.records.artifacts import FileArtifacts

AWARE = pl.Datetime("us", "UTC")
READ = datetime(2024, 7, 1, tzinfo=UTC)
DAY = date(2024, 6, 12)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def levels(*rows: tuple[date | None, float, datetime | None]) -> pl.DataFrame:
    told = [(day, close, close, close, close, known) for day, close, known in rows]
    schema = {"date": pl.Date, **dict.fromkeys(("open", "high", "low", "close"), pl.Float64), "known_at": AWARE}
    return pl.DataFrame(told, schema=schema, orient="row")


@pytest.fixture
def store(tmp_path) -> ReferenceStore:
    return ReferenceStore(tmp_path / "reference", FileArtifacts())


def closes(frame: pl.DataFrame) -> list[float]:
    return frame["close"].to_list()


def test_what_is_written_is_read_and_the_same_again_changes_nothing(store):
    known = at("2024-06-12T20:15")
    assert store.read("vix").is_empty()
    first = store.write("vix", levels((DAY, 12.0, known)), "file", READ)
    before = sorted(p.name for p in store.folder.iterdir())
    again = store.write("vix", levels((DAY, 12.0, known), (DAY, 12.0, known)), "file", READ + timedelta(days=9))
    assert (first.added, first.revised, first.unchanged, first.reasons) == (1, 0, 0, {})
    assert (again.added, again.revised, again.unchanged, again.reasons) == (0, 0, 1, {})
    assert sorted(p.name for p in store.folder.iterdir()) == before
    assert store.read("vix").select("close", "source", "fetched_at").rows() == [(12.0, "file", READ)]


def test_other_content_is_a_revision_known_from_when_it_was_fetched(store):
    known = at("2024-06-12T20:15")
    store.write("vix", levels((DAY, 12.0, known)), "file", READ)
    done = store.write("vix", levels((DAY, 13.0, known)), "file", READ + timedelta(days=1))
    assert (done.added, done.revised) == (0, 1)
    assert closes(store.read("vix")) == [12.0, 13.0]
    assert closes(store.as_of("vix", known - timedelta(microseconds=1))) == []
    assert closes(store.as_of("vix", known)) == [12.0]
    assert closes(store.as_of("vix", READ + timedelta(hours=23))) == [12.0]
    newest = store.as_of("vix", READ + timedelta(days=1))
    assert closes(newest) == [13.0]
    assert newest["first_known_at"].to_list() == [known]


def test_a_revision_that_was_known_no_later_is_refused(store):
    store.write("vix", levels((DAY, 12.0, READ)), "file", READ)
    done = store.write("vix", levels((DAY, 13.0, at("2024-06-12T20:15"))), "file", READ)
    assert done.reasons == {"not_later_than_held": 1}
    assert closes(store.read("vix")) == [12.0]


def test_an_archive_of_revisions_keeps_each_with_its_own_instant(store):
    steps = [(DAY, 1.0, at("2024-06-12T21:00")), (DAY, 2.0, at("2024-06-13T21:00")), (DAY, 1.0, at("2024-06-14T21:00"))]
    done = store.write("vix", levels(*reversed(steps)), "archive", READ)
    assert (done.added, done.revised) == (1, 2)
    assert [closes(store.as_of("vix", known)) for _, _, known in steps] == [[1.0], [2.0], [1.0]]


def test_rows_that_cannot_be_kept_say_why(store):
    known = at("2024-06-12T20:15")
    frame = levels((None, 1.0, known), (DAY, 1.0, None), (DAY, 2.0, known), (DAY, 3.0, known), (date(2024, 6, 13), 4.0,
                   known))  # fmt: skip
    done = store.write("vix", frame, "file", READ)
    assert done.added == 1
    assert done.reasons == {"contradicts_itself": 2, "missing_key": 2}


def test_writing_one_table_leaves_the_others_and_old_parts_go_after_two_states(store):
    store.write("earnings", pl.DataFrame(schema=dict.fromkeys(TABLES["earnings"].columns, pl.Null)), "none", READ)
    for day in range(10, 15):
        store.write("vix", levels((date(2024, 6, day), float(day), at(f"2024-06-{day}T20:15"))), "file", READ)
    headline = pl.DataFrame({"ts": [READ], "title": ["A"], "symbol": ["ACME"]})
    store.write("headlines", headlines.normalise(headline, READ).rows, "wire", READ)
    assert len(store.read("vix")) == 5
    assert len(store.read("headlines")) == 1
    assert len(list(store.folder.glob("vix-*.parquet"))) == 1


def test_unknown_tables_missing_columns_and_naive_instants_are_refused(store):
    with pytest.raises(UsageError):
        store.read("prices")
    with pytest.raises(SchemaError):
        store.write("vix", levels().drop("close"), "file", READ)
    with pytest.raises(SchemaError):
        store.write("vix", levels().with_columns(pl.col("known_at").dt.replace_time_zone(None)), "file", READ)


@pytest.mark.parametrize("damage", ["part", "gone", "manifest", "cut", "forged", "list"])
def test_every_damage_is_noticed(store, damage):
    store.write("vix", levels((DAY, 12.0, READ)), "file", READ)
    part, listing = next(store.folder.glob("vix-*.parquet")), store.folder / MANIFEST
    if damage == "part":
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif damage == "gone":
        part.unlink()
    elif damage == "manifest":
        listing.write_bytes(listing.read_bytes().replace(b'"rows":1', b'"rows":2'))
    elif damage == "cut":
        listing.write_bytes(listing.read_bytes()[:-20])
    elif damage == "forged":
        document = json.loads(listing.read_bytes())
        document["body"]["tables"]["vix"]["name"] = "../../elsewhere"
        listing.write_text(json.dumps(document))
    else:
        listing.write_text("[]")
    with pytest.raises(IntegrityError):
        store.read("vix")
    with pytest.raises(IntegrityError):
        store.write("vix", levels((DAY, 13.0, READ + timedelta(days=1))), "file", READ)


def test_the_vix_is_known_fifteen_minutes_after_the_close_half_days_included(calendar):
    days = [date(2024, 11, 27), date(2024, 11, 29)]
    rows = vix.normalise(levels((days[0], 14.0, None), (days[1], 13.5, None)).drop("known_at"), calendar).rows
    assert rows["known_at"].to_list() == [at("2024-11-27T21:15"), at("2024-11-29T18:15")]
    assert vix.level_at(rows, at("2024-11-29T18:14")).session == days[0]
    assert vix.level_at(rows, at("2024-11-29T18:15")).close == 13.5
    with pytest.raises(MissingDataError):
        vix.level_at(rows, at("2024-11-27T21:00"))


def test_odd_vix_rows_are_set_aside_or_counted(calendar):
    good = (date(2024, 6, 10), 13.0, 14.0, 12.0, 13.0)
    rows = [
        (date(2024, 6, 10), -1.0, 14.0, 12.0, 13.0), good, good, (date(2024, 6, 11), 99.0, 14.0, 12.0, 13.0),
        (date(2024, 6, 12), 13.0, 14.0, 12.0, 15.0), (date(2024, 6, 15), 13.0, 14.0, 12.0, 13.0),
        (date(2024, 6, 13), 13.0, float("inf"), 12.0, 13.0), (date(2024, 6, 14), 13.0, None, 12.0, 13.0),
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["date", "open", "high", "low", "close"], orient="row")
    done = vix.normalise(frame, calendar)
    assert done.rows["date"].to_list() == [date(2024, 6, 10), date(2024, 6, 11)]
    assert done.reasons == {
        "bad_price": 2, "close_outside_range": 1, "missing_value": 1, "not_a_session": 1, "repeat": 1
    }  # fmt: skip
    assert done.notes["open_outside_range"] == 1
    assert set(done.reasons) <= set(vix.RULES)


def test_the_real_vix_has_the_counted_defects(calendar, store):
    path = DATA / "vix_daily.parquet"
    if not path.is_file():
        pytest.skip(f"the real VIX is not there: {path} (set KOBE_TEST_DATA)")
    done = vix.normalise(pl.read_parquet(path), calendar)
    assert done.reasons == {"not_a_session": 1}
    assert done.notes == {"ohlc_order": 47, "open_outside_range": 47}
    assert store.write("vix", done.rows, "file", at("2021-01-01T00:00")).added == 7808
    assert vix.level_at(store.read("vix"), at("2020-03-16T20:15")).close == 82.69


def test_headlines_of_any_layout_get_one_shape_and_bad_rows_a_reason():
    frame = pl.DataFrame({
        "ts": [at("2024-06-10T14:00"), at("2024-06-10T15:00"), at("2024-06-10T15:00"), None, at("2024-06-10T15:00"),
               at("2024-06-10T15:00"), at("2024-08-10T15:00"), at("2024-06-10T15:00")],
        "headline": ["Acme\nbeats", "ACME beats", "Acme gains", "x", " \x07", "y", "z", "w" * 3000],
        "stock": ["acme", "ACME", "ACME, OTHR", "ACME", "ACME", "=cmd", "ACME", "ACME"],
    })  # fmt: skip
    done = headlines.normalise(frame, READ, archive=True)
    assert done.rows.select("symbol", "title").rows() == [
        ("ACME", "Acme beats"), ("ACME", "Acme gains"), ("OTHR", "Acme gains")
    ]  # fmt: skip
    assert done.reasons == {
        "bad_symbol": 1, "from_the_future": 1, "no_stamp": 1, "no_title": 1, "repeat": 1, "too_long": 1
    }  # fmt: skip
    assert done.notes == {"several_symbols": 1}
    with pytest.raises(SchemaError):
        headlines.normalise(frame.drop("headline"), READ)


def test_a_headline_is_known_when_it_arrived_and_a_bare_day_when_it_ended():
    frame = pl.DataFrame({"ts": [at("2024-06-10T14:00"), at("2024-06-11T00:00")], "title": ["a", "b"], "stock": "ACME"})
    live = headlines.normalise(frame, READ).rows["known_at"].to_list()
    archive = headlines.normalise(frame, READ, archive=True).rows["known_at"].to_list()
    assert live == [READ, READ]
    assert archive == [at("2024-06-10T14:00"), at("2024-06-12T04:00")]


@pytest.mark.parametrize(
    ("name", "kept", "reasons", "notes"),
    [
        ("headlines", 2799, {"repeat": 1}, {"day_only": 4}),
        ("headlines_benzinga_sample", 100, {}, {"day_only": 90}),
    ],
)
def test_real_headlines_of_both_layouts_are_kept(name, kept, reasons, notes):
    path = DATA / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"real headlines are not there: {path} (set KOBE_TEST_DATA)")
    done = headlines.normalise(pl.read_parquet(path), datetime(2026, 1, 1, tzinfo=UTC), archive=True)
    assert (len(done.rows), done.reasons, done.notes) == (kept, reasons, notes)
