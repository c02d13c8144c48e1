"""The limit-up limit-down band by price, tier and hour, and how near to it a limit may come."""

from dataclasses import replace
from datetime import timedelta

import pytest
from kit.orders import CLOSE, FACTS, LIMITS, STOP, D, leaving, order, quote

from kobe.risk.gates import GATES
from kobe.risk.gates.limit_band import half_width, reference_of

LATE = CLOSE - timedelta(minutes=25)


@pytest.mark.parametrize(
    ("reference", "close_before", "tier", "late", "width"),
    [
        ("100", "100", 1, False, "5.00"),
        ("100", "100", 2, False, "10.00"),
        ("100", "100", None, False, "5.00"),
        ("100", "100", 7, False, "5.00"),
        ("100", "100", 1, True, "10.00"),
        ("100", "100", 2, True, "10.00"),
        ("3.01", "3.01", 1, False, "0.1505"),
        ("3.00", "3.00", 1, False, "0.6000"),
        ("3.00", "3.00", 2, True, "1.2000"),
        ("3.00", "3.01", 1, False, "0.1500"),
        ("4.00", "3.00", 2, False, "0.8000"),
        ("0.75", "0.75", 1, False, "0.1500"),
        ("0.74", "0.74", 1, False, "0.15"),
        ("0.16", "0.16", 2, False, "0.1200"),
        ("0.16", "0.16", 2, True, "0.2400"),
        ("0.74", "0.74", 1, True, "0.30"),
    ],
)
def test_the_band_follows_the_close_before_the_tier_and_the_last_twenty_five_minutes(
    reference, close_before, tier, late, width
):
    assert half_width(D(reference), D(close_before), tier, late=late) == D(width)


def code(request=None, **changed):
    return GATES["limit_band"](request or order(), replace(FACTS, **changed), LIMITS).code


def leaving_at(limit):
    return replace(leaving(), limit_price=D(limit))


def at(last, limit, **changed):
    """The code of a limit beside a last trade, with an ATR that refuses nothing."""
    facts = {"raw_close": D(last), "atr_usd": D(100), "quote": quote(last=last)} | changed
    return code(order(limit=limit), **facts)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_limit_keeps_its_margin_to_the_band_on_both_sides(sign):
    inside, outside = D("4.50") * sign, D("4.51") * sign
    assert at("100", str(100 + inside)) == "ok"
    assert at("100", str(100 + outside)) == "luld_band"


def test_the_band_is_doubled_from_twenty_five_minutes_before_the_close_on_half_days_as_well():
    assert at("100", "109.50", now=LATE) == "ok"
    assert at("100", "109.51", now=LATE) == "luld_band"
    assert at("100", "104.51", now=LATE - timedelta(seconds=1)) == "luld_band"
    early = CLOSE - timedelta(hours=3)
    assert at("100", "109.50", now=early - timedelta(minutes=25), closes_at=early) == "ok"
    assert at("100", "104.51", now=LATE, closes_at=None) == "luld_band"


def test_tier_two_is_not_doubled_above_three_dollars():
    assert at("100", "109.50", luld_tier=2) == "ok"
    assert at("100", "109.51", luld_tier=2, now=LATE) == "luld_band"


def test_a_feed_that_tells_no_last_trade_is_measured_by_the_close_before():
    assert reference_of(FACTS) == FACTS.raw_close
    assert reference_of(replace(FACTS, quote=quote(last="11"))) == 11
    assert reference_of(replace(FACTS, quote=quote(last="NaN"))) is None
    assert code(order(limit="10.45"), atr_usd=D(9)) == "ok"
    assert code(order(limit="10.46"), atr_usd=D(9)) == "luld_band"


def test_what_has_no_reference_is_refused_for_openings_and_passes_for_exits():
    assert code(quote=None) == code(quote=quote(last="0")) == code(raw_close=None) == "band_unknown"
    assert code(leaving(), quote=None) == code(leaving(), raw_close=None) == "ok"
    assert code(order(limit_price=D("NaN"))) == "band_unknown"


def test_openings_stay_within_two_atr_of_the_last_close_and_exits_need_not():
    facts = {"quote": quote(last="10.60"), "raw_close": D("10.00"), "atr_usd": D("0.30")}
    assert code(order(limit="10.60"), **facts) == "ok"
    assert code(order(limit="10.61"), **facts) == "limit_too_far"
    assert code(leaving_at("10.61"), **facts) == "ok"
    assert code(leaving_at("11.20"), **facts) == "luld_band"
    assert code(order(), atr_usd=None) == code(order(), atr_usd=D(0)) == "atr_unknown"
    assert code(leaving(), atr_usd=None) == "ok"


def test_stops_and_orders_without_a_limit_have_no_band():
    assert code(STOP, quote=None, raw_close=None) == code(order(limit=None), quote=None) == "ok"
