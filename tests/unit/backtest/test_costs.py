"""Costs as dated values: tiers, half a tick, doubled, by session; limit targets pay none."""

from datetime import date

import numpy as np
import pytest
from kit.bars import F11, FIRST, panel_of

from kobe.backtest.costs import CostRates, cost_schedule, flat_costs, no_costs

OLD = CostRates(effective=date(1990, 1, 2), slippage_bps=5, half_spread_bps=((50e6, 2), (10e6, 5), (0, 10)),
                sec_fee_per_million_usd=20.0)  # fmt: skip
NEW = CostRates(effective=date(2015, 1, 9), slippage_bps=1, half_spread_bps=((0, 0),), sec_fee_per_million_usd=30.0)


def paid(model, price, adv, buys, takes=1.0, row=0):
    panel = panel_of({"A": F11})
    ones = np.ones(1)
    return model.traded_price(panel, np.array([row]), price * ones, adv * ones, buys * ones, takes * ones)[0]


@pytest.mark.parametrize(
    ("adv", "bps"), [(50.1e6, 2), (50e6, 5), (10.1e6, 5), (10e6, 10), (1e6, 10), (float("nan"), 10)]
)
def test_the_spread_follows_the_liquidity_tier(adv, bps):
    model = cost_schedule([OLD])
    assert paid(model, 100.0, adv, +1) == pytest.approx(100 * (1 + (bps + 5) * 1e-4), abs=1e-12)
    assert paid(model, 100.0, adv, -1) == pytest.approx(100 * (1 - (bps + 5) * 1e-4), abs=1e-12)


def test_half_a_tick_is_the_least_half_spread():
    assert paid(cost_schedule([OLD]), 5.0, 1e9, +1) == pytest.approx(5.0 * (1 + 0.005 / 5.0 + 5e-4), abs=1e-12)


def test_rates_change_with_the_session_and_a_limit_target_pays_none():
    model = cost_schedule([NEW, OLD])
    panel = panel_of({"A": F11})
    days = [panel.calendar.sessions[FIRST + k] for k in range(11)]
    change = days.index(date(2015, 1, 9))
    assert paid(model, 100.0, 1e9, +1, row=change - 1) == pytest.approx(100 * 1.0007, abs=1e-12)
    assert paid(model, 100.0, 1e9, +1, row=change) == pytest.approx(100 * (1 + 0.5e-4 + 1e-4), abs=1e-12)
    assert paid(model, 100.0, 1e9, -1, takes=0.0) == 100.0
    np.testing.assert_allclose(model.fee_rate(panel, np.array([change - 1, change])), [20e-6, 30e-6])


def test_doubling_doubles_everything_and_none_is_none():
    model = cost_schedule([OLD])
    once, twice = paid(model, 100.0, 1e9, +1) - 100, paid(model.times(2), 100.0, 1e9, +1) - 100
    assert twice == pytest.approx(2 * once, rel=1e-12)
    assert paid(no_costs(), 3.0, 1e5, +1) == 3.0
    assert paid(flat_costs(5), 3.0, 1e5, -1) == pytest.approx(3 * 0.9995, abs=1e-15)
