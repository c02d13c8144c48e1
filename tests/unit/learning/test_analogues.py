"""The nearest past signals are those brute force finds, and none whose end was still to come."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.intervals import wilson_interval
from kobe.learning.analogues import nearest
from kobe.learning.dataset import FEATURE_COLUMNS

FIRST = date(2020, 1, 1)
KNOWN = FIRST + timedelta(days=60)


def past(seed: int, n: int = 120, unknown: float = 0.1) -> tuple[pl.DataFrame, np.ndarray]:
    """Return signals of two strategies over a hundred days, and a row to compare them with."""
    rng = np.random.default_rng(seed)
    start, length = rng.integers(0, 100, n), rng.integers(1, 8, n)
    x = rng.normal(size=(n + 1, len(FEATURE_COLUMNS))) * 3.0
    x[rng.random(x.shape) < unknown] = np.nan
    x[:, 3] = 1.0  # never varies, so it tells nothing
    frame = pl.DataFrame(
        {
            "signal_date": [FIRST + timedelta(days=int(s)) for s in start],
            "exit_date": [FIRST + timedelta(days=int(s)) for s in start + length],
            "symbol": [f"S{k % 17:02d}" for k in range(n)],
            "strategy": rng.choice(["ibs_rsi", "turtle_soup"], n),
            "r_net": rng.normal(size=n), "taken": rng.random(n) < 0.5,
            **{name: x[:n, k] for k, name in enumerate(FEATURE_COLUMNS)},
        }
    )  # fmt: skip
    return frame, x[n]


def by_hand(frame: pl.DataFrame, strategy: str, row: np.ndarray) -> list[tuple[float, date, str]]:
    """Return distance, date and symbol of every past signal, one loop per row and input."""
    rows = [r for r in frame.iter_rows(named=True) if r["strategy"] == strategy and r["exit_date"] <= KNOWN]
    found = []
    for r in rows:
        squares = []
        for k, name in enumerate(FEATURE_COLUMNS):
            column = [q[name] for q in rows if not math.isnan(q[name])]
            spread = math.sqrt(sum((v - sum(column) / len(column)) ** 2 for v in column) / len(column))
            if spread > 1e-12 and not math.isnan(r[name]) and not math.isnan(row[k]):
                squares.append(((r[name] - row[k]) / spread) ** 2)
        found.append((math.sqrt(sum(squares) / len(squares)), r["signal_date"], r["symbol"]))
    return sorted(found)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["ibs_rsi", "turtle_soup"]), st.integers(1, 200))
def test_the_nearest_are_those_of_brute_force(seed, strategy, count):
    frame, row = past(seed)
    told, slow = nearest(frame, strategy, row, KNOWN, count=count), by_hand(frame, strategy, row)
    assert told.searched == len(slow)
    assert len(told.nearest) == min(count, len(slow))
    assert [a.distance for a in told.nearest] == pytest.approx([d for d, _, _ in slow[:count]])
    assert [(a.signal_date, a.symbol) for a in told.nearest] == [(d, s) for _, d, s in slow[:count]]
    r = [a.r_net for a in told.nearest]
    wins = sum(v > 0 for v in r)
    assert (told.won, told.mean_r) == (pytest.approx(wins / len(r)), pytest.approx(sum(r) / len(r)))
    assert (told.low, told.high) == wilson_interval(wins, len(r))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_a_trade_that_ends_after_the_session_is_never_heard(seed):
    """Whatever it looks like and however it ends: not found, not counted, and no yardstick for the others."""
    frame, row = past(seed)
    later = pl.col("exit_date") > KNOWN
    twins = [pl.when(later).then(pl.lit(0.0 if math.isnan(v) else v)).otherwise(pl.col(n)).alias(n)
             for n, v in zip(FEATURE_COLUMNS, row, strict=True)]  # fmt: skip
    spoiled = frame.with_columns(*twins, r_net=pl.when(later).then(99.0).otherwise(pl.col("r_net")))
    told = nearest(frame, "ibs_rsi", row, KNOWN)
    assert told == nearest(spoiled, "ibs_rsi", row, KNOWN) == nearest(frame.filter(~later), "ibs_rsi", row, KNOWN)
    assert told.nearest
    assert max(a.exit_date for a in told.nearest) <= KNOWN


def test_a_trade_that_ends_on_the_session_is_known_and_the_day_before_it_is_not():
    frame, row = past(1, unknown=0.0)
    one = frame.head(1).with_columns(strategy=pl.lit("ibs_rsi"), exit_date=pl.lit(KNOWN))
    assert nearest(one, "ibs_rsi", row, KNOWN).searched == 1
    nothing = nearest(one, "ibs_rsi", row, KNOWN - timedelta(days=1))
    assert (nothing.nearest, nothing.searched) == ((), 0)
    assert all(math.isnan(v) for v in (nothing.won, nothing.low, nothing.high, nothing.mean_r))
    assert nearest(one, "turtle_soup", row, KNOWN).searched == 0


def test_ties_come_by_date_and_symbol_in_whatever_order_the_rows_are():
    frame, row = past(2)
    level = frame.with_columns([pl.lit(1.0).alias(n) for n in FEATURE_COLUMNS])
    told = nearest(level, "ibs_rsi", row, KNOWN)
    order = [(a.signal_date, a.symbol) for a in told.nearest]
    assert len(order) == 20
    assert order == sorted(order)
    turned = nearest(level.sample(fraction=1.0, shuffle=True, seed=5), "ibs_rsi", row, KNOWN)
    assert [(a.signal_date, a.symbol) for a in turned.nearest] == order


def test_rows_that_share_no_input_are_farthest_and_constant_or_unknown_inputs_say_nothing():
    frame, row = past(1, unknown=0.0)
    marked = frame.with_columns(strategy=pl.lit("ibs_rsi"), exit_date=pl.lit(KNOWN))
    blank = marked.with_columns([
        pl.when(pl.int_range(pl.len()) == 0).then(float("nan")).otherwise(pl.col(n)).alias(n) for n in FEATURE_COLUMNS
    ])  # fmt: skip
    assert nearest(blank, "ibs_rsi", row, KNOWN).nearest[0].distance > 0
    plain = nearest(marked.with_columns(volume_z=pl.lit(0.1)), "ibs_rsi", row, KNOWN)
    other = row.copy()
    other[FEATURE_COLUMNS.index("volume_z")] = 5.0
    assert nearest(marked.with_columns(volume_z=pl.lit(0.1)), "ibs_rsi", other, KNOWN) == plain
    assert nearest(marked.with_columns(volume_z=pl.lit(float("nan"))), "ibs_rsi", row, KNOWN) == plain
