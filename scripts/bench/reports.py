"""How long each report takes, warm and in one process.

python scripts/bench/reports.py HOME [SESSION]

HOME is one that has traded, such as `kobe demo --into HOME --symbols 900` makes; a copy of it is measured. Printed are
the first call of the process and the median of the next ones, in milliseconds.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from kobe.app import eod_report, scan_picture, wiring
from kobe.app.context import Context
from kobe.app.morning_report import run_morning_report
from kobe.app.status import run_status
from kobe.app.weekly_report import run_weekly_report
from kobe.core.clock import NEW_YORK, SteppingClock

ROUNDS = 7
EVENING_HOUR = 18


def main() -> None:
    """Measure on a copy of the home."""
    with tempfile.TemporaryDirectory() as folder:
        home = shutil.copytree(sys.argv[1], Path(folder) / "home")
        last = date.fromisoformat(sys.argv[2]) if len(sys.argv) > 2 else wiring.build(home).store.manifest().last
        evening = datetime(last.year, last.month, last.day, EVENING_HOUR, tzinfo=NEW_YORK)
        ctx = wiring.build(home, clock=SteppingClock(evening))
        held = ctx.store.manifest()
        print(f"{len(held.symbols)} symbols to {held.last}; report of {last}; {ROUNDS} rounds\n")
        print(f"{'report':<26}{'first, ms':>12}{'warm, ms':>12}")
        for name, run in _reports(ctx, last).items():
            first, *rest = [_took(run) for _ in range(ROUNDS + 1)]
            print(f"{name:<26}{first:>12.0f}{statistics.median(rest):>12.0f}")


def _reports(ctx: Context, last: date) -> dict[str, Callable[[], object]]:
    before = ctx.calendar.previous(last)
    return {
        "status": lambda: run_status(ctx),
        "morning, recorded pick": lambda: run_morning_report(ctx, last),
        "morning, preview": lambda: run_morning_report(ctx),
        "end of day": lambda: eod_report.run_eod_report(ctx, last),
        "end of day, past session": lambda: eod_report.run_eod_report(ctx, before),
        "week": lambda: run_weekly_report(ctx, last),
        "picture of the day": lambda: eod_report.picture(ctx, last),
        "picture of the picks": lambda: scan_picture.picture(ctx, before),
    }


def _took(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
