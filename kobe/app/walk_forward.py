"""`kobe walk-forward`: choose in training, judge in testing, write every artifact, and the data set for the model."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from kobe.app import experiments, judgement, shipping, split_files, tables
from kobe.app.context import Context
from kobe.app.evidence import collect
from kobe.app.evidence_charts import benchmark_of
from kobe.app.signals_file import DATASET
from kobe.app.verdict import verdict
from kobe.backtest import walk_forward
from kobe.backtest.engine import Assumptions
from kobe.backtest.folds import Fold, folds
from kobe.backtest.walk_forward import Choice, Split, Support, WalkForward, following
from kobe.core.errors import MissingDataError, UsageError
from kobe.core.ids import canonical_json, digest
from kobe.core.panel import Panel
from kobe.core.threads import each
from kobe.features.table import FeatureTable
from kobe.infra.records.artifacts import sha256_file
from kobe.learning import dataset
from kobe.reports import walk_forward as report
from kobe.reports.document import Document, jsonable
from kobe.reports.render import html, markdown, terminal
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import Strategy

GRIDS = ("full", "one")
SUMMARY, REPORT = "summary.json", "walk_forward"
RENDERERS: dict[str, Callable[[Document], str]] = {
    "html": html.render, "md": markdown.render, "json": terminal.as_json,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WalkForwardRequest:
    """What to walk.

    Attributes:
        strategy: `both`, or one.
        until: the last session whose bars are seen.
        resume: take over the choices of finished splits.
        grid: `full`, every combination of the strategy's grid; `one`, its configured parameters alone.
        thorough: also ask chance and the test of superior ability, which takes longer (`kobe walk-forward --thorough`).
    """

    strategy: str = "both"
    until: date | None = None
    resume: bool = True
    thorough: bool = False
    grid: str = "full"


def run_walk_forward(ctx: Context, request: WalkForwardRequest) -> Document:
    """Walk the strategies forward and write `wf_outputs`.

    Raises:
        UsageError: unknown strategy.
        MissingDataError: too little history for one split.
    """
    if request.grid not in GRIDS:
        raise UsageError("unknown grid", seen=request.grid, expected=", ".join(GRIDS))
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
        _walk(ctx, panel, features, _strategy(name, request.grid), windows, assumptions, digests, resume=request.resume)
        for name in names
    ]
    evidence = [collect(panel, features, r, assumptions, seed=ctx.settings.run.seed) for r in records]
    market = experiments.SYNTHETIC if panel.is_synthetic else experiments.REAL
    statistics = [
        judgement.judge(
            panel, features, r, assumptions, seed=ctx.settings.run.seed, thorough=request.thorough,
            tried_before=ctx.experiments.looked_at(r.strategy, market),
        )
        for r in records
    ]  # fmt: skip
    evidence = [replace(e, verdict=verdict(e, s)) for e, s in zip(evidence, statistics, strict=True)]
    frame = dataset.build(panel, features, records)
    root = ctx.paths.walk_forward
    pages = {kind: root / f"{REPORT}.{kind}" for kind in RENDERERS}
    made = [root / DATASET, *pages.values(), *(root / name / SUMMARY for name in names)]
    files = [path.relative_to(root.parent).as_posix() for path in made]
    days = ctx.calendar.sessions[windows[0].test_first : windows[-1].test_last + 1]
    benchmark = benchmark_of(panel, features, records[0], assumptions)
    document = report.build(days, evidence, panel.banners, files, benchmark=benchmark)
    tables.write_table(ctx.artifacts, root / "dataset", frame)
    for kind, page in pages.items():
        ctx.artifacts.write(page, RENDERERS[kind](document).encode())
    for record, found, figures in zip(records, evidence, statistics, strict=True):
        _write_summary(ctx, panel, record, found, figures)
    trials = {r.strategy: r.trials for r in records}
    ctx.audit.append("walk_forward", {"data": panel.digest, "until": str(days[-1]), "trials": trials})
    _remember(ctx, panel, request, records, statistics)
    return document


def _remember(
    ctx: Context, panel: Panel, request: WalkForwardRequest, records: list[WalkForward],
    statistics: list[judgement.Statistics],
) -> None:  # fmt: skip
    """Put the run with every combination it looked at into the experiment registry."""
    asked = experiments.question(
        ctx, panel, "walk_forward", {"strategy": request.strategy, "until": request.until and str(request.until),
                                     "grid": request.grid, "thorough": request.thorough},
    )  # fmt: skip
    rows = [row for record in records for row in judgement.trial_rows(record)]
    figures = {r.strategy: asdict(s) for r, s in zip(records, statistics, strict=True)}
    deflated = {name: {key: found[key] for key in judgement.DEFLATED} for name, found in figures.items()}
    own = {name: {k: v for k, v in found.items() if k not in judgement.DEFLATED} for name, found in figures.items()}
    root = ctx.paths.walk_forward
    manifests = sorted(p for r in records for p in (root / r.strategy).glob("split_*/manifest.json"))
    artifacts = {p.relative_to(root).as_posix(): sha256_file(p) for p in manifests}
    experiments.record(ctx, asked, rows, own, artifacts, deflated=deflated)


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


def _strategy(name: str, grid: str) -> Strategy:
    return STRATEGIES[name] if grid == "full" else replace(STRATEGIES[name], grid={})


def _walk(
    ctx: Context, panel: Panel, features: FeatureTable, strategy: Strategy, windows: list[Fold],
    assumptions: Assumptions, digests: dict[int, str], *, resume: bool,
) -> WalkForward:  # fmt: skip
    name, base = strategy.name, ctx.strategy_params()[strategy.name]
    w, root = ctx.settings.walk_forward, ctx.paths.walk_forward
    terms = {"walk_forward": w.model_dump(), "costs": jsonable(ctx.settings.costs.model_dump(mode="json")),
             "haircut": ctx.settings.account.delisting_haircut}  # fmt: skip
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
    account = jsonable(ctx.settings.account.model_dump(mode="json"))
    key = digest([panel.digest, [inputs[f.number] for f in wanted], account, ctx.settings.earnings.model_dump_json(),
                  ctx.settings.scan.regime])  # fmt: skip
    tried = split_files.read_tried(root / name, strategy, key) if resume else None
    elsewhere = shipping.record_maker(ctx, panel, assumptions) if tried is None else None
    support = Support(splits=known, tried=tried, elsewhere=elsewhere)
    record = walk_forward.run(
        panel, features, strategy, base, windows, assumptions, choice=choice,
        support=support, progress=ctx.progress,
    )  # fmt: skip
    if tried is None:
        split_files.write_tried(ctx.artifacts, root / name, record.tried, key)
    _write_splits(ctx, panel, record, inputs, digests)
    return record


def _write_splits(
    ctx: Context, panel: Panel, record: WalkForward, inputs: dict[int, str], digests: dict[int, str]
) -> None:
    trades, equity = split_files.trades_frame(panel, record), split_files.equity_frame(panel, record)
    root, sessions = ctx.paths.walk_forward, ctx.calendar.sessions

    def write(split: Split) -> None:
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

    each(record.splits, len(panel) * len(record.splits), write)
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


def _write_summary(
    ctx: Context, panel: Panel, record: WalkForward, evidence: report.Evidence, found: judgement.Statistics
) -> None:
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
        "statistics": asdict(found),
        "banners": list(panel.banners),
    }
    folder = ctx.paths.walk_forward / record.strategy
    ctx.artifacts.write(folder / SUMMARY, canonical_json(jsonable(summary)).encode())
