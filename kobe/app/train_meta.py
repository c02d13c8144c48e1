"""`kobe meta dataset` and `kobe train-meta`: what there is to learn from, and a candidate learned from it."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kobe.app.context import Context
from kobe.app.signals_file import DATASET, read_signals
from kobe.app.walk_forward import SUMMARY
from kobe.backtest import metrics
from kobe.core.errors import MissingDataError, ModelError, UsageError
from kobe.learning import promote, train
from kobe.learning.dataset import FEATURE_COLUMNS, SCHEMA_HASH
from kobe.learning.model import MetaModel
from kobe.reports.document import Document, Section, Table, jsonable

HOLDOUT = "holdout.parquet"


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """The data set of the last walk-forward and what that run said of itself, by strategy."""

    frame: pl.DataFrame
    summaries: dict[str, dict[str, Any]]

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """Parameters chosen for the sessions after the evidence."""
        return {name: s["next_params"] for name, s in self.summaries.items()}

    @property
    def through(self) -> str:
        """Last session the evidence reaches."""
        return str(max(s["evidence_through"] for s in self.summaries.values()))

    @property
    def banners(self) -> tuple[str, ...]:
        """Warnings the evidence carries."""
        return tuple(sorted({b for s in self.summaries.values() for b in s["banners"]}))


def lesson(ctx: Context) -> Lesson:
    """Read the data set and the walk-forward's summaries.

    Raises:
        MissingDataError: there was no walk-forward.
        ModelError: its data set cannot be read, or has other features than this version computes.
    """
    root = ctx.paths.walk_forward
    frame = read_signals(root, FEATURE_COLUMNS)
    return Lesson(frame=frame, summaries=_summaries(root, list(ctx.settings.strategies)))


def _summaries(root: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read what a walk-forward said of itself, by strategy."""
    try:
        summaries = {name: json.loads((root / name / SUMMARY).read_text(encoding="utf-8")) for name in names}
    except FileNotFoundError as error:
        raise MissingDataError(
            "no walk-forward to learn from", seen=error.filename, next_command="kobe walk-forward"
        ) from error
    except ValueError as error:
        raise ModelError("a summary cannot be read", seen=error, next_command="kobe walk-forward") from error
    if any(not isinstance(s, dict) or not {"next_params", "evidence_through", "banners"} <= set(s)
           for s in summaries.values()):  # fmt: skip
        raise ModelError("a summary is not one of a walk-forward", seen=SUMMARY, next_command="kobe walk-forward")
    return summaries


