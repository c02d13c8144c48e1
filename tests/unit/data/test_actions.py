"""Prices are kept as they came; events adjust the whole past when it is read, name companies and end their lives."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from kit.market import LAST, events, market, put, scaled, store_in

from kobe.backtest import engine
from kobe.backtest.costs import flat_costs
from kobe.core.calendar import xnys
from kobe.core.errors import MissingDataError, SchemaError
from kobe.data import actions
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

RAW = Provenance(source="test", adjustment="raw")


def day_of(calendar, row: int) -> date:
    return calendar.between(date(2019, 1, 2), LAST)[row]


def test_raw_bars_and_their_splits_are_the_adjusted_bars(calendar):
    bars = market(calendar)
    tape = scaled(scaled(bars, "AAA", range(100), 8.0), "AAA", range(100, 250), 4.0)
    tape = tape.with_columns(volume=pl.col("volume") * bars["close"] / tape["close"])
    told = events(("AAA", day_of(calendar, 100), "split", 2.0, ""), ("AAA", day_of(calendar, 250), "split", 4.0, ""))
    panel, plain = panel_from(tape, calendar, RAW, told), panel_from(bars, calendar, RAW)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(getattr(panel, name), getattr(plain, name), rtol=1e-12)
    assert sorted(set(panel["AAA"].close / plain["AAA"].close)) == pytest.approx([1.0])
    assert panel.raw_factor[[0, 100, 250]].tolist() == [8.0, 4.0, 1.0]
    np.testing.assert_allclose(panel.close * panel.raw_factor, tape["close"].to_numpy(), rtol=1e-12)


def test_adjusted_bars_find_the_way_back_to_the_tape(calendar):
    told = events(("AAA", day_of(calendar, 100), "split", 0.125, ""))
    panel = panel_from(market(calendar), calendar, Provenance(source="test"), told)
    assert panel.raw_factor[[99, 100]].tolist() == [0.125, 1.0]


@pytest.mark.parametrize("adjustment", ["raw", "split"])
def test_a_dividend_is_paid_on_its_ex_date_in_the_shares_the_prices_count(calendar, adjustment):
    """A dollar on the tape before a 4:1 split is a quarter of a dollar on each share of today."""
    told = events(
        ("AAA", day_of(calendar, 100), "dividend", 1.0, ""), ("AAA", day_of(calendar, 200), "split", 4.0, ""),
        ("AAA", day_of(calendar, 200), "dividend", 0.5, ""), ("ZZZ", day_of(calendar, 10), "dividend", 9.0, ""),
    )  # fmt: skip
    panel = panel_from(market(calendar), calendar, Provenance(source="test", adjustment=adjustment), told)
    found = {int(r): float(panel.dividend[r]) for r in np.flatnonzero(panel.dividend)}
    assert found == {100: 0.25, 200: 0.5}


def test_total_return_prices_hold_their_dividends_already(calendar):
    told = events(("AAA", day_of(calendar, 100), "dividend", 1.0, ""))
    panel = panel_from(market(calendar), calendar, Provenance(source="test", adjustment="total-return"), told)
    assert not panel.pays
    assert not panel.dividend.any()


def test_an_ex_date_without_a_bar_counts_on_the_next_one_and_none_outside_the_bars(calendar):
    bars = market(calendar, sessions=300)
    place = pl.int_range(pl.len()).over("symbol")
    halted = bars.filter(~((pl.col("symbol") == "AAA") & (place.is_between(50, 59) | (place >= 250) | (place < 5))))
    days = (2, 52, 55, 60, 250)
    told = events(*(("AAA", day_of(calendar, d), "dividend", 0.1 * k, "") for k, d in enumerate(days, 1)))
    panel = panel_from(halted, calendar, RAW, told)
    rows = np.flatnonzero(panel.dividend)
    assert [panel.calendar.sessions[s] for s in panel.session[rows]] == [day_of(calendar, 60)]
    assert panel.dividend[rows[0]] == pytest.approx(0.2 + 0.3 + 0.4)


def test_real_opens_fall_by_the_dividend_on_the_ex_date_and_not_in_the_session_before_or_after(real_frame, real_file):
    """The events and the adjusted bars come from two columns of one vendor; the market says whether they belong."""
    path = real_file.parent / "corporate_actions.parquet"
    if not path.is_file():
        pytest.skip(f"real events are not there: {path}")
    told = actions.judge(actions.read_actions(path, "real")).good
    panel = panel_from(real_frame, xnys(), Provenance(source="real"), told)
    rows = np.flatnonzero(panel.dividend > 0.0)
    inside = (rows > panel.offsets[panel.symbol_of_row[rows]] + 1) & (
        rows + 1 < panel.offsets[panel.symbol_of_row[rows] + 1]
    )
    rows = rows[inside]
    share = panel.dividend[rows] / panel.close[rows - 1]
    rows, share = rows[share < 0.05], share[share < 0.05]
    assert len(rows) > 1000
    slopes = [np.polyfit(share, panel.open[rows + lag] / panel.close[rows + lag - 1] - 1.0, 1)[0] for lag in (-1, 0, 1)]
    assert slopes[1] == pytest.approx(-1.0, abs=0.25)
    assert max(abs(slopes[0]), abs(slopes[2])) < 0.25


def test_dividends_follow_a_company_to_its_new_ticker(calendar):
    bars = market(calendar, symbols=("FB", "XYZ"))
    day = day_of(calendar, 300)
    young = bars.with_columns(symbol=pl.when((pl.col("symbol") == "FB") & (pl.col("date") >= day)).then(pl.lit("META"))
                              .otherwise(pl.col("symbol"))).sort("symbol", "date")  # fmt: skip
    told = events(("FB", day, "rename", None, "META"), ("FB", day_of(calendar, 10), "dividend", 2.0, ""))
    panel = panel_from(young, calendar, RAW, told)
    assert np.flatnonzero(panel.dividend).tolist() == [panel["META"].first_row + 10]


def test_a_new_ticker_carries_the_past_and_a_reused_one_does_not(calendar):
    bars = market(calendar, symbols=("FB", "USO"))
    day = day_of(calendar, 300)
    young = bars.with_columns(symbol=pl.when((pl.col("symbol") == "FB") & (pl.col("date") >= day)).then(pl.lit("META"))
                              .otherwise(pl.col("symbol"))).sort("symbol", "date")  # fmt: skip
    told = events(("FB", day, "rename", None, "META"), ("USO", day, "relisted", None, ""),
                  ("FB", day_of(calendar, 10), "split", 2.0, ""))  # fmt: skip
    panel = panel_from(young, calendar, RAW, told)
    assert panel.symbols == ("META", "USO", "USO.1")
    assert [len(panel[s]) for s in panel.symbols] == [400, 100, 300]
    assert panel.raw_factor[:12].tolist() == [2.0] * 10 + [1.0] * 2


@pytest.mark.parametrize(
    ("detail", "value", "loss"),
    [("acquired", None, 0.0), ("performance:nasdaq", None, 0.55), ("performance:nyse", None, 0.30), ("", 0.8, 0.8)],
)
def test_a_delisting_tells_what_the_last_price_is_worth(calendar, detail, value, loss):
    bars = market(calendar, sessions=300)
    place = pl.int_range(pl.len()).over("symbol")
    ended = bars.filter((pl.col("symbol") != "AAA") | (place < 280))
    told = events(("AAA", day_of(calendar, 280), "delisting", value, detail))
    panel = panel_from(ended, calendar, RAW, told)
    assert panel.final_loss[0] == loss
    assert np.isnan(panel.final_loss[1:]).all()
    before = panel.until(calendar.number(day_of(calendar, 279)))
    assert np.isnan(before.final_loss).all(), "how it ends is not known while it trades"


def test_a_held_symbol_that_is_taken_over_loses_nothing_and_one_that_fails_does(calendar):
    """DOMAIN 2.6: dropping the row would be a loss of zero."""
    names, end = [f"S{k}" for k in range(20)], day_of(calendar, 400)
    bars = market(calendar, symbols=names, sessions=420, seed=8).with_columns(volume=pl.lit(1e7))
    bars = bars.filter((pl.col("symbol") == "S0") | (pl.col("date") < end)).sort("symbol", "date")
    results = {}
    for detail in ("acquired", "", "performance:nasdaq"):
        told = events(*[(name, end, "delisting", None, detail) for name in names[1:]])
        panel = panel_from(bars, calendar, RAW, told)
        features = FeatureTable(panel, "S0")
        params = STRATEGIES["ibs_rsi"].params({"min_history_bars": 20, "sma_bars": 20, "ibs_max": 0.6, "rsi_max": 60.0})
        table = STRATEGIES["ibs_rsi"].signals(panel, features, params)
        outcomes = engine.evaluate(panel, features, table, engine.Assumptions(costs=flat_costs(0.0)))
        results[detail] = float(outcomes.net_r[outcomes.closed].sum())
    assert results["acquired"] > results[""] > results["performance:nasdaq"]


def test_events_that_cannot_be_and_events_that_contradict_are_set_aside(calendar):
    day = day_of(calendar, 10)
    judged = actions.judge(events(
        ("A", day, "split", 2.0, ""), ("A", day, "split", 0.0, ""), ("A", day, "split", 1e6, ""),
        ("A", day, "dividend", float("nan"), ""), ("A", day, "rename", None, ""), ("A", day, "magic", 1.0, ""),
        ("", day, "split", 2.0, ""),
    ))  # fmt: skip
    assert len(judged.good) == 1
    assert set(judged.aside["reasons"]) == {"no_value", "absurd_split", "no_new_symbol", "unknown_kind", "no_key"}
    held = events(("A", day, "split", 2.0, ""), ("B", day, "dividend", 0.50, ""))
    new = events(("A", day, "split", 3.0, ""), ("B", day, "dividend", 0.5001, ""), ("C", day, "split", 2.0, ""))
    merged, contradicting = actions.merge(held, new)
    assert merged["symbol"].to_list() == ["A", "B", "C"]
    assert contradicting.select("symbol", "value", "was").rows() == [("A", 3.0, 2.0)]


def test_files_of_both_forms_are_read_and_others_refused(tmp_path, calendar):
    day = day_of(calendar, 10)
    wide = tmp_path / "wide.csv"
    pl.DataFrame({"date": [day, day], "symbol": ["a", "B"], "split_coefficient": [2.0, 1.0],
                  "dividend_amount": [0.0, 0.3]}).write_csv(wide)  # fmt: skip
    assert actions.read_actions(wide, "x").select("symbol", "kind", "value").rows() == [
        ("A", "split", 2.0), ("B", "dividend", 0.3)]  # fmt: skip
    odd = tmp_path / "odd.csv"
    odd.write_text("a,b\n1,2\n")
    with pytest.raises(SchemaError, match="corporate actions"):
        actions.read_actions(odd, "x")
    with pytest.raises(MissingDataError):
        actions.read_actions(tmp_path / "none.csv", "x")


def test_prices_rebuilt_from_the_tape_are_the_adjusted_file(calendar, real_file, tmp_path):
    folder = real_file.parent
    if not (folder / "equities_daily_raw_unadjusted.parquet").is_file():
        pytest.skip("tape prices are not there")
    as_bars = [pl.col("date").cast(pl.Date), pl.col("volume").cast(pl.Float64), pl.lit(1.0).alias("raw_factor")]
    raw = pl.read_parquet(folder / "equities_daily_raw_unadjusted.parquet").with_columns(as_bars)
    told = actions.judge(actions.read_actions(folder / "corporate_actions.parquet", "file")).good
    store = store_in(tmp_path, calendar)
    put(store, raw, told, adjustment="raw")
    panel = store.panel()
    names = list(panel.symbols)
    true = pl.read_parquet(real_file).with_columns(as_bars).filter(pl.col("symbol").is_in(names)).sort("symbol", "date")
    off = np.abs(panel.close / true["close"].to_numpy() - 1) > 2e-6
    assert set(np.array(names)[panel.symbol_of_row[off]]) == {"APH", "SHW"}, "split in 2021, after the events end"
