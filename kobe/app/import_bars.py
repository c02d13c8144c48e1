"""`kobe data import` and `kobe data status`: bars into the store, and what is there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.core.errors import ExitCode, UsageError
from kobe.data import ingest, quality
from kobe.data.providers.files import read_bars
from kobe.data.quality import COLUMNS
from kobe.data.store import Provenance
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

ADJUSTMENTS, UNIVERSES = ("split", "raw", "total-return"), ("static-current", "point-in-time")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to import, how its columns are called, and what its bars mean."""

    file: Path
    mapping: Mapping[str, str]
    provenance: Provenance
    replace: bool = False
    dry_run: bool = False


def provenance(source: str, feed: str, adjustment: str, universe: str) -> Provenance:
    """Say where bars come from and what they mean.

    Raises:
        UsageError: an adjustment or a kind of universe we do not know.
    """
    known = {"--adjustment": (adjustment, ADJUSTMENTS), "--universe": (universe, UNIVERSES)}
    for option, (given, allowed) in known.items():
        if given not in allowed:
            raise UsageError(f"unknown {option}", seen=given, expected=", ".join(allowed))
    return Provenance(source=source, feed=feed, adjustment=adjustment, universe=universe)


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """Read `ours=theirs` pairs.

    Raises:
        UsageError: a pair is malformed or names a column we do not have.
    """
    mapping = {}
    for pair in pairs:
        ours, sign, theirs = pair.partition("=")
        if not sign or not theirs or ours not in COLUMNS:
            raise UsageError("--map wants OURS=THEIRS", seen=pair, expected=f"OURS one of {', '.join(COLUMNS)}")
        mapping[ours] = theirs
    return mapping


def run_import(ctx: Context, request: ImportRequest) -> Document:
    """Check a file and bring its good bars into the store."""
    bars = read_bars(request.file, request.mapping)
    if request.dry_run:
        checked = quality.check(bars, ctx.calendar)
        return _checked_only(request.file.name, bars, checked)
    return keep(ctx, bars, request.provenance, request.file.name, replace=request.replace)


def keep(ctx: Context, bars: pl.DataFrame, provenance: Provenance, name: str, *, replace: bool) -> Document:
    """Ingest bars under the store's lease and say what happened."""
    with Lease(ctx.paths.locks, "bars", ctx.clock).acquire(timeout_s=30.0):
        done = ingest.ingest(bars, provenance, ctx.store, ctx.artifacts, replace=replace)
    m = done.manifest
    ctx.audit.append("data_import", {"file": name, "kept": done.kept, "aside": done.quarantined, "store": m.digest})
    span = f"{m.rows:,} bars of {m.symbols:,} symbols, {m.first} to {m.last}"
    summary = [f"{done.kept:,} of {done.read:,} bars kept; the store holds {span}."]
    if done.quarantined:
        summary.append(f"{done.quarantined:,} bars set aside: {done.quarantine_file}")
    reasons = Table(columns=("reason", "bars"), rows=tuple(done.reasons.items()))
    return Document(
        schema="kobe.data_import/1",
        title=f"Imported {name}",
        summary=tuple(summary),
        sections=(Section(title="Set aside", table=reasons),) if done.reasons else (),
        data={
            "read": done.read, "kept": done.kept, "quarantined": done.quarantined, "reasons": done.reasons,
            "quarantine_file": str(done.quarantine_file) if done.quarantine_file else None,
            "store": {"rows": m.rows, "symbols": m.symbols, "first": str(m.first), "last": str(m.last)},
        },
        exit_code=ExitCode.PARTIAL if done.quarantined else ExitCode.OK,
    )  # fmt: skip


def _checked_only(name: str, bars: pl.DataFrame, checked: quality.Checked) -> Document:
    rows = tuple(checked.counts.items()) if len(checked.quarantined) else ()
    return Document(
        schema="kobe.data_import/1",
        title=f"Checked {name}; nothing was written (--dry-run)",
        summary=(f"{len(checked.good):,} of {len(bars):,} bars would be kept.",),
        sections=(Section(title="Would be set aside", table=Table(columns=("reason", "bars"), rows=rows)),),
        data={
            "read": len(bars),
            "kept": len(checked.good),
            "quarantined": len(checked.quarantined),
            "reasons": dict(rows),
        },
    )


def run_data_status(ctx: Context) -> Document:
    """Say what the store holds and how old it is."""
    m = ctx.store.manifest()
    newest = ctx.calendar.last_complete(ctx.clock.now())
    behind = len(ctx.calendar.between(m.last, newest)) - 1
    facts = {
        "rows": m.rows, "symbols": m.symbols, "first": str(m.first), "last": str(m.last),
        "sessions_behind": max(behind, 0), "digest": m.digest, **asdict(m.provenance),
    }  # fmt: skip
    return Document(
        schema="kobe.data_status/1",
        title=f"Bar store at {ctx.paths.bars}",
        summary=(f"{m.rows:,} bars of {m.symbols:,} symbols, {m.first} to {m.last}.",),
        sections=(Section(title="", table=Table(columns=("what", "value"), rows=tuple(facts.items()))),),
        data=facts,
    )
