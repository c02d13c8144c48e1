"""The compiled kernel and its plain twin agree to the bit on any bars: gaps, halts, both sides, stops, dividends."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.bars import CALENDAR, FIRST, grid_prices, panel_of, random_walk

from kobe.backtest import engine, fills, kernel
from kobe.backtest.costs import CostRates, cost_schedule
from kobe.backtest.kernel_reference import Holding, Plan, hold_one, walk_one
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable


def world(seed: int, halts: bool):
    rng = np.random.default_rng(seed)
    bars, sessions = {}, {}
    for name in ("A", "B", "C"):
        n = int(rng.integers(8, 60))
        vol = float(rng.choice([0.01, 0.04, 0.12]))
        bars[name] = grid_prices(random_walk(rng, n, start=20.0, vol=vol))
        steps = rng.choice([1, 2, 7], n, p=[0.9, 0.07, 0.03]) if halts else np.ones(n, np.int64)
        sessions[name] = np.cumsum(steps).tolist()
    return panel_of(bars, sessions), rng


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**6), halts=st.booleans(), stop_first=st.booleans(), hold=st.integers(1, 7))
def test_kernel_and_twin_agree_on_every_signal(seed, halts, stop_first, hold):
    panel, rng = world(seed, halts)
    n = len(panel)
    rows = np.flatnonzero(rng.random(n) < 0.4)
    side = rng.choice([1, -1], len(rows)).astype(np.int8)
    fixed = rng.random(len(rows)) < 0.4
    atr = rng.uniform(0.1, 1.5, len(rows)).round(2)
    level = np.where(fixed, panel.close[rows] - side * rng.uniform(0.0, 1.5, len(rows)).round(2), np.nan)
    distance = np.where(fixed, np.nan, 2 * atr)
    target_r = np.where(rng.random(len(rows)) < 0.5, np.nan, rng.choice([0.5, 1.0, 2.0], len(rows)))
    mask = (rng.random(n) < 0.15).astype(np.uint8) + 2 * (rng.random(n) < 0.15).astype(np.uint8)
    market = kernel.Market(panel.offsets, panel.session, panel.open, panel.high, panel.low, panel.close,
                           panel.raw_factor, mask, panel.last_session)  # fmt: skip
    wishes = kernel.Wishes(rows, panel.symbol_of_row[rows], side, distance, level, target_r, atr)
    out = kernel.walk_signals(market, wishes, kernel.Rules(2.0, hold, True, stop_first))
    for i, row in enumerate(rows):
        bars = panel[panel.symbols[panel.symbol_of_row[row]]]
        plan = Plan(row=int(row) - bars.first_row, side=int(side[i]), stop_distance=distance[i], stop_level=level[i],
                    target_r=target_r[i], atr=atr[i], max_gap_atr=2.0, hold_bars=hold)  # fmt: skip
        bit = 1 if side[i] > 0 else 2
        exits = [bool(m & bit) for m in mask[bars.first_row : bars.first_row + len(bars)]]
        twin = walk_one(bars, plan, exits, last_session=panel.last_session, stop_first=stop_first)
        assert fills.STATES[out.state[i]] == twin.state
        assert fills.REASONS[out.reason[i]] == twin.reason
        assert bool(out.ambiguous[i]) == twin.ambiguous
        if twin.entry_row >= 0:
            assert out.entry_row[i] - bars.first_row == twin.entry_row
            assert out.entry_price[i] == twin.entry_price
        if twin.state == "closed":
            assert out.exit_row[i] - bars.first_row == twin.exit_row
            assert out.exit_price[i] == twin.exit_price
    assert CALENDAR.digest == panel.calendar.digest


RISE = FIRST + 12
CHEAP = CostRates(effective=date(1990, 1, 2), slippage_bps=5, half_spread_bps=((0, 3),), sec_fee_per_million_usd=20.6,
                  borrow_rate_annual=0.03)  # fmt: skip
DEAR = replace(CHEAP, effective=CALENDAR.sessions[RISE], borrow_rate_annual=0.41)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**6), halts=st.booleans(), hold=st.integers(1, 7), stress=st.sampled_from([1.0, 3.0]))
def test_dividends_and_loans_of_engine_and_twin_are_the_same_bits(seed, halts, hold, stress):
    panel, rng = world(seed, halts)
    n = len(panel)
    panel = replace(panel, dividend=np.where(rng.random(n) < 0.3, rng.uniform(0.01, 1.0, n), 0.0))
    rows = np.flatnonzero(rng.random(n) < 0.4)
    k = len(rows)
    side, atr = rng.choice([1, -1], k).astype(np.int8), rng.uniform(0.1, 1.5, k).round(2)
    table = SignalTable(
        strategy="x", params={}, params_hash="x", row=rows, side=side, stop_distance=2 * atr,
        stop_level=np.full(k, np.nan), target_r=rng.choice([np.nan, 1.0], k), atr=atr, score=np.ones(k),
        exit_mask=np.zeros(n, np.uint8), max_gap_atr=2.0, hold_bars=hold,
    )  # fmt: skip
    costs = cost_schedule([DEAR, CHEAP]).times(stress)
    o = engine.evaluate(panel, FeatureTable(panel), table, engine.Assumptions(costs=costs))
    for i, row in enumerate(rows):
        bars = panel[panel.symbols[panel.symbol_of_row[row]]]
        plan = Plan(row=int(row) - bars.first_row, side=int(side[i]), stop_distance=table.stop_distance[i],
                    stop_level=np.nan, target_r=table.target_r[i], atr=atr[i], hold_bars=hold)  # fmt: skip
        twin = walk_one(bars, plan, [False] * len(bars), last_session=panel.last_session)
        holding = Holding(
            dividend=panel.dividend[bars.first_row : bars.first_row + len(bars)].tolist(),
            day_of=lambda s: CALENDAR.sessions[s].toordinal(),
            borrow_rate=lambda s: (0.41 if s >= RISE else 0.03) * stress,
        )
        told = hold_one(bars, plan.side, twin, holding, last_session=panel.last_session)
        assert (o.dividend[i], o.borrow[i]) == told
        if twin.state == "closed":
            price = plan.side * (o.exit_got[i] - o.entry_paid[i])
            risk = abs(twin.entry_price - o.walked.stop[i])
            assert o.net_r[i] * risk == pytest.approx(price + plan.side * told[0] - told[1], abs=1e-9)
