"""The pipeline as a bundle of the real functions, and what it makes of one world, each stage computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from kobe.app import order_facts
from kobe.app.context import Context
from kobe.app.leakcheck.world import World
from kobe.backtest import engine, walk_forward
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.backtest.folds import Fold, folds
from kobe.backtest.walk_forward import Choice, WalkForward
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.data import assemble, holds, inspection, universe
from kobe.data.quality import Scope
from kobe.data.universe import Rules, Universe
from kobe.decisions import scan as scans
from kobe.features.table import FeatureTable
from kobe.learning import dataset as datasets
from kobe.learning import train as training
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams, Strategy

UNIVERSE_EVERY_SESSIONS = 63


def find_holds(world: World) -> pl.DataFrame:
    """Return the holds that the quality rules call for, as the store would keep them."""
    rules = Scope(calendar=world.calendar, adjustment=world.provenance.adjustment)
    found = inspection.findings(inspection.in_order(world.bars), world.events, rules)
    return holds.to_frame(inspection.holds_of(found, world.calendar))


def adjust(world: World, held: pl.DataFrame) -> Panel:
    """Build the panel of a world: tape prices adjusted on read by the splits it knows."""
    return assemble.panel_from(world.bars, world.calendar, world.provenance, world.events, held)


def choose_members(panel: Panel, size: int) -> Universe:
    """Choose a universe anew every quarter from the bars up to then."""
    days = range(panel.first_session + UNIVERSE_EVERY_SESSIONS, panel.last_session + 1, UNIVERSE_EVERY_SESSIONS)
    rules = Rules(size=size, min_adv_usd=1e6, min_history=20)
    chosen = [panel.calendar.sessions[n] for n in (days or [panel.last_session])]
    return universe.build(panel, "leakcheck", chosen, rules, rolling=True)[0]


def gate_facts(panel: Panel, session: int, symbol: str) -> tuple[bool | None, Decimal | None, float | None]:
    """Return what the gates are told about a symbol at a session's close: tradable, raw close, dollar volume."""
    seen = order_facts.standing(panel.until(session), symbol)
    return seen.tradable, seen.raw_close, seen.adv_usd


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Every stage from delivered bars to an order's facts; a mutant replaces exactly one.

    `walk` and `scan` are whole stages: what they call inside themselves is theirs.
    """

    holds: Callable[[World], pl.DataFrame] = find_holds
    adjust: Callable[[World, pl.DataFrame], Panel] = adjust
    members: Callable[[Panel, int], Universe] = choose_members
    mask: Callable[[Panel, Universe], Panel] = universe.masked
    table: Callable[[Panel, str], FeatureTable] = FeatureTable
    inputs: Callable[..., Any] = datasets.feature_matrix
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: dict(STRATEGIES))
    evaluate: Callable[[Panel, FeatureTable, SignalTable, Assumptions], Outcomes] = engine.evaluate
    walk: Callable[..., WalkForward] = walk_forward.run
    dataset: Callable[..., pl.DataFrame] = datasets.build
    train: Callable[..., training.Trained] = training.train
    scan: Callable[..., scans.Scan] = scans.run
    standing: Callable[[Panel, int, str], Any] = gate_facts

    def parts(self, names: Sequence[str]) -> tuple[Any, ...]:
        """Return some of the functions; two pipelines that agree in these compute the same."""
        rules = tuple(s.signals for s in self.strategies.values()) if "strategies" in names else ()
        return (*(getattr(self, name) for name in names if name != "strategies"), *rules)

    def replaced(self, other: "Pipeline") -> str:
        """Return the stages in which another pipeline differs."""
        return ", ".join(f.name for f in fields(self) if self.parts([f.name]) != other.parts([f.name]))


BARS = ("holds", "adjust", "members", "mask")
NUMBERS = (*BARS, "table")
EVIDENCE = (*NUMBERS, "strategies", "walk")
RESTS_ON: dict[str, tuple[str, ...]] = {
    "held": ("holds",),
    "whole_panel": ("holds", "adjust"),
    "members": ("holds", "adjust", "members"),
    "panel": BARS,
    "features": NUMBERS,
    "signals": (*NUMBERS, "strategies"),
    "outcomes": (*NUMBERS, "strategies", "evaluate"),
    "walked": EVIDENCE,
    "dataset": (*EVIDENCE, "dataset"),
    "trained": (*EVIDENCE, "dataset", "train"),
}
"""Stage -> the parts of the pipeline it rests on: two pipelines alike in these share the result."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the settings of a home give the pipeline."""

    params: Mapping[str, BaseParams]
    assumptions: Assumptions
    warm_up: int
    train: int
    test: int
    anchored: bool
    choice: Choice
    seed: int

    @classmethod
    def of(cls, ctx: Context) -> "Terms":
        """Take them from a home."""
        w = ctx.settings.walk_forward
        choice = Choice(purge_sessions=w.purge_sessions, least_trades=w.least_trades, plateau=w.plateau)
        return cls(
            params=ctx.strategy_params(), assumptions=ctx.assumptions(), warm_up=w.warm_up_sessions,
            train=w.train_sessions, test=w.test_sessions, anchored=w.anchored, choice=choice,
            seed=ctx.settings.run.seed,
        )  # fmt: skip

    def windows(self, first: int, last: int) -> list[Fold]:
        """Return the complete walk-forward splits of a span of sessions."""
        return folds(
            first + self.warm_up, last, train=self.train, test=self.test, step=self.test, anchored=self.anchored
        )


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What a pipeline makes of a world, read at a session or at its end.

    Attributes:
        world: what is known.
        pipeline: the functions.
        terms: the settings.
        upto: the panel is cut at this session, as `--until` does; None: not at all.
        memo: results by stage, world and functions; pipelines that share them share it.
    """

    world: World
    pipeline: Pipeline
    terms: Terms
    upto: int | None = None
    memo: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    def at(self, session: int) -> "Stages":
        """Return the same world read with the panel cut at a session."""
        return replace(self, upto=session)

    def _once(self, stage: str, compute: Callable[[], Any], *more: Any, uncut: bool = False) -> Any:
        key = (stage, self.world, None if uncut else self.upto, self.pipeline.parts(RESTS_ON[stage]), *more)
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]

    @property
    def held(self) -> pl.DataFrame:
        """Holds found in the world."""
        found: pl.DataFrame = self._once("held", lambda: self.pipeline.holds(self.world), uncut=True)
        return found

    @property
    def whole_panel(self) -> Panel:
        """Every bar, with holds and without a universe."""
        found: Panel = self._once("whole_panel", lambda: self.pipeline.adjust(self.world, self.held), uncut=True)
        return found

    @property
    def members(self) -> Universe:
        """The universe chosen from these bars."""
        found: Universe = self._once(
            "members", lambda: self.pipeline.members(self.whole_panel, self.world.universe_size), uncut=True
        )
        return found

    @property
    def panel(self) -> Panel:
        """The panel as every later stage sees it."""
        found: Panel = self._once("panel", self._panel)
        return found

    def _panel(self) -> Panel:
        panel = self.pipeline.mask(self.whole_panel, self.members)
        return panel if self.upto is None else panel.until(self.upto)

    @property
    def features(self) -> FeatureTable:
        """The feature table of the panel."""
        found: FeatureTable = self._once("features", lambda: self.pipeline.table(self.panel, self.world.market))
        return found

    def signals(self, name: str, *, shorts: bool = False) -> SignalTable:
        """Return a strategy's signals with the configured parameters, shorts added on request."""
        strategy, params = self.pipeline.strategies[name], replace(self.terms.params[name], shorts=shorts)
        found: SignalTable = self._once(
            "signals", lambda: strategy.signals(self.panel, self.features, params), name, shorts
        )
        return found

    def outcomes(self, name: str) -> Outcomes:
        """Return what became of those signals."""
        table = self.signals(name, shorts=True)
        found: Outcomes = self._once(
            "outcomes",
            lambda: self.pipeline.evaluate(self.panel, self.features, table, self.terms.assumptions),
            name,
        )
        return found

    def walked(self, name: str) -> WalkForward | None:
        """Return the walk-forward record of a strategy, or None where there is no complete split."""
        found: WalkForward | None = self._once("walked", lambda: self._walk(name), name)
        return found

    def _walk(self, name: str) -> WalkForward | None:
        windows = self.terms.windows(self.panel.first_session, self.panel.last_session)
        if not windows:
            return None
        return self.pipeline.walk(
            self.panel, self.features, self.pipeline.strategies[name], self.terms.params[name], windows,
            self.terms.assumptions, choice=self.terms.choice,
        )  # fmt: skip

    @property
    def dataset(self) -> pl.DataFrame:
        """The meta-model's data set; empty where there is no complete split."""
        found: pl.DataFrame = self._once("dataset", self._dataset)
        return found

    def _dataset(self) -> pl.DataFrame:
        records = [r for name in self.pipeline.strategies if (r := self.walked(name)) is not None]
        if not records or not any(len(r.outcomes) for r in records):
            return pl.DataFrame()
        return self.pipeline.dataset(self.panel, self.features, records)

    def trained(self, frame: pl.DataFrame, name: object = "") -> training.Trained:
        """Train on some rows of the data set; `name` tells two sets of rows apart."""
        found: training.Trained = self._once(
            "trained", lambda: self.pipeline.train(frame, {}, seed=self.terms.seed), name
        )
        return found


def rows_between(panel: Panel, first: int, last: int) -> np.ndarray:
    """Return the rows of sessions first to last, both included, in panel order."""
    return np.flatnonzero((panel.session >= first) & (panel.session <= last))
