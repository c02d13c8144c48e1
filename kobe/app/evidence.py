"""Turn a walk-forward into the figures of its report: intervals, variants, per-split lines."""

import math

import numpy as np

from kobe.app.evidence_charts import charts_of
from kobe.backtest import engine, metrics, walk_forward
from kobe.backtest.engine import Assumptions, Outcomes, Portfolio
from kobe.backtest.montecarlo import bootstrap_interval, clustered_interval
from kobe.backtest.walk_forward import WalkForward
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.reports.walk_forward import Evidence, SplitLine, Variant
from kobe.reports.walk_forward_charts import CostPoint
from kobe.strategies import STRATEGIES

from dataclasses import asdict, replace  # isort: skip


AS_REPORTED, WITHOUT_COSTS = "as reported", "without costs"
COSTS = {WITHOUT_COSTS: 0.0, AS_REPORTED: 1.0, "costs x2": 2.0, "costs x3": 3.0}
LEFT_TO_THE_COST_TABLE = (WITHOUT_COSTS, "costs x3")


def collect(
    panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions, *, seed: int
) -> Evidence:
    """Return the evidence about one strategy."""
    o = record.outcomes
    done = o.take(o.closed)
    returns = record.portfolio.returns
    lines = tuple(_split_line(panel, record, k) for k in range(len(record.splits)))
    variants = _variants(panel, features, record, assumptions)
    costs = tuple(CostPoint(multiplier=m, sharpe=variants[name].sharpe, average_r=variants[name].average_r)
                  for name, m in COSTS.items())  # fmt: skip
    return Evidence(
        strategy=record.strategy,
        curve=metrics.curve_metrics(returns, record.portfolio.exposure),
        trades=metrics.trade_metrics(done.net_r, done.net_r, done.session),
        signals=len(o),
        ambiguous_share=float(done.walked.ambiguous.mean()) if len(done) else math.nan,
        sharpe_interval=bootstrap_interval(returns, metrics.sharpe, seed=seed),
        average_r_interval=clustered_interval(done.net_r, done.session, lambda v: float(v.mean()), seed=seed),
        profit_factor_interval=clustered_interval(done.net_r, done.session, metrics.profit_factor, seed=seed),
        positive_windows=float(np.mean([line.net_usd > 0 for line in lines])),
        parameter_trials=record.trials,
        variants=tuple(v for v in variants.values() if v.name not in LEFT_TO_THE_COST_TABLE),
        splits=lines,
        equity=record.portfolio.equity_usd / record.portfolio.starting_cash_usd,
        drawdown=metrics.drawdown_curve(returns),
        charts=charts_of(panel, record, costs, seed=seed),
    )


def _variants(panel: Panel, features: FeatureTable, record: WalkForward, base: Assumptions) -> dict[str, Variant]:
    changed = {name: replace(base, costs=base.costs.times(m)) for name, m in COSTS.items() if name != AS_REPORTED}
    changed |= {"without stop": replace(base, use_stop=False), "target before stop": replace(base, stop_first=False)}
    found = {AS_REPORTED: _variant(AS_REPORTED, record.outcomes, record.portfolio)}
    strategy, folds = STRATEGIES[record.strategy], [s.fold for s in record.splits]
    for name, assumptions in changed.items():
        outcomes, _ = walk_forward.out_of_sample(panel, features, strategy, record.splits, assumptions)
        portfolio = engine.run_portfolio(panel, outcomes, assumptions, folds[0].test_first, folds[-1].test_last)
        found[name] = _variant(name, outcomes, portfolio)
    return found


def _variant(name: str, outcomes: Outcomes, portfolio: Portfolio) -> Variant:
    r = outcomes.net_r[outcomes.closed]
    return Variant(
        name=name,
        sharpe=metrics.sharpe(portfolio.returns),
        cagr=metrics.cagr(portfolio.returns),
        max_drawdown=metrics.max_drawdown(portfolio.returns),
        profit_factor=metrics.profit_factor(r),
        average_r=float(r.mean()) if len(r) else math.nan,
    )


def _split_line(panel: Panel, record: WalkForward, k: int) -> SplitLine:
    split, sessions = record.splits[k], panel.calendar.sessions
    mine = record.split_number == split.fold.number
    net = np.zeros(len(record.outcomes))
    net[record.portfolio.offered] = np.nan_to_num(record.portfolio.net_usd)
    bought = np.zeros(len(record.outcomes), dtype=np.bool_)
    bought[record.portfolio.offered] = record.portfolio.quantity > 0
    r = record.outcomes.net_r[mine & record.outcomes.closed]
    first = split.fold.test_first - record.portfolio.first_session
    window = record.portfolio.returns[first : first + split.fold.test_last - split.fold.test_first + 1]
    grid = STRATEGIES[record.strategy].grid
    params = asdict(split.params)
    return SplitLine(
        number=split.fold.number,
        train_first=sessions[split.fold.train_first],
        test_first=sessions[split.fold.test_first],
        test_last=sessions[split.fold.test_last],
        chosen_by=split.chosen_by,
        params=" ".join(f"{name}={params[name]}" for name in grid),
        signals=int(mine.sum()),
        taken=int((mine & bought).sum()),
        net_usd=float(net[mine].sum()),
        average_r=float(r.mean()) if len(r) else math.nan,
        sharpe=metrics.sharpe(window),
    )
