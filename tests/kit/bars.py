"""Small panels made by hand for tests: consecutive sessions, one dictionary per symbol."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from kobe.core.calendar import xnys
from kobe.core.panel import Panel

CALENDAR = xnys()
FIRST = CALENDAR.number(CALENDAR.previous_or_same(date(2015, 1, 2)))

F11 = {
    "open": [100.0, 101.2, 102.5, 103.0, 104.2, 103.6, 101.4, 99.6, 100.4, 101.9, 103.1],
    "high": [101.5, 102.6, 103.6, 104.6, 104.9, 103.9, 101.6, 100.9, 102.3, 103.4, 104.0],
    "low": [99.4, 100.8, 102.0, 102.6, 103.1, 101.0, 99.2, 98.7, 100.1, 101.5, 102.6],
    "close": [101.0, 102.3, 103.2, 104.3, 103.5, 101.2, 99.4, 100.6, 102.0, 103.2, 103.6],
}


def panel_of(
    symbols: Mapping[str, Mapping[str, Sequence[float]]],
    sessions: Mapping[str, Sequence[int]] | None = None,
    volume: float = 1e6,
    raw_factor: float = 1.0,
) -> Panel:
    """Build a panel; `sessions` counts from the first session of 2015 and defaults to 0, 1, 2, ..."""
    names = sorted(symbols)
    lengths = [len(symbols[s]["close"]) for s in names]
    given = sessions or {}
    session = np.concatenate(
        [np.asarray(given.get(s, range(n)), dtype=np.int32) for s, n in zip(names, lengths, strict=True)]
    )
    columns = {
        c: np.concatenate([np.asarray(symbols[s][c], dtype=np.float64) for s in names])
        for c in ("open", "high", "low", "close")
    }
    volumes = [
        np.asarray(symbols[s].get("volume", [volume] * n), dtype=np.float64)
        for s, n in zip(names, lengths, strict=True)
    ]
    return Panel(
        symbols=tuple(names),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        session=session + FIRST,
        volume=np.concatenate(volumes),
        raw_factor=np.full(sum(lengths), raw_factor),
        calendar=CALENDAR,
        source="test",
        **columns,
    )


def random_walk(rng: np.random.Generator, n: int, start: float = 50.0, vol: float = 0.02) -> dict[str, np.ndarray]:
    """One symbol of realistic bars without any edge: gaps, intraday paths, exact bar order."""
    gap, steps = rng.normal(0, vol / 2, n), rng.normal(0, vol / 4, (n, 12))
    path = np.cumsum(np.column_stack([gap, steps]).ravel())
    levels = start * np.exp(path.reshape(n, 13))
    return {
        "open": levels[:, 0],
        "high": levels.max(axis=1),
        "low": levels.min(axis=1),
        "close": levels[:, -1],
        "volume": rng.integers(200_000, 3_000_000, n).astype(np.float64),
    }


def grid_prices(bars: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Round prices to the cent, which makes touches and equal lows frequent."""
    return {k: np.round(v, 2) if k != "volume" else v for k, v in bars.items()}
