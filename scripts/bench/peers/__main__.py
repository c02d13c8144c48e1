"""Run the parts asked for, or all, then print every bar: `python -m scripts.bench.peers [PART ...]`.

Every figure is measured in this run, medians of rounds in which the sides take turns. On a machine that is busy with
something else read the ratios, and the column of processor time.
"""

import argparse
from collections.abc import Callable

from . import environment, market, passes, processes
from .report import Bar, show

PARTS: dict[str, Callable[[], list[Bar]]] = {
    "W1": passes.w1,
    "W2": passes.w2,
    "limit": passes.limit,
    "growth": passes.growth,
    "cold": processes.cold,
    "help": processes.start_up,
    "W3": processes.scan,
    "W4": processes.montecarlo,
    "dask": processes.dask,
}


def main() -> None:
    """Make the peers' environment and the market if need be, run the parts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    given = parser.parse_args()
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: one of {', '.join(PARTS)}")
    environment.make()
    market.write(environment.MARKET)
    print(
        f"peers: {environment.versions()}; {market.SYMBOLS} symbols x {market.SESSIONS:,} sessions, seed {market.SEED}"
    )
    bars: list[Bar] = []
    for name in given.parts or PARTS:
        bars += PARTS[name]()
    show(bars)


if __name__ == "__main__":
    main()
