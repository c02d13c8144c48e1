"""A year takes no more room and no more memory than the year before: ten of them can be told from three.

The first is not compared: until there are 252 closes, the curves in the reports still grow.
"""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from kit import holding

from kobe.app import wiring
from kobe.data.providers.synthetic import SyntheticSpec

FULL = os.environ.get("KOBE_CRASH_FULL", "") not in ("", "0")
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not FULL, reason="plays three years: KOBE_CRASH_FULL=1"),
]
SPEC = SyntheticSpec(symbols=12, years=4, seed=7)
YEARS = (
    (date(2022, 1, 3), date(2022, 12, 30)),
    (date(2023, 1, 3), date(2023, 12, 29)),
    (date(2024, 1, 2), date(2024, 12, 31)),
)
FOLDERS = ("state", "reports", "cache", "wf_outputs", "data")
NOTHING = 2**16
"""Bytes: a folder that grows by less has not grown."""

PLAY = """
import json, resource, sys
from datetime import date
from pathlib import Path
from kobe.app import wiring
from kobe.app.day import simulate
home, first, last = Path(sys.argv[1]), date.fromisoformat(sys.argv[2]), date.fromisoformat(sys.argv[3])
ctx = wiring.build(home, clock=simulate.clock_before(first))
said = simulate.run_simulation(ctx, first, last)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"counts": said.data["counts"], "sessions": said.data["sessions"], "peak_kib": peak}))
"""


def sizes(home: Path) -> dict[str, int]:
    """Return the bytes in each folder of a home; the state in its parts."""
    found = {}
    for name in FOLDERS:
        parts = list((home / name).glob("*")) if name == "state" else [home / name]
        for part in parts:
            files = [part] if part.is_file() else [p for p in part.rglob("*") if p.is_file()]
            found[part.relative_to(home).as_posix().removesuffix("-wal")] = sum(p.stat().st_size for p in files)
    return found


def played(home: Path, first: date, last: date) -> dict:
    command = [sys.executable, "-c", PLAY, str(home), str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(os.name == "nt", reason="peak memory is asked the POSIX way")
def test_the_third_year_takes_no_more_room_and_memory_than_the_second(tmp_path):
    home = holding.make(tmp_path / "home", "[meta]\nweekly = false\n", spec=SPEC)
    before, grown, told = sizes(home), [], []
    for first, last in YEARS:
        told.append(played(home, first, last))
        after = sizes(home)
        grown.append({name: after[name] - before.get(name, 0) for name in after})
        before = after
        assert told[-1]["counts"]["failed"] == 0
    sessions = [t["sessions"] for t in told]
    for name in sorted(before):
        per_session = [g.get(name, 0) / n for g, n in zip(grown, sessions, strict=True)]
        words = ", ".join(f"{size:.0f}" for size in per_session)
        sys.__stderr__.write(f"{name}: {words} bytes a session, ten years {2520 * per_session[-1] / 2**20:.1f} MiB\n")
    peaks = [t["peak_kib"] / 1024 for t in told]
    sys.__stderr__.write(f"peak {', '.join(f'{peak:.0f}' for peak in peaks)} MiB\n")
    for name, third in grown[2].items():
        assert third <= max(1.1 * grown[1].get(name, 0), NOTHING), name
    assert peaks[2] <= 1.1 * peaks[1]
    assert wiring.build(home).ledger.events("jobs", entity=str(YEARS[0][0]))
