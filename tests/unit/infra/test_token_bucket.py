"""A request limit holds over processes, restarts and clocks that jump."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError
from kobe.infra.token_bucket import TokenBucket

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


def bucket(folder: Path, clock: SteppingClock, **changes) -> TokenBucket:
    given_ = {"capacity": 5, "per_s": 5 / 60, "clock": clock, "sleep": lambda s: clock.advance(seconds=s), **changes}
    return TokenBucket(folder, "service", **given_)


def test_what_is_in_the_bucket_goes_at_once_and_the_rest_waits(tmp_path):
    clock = SteppingClock(START)
    one = bucket(tmp_path, clock)
    for _ in range(5):
        one.take()
    assert clock.now() == START
    one.take()
    assert (clock.now() - START).total_seconds() == pytest.approx(12.0)
    bucket(tmp_path, clock).take()  # a restart is no way around it
    assert (clock.now() - START).total_seconds() == pytest.approx(24.0)


def test_no_token_in_time_is_out_of_reach_for_now(tmp_path):
    clock = SteppingClock(START)
    one = bucket(tmp_path, clock, capacity=1)
    one.take()
    with pytest.raises(ExternalError) as told:
        one.take(timeout_s=11.0)
    assert told.value.retryable
    one.take(timeout_s=13.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"tokens": "many", "since": 0}',
        b"\xff\xfe",
        b'{"tokens": NaN, "since": 0}',
        b'{"tokens": 1e400, "since": 0}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_grants_nothing_and_mends_itself(tmp_path, content):
    clock = SteppingClock(START)
    (tmp_path / "service.bucket.json").write_bytes(content)
    bucket(tmp_path, clock).take()
    assert (clock.now() - START).total_seconds() == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("../x", {}),
        ("", {}),
        ("a/b", {}),
        ("s", {"capacity": 0}),
        ("s", {"per_s": 0.0}),
        ("s", {"per_s": float("nan")}),
    ],
)
def test_a_limit_that_could_leave_its_folder_or_never_let_anything_through_is_refused(tmp_path, name, changes):
    given_ = {"capacity": 1, "per_s": 1.0, "clock": SteppingClock(START), "sleep": lambda _: None, **changes}
    with pytest.raises(ConfigError):
        TokenBucket(tmp_path, name, **given_)


@settings(max_examples=60, deadline=None)
@given(jumps=st.lists(st.floats(-7200, 60), max_size=12))
def test_a_clock_that_jumps_back_never_grants_more_and_never_hangs(tmp_path_factory, jumps):
    clock = SteppingClock(START)
    one = bucket(tmp_path_factory.mktemp("b"), clock)
    forward, taken = 0.0, 0
    for jump in jumps:
        before = clock.now()
        one.take(timeout_s=1e6)
        forward += (clock.now() - before).total_seconds()
        taken += 1
        clock.advance(seconds=jump)
        forward += max(jump, 0.0)
    assert taken <= 5 + forward * 5 / 60 + 1e-6


def test_processes_share_it(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from kobe.infra.clock import SystemClock; from kobe.infra.token_bucket import TokenBucket\n"
        "b = TokenBucket(Path(sys.argv[1]), 's', capacity=4, per_s=20.0, clock=SystemClock(), sleep=time.sleep)\n"
        "for _ in range(12):\n    b.take(); print(time.time(), flush=True)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    stamps = sorted(float(line) for child in running for line in child.communicate(timeout=60)[0].split())
    assert len(stamps) == 36
    for k, first in enumerate(stamps):
        inside = [t for t in stamps[k:] if t - first <= 1.0]
        assert len(inside) <= 4 + 20 + 2  # two stamps may be printed late
    assert json.loads((tmp_path / "s.bucket.json").read_bytes())["tokens"] < 4
