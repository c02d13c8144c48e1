"""The evening scan as it is written without thinking: one symbol after another, one bar after another, in pandas.

    python scripts/bench/naive_scan.py BARS.parquet

Prints the symbols of the last session that fire, by strategy, as JSON. The same rules as kobe's defaults, the same
Wilder recursions; no model and no ranking, so it does less.
"""

import json
import sys
from collections import deque

import pandas as pd


def fires(bars: pd.DataFrame) -> list[str]:
    """Return the strategies whose long setup stands at the last bar of one symbol."""
    closes: deque[float] = deque(maxlen=200)
    lows: deque[float] = deque(maxlen=20)
    dollars: deque[float] = deque(maxlen=20)
    found: list[str] = []
    previous: float | None = None
    atr: float | None = None
    atr_before, up, down = 0.0, 0.0, 0.0
    ranges: list[float] = []
    moves: list[float] = []
    for n, row in enumerate(bars.itertuples(index=False)):
        found = []
        if previous is not None:
            true_range = max(row.high - row.low, abs(row.high - previous), abs(row.low - previous))
            move = row.close - previous
            atr_before = atr or 0.0
            if atr is None:
                ranges.append(true_range)
                atr = sum(ranges) / 14 if len(ranges) == 14 else None
            else:
                atr = (atr * 13 + true_range) / 14
            if len(moves) < 2:
                moves.append(move)
                if len(moves) == 2:
                    up, down = (sum(max(s * m, 0.0) for m in moves) / 2 for s in (1, -1))
            else:
                up, down = (up + max(move, 0.0)) / 2, (down + max(-move, 0.0)) / 2
        previous = row.close
        closes.append(row.close)
        dollars.append(row.close * row.volume)
        prior = min(lows) if len(lows) == 20 else None
        age = None if prior is None else 20 - max(k for k, low in enumerate(lows) if low == prior)
        lows.append(row.low)
        usable = n >= 250 and atr and row.close >= 5 and sum(dollars) / len(dollars) >= 5e6
        if usable and row.close > sum(closes) / 200:
            rsi = 100 * up / (up + down) if up + down > 0 else None
            ibs = (row.close - row.low) / (row.high - row.low) if row.high > row.low else None
            if ibs is not None and rsi is not None and ibs <= 0.2 + 1e-9 and rsi <= 10 + 1e-9:
                found.append("ibs_rsi")
            if prior is not None and prior > row.low and row.close > prior and age is not None and age >= 4:
                depth = (prior - row.low) / atr_before
                if 0.1 - 1e-9 <= depth <= 2 + 1e-9:
                    found.append("turtle_soup")
    return found


def main() -> None:
    """Scan every symbol and print what fires."""
    bars = pd.read_parquet(sys.argv[1]).sort_values(["symbol", "date"])
    last = bars["date"].max()
    told: dict[str, list[str]] = {"ibs_rsi": [], "turtle_soup": []}
    for symbol, mine in bars.groupby("symbol"):
        if mine["date"].iloc[-1] == last:
            for name in fires(mine):
                told[name].append(str(symbol))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
