"""How a home is, in one word with its reasons: for a container's check, a monitor, the bot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kobe.core.errors import ExitCode
from kobe.reports.document import Cell, Document, Section, Table

WORDS: dict[ExitCode, str] = {
    ExitCode.INTEGRITY: "damaged",
    ExitCode.REFUSED: "stopped",
    ExitCode.DATA: "stale",
    ExitCode.PARTIAL: "degraded",
    ExitCode.OK: "healthy",
}
"""Exit code -> the word for it, the worst first: of several, the first one is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong; `code` is what it alone would make of the health, OK: worth knowing and no more."""

    name: str
    words: str
    next_command: str
    code: ExitCode


@dataclass(frozen=True, kw_only=True)
class State:
    """What health is made of; `facts` are the few a person wants beside the word."""

    as_of: datetime
    troubles: Sequence[Trouble]
    facts: Mapping[str, Cell]


def code_of(troubles: Sequence[Trouble]) -> ExitCode:
    """Return the worst code of some troubles."""
    codes = {t.code for t in troubles}
    return next((code for code in WORDS if code in codes), ExitCode.OK)


def build(state: State) -> Document:
    """Build the answer."""
    code = code_of(state.troubles)
    rows = tuple((t.name, t.words, t.next_command) for t in state.troubles)
    sections = [Section(title="State", table=Table(columns=("what", "is"), rows=tuple(state.facts.items())))]
    if rows:
        sections.insert(0, Section(title="Why", table=Table(columns=("alert", "says", "next"), rows=rows)))
    return Document(
        schema="kobe.health/1",
        title=f"kobe is {WORDS[code]}, {state.as_of:%Y-%m-%d %H:%M:%S} UTC",
        summary=(f"{len(rows)} alert{'' if len(rows) == 1 else 's'}" if rows else "no alert",),
        sections=tuple(sections),
        data=_data(state, code),
        exit_code=code,
    )


def _data(state: State, code: ExitCode) -> dict[str, Any]:
    return {
        "status": WORDS[code], "exit_code": int(code), "as_of": state.as_of.isoformat(),
        "troubles": [
            {"name": t.name, "words": t.words, "next": t.next_command, "status": WORDS[t.code]} for t in state.troubles
        ],
        "facts": dict(state.facts),
    }  # fmt: skip
