"""Real faults for the tests of the plumbing: a folder nobody may write, a disk that is full."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kobe.core.clock import SteppingClock

NOBODY = 65534


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock(datetime(2026, 1, 2, 14, 30, tzinfo=UTC))


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user may read but not write; root steps down for as long."""
    if os.name == "nt":
        pytest.skip("POSIX permissions")
    folder = tmp_path / "unwritable"
    folder.mkdir()
    folder.chmod(0o555)
    was_root = os.geteuid() == 0
    above = [p for p in folder.parents if p.stat().st_mode & 0o055 != 0o055]
    modes = {p: p.stat().st_mode for p in above}
    for p in above:
        p.chmod(modes[p] | 0o055)
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        folder.chmod(0o755)
        for p, mode in modes.items():
            p.chmod(mode)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A disk on which no file grows beyond so many bytes: a write is cut in the middle, as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
