"""One amount of work on every backend: `python scripts/bench/compute.py [--seconds 12] [--tasks 40] [--workers 1 2]`.

A compiled walk over two million closes, many parameters. Workers are started and kernels compiled before the clock
runs; the digits of every backend are compared with serial before anything is printed.
"""

import argparse
import statistics
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


def cpu_s() -> float:
    """Processor seconds of this process and everything below it; unlike wall time hardly moved by what else runs."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def timed(compute: Compute, close: np.ndarray, tasks: list[tuple[int, int]]) -> tuple[float, float, bytes]:
    """Return wall and processor seconds of one map, warmed up, and its digits."""
    shared = compute.share({"close": close})
    compute.map(compute_work.walks, [(5, 1)] * 4, shared=shared)
    started, used = time.perf_counter(), cpu_s()
    results = compute.map(compute_work.walks, tasks, shared=shared)
    return time.perf_counter() - started, cpu_s() - used, np.array(results).tobytes()


def start(folder: Path, name: str, workers: int) -> Compute:
    """Return a backend with so many workers."""
    return BACKENDS[name](ComputeKit(arrays=SharedArrays(folder), workers=workers))


def main() -> None:
    """Print wall times, ratios and the bar; backends take turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of serial work")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    close = np.exp(np.random.default_rng(81).standard_normal(BARS).cumsum() * 0.001)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {("serial", 1): start(Path(folder), "serial", 1)}
        kinds |= {(n, w): start(Path(folder), n, w) for w in given.workers for n in ("processes", "dask")}
        _, unit, _ = timed(kinds["serial", 1], close, [(5, 1)])
        tasks = [(5 + i, max(1, round(given.seconds / given.tasks / unit))) for i in range(given.tasks)]
        rounds: dict[tuple[str, int], list[tuple[float, float]]] = {kind: [] for kind in kinds}
        digits = set()
        try:
            for _ in range(ROUNDS):
                for kind, compute in kinds.items():
                    wall, cpu, found = timed(compute, close, tasks)
                    rounds[kind].append((wall, cpu))
                    digits.add(found)
        finally:
            for compute in kinds.values():
                compute.close()
    if len(digits) != 1:
        raise SystemExit("backends disagree about the digits: no figure is worth printing")
    report(rounds, given.tasks)


def report(rounds: dict[tuple[str, int], list[tuple[float, float]]], tasks: int) -> None:
    """Print the table: best wall time, least processor time, and ratios round by round."""
    best = {kind: min(wall for wall, _ in found) for kind, found in rounds.items()}
    cpu = {kind: min(cpu for _, cpu in found) for kind, found in rounds.items()}
    serial = best["serial", 1]
    print(f"{tasks} tasks, the same digits on every backend; best of {ROUNDS} rounds")
    print(f"{'backend':10}{'workers':>8}{'wall s':>9}{'s a task':>10}{'x serial':>10}{'efficiency':>12}{'cpu s':>8}")
    for (name, workers), wall in best.items():
        speed = serial / wall
        print(f"{name:10}{workers:8}{wall:9.2f}{wall / tasks:10.3f}{speed:10.2f}{speed / workers:12.0%}", end="")
        print(f"{cpu[name, workers]:8.2f}")
    for workers in sorted({w for n, w in best if n == "dask"}):
        pairs = zip(rounds["dask", workers], rounds["processes", workers], strict=True)
        ratio = statistics.median(dask[0] / ours[0] for dask, ours in pairs)
        used = cpu["dask", workers] / cpu["processes", workers]
        print(f"dask / processes, {workers} workers: wall {ratio:.3f} (bar 1.15), processor time {used:.3f}")


if __name__ == "__main__":
    main()
