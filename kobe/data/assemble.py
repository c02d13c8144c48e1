"""From stored bars to the panel: symbol-major arrays, adjusted by the events, masked by holds; and its mapped cache."""

import json
import mmap
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.errors import IntegrityError
from kobe.core.panel import BAR_COLUMNS, PRICE_COLUMNS, Panel
from kobe.data import actions, holds
from kobe.data.manifest import Provenance

COLUMNS = (*BAR_COLUMNS, "raw_factor")
CACHED = ("session", *COLUMNS, "tradable")


def panel_from(
    bars: pl.DataFrame,
    calendar: Calendar,
    provenance: Provenance,
    events: pl.DataFrame | None = None,
    held: pl.DataFrame | None = None,
) -> Panel:
    """Build a panel from clean bars sorted by symbol and date, without a store."""
    return assemble([bars], calendar, provenance, events, held)


def assemble(
    parts: Sequence[pl.DataFrame],
    calendar: Calendar,
    provenance: Provenance,
    events: pl.DataFrame | None = None,
    held: pl.DataFrame | None = None,
) -> Panel:
    """Build a panel from consecutive spans of time, each sorted by symbol and date.

    Args:
        parts: clean bars in the store's columns; a later part holds later dates.
        calendar: gives the session numbers.
        provenance: what the bars mean; `raw` ones are split-adjusted here.
        events: corporate actions.
        held: symbols on hold.
    """
    events = actions.none() if events is None else events
    if events.select(pl.col("kind").is_in(["rename", "relisted"]).any()).item():
        parts = [actions.renamed(pl.concat(parts), events).sort("symbol", "date")]
        events = actions.renamed(events, events)
    symbols, offsets, places = _layout(parts)
    columns: dict[str, Any] = {name: _scattered(parts, places, name) for name in COLUMNS}
    days = _scattered(parts, places, "date", np.int32)
    _adjust(columns, actions.split_factors(symbols, offsets, days, events), provenance.adjustment)
    tradable = np.ones(len(days), dtype=np.bool_) if held is None else holds.free_rows(symbols, offsets, days, held)
    paid = actions.dividends(symbols, offsets, days, events) if provenance.adjustment != "total-return" else None
    return Panel(
        symbols=symbols,
        offsets=offsets,
        session=_session_numbers(days, calendar),
        calendar=calendar,
        tradable=tradable,
        final_loss=actions.final_losses(symbols, events),
        dividend=np.empty(0) if paid is None else paid / columns["raw_factor"],
        **columns,
        **asdict(provenance),
    )


def _layout(parts: Sequence[pl.DataFrame]) -> tuple[tuple[str, ...], npt.NDArray[np.int64], list[npt.NDArray[Any]]]:
    """Return symbols, row borders and, per part, the panel row of each of its rows; nothing is sorted."""
    firsts = [np.flatnonzero(_changes(part)) for part in parts]
    runs = [part.get_column("symbol").gather(first).cast(pl.String) for part, first in zip(parts, firsts, strict=True)]
    names = sorted(set(pl.concat(runs).to_list())) if runs else []
    kind = pl.Enum(names)
    codes = [
        np.repeat(run.cast(kind).to_physical().to_numpy(), np.diff(np.append(first, len(part))))
        for part, first, run in zip(parts, firsts, runs, strict=True)
    ]
    counts = [np.bincount(code, minlength=len(names)) for code in codes]
    offsets = np.concatenate(([0], np.cumsum(np.sum(counts, axis=0)))).astype(np.int64)
    cursor, places = offsets[:-1].copy(), []
    for code, count in zip(codes, counts, strict=True):
        starts = np.concatenate(([0], np.cumsum(count)[:-1]))
        places.append((cursor - starts)[code] + np.arange(len(code)))
        cursor += count
    return tuple(names), offsets, places


