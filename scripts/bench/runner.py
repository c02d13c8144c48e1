"""What the runner costs while nothing is due, and what a job costs before its work begins.

python -m scripts.bench.runner HOME [SECONDS]

HOME is one in which days were played, such as `kobe demo --into HOME` makes; a copy of it is measured. The runner is
`kobe run` as a service would start it: once its first round is over, the processor time of its processes is counted for
so many seconds (default 60). A job that is settled is started as the runner starts one, in a process of its own that
looks at the ledger and leaves: all of that is overhead. Linux only, for it reads /proc.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kobe.app import wiring
from kobe.app.day import job_process, runs
from kobe.app.jobs import job_named

ROOT = Path(__file__).resolve().parents[2]
FIRST_ROUND_S, ROUNDS = 20.0, 11
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure on a copy of the home and print two lines."""
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        home = shutil.copytree(sys.argv[1], Path(folder) / "home")
        started = _job_start_ms(home)
        share = _idle_share(home, seconds)
    print(f"an idle runner: {share:.3%} of one core over {seconds:.0f} s (bar 1%)")
    print(f"start of a job: {statistics.median(started):.0f} ms, at most {max(started):.0f} ms (bar 300 ms)")


def _job_start_ms(home: Path) -> list[float]:
    ctx = wiring.build(home)
    done = next(r for r in reversed(runs.history(ctx.ledger)) if r.status == runs.DONE)
    start, took = job_process.starter(ctx, live=False), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        code = start(job_named(done.job), done.session, False).wait(timeout=60.0)
        took.append((time.perf_counter() - began) * 1e3)
        if code:
            raise SystemExit(f"{done.job} of {done.session} ended with {code}")
    return took[1:]  # the first one waits for the server that loads everything


def _idle_share(home: Path, seconds: float) -> float:
    """Return the share of a core that the runner and the server of its jobs take together."""
    words = [sys.executable, "-m", "kobe", "--home", str(home), "-q", "run"]
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        time.sleep(FIRST_ROUND_S)
        before = _used_s(child.pid)
        time.sleep(seconds)
        if child.poll() is not None:
            raise SystemExit(f"the runner ended with {child.returncode}")
        return (_used_s(child.pid) - before) / seconds
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=60.0)


def _used_s(session: int) -> float:
    """Return the processor time of every process of a session, those that have ended and were waited for included."""
    used = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(told[3]) == session:
            used += sum(int(n) for n in told[11:15])
    return used / TICKS_PER_S


if __name__ == "__main__":
    main()
