"""STATUS.md: readable in ten seconds; what needs a human comes first, the oldest problem on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kobe.core.errors import ExitCode
from kobe.reports.document import Document, Section, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person should look at, since when, and the command that helps."""

    since: datetime | None
    what: str
    next_command: str


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything the page shows."""

    as_of: datetime
    run_mode: str
    mode: str
    mode_reason: str
    kill_reason: str | None
    model: str
    bars: str
    pick: str
    last_runs: Sequence[tuple[str, str, str, str]]
    positions: Sequence[dict[str, Any]]
    problems: Sequence[Problem]
    audit: str
    banners: tuple[str, ...]


def build(state: State) -> Document:
    """Build the page."""
    ordered = sorted(state.problems, key=lambda p: (p.since is None, p.since or state.as_of))
    headline = f"{len(ordered)} things need a human" if ordered else "Nothing needs a human"
    facts = (
        ("trading", state.run_mode),
        ("mode", f"{state.mode} {state.mode_reason}".strip()),
        ("kill switch", state.kill_reason or "off"),
        ("model", state.model),
        ("bars", state.bars),
        ("pick", state.pick),
        ("audit", state.audit),
    )
    sections = [
        Section(title="State", table=Table(columns=("what", "is"), rows=facts)),
        Section(title="Positions", lines=tuple(_position(p) for p in state.positions) or ("none",)),
        Section(
            title="Last runs",
            table=Table(columns=("job", "session", "status", "detail"), rows=tuple(state.last_runs)),
        ),
    ]
    if ordered:
        lines = tuple(f"{p.what} (since {_when(p.since)}); next: {p.next_command}" for p in ordered)
        sections.insert(0, Section(title="Needs a human", lines=lines))
    return Document(
        schema="kobe.status/1",
        title=f"kobe status, {state.as_of:%Y-%m-%d %H:%M} UTC",
        summary=(headline,),
        banners=state.banners,
        sections=tuple(sections),
        data={
            **dict(facts), "as_of": state.as_of.isoformat(), "positions": list(state.positions),
            "last_runs": [list(r) for r in state.last_runs],
            "problems": [{"since": _when(p.since), "what": p.what, "next": p.next_command} for p in ordered],
        },
        exit_code=ExitCode.OK,
    )  # fmt: skip


def _when(instant: datetime | None) -> str:
    return "unknown" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def _position(p: dict[str, Any]) -> str:
    return f"{p['quantity']} {p['symbol']} at {p['average_price']} ({p['strategy']}, {p['side']})"
