"""Where backends meet the world: absent schedulers, bytes on the wire, other versions, Ctrl-C, dying parents."""

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from kit import compute_work
from kit.dask_cluster import Wire, scheduler, worker

from kobe.core import errors
from kobe.core.errors import ConfigError, ExternalError, KobeError
from kobe.infra.compute import work
from kobe.infra.compute.dask import DaskCompute
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.processes import ProcessCompute
from kobe.infra.compute.shared import SharedArrays

REPOSITORY = Path(__file__).parents[3]
FAMILIES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, KobeError)]
ANSWER_BAR_S = 12.0


def dask(folder, address="", url=""):
    return DaskCompute(ComputeKit(arrays=SharedArrays(folder, url), workers=2, scheduler=address))


def gone(pid):
    """Whether a process ends within ten seconds; a zombie nobody waits for has ended too."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def pages(address):
    """Return the paths of dask's pages that an address serves without asking who we are."""
    import http.client

    served = []
    for path in (
        "/",
        "/json/identity.json",
        "/health",
        "/metrics",
        "/info/main/workers.html",
        "/status",
        "/statics/css/base.css",
    ):
        connection = http.client.HTTPConnection(*address, timeout=5)
        try:
            connection.request("GET", path)
            served += [path] if connection.getresponse().status != 404 else []
        except (OSError, http.client.HTTPException):
            pass  # it wants TLS
        finally:
            connection.close()
    return served


@pytest.mark.parametrize("family", FAMILIES)
def test_every_error_of_ours_survives_pickling_with_its_facts(family):
    facts = {"retryable": True} if family is ExternalError else {}
    error = family("what", seen={"a": 1}, expected=Path("b"), next_command="kobe doctor", **facts)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is family
    assert vars(back) == vars(error)
    assert (str(back), back.code, back.exit_code) == (str(error), error.code, error.exit_code)


def test_a_task_carries_digests_and_no_array(tmp_path):
    store = SharedArrays(tmp_path)
    shared = {"walk": store.put(np.ones(2_000_000))}
    parcel = work.pack(compute_work.reductions, [(0, 10)], shared, store)
    assert len(parcel.header) + len(parcel.tasks[0]) < 1500


