"""A process is killed at every step of a ledger append: acknowledged events stay, transactions are whole."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
KILLS = 40
# Making the file walks about 2300 lines of kobe/infra and SQLAlchemy's engine, one round of the child about 1200.
LINES_PER_KILL = 60

# The child counts the lines it executes in kobe/infra and in SQLAlchemy's engine, and dies before line number N.
STEPWISE = """
import os, sys
from itertools import count
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger
import sqlalchemy

ledger, run = SqlLedger(Path(sys.argv[1]), SystemClock()), sys.argv[2]
if run != "first":
    ledger.check()  # opens the file for writing before the lines are counted
with Countdown(int(sys.argv[2]), "infra", "engine/base"):
    for number in count():
        with ledger.exclusive():
            ledger.append("pairs", run, "left", {}, key=f"{run}-{number}-left")
            ledger.append("pairs", run, "right", {}, key=f"{run}-{number}-right")
        os.write(1, f"{run}-{number}-right\\n".encode())
        ledger.append("singles", run, "made", {}, key=f"{run}-{number}")
        os.write(1, f"{run}-{number}\\n".encode())
"""


def test_a_ledger_killed_at_any_line_keeps_its_promises(tmp_path: Path) -> None:
    path = tmp_path / "kobe.db"
    promised: set[str] = set()
    for kill in range(1, KILLS + 1):
        run = str(kill * LINES_PER_KILL)
        done = subprocess.run(
            [sys.executable, "-c", STEPWISE, str(path), run],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == -9
        promised |= {line.decode().strip() for line in done.stdout.splitlines(keepends=True) if line.endswith(b"\n")}
        with closing(SqlLedger(path, SystemClock())) as ledger:
            ledger.check()
            pairs = ledger.events("pairs")
            assert [e.kind for e in pairs] == ["left", "right"] * (len(pairs) // 2)
            with ledger.exclusive():  # appending them again has no effect, as they are there
                for key in promised:
                    stream, kind = ("pairs", "right") if key.endswith("right") else ("singles", "made")
                    assert not ledger.append(stream, key.partition("-")[0], kind, {}, key=key), f"{key} was lost"
    assert len(promised) >= KILLS


def test_a_ledger_killed_while_it_is_made_is_made_by_the_next(tmp_path: Path) -> None:
    program = STEPWISE.replace('if run != "first":', 'if run == "never":')
    for kill in range(1, KILLS + 1):
        path = tmp_path / f"{kill}.db"
        command = [sys.executable, "-c", program, str(path), str(kill * LINES_PER_KILL)]
        assert (
            subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False).returncode
            == -9
        )
        with closing(SqlLedger(path, SystemClock())) as ledger:
            ledger.append("singles", "after", "made", {}, key="after")
            assert ledger.events("singles", entity="after")
