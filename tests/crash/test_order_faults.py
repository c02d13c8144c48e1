"""Submit, exit, reconcile and flatten over HTTP, killed anywhere while the broker misbehaves, send each order once.

The desk level runs the use cases on a made-up market in memory, over a thousand times; what comes before the desk
(the scan and its record) is left out there. Exit and flatten close by the same ladder and share the pairs of named
point and fault between them. KOBE_CRASH_FULL=1 gives each all pairs, and two hundred random lines to every fault.

The command level runs whole commands on a home with bars, a model and a scan, some dozens of times.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from kit.order_faults import FAULTS, OPERATIONS
from kit.order_real import real_home
from kit.order_stage import fast_folder, stage
from kit.order_trials import Bench

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a POSIX signal")]
KINDS = len({(told or {}).get("fault", name) for name, told in FAULTS.items() if told is not None})
FULL = os.environ.get("KOBE_CRASH_FULL", "") not in ("", "0")
LINES = 200
"""Random lines at which each operation is killed."""


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(dir=fast_folder()))
    yield made
    shutil.rmtree(made)


def told(bench: Bench) -> str:
    """Print the counts and return what was wrong, shortly."""
    sys.__stderr__.write(f"{bench}\n")
    return f"{len(bench.wrong)} trials went wrong\n" + "\n".join(str(outcome) for outcome in bench.wrong[:5])


@pytest.mark.timeout(14400 if FULL else 1800)
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_any_named_point_or_line_under_any_fault_nothing_is_sent_twice_lost_or_overspent(name, folder):
    lines = LINES * len(FAULTS) if FULL else LINES
    with stage(OPERATIONS[name], folder) as ready:
        bench = Bench(ready)
        bench.whole(list(FAULTS), lines, random.Random(2024), full=FULL)
    assert not bench.wrong, told(bench)
    told(bench)
    assert bench.counts["killed at a line"] >= lines * 2 // 3  # a run may be over before the line that was drawn
    assert len(bench.kinds) == KINDS


COMMANDS = {"submit-totd": (1, 4), "manage-exits": (2, 3), "kobe flatten": (3, 3), "kobe reconcile": (1, 2)}
"""Command -> every so manyth named point is tried, and so many random lines."""


@pytest.mark.timeout(1800)
def test_whole_commands_killed_and_run_again_leave_one_order_per_signal_and_equal_books(made_home, folder):
    dice = random.Random(2024)
    with real_home(made_home, folder) as ready:
        benches = [Bench(ready.stage(name)) for name in COMMANDS]
        for bench in benches:
            every, lines = COMMANDS[bench.stage.operation.name]
            bench.sample(every, lines, dice)
    assert not any(bench.wrong for bench in benches), "\n".join(told(bench) for bench in benches)
    assert all(bench.counts["killed at a named point"] for bench in benches), [told(bench) for bench in benches]
    for bench in benches:
        told(bench)
