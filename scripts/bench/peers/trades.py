"""Trades as rows that sides can compare, and the comparison without which no ratio is printed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

KEYS = ("group", "symbol", "entry", "exit")
PRICES = ("entry_price", "exit_price")
TOLERANCE = 1e-9  # relative; an ATR that was summed in another order moves a stop in the last digits

Columns = dict[str, npt.NDArray[np.float64]]


def write(path: str, **columns: npt.ArrayLike) -> None:
    """Keep closed trades: group (of a window and a combination), symbol, session of entry and exit, both prices."""
    np.save(path, np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in (*KEYS, *PRICES)]))


def _read(path: Path, symbols: int | None) -> Columns:
    columns: Columns = dict(zip((*KEYS, *PRICES), np.load(path).T, strict=True))
    if symbols is not None:
        mine = columns["symbol"] < symbols
        columns = {name: values[mine] for name, values in columns.items()}
    order = np.lexsort([columns[name] for name in reversed(KEYS)])
    return {name: values[order] for name, values in columns.items()}


def compare(ours: Path, theirs: Path, label: str, symbols: int | None = None) -> int:
    """Return how many trades both sides found (in the first symbols); all agree in symbol, sessions and prices.

    Raises:
        SystemExit: they differ, so that no figure is worth printing.
    """
    a, b = _read(ours, symbols), _read(theirs, symbols)
    rows = [{tuple(row) for row in np.column_stack([side[k] for k in KEYS]).tolist()} for side in (a, b)]
    if rows[0] != rows[1] or len(a["entry"]) != len(b["entry"]) or not len(a["entry"]):
        only = [sorted(rows[0] - rows[1])[:3], sorted(rows[1] - rows[0])[:3]]
        raise SystemExit(f"{label}: {len(a['entry'])} trades here, {len(b['entry'])} there; only on one side: {only}")
    for name in PRICES:
        worst = float(np.max(np.abs(a[name] / b[name] - 1.0)))
        if worst > TOLERANCE:
            raise SystemExit(f"{label}: {name} differs by up to {worst:.2e}")
    return len(a["entry"])
