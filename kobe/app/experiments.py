"""`kobe experiments`: what was ever tried, what differs between two runs, and the same run again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from kobe import __version__
from kobe.app.context import Context
from kobe.core.ids import canonical_json, digest
from kobe.core.panel import Panel
from kobe.learning.experiments import Experiment, Question, differences, trial_rows
from kobe.reports.document import Document, Section, Table, jsonable

REAL, SYNTHETIC = "real", "synthetic"
SHOWN = 40
CODE_ROOMS = ("core", "data", "features", "strategies", "risk", "backtest", "learning", "decisions", "app")


@cache
def code_digest() -> str:
    """Return a digest of the program's own source: what a result depends on besides its inputs."""
    root, hasher = Path(__file__).resolve().parents[1], hashlib.sha256(__version__.encode())
    for room in CODE_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            hasher.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return hasher.hexdigest()[:16]


def question(ctx: Context, panel: Panel, kind: str, request: Mapping[str, Any]) -> Question:
    """Return what a run is asked: the request, and digests of the bars and of the settings that bear on returns."""
    s, days = ctx.settings, ctx.calendar.sessions
    bearing = [s.market, s.earnings, s.walk_forward, s.account, s.costs]
    inputs = {
        "bars": panel.digest, "market": SYNTHETIC if panel.is_synthetic else REAL, "universe": panel.universe,
        "symbols": len(panel.symbols), "first": str(days[panel.first_session]), "last": str(days[panel.last_session]),
        "settings": digest([*(jsonable(part.model_dump(mode="json")) for part in bearing), jsonable(s.strategies)]),
    }  # fmt: skip
    return Question(kind=kind, request=jsonable(dict(request)), inputs=inputs, seed=s.run.seed)


def trial(
    strategy: str, params: Mapping[str, Any], params_hash: str, trades: int, objective: float, sharpe: float
) -> dict[str, Any]:
    """Return one tried combination as a row of the registry; what is not known is empty."""
    known = {name: None if value != value else value for name, value in (("o", objective), ("s", sharpe))}  # noqa: PLR0124 - NaN
    return {"strategy": strategy, "params_hash": params_hash, "params": canonical_json(jsonable(dict(params))),
            "trades": trades, "objective": known["o"], "sharpe": known["s"]}  # fmt: skip


def record(
    ctx: Context, asked: Question, rows: Sequence[Mapping[str, Any]], results: Mapping[str, Any],
    artifacts: Mapping[str, str], *, deflated: Mapping[str, Any] | None = None, parent: str | None = None,
) -> Experiment:  # fmt: skip
    """Append a run to the registry and to the audit chain; `deflated` figures depend on what was tried before."""
    made = ctx.experiments.record(
        asked, trial_rows(rows), jsonable(dict(results)), artifacts, code=code_digest(),
        deflated=jsonable(dict(deflated or {})), parent=parent,
    )  # fmt: skip
    ctx.audit.append(
        "experiment", {"id": made.experiment_id, "number": made.number, "kind": asked.kind, "trials": made.trials,
                       "results": made.results_digest},
    )  # fmt: skip
    return made


def run_list(ctx: Context, kind: str | None) -> Document:
    """List the runs, newest last, with the number of combinations they looked at."""
    runs = [r for r in ctx.experiments.runs() if kind is None or r.question.kind == kind]
    rows = tuple(
        (r.experiment_id, r.number, f"{r.at:%Y-%m-%d %H:%M}", r.question.kind, _asked(r), r.trials,
         f"{r.question.inputs['first']} to {r.question.inputs['last']}", r.question.inputs["market"])
        for r in runs[-SHOWN:]
    )  # fmt: skip
    columns = ("id", "run", "at (UTC)", "kind", "asked", "trials", "bars", "market")
    opened, names = ctx.experiments.holdouts(), len({r.experiment_id for r in runs})
    holdouts = tuple((h["holdout"], h["at"], str(h.get("who")), str(h.get("for"))) for h in opened)
    held = Section(title="Holdouts opened", table=Table(columns=("holdout", "at", "by", "for"), rows=holdouts))
    told = f"{sum(r.trials for r in runs):,} looks at returns; runs: {len(runs):,}, experiments: {names:,}."
    listed = Section(title="", table=Table(columns=columns, rows=rows))
    return Document(
        schema="kobe.experiments/1",
        title="Experiments",
        summary=(told if runs else "None on record; kobe walk-forward and kobe optimize put theirs here.",),
        sections=(*((listed,) if runs else ()), *((held,) if opened else ())),
        data={"runs": [_as_json(r) for r in runs], "holdouts": opened},
    )  # fmt: skip


def _asked(run: Experiment) -> str:
    return " ".join(f"{k}={v}" for k, v in sorted(run.question.request.items()) if v not in (None, {}, []))[:60]


def _as_json(run: Experiment) -> dict[str, Any]:
    document: dict[str, Any] = jsonable(asdict(run))
    return document | {"at": run.at.isoformat(timespec="seconds")}


def run_show(ctx: Context, experiment_id: str) -> Document:
    """Show the newest run of an experiment with its best trials."""
    run = ctx.experiments.find(experiment_id)
    trials = ctx.experiments.trials_of(run)
    best = trials.sort("objective", descending=True, nulls_last=True).head(10)
    facts = [("asked", _asked(run)), ("at (UTC)", f"{run.at:%Y-%m-%d %H:%M:%S}"), ("run", run.number),
             ("seed", run.question.seed), ("code", run.code), ("parent", run.parent), ("trials", run.trials),
             ("results digest", run.results_digest[:16]), *run.question.inputs.items()]  # fmt: skip
    figures = tuple((k, v) for k, v in _flat(run.results))
    return Document(
        schema="kobe.experiment/1",
        title=f"Experiment {run.experiment_id}: {run.question.kind}",
        sections=(
            Section(title="Question", table=Table(columns=("what", "value"), rows=tuple(facts))),
            Section(title="Results", table=Table(columns=("figure", "value"), rows=figures)),
            Section(title="Best trials by objective", table=Table(
                columns=("strategy", "trades", "objective", "Sharpe per session", "parameters"),
                rows=tuple(best.select("strategy", "trades", "objective", "sharpe", "params").rows()))),
        ),
        data=_as_json(run) | {"best": best.to_dicts()},
    )  # fmt: skip


def _flat(results: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in results.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found.append((f"{prefix}{key}", value))
    return found


def run_diff(ctx: Context, one: str, other: str) -> Document:
    """Show what differs between two experiments: question, code and results."""
    a, b = ctx.experiments.find(one), ctx.experiments.find(other)
    found = differences(facts_of(a), facts_of(b))
    rows = tuple((key, word(x), word(y)) for key, x, y in found)
    same = "They are the same." if not found else f"{len(found)} things differ."
    return Document(
        schema="kobe.experiments_diff/1",
        title=f"{a.experiment_id} against {b.experiment_id}",
        summary=(same,),
        sections=(Section(title="", table=Table(columns=("what", a.experiment_id, b.experiment_id), rows=rows)),)
        if found else (),
        data={"differs": [{"key": k, "one": x, "other": y} for k, x, y in found]},
    )  # fmt: skip


def facts_of(run: Experiment) -> dict[str, Any]:
    """Return everything two runs may differ in."""
    q = run.question
    return {"kind": q.kind, "asked": q.request, "inputs": q.inputs, "seed": q.seed, "code": run.code,
            "trials": run.trials, "results": run.results}  # fmt: skip


def word(value: Any) -> str:
    """Say a value in a few letters."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)[:60]
