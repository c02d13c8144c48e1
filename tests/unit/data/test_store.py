"""The store is one state or the next, says what is damaged, and comes back from damage without losing what is good."""

import errno
import json
from datetime import date
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
from kit.market import LAST, changed, events, market, put, store_in

from kobe.core.errors import ExternalError, IntegrityError, MissingDataError, SchemaError
from kobe.data import assemble, panel_file
from kobe.data.store import MANIFEST, PREVIOUS
from kobe.data.verify import repair, verify
from kobe.infra.blobs import FolderBlobs, ObjectBlobs


@pytest.fixture
def store(tmp_path, calendar):
    return store_in(tmp_path, calendar)


class Full:
    """A file on a disk that takes the first few bytes."""

    closed = False

    def __init__(self, file):
        self.file = file

    def write(self, content):
        if self.file.tell():
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def tell(self):
        return self.file.tell()

    def flush(self):
        self.file.flush()


def assembled(store):
    """Make the panel of the stored bars without the cache."""
    held = store.manifest()
    return assemble.assemble(store._years(held), store.calendar, held.provenance, store.actions(), store.holds())


def victims(store, prefix: str) -> list[str]:
    return [n for n in store.blobs.names() if n.startswith(prefix)]


def test_a_store_that_was_filled_verifies_and_knows_its_totals(store, calendar):
    put(store, market(calendar))
    found = verify(store)
    assert found.good
    assert found.rows == store.manifest().rows == 1200
    assert found.orphans == ()


def test_only_the_years_that_change_are_written_again(store, calendar):
    bars = market(calendar)
    put(store, bars.filter(pl.col("date") < date(2020, 6, 1)))
    before = store.manifest().years
    put(store, bars, at="2021-01-05T22:00:00+00:00")
    after = store.manifest().years
    assert after["2019"] == before["2019"]
    assert after["2020"] != before["2020"]
    assert [o.fetched_at[:10] for o in store.manifest().origins] == ["2021-01-04", "2021-01-05"]
    origins = store.frame().group_by("origin").agg(pl.col("date").max()).sort("origin")
    assert origins.get_column("date").to_list()[0] < date(2020, 6, 1)


def test_a_reader_of_the_state_before_still_finds_its_parts(store, calendar):
    bars = market(calendar)
    put(store, bars.head(800))
    old = store.manifest()
    put(store, bars)
    assert sum(len(store.part(p)) for p in old.parts) >= 800
    put(store, changed(bars, "CCC", 399, volume=5.0e5), at="2021-01-06T22:00:00+00:00")
    assert verify(store).good


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "empty"])
def test_a_damaged_year_is_named_and_dropped_and_everything_else_stays(store, calendar, damage):
    put(store, market(calendar))
    name = victims(store, "2020-")[0]
    path = store.blobs.folder / name
    content = path.read_bytes()
    spoiled = {"flip": content[:99] + bytes([content[99] ^ 1]) + content[100:], "cut": content[:-50], "empty": b""}
    path.unlink() if damage == "gone" else path.write_bytes(spoiled[damage])
    assert not verify(store).good
    with pytest.raises(IntegrityError, match="kobe data repair"):
        store.frame()
    aside = {}
    done = repair(store, aside.__setitem__)
    assert done.lost_years == (2020,)
    assert verify(store).good
    assert set(store.frame()["date"].dt.year()) == {2019}
    assert store.manifest().last.year == 2019
    assert (name in aside) is (damage != "gone")


def test_a_damaged_year_comes_back_from_the_state_before(store, calendar):
    bars = market(calendar)
    put(store, bars.filter(pl.col("date") < date(2020, 6, 1)))
    put(store, bars)
    newest = store.manifest().years["2020"]
    (store.blobs.folder / newest.name).write_bytes(b"garbage")
    done = repair(store, lambda *_: None)
    assert done.lost_years == ()
    assert store.frame()["date"].max() == date(2020, 5, 29)
    assert verify(store).good


