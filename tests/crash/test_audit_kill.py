"""A process is killed at every step of an audit append: no acknowledged record is lost, the chain verifies."""

import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.core.clock import SteppingClock
from kobe.infra.clock import SystemClock
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import REPAIR_KIND, AuditChain, read, verify
from kobe.infra.records.signing import FileSigner

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
KILLS = 60
# One append walks about 220 lines of kobe/infra, a repair about 80 more.
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


# Groups of one to three records, a checkpoint every four, files of a few records, and both by hand as well.
SIGNED = """
import itertools, os, sys
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.signing import FileSigner

home = Path(sys.argv[1])
signer = FileSigner(home / "keys", name="audit")
chain = AuditChain(home / "audit", SystemClock(), sys.argv[2], signer=signer, every=4, segment_bytes=4000)
with Countdown(int(sys.argv[2]), "infra"):
    for number in itertools.count(int(sys.argv[2])):
        if number % 4 == 0:
            os.write(1, b"checkpoint %d\\n" % chain.checkpoint().number)
        if number % 6 == 0:
            chain.rotate()
        records = [("work", {"text": "x" * 300})] * (1 + number % 3)
        os.write(1, "".join(digest + "\\n" for digest in chain.append_many(records)).encode())
"""
GROUP = """
import sys
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.signing import FileSigner

home = Path(sys.argv[1])
chain = AuditChain(home / "audit", SystemClock(), "group", signer=FileSigner(home / "keys", name="audit"))
with Countdown(int(sys.argv[2]), "infra"):
    chain.append_many([("group", {"n": number, "text": "x" * 5000}) for number in range(100)])
"""
SIGNED_KILLS = 90
# A group with its checkpoint and a rotation walks about 1,600 lines.
LINES_PER_SIGNED_KILL = 23


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


def test_groups_checkpoints_and_rotations_killed_at_any_line_keep_every_acknowledged_record(tmp_path: Path) -> None:
    promised: list[str] = []
    points = 0
    signer = FileSigner(tmp_path / "keys", name="audit")
    for kill in range(1, SIGNED_KILLS + 1):
        command = [sys.executable, "-c", SIGNED, str(tmp_path), str(kill * LINES_PER_SIGNED_KILL)]
        done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
        assert done.returncode == -9
        left = verify(tmp_path / "audit", signer=signer)
        assert left.problem in {"ok", "torn"}, left
        said = acknowledged(done.stdout)
        points = max([points, *(int(line.split()[1]) for line in said if line.startswith("checkpoint"))])
        promised += [line for line in said if not line.startswith("checkpoint")]
        after = AuditChain(tmp_path / "audit", SystemClock(), "after", signer=signer, every=4)
        promised.append(after.append("work", {}))
        report = verify(tmp_path / "audit", signer=signer)
        assert report.ok, report
        assert report.checkpoints >= points
        assert report.anchored_seq == report.records
    there = [record.hash for record in read(tmp_path / "audit")]
    assert [digest for digest in there if digest in set(promised)] == promised
    assert verify(tmp_path / "audit", signer=signer).files > SIGNED_KILLS / 6


def test_a_group_killed_at_any_line_is_there_whole_or_as_its_first_records(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path / "keys", name="audit")
    chain = AuditChain(tmp_path / "audit", SystemClock(), "before", signer=signer)
    chain.append("work", {})
    for kill in range(1, 31):
        before = sum(1 for _ in read(tmp_path / "audit"))
        command = [sys.executable, "-c", GROUP, str(tmp_path), str(kill * LINES_PER_SIGNED_KILL)]
        subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
        told = [record.payload["n"] for record in read(tmp_path / "audit") if record.kind == "group"]
        found = told[-(sum(1 for _ in read(tmp_path / "audit")) - before) :] if told else []
        assert found == list(range(len(found)))
        chain.append("work", {})
        assert verify(tmp_path / "audit", signer=signer).ok
