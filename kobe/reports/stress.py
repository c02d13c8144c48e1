"""The stress report: what four market breaks would do to a book, position by position."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from kobe.backtest.scenarios import Scenario
from kobe.backtest.stress import CORRELATION, LONG_MAINTENANCE, SHORT_MAINTENANCE, Book, HoldingResult, StressResult
from kobe.reports.document import Document, Section, Table

SCHEMA = "kobe.stress/1"


def empty(of: str, as_of: date, *, notes: Sequence[str], banners: tuple[str, ...]) -> Document:
    """Say that there is nothing to stress."""
    return Document(
        schema=SCHEMA,
        title=f"Stress of {of}, {as_of}",
        summary=("Nothing is held: no scenario can touch an empty book.",),
        banners=banners,
        sections=(Section(title="Notes", lines=tuple(notes)),) if notes else (),
        data={"of": of, "as_of": str(as_of), "positions": 0, "notes": list(notes), "results": []},
    )


def build(
    of: str, as_of: date, book: Book, results: Sequence[tuple[Scenario, StressResult]], *,
    notes: Sequence[str], banners: tuple[str, ...], seed: int,
) -> Document:  # fmt: skip
    """Build the report of one book; `of` names it."""
    equity = book.equity_usd
    dead = [s.title for s, r in results if not r.survives]
    worst, most = max(results, key=lambda pair: pair[1].loss_usd)
    sections = [
        Section(title="Scenarios", table=_scenarios([r for _, r in results])),
        Section(title="What each takes for granted", lines=(_terms(), *[_said(s) for s, _ in results])),
        *[Section(title=s.title, table=_holdings(r)) for s, r in results],
    ]
    if notes:
        sections.insert(1, Section(title="Notes", lines=tuple(notes)))
    return Document(
        schema=SCHEMA,
        title=f"Stress of {of}, {as_of}: {len(book.holdings)} positions, equity ${equity:,.0f}, "
        f"gross ${book.gross_usd:,.0f}",
        summary=(
            f"Worst of {len(results)}: {worst.title} costs ${most.loss_usd:,.2f} ({most.loss_share:.2%}).",
            f"Does not survive: {'; '.join(dead)}." if dead else "Survives every scenario.",
        ),
        banners=banners,
        sections=tuple(sections),
        data={
            "of": of, "as_of": str(as_of), "positions": len(book.holdings), "equity_usd": equity,
            "cash_usd": book.cash_usd, "gross_usd": book.gross_usd, "seed": seed, "notes": list(notes),
            "results": [_data(s, r) for s, r in results],
        },
    )  # fmt: skip


def _terms() -> str:
    return (
        f"Always: the market's move times beta, own moves with correlation {CORRELATION:g}, maintenance margin "
        f"{LONG_MAINTENANCE:.0%} long and {SHORT_MAINTENANCE:.0%} short; the draw that one in twenty exceeds."
    )


def _said(s: Scenario) -> str:
    facts = ", ".join(f"{f.index} {f.before:,.2f} to {f.after:,.2f} ({f.change:+.2%})" for f in s.facts)
    return f"{s.title}: {s.assumption}. {facts}; {s.source}."


def _scenarios(results: Sequence[StressResult]) -> Table:
    rows = tuple(
        (
            r.scenario, f"{r.loss_usd:,.2f}", f"{r.loss_share:.2%}", f"{r.median_loss_usd:,.2f}",
            f"{r.equity_after_usd:,.2f}", f"{r.worst_usd:,.2f}", r.stops_hit,
            "yes" if r.survives else f"no, short of ${r.deficit_usd:,.2f}", f"{r.survival.share:.1%}",
        )
        for r in results
    )  # fmt: skip
    columns = ("scenario", "loss $", "loss", "median loss $", "equity after", "lowest inside", "stops", "survives",
               "draws that survive")  # fmt: skip
    return Table(columns=columns, rows=rows)


def _holdings(r: StressResult) -> Table:
    return Table(
        columns=("symbol", "side", "shares", "price", "stop", "beta", "own vol", "price after", "ended", "loss $"),
        rows=tuple(_row(h) for h in sorted(r.holdings, key=lambda h: -h.loss_usd)),
    )


def _row(h: HoldingResult) -> tuple[str | int | float | None, ...]:
    held = h.holding
    return (
        held.symbol, held.side.value, held.shares, round(held.price, 4), held.stop, f"{held.beta:.2f}",
        f"{held.own_volatility:.2%}", round(h.price_after, 4),
        "held" if h.stopped_on is None else f"stop, session {h.stopped_on}", f"{h.loss_usd:,.2f}",
    )  # fmt: skip


def _data(s: Scenario, r: StressResult) -> dict[str, Any]:
    facts = [{**asdict(f), "change": f.change} for f in s.facts]
    return {**asdict(r), "title": s.title, "assumption": s.assumption, "source": s.source, "facts": facts}