def _changes(part: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Say at which rows another symbol begins; comparing neighbours is cheaper than looking every name up."""
    changed = part.select(pl.col("symbol").ne_missing(pl.col("symbol").shift(1))).to_series().to_numpy()
    return np.asarray(changed, dtype=np.bool_)


def _scattered(
    parts: Sequence[pl.DataFrame], places: list[npt.NDArray[Any]], name: str, kind: type = np.float64
) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = np.empty(sum(len(place) for place in places), dtype=kind)
    for part, place in zip(parts, places, strict=True):
        column[place] = part.get_column(name).to_physical().to_numpy()
    return column


def _session_numbers(days: npt.NDArray[np.int32], calendar: Calendar) -> npt.NDArray[np.int32]:
    """Look session numbers up by day; a table is five times faster than a search."""
    first = int(calendar.days[0])
    table = np.zeros(int(calendar.days[-1]) - first + 1, dtype=np.int32)
    table[calendar.days - first] = np.arange(len(calendar.days), dtype=np.int32)
    return table[days - first]


def _adjust(columns: dict[str, npt.NDArray[np.float64]], factors: npt.NDArray[np.float64], adjustment: str) -> None:
    """Turn raw prices into split-adjusted ones; give those delivered adjusted their way back to the tape."""
    if adjustment == "raw":
        for name in PRICE_COLUMNS:
            columns[name] = columns[name] / factors
        columns["volume"] = columns["volume"] * factors
        columns["raw_factor"] = factors
    elif adjustment == "split":
        columns["raw_factor"] = np.where(columns["raw_factor"] == 1.0, factors, columns["raw_factor"])


def write_arrow(panel: Panel, file: BinaryIO) -> None:
    """Write a panel as an Arrow file."""
    import pyarrow as pa

    meta = {
        "symbols": list(panel.symbols),
        "offsets": panel.offsets.tolist(),
        "final_loss": [None if np.isnan(x) else float(x) for x in panel.final_loss],
        "pays": panel.pays,
    }
    arrays = {name: getattr(panel, name) for name in _cached(panel.pays)}
    arrays["tradable"] = arrays["tradable"].view(np.uint8)
    batch = pa.record_batch(arrays).replace_schema_metadata({"kobe": json.dumps(meta)})
    with pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def give_back() -> None:
    """Give back to the system what pyarrow keeps of the memory that was freed."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def mapped(path: Path, calendar: Calendar, provenance: Provenance) -> Panel:
    """Map a cached panel into memory; nothing is copied.

    Raises:
        IntegrityError: the file is damaged.
    """
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.py_buffer(pages))
        batch = reader.get_batch(0)
        meta = json.loads(reader.schema.metadata[b"kobe"])
        columns: dict[str, Any] = {name: _view(batch.column(name)) for name in _cached(meta["pays"])}
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise IntegrityError(
            "the panel cache is damaged", seen=path.name, next_command="kobe data repair"
        ) from error  # fmt: skip
    columns["tradable"] = columns["tradable"].view(np.bool_)
    losses = np.array([np.nan if x is None else x for x in meta["final_loss"]], dtype=np.float64)
    return Panel(
        symbols=tuple(meta["symbols"]),
        offsets=np.array(meta["offsets"], dtype=np.int64),
        calendar=calendar,
        final_loss=losses,
        let_go=partial(pages.madvise, mmap.MADV_DONTNEED) if hasattr(mmap, "MADV_DONTNEED") else None,
        **columns,
        **asdict(provenance),
    )


def _cached(pays: bool) -> tuple[str, ...]:
    """Name the columns of the file; dividends are kept only where there are any."""
    return (*CACHED, "dividend") if pays else CACHED


def _view(column: Any) -> npt.NDArray[Any]:
    """View a mapped column as numpy; pyarrow's own way would import pandas first (0.4 s)."""
    kind = {"int32": np.int32, "uint8": np.uint8}.get(str(column.type), np.float64)
    return np.frombuffer(column.buffers()[1], dtype=kind, count=len(column), offset=0)
