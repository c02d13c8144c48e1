"""Bring bars into the store: read, check, compare with what is there, keep, and say what was set aside."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kobe.core.errors import DataError, MissingDataError, UsageError
from kobe.core.ids import short_digest
from kobe.core.ports import Artifacts
from kobe.data import quality
from kobe.data.store import BarStore, Manifest, Provenance

OVERLAP_TOLERANCE = 1e-3  # closes of one bar from two deliveries may differ by rounding, not by an adjustment (D13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What an import did."""

    manifest: Manifest
    read: int
    kept: int
    quarantined: int
    reasons: dict[str, int]
    quarantine_file: Path | None


def ingest(
    bars: pl.DataFrame, provenance: Provenance, store: BarStore, artifacts: Artifacts, *, replace: bool
) -> Ingested:
    """Check bars and merge them into the store, or make them its whole content.

    A symbol whose closes disagree with the store's on a common date is set aside whole: one of the two
    deliveries was adjusted differently, and a merged series would hold a phantom jump.

    Raises:
        UsageError: the store holds bars of another meaning and `replace` was not asked for.
        DataError: no bar passed the rules.
    """
    checked = quality.check(bars, store.calendar)
    good, aside = checked.good, checked.quarantined
    held = None if replace else _held(store, provenance)
    if held is not None:
        good, clashes = _without_clashes(good, held)
        aside = pl.concat([aside, clashes])
        known = held.join(good, on=["symbol", "date"], how="anti")
        kept = len(good)
        good = pl.concat([known, good]).sort("symbol", "date")
    else:
        kept = len(good)
    path = _write_quarantine(aside, store.folder.parent / "quarantine", artifacts)
    if kept == 0:
        raise DataError(
            "no bar passed the checks, the store is unchanged",
            seen=quality.Checked(good=good, quarantined=aside).counts,
            next_command=f"look at {path}" if path else "kobe data import --help",
        )
    manifest = store.replace(good, provenance)
    reasons = quality.Checked(good=good, quarantined=aside).counts
    return Ingested(
        manifest=manifest,
        read=len(bars),
        kept=kept,
        quarantined=len(aside),
        reasons=reasons,
        quarantine_file=path,
    )


def _held(store: BarStore, provenance: Provenance) -> pl.DataFrame | None:
    try:
        present = store.manifest().provenance
    except MissingDataError:
        return None
    if present != provenance:
        raise UsageError(
            "the store holds bars of another kind, and mixing them would make phantom jumps",
            seen=provenance,
            expected=present,
            next_command="kobe data import FILE --replace",
        )
    return store.frame()


def _without_clashes(new: pl.DataFrame, held: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    both = new.join(held.select("symbol", "date", was="close"), on=["symbol", "date"])
    clash = both.filter((pl.col("close") / pl.col("was") - 1.0).abs() > OVERLAP_TOLERANCE)
    names = clash.get_column("symbol").unique().implode()
    aside = new.filter(pl.col("symbol").is_in(names)).with_columns(reasons=pl.lit("overlap_mismatch"))
    return new.filter(~pl.col("symbol").is_in(names)), aside


def _write_quarantine(aside: pl.DataFrame, folder: Path, artifacts: Artifacts) -> Path | None:
    if len(aside) == 0:
        return None
    text = aside.write_csv()
    path = folder / f"quarantine-{short_digest(text)}.csv"
    artifacts.write(path, text.encode())
    return path
