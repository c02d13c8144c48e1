"""Every indicator column against TA-Lib or a plain loop, its stated warm-up, and the borders between symbols."""

from dataclasses import replace

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.features.table import FEATURES, INDICATORS, FeatureTable

PERIODS = (1, 2, 3, 14, 20, 200)


def column(history: panels.History, name: str, n: int = 1) -> np.ndarray:
    return FeatureTable(panels.panel({"A": history})).column(name, n)


def steps(*moves: tuple[float, int]) -> panels.History:
    closes = [price for price, bars in moves for _ in range(bars)]
    return panels.of_closes(closes)


@pytest.fixture(scope="module")
def awkward(real_file) -> dict[str, panels.History]:
    """Real symbols whose files hold flat bars, zero volume, unbooked splits and late listings."""
    return panels.read(real_file, panels.AWKWARD)


def average_move(closes: np.ndarray, n: int) -> np.ndarray:
    """Return Wilder's average of the absolute changes, which is gains and losses together."""
    moves = np.abs(np.diff(closes, prepend=closes[0]))
    found = np.full(len(closes), np.nan)
    for t in range(n, len(closes)):
        found[t] = moves[1 : n + 1].mean() if t == n else (found[t - 1] * (n - 1) + moves[t]) / n
    return found


def agree_with_talib(bars: panels.History) -> None:
    """Compare RSI, SMA and ATR of several periods; TA-Lib's 0.0 for no movement at all is unknown here (D7)."""
    for n in (2, 3, 5, 14, 200):
        wanted = {"sma": talib.SMA(bars.close, n), "atr": talib.ATR(bars.high, bars.low, bars.close, n)}
        wanted["rsi"] = np.where(average_move(bars.close, n) < 1e-14, np.nan, talib.RSI(bars.close, n))
        for name, values in wanted.items():
            ours = column(bars, name, n)
            assert np.array_equal(np.isnan(ours), np.isnan(values)), (name, n)
            np.testing.assert_allclose(ours, values, rtol=0, atol=1e-10)


def test_real_bars_with_defects_equal_talib(awkward):
    assert {"SPY", "CHTR", "VTRS"} <= set(awkward)
    for bars in awkward.values():
        agree_with_talib(bars)


@pytest.mark.parametrize(
    "bars",
    [
        steps((20.0, 1)),
        steps((20.0, 2)),
        steps((20.0, 260)),
        steps((20.0, 30), (20.5, 1), (20.25, 30)),
        steps((80.0, 230), (20.0, 230)),
        panels.of_closes(np.arange(10.0, 300.0)),
        panels.of_closes(np.arange(300.0, 10.0, -1.0)),
        panels.f11(),
    ],
    ids=["one bar", "two bars", "flat", "one bump", "gap", "rising", "falling", "F11"],
)
def test_odd_series_equal_talib(bars):
    agree_with_talib(bars)


def test_a_stock_that_stops_trading_keeps_its_rsi_and_is_never_oversold():
    closes = np.array([10.0, 10.5, 10.2, 10.4, 10.3] + [10.3] * 120)
    rsi = column(panels.of_closes(closes), "rsi", 2)
    known = rsi[~np.isnan(rsi)]
    assert np.isnan(rsi[-1])
    np.testing.assert_allclose(known[2:], known[2], atol=1e-9)
    assert known.min() > 10


@pytest.mark.parametrize("name", list(INDICATORS))
@pytest.mark.parametrize("n", PERIODS)
def test_an_indicator_is_unknown_until_the_bar_it_states_and_known_from_there_on(name, n):
    rng = np.random.default_rng(11)
    symbols = {name: panels.random_walk(rng, bars, ticks=False) for name, bars in (("A", 260), ("B", 300), ("C", 3))}
    table = FeatureTable(panels.panel(symbols))
    for bars in table.panel:
        values = table.column(name, n)[bars.first_row :][: len(bars)]
        first = INDICATORS[name].first_bar(n)
        known = ~np.isnan(values)
        assert not known[:first].any()
        assert known[first:].all()


@pytest.mark.parametrize("n", [3, 14, 20])
def test_the_atr_of_the_warm_up_is_unknown_and_never_nought(n):
    atr = column(panels.random_walk(np.random.default_rng(2), 60), "atr", n)
    assert np.isnan(atr[:n]).all()
    assert (atr[n:] > 0).all()


def test_the_first_sma200_stands_at_bar_199():
    closes = np.arange(1.0, 252.0)
    sma = column(panels.of_closes(closes), "sma", 200)
    assert np.isnan(sma[:199]).all()
    assert sma[199] == 100.5
    assert sma[250] == 151.5


@pytest.mark.parametrize("price", [33.33, 0.07, 1234.56])
def test_a_price_that_never_moves_stands_exactly_at_its_average(price):
    bars = panels.of_closes([price] * 400, spread=price / 100)
    for n in (5, 20, 200):
        sma = column(bars, "sma", n)[n - 1 :]
        assert (np.abs(sma / price - 1) < 1e-12).all()


