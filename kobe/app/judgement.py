"""What a walk-forward's record is worth: deflated by everything ever tried, against chance, cash and the market."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kobe.app import experiments
from kobe.backtest import benchmarks, metrics, overfit, walk_forward
from kobe.backtest.engine import Assumptions
from kobe.backtest.montecarlo import block_length
from kobe.backtest.walk_forward import WalkForward
from kobe.core.errors import ConfigError, DataError
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

DRAWS = 200
ABSURD_SHARPE, ABSURD_WIN_RATE = 5.0, 0.90
LEAST_SESSIONS_FOR_PBO = 320


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Figures of one strategy's out-of-sample record; NaN where a figure cannot be had, None where it was not asked.

    Attributes:
        sessions: of the record.
        sharpe: annualised; trades, win_rate, profit_factor (in R) of the closed signals.
        trials: different combinations of this strategy ever looked at on such a market, those of this run included.
        trial_sharpe_sd: standard deviation of the grid's annual Sharpe ratios over the same sessions.
        psr: probability that the true Sharpe ratio is above zero.
        expected_max_sharpe: annual Sharpe ratio the best of so many worthless trials would show.
        dsr: deflated Sharpe ratio: probability that the true one is above that.
        needed_sessions: minimum track record to show a Sharpe ratio above zero at 95%.
        pbo, pbo_low, pbo_high: probability of backtest overfitting, mean and range over shifted blocks.
        market_sharpe, market_cagr: the market symbol bought and held over the same sessions.
        costs_x2_profit_factor: profit factor in R with every cost doubled.
        spa_cash: Hansen's consistent p against doing nothing, over all combinations.
        random_mean_r_p, random_sharpe_p, random_excess_t: against entries at random in the same sessions.
        absurd: too good to be true, so that nothing of it may be promoted.
    """

    sessions: int
    sharpe: float
    trades: int
    win_rate: float
    profit_factor: float
    trials: int
    trial_sharpe_sd: float
    psr: float
    expected_max_sharpe: float
    dsr: float
    needed_sessions: float
    pbo: float
    pbo_low: float
    pbo_high: float
    market_sharpe: float
    market_cagr: float
    costs_x2_profit_factor: float
    absurd: bool
    spa_cash: float | None = None
    random_mean_r_p: float | None = None
    random_sharpe_p: float | None = None
    random_excess_t: float | None = None


DEFLATED = ("trials", "expected_max_sharpe", "dsr")
"""The figures that depend on what was tried before, and so differ when the same run is made again later."""


def trial_rows(record: WalkForward) -> list[dict[str, Any]]:
    """Return the combinations of a walk-forward as rows of the experiment registry."""
    tried = record.tried
    return [
        experiments.trial(
            record.strategy, asdict(p), name, n, math.nan, overfit.per_period(metrics.sharpe(tried.returns[:, k]))
        )
        for k, (p, name, n) in enumerate(zip(tried.params, tried.params_hash, tried.trades, strict=True))
    ]  # fmt: skip


def judge(
    panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions, *, seed: int, thorough: bool,
    tried_before: AbstractSet[str],
) -> Statistics:  # fmt: skip
    """Work the figures out.

    Args:
        panel: the bars the record was made from.
        features: their feature table.
        record: the walk-forward.
        assumptions: of the record.
        seed: of everything drawn.
        thorough: also draw entries at random and test superior ability.
        tried_before: names of the combinations that earlier runs looked at.
    """
    returns, done = record.portfolio.returns, record.outcomes.take(record.outcomes.closed)
    trials = len(tried_before | set(record.tried.params_hash))
    sharpes = np.array([metrics.sharpe(column) for column in record.tried.returns.T])
    sharpes = sharpes[np.isfinite(sharpes)]
    spread = float(np.std(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    deflated = overfit.deflated_sharpe(returns, trials=trials, trial_variance=overfit.per_period_variance(spread**2))
    sharpe, won = metrics.sharpe(returns), metrics.win_rate(done.net_r)
    found = Statistics(
        sessions=len(returns), sharpe=sharpe, trades=len(done), win_rate=won,
        profit_factor=metrics.profit_factor(done.net_r), trials=trials, trial_sharpe_sd=spread,
        psr=overfit.probabilistic_sharpe(returns), dsr=deflated.probability,
        expected_max_sharpe=deflated.benchmark / overfit.per_period(1.0),
        needed_sessions=overfit.minimum_track_record(returns),
        costs_x2_profit_factor=_dearer(panel, features, record, assumptions),
        absurd=bool(sharpe > ABSURD_SHARPE or won > ABSURD_WIN_RATE),
        **_overfitting(record), **_market(panel, features, record, assumptions),
    )  # fmt: skip
    return _with_chance(found, panel, features, record, assumptions, seed) if thorough else found


def _overfitting(record: WalkForward) -> dict[str, float]:
    returns = record.tried.returns
    varied = returns[:, np.ptp(returns, axis=0) > 0]
    if varied.shape[1] < 2 or len(varied) < LEAST_SESSIONS_FOR_PBO:
        return {"pbo": math.nan, "pbo_low": math.nan, "pbo_high": math.nan}
    found = overfit.pbo_over_shifts(varied, blocks=10, shifts=4)
    return {"pbo": found.mean, "pbo_low": found.low, "pbo_high": found.high}


def _span(record: WalkForward) -> tuple[int, int]:
    return record.splits[0].fold.test_first, record.splits[-1].fold.test_last


def _market(panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions) -> dict[str, float]:
    try:
        held = benchmarks.hold_market(panel, features, *_span(record), assumptions)
    except DataError:  # a store without the market symbol: the comparison cannot be had, the record can
        return {"market_sharpe": math.nan, "market_cagr": math.nan}
    return {"market_sharpe": metrics.sharpe(held), "market_cagr": metrics.cagr(held)}


def _dearer(panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions) -> float:
    dear = replace(assumptions, costs=assumptions.costs.times(2.0))
    strategy = STRATEGIES[record.strategy]
    outcomes, _ = walk_forward.out_of_sample(panel, features, strategy, record.splits, dear)
    return metrics.profit_factor(outcomes.net_r[outcomes.closed])


def _with_chance(
    found: Statistics, panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions, seed: int
) -> Statistics:
    strategy, (first, last) = STRATEGIES[record.strategy], _span(record)
    tables = benchmarks.tables_of(panel, features, strategy, record.splits)
    if not any(len(table) for table in tables):
        return replace(found, random_mean_r_p=math.nan, random_sharpe_p=math.nan, random_excess_t=math.nan,
                       spa_cash=_spa(record, seed))  # fmt: skip
    drawn = benchmarks.random_entry(panel, features, tables, first, last, assumptions, seed=seed, draws=DRAWS)
    return replace(
        found, random_mean_r_p=drawn.p_mean_r, random_sharpe_p=drawn.p_sharpe, random_excess_t=drawn.excess_t,
        spa_cash=_spa(record, seed),
    )  # fmt: skip


def _spa(record: WalkForward, seed: int) -> float:
    """Hansen's p against cash over the record and all combinations; NaN where the library is not installed."""
    models = np.column_stack([record.portfolio.returns, record.tried.returns])
    models = models[:, np.ptp(models, axis=0) > 0]
    if not models.shape[1]:
        return math.nan
    block = block_length(record.portfolio.returns)
    try:
        return overfit.superior_ability(np.zeros(len(models)), models, block_sessions=block, seed=seed).consistent
    except ConfigError:
        return math.nan
