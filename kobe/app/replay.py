"""`kobe replay`: a past decision made again from its recorded inputs, compared byte for byte."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from kobe.app import decision, experiments
from kobe.app.context import Context
from kobe.app.decision import PICKS, TRADE, Inputs
from kobe.core.errors import ExitCode
from kobe.decisions.scan import Scan
from kobe.reports.document import Document, Section, Table

SHOWN = 20


@dataclass
class _Kept:
    """Artifacts that stay in memory."""

    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, path: Path, content: bytes, *, wait: bool = True) -> str:
        """Keep a file."""
        del wait
        self.files[path.name] = content
        return hashlib.sha256(content).hexdigest()

    def sweep(self, folder: Path) -> list[Path]:
        """Nothing is left behind in memory."""
        del folder
        return []


def run_replay(ctx: Context, session: date) -> Document:
    """Make the decision of a session again from its record; 8 when the result is not the same to the byte."""
    record = decision.read_record(ctx, session)
    inputs = Inputs(**record["inputs"])
    found = decision.decide(ctx, inputs, fresh=True)
    kept, folder = _Kept(), ctx.paths.of_session(session)
    files = decision.outputs(found, decision.with_tone(found, record["tones"]), kept, folder)
    changed = _changed_inputs(ctx, record, found)
    differing = sorted(name for name, sha in record["files"].items() if files.get(name) != sha)
    fates = _fates(record["fates"], found.fates)
    rows = [d for name in (PICKS, TRADE) for d in _rows(folder / f"{name}.jsonl", kept.files[f"{name}.jsonl"])]
    touched = decision.touched_files(ctx, session, record)
    same = not differing and not fates and not touched
    return _document(session, record, changed, differing, touched, fates, rows, same=same)


def _changed_inputs(ctx: Context, record: dict[str, Any], replayed: Scan) -> list[tuple[str, str, str]]:
    """Return what is not as it was: name, then, now."""
    found = []
    now = {"code": experiments.code_digest(), "calendar": ctx.calendar.digest, "data": replayed.data_digest}
    now["universe"] = ctx.panel.key[1]
    found += [(name, str(record[name])[:16], value[:16]) for name, value in now.items() if record[name] != value]
    if record["data"] != replayed.data_digest:
        bars = replayed.bars
        symbols = sorted(s for s in {*bars, *record["bars"]} if bars.get(s) != record["bars"].get(s))
        told = ", ".join(symbols[:SHOWN]) + (f" and {len(symbols) - SHOWN} more" if len(symbols) > SHOWN else "")
        found.append(("bars of", told or "no symbol: what differs is how they are described", ""))
    return found


def _fates(then: dict[str, str], now: dict[str, str]) -> list[tuple[str, str, str]]:
    return [
        (symbol, then.get(symbol, "-"), now.get(symbol, "-"))
        for symbol in sorted({*then, *now})
        if then.get(symbol) != now.get(symbol)
    ]


def _rows(path: Path, content: bytes) -> list[tuple[str, str, str, str]]:
    """Return every value that differs between a file on the disk and its replay."""
    sides = [_read(text) for text in (_text(path), content.decode())]
    found = []
    for k in range(max(map(len, sides))):
        then, now = (side[k] if k < len(side) else {} for side in sides)
        who = f"{path.stem} {k + 1} {then.get('symbol') or now.get('symbol')}"
        found += [
            (who, key, str(then.get(key)), str(now.get(key)))
            for key in sorted({*then, *now})
            if then.get(key) != now.get(key)
        ]
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read(text: str) -> list[dict[str, Any]]:
    """Return the rows of a JSONL text; a line that is none says nothing, its file is named as touched."""
    found = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        found.append(row if isinstance(row, dict) else {})
    return found


def _document(
    session: date, record: dict[str, Any], changed: list[tuple[str, str, str]], differing: list[str],
    touched: list[str], fates: list[tuple[str, str, str]], rows: list[tuple[str, str, str, str]], *, same: bool,
) -> Document:  # fmt: skip
    told = [f"{len(record['files'])} files and {len(record['fates'])} fates are the same to the byte"] if same else [
        f"not the same: {', '.join(differing) or ('the fates of some symbols' if fates else 'files on the disk')}",
        "what changed since is below" if changed else "bars, calendar, universe and code are as they were",
    ]  # fmt: skip
    if touched:
        told.append(f"not on the disk as they were recorded: {', '.join(touched)}; next: kobe scan --session {session}")
    if same and changed:
        told.append(f"though not everything is as it was: {', '.join(name for name, _, _ in changed)}")
    sections = (
        Section(title="Changed since", table=Table(columns=("input", "then", "now"), rows=tuple(changed))),
        Section(title="Values that differ",
                table=Table(columns=("row", "value", "recorded", "replayed"), rows=tuple(rows[:SHOWN]))),
        Section(title="Fates that differ",
                table=Table(columns=("symbol", "recorded", "replayed"), rows=tuple(fates[:SHOWN]))),
    )  # fmt: skip
    return Document(
        schema="kobe.replay/1", title=f"Replay of {session}", summary=tuple(told),
        sections=tuple(s for s in sections if s.table and s.table.rows),
        data={
            "session": str(session), "same": same, "files": record["files"], "differing": differing, "touched": touched,
            "changed": [dict(zip(("input", "then", "now"), c, strict=True)) for c in changed],
            "values": [list(r) for r in rows], "fates": [list(f) for f in fates],
        },
        exit_code=ExitCode.OK if same else ExitCode.INTEGRITY,
    )  # fmt: skip
