"""Arrays by digest: written once, mapped read-only, verified, fetched from an object store where there is one."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kobe.core.errors import ConfigError, DataError, IntegrityError, KobeError
from kobe.infra.compute import shared as sharing
from kobe.infra.compute.shared import KEEP_S, SharedArrays

REPOSITORY = Path(__file__).parents[3]


@given(
    hnp.arrays(
        dtype=st.sampled_from(["<f8", "<f4", "<i4", "<i8", "?", "<M8[D]", "<U3", ">f8", "u1"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    )
)
def test_an_array_comes_back_bit_for_bit_and_read_only(tmp_path_factory, array):
    store = SharedArrays(tmp_path_factory.mktemp("arrays"))
    shared = store.put(array)
    back = store.open(shared)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert (np.dtype(shared.dtype), shared.shape) == (array.dtype, array.shape)
    assert not back.flags.writeable


def test_the_name_follows_the_content_and_nothing_else(tmp_path):
    one, two = SharedArrays(tmp_path / "1"), SharedArrays(tmp_path / "2")
    table = np.arange(12.0).reshape(3, 4)
    same = [table, np.asfortranarray(table), np.repeat(table, 2, axis=1)[:, ::2]]
    assert len({one.put(a) for a in same} | {two.put(table)}) == 1
    others = [table.astype("f4"), table.reshape(4, 3), table + 1]
    assert len({one.put(a).digest for a in [table, *others]}) == 4


def test_what_is_there_already_is_not_written_again(tmp_path):
    store = SharedArrays(tmp_path)
    path = tmp_path / f"{store.put(np.arange(5)).digest}.npy"
    os.utime(path, (1e9, 1e9))
    inode = path.stat().st_ino
    store.put(np.arange(5))
    assert path.stat().st_ino == inode


def test_an_array_of_objects_is_refused(tmp_path):
    with pytest.raises(DataError, match="Python objects"):
        SharedArrays(tmp_path).put(np.array([{}, None]))


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_digest_names_an_array(tmp_path, digest):
    shared = SharedArrays(tmp_path).put(np.arange(3))
    with pytest.raises(KobeError, match="digest"):
        replace(shared, digest=digest)


def test_a_damaged_array_is_never_opened_and_is_healed_by_the_next_put(tmp_path):
    store = SharedArrays(tmp_path)
    array = np.arange(1000.0)
    shared = store.put(array)
    path = tmp_path / f"{shared.digest}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        store.open(shared)
    store.put(array)
    assert store.open(shared).tobytes() == array.tobytes()


def test_an_array_that_is_not_there_names_the_setting_that_would_bring_it(tmp_path):
    shared = SharedArrays(tmp_path / "here").put(np.arange(3))
    with pytest.raises(ConfigError, match="arrays_url"):
        SharedArrays(tmp_path / "elsewhere").open(shared)


def test_another_machine_fetches_from_the_object_store_once_and_keeps_a_copy(tmp_path):
    url = f"file://{tmp_path / 'objects'}"
    array = np.arange(7.0)
    shared = SharedArrays(tmp_path / "here", url).put(array)
    there = SharedArrays(tmp_path / "there", url)
    assert there.open(shared).tobytes() == array.tobytes()
    (tmp_path / "objects" / f"{shared.digest}.npy").unlink()
    sharing._opened.cache_clear()
    assert there.open(shared).tobytes() == array.tobytes(), "the copy was not kept"


def test_a_damaged_copy_is_fetched_again_and_a_damaged_object_refused(tmp_path):
    url = f"file://{tmp_path / 'objects'}"
    shared = SharedArrays(tmp_path / "here", url).put(np.arange(7.0))
    there = SharedArrays(tmp_path / "there", url)
    (tmp_path / "there").mkdir()
    copy = tmp_path / "there" / f"{shared.digest}.npy"
    copy.write_bytes(b"torn")
    assert there.open(shared).tolist() == list(range(7))
    copy.write_bytes(b"torn")
    (tmp_path / "objects" / copy.name).write_bytes(b"torn too")
    sharing._opened.cache_clear()
    with pytest.raises(IntegrityError, match="object store"):
        there.open(shared)


def test_a_worker_of_another_machine_is_told_the_url_and_not_our_folder(tmp_path):
    store = SharedArrays(tmp_path, "s3://bucket/prefix")
    assert store.elsewhere() == SharedArrays(None, "s3://bucket/prefix")
    assert store.here() == SharedArrays(tmp_path)
    assert SharedArrays(tmp_path).elsewhere() == SharedArrays(tmp_path), "without a store: a disk all of them see"
    assert str(tmp_path) not in pickle.dumps(store.elsewhere()).decode("latin-1")


def test_on_another_machine_copies_lie_in_the_cache_folder_of_its_user(tmp_path):
    url = f"file://{tmp_path / 'objects'}"
    shared = SharedArrays(tmp_path / "here", url).put(np.arange(3))
    code = (
        "from kobe.core.ports import Shared; from kobe.infra.compute.shared import SharedArrays;"
        f"print(SharedArrays(None, {url!r}).open({shared!r}).sum())"
    )
    cache = tmp_path / "user-cache"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "3"
    if sys.platform == "linux":
        assert [p.name for p in cache.rglob("*.npy")] == [f"{shared.digest}.npy"]


def test_arrays_nobody_opened_for_a_week_go_when_another_is_written(tmp_path):
    store = SharedArrays(tmp_path)
    old, used = store.put(np.arange(3)), store.put(np.arange(4))
    for shared in (old, used):
        path = tmp_path / f"{shared.digest}.npy"
        stamp = path.stat().st_mtime - KEEP_S - 60
        os.utime(path, (stamp, stamp))
    store.open(used)
    new = store.put(np.arange(5))
    assert {p.stem for p in tmp_path.glob("*.npy")} == {used.digest, new.digest}
