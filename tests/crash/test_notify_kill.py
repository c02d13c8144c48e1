"""Deliverers are killed at random lines: every message that was told arrives, and twice only as the rule says."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from kit.killing import ENVIRONMENT
from kit.notify_server import NotifyServer
from kit.outboxes import outbox

from kobe.infra.clock import SystemClock
from kobe.infra.outbox_rules import Rules
from kobe.infra.outbox_store import State

REPOSITORY = Path(__file__).parents[2]
KILLS = 24
KINDS = ("telegram", "webhook")
AGAIN = "\\(maybe again\\)"

# forks are quicker than interpreters; nothing here has threads before it forks
WORK = """
import os, sys
from pathlib import Path
import httpx2, sqlite3
from kit.killing import Countdown
from kit.outboxes import outbox, told
from kobe.core.messages import Severity
from kobe.infra.channels.wire import tls
from kobe.infra.clock import SystemClock
from kobe.infra.outbox_rules import Rules

folder, url, lines = Path(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3:]]
tls()
for number, left in enumerate(lines):
    child = os.fork()
    if child:
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"end {killed}\\n".encode())
        continue
    box = outbox(folder, SystemClock(), url, ("telegram", "webhook"), rules=Rules(per_minute=600))
    with Countdown(left, "kobe/infra") as counted:
        for severity in (Severity.URGENT, Severity.WARNING):
            box.tell(told(f"{severity.word}{number}", severity))
            os.write(1, f"told {severity.word}{number}\\n".encode())
        box.deliver()
    os.write(1, f"lines {counted.lines}\\n".encode())
    os._exit(0)
"""


def run(folder: Path, url: str, lines: list[int]) -> list[list[str]]:
    command = [sys.executable, "-c", WORK, str(folder), url, *map(str, lines)]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_a_killed_deliverer_loses_nothing_and_repeats_only_what_is_marked(tmp_path):
    with NotifyServer() as server:
        (length,) = [int(said[1]) for said in run(tmp_path / "whole", server.url, [-1]) if said[0] == "lines"]
        server.taken.clear()
        rng = random.Random(82)
        told = run(tmp_path / "killed", server.url, [rng.randint(1, length) for _ in range(KILLS)])
        assert sum(said == ["end", "-9"] for said in told) >= KILLS * 0.8
        box = outbox(tmp_path / "killed", SystemClock(), server.url, KINDS, rules=Rules(per_minute=600))
        assert box.deliver() == 0
    with box.store.work() as out:
        rows = {(d.channel, d.message.key): d for d in out.of_state(*State)}
    for key in (said[1] for said in told if said[0] == "told"):
        assert {(kind, key) for kind in KINDS} <= set(rows), f"{key} was told and is lost"
    texts = Counter(server.texts("telegram"))
    hooked = {t.headers["Idempotency-Key"] for t in server.taken if t.service == "hook"}
    for (kind, key), row in rows.items():
        word = "URGENT" if key.startswith("urgent") else "WARNING"
        plain, marked = texts[f"*{word}: {key}*"], texts[f"*{AGAIN} {word}: {key}*"]
        if kind == "webhook":
            assert (row.state, key in hooked) == (State.SENT, True)
        elif row.state is State.DEAD:
            assert (word, row.why.startswith("unknown"), marked) == ("WARNING", True, 0)
            assert plain <= 1
        else:
            assert row.state is State.SENT
            assert plain <= 1
            assert plain + marked >= 1
            assert (plain == 1 and not marked) or word == "URGENT"
    assert {t for t in texts if AGAIN in t} or any(row.state is State.DEAD for row in rows.values())
