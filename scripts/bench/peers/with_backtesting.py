"""The reduced rules in backtesting.py: one `Backtest` per symbol, TA-Lib indicators through `self.I`."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import talib
from backtesting import Backtest, Strategy

from . import market, rules, trades, worker


def _ibs(high: Any, low: Any, close: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (close - low) / (high - low)


class Rules(Strategy):
    """Buys one share at the next open after a setup, sells at the next open after the RSI exit."""

    def init(self) -> None:
        """Compute the indicators."""
        close = self.data.Close
        self.rsi = self.I(talib.RSI, close, rules.RSI_BARS)
        self.sma = self.I(talib.SMA, close, rules.SMA_BARS)
        self.ibs = self.I(_ibs, self.data.High, self.data.Low, close)

    def next(self) -> None:
        """Decide at one close."""
        rsi = self.rsi[-1]
        if self.position:
            if rsi >= rules.RSI_EXIT - rules.NOISE:
                self.position.close()
        elif (
            self.data.Close[-1] > self.sma[-1]
            and self.ibs[-1] <= rules.IBS_MAX + rules.NOISE
            and rsi <= rules.RSI_MAX + rules.NOISE
        ):
            self.buy(size=1)


def w1(folder: str, symbols: int, *, keep: str = "") -> worker.Call:
    """One pass over the first symbols."""
    bars = market.read(Path(folder), rules.W1_SESSIONS)
    days = pd.bdate_range("2015-01-01", periods=bars["close"].shape[1])
    frames = [
        pd.DataFrame({name.title(): values[k] for name, values in bars.items()}, index=days) for k in range(symbols)
    ]

    def run() -> dict[str, Any]:
        found = []
        for k, frame in enumerate(frames):
            stats = Backtest(frame, Rules, cash=1e9, commission=rules.COST).run()
            found.append(stats["_trades"].assign(symbol=k))
        table = pd.concat(found)
        if keep:
            trades.write(
                keep, group=np.zeros(len(table)), symbol=table["symbol"], entry=table["EntryBar"],
                exit=table["ExitBar"], entry_price=table["EntryPrice"], exit_price=table["ExitPrice"],
            )  # fmt: skip
        return {"trades": len(table)}

    return run


if __name__ == "__main__":
    worker.serve({"w1": w1})
