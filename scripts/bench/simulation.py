"""Ten years of sessions through every job of the day, with the simulated broker, as one process.

python -m scripts.bench.simulation [FIRST LAST]     without dates: 2015-01-02 2024-12-31

The home is made first and not timed: 60 made-up symbols over fifteen years, walked forward until the first session,
trained and promoted. `[meta] weekly = false`: the weekly learning is not part of the day. A plain Python loop is timed
before and after, since nearly all of the time is Python and machines differ.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS, YEARS_BEFORE = 60, 5
BAR_S = 600.0
LOOP = 5_000_000


def main() -> None:
    """Make a home, play the sessions, print what it took."""
    first, last = (date.fromisoformat(word) for word in (sys.argv[1:3] or ("2015-01-02", "2024-12-31")))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        _make(home, first, last)
        before = _loop_s()
        took, cpu, peak, told = _play(home, first, last)
        after = _loop_s()
    sessions = told["sessions"]
    print(f"{sessions} sessions, {SYMBOLS} symbols: {took:.1f} s (bar for ten years {BAR_S:.0f} s), {cpu:.1f} s of CPU")
    print(f"{1000 * took / sessions:.0f} ms a session, {peak:.0f} MB at most")
    print(f"a Python loop of {LOOP:,} steps took {before:.3f} s before and {after:.3f} s after")


def _make(home: Path, first: date, last: date) -> None:
    from kobe.app import import_bars, wiring
    from kobe.app.promote import run_promote
    from kobe.app.train_meta import run_train_meta
    from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
    from kobe.data.manifest import Provenance
    from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market

    settings = home / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[meta]\nweekly = false\n", encoding="utf-8")
    ctx = wiring.build(home)
    spec = SyntheticSpec(symbols=SYMBOLS, years=last.year - first.year + 1 + YEARS_BEFORE, last_session=last,
                         reversal=2.5)  # fmt: skip
    import_bars.keep(ctx, synthetic_market(spec, ctx.calendar), Provenance(source="synthetic"), "made up", replace=True)
    run_walk_forward(ctx, WalkForwardRequest(until=ctx.calendar.previous(first)))
    run_train_meta(ctx)
    run_promote(ctx)


def _play(home: Path, first: date, last: date) -> tuple[float, float, float, dict[str, int]]:
    """Return wall seconds, CPU seconds, peak memory in MB and what `kobe run --simulate --json` said."""
    words = ["--home", str(home), "run", "--simulate", str(first), str(last), "--speed", "max", "--json"]
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "kobe", *words], cwd=ROOT, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status):
            raise SystemExit("the simulation failed")
        out.seek(0)
        return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, json.loads(out.read())


def _loop_s() -> float:
    started, total = time.perf_counter(), 0
    for k in range(LOOP):
        total += k
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
