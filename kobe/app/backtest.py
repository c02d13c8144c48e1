"""`kobe backtest`: one strategy with fixed parameters over the whole history. In-sample by nature, and it says so."""

from dataclasses import asdict, dataclass
from datetime import date

from kobe.app import experiments
from kobe.app.context import Context
from kobe.app.walk_forward import panel_until
from kobe.backtest import engine, fills, metrics, overfit
from kobe.backtest.montecarlo import bootstrap_interval
from kobe.core.errors import UsageError
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import params_hash


@dataclass(frozen=True, kw_only=True)
class BacktestRequest:
    """Which strategy, with which changed parameters, up to when."""

    strategy: str
    changes: dict[str, float | str]
    until: date | None = None


def run_backtest(ctx: Context, request: BacktestRequest) -> Document:
    """Run one strategy with fixed parameters through the research account.

    Raises:
        UsageError: unknown strategy.
    """
    if request.strategy not in STRATEGIES:
        raise UsageError("unknown strategy", seen=request.strategy, expected=", ".join(STRATEGIES))
    strategy = STRATEGIES[request.strategy]
    configured = ctx.settings.strategies.get(strategy.name, {})
    params = strategy.params({**configured, **request.changes})
    panel = panel_until(ctx, request.until)
    features = FeatureTable(panel, ctx.settings.market.symbol)
    assumptions = ctx.assumptions()
    outcomes = engine.evaluate(panel, features, strategy.signals(panel, features, params), assumptions)
    portfolio = engine.run_portfolio(panel, outcomes, assumptions, panel.first_session, panel.last_session)
    done = outcomes.take(outcomes.closed)
    curve = metrics.curve_metrics(portfolio.returns, portfolio.exposure)
    trades = metrics.trade_metrics(done.net_r, done.net_r, done.session)
    low, high = bootstrap_interval(portfolio.returns, metrics.sharpe, seed=ctx.settings.run.seed)
    states = {name: int((outcomes.walked.state == k).sum()) for k, name in enumerate(fills.STATES)}
    exits = {name: int((done.walked.reason == k).sum()) for k, name in enumerate(fills.REASONS) if name}
    counts = (*states.items(), *exits.items())
    figures = {**asdict(curve), **{f"trade_{k}": v for k, v in asdict(trades).items()}}
    asked = experiments.question(
        ctx, panel, "backtest", {"strategy": strategy.name, "changes": request.changes,
                                 "until": request.until and str(request.until)},
    )  # fmt: skip
    name = params_hash(strategy.name, params)
    tried = experiments.trial(
        strategy.name, asdict(params), name, trades.trades, trades.t_clustered, overfit.per_period(curve.sharpe)
    )
    experiments.record(ctx, asked, [tried], figures | {"params_hash": name}, {})
    return Document(
        schema="kobe.backtest/1",
        title=f"Backtest of {strategy.name}, {panel.calendar.sessions[panel.first_session]} to "
        f"{panel.calendar.sessions[panel.last_session]}",
        summary=(
            f"Sharpe {curve.sharpe:.2f} [{low:.2f}, {high:.2f}], {len(done):,} closed signals.",
            "In-sample: the parameters were not chosen before these bars. For evidence run `kobe walk-forward`.",
        ),
        banners=panel.banners,
        sections=(
            Section(title="Figures", table=Table(columns=("figure", "value"), rows=tuple(figures.items()))),
            Section(title="Signals and exits", table=Table(columns=("what", "count"), rows=counts)),
        ),
        data={
            "strategy": strategy.name, "params": asdict(params), "sharpe_interval": [low, high], "figures": figures,
            "states": states, "exits": exits,
        },
    )  # fmt: skip
