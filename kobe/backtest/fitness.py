"""How good parameters are inside a train window, for searches: bars after the window are cut off before anything."""

import math
from dataclasses import dataclass

from kobe.backtest import engine, metrics
from kobe.backtest.engine import Assumptions
from kobe.backtest.folds import Fold, in_train
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.strategies.spec import BaseParams, Strategy

LEAST_TRADES = 30  # DOMAIN 9; a walk-forward grid asks for 20 (DOMAIN 3.1), a search tries more and asks for more


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """What a search learns about one genome, and all it learns.

    Attributes:
        t: t statistic of mean net R clustered by signal date; NaN below the least number of trades.
        trades: closed trades of the window, one per symbol at a time.
        mean_r: their mean net R; NaN without a trade.
        complexity: nodes of a rule; 0 for the parameters of a written strategy.
    """

    t: float
    trades: int
    mean_r: float
    complexity: int = 0


@dataclass(frozen=True, kw_only=True)
class Training:
    """A train window and the bars up to its last session; later ones are not in it.

    Attributes:
        panel: cut at `fold.train_last`; earlier bars stay, because indicators need them (D11).
        features: its feature table, filled as genomes ask.
        fold: the window.
        purge_sessions: last sessions of training that are left out, besides every label that ends in the test.
    """

    panel: Panel
    features: FeatureTable
    fold: Fold
    purge_sessions: int


def training(panel: Panel, fold: Fold, *, market_symbol: str = "SPY", purge_sessions: int = 5) -> Training:
    """Cut a panel at the end of a fold's training."""
    past = panel.until(fold.train_last)
    features = FeatureTable(past, market_symbol)
    return Training(panel=past, features=features, fold=fold, purge_sessions=purge_sessions)


def fitness(
    window: Training,
    strategy: Strategy,
    params: BaseParams,
    assumptions: Assumptions,
    *,
    complexity: int = 0,
    least_trades: int = LEAST_TRADES,
) -> Fitness:
    """Judge one set of parameters in a train window; equals the walk-forward objective of the same combination."""
    table = strategy.signals(window.panel, window.features, params)
    outcomes = engine.evaluate(window.panel, window.features, table, assumptions)
    kept = outcomes.take(engine.one_per_symbol(outcomes) & outcomes.closed)
    kept = kept.take(in_train(window.fold, kept.session, kept.exit_session, window.purge_sessions))
    return Fitness(
        t=metrics.date_clustered_t(kept.net_r, kept.session) if len(kept) >= least_trades else math.nan,
        trades=len(kept),
        mean_r=float(kept.net_r.mean()) if len(kept) else math.nan,
        complexity=complexity,
    )
