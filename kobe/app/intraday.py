"""`kobe data intraday`: intraday bars into their own store, the bars that are missing, and longer bars made of them."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import polars as pl

from kobe.app.context import Context
from kobe.core.errors import ExitCode, UsageError
from kobe.data import timeframes
from kobe.data.intraday import IntradayStore, read_intraday
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class IntradayImport:
    """A file of intraday bars and what they are."""

    file: Path
    interval: str
    market: str
    grid: str
    source: str
    feed: str = "consolidated"


def store(ctx: Context) -> IntradayStore:
    """Return the store of intraday bars."""
    return IntradayStore(ctx.paths.intraday, ctx.artifacts, ctx.calendar)


def run_intraday_import(ctx: Context, request: IntradayImport) -> Document:
    """Bring a file in; bars off the grid, still open, or different from those held are set aside."""
    frame = read_intraday(request.file)
    with Lease(ctx.paths.locks, "intraday", ctx.clock).acquire(timeout_s=30.0):
        done = store(ctx).write(
            frame, request.interval, request.market, request.source, request.feed, request.grid, asof=ctx.clock.now()
        )
        ctx.audit.append("intraday_import", {"file": request.file.name, "added": done.added, "aside": len(done.aside)})
    aside = Table(columns=("reason", "bars"), rows=tuple(done.reasons.items()))
    said = f"{done.added:,} bars added, {done.known:,} known already, {len(done.aside):,} set aside"
    return Document(
        schema="kobe.intraday_import/1",
        title=f"Imported {request.interval} bars of {request.file.name}",
        summary=(f"{said}; {_missing(done.gaps):,} expected bars are missing.",),
        sections=tuple(
            section
            for section, wanted in (
                (Section(title="Set aside", table=aside), done.reasons), (_gaps_section(done.gaps), len(done.gaps)),
            )
            if wanted
        ),
        data={"delivered": done.delivered, "added": done.added, "known": done.known, "aside": done.reasons,
              "gaps": _gap_rows(done.gaps)},
        exit_code=ExitCode.PARTIAL if len(done.aside) else ExitCode.OK,
    )  # fmt: skip


def run_intraday_gaps(ctx: Context, interval: str) -> Document:
    """List the expected bars that are missing between each symbol's first and last."""
    found = store(ctx).gaps(interval)
    return Document(
        schema="kobe.intraday_gaps/1",
        title=f"Missing {interval} bars",
        summary=(f"{_missing(found):,} bars in {len(found):,} gaps.",),
        sections=(_gaps_section(found),),
        data={"interval": interval, "gaps": _gap_rows(found)},
    )


def run_intraday_resample(ctx: Context, interval: str, to: str, symbol: str) -> Document:
    """Add one symbol's bars up to longer ones; a bucket shows only once its time is over.

    Raises:
        UsageError: an interval that cannot be made of the other.
    """
    here = store(ctx)
    bars = here.read(interval, [symbol])
    held = here.manifest().series[interval][symbol]
    longer = timeframes.resample(bars, to, held.market, ctx.calendar, base=interval, grid=held.grid)
    if len(longer) == 0:
        raise UsageError("no longer bar is complete yet", seen=f"{len(bars)} {interval} bars of {symbol}")
    columns = ("opens", "closes", "open", "high", "low", "close", "volume", "coverage")
    rows = [
        (str(ts.astimezone(UTC))[:16], str(closes.astimezone(UTC))[:16], o, h, low, c, v, share)
        for ts, _, o, h, low, c, v, closes, share in longer.select(
            *timeframes.BAR_COLUMNS, "closes_at", "coverage").iter_rows()
    ]  # fmt: skip
    thin = longer.filter(pl.col("coverage") < 1.0)
    return Document(
        schema="kobe.intraday_resample/1",
        title=f"{symbol}, {to} bars of {interval} bars",
        summary=(
            f"{len(longer):,} complete bars, {len(thin):,} of them with a shorter bar missing; the newest below, UTC.",
        ),
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(rows[-SHOWN:]))),),
        data={"symbol": symbol, "interval": to, "bars": [dict(zip(columns, row, strict=True)) for row in rows]},
    )


def _missing(gaps: pl.DataFrame) -> int:
    return int(gaps.get_column("bars").sum())


def _gap_rows(gaps: pl.DataFrame) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in row.items()} for row in gaps.to_dicts()]


def _gaps_section(gaps: pl.DataFrame) -> Section:
    rows = tuple(tuple(str(v) for v in row) for row in gaps.head(SHOWN).iter_rows())
    more = (f"and {len(gaps) - SHOWN} more",) if len(gaps) > SHOWN else ()
    return Section(title="Missing", table=Table(columns=tuple(gaps.columns), rows=rows), lines=more)