def test_average_dollar_volume_is_the_mean_of_the_raw_dollars_of_20_bars_and_needs_15():
    rng = np.random.default_rng(9)
    bars = panels.random_walk(rng, 60)
    raw_close, raw_volume = bars.close * 4.0, bars.volume / 4.0
    split = replace(bars, raw_factor=np.full(60, 4.0))
    adv = column(split, "adv_usd", 20)
    assert np.isnan(adv[:14]).all()
    for t in range(14, 60):
        dollars = (raw_close * raw_volume)[max(0, t - 19) : t + 1]
        assert adv[t] == pytest.approx(dollars.mean(), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_prior_extremes_leave_today_out_and_take_the_newest_of_equals(n):
    rng = np.random.default_rng(n)
    close = 20 + rng.integers(-3, 4, 200).astype(float)
    high, low = close + rng.integers(0, 3, 200), close - rng.integers(0, 3, 200)
    bars = panels.history(open=close, high=high, low=low, close=close)
    for t in range(n, 200):
        for side, values, pick in (("low", bars.low, np.min), ("high", bars.high, np.max)):
            window = values[t - n : t]
            newest = np.flatnonzero(window == pick(window))[-1]
            assert column(bars, f"prior_{side}", n)[t] == pick(window)
            assert column(bars, f"prior_{side}_age", n)[t] == n - newest


def test_the_ibs_of_a_bar_without_range_is_unknown_and_of_others_within_it():
    rng = np.random.default_rng(3)
    bars = panels.random_walk(rng, 500)
    bars.high[::7] = bars.low[::7] = bars.close[::7]
    ibs = column(bars, "ibs")
    assert np.isnan(ibs[::7]).all()
    span = bars.high > bars.low
    np.testing.assert_array_equal(np.isnan(ibs), ~span)
    np.testing.assert_allclose(ibs[span], ((bars.close - bars.low)[span] / (bars.high - bars.low)[span]), rtol=1e-15)
    assert ((ibs[span] >= 0) & (ibs[span] <= 1)).all()


def reference_yang_zhang(bars: panels.History, t: int, n: int) -> float:
    """Compute DOMAIN 5 for the n bars ending at t with numpy's own variance."""
    rows = slice(t - n + 1, t + 1)
    overnight = np.log(bars.open[rows] / bars.close[t - n : t])
    up, down, body = (np.log(getattr(bars, c)[rows] / bars.open[rows]) for c in ("high", "low", "close"))
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    inside = np.mean(up * (up - body) + down * (down - body))
    return float(np.sqrt(252 * (np.var(overnight, ddof=1) + k * np.var(body, ddof=1) + (1 - k) * inside)))


def test_yang_zhang_equals_its_formula_in_every_symbol_and_needs_one_bar_more_than_its_window():
    rng = np.random.default_rng(4)
    made = {"A": panels.random_walk(rng, 40), "B": panels.random_walk(rng, 55), "F": panels.f11()}
    whole = panels.panel(made)
    n = 10
    values = FeatureTable(whole).column("yang_zhang", n)
    for bars in whole:
        mine = values[bars.first_row :][: len(bars)]
        assert np.isnan(mine[:n]).all()
        wanted = [reference_yang_zhang(made[bars.symbol], t, n) for t in range(n, len(bars))]
        np.testing.assert_allclose(mine[n:], wanted, rtol=1e-10)
    assert round(float(values[-1]), 6) == 0.180234


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_symbols_columns_are_the_same_alone_and_among_others(seed):
    whole = panels.random_panel(seed, symbols=5, bars=60)
    together = FeatureTable(whole)
    for name, one in panels.histories(whole).items():
        alone = FeatureTable(panels.panel({name: one}))
        first = whole[name].first_row
        for indicator in INDICATORS:
            for n in (1, 2, 14, 20):
                mine = together.column(indicator, n)[first : first + len(one)]
                assert np.array_equal(mine, alone.column(indicator, n), equal_nan=True), (indicator, n)


def plain_features(bars: panels.History, t: int) -> dict[str, float]:
    """Compute the own inputs of the model at bar t of one symbol from the definitions of DOMAIN 3.2."""
    atr = talib.ATR(bars.high, bars.low, bars.close, 14)
    window = bars.low[t - 20 : t]
    logs = np.log1p(bars.volume[t - 19 : t + 1])
    volatilities = np.array([reference_yang_zhang(bars, i, 20) for i in range(t - 251, t + 1)])
    return {
        "ibs": (bars.close[t] - bars.low[t]) / (bars.high[t] - bars.low[t]),
        "rsi2": talib.RSI(bars.close, 2)[t],
        "rsi14": talib.RSI(bars.close, 14)[t],
        "depth_atr": (window.min() - bars.low[t]) / atr[t - 1],
        "extreme_age": 20 - np.flatnonzero(window == window.min())[-1],
        "atr_pct": atr[t] / bars.close[t],
        "sma200_distance_atr": (bars.close[t] - bars.close[t - 199 : t + 1].mean()) / atr[t],
        **{f"return_{n}": np.log(bars.close[t] / bars.close[t - n]) for n in (5, 20, 60)},
        "volatility_rank": (volatilities <= volatilities[-1]).mean(),
        "gap_atr": (bars.open[t] - bars.close[t - 1]) / atr[t],
        "volume_z": (logs[-1] - logs.mean()) / logs.std(ddof=1),
        "log_adv": np.log10((bars.close * bars.volume)[t - 19 : t + 1].mean()),
    }


def test_model_inputs_equal_their_definitions():
    rng = np.random.default_rng(6)
    made = {name: panels.random_walk(rng, 330) for name in ("A", "B", "SPY")}
    whole = panels.panel(made)
    table = FeatureTable(whole)
    for t in (275, 300, 329):
        rows = np.array([bars.first_row + t for bars in whole])
        got = dict(zip(FEATURES, table.matrix(rows).T, strict=True))
        wanted = [plain_features(made[name], t) for name in whole.symbols]
        for name in wanted[0]:
            np.testing.assert_allclose(got[name], [w[name] for w in wanted], rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(got["market_trend_atr"], wanted[2]["sma200_distance_atr"], rtol=1e-9)
        np.testing.assert_allclose(got["market_return_5"], wanted[2]["return_5"], rtol=1e-9)
        np.testing.assert_allclose(got["market_volatility_rank"], wanted[2]["volatility_rank"], rtol=1e-9)
        assert set(got["breadth"]) == {np.mean([w["sma200_distance_atr"] > 0 for w in wanted])}
        weekday = whole.calendar.sessions[int(whole.session[rows[0]])].weekday()
        assert (set(got["is_monday"]), set(got["is_friday"])) == ({float(weekday == 0)}, {float(weekday == 4)})


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_model_inputs_of_a_few_rows_have_the_digits_they_have_among_all_rows(seed):
    rng = np.random.default_rng(seed)
    whole = panels.panel(
        {name: panels.random_walk(rng, int(rng.integers(200, 700))) for name in ("A", "B", "C", "SPY")}
    )
    every = FeatureTable(whole).matrix(np.arange(len(whole)))
    ends = whole.offsets[1:] - 1  # a symbol's first rows that are ranked, among others, and its last
    chosen = np.array([whole.offsets[0] + 271, *rng.integers(0, len(whole), 1), ends[2]])
    for rows in (chosen[:1], chosen, ends):
        few = FeatureTable(whole)
        np.testing.assert_array_equal(few.matrix(rows), every[rows])
        assert not few.has("yang_zhang", 20) or len(rows) * 272 >= len(whole)


def test_model_inputs_are_unknown_without_enough_bars_and_never_borrowed_from_the_symbol_before():
    rng = np.random.default_rng(7)
    whole = panels.panel({"A": panels.random_walk(rng, 300), "B": panels.random_walk(rng, 10)})
    inputs = dict(zip(FEATURES, FeatureTable(whole).matrix(np.array([300, 303])).T, strict=True))
    own = {"ibs", "is_monday", "is_friday"}
    assert not np.isnan([inputs[name] for name in own]).any()
    assert not np.isnan(inputs["rsi2"][1])
    unknown = set(inputs) - own - {"rsi2", "breadth"}
    assert np.isnan([inputs[name] for name in unknown]).all()


def test_model_inputs_are_finite_or_unknown_also_where_nothing_traded_for_a_year():
    still = panels.flat(20.0, 300)
    closes = np.append(still.close, [19.0, 19.5])
    woken = panels.history(open=closes, high=closes, low=closes, close=closes)
    silent = replace(panels.random_walk(np.random.default_rng(8), 300), volume=np.zeros(300))
    whole = panels.panel({"A": woken, "B": still, "SPY": silent})
    inputs = FeatureTable(whole).matrix(np.arange(len(whole)))
    assert inputs.shape == (len(whole), len(FEATURES))
    assert not np.isinf(inputs).any()


def test_model_inputs_of_no_rows_and_of_no_symbols_are_an_empty_matrix():
    for whole in (panels.panel({}), panels.panel({"A": panels.f11()})):
        assert FeatureTable(whole).matrix(np.arange(0)).shape == (0, len(FEATURES))


def test_columns_cannot_be_written_to():
    table = FeatureTable(panels.panel({"A": panels.f11()}))
    for name in INDICATORS:
        with pytest.raises(ValueError, match="read-only"):
            table.column(name, 2)[0] = 1.0
    assert table.column("sma", 3) is table.column("sma", 3)
