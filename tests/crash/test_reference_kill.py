"""Imports of headlines are killed at random lines: what was acknowledged stays, the second run ends equal."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.data.reference import ReferenceStore
from kobe.infra.records.artifacts import FileArtifacts

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
KILLS = 50

WORK = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import polars as pl
from kit.killing import Countdown
from kobe.data import headlines
from kobe.data.reference import ReferenceStore
from kobe.infra.records.artifacts import FileArtifacts

folder, first, last, left = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
start = datetime(2024, 6, 3, tzinfo=UTC)

rows = [(start + timedelta(hours=k, minutes=7), f"Acme says {k}", "ACME") for k in range(first, last)]
schema = {"ts": pl.Datetime("us", "UTC"), "title": pl.String, "symbol": pl.String}
frame = pl.DataFrame(rows, schema=schema, orient="row")
with Countdown(left, "kobe/data", "kobe/infra") as counted:
    prepared = headlines.normalise(frame, start + timedelta(days=60), archive=True)
    ReferenceStore(folder, FileArtifacts()).write("headlines", prepared.rows, "test", start + timedelta(days=60))
os.write(1, str(counted.lines).encode())
"""


def run(folder: Path, first: int, last: int, line: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORK, str(folder), str(first), str(last), str(line)]
    return subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_a_killed_import_leaves_the_table_before_or_after_and_can_be_run_again(tmp_path):
    whole = tmp_path / "whole"
    assert run(whole, 0, 40, -1).returncode == 0
    done = run(whole, 0, 80, -1)
    assert done.returncode == 0, done.stderr
    expected = ReferenceStore(whole, FileArtifacts()).read("headlines")
    rng, killed = random.Random(82), 0
    for k in range(KILLS):
        folder = tmp_path / str(k)
        store = ReferenceStore(folder, FileArtifacts())
        assert run(folder, 0, 40, -1).returncode == 0
        killed += run(folder, 0, 80, rng.randint(1, int(done.stdout))).returncode == -9
        assert len(store.read("headlines")) in {40, 80}
        assert run(folder, 0, 80, -1).returncode == 0
        assert store.read("headlines").equals(expected)
    assert killed >= KILLS * 0.9
