"""Tags, R multiples, the worth of a tag and a file that no spreadsheet runs."""

import csv
import io
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.types import Side, Trade, TradePlan
from kobe.execution import journal
from kobe.execution.journal import COLUMNS, FORMULA, Note

D = Decimal


def trade(net="9.00", entry="50.00", quantity=10, opened=datetime(2024, 6, 4, 1, 0, tzinfo=UTC), reason="time"):
    return Trade(signal_id="s", strategy="ibs_rsi", symbol="AAA", side=Side.LONG, quantity=quantity,
                 entry_price=D(entry), exit_price=D("51.00"), fees_usd=D("0.02"), net_usd=D(net), opened=opened,
                 closed=datetime(2024, 6, 5, 14, 0, tzinfo=UTC), exit_reason=reason)  # fmt: skip


def plan(distance=2.0, level=None):
    return TradePlan(signal_id="s", strategy="ibs_rsi", symbol="AAA", side=Side.LONG, signal_date=date(2024, 6, 3),
                     entry_session=date(2024, 6, 4), exit_session=date(2024, 6, 10), stop_distance=distance,
                     stop_level=level, target_r=None, atr=1.0, reference_close=50.0, params={})  # fmt: skip


def test_tags_follow_new_york_s_date_of_the_entry():
    e = journal.entry(trade(), plan(), 1.0, journal.ABOVE)
    assert (e.tags["session"], e.tags["weekday"], e.tags["month"]) == ("2024-06-03", "monday", "june")
    assert e.tags["regime"] == "above_sma200"


def test_r_is_the_net_result_over_the_risk_of_all_shares_in_raw_dollars():
    assert journal.entry(trade(), plan(), 1.0, journal.ABOVE).r == D("0.45")
    assert journal.entry(trade(), plan(), 2.0, journal.ABOVE).r == D("0.225"), "a later split changes the distance"
    by_level = journal.entry(trade(), plan(distance=None, level=49.0), 1.0, journal.ABOVE)
    assert by_level.r == D("0.9")
    wrong_side = journal.entry(trade(), plan(distance=None, level=51.0), 1.0, journal.ABOVE)
    assert wrong_side.r is None
    assert journal.entry(trade(), None, 1.0, journal.ABOVE).r is None


def test_fees_booked_later_count_in_the_result():
    e = journal.entry(trade(), plan(), 1.0, journal.ABOVE, D("0.03"))
    assert e.net_usd == D("8.97")


def test_a_tag_is_worth_the_sum_of_its_trades_and_nothing_is_no_win():
    entries = [journal.entry(trade(net), plan(), 1.0, regime)
               for net, regime in (("9", "a"), ("-4", "a"), ("0", "a"), ("1", "b"))]  # fmt: skip
    a, b = journal.by_tag(entries, "regime")
    assert (a.value, a.trades, a.wins, a.net_usd) == ("a", 3, 1, D(5))
    assert a.mean_r == pytest.approx((9 - 4 + 0) / 3 / 20)
    assert (a.low, a.high) == (pytest.approx(0.0615, abs=1e-4), pytest.approx(0.7923, abs=1e-4))
    assert (b.trades, b.wins, b.win_rate) == (1, 1, 1.0)


def test_without_a_stop_on_record_the_mean_r_is_unknown():
    (w,) = journal.by_tag([journal.entry(trade(), None, 1.0, "a")], "regime")
    assert math.isnan(w.mean_r)


def test_entries_are_chosen_by_every_tag_and_by_session():
    entries = [journal.entry(trade(reason=r), plan(), 1.0, "a") for r in ("time", "stop")]
    assert len(journal.wanted(entries, {}, None)) == 2
    assert [e.trade.exit_reason for e in journal.wanted(entries, {"exit_reason": "stop", "regime": "a"}, None)] == [
        "stop"
    ]
    assert not journal.wanted(entries, {"regime": "b"}, None)
    assert not journal.wanted(entries, {}, date(2024, 6, 4))
    assert len(journal.wanted(entries, {}, date(2024, 6, 3))) == 2


@given(text=st.text(min_size=1), symbol=st.sampled_from(["", "AAA", "=AAA"]))
def test_no_cell_of_text_starts_a_formula_and_numbers_stay_numbers(text, symbol):
    note = Note(session=date(2024, 6, 3), symbol=symbol, text=text, at="2024-06-03T14:00:00+00:00")
    content = journal.as_csv([journal.entry(trade("-4"), plan(), 1.0, "a")], [note])
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    numbers = {"net_usd", "r", "entry_slippage_bps", "quantity", "entry_price", "exit_price"}
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert not [c for name, c in row.items() if name not in numbers and c.startswith(FORMULA)]
    assert "-4.00" in [row["net_usd"] for row in rows]
