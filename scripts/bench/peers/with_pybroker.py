"""The reduced rules in PyBroker: TA-Lib indicators symbol by symbol, its own loop over sessions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pybroker
import talib
from pybroker import FeeMode, PriceType, Strategy, StrategyConfig

from . import market, rules, trades, worker

FIRST_DAY = "2015-01-01"  # any: only the order of days counts


def _frame(bars: dict[str, Any], symbols: int) -> pd.DataFrame:
    length = bars["close"].shape[1]
    days = pd.bdate_range(FIRST_DAY, periods=length)
    columns = {name: values[:symbols].ravel() for name, values in bars.items()}
    return pd.DataFrame(
        {"date": np.tile(days, symbols), "symbol": np.repeat([f"S{k:05d}" for k in range(symbols)], length), **columns}
    )


def _ibs(data: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (data.close - data.low) / (data.high - data.low)


INDICATORS = [
    pybroker.indicator("rsi", lambda data: talib.RSI(data.close, rules.RSI_BARS)),
    pybroker.indicator("sma", lambda data: talib.SMA(data.close, rules.SMA_BARS)),
    pybroker.indicator("ibs", _ibs),
]


def _trade(ctx: Any) -> None:
    rsi = ctx.indicator("rsi")[-1]
    if ctx.long_pos():
        if rsi >= rules.RSI_EXIT - rules.NOISE:
            ctx.sell_fill_price = PriceType.OPEN
            ctx.sell_all_shares()
    elif (
        ctx.close[-1] > ctx.indicator("sma")[-1]
        and ctx.indicator("ibs")[-1] <= rules.IBS_MAX + rules.NOISE
        and rsi <= rules.RSI_MAX + rules.NOISE
    ):
        ctx.buy_fill_price = PriceType.OPEN
        ctx.buy_shares = 1


def w1(folder: str, symbols: int, *, keep: str = "") -> worker.Call:
    """One pass over the first symbols."""
    frame = _frame(market.read(Path(folder), rules.W1_SESSIONS), symbols)
    place = {day: k for k, day in enumerate(sorted(frame["date"].unique()))}
    config = StrategyConfig(initial_cash=1e9, fee_mode=FeeMode.ORDER_PERCENT, fee_amount=rules.COST * 100.0)
    pybroker.disable_logging()
    pybroker.disable_progress_bar()

    def run() -> dict[str, Any]:
        plan = Strategy(frame, FIRST_DAY, frame["date"].max(), config)
        plan.add_execution(_trade, sorted(frame["symbol"].unique()), indicators=INDICATORS)
        found = plan.backtest(calc_bootstrap=False).trades
        if keep:
            trades.write(
                keep, group=np.zeros(len(found)), symbol=found["symbol"].str[1:].astype(int),
                entry=found["entry_date"].map(place), exit=found["exit_date"].map(place),
                entry_price=found["entry"].astype(float), exit_price=found["exit"].astype(float),
            )  # fmt: skip
        return {"trades": len(found)}

    return run


if __name__ == "__main__":
    worker.serve({"w1": w1})
