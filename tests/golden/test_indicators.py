"""Indicators against TA-Lib and the golden numbers of DOMAIN 0, 1.2, 5 and 6.1."""

import numpy as np
import pytest
import talib
from kit.bars import F11, panel_of, random_walk

from kobe.features.table import FeatureTable

RSI14_CLOSES = [44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61, 46.28, 46.28,
                46.00, 46.03, 46.41, 46.22, 45.64]  # fmt: skip


def from_closes(closes) -> dict[str, np.ndarray]:
    c = np.asarray(closes, dtype=np.float64)
    return {"open": c, "high": c + 0.5, "low": c - 0.5, "close": c}


def series() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    gap = random_walk(rng, 300)
    gap = {k: v * np.where(np.arange(300) < 150, 1.0, 0.4) if k != "volume" else v for k, v in gap.items()}
    return {
        "walk": random_walk(rng, 700),
        "rising": from_closes(np.linspace(10, 60, 300)),
        "falling": from_closes(np.linspace(60, 10, 300)),
        "gap": gap,
        "flat": from_closes(np.full(300, 20.0)),
        "one": from_closes([20.0]),
    }


def agree(ours, theirs, *, flat_is_nan: bool = False) -> None:
    if flat_is_nan:
        assert np.isnan(ours).all()
        return
    assert (np.isnan(ours) == np.isnan(theirs)).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", list(series()))
@pytest.mark.parametrize("n", [2, 5, 14, 200])
def test_rsi_sma_and_atr_equal_talib_to_1e_10(name, n):
    bars = series()[name]
    table = FeatureTable(panel_of({"A": bars}))
    o = {k: np.asarray(v) for k, v in bars.items()}
    agree(table.column("rsi", n), talib.RSI(o["close"], n), flat_is_nan=name in ("flat", "one"))
    agree(table.column("sma", n), talib.SMA(o["close"], n))
    agree(table.column("atr", n), talib.ATR(o["high"], o["low"], o["close"], n))


def test_real_closes_equal_talib_symbol_by_symbol(real_panel):
    table = FeatureTable(real_panel)
    for bars in real_panel:
        rows = slice(bars.first_row, bars.first_row + len(bars))
        agree(table.column("rsi", 2)[rows], talib.RSI(bars.close.copy(), 2))
        agree(table.column("atr", 14)[rows], talib.ATR(bars.high.copy(), bars.low.copy(), bars.close.copy(), 14))
        agree(table.column("sma", 200)[rows], talib.SMA(bars.close.copy(), 200))


def test_f11_gives_the_printed_numbers():
    table = FeatureTable(panel_of({"A": F11}))
    ibs = [0.7619, 0.8333, 0.75, 0.85, 0.2222, 0.0690, 0.0833, 0.8636, 0.8636, 0.8947, 0.7143]
    rsi = [np.nan, np.nan, 100, 100, 57.8947, 16.9231, 8.0292, 45.9227, 72.4289, 85.0178, 88.5141]
    atr = [np.nan] * 3 + [1.8, 1.8, 2.1667, 2.2444, 2.2296, 2.2198, 2.1132, 1.8754]
    for name, n, wanted in (("ibs", 1, ibs), ("rsi", 2, rsi), ("atr", 3, atr)):
        np.testing.assert_allclose(table.column(name, n), wanted, atol=5e-5)


def test_wilder_s_rsi_gives_the_golden_rows():
    closes = [100, 101, 102, 101.5, 100.5, 99, 98, 98.5, 99.5, 101, 100.8]
    wanted = [100, 66.6667, 28.5714, 10.5263, 5.7143, 35.2941, 71.3043, 89.2508, 76.4936]
    table = FeatureTable(panel_of({"A": from_closes(closes), "B": from_closes(RSI14_CLOSES)}))
    np.testing.assert_allclose(table.column("rsi", 2)[2:11], wanted, atol=5e-5)
    fourteen = table.column("rsi", 14)[11:]
    np.testing.assert_allclose(fourteen[14:], [70.4641, 66.2496, 66.4809, 69.3469, 66.2947, 57.9150], atol=5e-5)


def test_yang_zhang_of_f11_is_the_printed_value():
    values = FeatureTable(panel_of({"A": F11})).column("yang_zhang", 10)
    assert values[10] == pytest.approx(0.180234, abs=5e-7)
    assert np.isnan(values[9])


def test_an_average_with_no_movement_is_unknown_and_a_bar_without_range_has_no_ibs():
    flat = {c: [20.0] * 30 for c in ("open", "high", "low", "close")}
    table = FeatureTable(panel_of({"A": flat}))
    assert np.isnan(table.column("rsi", 2)).all()
    assert np.isnan(table.column("ibs")).all()
    assert (table.column("atr", 14)[14:] == 0).all()


def test_the_prior_low_leaves_today_out_and_the_newest_of_equal_lows_counts():
    low = [10.0, 9.0, 9.0, 9.5, 8.0, 9.9]
    bars = {"open": [11.0] * 6, "high": [12.0] * 6, "low": low, "close": [11.0] * 6}
    table = FeatureTable(panel_of({"A": bars}))
    np.testing.assert_array_equal(table.column("prior_low", 3), [np.nan, np.nan, np.nan, 9.0, 9.0, 8.0])
    np.testing.assert_array_equal(table.column("prior_low_age", 3), [np.nan, np.nan, np.nan, 1, 2, 1])


def test_the_prior_low_equals_a_plain_loop_on_cents():
    rng = np.random.default_rng(8)
    low = np.round(rng.uniform(9, 11, 400), 1)
    bars = {"open": low + 1, "high": low + 2, "low": low, "close": low + 1}
    table = FeatureTable(panel_of({"A": bars}))
    for t in range(20, 400):
        window = low[t - 20 : t]
        assert table.column("prior_low", 20)[t] == window.min()
        assert table.column("prior_low_age", 20)[t] == 20 - np.flatnonzero(window == window.min())[-1]
