"""Where a stop stands: the backtest's start, break-even on a close, trailing behind closes."""

from datetime import date
from decimal import Decimal

import pytest

from kobe.core.types import Side
from kobe.execution.stops import Close, Entry, StopRule, is_through, levels, nearer

D = Decimal
DAYS = [date(2024, 6, d) for d in (3, 4, 5, 6, 7)]


def entry(side=Side.LONG, price=100.0, distance=4.0, level=None, target_r=None, atr=2.0, costs=0.123):
    return Entry(side=side, price=price, distance=distance, level=level, target_r=target_r, atr=atr, costs_usd=costs)


def closes(*prices):
    return [Close(session=day, price=p) for day, p in zip(DAYS, prices, strict=False)]


def stop(rule, *prices, at=DAYS[4], **made):
    return levels(entry(**made), rule, closes(*prices), at).stop


def test_the_initial_stop_is_the_distance_from_the_fill_rounded_away_from_the_market():
    assert stop(StopRule(), price=99.60, distance=4.4889) == D("95.11")
    assert stop(StopRule(), side=Side.SHORT, price=99.60, distance=4.4889) == D("104.09")


def test_a_fixed_level_is_never_anchored_to_the_fill():
    assert stop(StopRule(), price=49.05, distance=None, level=47.296) == D("47.29")


def test_the_target_is_r_from_the_fill_measured_to_the_stop():
    made = levels(entry(price=49.05, distance=None, level=47.296, target_r=1.0), StopRule(), (), DAYS[0])
    assert made.target == D("50.81")
    assert not made.moved


def test_rules_that_are_off_leave_the_initial_stop_whatever_the_closes_say():
    assert stop(StopRule(), 150.0, 10.0) == D("96.00")


def test_break_even_needs_a_close_at_the_bound_and_adds_the_costs_rounded_up():
    rule = StopRule(breakeven_r=1.0)
    assert stop(rule, 103.99) == D("96.00")
    assert stop(rule, 104.0) == D("100.13")
    assert stop(rule, 104.0, 90.0) == D("100.13"), "it stays where a later close has been lower"
    assert stop(rule, 96.0, side=Side.SHORT) == D("99.87")
    assert stop(rule, 96.01, side=Side.SHORT) == D("104.00")


def test_trailing_follows_the_best_close_and_never_steps_back():
    rule = StopRule(trail_atr=2.5)
    assert stop(rule, 100.5) == D("96.00"), "further away than the initial stop"
    assert stop(rule, 104.0) == D("99.00")
    assert stop(rule, 104.0, 101.0) == D("99.00")
    assert stop(rule, 96.0, 99.0, side=Side.SHORT) == D("101.00")


def test_the_close_of_a_session_moves_the_stop_of_the_next_one_only():
    rule = StopRule(trail_atr=1.0)
    assert stop(rule, 104.0, 108.0, at=DAYS[0]) == D("96.00")
    assert stop(rule, 104.0, 108.0, at=DAYS[1]) == D("102.00")
    assert stop(rule, 104.0, 108.0, at=DAYS[2]) == D("106.00")


def test_a_stop_wider_than_the_price_is_the_least_price_there_is():
    assert stop(StopRule(), price=6.0, distance=7.0) == D("0.0001")


@pytest.mark.parametrize(
    ("side", "stop", "through"),
    [(Side.LONG, "99.99", False), (Side.LONG, "100.00", True), (Side.SHORT, "100.02", True),
     (Side.SHORT, "100.03", False)],
)  # fmt: skip
def test_the_market_is_through_a_stop_it_could_be_sold_at(side, stop, through):
    assert is_through(side, D(stop), D("100.00"), D("100.02")) is through


def test_the_nearer_stop_is_the_higher_of_a_long_and_the_lower_of_a_short():
    assert nearer(Side.LONG, D(1), D(2)) == 2
    assert nearer(Side.SHORT, D(1), D(2)) == 1
