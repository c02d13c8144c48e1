"""Side-by-side timings of the spine, in one run on one machine: `python scripts/bench/spine.py [BARS.parquet]`.

Ratios and rates only; a machine that is busy with something else makes every figure worse. Medians of several runs.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def median_s(run: Callable[[], object], times: int) -> float:
    """Median wall time of a call in seconds, one warm-up run first."""
    run()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def process(*arguments: str) -> Callable[[], object]:
    """Return a call that runs Python with these arguments as a whole process."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def start_up() -> None:
    """`kobe --help` against importing the two libraries it needs."""
    ours, theirs = median_s(process("-m", "kobe", "--help"), 9), median_s(process("-c", "import typer, rich"), 9)
    print(f"kobe --help {ours:.3f} s, import typer and rich {theirs:.3f} s: ratio {ours / theirs:.2f} (bar 1.6)")


def kernel(bars: Path | None) -> None:
    """One pass of IBS+RSI with stop, time exit and costs over the panel: the kernel warm, and with its indicators."""
    from kobe.backtest import engine
    from kobe.backtest.costs import flat_costs
    from kobe.core.calendar import xnys
    from kobe.data.assemble import panel_from
    from kobe.data.manifest import Provenance
    from kobe.data.providers.files import read_bars
    from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
    from kobe.features.table import FeatureTable
    from kobe.strategies import STRATEGIES

    calendar = xnys()
    frame = synthetic_market(SyntheticSpec(symbols=300), calendar) if bars is None else read_bars(bars, {})
    panel = panel_from(frame.sort("symbol", "date"), calendar, Provenance(source="bench"))
    strategy, terms = STRATEGIES["ibs_rsi"], engine.Assumptions(costs=flat_costs(5.0))

    def whole() -> object:
        features = FeatureTable(panel)
        return engine.evaluate(panel, features, strategy.signals(panel, features, strategy.defaults), terms)

    features = FeatureTable(panel)
    table = strategy.signals(panel, features, strategy.defaults)
    walk, everything = median_s(lambda: engine.walk(panel, table), 15), median_s(whole, 5)
    print(f"{len(panel):,} bars, {len(table):,} signals: walk {walk * 1e3:.1f} ms, ", end="")
    print(
        f"indicators, signals, walk and costs {everything * 1e3:.0f} ms = {len(panel) / everything / 1e6:.1f} M bars/s"
    )


def main() -> None:
    """Print every figure."""
    start_up()
    kernel(Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
