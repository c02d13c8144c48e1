"""The system's lock on a file: one holder at a time, in whatever process, and it ends with that process.

On POSIX it is `flock` itself, taken some forty times a session; the library, which does the same with more around it,
holds it on Windows.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.002


class Busy(Exception):  # noqa: N818 - no error: somebody else is at it
    """Another holder kept the lock for longer than it was waited for."""


def hold(path: Path, timeout_s: float = 0.0) -> Callable[[], None]:
    """Take the lock on a file, which is made when missing, and return what gives it back.

    Raises:
        Busy: another holder has it.
        OSError: the file cannot be opened.
    """
    return _by_library(path, timeout_s) if sys.platform == "win32" else _by_system(path, timeout_s)


@contextmanager
def held(path: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock as long as the block lasts; raises as `hold`."""
    give_back = hold(path, timeout_s)
    try:
        yield
    finally:
        give_back()


def _by_system(path: Path, timeout_s: float) -> Callable[[], None]:
    import fcntl

    due = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= due:
                    raise Busy from error
                time.sleep(_POLL_S)
    except BaseException:
        os.close(descriptor)
        raise

    def give_back() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the descriptor too
        finally:
            os.close(descriptor)

    return give_back


def _by_library(path: Path, timeout_s: float) -> Callable[[], None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=timeout_s, poll_interval=_POLL_S, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise Busy from error
    return lock.release
