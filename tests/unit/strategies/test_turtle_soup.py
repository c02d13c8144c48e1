"""Turtle Soup: planted sweeps are found, every one and nothing else (DOMAIN 1.3, D8 and D9).

Every planted history has a true range of exactly 10 on each bar before the sweep, so that depths in ATR are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from kit import panels

from kobe.core.panel import Panel
from kobe.features.table import FEATURES, FeatureTable
from kobe.strategies import STRATEGIES

STRATEGY = STRATEGIES["turtle_soup"]
BASE = 512.0
RANGE = 10.0


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A sweep as planted: at bar `at`, of a low `age` bars old, `depth` ATR deep, closing `recovery` above it.

    The level lies 6 dollars below the trend at bar `at`; the trend rises `slope` dollars a bar.
    """

    at: int = 260
    age: int = 7
    depth: float = 0.5
    recovery: float = 6.0
    slope: float = 0.125
    second_age: int | None = None
    dip_close: float = 0.0


def plant(p: Plant, after: int = 30) -> panels.History:
    """Build the bars of one plant: a trend, one dip (or two equal ones), the sweep and some bars after it."""
    trend = BASE + p.slope * (np.arange(p.at + after + 1) - p.at)
    close, low = trend.copy(), trend - 2.0
    level = BASE - 6.0
    for age in {p.age, p.second_age} - {None}:
        close[p.at - age], low[p.at - age] = level + p.dip_close, level
    high = low + RANGE
    for t in range(1, p.at):
        if high[t] - close[t - 1] > RANGE:  # the bar after a dip: keep its true range at 10
            high[t] = close[t - 1] + RANGE
    close[p.at], low[p.at] = level + p.recovery, level - p.depth * RANGE
    high[p.at] = max(close[p.at], BASE) + 1.0
    return panels.history(open=close, high=high, low=low, close=close)


def signals_of(whole: Panel, **change) -> set[tuple[str, int, int]]:
    """Return (symbol, bar, side) of every signal."""
    table = STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params(change))
    symbol = whole.symbol_of_row[table.row]
    bar = table.row - whole.offsets[symbol]
    return {(whole.symbols[k], int(b), int(s)) for k, b, s in zip(symbol, bar, table.side, strict=True)}


def is_signal(bars: panels.History, at: int = 260, **change) -> bool:
    found = signals_of(panels.panel({"A": bars}), **change)
    assert found <= {("A", at, 1)}
    return bool(found)


def with_dollars(bars: panels.History, usd: float) -> panels.History:
    return replace(bars, volume=usd / bars.close)


def on_tape(bars: panels.History, at: int, price: float) -> panels.History:
    """Set the raw price of every bar so that it is `price` at one of them, raw dollars unchanged."""
    return replace(bars, raw_factor=np.full(len(bars), price / bars.close[at]))


def random_plant(rng: np.random.Generator) -> Plant:
    """Draw a valid sweep; depths are whole dollars, tenths of the ATR."""
    return Plant(
        at=int(rng.integers(250, 300)),
        age=int(rng.integers(4, 21)),
        depth=int(rng.integers(1, 21)) / 10,
        recovery=float(rng.choice([0.25, 1.0, 3.0, 6.0, 9.0])),
        slope=float(rng.choice([0.125, 0.140625])),
    )


def falling(p: Plant) -> panels.History:
    return plant(replace(p, slope=-0.125, recovery=9.0))


NEAR_MISSES: dict[str, Callable[[Plant], panels.History]] = {
    "age 3": lambda p: plant(replace(p, age=3)),
    "age 1": lambda p: plant(replace(p, age=1)),
    "newest of equal lows 3 bars old": lambda p: plant(replace(p, age=9, second_age=3)),
    "depth 0.09": lambda p: plant(replace(p, depth=0.09)),
    "depth 2.01": lambda p: plant(replace(p, depth=2.01)),
    "equal low": lambda p: plant(replace(p, depth=0.0)),
    "higher low": lambda p: plant(replace(p, depth=-0.1)),
    "close at the level": lambda p: plant(replace(p, recovery=0.0)),
    "close below the level": lambda p: plant(replace(p, recovery=-min(0.5, p.depth * 5))),
    "below the average": falling,
    "low volume": lambda p: with_dollars(plant(p), 4_999_000.0),
    "low price": lambda p: on_tape(plant(p), p.at, 4.99),
    "249 bars before": lambda p: plant(p).take(slice(p.at - 249, None)),
}


