"""A hold found tonight is the hold that would have been found then: cutting the future changes no earlier one."""

from datetime import date

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.market import LAST, events, market

from kobe.core.calendar import xnys
from kobe.data import holds, inspection
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.quality import SERIES_RULES, Action, Scope

CALENDAR = xnys()
DERIVED = {rule.code for rule in SERIES_RULES if rule.action is Action.QUARANTINE}
DAYS = CALENDAR.between(date(2019, 1, 2), LAST)
TOLD = events(("AAA", DAYS[120], "split", 2.0, ""), ("BBB", DAYS[90], "dividend", 9.0, ""))

spots = st.tuples(
    st.sampled_from(["AAA", "BBB", "CCC"]), st.integers(71, 290), st.sampled_from([0.3, 0.5, 0.667, 0.85, 1.6, 3.0]),
    st.sampled_from(["level", "spike", "flat", "volume", "gone"]),
)  # fmt: skip


def spoiled(found: list[tuple[str, int, float, str]]) -> pl.DataFrame:
    bars = market(CALENDAR, sessions=300)
    place = pl.int_range(pl.len()).over("symbol")
    for symbol, row, factor, kind in found:
        mine, tail = pl.col("symbol") == symbol, pl.col("_place") >= row
        here = pl.col("_place").is_between(row, row + 12)
        bars = bars.with_columns(_place=place)
        prices = ("open", "high", "low", "close")
        if kind == "level":
            bars = bars.with_columns(
                [pl.when(mine & tail).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in prices]
            )
        elif kind == "spike":
            at = mine & (pl.col("_place") == row)
            bars = bars.with_columns(high=pl.when(at).then(pl.col("high") * 4).otherwise(pl.col("high")))
        elif kind == "flat":
            bars = bars.with_columns(
                [pl.when(mine & here).then(pl.lit(33.0)).otherwise(pl.col(c)).alias(c) for c in prices]
            )
        elif kind == "volume":
            bars = bars.with_columns(
                volume=pl.when(mine & tail).then(pl.col("volume") * 0.02).otherwise(pl.col("volume"))
            )
        else:
            bars = bars.filter(~(mine & pl.col("_place").is_between(row, row + 25)))
        bars = bars.drop("_place")
    return bars


def held(bars: pl.DataFrame) -> set[holds.Hold]:
    scope = Scope(calendar=CALENDAR, last=LAST)
    return {h for h in inspection.holds_of(inspection.findings(bars, TOLD, scope), CALENDAR) if h.code in DERIVED}


@settings(max_examples=40, deadline=None)
@given(st.lists(spots, max_size=4), st.integers(75, 299))
def test_cutting_the_future_changes_no_hold_and_no_tradable_row_before_it(found, cut):
    bars, last = spoiled(found), DAYS[cut]
    whole = held(bars)
    assert held(bars.filter(pl.col("date") <= last)) == {h for h in whole if h.since <= last}
    panels = []
    for part in (bars, bars.filter(pl.col("date") <= last)):
        panel = panel_from(part, CALENDAR, Provenance(source="t"), None, holds.to_frame(held(part)))
        panels.append(panel.until(CALENDAR.number(last)))
    np.testing.assert_array_equal(panels[0].tradable, panels[1].tradable)
    assert panels[0].digest == panels[1].digest


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 299), st.one_of(st.none(), st.integers(1, 300)), st.booleans())
def test_a_hold_covers_the_rows_from_its_first_to_the_one_before_its_end_unless_released(first, length, released):
    bars = market(CALENDAR, sessions=300)
    until = None if length is None else CALENDAR.offset(DAYS[first], length)
    hold = holds.Hold("BBB", "by_hand", DAYS[first], until, "", "looked at" if released else "")
    panel = panel_from(bars, CALENDAR, Provenance(source="t"), None, holds.to_frame([hold]))
    expected = [not hold.covers(CALENDAR.sessions[s]) for s in panel["BBB"].session]
    assert panel.tradable[300:600].tolist() == expected
    assert panel.tradable[:300].all()
    assert panel.tradable[600:].all()
    assert all(expected) is released
