"""The data check as a document: what each rule found, and small pictures of the bars that stop trading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from kobe.core.errors import ExitCode
from kobe.reports.document import Document, Section, Table, jsonable
from kobe.reports.render import svg_bars

Bar = tuple[date, float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One finding with the bars around it: (date, open, high, low, close) each."""

    code: str
    symbol: str
    date: date
    detail: str
    bars: tuple[Bar, ...]


def build(
    tally: Sequence[tuple[str, str, str, int, int]],
    examples: Sequence[Example],
    on_hold: Sequence[str],
    newest: date,
    found: Sequence[tuple[Any, ...]],
    *,
    meanings: Mapping[str, str],
) -> Document:
    """Build the document.

    Args:
        tally: rule, severity, action, findings, symbols.
        examples: findings worth a picture.
        on_hold: symbols that cannot be traded on the newest bars.
        newest: last session of the store.
        found: symbol, date, rule, detail of every finding.
        meanings: rule -> what it means.
    """
    names = sorted(set(on_hold))
    rows = tuple((code, action, severity, n, k, meanings[code]) for code, severity, action, n, k in tally)
    columns = ("rule", "action", "severity", "findings", "symbols", "meaning")
    pictures = [
        Section(
            title=f"{code}: {meanings[code]}",
            lines=tuple(f"{e.symbol} {e.date}: {e.detail}" for e in examples if e.code == code),
            picture=svg_bars.bar_strips([(f"{e.symbol} {e.date}", e.bars, e.date) for e in examples if e.code == code]),
        )
        for code, *_ in tally
        if any(e.code == code for e in examples)
    ]
    held = f"{len(names):,} symbols are on hold as of {newest}" + (f": {', '.join(names[:12])}" if names else "")
    return Document(
        schema="kobe.data_check/1",
        title="Data check",
        summary=(
            f"{len(found):,} findings by {len(tally)} rules.",
            held + (" ..." if len(names) > 12 else "") + ". No signal and no order rests on their bars.",
        ),
        sections=(Section(title="Rules", table=Table(columns=columns, rows=rows)), *pictures),
        data={
            "as_of": str(newest),
            "on_hold": names,
            "rules": [dict(zip(columns, row, strict=True)) for row in rows],
            "findings": [{"symbol": s, "date": str(d), "rule": c, "detail": t} for s, d, c, t in found],
        },
        exit_code=ExitCode.PARTIAL if names else ExitCode.OK,
    )


def as_json(document: Document) -> str:
    """Return the document's data as one line of JSON."""
    import json

    return json.dumps({"schema": document.schema, **jsonable(document.data)}, sort_keys=True, allow_nan=False)
