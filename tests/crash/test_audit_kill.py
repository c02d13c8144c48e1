"""A process is killed at every step of an audit append: no acknowledged record is lost, the chain verifies."""

import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.core.clock import SteppingClock
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import REPAIR_KIND, AuditChain, read, verify

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
KILLS = 60
# One append walks about 130 lines of kobe/infra, a repair about 60 more.
LINES_PER_KILL = 5

# The child counts the lines it executes in kobe/infra and dies, without any clean-up, before line number N.
STEPWISE = """
import os, sys
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain

chain = AuditChain(Path(sys.argv[1]), SystemClock(), sys.argv[2])
with Countdown(int(sys.argv[2]), "infra"):
    while True:
        os.write(1, chain.append("work", {"text": "x" * 500}).encode() + b"\\n")
"""

RUNNING = """
import os, sys
from pathlib import Path
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain

chain = AuditChain(Path(sys.argv[1]), SystemClock(), sys.argv[2])
while True:
    os.write(1, chain.append("work", {"text": "x" * 500}).encode() + b"\\n")
"""


def acknowledged(output: bytes) -> list[str]:
    """What the child said before it died; a line without its end was never said."""
    return [line.decode().strip() for line in output.splitlines(keepends=True) if line.endswith(b"\n")]


def check(folder: Path, promised: list[str]) -> None:
    """The next append repairs whatever was left, after which everything promised is there, in its order."""
    clock = SteppingClock(datetime(2100, 1, 1, tzinfo=UTC))
    promised.append(AuditChain(folder, clock, "after").append("work", {}))
    report = verify(folder)
    assert report.problem in {"ok", "clock_back"}, report  # our own clock is far ahead of the child's
    there = [record.hash for record in read(folder)]
    assert [digest for digest in there if digest in set(promised)] == promised


def test_an_append_killed_at_any_line_keeps_every_acknowledged_record(tmp_path: Path) -> None:
    promised: list[str] = []
    for kill in range(1, KILLS + 1):
        command = [sys.executable, "-c", STEPWISE, str(tmp_path), str(kill * LINES_PER_KILL)]
        done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
        assert done.returncode == -9
        promised += acknowledged(done.stdout)
        check(tmp_path, promised)
    assert len(promised) > KILLS


def test_a_repair_killed_at_any_line_keeps_every_torn_byte(tmp_path: Path) -> None:
    promised: list[str] = []
    check(tmp_path, promised)
    for kill in range(1, KILLS + 1):
        torn = b'{"seq":%d,"prev":"torn' % kill
        with (tmp_path / layout.CHAIN).open("ab") as file:
            file.write(torn)
        command = [sys.executable, "-c", STEPWISE, str(tmp_path), str(kill * LINES_PER_KILL)]
        done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
        assert done.returncode == -9
        promised += acknowledged(done.stdout)
        check(tmp_path, promised)
        assert torn in {path.read_bytes() for path in tmp_path.glob("torn-*.txt")}
    named = [t["file"] for record in read(tmp_path) if record.kind == REPAIR_KIND for t in record.payload["torn"]]
    assert sorted(named) == sorted(path.name for path in tmp_path.glob("torn-*.txt"))
    assert len(named) == KILLS


def test_a_running_appender_killed_from_outside_keeps_every_acknowledged_record(tmp_path: Path) -> None:
    promised: list[str] = []
    rng = random.Random(20260102)
    for kill in range(KILLS):
        command = [sys.executable, "-c", RUNNING, str(tmp_path), str(kill)]
        with subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE) as child:
            said = b"".join(child.stdout.readline() for _ in range(rng.randrange(1, 6)))
            for _ in range(rng.randrange(20_000)):  # not a wait: it only spreads the instants of the kill
                pass
            child.kill()
            said += child.stdout.read()
        promised += acknowledged(said)
        check(tmp_path, promised)
