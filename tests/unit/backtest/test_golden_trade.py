"""The worked trade of DOMAIN 1.2 and its account of 2.2b, and the mutant that trades on yesterday's signal."""

import dataclasses

import numpy as np
import pytest
from kit.bars import F11, FIRST, panel_of

from kobe.backtest import engine
from kobe.backtest.account import Terms
from kobe.backtest.costs import flat_costs
from kobe.features.table import FeatureTable
from kobe.strategies.ibs_rsi import SPEC, IbsRsiParams, signals

PARAMS = IbsRsiParams(
    ibs_max=0.20, rsi_max=10.0, atr_bars=3, sma_bars=2, min_history_bars=0, min_price_usd=0, min_adv_usd=0
)
TERMS = Terms(10_000.0, 0.01, 10.0, 5, 1.0)


@pytest.fixture
def golden():
    """F11 with its trend filter and liquidity assumed true, as the text says."""
    panel = panel_of({"A": F11})
    features = FeatureTable(panel)
    features._columns[("sma", 2)] = np.zeros(len(panel))
    features._columns[("adv_usd", 20)] = np.full(len(panel), 1e9)
    return panel, features, signals(panel, features, PARAMS)


def test_the_only_signal_is_bar_six_because_bar_five_fails_the_rsi(golden):
    _, features, table = golden
    assert table.row.tolist() == [6]
    assert features.column("rsi", 2)[5] == pytest.approx(16.9231, abs=5e-5)
    assert SPEC.defaults.hold_bars == 5


def test_the_trade_is_filled_stopped_and_closed_as_printed(golden):
    panel, features, table = golden
    o = engine.evaluate(panel, features, table, engine.Assumptions(costs=flat_costs(5.0)))
    w = o.walked
    assert w.entry_row[0] == 7
    assert w.entry_price[0] == 99.60
    assert w.stop[0] == pytest.approx(95.1111, abs=5e-5)
    assert w.entry_price[0] - w.stop[0] == pytest.approx(4.4889, abs=5e-5)
    assert (w.exit_row[0], w.exit_price[0]) == (9, 101.90)
    assert o.gross_r[0] == pytest.approx(0.5124, abs=5e-5)
    assert o.net_r[0] == pytest.approx(0.4899, abs=5e-5)


def test_the_account_marks_to_market_to_the_cent(golden):
    panel, features, table = golden
    terms = engine.Assumptions(costs=flat_costs(5.0), terms=TERMS)
    o = engine.evaluate(panel, features, table, terms)
    p = engine.run_portfolio(panel, o, terms, FIRST, FIRST + 10)
    assert p.quantity.tolist() == [22.0]
    wanted = [10000.0] * 7 + [10020.90, 10051.70, 10048.38, 10048.38]
    np.testing.assert_allclose(p.equity_usd, wanted, atol=0.005)
    assert p.net_usd[0] == pytest.approx(p.equity_usd[-1] - 10_000.0, abs=1e-9)


def test_a_double_shift_would_give_another_number(golden):
    panel, features, table = golden
    late = dataclasses.replace(table, row=table.row + 1)
    o = engine.evaluate(panel, features, late, engine.Assumptions(costs=flat_costs(0.0)))
    assert o.walked.entry_price[0] == 100.40
    assert o.gross_r[0] == pytest.approx(0.334, abs=5e-4)
