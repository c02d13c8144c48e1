"""`kobe earnings`: dates as they were known, and the filter that keeps entries away from them (config: earnings)."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.app.reference import SHOWN, TableImport
from kobe.data import earnings
from kobe.data.earnings import BLOCKED, CLEAR, UNKNOWN
from kobe.reports.document import Document, Section, Table


def earnings_import(file: Path, source: str, *, filings: bool, dry_run: bool) -> TableImport:
    """Return the import of an earnings calendar, or of filings seen by a crawler."""
    return TableImport(
        table="earnings", file=file, source=source, dry_run=dry_run,
        meanings=earnings.RULES | {"part_unknown": "nobody says whether before the open or after the close"},
        prepare=(lambda frame, _: earnings.filings(frame)) if filings else earnings.announcements,
    )  # fmt: skip


def run_earnings_list(ctx: Context, symbol: str | None, first: date | None, last: date | None) -> Document:
    """Show what is known now of earnings dates."""
    rows = ctx.reference.as_of("earnings", ctx.clock.now())
    if symbol is not None:
        rows = rows.filter(pl.col("symbol") == symbol)
    rows = rows.filter(pl.col("date").is_between(first or date.min, last or date.max))
    kinds = dict(rows.group_by("kind").len().sort("kind").iter_rows())
    told = ", ".join(f"{n:,} x {kind.replace('_', ' ')}" for kind, n in kinds.items()) or "nothing"
    newest = rows.sort("date", "symbol").tail(SHOWN)
    columns = ("symbol", "date", "part", "kind", "period", "known since", "source")
    lines = newest.select(
        "symbol", pl.col("date").dt.to_string(), "part", "kind", "period",
        pl.col("first_known_at").dt.strftime("%Y-%m-%d %H:%M"), "source",
    ).rows()  # fmt: skip
    known = rows.with_columns(pl.col("date").dt.to_string(), pl.col("known_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return Document(
        schema="kobe.earnings/1",
        title="Earnings dates on record",
        summary=(f"{told} of {rows.get_column('symbol').n_unique():,} symbols"
                 + (f"; the newest {SHOWN} below." if len(rows) > SHOWN else "."),),
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(lines))),) if lines else (),
        data={"counts": kinds,
              "events": known.select("symbol", "date", "part", "kind", "period", "known_at").to_dicts()},
    )  # fmt: skip


def run_earnings_window(ctx: Context, symbols: Sequence[str], session: date | None) -> Document:
    """Say for symbols and an entry session whether earnings are near, as known at the close before it."""
    entry = session or ctx.calendar.next(ctx.calendar.last_complete(ctx.clock.now()))
    asked = pl.DataFrame(
        {"symbol": list(symbols), "session": [entry] * len(symbols),
         "decided": [ctx.calendar.previous(entry)] * len(symbols)},
        schema={"symbol": pl.String, "session": pl.Date, "decided": pl.Date},
    )  # fmt: skip
    chosen = ctx.settings.earnings
    events = ctx.reference.read("earnings")
    found = earnings.window(
        events, asked, ctx.calendar, before=chosen.before_sessions, after=chosen.after_sessions, trusted=chosen.trusted
    )
    states = dict(found.select("symbol", "state").iter_rows())
    meaning = {
        BLOCKED: "an announcement is near: no entry while the filter is on",
        CLEAR: "a calendar speaks for this session and names no announcement near it",
        UNKNOWN: f"no calendar known then speaks for this session: {chosen.unknown} (earnings.unknown)",
    }
    on = "on" if chosen.enabled else "off (earnings.enabled), so nothing is held back"
    return Document(
        schema="kobe.earnings_window/1",
        title=f"Earnings around {entry}, as known at the close of {ctx.calendar.previous(entry)}",
        summary=(f"The filter is {on}.",
                 f"Sessions around an announcement: {chosen.before_sessions} ahead, {chosen.after_sessions} behind."),
        sections=(Section(title="", table=Table(columns=("symbol", "state", "meaning"), rows=tuple(
            (s, state, meaning[state]) for s, state in states.items()))),),
        data={"session": str(entry), "enabled": chosen.enabled, "states": states},
    )  # fmt: skip
