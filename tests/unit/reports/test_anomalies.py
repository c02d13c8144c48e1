"""Odd values are found where they were planted, nowhere else, and never from what came later."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.panels import with_rows
from scipy.stats import median_abs_deviation

from kobe.reports import anomalies
from kobe.reports.anomalies import MOST_Z, judge, read_spread, robust_z

NUMBERS = st.floats(-1e6, 1e6)


@given(NUMBERS, st.lists(NUMBERS, min_size=20, max_size=60))
def test_the_deviation_is_that_of_scipy_where_half_of_the_past_differs(value, past):
    values = np.array(past)
    scale = median_abs_deviation(values, scale="normal")
    if scale > 1e-6:
        wanted = (value - np.median(values)) / scale
        assert robust_z(value, values) == pytest.approx(np.clip(wanted, -MOST_Z, MOST_Z), rel=2e-4, abs=1e-9)


@given(NUMBERS, st.lists(NUMBERS, min_size=20, max_size=40), st.floats(0.1, 100), st.floats(-1e3, 1e3))
def test_it_is_the_same_in_other_units_and_bounded(value, past, factor, shift):
    values = np.array(past)
    if median_abs_deviation(values) > 1.0:
        z = robust_z(value, values)
        assert abs(z) <= MOST_Z
        assert robust_z(value * factor + shift, values * factor + shift) == pytest.approx(z, rel=1e-6, abs=1e-6)


def test_the_edges_of_a_past():
    flat = np.full(30, 2.0)
    assert robust_z(2.0, flat) == 0.0
    assert robust_z(2.0001, flat) == MOST_Z
    assert robust_z(1.0, flat) == -MOST_Z
    assert math.isnan(robust_z(1.0, flat[:19]))
    assert math.isnan(robust_z(math.nan, flat))
    mostly = np.concatenate([np.full(20, 1.0), [1.5, 0.5]])
    assert robust_z(1.1, mostly) == pytest.approx(0.1 / (1.2533 * (1 / 22)))


def test_later_bars_change_no_reading(synthetic_panel):
    """The last 40 sessions, every symbol: judged among all bars, and with the future cut off."""
    last = synthetic_panel.last_session
    for session in range(last - 40, last, 7):
        whole = judge(synthetic_panel, session, synthetic_panel.symbols, 60)
        cut = synthetic_panel.until(session)
        assert whole == judge(cut, session, synthetic_panel.symbols, 60)
        assert whole[0]


@pytest.mark.parametrize(("column", "measure"), [("close", "return"), ("volume", "volume"), ("high", "range")])
def test_a_planted_odd_bar_is_found_in_its_own_session_and_measure(synthetic_panel, column, measure):
    mine = synthetic_panel[synthetic_panel.symbols[3]]
    row = mine.first_row + len(mine) - 10
    session, changed = int(synthetic_panel.session[row]), getattr(synthetic_panel, column).copy()
    changed[row] *= {"close": 2.0, "volume": 1e4, "high": 20.0}[column]
    planted = replace(synthetic_panel, **{column: changed})
    found, silent = judge(planted, session, [mine.symbol], 60)
    odd = {r.measure for r in found if abs(r.z) >= 8}
    assert measure in odd
    assert not silent
    before, _ = judge(planted, session - 1, [mine.symbol], 60)
    assert before == judge(synthetic_panel, session - 1, [mine.symbol], 60)[0]


def test_a_name_without_a_bar_of_the_session_is_silent(synthetic_panel):
    last, gone = synthetic_panel.last_session, synthetic_panel.symbols[0]
    keep = ~((synthetic_panel.symbol_of_row == 0) & (synthetic_panel.session == last))
    found, silent = judge(with_rows(synthetic_panel, keep), last, [gone, "NOBODY"], 60)
    assert (found, silent) == ([], [gone, "NOBODY"])


def test_a_quote_ten_times_as_wide_as_usual_is_odd_and_few_quotes_say_nothing():
    usual = [0.001 * (1 + 0.2 * math.sin(k)) for k in range(30)]
    assert abs(read_spread("A", [*usual, 0.001]).z) < 2
    assert read_spread("A", [*usual, 0.01]).z > 8
    assert read_spread("A", usual[:15]) is None
    assert read_spread("A", []) is None


def test_the_report_names_the_oddest_first_and_is_ready_for_json():
    from datetime import date

    from kobe.reports.document import jsonable

    readings = [
        anomalies.Reading(symbol=s, measure=m, value=v, median=0.0, z=z)
        for s, m, v, z in (("A", "return", -0.2, -9.0), ("B", "volume", 12.0, 30.0), ("A", "range", -3.0, 1.0))
    ]
    watched = anomalies.Watched(
        session=date(2024, 3, 1), names={"A": "held", "B": "market"}, readings=readings, silent=["C"],
        sources=[anomalies.Source(name="vix", newest=None, age="9 days", is_old=True)], most_z=8.0,
    )  # fmt: skip
    document = anomalies.build(watched)
    assert [r["symbol"] for r in document.data["odd"]] == ["B", "A"]
    assert "No bar of the session: C" in document.summary
    assert "Old: vix" in document.summary
    assert "return -18.13%" in document.sections[0].lines[1]
    assert jsonable(document.data)["sources"][0]["is_old"] is True
