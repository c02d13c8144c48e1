"""Every case of the table in DOMAIN 2.1, through the compiled rules."""

import math

import pytest

from kobe.backtest.fills import REASONS, exit_on_bar

CASES = [
    # open, high, low, close -> reason, price, ambiguous (long from 100, stop 96, target 104)
    ((95.0, 97.0, 94.0, 96.5), "stop", 95.0, False),
    ((99.0, 103.0, 95.9, 100.0), "stop", 96.0, False),
    ((99.0, 105.0, 95.0, 100.0), "stop", 96.0, True),
    ((105.0, 106.0, 104.5, 105.5), "target", 105.0, False),
    ((101.0, 104.00, 100.0, 103.0), "", math.nan, False),
    ((101.0, 104.01, 100.0, 103.0), "target", 104.0, False),
    ((96.0, 97.0, 95.0, 96.5), "stop", 96.0, False),
]


def judge(side, bar, stop, target, *, pending=False, last=False, stop_first=True):
    reason, price, ambiguous = exit_on_bar(side, bar, stop, target, 0.01, pending, last, stop_first)
    return REASONS[reason], price, ambiguous


@pytest.mark.parametrize(("bar", "reason", "price", "ambiguous"), CASES)
def test_a_long_leaves_where_the_table_says(bar, reason, price, ambiguous):
    assert judge(1, bar, 96.0, 104.0) == pytest.approx((reason, price, ambiguous), nan_ok=True)


@pytest.mark.parametrize(("bar", "reason", "price", "ambiguous"), CASES)
def test_a_short_is_its_mirror(bar, reason, price, ambiguous):
    o, h, low, c = bar
    mirrored = (200.0 - o, 200.0 - low, 200.0 - h, 200.0 - c)
    got = judge(-1, mirrored, 104.0, 96.0)
    assert got == pytest.approx((reason, 200.0 - price, ambiguous), nan_ok=True)


def test_the_short_case_of_the_table():
    assert judge(-1, (105.0, 106.0, 104.0, 105.0), 104.0, 96.0)[:2] == ("stop", 105.0)


def test_target_first_is_the_optimistic_second_run():
    bar = (99.0, 105.0, 95.0, 100.0)
    assert judge(1, bar, 96.0, 104.0, stop_first=False) == ("target", 104.0, True)
    touch_only = (99.0, 104.0, 95.0, 100.0)
    assert judge(1, touch_only, 96.0, 104.0, stop_first=False) == ("stop", 96.0, True)


def test_a_pending_exit_goes_first_and_the_time_exit_last():
    assert judge(1, (95.0, 97.0, 94.0, 96.0), 96.0, 104.0, pending=True) == ("signal", 95.0, False)
    assert judge(1, (100.0, 101.0, 99.0, 100.5), 96.0, 104.0, last=True) == ("time", 100.5, False)
    assert judge(1, (100.0, 101.0, 95.0, 100.5), 96.0, 104.0, last=True) == ("stop", 96.0, False)


def test_no_target_never_fills():
    assert judge(1, (100.0, 500.0, 99.0, 400.0), 96.0, math.nan)[0] == ""
