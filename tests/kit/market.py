"""Small markets and stores for data tests: clean bars of a few symbols, and ways to spoil them."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from kobe.core.calendar import Calendar
from kobe.data import actions
from kobe.data.ingest import Ingested, Shipment, ingest
from kobe.data.manifest import Provenance
from kobe.data.quality import Scope
from kobe.data.store import BarStore
from kobe.infra.blobs import Blobs, FolderBlobs
from kobe.infra.records.artifacts import FileArtifacts

LAST = date(2020, 12, 31)


def market(
    calendar: Calendar, symbols=("AAA", "BBB", "CCC"), first=date(2019, 1, 2), sessions=400, seed=7
) -> pl.DataFrame:
    """Calm random walks: no day moves by more than a few percent."""
    rng = np.random.default_rng(seed)
    days = calendar.between(first, LAST)[:sessions]
    parts = []
    for symbol in symbols:
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.008, sessions)))
        opened = close * np.exp(rng.normal(0, 0.004, sessions))
        high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
        columns = {"open": opened, "high": high, "low": low, "close": close}
        volume = rng.integers(900_000, 1_100_000, sessions).astype(float)
        parts.append(pl.DataFrame({"date": days, "symbol": symbol, **columns, "volume": volume, "raw_factor": 1.0}))
    return pl.concat(parts)


def changed(bars: pl.DataFrame, symbol: str, rows: range | int, **values: pl.Expr | float | None) -> pl.DataFrame:
    """Change some rows of one symbol, counted from its first."""
    wanted = [rows] if isinstance(rows, int) else list(rows)
    place = pl.int_range(pl.len()).over("symbol")
    hit = (pl.col("symbol") == symbol) & place.is_in(wanted)
    exprs = {c: v if isinstance(v, pl.Expr) else pl.lit(v) for c, v in values.items()}
    return bars.with_columns([pl.when(hit).then(v).otherwise(pl.col(c)).alias(c) for c, v in exprs.items()])


def scaled(bars: pl.DataFrame, symbol: str, rows: range, factor: float) -> pl.DataFrame:
    """Multiply the prices of some rows."""
    return changed(bars, symbol, rows, **{c: pl.col(c) * factor for c in ("open", "high", "low", "close")})


def events(*rows: tuple[str, date, str, float | None, str]) -> pl.DataFrame:
    """Return corporate actions: (symbol, date, kind, value, detail)."""
    full = [(*row, "test") for row in rows]
    return pl.DataFrame(full, schema=actions.SCHEMA, orient="row")


def store_in(folder: Path, calendar: Calendar, blobs: Blobs | None = None) -> BarStore:
    """Return an empty store."""
    return BarStore(blobs or FolderBlobs(folder / "data" / "bars"), folder / "data" / "bars" / "cache", calendar)


def put(
    store: BarStore, bars: pl.DataFrame, told: pl.DataFrame | None = None, *, source="test", adjustment="split",
    feed="consolidated", replace=False, at="2021-01-04T22:00:00+00:00", rebased=frozenset(),
) -> Ingested:  # fmt: skip
    """Ingest a shipment."""
    shipment = Shipment(
        bars=bars, events=actions.none() if told is None else told, fetched_at=at, rebased=rebased,
        provenance=Provenance(source=source, adjustment=adjustment, feed=feed),
    )  # fmt: skip
    scope = Scope(calendar=store.calendar, last=LAST, adjustment=adjustment)
    return ingest(shipment, store, FileArtifacts(), store.cache.parent.parent / "aside", scope, replace=replace)
