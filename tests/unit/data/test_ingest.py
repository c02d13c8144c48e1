"""Bars enter the store only through the rules, whole or not at all."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from kobe.core.errors import DataError, IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.data import actions, inspection, quality
from kobe.data.ingest import Shipment, ingest
from kobe.data.manifest import Provenance
from kobe.data.providers.files import read_bars
from kobe.data.quality import Scope
from kobe.data.store import BarStore
from kobe.infra.blobs import FolderBlobs
from kobe.infra.records.artifacts import FileArtifacts

MEANING = Provenance(source="test")


def bars(symbols=("AAA", "BBB"), first=date(2019, 12, 2), sessions=30, calendar=None) -> pl.DataFrame:
    days = calendar.between(first, date(2020, 12, 31))[:sessions]
    parts = []
    for k, symbol in enumerate(symbols):
        close = 20.0 + k + np.arange(sessions) * 0.1
        parts.append(pl.DataFrame({"date": days, "symbol": symbol, "open": close, "high": close + 1, "low": close - 1,
                                   "close": close, "volume": 1e6, "raw_factor": 1.0}))  # fmt: skip
    return pl.concat(parts)


@pytest.fixture
def store(tmp_path, calendar) -> BarStore:
    folder = tmp_path / "data" / "bars"
    return BarStore(FolderBlobs(folder), folder / "cache", calendar)


def keep(store, frame, *, replace=False, meaning=MEANING):
    shipment = Shipment(bars=frame, events=actions.none(), provenance=meaning, fetched_at="2020-12-31T22:00:00+00:00")
    scope = Scope(calendar=store.calendar, last=date(2020, 12, 31), adjustment=meaning.adjustment)
    return ingest(shipment, store, FileArtifacts(), store.cache.parent.parent / "quarantine", scope, replace=replace)


def spoil(frame: pl.DataFrame, **values) -> pl.DataFrame:
    """Change one bar of AAA."""
    hit = (pl.col("symbol") == "AAA") & (pl.int_range(pl.len()) == 4)
    return frame.with_columns([pl.when(hit).then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in values.items()])


HOSTILE = [
    ({"close": float("nan")}, "non_finite"), ({"high": float("inf")}, "non_finite"), ({"volume": None}, "non_finite"),
    ({"low": 0.0}, "non_positive"), ({"open": -3.0}, "non_positive"), ({"high": 1.0}, "ohlc_order"),
    ({"low": 500.0}, "ohlc_order"), ({"volume": -1.0}, "negative_volume"), ({"close": 1e308}, "absurd_price"),
    ({"date": date(2019, 12, 25)}, "not_a_session"), ({"date": date(2019, 12, 7)}, "not_a_session"),
    ({"date": None}, "missing_date"), ({"date": date(2021, 1, 4)}, "future_bar"), ({"volume": 1e13}, "absurd_volume"),
    ({"symbol": "../x"}, "bad_symbol"), ({"symbol": "=CMD()"}, "bad_symbol"), ({"symbol": ""}, "bad_symbol"),
    ({"raw_factor": 0.0}, "non_positive"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "reason"), HOSTILE)
def test_a_bad_bar_is_set_aside_with_its_reason_and_the_others_are_kept(store, calendar, values, reason):
    done = keep(store, spoil(bars(calendar=calendar), **values))
    assert done.aside == 1
    assert reason in done.reasons
    assert (done.kept, store.manifest().rows) == (59, 59)
    assert reason in done.aside_file.read_text(encoding="utf-8")


def test_all_copies_of_a_duplicate_are_set_aside(store, calendar):
    frame = bars(calendar=calendar)
    done = keep(store, pl.concat([frame, frame.head(1)]))
    assert done.reasons == {"duplicate": 2}


def test_every_rule_has_a_hostile_bar_above():
    assert {r for _, r in HOSTILE} | {"duplicate"} == {rule.code for rule in quality.ROW_RULES}


def test_a_file_without_one_good_bar_changes_nothing(store, calendar):
    keep(store, bars(calendar=calendar))
    before = store.manifest()
    with pytest.raises(DataError, match="no bar passed"):
        keep(store, bars(calendar=calendar).with_columns(pl.lit(-1.0).alias("close")))
    assert store.manifest() == before


def test_appending_agreeing_bars_extends_and_repeating_them_changes_nothing(store, calendar):
    keep(store, bars(calendar=calendar, sessions=20))
    keep(store, bars(calendar=calendar, sessions=30))
    digest = store.manifest().digest
    keep(store, bars(calendar=calendar, sessions=30))
    assert store.manifest().digest == digest
    assert store.manifest().rows == 60


def test_a_delivery_adjusted_otherwise_is_set_aside_whole_for_that_symbol(store, calendar):
    """The classic phantom split: the store was written before a 4:1 split, the new file after it."""
    keep(store, bars(calendar=calendar, sessions=20))
    halved = [(pl.when(pl.col("symbol") == "AAA").then(pl.col(c) / 4).otherwise(pl.col(c))).alias(c)
              for c in ("open", "high", "low", "close")]  # fmt: skip
    done = keep(store, bars(calendar=calendar, sessions=30).with_columns(halved))
    assert done.reasons == {"overlap_mismatch": 30}
    panel = store.panel()
    assert len(panel["AAA"]) == 20
    assert len(panel["BBB"]) == 30


def test_bars_of_another_meaning_are_not_mixed(store, calendar):
    keep(store, bars(calendar=calendar))
    with pytest.raises(UsageError, match="phantom jumps"):
        keep(store, bars(calendar=calendar), meaning=Provenance(source="other", adjustment="raw"))
    keep(store, bars(calendar=calendar), replace=True, meaning=Provenance(source="other"))


def test_the_panel_of_the_store_is_the_bars_that_went_in(store, calendar):
    frame = bars(calendar=calendar)
    keep(store, frame)
    for _ in range(2):  # built, then memory-mapped
        panel = store.panel()
        assert panel.symbols == ("AAA", "BBB")
        np.testing.assert_array_equal(panel.close, frame.get_column("close").to_numpy())
        assert [calendar.sessions[s] for s in panel["AAA"].session] == frame.filter(pl.col("symbol") == "AAA")[
            "date"
        ].to_list()


def test_an_empty_store_a_changed_file_and_a_lost_file_are_told_apart(store, calendar):
    with pytest.raises(MissingDataError, match="kobe data import"):
        store.panel()
    keep(store, bars(calendar=calendar))
    victim = next(store.blobs.folder.glob("2020-*.parquet"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + b"X")
    with pytest.raises(IntegrityError, match="damaged"):
        store.frame()
    victim.unlink()
    with pytest.raises(IntegrityError, match="damaged"):
        store.panel()


def test_other_column_names_are_mapped_and_missing_ones_named(tmp_path, calendar):
    path = tmp_path / "bars.csv"
    bars(calendar=calendar).drop("raw_factor").rename({"close": "Close", "date": "Day"}).write_csv(path)
    with pytest.raises(SchemaError, match=r"missing in bars\.csv: date, close"):
        read_bars(path, {})
    frame = read_bars(path, {"close": "Close", "date": "Day"})
    assert frame.get_column("raw_factor").to_list() == [1.0] * 60
    assert frame.schema["date"] == pl.Date


@pytest.mark.parametrize("content", [b"", b"<html>busy</html>", b"PAR1 but not really", b"\x00" * 100])
@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_file_that_is_not_what_it_says_is_one_clear_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SchemaError):
        read_bars(path, {})


def test_real_bars_pass_every_row_rule(real_frame, calendar):
    screened = inspection.screen(real_frame.select(quality.COLUMNS), Scope(calendar=calendar))
    assert len(screened.aside) == 0
    assert len(screened.good) == len(real_frame)
