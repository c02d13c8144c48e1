"""A lease has one holder, says who, and is free the moment its holder is gone."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError
from kobe.infra import file_lock
from kobe.infra.locks import Lease

REPOSITORY = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from kobe.infra.clock import SystemClock
from kobe.infra.locks import Lease
with Lease(Path(sys.argv[1]), "scheduler", SystemClock()) as lease:
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True)


def test_a_second_process_is_told_who_holds_the_lease(tmp_path: Path, clock: SteppingClock) -> None:
    with holder(tmp_path / "locks") as process:
        assert process.stdout.readline() == "held\n"
        for timeout_s in (0.0, 0.05):
            with pytest.raises(ExternalError, match=f"process {process.pid} since 2") as raised:
                Lease(tmp_path / "locks", "scheduler", clock).acquire(timeout_s)
            assert raised.value.retryable
        with Lease(tmp_path / "locks", "other", clock):
            pass
        process.stdin.write("go\n")
        process.stdin.flush()
    with Lease(tmp_path / "locks", "scheduler", clock) as lease:
        assert lease.took_over is None


def test_a_killed_holder_loses_the_lease_and_the_takeover_is_told(tmp_path: Path, clock: SteppingClock) -> None:
    with holder(tmp_path) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
    lease = Lease(tmp_path, "scheduler", clock).acquire()
    assert lease.took_over["pid"] == process.pid
    assert f'"pid":{os.getpid()}' in (tmp_path / "scheduler.holder.json").read_text()
    lease.release()
    lease.release()
    with Lease(tmp_path, "scheduler", clock) as again:
        assert again.took_over is None


def test_an_error_inside_frees_the_lease(tmp_path: Path, clock: SteppingClock) -> None:
    with pytest.raises(ZeroDivisionError), Lease(tmp_path, "job", clock):
        _ = 1 / 0
    with Lease(tmp_path, "job", clock) as lease:
        assert lease.took_over is None


def test_what_the_last_holder_left_may_be_unreadable(tmp_path: Path, clock: SteppingClock) -> None:
    (tmp_path / "job.holder.json").write_bytes(b"\xff{")
    with Lease(tmp_path, "job", clock) as lease:
        assert lease.took_over == {}


@pytest.mark.parametrize("name", ["", "../job", "a/b", ".hidden", "a\n"])
def test_a_name_cannot_leave_its_folder(tmp_path: Path, clock: SteppingClock, name: str) -> None:
    with pytest.raises(ConfigError, match="plain name"):
        Lease(tmp_path, name, clock)


def test_an_unwritable_folder_is_a_matter_of_configuration(clock: SteppingClock, unwritable: Path) -> None:
    with pytest.raises(ConfigError, match="kobe doctor"):
        Lease(unwritable, "job", clock).acquire()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows forks no process")
def test_a_lock_given_back_is_free_though_a_child_forked_meanwhile_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    give_back = file_lock.hold(path)
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        with pytest.raises(file_lock.Busy):
            file_lock.hold(path)
        give_back()
        file_lock.hold(path)()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_holder_is_waited_for_and_the_library_s_lock_on_a_file_is_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    theirs = FileLock(path)
    with theirs, pytest.raises(file_lock.Busy):
        file_lock.hold(path)
    give_back = file_lock.hold(path)
    with pytest.raises(Timeout):
        theirs.acquire(timeout=0)
    later = threading.Timer(0.2, give_back)
    later.start()
    with file_lock.held(path, timeout_s=20.0):
        later.join()
