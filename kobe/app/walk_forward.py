"""`kobe walk-forward`: choose in training, judge in testing, write every artifact, and the data set for the model."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from kobe.app import split_files
from kobe.app.context import Context
from kobe.app.evidence import collect
from kobe.app.evidence_charts import benchmark_of
from kobe.backtest import walk_forward
from kobe.backtest.engine import Assumptions
from kobe.backtest.folds import Fold, folds
from kobe.backtest.walk_forward import Choice, WalkForward, following
from kobe.core.errors import MissingDataError, UsageError
from kobe.core.ids import canonical_json
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.learning import dataset
from kobe.reports import walk_forward as report
from kobe.reports.document import Document, jsonable
from kobe.reports.render import html, markdown, terminal
from kobe.strategies import STRATEGIES

SUMMARY, DATASET, REPORT = "summary.json", "dataset.parquet", "walk_forward"
RENDERERS: dict[str, Callable[[Document], str]] = {
    "html": html.render, "md": markdown.render, "json": terminal.as_json,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WalkForwardRequest:
    """What to walk: `both` or one strategy, bars up to a session, with or without taking over finished splits."""

    strategy: str = "both"
    until: date | None = None
    resume: bool = True


def run_walk_forward(ctx: Context, request: WalkForwardRequest) -> Document:
    """Walk the strategies forward and write `wf_outputs`.

    Raises:
        UsageError: unknown strategy.
        MissingDataError: too little history for one split.
    """
    names = list(ctx.settings.strategies) if request.strategy == "both" else [request.strategy]
    unknown = [n for n in names if n not in STRATEGIES]
    if unknown:
        raise UsageError("unknown strategy", seen=unknown[0], expected=f"both, {', '.join(STRATEGIES)}")
    panel = panel_until(ctx, request.until)
    features = FeatureTable(panel, ctx.settings.market.symbol)
    windows = _windows(ctx, panel)
    assumptions = ctx.assumptions()
    digests = panel.digests_by_session()
    records = [
        _walk(ctx, panel, features, name, windows, assumptions, digests, resume=request.resume) for name in names
    ]
    evidence = [collect(panel, features, r, assumptions, seed=ctx.settings.run.seed) for r in records]
    frame = dataset.build(panel, features, records)
    root = ctx.paths.walk_forward
    pages = {kind: root / f"{REPORT}.{kind}" for kind in RENDERERS}
    made = [root / DATASET, *pages.values(), *(root / name / SUMMARY for name in names)]
    files = [path.relative_to(ctx.paths.home).as_posix() for path in made]
    days = ctx.calendar.sessions[windows[0].test_first : windows[-1].test_last + 1]
    benchmark = benchmark_of(panel, features, records[0], assumptions)
    document = report.build(days, evidence, panel.banners, files, benchmark=benchmark)
    split_files.write_table(ctx.artifacts, root / "dataset", frame)
    for kind, page in pages.items():
        ctx.artifacts.write(page, RENDERERS[kind](document).encode())
    for record, found in zip(records, evidence, strict=True):
        _write_summary(ctx, panel, record, found, root / record.strategy)
    trials = {r.strategy: r.trials for r in records}
    ctx.audit.append("walk_forward", {"data": panel.digest, "until": str(days[-1]), "trials": trials})
    return document


def panel_until(ctx: Context, until: date | None) -> Panel:
    """Return the panel, cut at a session when one is given."""
    panel = ctx.panel()
    return panel if until is None else panel.until(ctx.calendar.number(until))


def _windows(ctx: Context, panel: Panel) -> list[Fold]:
    w = ctx.settings.walk_forward
    windows = folds(
        panel.first_session + w.warm_up_sessions, panel.last_session,
        train=w.train_sessions, test=w.test_sessions, step=w.test_sessions, anchored=w.anchored,
    )  # fmt: skip
    if not windows:
        needed = w.warm_up_sessions + w.train_sessions + w.test_sessions
        raise MissingDataError(
            "too little history for one walk-forward split",
            seen=f"{panel.last_session - panel.first_session + 1} sessions",
            expected=f"{needed} or more",
            next_command="kobe data import FILE",
        )
    return windows


def _walk(
    ctx: Context, panel: Panel, features: FeatureTable, name: str, windows: list[Fold], assumptions: Assumptions,
    digests: dict[int, str], *, resume: bool,
) -> WalkForward:  # fmt: skip
    strategy, base = STRATEGIES[name], ctx.strategy_params()[name]
    w, root = ctx.settings.walk_forward, ctx.paths.walk_forward
    terms = {"walk_forward": w.model_dump(), "costs": jsonable(ctx.settings.costs.model_dump(mode="json"))}
    wanted = [*windows, following(windows[-1])]
    inputs = {
        f.number: split_files.inputs_digest(f, digests.get(f.train_last, ""), strategy, base, terms) for f in wanted
    }
    known = {}
    for fold in wanted if resume else []:
        folder = split_files.folder_of(root, name, fold.number)
        split = split_files.read_choice(folder, fold, strategy, inputs[fold.number])
        if split is not None:
            known[fold.number] = split
    choice = Choice(purge_sessions=w.purge_sessions, least_trades=w.least_trades, plateau=w.plateau)
    record = walk_forward.run(
        panel, features, strategy, base, windows, assumptions, choice=choice, known=known, progress=ctx.progress
    )
    _write_splits(ctx, panel, record, inputs, digests)
    return record


def _write_splits(
    ctx: Context, panel: Panel, record: WalkForward, inputs: dict[int, str], digests: dict[int, str]
) -> None:
    trades, equity = split_files.trades_frame(panel, record), split_files.equity_frame(panel, record)
    root, sessions = ctx.paths.walk_forward, ctx.calendar.sessions
    for split in record.splits:
        fold = split.fold
        first, last = sessions[fold.test_first], sessions[fold.test_last]
        mine = equity.filter(pl.col("date").is_between(first, last))
        facts: dict[str, Any] = {
            "inputs": inputs[fold.number], "strategy": record.strategy, "split": fold.number,
            "train": [str(sessions[fold.train_first]), str(sessions[fold.train_last])],
            "test": [str(first), str(last)], "data_digest": digests.get(fold.test_last, ""),
            "banners": list(panel.banners),
        }  # fmt: skip
        folder = split_files.folder_of(root, record.strategy, fold.number)
        part = trades.filter(pl.col("split") == fold.number)
        split_files.write_split(ctx.artifacts, folder, split, part, mine, facts)
    last_number = record.next_split.fold.number
    split_files.write_choice(
        ctx.artifacts, split_files.folder_of(root, record.strategy, last_number), record.next_split, inputs[last_number]
    )
    _forget_later(root / record.strategy, last_number)


def _forget_later(folder: Path, last_number: int) -> None:
    """Remove splits of an earlier run over more history; they would be mistaken for this one's."""
    for old in folder.glob("split_*"):
        if int(old.name.removeprefix("split_")) > last_number:
            shutil.rmtree(old)
    for name in ("manifest.json", "trade_list.csv", "trade_list.parquet", "equity_curve.csv", "equity_curve.parquet"):
        (split_files.folder_of(folder.parent, folder.name, last_number) / name).unlink(missing_ok=True)


def _write_summary(ctx: Context, panel: Panel, record: WalkForward, evidence: report.Evidence, folder: Path) -> None:
    next_params = asdict(record.next_split.params)
    summary = {
        "strategy": record.strategy,
        "evidence_through": str(ctx.calendar.sessions[panel.last_session]),
        "next_params": next_params,
        "next_params_hash": record.next_split.params_hash,
        "chosen_by": record.next_split.chosen_by,
        "why": record.next_split.why,
        "curve": asdict(evidence.curve),
        "trades": asdict(evidence.trades),
        "banners": list(panel.banners),
    }
    ctx.artifacts.write(folder / SUMMARY, canonical_json(jsonable(summary)).encode())
