"""A process is killed at any line of a backup or a restore: no half backup, and always the old state or the new one."""

import random
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT
from kit.state import content_of, make_state

from kobe.infra.clock import SystemClock
from kobe.infra.records import backup, restore
from kobe.infra.records.backup import Source
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.restore import Target

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
KILLS = 20

# The child counts the lines it executes in the plumbing and dies before line number N; with 0 it says how many it saw.
PROGRAM = """
import os, sys
from pathlib import Path
from kit.killing import Countdown
from kobe.infra.clock import SystemClock
from kobe.infra.records import backup, restore
from kobe.infra.records.backup import Source
from kobe.infra.records.restore import Target

what, state, lines = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with Countdown(lines, "kobe/infra", "shutil") as counted:
    if what == "backup":
        backup.create(Source(state=state), state / "backups", SystemClock().now())
    else:
        restore.restore(Path(what), Target(state=state), SystemClock(), replace=True)
print(counted.lines)
"""


def run(what: str, state: Path, lines: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, what, str(state), str(lines)]
    return subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False)


def moments(what: str, state: Path) -> list[int]:
    """Run once to the end, and return lines at which to kill the next runs; the last steps are where it matters."""
    done = run(what, state, 0)
    assert done.returncode == 0
    total = int(done.stdout)
    drawn = random.Random(81).sample(range(1, total - 150), KILLS - 8)
    return sorted([*drawn, *range(total - 140, total - 1, 18)])


def test_a_backup_killed_at_any_line_is_none_and_the_next_one_is_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    make_state(state, events=8)
    before = content_of(state)
    for moment in moments("backup", state):
        assert run("backup", state, moment).returncode == -9
        for path in backup.found(state / "backups"):
            backup.verify(path)
        assert content_of(state) == before
    made = backup.create(Source(state=state), state / "backups", SystemClock().now())
    assert content_of(made / "state") == before
    assert not list((state / "backups").glob(".tmp-*"))


def test_a_restore_killed_at_any_line_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    state = tmp_path / "home" / "state"
    make_state(state, events=8)
    made = backup.create(Source(state=state), tmp_path / "kept", SystemClock().now())
    new = content_of(state)
    with closing(SqlLedger(state / "kobe.db", SystemClock())) as ledger:
        ledger.append("things", "a", "later", {}, key="later")
    inside = backup.create(Source(state=state), state / "backups", SystemClock().now()).name
    old = content_of(state)
    shutil.copytree(state, tmp_path / "present")
    seen = []
    for moment in moments(str(made), state):
        shutil.rmtree(tmp_path / "home")
        shutil.copytree(tmp_path / "present", state)
        assert run(str(made), state, moment).returncode == -9
        was = content_of(state)
        assert was in (old, new)
        seen.append(was == new)
        if restore.unfinished(state):
            restore.settle(state)
        assert content_of(state) == was
        assert backup.verify(state / "backups" / inside), "backups are never lost"
        assert not restore.unfinished(state)
        asides = list(state.parent.glob("state.before-*"))
        assert [content_of(aside) for aside in asides] == ([old] if was == new else [])
        restore.restore(made, Target(state=state), SystemClock(), replace=True)
        assert content_of(state) == new
    assert True in seen
    assert False in seen