def test_a_worker_of_other_versions_refuses(tmp_path):
    parcel = work.pack(compute_work.square, [3], {}, SharedArrays(tmp_path))
    header = pickle.loads(parcel.header)
    other = pickle.dumps(
        work.Header(header.module, header.function, header.arrays, {}, {**header.runtime, "numpy": "1"})
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:  # `answer` is a worker's
        good, bad = pool.map(work.answer, [parcel.header, other], [parcel.tasks[0]] * 2)
    assert work.result_of(good) == 9
    with pytest.raises(ConfigError, match=r"other versions.*numpy .* instead of 1"):
        work.result_of(bad)


def test_a_scheduler_that_is_not_there_is_named_in_time(tmp_path):
    started = time.monotonic()
    with pytest.raises(ExternalError, match=r"tcp://127\.0\.0\.1:9: .*dask scheduler --port 9 ") as caught:
        dask(tmp_path, "tcp://127.0.0.1:9").map(compute_work.square, [1])
    assert time.monotonic() - started < ANSWER_BAR_S
    assert caught.value.retryable


@pytest.mark.parametrize(
    "address", ["localhost", "http://a:1", "tcp://a", "tcp://a:b", "tcp://a:1/../x", "tcp://a:1 b"]
)
def test_what_cannot_be_an_address_is_refused_at_once(tmp_path, address):
    with pytest.raises(ConfigError, match="address with a port"):
        dask(tmp_path, address)


def test_without_the_extra_dask_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules["distributed"] = None
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
from kit import compute_work
from kobe.core.errors import ConfigError
from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays
from contextlib import ExitStack, suppress
from pathlib import Path
kit = ComputeKit(arrays=SharedArrays(Path({str(tmp_path)!r})))
assert BACKENDS["serial"](kit).map(compute_work.square, [2]) == [4]
try:
    BACKENDS["dask"](kit).map(compute_work.square, [2])
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert "pip install 'kobe[scale]'" in done.stdout


def test_the_cluster_of_this_machine_listens_on_loopback_only_and_speaks_tls(tmp_path):
    import psutil

    compute = dask(tmp_path)
    try:
        before = {c.laddr for c in psutil.Process().net_connections() if c.status == "LISTEN"}
        with ExitStack() as stack:
            with suppress(OSError):  # dask's own choice of a port is taken, by us or by somebody else
                stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
            compute.map(compute_work.square, range(3))
        every = [psutil.Process(), *psutil.Process().children(recursive=True)]
        ears = {c.laddr for p in every for c in p.net_connections() if c.status == "LISTEN"} - before
        assert ears
        assert {ear.ip for ear in ears} == {"127.0.0.1"}
        assert compute._cluster.scheduler_address.startswith("tls://")
        for ear in ears:
            assert not pages(ear), "somebody serves pages"
    finally:
        compute.close()


def test_a_real_cluster_gets_digests_fetches_arrays_by_url_and_survives_a_killed_worker(tmp_path):
    url = f"file://{tmp_path / 'objects'}"
    array = np.random.default_rng(5).standard_normal(1_000_000)
    tasks = [(str(tmp_path), i) for i in range(8)]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "theirs")}
    with scheduler() as (address, _), worker(address, **cache), worker(address, **cache):
        wire = Wire(address)
        compute = dask(tmp_path / "ours", wire.address, url)
        try:
            shared = compute.share({"walk": array})
            assert compute.map(compute_work.square, [2, 3]) == [4, 9]
            before = wire.sent
            results = compute.map(compute_work.killed_once, tasks, shared=shared)
            shipped = (wire.sent - before) / len(tasks)
        finally:
            compute.close()
            wire.close()
    assert results == [float(array[i:].sum()) for i in range(8)]
    assert 0 < shipped < 10_000, f"{shipped:.0f} bytes a task, with 8 MB shared"
    assert list((tmp_path / "theirs").rglob(f"{shared['walk'].digest}.npy")), "the workers read our folder"


def test_a_scheduler_without_workers_and_one_that_dies_are_told(tmp_path):
    with scheduler() as (address, process):
        started = time.monotonic()
        with pytest.raises(ExternalError, match=f"no worker.*dask worker {address}"):
            dask(tmp_path, address).map(compute_work.square, [1])
        assert time.monotonic() - started < ANSWER_BAR_S
        with worker(address):
            compute = dask(tmp_path, address)
            told = []

            def kill(done, total, label):
                told.append(done)
                process.kill()

            with pytest.raises(ExternalError, match=f"went away.*{address}"):
                compute.map(compute_work.first_returns, [0, 1, 2], progress=kill)
            assert told == [1]


SCRIPT = """
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
sys.path[:0] = [{tests!r}, {repository!r}]
from kit import compute_work
from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    compute = BACKENDS[sys.argv[2]](ComputeKit(arrays=SharedArrays(folder / "arrays"), workers=2))
    try:
        compute.map(compute_work.rests, [(str(folder), 0), (str(folder), 1)])
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("backend", ["processes", "dask"])
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_ctrl_c_and_with_a_killed_parent(tmp_path, backend, blow):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(REPOSITORY / "tests"), repository=str(REPOSITORY)))
    command = [sys.executable, str(script), str(tmp_path), backend]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        pids = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
        if len(pids) == 2 or process.poll() is not None:
            break
        time.sleep(0.01)
    os.kill(process.pid, blow)
    out, err = process.communicate(timeout=60)
    assert len(pids) == 2, err
    assert all(gone(pid) for pid in pids)
    if blow == signal.SIGINT:
        assert out == "interrupted\n"
        assert err == ""


def test_progress_that_raises_leaves_no_worker_at_a_task(tmp_path):
    compute = ProcessCompute(ComputeKit(arrays=SharedArrays(tmp_path), workers=2))

    def stop(done, total, label):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        compute.map(compute_work.first_returns, [0, 1], progress=stop)
    assert compute._workers == []
