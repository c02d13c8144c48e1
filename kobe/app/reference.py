"""What imports of the small tables share (VIX, earnings, headlines), and `kobe data vix`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.core.errors import ExitCode
from kobe.data import vix
from kobe.data.providers.files import read_table
from kobe.data.reference import Prepared, Written
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class TableImport:
    """A file for one of the tables.

    Attributes:
        table: key in `data.reference.TABLES`.
        file: CSV or Parquet.
        source: who told it.
        prepare: turns the file's frame, read at an instant, into rows of the table.
        meanings: rule -> what it means, for people.
    """

    table: str
    file: Path
    source: str
    prepare: Callable[[pl.DataFrame, datetime], Prepared]
    meanings: dict[str, str]
    dry_run: bool = False


def run_table_import(ctx: Context, request: TableImport) -> Document:
    """Bring a file into its table; rows that cannot be trusted are set aside with reasons, nothing is overwritten."""
    now = ctx.clock.now()
    prepared = request.prepare(read_table(request.file), now)
    if request.dry_run:
        return _imported(request, prepared, None)
    with Lease(ctx.paths.locks, "reference", ctx.clock).acquire(timeout_s=30.0):
        written = ctx.reference.write(request.table, prepared.rows, request.source, now)
        ctx.audit.append(
            "reference_import", {"table": request.table, "file": request.file.name, "added": written.added,
                                 "revised": written.revised, "rejected": len(prepared.rejected)},
        )  # fmt: skip
    return _imported(request, prepared, written)


def _imported(request: TableImport, prepared: Prepared, written: Written | None) -> Document:
    aside = prepared.reasons | (written.reasons if written else {})
    told = f"{len(prepared.rows):,} rows would be kept" if written is None else (
        f"{written.added:,} new, {written.revised:,} revised, {written.unchanged:,} known already"
    )  # fmt: skip
    rows = [(reason, n, request.meanings.get(reason, "")) for reason, n in aside.items()]
    notes = [(note, n, request.meanings.get(note, "")) for note, n in prepared.notes.items()]
    parts = (("Set aside", rows), ("Kept, but know", notes))
    return Document(
        schema="kobe.reference_import/1",
        title=f"{'Would import' if written is None else 'Imported'} {request.table} from {request.file.name}",
        summary=(f"{told}; {sum(aside.values()):,} set aside.",),
        sections=tuple(
            Section(title=title, table=Table(columns=("rule", "rows", "meaning"), rows=tuple(lines)))
            for title, lines in parts if lines
        ),
        data={
            "table": request.table, "kept": len(prepared.rows), "aside": aside, "notes": dict(prepared.notes),
            **({"added": written.added, "revised": written.revised, "unchanged": written.unchanged} if written else {}),
        },
        exit_code=ExitCode.PARTIAL if aside else ExitCode.OK,
    )  # fmt: skip


def vix_import(ctx: Context, file: Path, source: str, *, dry_run: bool) -> TableImport:
    """Return the import of a file of daily VIX bars."""
    return TableImport(
        table="vix", file=file, source=source, dry_run=dry_run, meanings=vix.RULES | vix.NOTES,
        prepare=lambda frame, _: vix.normalise(frame, ctx.calendar),
    )  # fmt: skip


def run_vix_show(ctx: Context, instant: datetime | None) -> Document:
    """Say which VIX level was known at an instant (default: now), and the levels before it."""
    at = instant or ctx.clock.now()
    rows = ctx.reference.read("vix")
    level = vix.level_at(rows, at)
    known = ctx.reference.as_of("vix", at).sort("date").tail(SHOWN)
    lines = known.select(pl.col("date").dt.to_string(), "open", "high", "low", "close", "source").rows()
    return Document(
        schema="kobe.vix/1",
        title=f"VIX known at {at:%Y-%m-%d %H:%M} UTC",
        summary=(f"{level.close:.2f}, of {level.session}, known since {level.known_at:%Y-%m-%d %H:%M} UTC.",),
        sections=(Section(title="Newest levels", table=Table(
            columns=("session", "open", "high", "low", "close", "source"), rows=tuple(lines))),),
        data={"session": str(level.session), "close": level.close, "known_at": level.known_at.isoformat(),
              "levels": [{"session": r[0], "close": r[4]} for r in lines]},
    )  # fmt: skip
