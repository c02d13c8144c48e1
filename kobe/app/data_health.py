"""`kobe data check|verify|repair|quarantine`: is the store sound, what is odd in it, and who is on hold."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from kobe.app.context import Context
from kobe.app.import_bars import scope
from kobe.core.errors import ExitCode, UsageError
from kobe.data import holds, ingest, inspection
from kobe.data import verify as proof
from kobe.data.quality import RULES, Action
from kobe.infra.locks import Lease
from kobe.reports import quality as report
from kobe.reports.document import Document, Section, Table
from kobe.reports.render import html

PICTURES_PER_RULE, BARS_AROUND = 6, 12


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """What to look at and whether the holds follow."""

    symbols: tuple[str, ...] = ()
    dry_run: bool = False


def lease(ctx: Context) -> Lease:
    """Return the right to write the store."""
    return Lease(ctx.paths.locks, "bars", ctx.clock).acquire(timeout_s=30.0)


def run_check(ctx: Context, request: CheckRequest) -> Document:
    """Apply every rule to the store, bring the holds up to date, and write the report as HTML and JSON."""
    rules = scope(ctx, ctx.store.manifest().provenance.adjustment)
    if request.dry_run or request.symbols:
        bars = ctx.store.frame()
        found, held = ingest.rechecked(ctx.store, rules, bars)
    else:
        with lease(ctx):
            bars = ctx.store.frame()
            found, held = ingest.rechecked(ctx.store, rules, bars)
            ctx.store.amend(held=held)
            ctx.audit.append("data_check", {"findings": len(found), "holds": len(held)})
    if request.symbols:
        found = found.filter(pl.col("symbol").is_in(list(request.symbols)))
    newest = ctx.store.manifest().last
    standing = holds.standing(held, newest)
    document = report.build(
        inspection.tally(found), _examples(bars, found), [h.symbol for h in standing], newest, found.rows(),
        meanings={code: rule.meaning for code, rule in RULES.items()},
    )  # fmt: skip
    if not request.dry_run:
        path = ctx.paths.reports / "data_check.html"
        ctx.artifacts.write(path, html.render(document).encode())
        ctx.artifacts.write(path.with_suffix(".json"), report.as_json(document).encode())
    return document


def _examples(bars: pl.DataFrame, found: pl.DataFrame) -> list[report.Example]:
    """Return the bars around a few findings of each rule that stops trading, newest first."""
    chosen, by_symbol = [], dict[str, pl.DataFrame]()
    stopping = [code for code, rule in RULES.items() if rule.action is Action.QUARANTINE]
    for code in stopping:
        rows = found.filter((pl.col("code") == code) & (pl.col("symbol") != "")).sort("date", descending=True)
        for symbol, day, _, detail in rows.head(PICTURES_PER_RULE).iter_rows():
            if symbol not in by_symbol:
                by_symbol[symbol] = bars.filter(pl.col("symbol") == symbol)
            mine = by_symbol[symbol]
            at = int(mine.get_column("date").search_sorted(day))
            near = mine.slice(max(at - BARS_AROUND, 0), 2 * BARS_AROUND + 1)
            columns = near.select("date", "open", "high", "low", "close").rows()
            chosen.append(report.Example(code=code, symbol=symbol, date=day, detail=detail, bars=tuple(columns)))
    return chosen


def run_verify(ctx: Context) -> Document:
    """Read every part of the store back and compare it with the manifest."""
    found = proof.verify(ctx.store)
    bad = {name: state for name, state in found.parts.items() if state != "ok"}
    said = "The store is what its manifest says" if found.good else f"{len(bad)} damaged parts; next: kobe data repair"
    rows = tuple(found.parts.items()) + tuple((name, "orphan") for name in found.orphans)
    return Document(
        schema="kobe.data_verify/1",
        title=f"Store at {ctx.store.blobs.place}",
        summary=(f"{said}: {found.rows:,} bars in {len(found.parts)} parts, {len(found.orphans)} orphans.",),
        sections=(Section(title="", table=Table(columns=("part", "state"), rows=rows)),),
        data={"good": found.good, "rows": found.rows, "parts": found.parts, "orphans": list(found.orphans)},
        exit_code=ExitCode.OK if found.good else ExitCode.INTEGRITY,
    )


def run_repair(ctx: Context, *, dry_run: bool) -> Document:
    """Bring a damaged store back to what can be trusted; what was damaged is kept aside."""
    if dry_run:
        return run_verify(ctx)
    with lease(ctx):
        swept = ctx.artifacts.sweep(ctx.paths.home / "data")
        done = proof.repair(ctx.store, lambda name, content: _keep(ctx, name, content))
        ctx.audit.append("data_repair", {"done": list(done.done), "lost_years": list(done.lost_years)})
    lines = (*done.done, *(f"removed {p.name}, left by a killed writer" for p in swept))
    lost = ", ".join(map(str, done.lost_years))
    again = f"Bars of {lost} must come again: kobe data fetch --from {done.lost_years[0]}-01-01" if lost else ""
    return Document(
        schema="kobe.data_repair/1",
        title="Repair of the bar store",
        summary=(again or ("Mended." if lines else "Nothing to mend."),),
        sections=(Section(title="What was done", lines=lines),) if lines else (),
        data={"done": list(lines), "lost_years": list(done.lost_years)},
        exit_code=ExitCode.PARTIAL if lost else ExitCode.OK,
    )


def _keep(ctx: Context, name: str, content: bytes) -> None:
    ctx.artifacts.write(ctx.paths.quarantine / f"damaged-{name}", content)


def run_quarantine_list(ctx: Context, *, everything: bool) -> Document:
    """Show who is on hold as of the newest bar, or every hold there ever was."""
    held = ctx.store.holds()
    newest = ctx.store.manifest().last
    shown = holds.from_frame(held) if everything else holds.standing(held, newest)
    columns = ("symbol", "rule", "since", "until", "seen", "released")
    rows = tuple((h.symbol, h.code, str(h.since), str(h.until or ""), h.detail, h.released) for h in shown)
    names = len({h.symbol for h in shown})
    return Document(
        schema="kobe.quarantine/1",
        title=f"Symbols on hold as of {newest}" if not everything else "Every hold",
        summary=(f"{names:,} symbols, {len(shown):,} holds. No signal and no order rests on their bars meanwhile.",),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"holds": [dict(zip(columns, row, strict=True)) for row in rows], "as_of": str(newest)},
    )


def run_release(ctx: Context, symbol: str, code: str | None, reason: str, *, dry_run: bool) -> Document:
    """Lift the holds of a symbol; the reason stays on record.

    Raises:
        UsageError: no reason, or nothing to lift.
    """
    if not reason.strip():
        raise UsageError("a release needs a reason", expected='--reason "why these bars are right"')
    with lease(ctx):
        held, lifted = holds.release(ctx.store.holds(), symbol, code, reason)
        if lifted == 0:
            raise UsageError("nothing to release", seen=symbol, next_command="kobe data quarantine list")
        if not dry_run:
            ctx.audit.append("quarantine_release", {"symbol": symbol, "code": code, "reason": reason, "holds": lifted})
            ctx.store.amend(held=held)
    return Document(
        schema="kobe.quarantine_change/1",
        title=f"{symbol} {'would be' if dry_run else 'is'} released",
        summary=(f"{lifted} holds lifted: {reason}",),
        data={"symbol": symbol, "code": code, "reason": reason, "holds": lifted, "dry_run": dry_run},
    )


def run_hold(ctx: Context, symbol: str, reason: str, since: date | None, *, dry_run: bool) -> Document:
    """Put a symbol on hold by hand, until it is released.

    Raises:
        UsageError: the store has no such symbol, or no reason was given.
    """
    manifest = ctx.store.manifest()
    if symbol not in manifest.symbols:
        raise UsageError("the store has no such symbol", seen=symbol, next_command="kobe data status")
    if not reason.strip():
        raise UsageError("a hold needs a reason", expected='--reason "what is wrong"')
    day = ctx.calendar.previous_or_same(since or manifest.last)
    hold = inspection.hold_of(symbol, "by_hand", day, reason, ctx.calendar)
    if not dry_run:
        with lease(ctx):
            ctx.audit.append("quarantine_hold", {"symbol": symbol, "since": str(day), "reason": reason})
            ctx.store.amend(held=holds.merge(ctx.store.holds(), holds.to_frame([hold])))
    return Document(
        schema="kobe.quarantine_change/1",
        title=f"{symbol} {'would be' if dry_run else 'is'} on hold since {day}",
        summary=(reason,),
        data={"symbol": symbol, "code": "by_hand", "since": str(day), "reason": reason, "dry_run": dry_run},
    )
