"""One amount of work on every backend: `python scripts/bench/compute.py [--seconds 12] [--tasks 40] [--workers 1 2]`.

A compiled walk over two million closes, many parameters. Workers are started and kernels compiled before the clock
runs; the digits of every backend are compared with serial before anything is printed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import compute_work
import numpy as np

from kobe.core.ports import Compute
from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays

BARS = 2_000_000
ROUNDS = 3


def timed(compute: Compute, close: np.ndarray, tasks: list[tuple[int, int]]) -> tuple[float, bytes]:
    """Return the wall time in seconds of one map, warmed up, and its digits."""
    shared = compute.share({"close": close})
    compute.map(compute_work.walks, [(5, 1)] * 4, shared=shared)
    started = time.perf_counter()
    results = compute.map(compute_work.walks, tasks, shared=shared)
    return time.perf_counter() - started, np.array(results).tobytes()


def start(folder: Path, name: str, workers: int) -> Compute:
    """Return a backend with so many workers."""
    return BACKENDS[name](ComputeKit(arrays=SharedArrays(folder), workers=workers))


def main() -> None:
    """Print wall times, ratios and the bar; backends take turns, each figure is the best of its rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of serial work")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    close = np.exp(np.random.default_rng(81).standard_normal(BARS).cumsum() * 0.001)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {("serial", 1): start(Path(folder), "serial", 1)}
        kinds |= {(n, w): start(Path(folder), n, w) for n in ("processes", "dask") for w in given.workers}
        unit, _ = timed(kinds["serial", 1], close, [(5, 1)])
        tasks = [(5 + i, max(1, round(given.seconds / given.tasks / unit))) for i in range(given.tasks)]
        best: dict[tuple[str, int], float] = {}
        digits = set()
        try:
            for _ in range(ROUNDS):
                for kind, compute in kinds.items():
                    wall, found = timed(compute, close, tasks)
                    best[kind] = min(wall, best.get(kind, wall))
                    digits.add(found)
        finally:
            for compute in kinds.values():
                compute.close()
    if len(digits) != 1:
        raise SystemExit("backends disagree about the digits: no figure is worth printing")
    report(best, given.tasks)


def report(best: dict[tuple[str, int], float], tasks: int) -> None:
    """Print the table."""
    serial = best["serial", 1]
    print(f"{tasks} tasks, the same digits on every backend; best of {ROUNDS} rounds")
    print(f"{'backend':10}{'workers':>8}{'wall s':>9}{'s a task':>10}{'x serial':>10}{'efficiency':>12}")
    for (name, workers), wall in best.items():
        speed = serial / wall
        print(f"{name:10}{workers:8}{wall:9.2f}{wall / tasks:10.3f}{speed:10.2f}{speed / workers:12.0%}")
    for workers in sorted({w for n, w in best if n == "dask"}):
        ratio = best["dask", workers] / best["processes", workers]
        print(f"dask / processes, {workers} workers: {ratio:.3f} (bar 1.15)")


if __name__ == "__main__":
    main()