@pytest.mark.parametrize("seed", range(8))
def test_every_planted_sweep_is_found_and_no_near_miss(seed):
    rng = np.random.default_rng(seed)
    made, wanted, mirrored = {}, set(), set()
    kinds = [None] * len(NEAR_MISSES) + list(NEAR_MISSES)
    for k, kind in enumerate(kinds):
        p = random_plant(rng)
        bars = plant(p) if kind is None else NEAR_MISSES[kind](p)
        name = f"{'V' if kind is None else 'M'}{k:02d}"
        if kind is None:
            bars = with_dollars(on_tape(bars, p.at, 5.01), 5_001_000.0)
            wanted.add((name, p.at, 1))
            mirrored.add((name, p.at, -1))
        made[name] = bars.scaled(float(rng.choice([1.0, 2.0**-8, 4.0])))
    assert signals_of(panels.panel(made)) == wanted
    upside_down = {name: bars.mirrored(bars.close[0]) for name, bars in made.items()}
    assert signals_of(panels.panel(upside_down), shorts=True) == mirrored
    assert signals_of(panels.panel(upside_down)) == set()


@pytest.mark.parametrize("kind", list(NEAR_MISSES))
def test_each_near_miss_fails_by_its_own_clause_alone(kind):
    relaxed = {
        "age 3": {"min_age_bars": 3},
        "age 1": {"min_age_bars": 1},
        "newest of equal lows 3 bars old": {"min_age_bars": 3},
        "depth 0.09": {"min_depth_atr": 0.0899},
        "depth 2.01": {"max_depth_atr": 2.02},
        "below the average": {"sma_bars": 5},
        "low volume": {"min_adv_usd": 4_998_000.0},
        "low price": {"min_price_usd": 4.98},
        "249 bars before": {"min_history_bars": 249},
    }
    p = Plant()
    at = 249 if kind == "249 bars before" else p.at
    bars = NEAR_MISSES[kind](p)
    whole = panels.panel({"A": bars})
    assert signals_of(whole) == set()
    if kind in relaxed:
        assert ("A", at, 1) in signals_of(whole, **relaxed[kind])
    else:
        assert ("A", at, 1) not in signals_of(whole, min_age_bars=1, min_depth_atr=0.0, max_depth_atr=99.0)


@pytest.mark.parametrize(("age", "signal"), [(3, False), (4, True), (20, True)])
def test_the_low_must_be_four_bars_old(age, signal):
    assert is_signal(plant(Plant(age=age))) == signal


@pytest.mark.parametrize(("first", "second", "signal"), [(10, 3, False), (10, 4, True), (4, 10, True)])
def test_of_equal_lows_the_newest_tells_the_age(first, second, signal):
    assert is_signal(plant(Plant(age=first, second_age=second))) == signal


@pytest.mark.parametrize(
    ("depth", "signal"), [(0.09, False), (0.1, True), (2.0, True), (2.01, False), (2.0 + 2**-20, False)]
)
def test_the_depth_lies_between_a_tenth_and_two_of_yesterdays_atr(depth, signal):
    bars = plant(Plant(depth=depth))
    bars.high[260] = bars.low[260] + 60.0  # today's range swells today's ATR, which must not matter
    atr = FeatureTable(panels.panel({"A": bars})).column("atr", 14)
    assert atr[259] == RANGE
    assert atr[260] > 13
    assert is_signal(bars) == signal


@pytest.mark.parametrize(("depth", "recovery"), [(0.0, 6.0), (0.0, 2**-20), (0.5, 0.0)])
def test_neither_an_equal_low_nor_a_close_at_the_level_is_a_sweep(depth, recovery):
    bars = plant(Plant(depth=depth, recovery=recovery))
    assert not is_signal(bars)
    assert not is_signal(bars, min_depth_atr=0.0)
    beyond = plant(Plant(depth=2**-20 if depth == 0 else depth, recovery=max(recovery, 2**-20)))
    assert is_signal(beyond, min_depth_atr=0.0)


@pytest.mark.parametrize(("above", "signal"), [(0.0, False), (2**-20, True), (-(2**-20), False)])
def test_the_close_must_stand_above_its_average_and_not_at_it(above, signal):
    level_ground = Plant(slope=0.0, dip_close=6.0, recovery=6.0 + above)
    bars = plant(level_ground)
    assert (bars.close[:260] == BASE).all()
    assert is_signal(bars) == signal


@pytest.mark.parametrize("price", [33.33, 19.99, 47.11, 61.37])
def test_a_close_that_never_changed_stands_at_its_average_also_in_cents(price):
    bars = panels.of_closes([price] * 281)
    bars.low[270], bars.low[280] = price - 1.5, price - 2.0
    assert not is_signal(bars, at=280)