def test_a_damaged_manifest_falls_back_to_the_state_before(store, calendar):
    bars = market(calendar)
    put(store, bars.head(800))
    put(store, bars)
    store.blobs.write(MANIFEST, b'{"schema": 2')
    with pytest.raises(IntegrityError):
        store.manifest()
    repair(store, lambda *_: None)
    assert verify(store).good
    store.blobs.write(MANIFEST, b"x")
    store.blobs.delete(PREVIOUS)
    with pytest.raises(IntegrityError):
        repair(store, lambda *_: None)


def test_lost_events_and_holds_are_named(store, calendar):
    put(store, changed(market(calendar), "AAA", range(300, 400), close=1e3, high=1e3, open=1e3),
        events(("BBB", date(2019, 5, 1), "dividend", 0.2, "")))  # fmt: skip
    for side in ("actions-", "holds-"):
        (store.blobs.folder / victims(store, side)[0]).write_bytes(b"?")
    done = repair(store, lambda *_: None)
    assert sum("lost" in line for line in done.done) == 2
    assert verify(store).good


def test_orphans_and_an_older_schema_are_told_apart(store, calendar):
    put(store, market(calendar))
    store.blobs.write("2018-feedbeef.parquet", b"left by a killed writer")
    assert verify(store).orphans == ("2018-feedbeef.parquet",)
    repair(store, lambda *_: None)
    assert verify(store).orphans == ()
    store.blobs.write(MANIFEST, json.dumps({"schema": 1, "files": {}}).encode())
    with pytest.raises(SchemaError, match="older kobe"):
        store.manifest()


def test_dividends_come_back_from_the_cache_and_a_cache_from_before_them_is_made_anew(store, calendar):
    told = events(("AAA", calendar.between(date(2019, 1, 2), LAST)[150], "dividend", 0.5, ""))
    put(store, market(calendar), told, adjustment="raw", replace=True)
    made, mapped = assembled(store), store.panel()
    assert np.flatnonzero(mapped.dividend).tolist() == [150]
    assert mapped.dividend.tobytes() == made.dividend.tobytes()
    assert (mapped.digest, mapped.pays) == (made.digest, True)
    cache = next(store.cache.glob("panel-*.panel"))
    cache.write_bytes(cache.read_bytes().replace(b'"dividend"', b'"dividuum"'))
    assert store.panel().dividend[150] == 0.5
    assert b'"dividend"' in cache.read_bytes()


def test_a_torn_panel_cache_is_made_anew(store, calendar):
    put(store, market(calendar))
    assert store.panel().digest == assembled(store).digest
    cache = next(store.cache.glob("panel-*.panel"))
    cache.write_bytes(cache.read_bytes()[:1000])
    assert store.panel().digest == assembled(store).digest


def test_a_past_session_gives_the_mapped_pages_back_and_they_are_read_again_when_asked_for(store, calendar):
    put(store, market(calendar))
    panel, whole = store.panel(), assembled(store)
    gone = []
    object.__setattr__(panel, "let_go", lambda give_back=panel.let_go: gone.append(give_back()))
    cut = panel.last_session - 9
    past = panel.until(cut)
    assert panel.until(cut) is past
    assert len(gone) == 1
    assert past.let_go is None
    assert past.digest == whole.until(cut).digest
    assert panel.digest == whole.digest


def test_a_panel_that_cannot_be_removed_keeps_nothing_from_being_committed(store, calendar, monkeypatch):
    bars = market(calendar)
    put(store, bars.head(800))
    old = store.panel()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", Mock(side_effect=PermissionError("somebody maps it")))
        put(store, bars, at="2021-01-05T22:00:00+00:00")
    assert len(store.panel()) == len(bars) > len(old)
    assert len(list(store.cache.glob("panel-*.panel"))) == 2
    put(store, changed(bars, "CCC", 399, volume=5.0e5), at="2021-01-06T22:00:00+00:00")
    assert list(store.cache.glob("panel-*.panel")) == []


