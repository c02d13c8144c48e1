"""`kobe montecarlo`: resample the out-of-sample days and trades of the last walk-forward."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from kobe.app import shipping, split_files
from kobe.app.context import Context
from kobe.backtest import montecarlo
from kobe.backtest.montecarlo import Summary, TradeSummary
from kobe.backtest.paths import SCHEMES
from kobe.backtest.tail import tail_of
from kobe.core.errors import UsageError
from kobe.core.panel import Floats
from kobe.reports import montecarlo as report
from kobe.reports.document import Document
from kobe.reports.montecarlo import Outlook
from kobe.strategies import STRATEGIES


@dataclass(frozen=True, kw_only=True)
class MonteCarloRequest:
    """Which strategy (`both` for all), how many paths of how many sessions; no seed takes that of the settings."""

    strategy: str = "both"
    paths: int = 10_000
    horizon_sessions: int = 252
    seed: int | None = None


def run_montecarlo(ctx: Context, request: MonteCarloRequest) -> Document:
    """Simulate what the out-of-sample days could have brought in another order.

    Raises:
        UsageError: unknown strategy, or numbers out of bounds.
        MissingDataError: no walk-forward yet.
    """
    if request.strategy not in (*STRATEGIES, "both"):
        raise UsageError("unknown strategy", seen=request.strategy, expected=f"both, {', '.join(STRATEGIES)}")
    if request.paths < 1 or request.horizon_sessions < 1 or (request.seed or 0) < 0:
        raise UsageError("numbers out of bounds", seen=request, expected="paths and sessions above 0, seed 0 or more")
    names = list(ctx.settings.strategies) if request.strategy == "both" else [request.strategy]
    root, seed = ctx.paths.walk_forward, ctx.settings.run.seed if request.seed is None else request.seed
    curves = split_files.read_last(root, names, "equity_curve")
    trades = split_files.read_last(root, names, "trade_list")
    outlooks = [_outlook(ctx, name, curve, trades[name], request, seed) for name, curve in curves.items()]
    told = {o.strategy: {"ruin": o.main.ruin.share, "depth_95": dict(o.main.depths)[95]} for o in outlooks}
    ctx.audit.append(
        "montecarlo",
        {"paths": request.paths, "horizon_sessions": request.horizon_sessions, "seed": seed, "strategies": told},
    )
    return report.build(
        outlooks, paths=request.paths, horizon=request.horizon_sessions, seed=seed,
        banners=split_files.banners_of(root, list(curves)),
    )  # fmt: skip


def _outlook(
    ctx: Context, name: str, curve: pl.DataFrame, trades: pl.DataFrame, request: MonteCarloRequest, seed: int
) -> Outlook:
    returns = curve.get_column("return").to_numpy()
    block = montecarlo.block_length(returns)
    days = curve.get_column("date")
    taken = trades.filter((pl.col("quantity") > 0) & (pl.col("state") == "closed"))
    dates = taken.get_column("signal_date").n_unique()
    draws = max(1, round(dates * request.horizon_sessions / len(returns)))
    return Outlook(
        strategy=name,
        first=days[0],
        last=days[-1],
        sessions=len(returns),
        block_sessions=block,
        daily=tail_of(returns),
        schemes=_schemes(ctx, returns, block, request, seed),
        trades=_trades(taken, draws, request.paths, seed),
        trade_count=taken.height,
        dates_drawn=draws if taken.height else 0,
    )


def _schemes(ctx: Context, returns: Floats, block: float, request: MonteCarloRequest, seed: int) -> dict[str, Summary]:
    """Return every scheme's summary; days cannot be permuted into more days than there are."""
    horizon = request.horizon_sessions
    names = [s for s in SCHEMES if s != "permuted" or horizon <= len(returns)]
    return {
        s: montecarlo.summarise(
            shipping.simulate(
                ctx, returns, request.paths, {"horizon": horizon, "seed": seed, "block": block, "scheme": s}
            )
        )
        for s in names
    }


def _trades(taken: pl.DataFrame, draws: int, paths: int, seed: int) -> TradeSummary | None:
    """Resample the trades the account made; None when it made none."""
    if not taken.height:
        return None
    dates = taken.get_column("signal_date").to_numpy().astype("datetime64[D]").astype(np.int32)
    net_r = taken.get_column("net_r").to_numpy()
    return montecarlo.summarise_trades(montecarlo.simulate_trades(net_r, dates, 0, paths, draws=draws, seed=seed))
