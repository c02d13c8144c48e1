"""The made-up market looks like one, is the same each time, and holds exactly the edge that was planted."""

import numpy as np
import polars as pl
import pytest

from kobe.backtest import engine, metrics
from kobe.backtest.costs import no_costs
from kobe.data import inspection
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.data.quality import Scope
from kobe.features.table import FeatureTable
from kobe.strategies.ibs_rsi import SPEC

SMALL = SyntheticSpec(symbols=60, years=4)


@pytest.fixture(scope="module")
def market(calendar) -> pl.DataFrame:
    return synthetic_market(SMALL, calendar)


def test_every_bar_passes_every_rule_and_raw_prices_are_whole_cents(market, calendar):
    assert len(inspection.screen(market, Scope(calendar=calendar)).aside) == 0
    for name in ("open", "high", "low", "close"):
        cents = market[name].to_numpy() * market["raw_factor"].to_numpy() * 100
        assert np.abs(cents - np.round(cents)).max() < 1e-6


def test_the_same_seed_gives_the_same_market_and_another_seed_another(market, calendar):
    assert market.equals(synthetic_market(SMALL, calendar))
    assert not market.equals(synthetic_market(SyntheticSpec(symbols=60, years=4, seed=82), calendar))


def test_symbols_list_delist_and_split_and_a_split_shows_in_the_raw_price_only(market, calendar):
    lives = market.group_by("symbol").agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"))
    assert lives["first"].n_unique() > 1
    assert lives["last"].n_unique() > 1
    jumps = market.with_columns(
        raw=pl.col("close") * pl.col("raw_factor"),
        ratio=pl.col("raw_factor") / pl.col("raw_factor").shift(1).over("symbol"),
    ).with_columns(
        adjusted=(pl.col("close") / pl.col("close").shift(1).over("symbol")).log().abs(),
        raw_move=(pl.col("raw") / pl.col("raw").shift(1).over("symbol")).log().abs(),
    )
    splits = jumps.filter((pl.col("ratio") - 1).abs() > 0.01)
    assert len(splits) >= 3
    assert splits["raw_move"].min() > 0.5
    assert splits["adjusted"].median() < 0.1


def test_returns_have_fat_tails_clustered_volatility_a_common_factor_and_overnight_gaps(market):
    wide = market.pivot(on="symbol", index="date", values="close").sort("date").drop("date")
    logs = np.log(wide.to_numpy().astype(float))
    returns = np.diff(logs, axis=0)
    whole = returns[:, ~np.isnan(returns).any(axis=0)]
    scaled = (whole - whole.mean(0)) / whole.std(0)
    assert (scaled**4).mean() > 4
    size = np.abs(scaled).mean(axis=1)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    correlation = np.corrcoef(whole.T)[np.triu_indices(whole.shape[1], 1)]
    assert 0.1 < np.median(correlation) < 0.6
    spy = market.filter(pl.col("symbol") == "SPY")
    overnight = np.log(spy["open"].to_numpy()[1:] / spy["close"].to_numpy()[:-1])
    share = overnight.var() / np.diff(np.log(spy["close"].to_numpy())).var()
    assert 0.1 < share < 0.4


@pytest.mark.parametrize(("reversal", "low", "high"), [(0.0, -3.5, 3.5), (2.0, 4.0, 99.0)])
def test_the_strategy_finds_the_planted_edge_and_nothing_where_there_is_none(calendar, reversal, low, high):
    bars = synthetic_market(SyntheticSpec(symbols=120, years=5, reversal=reversal), calendar)
    panel = panel_from(bars, calendar, Provenance(source="synthetic"))
    features = FeatureTable(panel)
    o = engine.evaluate(
        panel, features, SPEC.signals(panel, features, SPEC.defaults), engine.Assumptions(costs=no_costs())
    )
    done = o.take(o.closed)
    drift = 0.02  # five sessions of a market that rises 7% a year, in R
    assert low < metrics.date_clustered_t(done.net_r - drift, done.session) < high
    assert panel.is_synthetic
    assert any("SYNTHETIC" in b for b in panel.banners)
