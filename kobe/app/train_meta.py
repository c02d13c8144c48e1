"""`kobe train-meta` and `kobe promote`: a candidate from the walk-forward's data set, and whether it may speak."""

import io
import json
from dataclasses import asdict
from typing import Any

import polars as pl

from kobe.app.context import Context
from kobe.app.walk_forward import DATASET, SUMMARY
from kobe.core.errors import MissingDataError, ModelError
from kobe.learning import promote, train
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import BASE_RATE
from kobe.reports.document import Document, Section, Table, jsonable

Holdout = pl.DataFrame


def _dataset(ctx: Context) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """Read the data set and the walk-forward summaries."""
    root = ctx.paths.walk_forward
    try:
        frame = pl.read_parquet(root / DATASET)
        summaries = {
            name: json.loads((root / name / SUMMARY).read_text(encoding="utf-8")) for name in ctx.settings.strategies
        }
    except FileNotFoundError as error:
        raise MissingDataError(
            "no walk-forward to learn from", seen=error.filename, next_command="kobe walk-forward"
        ) from error
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ModelError("the data set cannot be read", seen=error, next_command="kobe walk-forward") from error
    missing = [c for c in FEATURE_COLUMNS if c not in frame.columns]
    if missing:
        raise ModelError("the data set has other features", seen=missing, next_command="kobe walk-forward")
    return frame, summaries


def run_train_meta(ctx: Context) -> Document:
    """Train a candidate and put it, with the base rate it must beat, into the registry."""
    frame, summaries = _dataset(ctx)
    params = {name: s["next_params"] for name, s in summaries.items()}
    through = max(s["evidence_through"] for s in summaries.values())
    trained = train.train(frame, params, seed=ctx.settings.run.seed)
    banners = sorted({b for s in summaries.values() for b in s["banners"]})
    facts = {"knowable_from": through, "banners": banners, "features": list(FEATURE_COLUMNS), "rows": len(frame)}
    null = train.base_rate_model(frame, params)
    base_why = {"why": "base rate of each strategy", **facts}
    base_id = ctx.models.add(null, base_why, None)
    buffer = io.BytesIO()
    trained.holdout.write_parquet(buffer)
    candidate_facts = {"why": trained.why, "skill": trained.skill, "report": jsonable(trained.report), **facts}
    model_id = ctx.models.add(trained.candidate, candidate_facts, trained.pipeline)
    ctx.artifacts.write(ctx.models.folder / model_id / "holdout.parquet", buffer.getvalue())
    ctx.audit.append("train_meta", {"candidate": model_id, "base_rate": base_id, "skill": trained.skill})
    return _trained_document(trained, model_id, base_id, tuple(banners))


def _trained_document(trained: train.Trained, model_id: str, base_id: str, banners: tuple[str, ...]) -> Document:
    figures = {k: v for k, v in trained.report.items() if not isinstance(v, dict | list)}
    bins = trained.report["reliability"]
    reliability = Table(
        columns=("from", "to", "n", "mean p", "won", "95% from", "95% to"),
        rows=tuple(tuple(b.values()) for b in bins),
    )
    return Document(
        schema="kobe.train_meta/1",
        title=f"Trained candidate {model_id}",
        summary=(trained.why, f"Base rate stored as {base_id}. Next: kobe promote"),
        banners=banners,
        sections=(
            Section(title="Holdout", table=Table(columns=("figure", "value"), rows=tuple(figures.items()))),
            Section(title="Reliability on the holdout", table=reliability),
        ),
        data={
            "model_id": model_id, "base_rate_id": base_id, "skill": trained.skill, "why": trained.why,
            "report": trained.report,
        },
    )  # fmt: skip


def run_promote(ctx: Context, *, dry_run: bool = False) -> Document:
    """Judge the newest candidate against the champion; nothing to promote is a success that says why.

    The base rate becomes the first champion, and the champion again whenever no candidate with skill is newer:
    its evidence is refreshed, its claim stays the same.
    """
    candidate_id = ctx.models.newest_candidate()
    if candidate_id is None:
        raise MissingDataError("no candidate to judge", next_command="kobe train-meta")
    entries = {e.model_id: e for e in ctx.models.entries()}
    base_id = next(e.model_id for e in reversed(entries.values()) if e.kind == BASE_RATE)
    champion_id = next((e.model_id for e in entries.values() if e.state == "champion"), None)
    crowned, notes = champion_id, []
    if champion_id is None or (entries[champion_id].kind == BASE_RATE and champion_id != base_id):
        notes.append(f"base rate {base_id} becomes champion: it claims nothing but the strategies' own win rates")
        crowned = base_id
    lines = _judged(ctx, candidate_id, crowned or base_id)
    banners = tuple(ctx.models.load(candidate_id)[1]["banners"])
    scope = promote.scope(banners)
    if scope == promote.PAPER:
        notes.append(f"whatever is promoted is for paper only: {'; '.join(banners)}")
    if entries[candidate_id].state != "candidate":
        notes.append(f"{candidate_id} was already promoted")
    elif all(line.passed for line in lines):
        crowned = candidate_id
        notes.append(f"{candidate_id} passes every condition and becomes champion")
    else:
        failed = [line.name for line in lines if not line.passed]
        notes.append(f"nothing to promote: {candidate_id} fails {len(failed)} of {len(lines)}: {', '.join(failed)}")
    if crowned and crowned != champion_id and not dry_run:
        ctx.models.promote(crowned, notes[-1])
        ctx.audit.append(
            "promote",
            {"champion": crowned, "was": champion_id, "scope": scope, "lines": jsonable([asdict(n) for n in lines])},
        )
    table = Table(
        columns=("condition", "value", "threshold", "verdict"),
        rows=tuple((n.name, float(n.value), n.threshold, "pass" if n.passed else "fail") for n in lines),
    )
    return Document(
        schema="kobe.promote/1",
        title="Promotion" + (" (--dry-run, nothing changed)" if dry_run else ""),
        summary=tuple(notes),
        banners=banners,
        sections=(Section(title=f"Candidate {candidate_id} against {crowned or base_id}", table=table),),
        data={
            "candidate": candidate_id, "champion_before": champion_id, "champion": crowned, "notes": notes,
            "lines": [asdict(n) for n in lines], "dry_run": dry_run, "scope": scope,
        },
    )  # fmt: skip


def _judged(ctx: Context, candidate_id: str, champion_id: str) -> list[promote.Line]:
    candidate, facts = ctx.models.load(candidate_id)
    champion, _ = ctx.models.load(champion_id)
    frame, _ = _dataset(ctx)
    holdout = pl.read_parquet(ctx.models.folder / candidate_id / "holdout.parquet")
    keys = ["signal_date", "symbol", "strategy"]
    rows = holdout.join(frame.select(*keys, *FEATURE_COLUMNS), on=keys, how="inner", maintain_order="left")
    if len(rows) != len(holdout):
        raise ModelError("the data set is not the one the candidate saw", next_command="kobe train-meta")
    if champion.kind == BASE_RATE:  # frozen before the holdout: its record must not include it
        odds = holdout.get_column("p_base").to_numpy()
    else:
        odds = champion.probability(rows.select(FEATURE_COLUMNS).to_numpy(), rows.get_column("strategy").to_list())
    judged = holdout.with_columns(pl.Series("p_champion", odds))
    return promote.judge(judged, candidate, facts["report"], seed=ctx.settings.run.seed)
