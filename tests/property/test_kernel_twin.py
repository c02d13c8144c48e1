"""The compiled kernel and its plain twin agree to the bit on any bars: gaps, halts, both sides, all stops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.bars import CALENDAR, grid_prices, panel_of, random_walk

from kobe.backtest import fills, kernel
from kobe.backtest.kernel_reference import Plan, walk_one


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
