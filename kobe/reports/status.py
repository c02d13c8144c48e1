"""STATUS.md: readable in ten seconds; what needs a human comes first, the oldest problem on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kobe.core.errors import ExitCode
from kobe.reports.document import Document, Section, Table

SHOWN = 110
"""Letters of what a run said; `kobe status --json` has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person should look at, since when, and the command that helps."""

    since: datetime | None
    what: str
    next_command: str

    def row(self) -> dict[str, str]:
        """Return it as JSON-ready values."""
        return {"since": when(self.since), "what": self.what, "next": self.next_command}


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything the page shows; `waiting` counts messages that have not left, None where none were ever written."""

    as_of: datetime
    run_mode: str
    mode: str
    mode_reason: str
    mode_since: datetime | None
    kill_reason: str | None
    model: str
    bars: str
    pick: str
    last_runs: Sequence[tuple[str, str, str, str]]
    positions: Sequence[dict[str, Any]]
    problems: Sequence[Problem]
    next_jobs: str
    waiting: int | None
    audit: str
    banners: tuple[str, ...]


def build(state: State) -> Document:
    """Build the page."""
    ordered = oldest_first(state.problems)
    headline = "Nothing needs a human"
    if ordered:
        counted = "1 thing needs" if len(ordered) == 1 else f"{len(ordered)} things need"
        headline = f"{counted} a human; the oldest: {ordered[0].what}"
    since = "" if state.mode_since is None else f" (since {when(state.mode_since)})"
    facts: tuple[tuple[str, str], ...] = (
        ("trading", state.run_mode),
        ("mode", f"{state.mode} {state.mode_reason}".strip() + since),
        ("kill switch", state.kill_reason or "off"),
        ("model", state.model),
        ("bars", state.bars),
        ("pick", state.pick),
        ("next", state.next_jobs),
        ("audit", state.audit),
        *(() if state.waiting is None else (("messages", f"{state.waiting} have not left yet"),)),
    )
    runs = tuple((job, session, status, _short(detail)) for job, session, status, detail in state.last_runs)
    sections = [
        Section(title="State", table=Table(columns=("what", "is"), rows=facts)),
        Section(title="Positions", lines=tuple(_position(p) for p in state.positions) or ("none",)),
        Section(
            title="Last runs",
            table=Table(columns=("job", "session", "status", "detail"), rows=runs),
        ),
    ]
    if ordered:
        sections.insert(0, Section(title="Needs a human", lines=problem_lines(ordered)))
    return Document(
        schema="kobe.status/1",
        title=f"kobe status, {state.as_of:%Y-%m-%d %H:%M} UTC",
        summary=(headline,),
        banners=state.banners,
        sections=tuple(sections),
        data={
            **dict(facts), "as_of": state.as_of.isoformat(), "positions": list(state.positions),
            "last_runs": [list(r) for r in state.last_runs],
            "problems": [p.row() for p in ordered],
        },
        exit_code=ExitCode.OK,
    )  # fmt: skip


def oldest_first(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems by age; those of which nobody knows since when come last."""
    return sorted(problems, key=lambda p: (p.since is None, p.since or datetime.max.replace(tzinfo=UTC)))


def problem_lines(problems: Sequence[Problem]) -> tuple[str, ...]:
    """Return what needs a human as sentences, the oldest first."""
    return tuple(f"{p.what} (since {when(p.since)}); next: {p.next_command}" for p in oldest_first(problems))


def when(instant: datetime | None) -> str:
    """Write an instant for a page; `unknown` where nobody knows it."""
    return "unknown" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def _position(p: dict[str, Any]) -> str:
    return f"{p['quantity']} {p['symbol']} at {p['average_price']} ({p['strategy']}, {p['side']})"


def _short(detail: str) -> str:
    return detail if len(detail) <= SHOWN else detail[: SHOWN - 3] + "..."