def test_todays_low_is_no_part_of_the_level_and_20_bars_are():
    assert is_signal(plant(Plant(age=20, depth=2.0)))  # a window of 19 would find it 2.16 ATR deep
    assert is_signal(plant(Plant(age=21, depth=0.0)))  # a window of 21 would find an equal low


def worked() -> panels.History:
    """Build the worked example of DOMAIN 1.3: level 48.20 seven bars ago, ATR 1.50 before the bar, 1.52 after it."""
    closes = np.concatenate((np.full(111, 40.0), np.full(150, 48.90)))
    low, high = closes - 0.45, closes + 1.05
    low[-8], high[-8] = 48.20, 49.70
    closes[-1], low[-1], high[-1] = 48.95, 47.60, 49.40
    opens = np.append(closes[:-1], 48.60)
    return panels.history(open=opens, high=high, low=low, close=closes)


@pytest.mark.parametrize(
    ("mode", "stop", "risk", "target"), [("sweep", 47.296, 1.76, 50.81), ("atr", 46.01, 3.04, 52.09)]
)
def test_the_worked_example_has_the_stops_and_targets_of_the_specification(mode, stop, risk, target):
    whole = panels.panel({"A": worked()})
    features = FeatureTable(whole)
    assert features.column("atr", 14)[259:] == pytest.approx([1.50, 1.5214], abs=5e-5)
    table = STRATEGY.signals(whole, features, STRATEGY.params({"stop_mode": mode}))
    assert table.row.tolist() == [260]
    fill = 49.05
    anchored = table.stop_level[0] if mode == "sweep" else fill - table.stop_distance[0]
    assert anchored == pytest.approx(stop, abs=6e-3 if mode == "atr" else 6e-4)
    assert fill - anchored == pytest.approx(risk, abs=6e-3)
    assert fill + table.target_r[0] * (fill - anchored) == pytest.approx(target, abs=6e-3)
    assert FEATURES["depth_atr"](features, table.row)[0] == pytest.approx(0.40, abs=1e-4)


def test_the_sweep_stop_is_a_fixed_level_and_the_atr_stop_a_distance_from_the_fill():
    whole = panels.panel({"A": plant(Plant())})
    features = FeatureTable(whole)
    atr = features.column("atr", 14)[260]
    sweep, distance = (STRATEGY.signals(whole, features, STRATEGY.params({"stop_mode": m})) for m in ("sweep", "atr"))
    assert sweep.stop_level[0] == whole.low[260] - 0.2 * atr
    assert np.isnan(sweep.stop_distance[0])
    assert distance.stop_distance[0] == 2 * atr
    assert np.isnan(distance.stop_level[0])


def test_a_shorts_stop_stands_above_the_swept_high_and_its_target_below():
    bars = plant(Plant()).mirrored(BASE)
    whole = panels.panel({"A": bars})
    features = FeatureTable(whole)
    atr = features.column("atr", 14)[260]
    params = STRATEGY.params({"stop_mode": "sweep", "shorts": True})
    (signal,) = STRATEGY.signals(whole, features, params).signals(whole)
    assert signal.side == "short"
    assert signal.stop == bars.high[260] + 0.2 * atr
    assert signal.target == bars.close[260] - (signal.stop - bars.close[260])


def test_an_unknown_stop_mode_is_refused():
    whole = panels.panel({"A": plant(Plant())})
    with pytest.raises(ValueError, match="stop_mode"):
        STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.params({"stop_mode": "none"}))


def test_there_is_no_signal_exit_and_the_defaults_are_those_of_the_specification():
    whole = panels.panel({"A": plant(Plant())})
    assert not STRATEGY.signals(whole, FeatureTable(whole), STRATEGY.defaults).exit_mask.any()
    p = STRATEGY.defaults
    assert (p.lookback_bars, p.min_age_bars, p.min_depth_atr, p.max_depth_atr) == (20, 4, 0.10, 2.0)
    assert (p.stop_mode, p.sweep_pad_atr, p.target_r, p.stop_atr, p.hold_bars) == ("atr", 0.2, 1.0, 2.0, 5)
    assert (p.sma_bars, p.atr_bars, p.min_price_usd, p.min_adv_usd, p.min_history_bars) == (200, 14, 5.0, 5e6, 250)
    assert set(STRATEGY.grid["target_r"]) == {0.5, 1.0, 1.5, 2.0}
