"""Bulk work on a compute backend: bars travel once, by digest; tasks carry parameters only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.app.context import Context
from kobe.backtest import montecarlo, walk_forward
from kobe.backtest.engine import Assumptions
from kobe.backtest.fitness import Fitness, training
from kobe.backtest.folds import Fold
from kobe.backtest.walk_forward import Record
from kobe.core.calendar import xnys
from kobe.core.panel import BAR_COLUMNS, Panel
from kobe.core.ports import Arrays, Shared
from kobe.features.table import FeatureTable
from kobe.learning import search
from kobe.learning.spaces import Genome
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

COLUMNS = ("offsets", "session", *BAR_COLUMNS, "raw_factor", "tradable", "dividend", "final_loss")
PIECES_PER_WORKER = 4


@dataclass(frozen=True, kw_only=True)
class About:
    """What a worker must know of the bars besides the arrays.

    Attributes:
        digest: of the panel; a worker builds each panel once.
        extra_closures: of the calendar.
        market_symbol: whose bars describe the market.
        assumptions: costs and account, without an entry filter: what it holds back keeps its simulated outcome.
        facts: source, feed, adjustment and universe of the panel.
    """

    digest: str
    extra_closures: tuple[Any, ...]
    market_symbol: str
    assumptions: Assumptions
    facts: tuple[tuple[str, str], ...]


def about(ctx: Context, panel: Panel, assumptions: Assumptions) -> About:
    """Return what workers must know of a panel."""
    facts = tuple((name, getattr(panel, name)) for name in ("source", "feed", "adjustment", "universe"))
    return About(
        digest=panel.digest, extra_closures=ctx.settings.calendar.extra_closures,
        market_symbol=ctx.settings.market.symbol, assumptions=replace(assumptions, entry_filter=None), facts=facts,
    )  # fmt: skip


def share(ctx: Context, panel: Panel) -> dict[str, Shared]:
    """Put a panel's arrays where workers find them by digest."""
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(panel, name) for name in COLUMNS}
    arrays["symbols"] = np.array([s.encode() for s in panel.symbols], dtype=np.bytes_)
    return ctx.compute.share(arrays)


_ARRAYS: dict[str, Arrays] = {}


@lru_cache(maxsize=2)
def _features(about_: str, closures: tuple[Any, ...], market: str, facts: tuple[tuple[str, str], ...]) -> FeatureTable:
    arrays = _ARRAYS[about_]
    columns: dict[str, Any] = {name: arrays[name] for name in COLUMNS}
    columns |= dict(facts)
    symbols = tuple(s.decode() for s in arrays["symbols"].tolist())
    panel = Panel(symbols=symbols, calendar=xnys(closures), **columns)
    return FeatureTable(panel, market)


def _table(told: About, arrays: Arrays) -> FeatureTable:
    """Return the feature table of the shipped bars; a worker keeps it for its next task."""
    _ARRAYS.clear()
    _ARRAYS[told.digest] = arrays
    return _features(told.digest, told.extra_closures, told.market_symbol, told.facts)


def pieces(ctx: Context, items: Sequence[Any]) -> list[list[Any]]:
    """Deal items into few tasks, in order; the cut changes no result."""
    import os

    workers = 1 if ctx.compute.name == "serial" else ctx.settings.compute.workers or os.cpu_count() or 1
    count = max(1, min(len(items), workers * PIECES_PER_WORKER))
    borders = [len(items) * k // count for k in range(count + 1)]
    return [list(items[a:b]) for a, b in pairwise(borders) if b > a]


@dataclass(frozen=True, kw_only=True)
class RecordTask:
    """Some combinations of a strategy to follow over the whole history."""

    told: About
    strategy: str
    params: tuple[BaseParams, ...]
    span: walk_forward.Span


def do_records(task: RecordTask, arrays: Arrays) -> list[Record]:
    """Follow combinations; runs in a worker."""
    features = _table(task.told, arrays)
    return walk_forward.records(
        features.panel, features, STRATEGIES[task.strategy], task.params, task.told.assumptions, task.span
    )


def record_maker(ctx: Context, panel: Panel, assumptions: Assumptions) -> walk_forward.RecordMaker | None:
    """Return what follows combinations on the configured backend, or None where that is this process."""
    if ctx.compute.name == "serial":
        return None
    told, shared = about(ctx, panel, assumptions), share(ctx, panel)

    def make(strategy: str, params: Sequence[BaseParams], span: walk_forward.Span) -> list[Record]:
        tasks = [
            RecordTask(told=told, strategy=strategy, params=tuple(part), span=span) for part in pieces(ctx, params)
        ]
        done = ctx.compute.map(do_records, tasks, shared=shared, progress=ctx.progress)
        return [record for part in done for record in part]

    return make


@dataclass(frozen=True, kw_only=True)
class FitnessTask:
    """Some genomes to judge in a train window."""

    told: About
    fold: Fold
    purge_sessions: int
    base: BaseParams
    genomes: tuple[Genome, ...]


def do_fitness(task: FitnessTask, arrays: Arrays) -> list[Fitness]:
    """Judge genomes; runs in a worker. The bars that were shipped end with the training."""
    features = _table(task.told, arrays)
    window = training(
        features.panel, task.fold, market_symbol=task.told.market_symbol, purge_sessions=task.purge_sessions
    )
    window = replace(window, features=features)
    return [search.judge(window, task.base, task.told.assumptions, g) for g in task.genomes]


def evaluator(
    ctx: Context, panel: Panel, fold: Fold, base: BaseParams, assumptions: Assumptions, purge_sessions: int
) -> search.Evaluate:
    """Return what judges genomes on the configured backend; the panel is cut at the end of training before it ships."""
    past = panel.until(fold.train_last)
    told, shared = about(ctx, past, assumptions), share(ctx, past)

    def evaluate(genomes: Sequence[Genome]) -> list[Fitness]:
        tasks = [
            FitnessTask(told=told, fold=fold, purge_sessions=purge_sessions, base=base, genomes=tuple(part))
            for part in pieces(ctx, genomes)
        ]
        return [f for part in ctx.compute.map(do_fitness, tasks, shared=shared) for f in part]

    return evaluate


@dataclass(frozen=True, kw_only=True)
class PathTask:
    """Some paths of a Monte Carlo simulation."""

    first: int
    last: int
    options: tuple[tuple[str, Any], ...]


def do_paths(task: PathTask, arrays: Arrays) -> montecarlo.Simulation:
    """Simulate paths; runs in a worker."""
    return montecarlo.simulate(arrays["returns"], task.first, task.last, **dict(task.options))


def simulate(
    ctx: Context, returns: npt.NDArray[np.float64], paths: int, options: Mapping[str, Any]
) -> list[montecarlo.Simulation]:
    """Simulate paths on the configured backend, in shards that join to the same digits however they are cut."""
    shared = ctx.compute.share({"returns": returns})
    tasks = [
        PathTask(first=part[0], last=part[-1] + 1, options=tuple(sorted(options.items())))
        for part in pieces(ctx, range(paths))
    ]
    return ctx.compute.map(do_paths, tasks, shared=shared)
