"""How much history an indicator needs until it says what all of history says (DOMAIN 1.4)."""

from dataclasses import dataclass

import numpy as np

from kobe.core.panel import BAR_COLUMNS, Floats, Ints, Panel
from kobe.features.table import INDICATORS

PERIODS = (2, 14, 20)
MULTIPLES = (1, 2, 5, 10, 20)
TOLERANCE = 1e-4
SAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one indicator with one period needs.

    Attributes:
        indicator, period: which.
        worst: largest relative difference from the full-history value when the history starts so many periods
            before the bar, one per multiple; infinite where one of the two is undefined.
        bars: least history from which on the difference stays below the tolerance, None: more than was tried.
    """

    indicator: str
    period: int
    worst: tuple[float, ...]
    bars: int | None


def measure(panel: Panel, seed: int) -> list[Need]:
    """Measure every indicator on sampled bars of a panel.

    Args:
        panel: bars; symbols with too short a history are not sampled.
        seed: of the sample.
    """
    found = []
    for n in PERIODS:
        rows = _sampled(panel, max(MULTIPLES) * n, np.random.default_rng([seed, n]))
        if not len(rows):
            continue
        pieces = [_pieces(panel, rows, multiple * n) for multiple in MULTIPLES]
        for name, indicator in INDICATORS.items():
            full = indicator.values(panel, n)[rows]
            worst = tuple(_worst(indicator.values(piece, n)[piece.offsets[1:] - 1], full) for piece in pieces)
            found.append(Need(indicator=name, period=n, worst=worst, bars=_needed(worst, n)))
    return sorted(found, key=lambda need: (list(INDICATORS).index(need.indicator), need.period))


def _sampled(panel: Panel, history: int, rng: np.random.Generator) -> Ints:
    """Choose bars with twice as much history before them as is tried."""
    age = np.arange(len(panel)) - panel.offsets[panel.symbol_of_row]
    rows = np.flatnonzero(age >= 2 * history)
    return np.sort(rng.choice(rows, min(SAMPLES, len(rows)), replace=False)) if len(rows) else rows


def _pieces(panel: Panel, rows: Ints, history: int) -> Panel:
    """Return a panel with one symbol per sampled bar, holding that bar and so many before it."""
    size = history + 1
    taken = (rows[:, None] - np.arange(history, -1, -1)[None, :]).ravel()
    columns = {name: getattr(panel, name)[taken] for name in (*BAR_COLUMNS, "raw_factor")}
    return Panel(
        symbols=tuple(f"{k:06d}" for k in range(len(rows))),
        offsets=np.arange(len(rows) + 1, dtype=np.int64) * size,
        session=panel.session[taken],
        calendar=panel.calendar,
        **columns,
    )


def _worst(some: Floats, full: Floats) -> float:
    """Return the largest relative difference; NaN in both is none."""
    known = ~(np.isnan(some) & np.isnan(full))
    a, b = some[known], full[known]
    if not len(a):
        return 0.0
    gap = np.abs(a - b) / np.maximum(np.abs(b), 1e-12)
    return float(np.nan_to_num(gap, nan=np.inf).max())


def _needed(worst: tuple[float, ...], n: int) -> int | None:
    """Return the bars of the smallest multiple from which on every difference is small."""
    good = [w < TOLERANCE for w in worst]
    return next((m * n for k, m in enumerate(MULTIPLES) if all(good[k:])), None)
