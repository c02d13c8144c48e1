"""A writer of artifacts is killed at every step: readers see old content or new, and a sweep cleans up."""

import subprocess
import sys
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.infra.records.artifacts import FileArtifacts

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
SIZE = 300_000

STEPWISE = """
import os, sys
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.records.artifacts import FileArtifacts

with Countdown(int(sys.argv[2]), "infra"):
    while True:
        for letter in (b"a", b"b"):
            FileArtifacts().write(Path(sys.argv[1], "deep", letter.decode() + "-only"), letter)
            FileArtifacts().write(Path(sys.argv[1], "deep", "both"), letter * 300_000)
            os.write(1, letter)
"""


def test_an_artifact_killed_at_any_line_is_whole_and_leaves_nothing_after_a_sweep(tmp_path: Path) -> None:
    left_behind = 0
    for line in range(1, 240, 4):
        folder = tmp_path / str(line)
        folder.mkdir()
        command = [sys.executable, "-c", STEPWISE, str(folder), str(line)]
        done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
        assert done.returncode == -9
        left_behind += len(FileArtifacts().sweep(folder))
        found = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert found.keys() <= {"a-only", "b-only", "both"}
        assert found.get("both", b"a" * SIZE) in {b"a" * SIZE, b"b" * SIZE}
        if done.stdout:
            assert "both" in found
    assert left_behind, "no kill came while a file was being written"
