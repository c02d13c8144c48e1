"""Panels taken apart and put together symbol by symbol: histories that list late, pause, flip over or stand still."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from kit.bars import CALENDAR, F11

from kobe.core.panel import Panel

START = date(2015, 1, 2)
PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume", "raw_factor")
# defects of the data set that look like trades: unbooked splits, spin-offs, flat and zero-volume bars, late listings
AWKWARD = ("SPY", "PENN", "WY", "EBAY", "GOOGL", "GNRC", "CHTR", "OXY", "VTRS", "CARR", "MSI", "TMUS", "NI", "DISCK")


def with_rows(panel: Panel, keep: npt.NDArray[np.bool_]) -> Panel:
    """Keep some rows of a panel, and the symbols that have any; bool[rows]."""
    counts = np.diff(np.concatenate(([0], np.cumsum(keep)))[panel.offsets])
    present = counts > 0
    names = ("session", *COLUMNS, "tradable")
    columns: dict[str, Any] = {name: getattr(panel, name)[keep] for name in names}
    columns["final_loss"] = np.where(counts == np.diff(panel.offsets), panel.final_loss, np.nan)[present]
    columns["dividend"] = panel.dividend[keep] if panel.pays else np.empty(0)
    offsets = np.concatenate(([0], np.cumsum(counts[present]))).astype(np.int64)
    symbols = tuple(s for s, here in zip(panel.symbols, present, strict=True) if here)
    return replace(panel, symbols=symbols, offsets=offsets, **columns)


@dataclass(frozen=True)
class History:
    """The bars of one symbol as float64 columns, with the session number of each bar."""

    session: npt.NDArray[np.int32]
    open: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    close: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]
    raw_factor: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: Any) -> "History":
        """Keep some bars, chosen by slice, mask or positions."""
        return History(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def scaled(self, factor: float) -> "History":
        """Multiply the prices, keeping the tape's price and dollar volume as they were."""
        prices = {name: getattr(self, name) * factor for name in PRICES}
        return replace(self, **prices, volume=self.volume / factor, raw_factor=self.raw_factor / factor)

    def mirrored(self, around: float) -> "History":
        """Turn the prices upside down, keeping the tape's closing price and dollar volume as they were."""
        close = 2 * around - self.close
        return replace(
            self,
            open=2 * around - self.open,
            high=2 * around - self.low,
            low=2 * around - self.high,
            close=close,
            volume=self.volume * self.close / close,
            raw_factor=self.raw_factor * self.close / close,
        )


def history(
    *,
    open: Sequence[float],  # noqa: A002 - the field's word
    high: Sequence[float],
    low: Sequence[float],
    close: Sequence[float],
    volume: float | Sequence[float] = 1e6,
    raw_factor: float | Sequence[float] = 1.0,
    first: date = START,
) -> History:
    """Build bars on consecutive sessions from a first one."""
    n = len(close)
    number = CALENDAR.number(first)
    columns = {"open": open, "high": high, "low": low, "close": close, "volume": volume, "raw_factor": raw_factor}
    arrays = {k: np.broadcast_to(np.asarray(v, np.float64), n).copy() for k, v in columns.items()}
    return History(session=np.arange(number, number + n, dtype=np.int32), **arrays)


def panel(symbols: Mapping[str, History], **meta: Any) -> Panel:
    """Build a panel of some symbols, in ascending order; no symbols give an empty panel."""
    names = sorted(symbols)
    parts = [symbols[name] for name in names]
    joined = {c: np.concatenate([np.empty(0), *(getattr(p, c) for p in parts)]) for c in ("session", *COLUMNS)}
    joined["session"] = joined["session"].astype(np.int32)
    offsets = np.concatenate(([0], np.cumsum([len(p) for p in parts]))).astype(np.int64)
    return Panel(symbols=tuple(names), offsets=offsets, calendar=CALENDAR, **joined, **meta)


def histories(of: Panel) -> dict[str, History]:
    """Take a panel apart into writable copies of its symbols."""
    found = {}
    for k, name in enumerate(of.symbols):
        rows = slice(int(of.offsets[k]), int(of.offsets[k + 1]))
        found[name] = History(**{c: getattr(of, c)[rows].copy() for c in ("session", *COLUMNS)})
    return found


def read(path: Path, symbols: Sequence[str]) -> dict[str, History]:
    """Read real bars as they stand in the file, defects included, with no code of kobe's data room."""
    frame = pl.scan_parquet(path).filter(pl.col("symbol").is_in(list(symbols))).collect()
    found = {}
    for (name,), bars in frame.sort("date").group_by("symbol"):
        days = bars["date"].cast(pl.Date).to_numpy().astype(np.int64)
        columns = {c: bars[c].cast(pl.Float64).to_numpy().copy() for c in (*PRICES, "volume")}
        session = np.searchsorted(CALENDAR.days, days).astype(np.int32)
        found[str(name)] = History(session=session, raw_factor=np.ones(len(bars)), **columns)
    return found


def f11() -> History:
    """Return fixture F11 (DOMAIN 0)."""
    return history(**F11)


def of_closes(closes: Sequence[float], *, spread: float = 1.0, **more: Any) -> History:
    """Build bars around closes: open at the close, high and low a spread away from it."""
    c = np.asarray(closes, np.float64)
    return history(open=c, high=c + spread, low=c - spread, close=c, **more)


def flat(price: float, n: int, **more: Any) -> History:
    """Build bars that never move: open, high, low and close are one price."""
    return of_closes([price] * n, spread=0.0, **more)


def random_walk(
    rng: np.random.Generator, n: int, *, price: float = 50.0, volatility: float = 0.02, ticks: bool = True
) -> History:
    """Build driftless bars from intraday paths of 26 steps and an overnight gap of a quarter of the variance.

    With `ticks` prices are whole cents, so that equal lows and unchanged closes occur as they do on the tape.
    """
    gaps = rng.normal(0.0, volatility * 0.5, n)
    steps = rng.normal(0.0, volatility * np.sqrt(0.75 / 26), (n, 26))
    inside = np.concatenate((np.zeros((n, 1)), np.cumsum(steps, axis=1)), axis=1)
    before = np.concatenate(([0.0], np.cumsum(gaps + inside[:, -1])[:-1]))
    path = price * np.exp((before + gaps)[:, None] + inside)
    if ticks:
        path = np.maximum(np.round(path, 2), 0.01)
    volume = np.round(np.exp(rng.normal(14.0, 0.4, n)))
    return history(open=path[:, 0], high=path.max(axis=1), low=path.min(axis=1), close=path[:, -1], volume=volume)


def random_panel(seed: int, *, symbols: int, bars: int) -> Panel:
    """Build random walks that begin and end on different sessions, and SPY over all of them."""
    rng = np.random.default_rng(seed)
    made = {"SPY": random_walk(rng, bars, price=200.0, volatility=0.01)}
    for k in range(symbols):
        late = int(rng.integers(0, max(1, bars // 3))) if k % 3 else 0
        early = int(rng.integers(0, max(1, bars // 4))) if k % 4 == 3 else 0
        walk = random_walk(rng, bars, price=float(rng.uniform(6, 300)), volatility=float(rng.uniform(0.008, 0.04)))
        made[f"S{k:03d}"] = walk.take(slice(late, bars - early))
    return panel(made)
