"""One symbol, next open, against the library `backtesting`: the same fills, the same money, the same curve.

The library fills a market order at the next open (`trade_on_close` False) and takes a commission on both sides; kobe's
flat cost is the same share of both fills. Time exits at a close, targets and dividends are not its trade: the exits
here are by rule or by a stop.
"""

import backtesting.backtesting
import numpy as np
import pandas as pd
import pytest
from backtesting import Backtest, Strategy
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.backtest import engine
from kobe.backtest.account import Terms
from kobe.backtest.costs import flat_costs
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable

pytestmark = [  # both of the library's own
    pytest.mark.filterwarnings("ignore:Some trades remain open:UserWarning"),
    pytest.mark.filterwarnings("ignore:DatetimeIndex.dayofweek is deprecated"),
]
COST_BPS = 10.0
CASH = 1e6
LONG = 10_000  # sessions a position may last: the library has no time exit


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    """Let the library draw no progress bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backtesting.backtesting, "_tqdm", lambda bars, **_: bars)
        yield


def wishes(panel: Panel, rng: np.random.Generator, side: int, distance: float) -> SignalTable:
    """Signals and exits by chance, stops a fixed part of the close away."""
    n = len(panel)
    rows = np.flatnonzero(rng.random(n) < 0.12)
    rows = rows[(rows >= 20) & (rows < n - 1)]
    level = panel.close[rows] * (1 - side * distance)
    k = len(rows)
    return SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=np.full(k, side, np.int8),
        stop_distance=np.full(k, np.nan), stop_level=level, target_r=np.full(k, np.nan), atr=panel.close[rows],
        score=np.ones(k), exit_mask=((rng.random(n) < 0.12) * 3).astype(np.uint8), max_gap_atr=LONG, hold_bars=LONG,
    )  # fmt: skip


def told_by_kobe(panel: Panel, table: SignalTable, *, use_stop: bool):
    """Trades of kobe's account, one position at a time, and its curve."""
    assumed = engine.Assumptions(costs=flat_costs(COST_BPS), use_stop=use_stop, terms=Terms(CASH, 0.01, 0.5, 1, 1.0))
    o = engine.evaluate(panel, FeatureTable(panel), table, assumed)
    p = engine.run_portfolio(panel, o, assumed, panel.first_session, panel.last_session)
    bought = p.quantity > 0
    return o.take(p.offered[bought]), p, p.quantity[bought], p.net_usd[bought]


def told_by_the_library(panel: Panel, signals: dict[int, tuple[int, float]], leave: np.ndarray, *, use_stop: bool):
    """The same orders, given at the same closes; `signals` maps a bar to signed shares and a stop."""

    class Orders(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            t = len(self.data) - 1
            if self.position and leave[t]:
                self.position.close()
            if t in signals:
                shares, stop = signals[t]
                order = self.buy if shares > 0 else self.sell
                order(size=abs(shares), sl=stop if use_stop else None)

    days = pd.DatetimeIndex(panel.calendar.days[panel.session].astype("datetime64[D]"))
    frame = pd.DataFrame({c.capitalize(): getattr(panel, c) for c in ("open", "high", "low", "close")}, index=days)
    test = Backtest(frame, Orders, cash=CASH, commission=COST_BPS / 1e4, trade_on_close=False)
    stats = test.run()
    return stats["_trades"].sort_values("EntryBar"), stats["_equity_curve"]["Equity"].to_numpy()


def compare(panel: Panel, table: SignalTable, *, use_stop: bool) -> int:
    o, p, shares, net = told_by_kobe(panel, table, use_stop=use_stop)
    w = o.walked
    closed = o.closed
    signals = {
        int(row): (int(side * q), float(stop))
        for row, side, q, stop in zip(o.row, o.side, shares, w.stop, strict=True)
    }  # fmt: skip
    trades, curve = told_by_the_library(panel, signals, table.exit_mask > 0, use_stop=use_stop)
    done = len(trades)
    assert done == int(closed.sum()), "the library lists only what has ended"
    assert trades["EntryBar"].tolist() == w.entry_row[closed].tolist()
    assert trades["ExitBar"].tolist() == w.exit_row[closed].tolist()
    assert trades["Size"].tolist() == (o.side * shares)[closed].tolist()
    assert trades["EntryPrice"].tolist() == w.entry_price[closed].tolist()
    np.testing.assert_allclose(trades["ExitPrice"], w.exit_price[closed], rtol=1e-12)
    np.testing.assert_allclose(trades["PnL"], net[closed], rtol=0, atol=0.005)
    np.testing.assert_allclose(curve[1:], p.equity_usd[1:], rtol=0, atol=0.005)
    return done


def walk(rng: np.random.Generator, bars: int) -> Panel:
    return panels.panel({"A": panels.random_walk(rng, bars, price=50.0, volatility=0.02)})


@pytest.mark.parametrize("side", [1, -1])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_entries_exits_prices_profit_and_curve_by_rule_are_the_librarys(side, seed):
    rng = np.random.default_rng(seed)
    panel = walk(rng, 120)
    compare(panel, wishes(panel, rng, side, 0.3), use_stop=False)


@pytest.mark.parametrize("side", [1, -1])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_stops_inside_bars_and_gaps_through_them_are_the_librarys(side, seed):
    rng = np.random.default_rng(seed)
    panel = walk(rng, 120)
    compare(panel, wishes(panel, rng, side, 0.04), use_stop=True)


def test_real_bars_have_enough_trades_of_both_kinds(real_file):
    rng = np.random.default_rng(5)
    bars = panels.read(real_file, ["SPY"])["SPY"].take(slice(-700, None))
    panel = panels.panel({"SPY": bars})
    for side in (1, -1):
        assert compare(panel, wishes(panel, rng, side, 0.02), use_stop=True) > 20
