"""From stored bars to the panel: symbol-major arrays, adjusted by the events, masked by holds."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.frames import pl
from kobe.core.panel import BAR_COLUMNS, PRICE_COLUMNS, Panel
from kobe.data import actions, holds
from kobe.data.manifest import Provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (*BAR_COLUMNS, "raw_factor")


def panel_from(
    bars: "pl.DataFrame",
    calendar: Calendar,
    provenance: Provenance,
    events: "pl.DataFrame | None" = None,
    held: "pl.DataFrame | None" = None,
) -> Panel:
    """Build a panel from clean bars sorted by symbol and date, without a store."""
    return assemble([bars], calendar, provenance, events, held)


def assemble(
    parts: "Sequence[pl.DataFrame]",
    calendar: Calendar,
    provenance: Provenance,
    events: "pl.DataFrame | None" = None,
    held: "pl.DataFrame | None" = None,
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


def _layout(parts: "Sequence[pl.DataFrame]") -> tuple[tuple[str, ...], npt.NDArray[np.int64], list[npt.NDArray[Any]]]:
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


def _changes(part: "pl.DataFrame") -> npt.NDArray[np.bool_]:
    """Say at which rows another symbol begins; comparing neighbours is cheaper than looking every name up."""
    changed = part.select(pl.col("symbol").ne_missing(pl.col("symbol").shift(1))).to_series().to_numpy()
    return np.asarray(changed, dtype=np.bool_)


def _scattered(
    parts: "Sequence[pl.DataFrame]", places: list[npt.NDArray[Any]], name: str, kind: type = np.float64
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
