"""A rule is a strategy like any other: the same rows as the written one, the same gates, no future."""

import numpy as np
import pytest
from kit import panels

from kobe.backtest import engine, walk_forward
from kobe.backtest.costs import flat_costs
from kobe.backtest.folds import folds
from kobe.core.errors import ConfigError, UsageError
from kobe.features.table import INDICATORS, FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.rule import WITHOUT_PERIOD, RuleParams, column, is_column, signals, strategy
from kobe.strategies.spec import LONG_EXIT

IBS_RSI = "ibs <= 0.2 and rsi_2 <= 10 and close > sma_200"
YOUNG = {"min_history_bars": 0, "min_adv_usd": 0.0}
RULES = [
    RuleParams(entry=IBS_RSI, exit="rsi_2 >= 70"),
    RuleParams(
        entry="crosses_above(close, sma_5) or lag(close, 3) > 1.02 * close", exit="close < lag(low, 1)", **YOUNG
    ),
    RuleParams(entry="(close - sma_20) / atr_14 < -1 and prior_low_age_10 >= 2", **YOUNG),
    RuleParams(entry="not (close > sma_50) and volume * close > 0.8 * adv_usd_20", **YOUNG),
]


def dense(whole, params) -> dict[str, np.ndarray]:
    """Everything a rule says at every row; NaN where it says nothing."""
    table = signals(whole, FeatureTable(whole), params)
    found = {"exit_mask": table.exit_mask.astype(np.float64)}
    for name in ("side", "stop_distance", "atr", "score"):
        found[name] = np.full(len(whole), np.nan)
        found[name][table.row] = getattr(table, name)
    return found


@pytest.mark.parametrize("seed", [3, 4])
def test_the_written_strategy_and_its_rule_give_the_same_signals_and_exits(seed):
    whole = panels.random_panel(seed, symbols=25, bars=500)
    features = FeatureTable(whole)
    written = STRATEGIES["ibs_rsi"].signals(whole, features, STRATEGIES["ibs_rsi"].defaults)
    ruled = signals(whole, features, RULES[0])
    assert len(written) > 20
    assert np.array_equal(written.exit_mask & LONG_EXIT, ruled.exit_mask)
    for name in ("row", "side", "stop_distance", "atr"):
        assert np.array_equal(getattr(written, name), getattr(ruled, name)), name


def test_the_written_strategy_and_its_rule_agree_on_real_bars(real_panel):
    features = FeatureTable(real_panel)
    written = STRATEGIES["ibs_rsi"].signals(real_panel, features, STRATEGIES["ibs_rsi"].defaults)
    ruled = signals(real_panel, features, RULES[0])
    assert len(written) > 500
    assert np.array_equal(written.row, ruled.row)
    assert np.array_equal(written.exit_mask & LONG_EXIT, ruled.exit_mask)


@pytest.mark.parametrize("params", RULES, ids=lambda p: p.entry[:20])
def test_a_rule_sees_no_future(params):
    whole = panels.random_panel(8, symbols=8, bars=330)
    full = dense(whole, params)
    assert np.count_nonzero(~np.isnan(full["side"])) > 3
    for session in range(whole.first_session + 40, whole.last_session, 29):
        past = dense(whole.until(session), params)
        kept = whole.session <= session
        for name, values in past.items():
            assert values.tobytes() == full[name][kept].tobytes(), (session, name)


def test_a_rule_obeys_holds_history_and_liquidity():
    whole = panels.random_panel(9, symbols=6, bars=300)
    always = RuleParams(entry="close > 0")
    rows = signals(whole, FeatureTable(whole), always).row
    assert len(rows) > 0
    assert (FeatureTable(whole).column("bars_seen")[rows] >= 250).all()
    held = whole.masked(np.zeros(len(whole), np.bool_), "test")
    assert len(signals(held, FeatureTable(held), always)) == 0
    rich = RuleParams(entry="close > 0", min_adv_usd=1e15)
    assert len(signals(whole, FeatureTable(whole), rich)) == 0


def test_equal_rules_have_one_hash_and_different_rules_two():
    one = RuleParams(entry="10 >= rsi_2 and ibs <= .20")
    two = RuleParams(entry="ibs <= 0.2 and rsi_2 <= 10")
    whole = panels.random_panel(9, symbols=2, bars=300)
    tables = [signals(whole, FeatureTable(whole), p) for p in (one, two, RuleParams(entry="ibs <= 0.2"))]
    assert one == two
    assert tables[0].params_hash == tables[1].params_hash != tables[2].params_hash


@pytest.mark.parametrize(
    "name", ["sma", "sma_", "sma_0", "sma_05", "sma_401", "sma_-1", "ibs_2", "bars_seen_1", "vwap", "_5", "sma_٣",
             "raw_factor"],
)  # fmt: skip
def test_what_is_no_column_is_refused_with_what_is(name):
    assert not is_column(name)
    with pytest.raises(UsageError):
        RuleParams(entry=f"{name} > 1")


def test_an_unknown_column_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown name vwap_20; .*open, high, low, close, volume, ibs, .*sma_200"):
        RuleParams(entry="close > vwap_20")
    with pytest.raises(UsageError, match="unknown name vwap_20"):
        RuleParams(entry="close > open", exit="close > vwap_20")


def test_every_indicator_can_be_named():
    whole = panels.random_panel(9, symbols=2, bars=60)
    features = FeatureTable(whole)
    for indicator in INDICATORS:
        name = indicator if indicator in WITHOUT_PERIOD else f"{indicator}_5"
        assert is_column(name)
        expected = features.column(indicator, 1 if indicator in WITHOUT_PERIOD else 5)
        assert column(features, name) is expected
    assert column(features, "high") is whole.high


def test_a_rule_is_long_only():
    with pytest.raises(ConfigError, match="long only"):
        RuleParams(entry="close > open", shorts=True)


def test_a_rule_walks_forward_like_a_strategy_and_is_not_traded():
    whole = panels.random_panel(10, symbols=12, bars=620)
    features = FeatureTable(whole)
    spec = strategy(RuleParams(entry="ibs <= 0.3", exit="ibs >= 0.7", min_history_bars=60))
    windows = folds(whole.first_session + 60, whole.last_session, train=250, test=100, step=100)
    record = walk_forward.run(whole, features, spec, spec.defaults, windows, engine.Assumptions(costs=flat_costs(5.0)))
    assert record.strategy == "rule"
    assert record.trials == len(windows) + 1
    assert len(record.outcomes) > 50
    assert "rule" not in STRATEGIES
