"""Made-up markets taken the whole way: bars, walk-forward of both strategies, data set, candidate, verdict.

What `kobe walk-forward`, `kobe train-meta` and `kobe promote` do with the default settings, in memory.
"""

from dataclasses import dataclass

import polars as pl
from kit.bars import CALENDAR
from threadpoolctl import threadpool_limits

from kobe.app import judgement
from kobe.app.context import cost_model
from kobe.app.settings import Settings
from kobe.backtest import walk_forward
from kobe.backtest.account import Terms
from kobe.backtest.engine import Assumptions
from kobe.backtest.folds import Fold, folds
from kobe.backtest.walk_forward import WalkForward
from kobe.core.panel import Panel
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.features.table import FeatureTable
from kobe.learning import dataset, promote, train
from kobe.learning.promote import Line, Search
from kobe.learning.train import Trained
from kobe.strategies import STRATEGIES

SETTINGS = Settings()
SEED = SETTINGS.run.seed


def assumptions() -> Assumptions:
    """The default settings' costs and account."""
    a = SETTINGS.account
    terms = Terms(a.cash_usd, a.risk_fraction, a.name_cap, a.max_positions, a.max_adv_share)
    return Assumptions(costs=cost_model(SETTINGS), delisting_haircut=a.delisting_haircut, terms=terms)


def windows(panel: Panel) -> list[Fold]:
    """The default settings' windows over a panel."""
    w = SETTINGS.walk_forward
    first = panel.first_session + w.warm_up_sessions
    return folds(first, panel.last_session, train=w.train_sessions, test=w.test_sessions, step=w.test_sessions)


@dataclass(frozen=True)
class Evidence:
    """A market, what both strategies did in it out of sample, and what was tried for that."""

    panel: Panel
    features: FeatureTable
    records: tuple[WalkForward, ...]
    frame: pl.DataFrame
    search: Search


def of_bars(bars: pl.DataFrame) -> Evidence:
    """Walk both strategies forward over bars and build the data set."""
    panel = panel_from(bars, CALENDAR, Provenance(source="synthetic"))
    features, terms, choice = FeatureTable(panel), assumptions(), windows(panel)
    records = tuple(
        walk_forward.run(panel, features, STRATEGIES[name], STRATEGIES[name].params(changes), choice, terms)
        for name, changes in SETTINGS.strategies.items()
    )
    with threadpool_limits(1):
        told = [
            judgement.judge(panel, features, r, terms, seed=SEED, thorough=False, tried_before=frozenset())
            for r in records
        ]
    search = Search(
        trials=sum(s.trials for s in told) + 1,  # and the one look at the holdout
        trial_sharpe_sd=max(s.trial_sharpe_sd for s in told),
        pbo=max(s.pbo for s in told),
    )
    return Evidence(panel, features, records, dataset.build(panel, features, records), search)


def market(seed: int, *, symbols: int, years: int) -> pl.DataFrame:
    """Bars of which nothing about tomorrow can be known."""
    return synthetic_market(SyntheticSpec(symbols=symbols, years=years, seed=seed, reversal=0.0), CALENDAR)


def verdict(frame: pl.DataFrame, search: Search) -> tuple[Trained, list[Line]]:
    """Train a candidate and judge it against the base rate, as the first promotion of a home does."""
    with threadpool_limits(1):  # matrices this small only wait for each other's threads, and xdist has the processors
        trained = train.train(frame, {}, seed=SEED)
    holdout = trained.holdout.with_columns(p_champion=pl.col("p_base"))
    champion = train.base_rate_model(frame, {})
    return trained, promote.judge(holdout, trained.candidate, champion, trained.report, search, seed=SEED)
