"""The compiled account agrees to the cent with a plain event simulator, and money is conserved."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import event_account
from kit.bars import FIRST, panel_of, random_walk

from kobe.backtest import engine
from kobe.backtest.account import Terms
from kobe.backtest.costs import CostRates, cost_schedule
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable

COSTS = cost_schedule([CostRates(effective=date(1990, 1, 2), slippage_bps=5,
                                 half_spread_bps=((0, 3),), sec_fee_per_million_usd=25)])  # fmt: skip


def offered(seed: int, slots: int, cash: float):
    rng = np.random.default_rng(seed)
    panel = panel_of({s: random_walk(rng, 60, start=float(rng.uniform(5, 90)), vol=0.03) for s in "ABCDE"})
    features = FeatureTable(panel)
    rows = np.flatnonzero((rng.random(len(panel)) < 0.2) & (features.column("bars_seen") >= 20))
    n = len(rows)
    table = SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=np.ones(n, np.int8),
        stop_distance=features.column("atr", 14)[rows] * 2, stop_level=np.full(n, np.nan),
        target_r=np.where(rng.random(n) < 0.5, 1.0, np.nan), atr=features.column("atr", 14)[rows],
        score=rng.random(n).round(1), exit_mask=(rng.random(len(panel)) < 0.2).astype(np.uint8), max_gap_atr=5.0,
        hold_bars=5,
    )  # fmt: skip
    terms = Terms(cash, 0.02, 0.3, slots, 0.01)
    assumptions = engine.Assumptions(costs=COSTS, terms=terms)
    return panel, engine.evaluate(panel, features, table, assumptions), assumptions


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 6), cash=st.sampled_from([150.0, 2_000.0, 50_000.0]))
def test_the_account_equals_the_event_simulator_to_the_cent_and_loses_no_money(seed, slots, cash):
    panel, o, assumptions = offered(seed, slots, cash)
    first, last = FIRST, panel.last_session
    p = engine.run_portfolio(panel, o, assumptions, first, last)
    take = o.take(p.offered)
    w = take.walked
    fee = COSTS.fee_rate(panel, np.maximum(w.exit_row, 0))
    trades = [
        {
            "symbol": panel.symbols[take.symbol[i]], "entry": int(panel.session[w.entry_row[i]]),
            "exit": int(panel.session[w.exit_row[i]]) if w.exit_row[i] >= 0 else None,
            "entry_price": take.entry_paid[i], "exit_price": take.exit_got[i],
            "risk": w.entry_price[i] - w.stop[i],
            "adv_shares": take.adv_usd[i] / panel.close[take.row[i]], "fee_rate": fee[i],
        }
        for i in range(len(take))
    ]  # fmt: skip
    closes = {b.symbol: dict(zip(b.session.tolist(), b.close.tolist(), strict=True)) for b in panel}
    curve, shares = event_account.run(trades, assumptions.terms, closes, first, last)
    np.testing.assert_allclose(p.equity_usd, curve, atol=0.005, rtol=0)
    assert p.quantity.tolist() == shares
    order = [(t["entry"], -s) for t, s in zip(trades, take.score, strict=True)]
    assert order == sorted(order), "offered by session, best score first"
    done = take.closed & (p.quantity > 0)
    still = (~take.closed) & (p.quantity > 0)
    if not still.any():
        assert p.net_usd[done].sum() == pytest.approx(p.equity_usd[-1] - cash, abs=0.005)
    assert np.all(p.exposure <= 1.0 + 1e-9), "no leverage: cash is never negative"
