"""W4: 10,000 paths of 2,268 days, ours against numpy written well: `python scripts/bench/montecarlo.py [PATHS DAYS]`.

Both sides draw the stationary bootstrap with mean block 10 and keep final equity, deepest drawdown, worst day and ruin
of each path. The ratio is printed only after every quantile of the two agrees within Monte Carlo error.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from kobe.backtest.montecarlo import RUIN_LOSS, Simulation, join, simulate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
COLUMNS = ("final", "depth", "worst_day", "ruined")
BLOCK, RUNS, BAR, SEED = 10.0, 5, 3.0, 81
CHUNK = 64  # paths at once, the fastest of 8 to 1000: index, returns and equity of a chunk stay in the cache
LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
Z = 5.0  # standard errors; fifteen comparisons stay far from a chance alarm


def record(days: int) -> Floats:
    """Daily returns with fat tails and runs, as a strategy's are."""
    rng = np.random.default_rng(7)
    noise = rng.standard_t(4, days) * 0.006
    for t in range(1, days):
        noise[t] += 0.15 * noise[t - 1]
    result: Floats = noise - noise.mean() + 0.0003
    return result


def block_indices(n: int, count: int, rng: np.random.Generator) -> Ints:
    """Days of `count` paths in one go: a stream of geometric blocks, cut anew where a path begins."""
    total = n * count
    wanted = int(total / BLOCK + 6.0 * np.sqrt(total / BLOCK)) + 50
    lengths = 1.0 + np.floor(rng.standard_exponential(wanted) / -np.log1p(-1.0 / BLOCK))  # faster than rng.geometric
    ends = np.cumsum(lengths).astype(np.int64)
    begins = np.concatenate((ends[: np.searchsorted(ends, total)], np.arange(0, total, n)))
    begins.sort(kind="stable")
    starts = rng.integers(0, n, size=len(begins))
    starts -= begins
    at = np.repeat(starts, np.diff(begins, append=total))
    at += np.arange(total)
    return at


def plain(returns: Floats, paths: int, rng: np.random.Generator, chunk: int = CHUNK) -> dict[str, Floats]:
    """The same in numpy: chunks of paths that stay in the cache, whole blocks repeated, buffers used again."""
    n = len(returns)
    growth = 1.0 + returns
    found = {name: np.empty(paths) for name in COLUMNS}
    steps_of, peak_of = np.empty((chunk, n)), np.empty((chunk, n))
    for first in range(0, paths, chunk):
        count = min(chunk, paths - first)
        steps, peak, mine = steps_of[:count], peak_of[:count], slice(first, first + count)
        growth.take(block_indices(n, count, rng), mode="wrap", out=steps.reshape(-1))
        found["worst_day"][mine] = steps.min(axis=1) - 1.0
        equity = np.cumprod(steps, axis=1, out=steps)
        found["final"][mine] = equity[:, -1]
        found["ruined"][mine] = equity.min(axis=1) <= 1.0 - RUIN_LOSS
        np.maximum.accumulate(equity, axis=1, out=peak)
        np.maximum(peak, 1.0, out=peak)
        found["depth"][mine] = 1.0 - np.minimum(np.divide(equity, peak, out=peak).min(axis=1), 1.0)
    return found


def ours(returns: Floats, paths: int, threads: int) -> Simulation:
    """Our shards, one per thread."""
    borders = np.linspace(0, paths, threads + 1).astype(int).tolist()

    def shard(k: int) -> Simulation:
        return simulate(returns, borders[k], borders[k + 1], horizon=len(returns), seed=SEED, block=BLOCK)

    if threads == 1:
        return shard(0)
    with ThreadPoolExecutor(threads) as pool:
        return join(list(pool.map(shard, range(threads))))


def check(mine: Simulation, theirs: dict[str, Floats]) -> None:
    """Refuse to go on when a quantile or the share of ruin differs by more than chance allows."""
    n = len(mine)
    for name in ("final", "depth", "worst_day"):
        a, b = getattr(mine, name), theirs[name]
        for level in LEVELS:
            slack = Z * np.sqrt(2.0 * level * (1.0 - level) / n)
            low, high = np.quantile(b, [max(0.0, level - slack), min(1.0, level + slack)])
            found = np.quantile(a, level)
            if not low <= found <= high:
                raise SystemExit(f"{name} at {level:.0%}: ours {found:.5f}, numpy's [{low:.5f}, {high:.5f}]")
        print(f"{name:>9}: " + "  ".join(f"{p:.0%} {np.quantile(a, p):+.4f}/{np.quantile(b, p):+.4f}" for p in LEVELS))
    p, q = float(mine.ruined.mean()), float(theirs["ruined"].mean())
    if abs(p - q) > Z * np.sqrt(2.0 * max(p, q, 1.0 / n) / n):
        raise SystemExit(f"ruin: ours {p:.4%}, numpy's {q:.4%}")
    print(f"     ruin: ours {p:.3%}, numpy {q:.3%}")


def best_s(runs: list[Callable[[], object]]) -> tuple[list[float], list[float]]:
    """Best wall and processor time of each call, taken in turns so that a busy moment meets all alike."""
    wall, cpu = [float("inf")] * len(runs), [float("inf")] * len(runs)
    for _ in range(RUNS):
        for k, run in enumerate(runs):
            started, used = time.perf_counter(), time.process_time()
            run()
            wall[k] = min(wall[k], time.perf_counter() - started)
            cpu[k] = min(cpu[k], time.process_time() - used)
    return wall, cpu


def main() -> None:
    """Check, then print the figures."""
    paths, days = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (10_000, 2268)
    returns = record(days)
    one, two = ours(returns, paths, 1), ours(returns, paths, 2)
    if not all(np.array_equal(getattr(one, c), getattr(two, c)) for c in COLUMNS):
        raise SystemExit("two threads gave other digits than one")
    check(one, plain(returns, paths, np.random.default_rng(1)))
    calls: list[Callable[[], object]] = [
        lambda: ours(returns, paths, 1),
        lambda: ours(returns, paths, 2),
        lambda: plain(returns, paths, np.random.default_rng(1)),
    ]
    wall, cpu = best_s(calls)
    print(f"{paths:,} paths x {days:,} days, best of {RUNS}; two threads give the digits of one")
    for k, name in enumerate(("ours, one thread", "ours, two threads", "numpy")):
        rate = paths * days / wall[k] / 1e6
        print(f"{name:>18}: {wall[k]:.3f} s wall, {cpu[k]:.3f} s of processor, {rate:.0f} M days/s")
    print(f"ratio {wall[2] / wall[0]:.1f}x on one thread (processor time {cpu[2] / cpu[0]:.1f}x), "
          f"{wall[2] / wall[1]:.1f}x on two (bar {BAR:g}x)")  # fmt: skip


if __name__ == "__main__":
    main()
