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
# One round of the child walks 166 lines on SQLite, 1130 on PostgreSQL with SQLAlchemy's engine; making it 1900 there.
KILLS = {"sqlite": 40, "postgresql": 16}
LINES_PER_KILL = {"sqlite": 11, "postgresql": 119}
LEAST_PROMISED = {"sqlite": 40, "postgresql": 10}
WHERE = {"sqlite": ("infra/records",), "postgresql": ("infra/records", "engine/base")}

# The child counts the lines it executes in the files named, and dies before line number N.
STEPWISE = """
import os, sys
from itertools import count
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger

run, address, lines, *places = sys.argv[1:]
ledger = SqlLedger(address, SystemClock(), busy_timeout_s=30)
if run != "making":
    with ledger.exclusive():
        pass  # opens the ledger for writing before the lines are counted
with Countdown(int(lines), *places):
    for number in count():
        with ledger.exclusive():
            ledger.append("pairs", run, "left", {}, key=f"{run}-{number}-left")
            ledger.append("pairs", run, "right", {}, key=f"{run}-{number}-right")
        os.write(1, f"{run}-{number}-right\\n".encode())
        ledger.append("singles", run, "made", {}, key=f"{run}-{number}")
        os.write(1, f"{run}-{number}\\n".encode())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def killed(kind: str, run: str, address: str, lines: int) -> set[str]:
    """Run the child until it kills itself, and return what it acknowledged."""
    done = subprocess.run(
        [sys.executable, "-c", STEPWISE, run, address, str(lines), *WHERE[kind]],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == -9
    return {line.decode().strip() for line in done.stdout.splitlines(keepends=True) if line.endswith(b"\n")}


def test_a_ledger_killed_at_any_line_keeps_its_promises(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    address = str(tmp_path / "kobe.db") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    promised: set[str] = set()
    for kill in range(1, KILLS[kind] + 1):
        promised |= killed(kind, str(kill), address, kill * LINES_PER_KILL[kind])
        with closing(SqlLedger(address, SystemClock(), busy_timeout_s=30)) as ledger:
            ledger.check()
            pairs = ledger.events("pairs")
            assert [e.kind for e in pairs] == ["left", "right"] * (len(pairs) // 2)
            with ledger.exclusive():  # appending them again has no effect, as they are there
                for key in promised:
                    stream, done = ("pairs", "right") if key.endswith("right") else ("singles", "made")
                    assert not ledger.append(stream, key.partition("-")[0], done, {}, key=key), f"{key} was lost"
    assert len(promised) >= LEAST_PROMISED[kind]


def test_a_ledger_killed_while_it_is_made_is_made_by_the_next(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cluster = request.getfixturevalue("postgres_cluster") if kind == "postgresql" else None
    for kill in range(1, KILLS[kind] + 1):
        address = cluster.fresh() if cluster else str(tmp_path / f"{kill}.db")
        killed(kind, "making", address, kill * LINES_PER_KILL[kind])
        with closing(SqlLedger(address, SystemClock(), busy_timeout_s=30)) as ledger:
            ledger.append("singles", "after", "made", {}, key="after")
            assert ledger.events("singles", entity="after")
            ledger.check()