def test_a_panel_that_the_disk_has_no_room_for_leaves_nothing_behind(store, calendar, monkeypatch):
    put(store, market(calendar))
    write = panel_file.write
    monkeypatch.setattr(panel_file, "write", lambda panel, file: write(panel, Full(file)))
    with pytest.raises(ExternalError, match="full"):
        store.panel()
    assert list(store.cache.iterdir()) == []


def test_new_bars_leave_the_panel_s_file_and_a_store_that_is_mostly_new_does_not(store, calendar, monkeypatch):
    bars = market(calendar)
    store.leave_mapped(1)  # an empty store has none to leave
    put(store, bars)
    store.leave_mapped(len(bars) // 4 + 1)
    assert not store.cache.exists()
    with monkeypatch.context() as patched:
        write = panel_file.write
        patched.setattr(panel_file, "write", lambda panel, file: write(panel, Full(file)))
        store.leave_mapped(1)  # no room is no fault of the bars that came in
    assert list(store.cache.iterdir()) == []
    store.leave_mapped(len(bars) // 4)
    (left,) = store.cache.iterdir()
    assert panel_file.mapped(left, calendar, store.manifest().provenance).digest == assembled(store).digest


def test_nothing_there_is_said_and_not_guessed(store):
    assert store.held() is None
    with pytest.raises(MissingDataError, match="kobe data import"):
        store.panel()
    with pytest.raises(MissingDataError):
        verify(store)


def object_store_behaves(blobs, folder, calendar) -> None:
    """The whole life of a store on an object store: fill, append, read, damage, repair."""
    remote, local = store_in(folder / "a", calendar, blobs), store_in(folder / "b", calendar)
    bars = market(calendar)
    for store in (remote, local):
        put(store, bars.head(900))
        put(store, bars)
    assert remote.manifest() == local.manifest()
    assert remote.panel().digest == local.panel().digest
    assert verify(remote).good
    blobs.write(remote.manifest().years["2019"].name, b"?")
    assert repair(remote, lambda *_: None).lost_years == ()  # the state before has its own
    assert verify(remote).good


def test_the_same_store_lives_on_a_file_url(tmp_path, calendar):
    object_store_behaves(ObjectBlobs((tmp_path / "objects").as_uri()), tmp_path, calendar)


@pytest.fixture(scope="module")
def s3():
    """A loopback S3 server."""
    pytest.importorskip("s3fs")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.mark.filterwarnings("ignore")  # botocore and aiohttp warn about their own future
def test_the_same_store_lives_on_s3(s3, tmp_path, calendar):
    import s3fs

    keys = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": s3, "region_name": "eu-west-1"}}
    s3fs.S3FileSystem(**keys).mkdir("kobe-test")
    blobs = ObjectBlobs("s3://kobe-test/bars", keys)
    assert "secret" not in repr(blobs)
    object_store_behaves(blobs, tmp_path, calendar)


@pytest.mark.filterwarnings("ignore")
def test_an_object_store_out_of_reach_is_an_external_fault(tmp_path):
    pytest.importorskip("s3fs")
    where = {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-west-1"}
    impatient = {"retries": {"max_attempts": 0}, "connect_timeout": 1}
    keys = {"key": "k", "secret": "s", "client_kwargs": where, "config_kwargs": impatient}
    with pytest.raises(ExternalError, match="did not answer"):
        ObjectBlobs("s3://nowhere/bars", keys).read("manifest.json")


def test_blobs_in_a_folder_are_whole_files_and_nothing_else(tmp_path):
    blobs = FolderBlobs(tmp_path / "x")
    assert blobs.names() == []
    assert blobs.read("a") is None
    blobs.write("a", b"1")
    (tmp_path / "x" / ".tmp-half").write_bytes(b"half")
    assert blobs.names() == ["a"]
    blobs.delete("a")
    blobs.delete("a")
    assert blobs.names() == []
