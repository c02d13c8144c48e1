"""The numbers behind the pictures of the walk-forward report, taken from its record once."""

import math
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.backtest import benchmarks, fills, metrics
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.backtest.rolling import rolling_sharpe
from kobe.backtest.walk_forward import WalkForward
from kobe.core.errors import DataError
from kobe.core.panel import Floats, Panel
from kobe.features.table import FeatureTable
from kobe.reports.render.svg_bars import TradeStrip
from kobe.reports.render.svg_maps import Axis
from kobe.reports.walk_forward_charts import Benchmark, Charts, CostPoint, ExitLine, WorstTrade
from kobe.strategies import STRATEGIES

EDGES_R = np.arange(-12, 13) / 4.0
LONGEST_HOLD = 10
WORST = 5
BARS_BEFORE, BARS_BEHIND = 15, 8


def charts_of(panel: Panel, record: WalkForward, costs: tuple[CostPoint, ...], *, seed: int) -> Charts:
    """Return what the pictures of one strategy are drawn from.

    Args:
        panel: the bars.
        record: the walk-forward.
        costs: the same choices under multiplied costs.
        seed: of the rolling Sharpe's band.
    """
    done = record.outcomes.take(record.outcomes.closed)
    held = panel.session[done.walked.exit_row] - panel.session[done.walked.entry_row]
    return Charts(
        rolling=rolling_sharpe(record.portfolio.returns, seed=seed),
        months=_months(panel, record),
        axes=_axes(record),
        by_training=tuple(s.chosen_by == "train" for s in record.splits),
        objectives=np.array([_objective(record, k) for k in range(len(record.splits))]),
        edges=EDGES_R,
        counts=np.histogram(np.clip(done.net_r, EDGES_R[0], EDGES_R[-1]), EDGES_R)[0].astype(np.int64),
        holding=np.bincount(np.clip(held, 0, LONGEST_HOLD - 1), minlength=1).astype(np.int64),
        exits=_exits(done),
        costs=costs,
        exposure=record.portfolio.exposure,
        worst=_worst(panel, record),
    )


def benchmark_of(
    panel: Panel, features: FeatureTable, record: WalkForward, assumptions: Assumptions
) -> Benchmark | None:
    """Return the market held over the same sessions; None where the panel has no bar of it to buy."""
    first = record.portfolio.first_session
    last = first + len(record.portfolio.equity_usd) - 1
    try:
        returns = benchmarks.hold_market(panel, features, first, last, assumptions)
    except DataError:
        return None
    equity = np.asarray(np.cumprod(1.0 + returns), dtype=np.float64)
    return Benchmark(
        symbol=features.market_symbol,
        curve=metrics.curve_metrics(returns, np.ones(len(returns))),
        equity=equity,
        drawdown=metrics.drawdown_curve(returns),
        pays=bool(panel.dividend[panel.symbol_of_row == panel.position(features.market_symbol)].any()),
    )


def _months(panel: Panel, record: WalkForward) -> tuple[tuple[int, int, float], ...]:
    p = record.portfolio
    days = panel.calendar.days[p.first_session : p.first_session + len(p.equity_usd)]
    frame = pl.DataFrame({"day": pl.Series(days).cast(pl.Date), "growth": 1.0 + p.returns})
    monthly = frame.group_by(pl.col("day").dt.year().alias("year"), pl.col("day").dt.month().alias("month")).agg(
        pl.col("growth").product() - 1.0
    )
    return tuple((int(y), int(m), float(v)) for y, m, v in monthly.sort("year", "month").rows())


def _axes(record: WalkForward) -> tuple[Axis, ...]:
    grid = STRATEGIES[record.strategy].grid
    found = []
    for name, values in grid.items():
        best = np.full((len(values), len(record.splits)), np.nan)
        for s, split in enumerate(record.splits):
            for trial in split.trials:
                place = _place(values, trial.params[name])
                if place >= 0 and not math.isnan(trial.objective):
                    best[place, s] = np.fmax(best[place, s], trial.objective)
        chosen = tuple(_place(values, asdict(s.params)[name]) for s in record.splits)
        found.append(Axis(name=name, values=tuple(str(v) for v in values), best=best, chosen=chosen))
    return tuple(found)


def _place(values: "tuple[object, ...]", value: object) -> int:
    return values.index(value) if value in values else -1


def _objective(record: WalkForward, k: int) -> float:
    split = record.splits[k]
    return next((t.objective for t in split.trials if t.params_hash == split.params_hash), math.nan)


def _exits(done: Outcomes) -> tuple[ExitLine, ...]:
    lines = []
    for code, reason in enumerate(fills.REASONS):
        r = done.net_r[done.walked.reason == code]
        if len(r):
            line = ExitLine(reason=reason, trades=len(r), average_r=float(r.mean()), sum_r=float(r.sum()))
            lines.append(line)
    return tuple(sorted(lines, key=lambda x: -x.trades))


def _worst(panel: Panel, record: WalkForward) -> tuple[WorstTrade, ...]:
    """Worst trades the account made, by R; equal ones in the order of their signals."""
    o, p = record.outcomes, record.portfolio
    net: Floats = np.full(len(o), np.nan)
    taken: npt.NDArray[np.bool_] = np.zeros(len(o), dtype=np.bool_)
    net[p.offered], taken[p.offered] = p.net_usd, p.quantity > 0
    mine = np.flatnonzero(taken & o.closed)
    order = mine[np.lexsort((o.row[mine], o.net_r[mine]))][:WORST]
    return tuple(_worst_trade(panel, o, int(i), float(net[i])) for i in order)


def _worst_trade(panel: Panel, o: Outcomes, i: int, net_usd: float) -> WorstTrade:
    w, k = o.walked, int(o.symbol[i])
    entry, left = int(w.entry_row[i]), int(w.exit_row[i])
    rows = range(max(entry - BARS_BEFORE, int(panel.offsets[k])), min(left + BARS_BEHIND, int(panel.offsets[k + 1])))
    sessions, session = panel.calendar.sessions, panel.session
    bars = tuple(
        (sessions[session[r]], float(panel.open[r]), float(panel.high[r]), float(panel.low[r]), float(panel.close[r]))
        for r in rows
    )
    reason, net_r = fills.REASONS[w.reason[i]], float(o.net_r[i])
    strip = TradeStrip(
        label=f"{panel.symbols[k]} {sessions[session[entry]]}", result=f"{net_r:+.2f} R, {reason}", bars=bars,
        entered=sessions[session[entry]], left=sessions[session[left]],
        entry=float(w.entry_price[i]), stop=float(w.stop[i]), exit=float(w.exit_price[i]),
    )  # fmt: skip
    side = "long" if o.side[i] > 0 else "short"
    return WorstTrade(
        symbol=panel.symbols[k], side=side, reason=reason, net_r=net_r, net_usd=net_usd, strip=strip
    )  # fmt: skip
