"""The work in kobe: the same calls its commands make, on the bars all sides read."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from kobe.backtest import engine, kernel, walk_forward
from kobe.backtest.costs import flat_costs
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.backtest.folds import folds
from kobe.core.calendar import xnys
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import Strategy

from . import machine, market, rules, trades, worker

ASSUMED = Assumptions(costs=flat_costs(rules.COST * 1e4))
FIRST_SESSION = 1_000  # any: the numbers only count


def panel(folder: str, sessions: int | None = None, *, copies: int = 1, spans: int = 1) -> Panel:
    """Return the shared bars as kobe's panel, symbol after symbol."""
    bars = market.stretched(market.read(Path(folder), sessions), copies=copies, spans=spans)
    symbols, length = bars["close"].shape
    columns: dict[str, Any] = {name: np.ascontiguousarray(values).ravel() for name, values in bars.items()}
    return Panel(
        symbols=tuple(f"S{k:05d}" for k in range(symbols)),
        offsets=np.arange(symbols + 1, dtype=np.int64) * length,
        session=np.tile(np.arange(FIRST_SESSION, FIRST_SESSION + length, dtype=np.int32), symbols),
        raw_factor=np.ones(symbols * length),
        calendar=xnys(),
        source="synthetic",
        **columns,
    )


@cache
def strategy(ibs: tuple[float, ...] = rules.IBS_GRID, rsi: tuple[float, ...] = rules.RSI_GRID) -> Strategy:
    """IBS+RSI without the conditions no peer has (price, liquidity, history, gap), with the grid of the bench."""
    spec = STRATEGIES["ibs_rsi"]
    free = spec.params(
        {"min_price_usd": 0.0, "min_adv_usd": 0.0, "min_history_bars": 0, "max_gap_atr": 1e9,
         "ibs_max": rules.IBS_MAX, "rsi_max": rules.RSI_MAX}
    )  # fmt: skip
    return replace(spec, defaults=free, grid={"ibs_max": ibs, "rsi_max": rsi})


def _keep(path: str, p: Panel, found: Outcomes, group: Any) -> None:
    w = found.walked
    trades.write(
        path, group=group, symbol=found.symbol, entry=p.session[w.entry_row] - FIRST_SESSION,
        exit=p.session[w.exit_row] - FIRST_SESSION, entry_price=w.entry_price, exit_price=w.exit_price,
    )  # fmt: skip


def w1(
    folder: str, *, threads: int, reduced: bool = False, keep: str = "", copies: int = 1, spans: int = 1
) -> worker.Call:
    """Indicators, signals, walk and costs of one pass, one position per symbol."""
    numba.set_num_threads(threads)
    p = panel(folder, rules.W1_SESSIONS, copies=copies, spans=spans)
    plan = strategy()
    params = replace(plan.defaults, hold_bars=rules.FOREVER_BARS) if reduced else plan.defaults
    assumed = replace(ASSUMED, use_stop=not reduced)

    def run() -> dict[str, Any]:
        numba.set_num_threads(threads)
        features = FeatureTable(p)
        found = engine.evaluate(p, features, plan.signals(p, features, params), assumed)
        taken = engine.one_per_symbol(found) & found.closed
        if keep:
            _keep(keep, p, found.take(taken), np.zeros(int(taken.sum())))
        return {"trades": int(taken.sum()), "signals": len(found)}

    return run


def _windows(p: Panel) -> list[Any]:
    return folds(p.first_session, p.last_session, train=rules.TRAIN, test=rules.TEST, step=rules.TEST)


def w2(folder: str, *, threads: int, times: int = 1) -> worker.Call:
    """`walk_forward.run` as the command calls it: choices, out-of-sample signals and the account included."""
    p = panel(folder)
    finer = tuple(float(x) for x in np.linspace(0.05, 0.25, len(rules.IBS_GRID) * times))
    plan = strategy() if times == 1 else strategy(finer)
    windows = _windows(p)

    def run() -> dict[str, Any]:
        numba.set_num_threads(threads)
        record = walk_forward.run(p, FeatureTable(p), plan, plan.defaults, windows, ASSUMED)
        return {
            "trades": len(record.outcomes),
            "splits": len(record.splits),
            "combinations": len(record.splits[0].trials),
        }

    return run


def w2_trades(folder: str, *, keep: str, tested: list[int]) -> worker.Call:
    """The trades of every window as a peer sees them that starts each window flat and stops at its last bar.

    The out-of-sample window of split k is traded with combination `tested[k]`, which is the peer's own choice: what
    is compared is the trades, not the taste.
    """
    p, plan = panel(folder), strategy()
    features, grid = FeatureTable(p), plan.combinations(plan.defaults)
    every = [engine.evaluate(p, features, plan.signals(p, features, c), ASSUMED) for c in grid]

    def window(found: Outcomes, first: int, last: int) -> Outcomes:
        mine = found.take((found.session >= first) & (found.session < last))
        w = mine.walked
        free = kernel.first_come(mine.symbol, mine.row, w.exit_row, w.state)
        return mine.take(free & mine.closed & (mine.exit_session <= last))

    def run() -> dict[str, Any]:
        parts, groups = [], []
        for k, fold in enumerate(_windows(p)):
            for c, found in enumerate(every):
                parts.append(window(found, fold.train_first, fold.train_last))
                groups.append(np.full(len(parts[-1]), 100 * k + c))
            parts.append(window(every[tested[k]], fold.test_first, fold.test_last))
            groups.append(np.full(len(parts[-1]), 100 * k + len(every) + tested[k]))
        _keep(keep, p, Outcomes.concat(parts), np.concatenate(groups))
        return {"trades": sum(len(part) for part in parts)}

    return run


TASKS: dict[str, worker.Task] = {
    "w1": w1, "w2": w2, "w2_trades": w2_trades, "read": machine.read, "recursions": machine.recursions,
}  # fmt: skip

if __name__ == "__main__":
    worker.serve(TASKS)
