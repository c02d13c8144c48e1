"""The work in vectorbt: TA-Lib indicators over all columns, then its compiled simulations (run by `.venv-bench`).

`order_function` trades the whole rules through `from_order_func(flexible=True)`, the only entrance that can leave on
the bar it came in on; `signals` is its fastest entrance, for the reduced rules.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb as portfolio

from . import market, rules, trades, worker

CASH_USD = 1e9


def _indicators(bars: dict[str, Any]) -> dict[str, Any]:
    opened, high, low, close = (bars[name] for name in ("open", "high", "low", "close"))
    rsi = vbt.talib("RSI").run(close, timeperiod=rules.RSI_BARS).real.to_numpy()
    sma = vbt.talib("SMA").run(close, timeperiod=rules.SMA_BARS).real.to_numpy()
    atr = vbt.talib("ATR").run(high, low, close, timeperiod=rules.ATR_BARS).real.to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        ibs = (close - low) / (high - low)
    return {"open": opened, "high": high, "low": low, "close": close, "rsi": rsi, "sma": sma, "atr": atr, "ibs": ibs}


def _setup(table: dict[str, Any], ibs_max: float, rsi_max: float) -> Any:
    trend = table["close"] > table["sma"]
    return trend & (table["ibs"] <= ibs_max + rules.NOISE) & (table["rsi"] <= rsi_max + rules.NOISE)


def _shifted(mask: Any) -> Any:
    """What the row before said; False in the first."""
    moved = np.zeros_like(mask)
    moved[1:] = mask[:-1]
    return moved


@njit
def _start(c: Any, width: int) -> Any:
    return np.zeros(c.target_shape[1], np.int64), np.zeros(c.target_shape[1], np.float64), width


@njit
def _order(c: Any, entry_bar: Any, stop: Any, width: int, entries: Any, exits: Any, bars: Any, terms: Any) -> Any:
    atr, opened, low, close = bars
    stop_atr, hold, fees = terms
    col, i = c.from_col, c.i
    s = col % width
    if c.last_position[col] > 0.0:
        if entry_bar[col] < i and (exits[i, s] or opened[i, s] <= stop[col]):
            price = opened[i, s]
        elif low[i, s] <= stop[col]:
            price = stop[col]
        elif i - entry_bar[col] >= hold - 1:
            price = close[i, s]
        else:
            return -1, portfolio.order_nothing_nb()
        return col, portfolio.order_nb(-c.last_position[col], price, fees=fees)
    if c.call_idx == 0 and entries[i, col]:
        entry_bar[col], stop[col] = i, opened[i, s] - stop_atr * atr[i - 1, s]
        return col, portfolio.order_nb(1.0, opened[i, s], fees=fees)
    return -1, portfolio.order_nothing_nb()


def order_function(table: dict[str, Any], entries: Any, exits: Any) -> Any:
    """Simulate the whole rules; entries are bool[bars, columns], one block of all symbols per combination."""
    width = table["close"].shape[1]
    prices = tuple(table[name] for name in ("atr", "open", "low", "close"))
    close = np.tile(table["close"], (1, entries.shape[1] // width))
    return vbt.Portfolio.from_order_func(
        close, _order, entries, exits, prices, (rules.STOP_ATR, rules.HOLD_BARS, rules.COST),
        flexible=True, pre_sim_func_nb=_start, pre_sim_args=(width,), init_cash=CASH_USD, fill_pos_record=False,
        max_orders=max(1, entries.size // 8), update_value=False, ffill_val_price=False,
    )  # fmt: skip


def signals(table: dict[str, Any], entries: Any, exits: Any, engine: str) -> Any:
    """Simulate the reduced rules."""
    return vbt.Portfolio.from_signals(
        table["close"], entries=entries, exits=exits, price=table["open"], size=1.0, fees=rules.COST,
        init_cash=CASH_USD, max_orders=max(1, entries.size // 8), engine=engine,
    )  # fmt: skip


def _closed(simulated: Any) -> Any:
    found = simulated.trades.values
    return found[found["status"] == 1]


def _keep(path: str, found: Any, group: Any, width: int, first: Any) -> None:
    trades.write(
        path, group=group, symbol=found["col"] % width, entry=found["entry_idx"] + first,
        exit=found["exit_idx"] + first, entry_price=found["entry_price"], exit_price=found["exit_price"],
    )  # fmt: skip


def w1(folder: str, idiom: str, *, keep: str = "", sessions: int = rules.W1_SESSIONS) -> worker.Call:
    """One pass; `idiom` is `order function` (whole rules), `numba` or `rust` (reduced rules)."""
    bars = {name: v.T for name, v in market.read(Path(folder), sessions).items()}

    def run() -> dict[str, Any]:
        table = _indicators(bars)
        entries = _shifted(_setup(table, rules.IBS_MAX, rules.RSI_MAX))
        exits = _shifted(table["rsi"] >= rules.RSI_EXIT - rules.NOISE)
        whole = idiom == "order function"
        found = _closed(order_function(table, entries, exits) if whole else signals(table, entries, exits, idiom))
        if keep:
            _keep(keep, found, np.zeros(len(found)), table["close"].shape[1], 0)
        return {"trades": len(found)}

    return run


def w2(folder: str, *, keep: str = "") -> worker.Call:
    """Every combination in every train window, the best applied to its test window; indicators once."""
    bars = {name: v.T for name, v in market.read(Path(folder)).items()}
    grid = [(a, b) for a in rules.IBS_GRID for b in rules.RSI_GRID]

    def window(table: dict[str, Any], first: int, length: int, chosen: list[int]) -> Any:
        part = {name: values[first : first + length] for name, values in table.items()}
        entries = _shifted(np.hstack([_setup(part, *grid[k]) for k in chosen]))
        return _closed(order_function(part, entries, _shifted(part["rsi"] >= rules.RSI_EXIT - rules.NOISE)))

    def run() -> dict[str, Any]:
        table, parts, groups, firsts, picked = _indicators(bars), [], [], [], []
        sessions, width = table["close"].shape
        for k, first in enumerate(range(0, sessions - rules.TRAIN - rules.TEST + 1, rules.TEST)):
            found = window(table, first, rules.TRAIN, list(range(len(grid))))
            combination = found["col"] // width
            totals = np.bincount(combination, found["return"], len(grid))
            best = int(np.argmax(totals / np.maximum(np.bincount(combination, minlength=len(grid)), 1)))
            picked.append(best)
            tested = window(table, first + rules.TRAIN, rules.TEST, [best])
            for mine, group, at in ((found, combination, first), (tested, len(grid) + best, first + rules.TRAIN)):
                parts.append(mine)
                groups.append(np.full(len(mine), 100 * k) + group)
                firsts.append(np.full(len(mine), at))
        if keep:
            _keep(keep, np.concatenate(parts), np.concatenate(groups), width, np.concatenate(firsts))
        return {"trades": sum(len(part) for part in parts), "splits": len(picked), "picked": picked}

    return run


if __name__ == "__main__":
    if len(sys.argv) > 2:  # a whole process: import, one pass, end
        w1(sys.argv[1], sys.argv[2])()
    else:
        worker.serve({"w1": w1, "w2": w2})
