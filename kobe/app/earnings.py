"""`kobe earnings`: dates as they were known, and the filter that keeps entries away from them (config: earnings)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.app.context import Context
from kobe.app.reference import SHOWN, TableImport, tables
from kobe.core.panel import Ints, Panel
from kobe.data import earnings
from kobe.data.earnings import BLOCKED, CLEAR, UNKNOWN
from kobe.reports.document import Document, Section, Table


@dataclass(frozen=True, kw_only=True)
class EarningsFilter:
    """Says per signal whether earnings are near its entry session, from what was known before its close.

    Attributes:
        events: the table `earnings` with all revisions.
        before, after: sessions around an announcement, inclusive.
        trusted: kinds of rows that prove that a calendar was there.
        unknown_passes: whether a symbol nobody has a calendar for may be entered.
    """

    events: pl.DataFrame
    before: int
    after: int
    trusted: tuple[str, ...]
    unknown_passes: bool

    def states(self, panel: Panel, rows: Ints) -> list[str]:
        """Return `blocked`, `clear` or `unknown` for an entry in the session after each row's."""
        symbols = [panel.symbols[k] for k in panel.symbol_of_row[rows]]
        decided = [panel.calendar.sessions[n] for n in panel.session[rows].tolist()]
        asked = pl.DataFrame(
            {"symbol": symbols, "session": [panel.calendar.next(day) for day in decided], "decided": decided},
            schema={"symbol": pl.String, "session": pl.Date, "decided": pl.Date},
        )
        found = earnings.window(
            self.events, asked, panel.calendar, before=self.before, after=self.after, trusted=self.trusted
        )
        return found.get_column("state").to_list()

    def passes(self, state: str) -> bool:
        """Say whether a state lets an entry through; unknown only where the settings say so."""
        return state == CLEAR or (state == UNKNOWN and self.unknown_passes)

    def allowed(self, panel: Panel, rows: Ints) -> npt.NDArray[np.bool_]:
        """Mark the signals whose entry is not held back; what the account of the backtest asks."""
        return np.array([self.passes(state) for state in self.states(panel, rows)], dtype=np.bool_)


def entry_filter(ctx: Context) -> EarningsFilter | None:
    """Return the filter of the settings, or None where it is off."""
    chosen = ctx.settings.earnings
    if not chosen.enabled:
        return None
    return EarningsFilter(
        events=tables(ctx).read("earnings"), before=chosen.before_sessions, after=chosen.after_sessions,
        trusted=chosen.trusted, unknown_passes=chosen.unknown == "pass",
    )  # fmt: skip


def earnings_import(file: Path, source: str, *, filings: bool, dry_run: bool) -> TableImport:
    """Return the import of an earnings calendar, or of filings seen by a crawler."""
    return TableImport(
        table="earnings", file=file, source=source, dry_run=dry_run,
        meanings=earnings.RULES | {"part_unknown": "nobody says whether before the open or after the close"},
        prepare=(lambda frame, _: earnings.filings(frame)) if filings else earnings.announcements,
    )  # fmt: skip


def run_earnings_list(ctx: Context, symbol: str | None, first: date | None, last: date | None) -> Document:
    """Show what is known now of earnings dates."""
    rows = tables(ctx).as_of("earnings", ctx.clock.now())
    if symbol is not None:
        rows = rows.filter(pl.col("symbol") == symbol)
    rows = rows.filter(pl.col("date").is_between(first or date.min, last or date.max))
    kinds = dict(rows.group_by("kind").len().sort("kind").iter_rows())
    told = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in kinds.items()) or "nothing"
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
    events = tables(ctx).read("earnings")
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