def run_meta_dataset(ctx: Context) -> Document:
    """Say what the model may learn from: rows, dates, wins, how many are blocked, how much they overlap."""
    held = lesson(ctx)
    rows = []
    for (name,), part in held.frame.group_by("strategy", maintain_order=True):
        taken = part.get_column("taken")
        rows.append(
            (str(name), len(part), part.get_column("signal_date").n_unique(), int(taken.sum()), int((~taken).sum()),
             float(part.get_column("y").to_numpy().mean()), float(part.get_column("weight").sum()))
        )  # fmt: skip
    unknown = held.frame.select(pl.col(c).is_nan().mean() for c in FEATURE_COLUMNS).row(0)
    path = ctx.paths.walk_forward / DATASET
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    columns = ("strategy", "rows", "dates", "taken", "not taken", "won", "independent rows")
    features = Table(columns=("feature", "unknown"), rows=tuple(zip(FEATURE_COLUMNS, unknown, strict=True)))
    first, last = (str(getattr(held.frame.get_column("signal_date"), end)()) for end in ("min", "max"))
    return Document(
        schema="kobe.meta_dataset/1",
        title=f"Data set of the meta-model, signals of {first} to {last}",
        summary=(
            f"{len(held.frame):,} out-of-sample signals; those the account had no room for stay in, not taken.",
            f"{path} (sha256 {sha[:16]}), features {SCHEMA_HASH}",
        ),
        banners=held.banners,
        sections=(
            Section(title="By strategy", table=Table(columns=columns, rows=tuple(rows))),
            Section(title="Model inputs, each known at the signal's close", table=features),
        ),
        data={
            "rows": len(held.frame), "first": first, "last": last, "sha256": sha, "schema_hash": SCHEMA_HASH,
            "path": str(path), "strategies": [dict(zip(columns, r, strict=True)) for r in rows],
            "features": dict(zip(FEATURE_COLUMNS, unknown, strict=True)),
        },
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Where the holdout begins (None: with the last fifth of the dates), and whose evidence is learned from besides.

    `also` are `wf_outputs` folders of other homes: other years, another universe.
    """

    holdout_from: date | None = None
    also: tuple[Path, ...] = ()


def run_train_meta(ctx: Context, request: TrainRequest = TrainRequest()) -> Document:
    """Train a candidate and put it, with the base rate it must beat, into the registry."""
    held = _with_others(lesson(ctx), ctx.paths.walk_forward, request.also)
    first = request.holdout_from
    trained = train.train(
        held.frame, held.params, seed=ctx.settings.run.seed,
        holdout_from=None if first is None else ctx.calendar.number(_session_from(ctx, first)),
    )  # fmt: skip
    facts = {
        "knowable_from": held.through, "banners": list(held.banners), "features": list(FEATURE_COLUMNS),
        "rows": len(held.frame), "versions": _versions(),
    }  # fmt: skip
    base_why = {"why": "base rate of each strategy", **facts}
    base_id = ctx.models.add(train.base_rate_model(held.frame, held.params), base_why, None)
    buffer = io.BytesIO()
    trained.holdout.write_parquet(buffer)
    rows = buffer.getvalue()
    told = {"why": trained.why, "skill": trained.skill, "report": jsonable(trained.report),
            "holdout_sha256": hashlib.sha256(rows).hexdigest(), **facts}  # fmt: skip
    model_id = ctx.models.add(trained.candidate, told, trained.pipeline)
    ctx.artifacts.write(ctx.models.folder / model_id / HOLDOUT, rows)
    ctx.audit.append("train_meta", {"candidate": model_id, "base_rate": base_id, "skill": trained.skill})
    return _trained_document(trained, model_id, base_id, held.banners)


def _session_from(ctx: Context, day: date) -> date:
    """Return the first session on or after a date."""
    return ctx.calendar.sessions[0] if day <= ctx.calendar.sessions[0] else ctx.calendar.next(day - timedelta(days=1))


def _with_others(own: Lesson, own_folder: Path, folders: tuple[Path, ...]) -> Lesson:
    """Put the signals of other homes beside one's own; parameters stay one's own.

    Every bias of theirs is one of the model's, and what it may speak about begins where the last evidence ends.
    """
    frames, told = [own.frame], list(own.summaries.values())
    for folder in folders:
        if folder.resolve() == own_folder.resolve():
            raise UsageError("these are one's own signals, and they would count twice", seen=folder,
                             expected="wf_outputs of another home")  # fmt: skip
        frames.append(read_signals(folder, own.frame.columns).select(own.frame.columns))
        names = [path.parent.name for path in sorted(folder.glob(f"*/{SUMMARY}"))]
        if not names:
            raise MissingDataError("nothing says where these signals come from", seen=folder,
                                   expected=f"STRATEGY/{SUMMARY} beside them")  # fmt: skip
        told += _summaries(folder, names).values()
    shared = {"banners": sorted({b for s in told for b in s["banners"]}),
              "evidence_through": max(s["evidence_through"] for s in told)}  # fmt: skip
    frame = pl.concat(frames).sort("signal_date", "symbol", "strategy")
    return Lesson(frame=frame, summaries={name: {**s, **shared} for name, s in own.summaries.items()})


def _versions() -> dict[str, str]:
    import sklearn

    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}


def gate_effect(holdout: pl.DataFrame, model: MetaModel) -> Table:
    """Compare the holdout trades the model would act on with those it vetoes."""
    p, y, r = (holdout.get_column(c).to_numpy().astype(np.float64) for c in ("p", "y", "r_net"))
    mask = promote.gated(model, holdout.get_column("strategy").to_list(), p)
    taken = holdout.get_column("taken").to_numpy()
    parts = (("acted on", mask), ("vetoed", ~mask), ("held by the account", taken), ("all", np.ones_like(mask)))
    rows = tuple(
        (name, int(m.sum()), float(y[m].mean()) if m.any() else None, float(r[m].mean()) if m.any() else None,
         metrics.profit_factor(r[m]), float(r[m].sum()))
        for name, m in parts
    )  # fmt: skip
    return Table(columns=("holdout trades", "n", "won", "mean R", "profit factor", "sum R"), rows=rows)


def _trained_document(trained: train.Trained, model_id: str, base_id: str, banners: tuple[str, ...]) -> Document:
    figures = {k: v for k, v in trained.report.items() if not isinstance(v, dict | list)}
    figures |= {f"Brier {k}": v for k, v in trained.report["decomposition"].items()}
    reliability = Table(
        columns=("from", "to", "n", "mean p", "won", "95% from", "95% to"),
        rows=tuple(tuple(b.values()) for b in trained.report["reliability"]),
    )
    coverage = Table(
        columns=("share acted on", "least p", "n", "won", "95% from", "95% to", "mean R"),
        rows=tuple(tuple(row.values()) for row in trained.report["coverage"]),
    )
    effect = gate_effect(trained.holdout, trained.candidate)
    return Document(
        schema="kobe.train_meta/2",
        title=f"Trained candidate {model_id}",
        summary=(trained.why, f"Base rate stored as {base_id}. Next: kobe promote"),
        banners=banners,
        sections=(
            Section(title="Holdout", table=Table(columns=("figure", "value"), rows=tuple(figures.items()))),
            Section(title="Reliability on the holdout", table=reliability),
            Section(title="How often the surest win", table=coverage),
            Section(title="What the gate would have done", table=effect),
        ),
        data={
            "model_id": model_id, "base_rate_id": base_id, "skill": trained.skill, "why": trained.why,
            "report": trained.report, "gate": [dict(zip(effect.columns, r, strict=True)) for r in effect.rows],
        },
    )  # fmt: skip
