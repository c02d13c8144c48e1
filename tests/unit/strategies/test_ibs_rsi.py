"""IBS + RSI(2): every clause of DOMAIN D4 on both sides of its boundary, and the golden trade of F11.

All prices are whole or binary fractions, so that a boundary is met exactly and not by rounding.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

STRATEGY = STRATEGIES["ibs_rsi"]
LAST = 260


def found(bars: panels.History, **change) -> list[tuple[int, int]]:
    """Return (bar, side) of every signal of one symbol."""
    whole = panels.panel({"A": bars})
    table = STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params(change))
    return list(zip(table.row.tolist(), table.side.tolist(), strict=True))


def setup(
    *, old: float = 1.0, base: float = 17.0, up: float = 2.0, down: float = 9.0, ibs: float = 0.125, n: int = LAST + 1
) -> panels.History:
    """Build a long setup at the last bar: old level, 100 bars at a base, one step up, one step down.

    RSI(2) of the last bar is 100 up / (up + 2 down) exactly, its IBS is `ibs` on a range of 8. By default they are
    10 and 0.125, the close is 10 and the average of 200 closes just below that.
    """
    closes = np.array([old] * (n - 102) + [base] * 100 + [base + up, base + up - down])
    bars = panels.of_closes(closes, spread=0.5)
    bars.low[-1] = closes[-1] - 8 * ibs
    bars.high[-1] = bars.low[-1] + 8
    return bars


def test_a_bar_that_meets_every_clause_is_a_signal_and_no_other_bar_is():
    assert found(setup()) == [(LAST, 1)]


@pytest.mark.parametrize(("range_", "above_low", "signals"), [(5.0, 1.0, 1), (5.0, 1.0 + 2**-20, 0), (5.0, 0.0, 1)])
def test_ibs_may_be_exactly_a_fifth(range_, above_low, signals):
    bars = setup()
    bars.low[-1] = 10.0 - above_low
    bars.high[-1] = bars.low[-1] + range_
    assert len(found(bars)) == signals


@pytest.mark.parametrize(
    ("high", "low", "close"),
    [(42.92, 42.07, 42.24), (46.86, 45.91, 46.10), (103.68, 101.63, 102.04), (11.0, 10.0, 10.2)],
)
def test_ibs_may_be_exactly_a_fifth_of_a_range_in_cents(high, low, close):
    """The first three are AAL 2015-06-24, AAL 2016-12-02 and AAP 2017-07-14: 5 (C - L) == H - L in cents."""
    bars = setup(base=close + 7.0)
    bars.high[-1], bars.low[-1], bars.close[-1] = high, low, close
    assert len(found(bars, rsi_max=15.0)) == 1
    bars.low[-1] -= 0.01
    assert len(found(bars, rsi_max=15.0)) == 0


@pytest.mark.parametrize(("down", "signals"), [(9.0, 1), (9.0 - 2**-20, 0), (9.0 + 2**-20, 1)])
def test_rsi_may_be_exactly_ten(down, signals):
    assert len(found(setup(down=down, base=8.0 + down))) == signals


@pytest.mark.parametrize(("earlier", "signals"), [(93.0, 0), (93.0 - 2**-10, 1), (93.0 + 2**-10, 0)])
def test_the_close_must_stand_above_its_average_and_not_at_it(earlier, signals):
    inside = [earlier] + [93.0] * 84 + [50.0] * 16 + [100.0] * 97 + [102.0, 93.0]  # mean of 200 is 93 to the bit
    closes = np.array([93.0] * (LAST + 1 - 200) + inside)
    bars = panels.of_closes(closes, spread=0.5)
    bars.low[-1], bars.high[-1] = 92.0, 100.0
    assert len(found(bars)) == signals


@pytest.mark.parametrize(("n", "signals"), [(250, 0), (251, 1)])
def test_250_bars_must_come_before_a_signal(n, signals):
    assert len(found(setup(n=n))) == signals


def test_the_bars_that_must_come_before_are_the_symbols_own():
    made = {"A": setup(), "B": setup(n=250), "C": setup(n=251)}
    whole = panels.panel(made)
    table = STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.defaults)
    assert [whole.symbols[whole.symbol_of_row[r]] for r in table.row] == ["A", "C"]


@pytest.mark.parametrize(
    ("factor", "raw_factor", "signals"),
    [
        (1.0, 0.5, 1),  # 10.00 on the screen, 5.00 on the tape
        (1.0, 0.499, 0),  # 4.99 on the tape
        (0.25, 2.0, 1),  # 2.50 on the screen, 5.00 on the tape
        (0.25, 1.996, 0),
    ],
)
def test_the_price_on_the_tape_must_be_five_dollars_whatever_the_adjusted_price(factor, raw_factor, signals):
    bars = setup().scaled(factor)
    bars.raw_factor[:] = raw_factor
    assert len(found(bars)) == signals


@pytest.mark.parametrize(("shares", "signals"), [(0, 1), (-1, 0), (1, 1)])
def test_the_average_dollar_volume_of_20_bars_must_be_five_million(shares, signals):
    bars = setup(old=50.0, base=100.0, down=2.0, up=0.5)  # closes 100.5, 98.5; RSI 100 * .5 / 4.5
    bars.volume[:] = 50_000
    bars.volume[-22:-20] = 1e9  # not among the 20
    bars.volume[-2:] = 50_000
    short_by = 2 * 5e6 - 50_000 * (100.5 + 98.5)
    bars.volume[-3] += short_by / 100 + shares
    assert (bars.close * bars.volume)[-20:].sum() == 20 * 5e6 + 100 * shares
    assert len(found(bars, rsi_max=15.0)) == signals


def test_a_bar_without_range_is_no_signal_however_washed_out():
    bars = setup()
    bars.open[-1] = bars.high[-1] = bars.low[-1] = bars.close[-1]
    assert found(bars, shorts=True) == []


def test_prices_that_never_move_give_no_signal():
    halted = replace(setup(), **{c: np.append(getattr(setup(), c)[:-4], [10.0] * 4) for c in panels.PRICES})
    for bars in (panels.flat(20.0, 400), panels.of_closes([20.0] * 400), halted):
        for ibs_max in (0.2, 1.0):
            assert found(bars, ibs_max=ibs_max, rsi_max=15.0, shorts=True) == []


def test_the_short_setup_is_the_mirror_and_is_asked_for():
    bars = setup(old=1.0).mirrored(30.0)
    assert found(bars) == []
    assert found(bars, shorts=True) == [(LAST, -1)]


@pytest.mark.parametrize(
    ("down", "above_low", "signals"), [(9.0, 1.0, 1), (9.0 - 2**-20, 1.0, 0), (9.0, 1 + 2**-20, 0)]
)
def test_the_short_setup_includes_ibs_four_fifths_and_rsi_90(down, above_low, signals):
    bars = setup(down=down, base=8.0 + down)
    bars.low[-1] = 10.0 - above_low
    bars.high[-1] = bars.low[-1] + 5.0
    assert len(found(bars.mirrored(30.0), shorts=True)) == signals


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_turning_the_market_upside_down_turns_longs_into_shorts(seed):
    rng = np.random.default_rng(seed)
    bars = panels.random_walk(rng, 300, price=100.0)
    exact = replace(bars, **{c: np.round(getattr(bars, c) * 64) / 64 for c in panels.PRICES})
    relaxed = {"sma_bars": 16, "min_history_bars": 20, "ibs_max": 0.25, "rsi_max": 25.0, "shorts": True}
    longs, shorts = (found(b, **relaxed) for b in (exact, exact.mirrored(float(np.ceil(exact.high.max()) + 10))))
    assert [(bar, -side) for bar, side in shorts] == longs
    assert longs


@pytest.mark.parametrize("scale", [2.0**-6, 2.0**7])
def test_signals_do_not_depend_on_the_unit_of_the_adjusted_price(scale):
    bars = panels.random_walk(np.random.default_rng(3), 700, price=100.0)
    assert found(bars.scaled(scale), shorts=True) == found(bars, shorts=True) != []


def f11_after_a_rise() -> panels.History:
    """Put F11 after 190 still bars and 70 that rise by 1.30: the averages reach bar 2 as if F11 began by itself.

    Wilder's gain then stands at 1.30 and the loss at nothing before bar 1, and with true ranges of 1.5375 the ATR(3)
    of bar 3 is the 1.8000 of the fixture.
    """
    closes = np.array([10.0] * 190 + [101.0 - 1.3 * k for k in range(70, 0, -1)])
    before = panels.history(open=closes, high=closes + 0.1, low=closes - 1.4375, close=closes)
    parts = {c: np.concatenate((getattr(before, c), getattr(panels.f11(), c))) for c in panels.COLUMNS}
    return panels.history(**parts)


def test_f11_gives_one_signal_at_bar_6_with_the_stop_of_the_worked_trade():
    bars = f11_after_a_rise()
    whole = panels.panel({"F11": bars})
    features = FeatureTable(whole)
    rsi, atr = features.column("rsi", 2)[260:], features.column("atr", 3)[260:]
    np.testing.assert_allclose(rsi[4:8], [57.8947, 16.9231, 8.0292, 45.9227], atol=5e-5)
    np.testing.assert_allclose(atr[3:], [1.8, 1.8, 2.1667, 2.2444, 2.2296, 2.2198, 2.1132, 1.8754], atol=5e-5)
    table = STRATEGY.signals(whole, features, STRATEGY.params({"atr_bars": 3}))
    assert (table.row - 260).tolist() == [6]
    assert table.side.tolist() == [1]
    assert table.stop_distance[0] == pytest.approx(4.4889, abs=5e-5)
    assert 99.60 - table.stop_distance[0] == pytest.approx(95.1111, abs=5e-5)
    assert np.isnan(table.target_r[0])
    (signal,) = table.signals(whole)
    assert (signal.reference_close, signal.target, signal.target_r) == (99.4, None, None)
    assert signal.valid_session == whole.calendar.next(signal.signal_date)
    assert table.hold_bars == 5


@pytest.mark.parametrize(("rule", "first"), [("rsi", 8), ("sma5", 8), ("ibs", 7)])
def test_after_the_f11_signal_the_exit_shows_at_the_close_the_rule_says(rule, first):
    whole = panels.panel({"F11": f11_after_a_rise()})
    table = STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params({"atr_bars": 3, "exit_rule": rule}))
    after = np.flatnonzero(table.exit_mask[267:] & 1) + 7
    assert after[0] == first


def exit_bits(bars: panels.History, rule: str) -> int:
    whole = panels.panel({"A": bars})
    return int(STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params({"exit_rule": rule})).exit_mask[-1])


@pytest.mark.parametrize(("down", "bits"), [(3.0, 1), (3.0 + 2**-20, 0), (3.0 - 2**-20, 1)])
def test_the_rsi_exit_includes_70_and_mirrored_30(down, bits):
    bars = setup(up=14.0, down=down)
    assert exit_bits(bars, "rsi") == bits
    assert exit_bits(bars.mirrored(64.0), "rsi") == 2 * bits


@pytest.mark.parametrize(("close", "bits"), [(4.0, 1), (4.0 - 2**-20, 0), (5.0, 1)])
def test_the_ibs_exit_includes_four_fifths_and_mirrored_one_fifth(close, bits):
    bars = panels.history(open=[20.0] * 9, high=[25.0] * 9, low=[20.0] * 9, close=[20.0 + close] * 9)
    assert exit_bits(bars, "ibs") == bits
    assert exit_bits(bars.mirrored(32.0), "ibs") == 2 * bits


@pytest.mark.parametrize(("last", "bits"), [(20.0, 0), (20.0 + 2**-20, 1), (20.0 - 2**-20, 2)])
def test_the_average_exit_needs_a_close_beyond_the_average_of_five(last, bits):
    assert exit_bits(panels.of_closes([30.0, 20.0, 20.0, 20.0, 20.0, last]), "sma5") == bits


@pytest.mark.parametrize(
    "closes", [(78.17, 78.05, 77.80, 78.14, 78.04), (32.49, 32.35, 31.68, 32.20, 32.18), (20.0, 20.2, 20.1, 20.1, 20.1)]
)
def test_the_average_exit_does_not_take_a_close_at_the_average_in_cents_for_one_beyond(closes):
    assert round(sum(closes) * 100) == 5 * round(closes[-1] * 100)
    assert exit_bits(panels.of_closes(closes), "sma5") == 0


def test_an_unknown_indicator_closes_nothing():
    whole = panels.panel({"A": panels.flat(10.0, 300)})
    for rule in STRATEGY.grid["exit_rule"]:
        table = STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params({"exit_rule": rule}))
        assert not table.exit_mask.any()


def test_the_defaults_and_the_grid_are_those_of_the_specification():
    p = STRATEGY.defaults
    assert (p.ibs_max, p.rsi_bars, p.rsi_max, p.sma_bars, p.atr_bars) == (0.20, 2, 10.0, 200, 14)
    assert (p.stop_atr, p.hold_bars, p.max_gap_atr, p.min_price_usd, p.min_adv_usd) == (2.0, 5, 2.0, 5.0, 5e6)
    assert (p.min_history_bars, p.shorts) == (250, False)
    assert set(STRATEGY.grid["ibs_max"]) == {0.10, 0.15, 0.20, 0.25}
    assert set(STRATEGY.grid["rsi_max"]) == {5, 10, 15}
    assert len({repr(c) for c in STRATEGY.combinations(p)}) == 36
