"""`kobe data actions`: what is on record of splits, dividends, new tickers and delistings, and bringing more in."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.app.data_health import lease
from kobe.app.import_bars import scope
from kobe.core.errors import ExitCode
from kobe.data import actions, holds, ingest
from kobe.data.quality import Scope
from kobe.reports.document import Document, Section, Table


@dataclass(frozen=True, kw_only=True)
class ActionsRequest:
    """Which events to show."""

    symbol: str | None = None
    kind: str | None = None
    first: date | None = None
    last: date | None = None


def run_actions_list(ctx: Context, request: ActionsRequest) -> Document:
    """Show the events on record."""
    events = ctx.store.actions()
    for column, wanted in (("symbol", request.symbol), ("kind", request.kind)):
        if wanted is not None:
            events = events.filter(pl.col(column) == wanted)
    if request.first is not None:
        events = events.filter(pl.col("date") >= request.first)
    if request.last is not None:
        events = events.filter(pl.col("date") <= request.last)
    kinds = dict(events.group_by("kind").len().sort("kind").iter_rows())
    told = ", ".join(f"{n:,} {kind}s" for kind, n in kinds.items()) or "none"
    rows = tuple((s, str(d), k, v, t, o) for s, d, k, v, t, o in events.sort("date", "symbol").tail(200).iter_rows())
    columns = ("symbol", "ex-date", "kind", "value", "detail", "source")
    return Document(
        schema="kobe.data_actions/1",
        title="Corporate actions on record",
        summary=(f"{told} of {events.get_column('symbol').n_unique():,} symbols"
                 + ("; the newest 200 below." if len(events) > 200 else "."),),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={
            "counts": kinds,
            "events": [dict(zip(columns, (r[0], str(r[1]), *r[2:]), strict=True)) for r in events.iter_rows()],
        },
    )  # fmt: skip


def run_actions_import(ctx: Context, file: Path, source: str, *, dry_run: bool) -> Document:
    """Bring events into the store; the whole past is adjusted by them from now on, and the holds are looked at anew."""
    judged = actions.judge(actions.read_actions(file, source))
    with lease(ctx):
        held = ctx.store.actions()
        events, contradicting = actions.merge(held, judged.good)
        rules = scope(ctx, ctx.store.manifest().provenance.adjustment)
        new = len(events) - len(held)
        if not dry_run:
            ctx.audit.append("actions_import", {"file": file.name, "new": new, "contradicting": len(contradicting)})
            _commit(ctx, events, contradicting, rules)
    before, after = ctx.store.manifest().last, holds.standing(ctx.store.holds(), ctx.store.manifest().last)
    aside = len(judged.aside) + len(contradicting)
    lines = [f"{s} {d} {k}: {was:g} on record, {v:g} told now" for s, d, k, v, *_, was in contradicting.iter_rows()]
    return Document(
        schema="kobe.data_actions_import/1",
        title=f"{'Would import' if dry_run else 'Imported'} corporate actions from {file.name}",
        summary=(f"{new:,} new events, {len(events):,} in all; {aside:,} set aside.",
                 f"{len({h.symbol for h in after}):,} symbols on hold as of {before}."),
        sections=(Section(title="Contradict what is on record; those symbols are on hold", lines=tuple(lines[:50])),)
        if lines else (),
        data={"new": new, "events": len(events), "aside": len(judged.aside), "contradicting": len(contradicting)},
        exit_code=ExitCode.PARTIAL if aside else ExitCode.OK,
    )  # fmt: skip


def _commit(ctx: Context, events: pl.DataFrame, contradicting: pl.DataFrame, rules: Scope) -> None:
    """Hold first, adjust second: a crash between the two leaves symbols untradable, never falsely tradable."""
    disputes = holds.to_frame(ingest.contradictions(contradicting, rules))
    if len(disputes):
        ctx.store.amend(held=holds.merge(ctx.store.holds(), disputes))
    ctx.store.amend(events=events)
    _, held = ingest.rechecked(ctx.store, rules)
    ctx.store.amend(held=held)
