"""However a panel is cut into stretches, and in however many threads, columns, marks and rows keep their digits."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.core import threads
from kobe.features import passes
from kobe.features.passes import Passes
from kobe.features.table import INDICATORS, FeatureTable
from kobe.strategies import STRATEGIES

LOOSE = {"sma_bars": 5, "min_history_bars": 10, "min_price_usd": 0.0, "min_adv_usd": 0.0, "shorts": True}
COLUMNS = (("ibs", 1), ("rsi", 2), ("rsi", 14), ("atr", 14), ("adv_usd", 20), ("sma", 5))


def asked(panel) -> dict[str, np.ndarray]:
    """Everything a panel is asked for together, and what the strategies make of it."""
    features = FeatureTable(panel)
    together = Passes(features)
    columns = {f"{name} {n}": together.column(name, n) for name, n in COLUMNS}
    again = {f"{name} {n}": together.column(name, n) for name, n in COLUMNS}
    assert all(again[k] is columns[k] for k in columns), "asked twice, worked out once"
    together.run()
    assert all(FeatureTable.column(features, name, n) is columns[f"{name} {n}"] for name, n in COLUMNS)
    for name, plan in STRATEGIES.items():
        table = plan.signals(panel, features, plan.params(LOOSE))
        columns |= {f"{name} {c}": getattr(table, c) for c in ("row", "side", "score", "atr", "exit_mask")}
    return columns


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), stretch=st.sampled_from([1, 40, 250]), parts=st.sampled_from([1, 2, 3]))
def test_stretches_and_threads_change_no_digit(seed, stretch, parts):
    panel = panels.random_panel(seed, symbols=11, bars=60)
    whole = asked(panel)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(parts) as pool:
        patch.setattr(passes, "STRETCH_ROWS", stretch)
        patch.setattr(threads, "WORTH_IT", 0)
        patch.setattr(threads, "_allowed", lambda: parts)
        patch.setattr(threads, "_pool", lambda *_: pool)
        cut = asked(panel)
    assert whole.keys() == cut.keys()
    for name, values in whole.items():
        assert np.array_equal(values, cut[name], equal_nan=values.dtype.kind == "f"), name


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_an_indicator_of_a_few_symbols_has_the_digits_of_the_whole_column(seed, data):
    panel = panels.random_panel(seed, symbols=11, bars=60)
    few = data.draw(st.lists(st.integers(0, len(panel.symbols) - 1), max_size=2, unique=True))
    rows = np.flatnonzero(np.isin(panel.symbol_of_row, few))
    rows = rows[data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(0, 12))]] if len(rows) else rows
    for name in INDICATORS:
        features = FeatureTable(panel)
        values = features.at(name, 5, rows)
        assert not features.has(name, 5), "worked out on these symbols alone"
        assert np.array_equal(values, features.column(name, 5)[rows], equal_nan=True), name


def test_a_panel_without_a_bar_has_columns_without_a_row_and_no_signal():
    one = panels.random_panel(1, symbols=1, bars=30)
    none = panels.with_rows(one, np.zeros(len(one), dtype=np.bool_))
    assert all(len(values) == 0 for values in asked(replace(none)).values())


def test_work_in_a_part_that_is_done_in_parts_itself_does_not_wait_for_its_own_thread():
    done = []

    def inner(first: int, last: int) -> None:
        done.append((first, last))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_allowed", lambda: 2)
        threads.in_parts(4, threads.WORTH_IT, lambda *_: threads.in_parts(10, threads.WORTH_IT, inner))
    assert done == [(0, 10), (0, 10)]


@pytest.mark.parametrize("bad", [0, 500])
def test_what_fails_lets_nothing_further_begin(bad):
    begun = []

    def work(thing: int) -> int:
        begun.append(thing)
        if thing == bad:
            raise LookupError
        time.sleep(0.01)
        return thing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_allowed", lambda: 2)
        with pytest.raises(LookupError):
            threads.each(range(1000), threads.WORTH_IT, work)
        assert len(begun) < 100
        assert threads.each(range(501, 509), threads.WORTH_IT, work) == list(range(501, 509))
