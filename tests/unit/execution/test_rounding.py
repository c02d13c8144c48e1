"""Limit prices: the golden list of DOMAIN 4.4."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.execution.rounding import buy_limit, sell_limit, tick_for

BUYS = {
    "10.03": "10.04", "100.00": "100.10", "250.37": "250.62", "5.00": "5.00", "9.99": "9.99", "0.4213": "0.4217",
    "0.9995": "1.00", "3.005": "3.01", "999.99": "1000.98",
}  # fmt: skip
SELLS = {"10.00": "9.99", "250.37": "250.12", "0.4213": "0.4209", "1.00": "0.9990", "3.005": "3.00"}


@pytest.mark.parametrize(("ask", "limit"), BUYS.items())
def test_a_buy_limit_is_the_printed_one(ask, limit):
    assert buy_limit(Decimal(ask)) == Decimal(limit)


@pytest.mark.parametrize(("bid", "limit"), SELLS.items())
def test_a_sell_limit_is_the_printed_one(bid, limit):
    assert sell_limit(Decimal(bid)) == Decimal(limit)


@given(cents=st.integers(1, 10**7))
def test_a_limit_reaches_the_touch_stays_within_the_pad_and_lies_on_the_tick(cents):
    price = Decimal(cents) / 100
    buy, sell = buy_limit(price), sell_limit(price)
    assert price <= buy <= max(price, price * Decimal("1.001"))
    assert min(price, price * Decimal("0.999")) - tick_for(sell) <= sell <= price
    assert buy % tick_for(buy) == 0
    assert sell % tick_for(sell) == 0
