"""What `kobe drift` says: where each strategy stands, every statistic behind it, and what could not have been seen."""

from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cached_property
from typing import Any

from kobe.learning import drift_statistics as tests
from kobe.learning.drift import LEAST_SIGNALS, Reading, Reference, Window, verdict
from kobe.learning.drift_states import MEANING, Level
from kobe.reports.document import Document, Section, Table, jsonable

FALL = 0.13  # the power printed is that against .58 -> .45 (DOMAIN 3.6)
READING = [f.name for f in fields(Reading)]
TOO_FEW, NO_RECORD = "too_few_signals", "no_record"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One strategy at one session; without a window there was nothing to compare, and the level stays."""

    strategy: str
    level: Level
    since: date | None
    before: Level
    reasons: tuple[str, ...]
    signals: int
    window: Window | None = None
    reference: Reference | None = None
    money: tuple[Reading, ...] = ()
    signs: tuple[Reading, ...] = ()

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """What was measured, as JSON-ready values."""
        window, reference = self.window, self.reference
        found: dict[str, Any] = {"signals": self.signals}
        if window is not None and reference is not None:
            found |= {
                "judged": len(window.trades), "effective": window.effective, "size": window.size,
                "power": _power(window, reference), "reference": asdict(reference),
                "readings": [_flat(r, worst) for r, worst in _with_worst(self)],
            }  # fmt: skip
        plain: dict[str, Any] = jsonable(found)
        return plain


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One run: every strategy, and which of them were recorded by it; `standing` is what is on record after it."""

    session: date
    model_id: str
    through: date
    found: tuple[Judged, ...]
    recorded: tuple[str, ...]
    standing: dict[str, str]
    banners: tuple[str, ...]
    dry_run: bool


def _flat(reading: Reading, worst: Level) -> dict[str, Any]:
    return {name: getattr(reading, name) for name in READING} | {"verdict": verdict(reading, worst).name}


def _with_worst(judged: Judged) -> list[tuple[Reading, Level]]:
    """Return every reading with the worst level it may lead to."""
    return [*((r, Level.STAND_DOWN) for r in judged.money), *((r, Level.WATCH) for r in judged.signs)]


def _power(window: Window, reference: Reference) -> float:
    return tests.power(int(window.size), reference.win_rate, _fallen(reference.win_rate))


def _fallen(rate: float) -> float:
    return max(rate - FALL, 0.01)


def build(judgement: Judgement) -> Document:
    """Build the document of one run."""
    j = judgement
    rows = [
        {"strategy": s.strategy, "state": s.level.name, "since": s.since and str(s.since), "before": s.before.name,
         "on_record": j.standing.get(s.strategy), "reasons": list(s.reasons), "meaning": MEANING[s.level],
         **s.statistics}
        for s in j.found
    ]  # fmt: skip
    return Document(
        schema="kobe.drift/1",
        title=f"Drift at {j.session}" + (" (--dry-run, nothing recorded)" if j.dry_run else ""),
        summary=(
            *(_headline(s) for s in j.found),
            f"Champion {j.model_id}; compared with evidence through {j.through}",
            *_on_record(j),
        ),
        banners=j.banners,
        sections=tuple(_section(s) for s in j.found),
        data={
            "session": str(j.session), "model_id": j.model_id, "evidence_through": str(j.through), "strategies": rows,
            "recorded": list(j.recorded), "dry_run": j.dry_run,
        },
    )  # fmt: skip


def _headline(judged: Judged) -> str:
    since = f" since {judged.since}" if judged.since else ""
    told = f"{judged.strategy}: {judged.level.name}{since}: {MEANING[judged.level]}"
    if judged.reasons == (NO_RECORD,):
        return f"{told} (the model has no record of it: nothing to compare with)"
    if judged.reasons == (TOO_FEW,):
        worth = f"{judged.window.effective:.1f}" if judged.window else "0"
        counted = f"closed signals: {judged.signals}, worth {worth} independent ones"
        return f"{told} (too few to say; {counted}, and {LEAST_SIGNALS:.0f} are needed)"
    return f"{told} ({', '.join(judged.reasons) or 'nothing stands out'})"


def _on_record(judgement: Judgement) -> list[str]:
    """Say what was on record already; the record of a session is never rewritten."""
    return [
        f"{s.strategy}: this session is on record already, as {judgement.standing[s.strategy]}"
        for s in judgement.found
        if not judgement.dry_run and s.strategy not in judgement.recorded and s.strategy in judgement.standing
    ]


def _section(judged: Judged) -> Section:
    window, reference = judged.window, judged.reference
    if window is None or reference is None or not len(window.trades):
        return Section(title=judged.strategy, lines=("Nothing to judge.",))
    session, before = window.trades.session, reference.win_rate
    counted = f"Signals judged: {len(window.trades)} of {session[-1] - session[0] + 1} sessions"
    worth = f"worth {window.effective:.1f} independent ones, {window.size:.1f} beside a record that is a sample too"
    seen = f"a fall of the win rate from {before:.2f} to {_fallen(before):.2f}"
    rows = tuple(
        (r.name, r.value, r.low, r.high, r.reference, r.critical, r.p, r.adjusted, verdict(r, worst).name)
        for r, worst in _with_worst(judged)
    )
    columns = ("statistic", "value", "95% from", "95% to", "evidence", "critical", "p", "p (Holm)", "verdict")
    return Section(
        title=judged.strategy,
        lines=(
            f"{counted}, {worth}.",
            f"Power: one look at 5% sees {seen} with probability {_power(window, reference):.0%}.",
        ),
        table=Table(columns=columns, rows=rows) if rows else None,
    )
