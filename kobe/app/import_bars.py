"""`kobe data import` and `kobe data status`: bars into the store, and what is there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.core.errors import ExitCode, UsageError
from kobe.data import actions, ingest, inspection
from kobe.data.manifest import Provenance
from kobe.data.providers.files import read_bars
from kobe.data.quality import COLUMNS, Scope
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


def scope(ctx: Context, adjustment: str) -> Scope:
    """Return what the rules may know now."""
    return Scope(calendar=ctx.calendar, last=ctx.calendar.last_complete(ctx.clock.now()), adjustment=adjustment)


def run_import(ctx: Context, request: ImportRequest) -> Document:
    """Check a file or folder and bring its good bars into the store."""
    bars = read_bars(request.file, request.mapping)
    if request.dry_run:
        rules = scope(ctx, request.provenance.adjustment)
        screened = inspection.screen(bars, rules)
        found = inspection.findings(screened.good, ctx.store.actions(), rules)
        return _checked_only(request.file.name, len(bars), screened, found)
    imported = keep(ctx, bars, request.provenance, request.file.name, replace=request.replace)
    ctx.store.leave_mapped(len(bars))
    return imported


def keep(
    ctx: Context, bars: pl.DataFrame, provenance: Provenance, name: str, *, replace: bool,
    events: pl.DataFrame | None = None,
) -> Document:  # fmt: skip
    """Ingest bars under the store's lease and say what happened."""
    shipment = ingest.Shipment(
        bars=bars, events=actions.none() if events is None else events, provenance=provenance,
        fetched_at=ctx.clock.now().isoformat(timespec="seconds"),
    )  # fmt: skip
    rules = scope(ctx, provenance.adjustment)
    with Lease(ctx.paths.locks, "bars", ctx.clock).acquire(timeout_s=30.0):
        done = ingest.ingest(shipment, ctx.store, ctx.artifacts, ctx.paths.quarantine, rules, replace=replace)
        audited = {"file": name, "kept": done.kept, "aside": done.aside, "holds": len(done.new_holds)}
        ctx.audit.append("data_import", {**audited, "store": done.manifest.digest})
    return _imported(name, done)


def _imported(name: str, done: ingest.Ingested) -> Document:
    m = done.manifest
    span = f"{m.rows:,} bars of {len(m.symbols):,} symbols, {m.first} to {m.last}"
    summary = [f"{done.kept:,} of {done.read:,} bars kept; the store holds {span}."]
    if done.aside:
        summary.append(f"{done.aside:,} bars set aside: {done.aside_file}")
    if done.new_holds:
        names = len({h.symbol for h in done.new_holds})
        summary.append(f"{names:,} symbols put on hold (kobe data quarantine list); they cannot be traded meanwhile.")
    if done.unproved:
        summary.append(f"{done.unproved:,} symbols share no day with what was held: no close could be compared.")
    reasons = Table(columns=("reason", "bars"), rows=tuple(done.reasons.items()))
    held = [(h.symbol, h.code, str(h.since), str(h.until or "released"), h.detail) for h in done.new_holds]
    sections = [Section(title="Set aside", table=reasons)] if done.reasons else []
    if held:
        table = Table(columns=("symbol", "rule", "since", "until", "seen"), rows=tuple(held[:20]))
        more = (f"and {len(held) - 20} more",) if len(held) > 20 else ()
        sections.append(Section(title="On hold", table=table, lines=more))
    return Document(
        schema="kobe.data_import/2",
        title=f"Imported {name}",
        summary=tuple(summary),
        sections=tuple(sections),
        data={
            "read": done.read, "kept": done.kept, "quarantined": done.aside, "reasons": done.reasons,
            "quarantine_file": str(done.aside_file) if done.aside_file else None,
            "holds": [dict(zip(("symbol", "code", "since", "until", "detail"), h, strict=True)) for h in held],
            "unproved": done.unproved,
            "store": {"rows": m.rows, "symbols": len(m.symbols), "first": str(m.first), "last": str(m.last)},
        },
        exit_code=ExitCode.PARTIAL if done.aside or held else ExitCode.OK,
    )  # fmt: skip


def _checked_only(name: str, read: int, screened: inspection.Screened, found: pl.DataFrame) -> Document:
    reasons = inspection.counts(screened.aside)
    rules = tuple(inspection.tally(found))
    return Document(
        schema="kobe.data_import/2",
        title=f"Checked {name}; nothing was written (--dry-run)",
        summary=(f"{len(screened.good):,} of {read:,} bars would be kept.",),
        sections=(
            Section(title="Would be set aside", table=Table(columns=("reason", "bars"), rows=tuple(reasons.items()))),
            Section(
                title="Found in the rest",
                table=Table(columns=("rule", "severity", "action", "findings", "symbols"), rows=rules),
            ),
        ),
        data={
            "read": read, "kept": len(screened.good), "quarantined": len(screened.aside), "reasons": reasons,
            "findings": {code: {"findings": n, "symbols": k} for code, _, _, n, k in rules},
        },
    )  # fmt: skip


def run_data_status(ctx: Context) -> Document:
    """Say what the store holds and how old it is."""
    m = ctx.store.manifest()
    newest = ctx.calendar.last_complete(ctx.clock.now())
    behind = len(ctx.calendar.between(m.last, newest)) - 1
    facts = {
        "rows": m.rows, "symbols": len(m.symbols), "first": str(m.first), "last": str(m.last),
        "sessions_behind": max(behind, 0), "digest": m.digest, **asdict(m.provenance),
    }  # fmt: skip
    return Document(
        schema="kobe.data_status/1",
        title=f"Bar store at {ctx.paths.bars}",
        summary=(f"{m.rows:,} bars of {len(m.symbols):,} symbols, {m.first} to {m.last}.",),
        sections=(Section(title="", table=Table(columns=("what", "value"), rows=tuple(facts.items()))),),
        data=facts,
    )
