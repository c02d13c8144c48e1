"""When a position is due, and what is sent for it."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from kobe.core.ports import Quote
from kobe.core.types import OrderType, Position, Side, TradePlan
from kobe.execution import exits
from kobe.execution.stops import Levels

D = Decimal
TODAY = date(2024, 6, 7)
AT = datetime(2024, 6, 7, 19, 55, tzinfo=UTC)


def plan(exit_session=TODAY) -> TradePlan:
    return TradePlan(
        signal_id="s", strategy="ibs_rsi", symbol="A", side=Side.LONG, signal_date=date(2024, 5, 31),
        entry_session=date(2024, 6, 3), exit_session=exit_session, stop_distance=4.0, stop_level=None, target_r=None,
        atr=2.0, reference_close=100.0, params={},
    )  # fmt: skip


def position(side=Side.LONG, quantity=7) -> Position:
    return Position(signal_id="s", strategy="ibs_rsi", symbol="A", side=side, quantity=quantity,
                    average_price=D(100), opened=AT)  # fmt: skip


def quote(bid, ask) -> Quote:
    return Quote(symbol="A", bid=D(bid), ask=D(ask), bid_size=100, ask_size=100, at=AT, feed="test")


@pytest.mark.parametrize(
    ("exit_session", "closing", "signal", "why"),
    [
        (date(2024, 6, 7), True, False, "time"),
        (date(2024, 6, 7), False, False, None),
        (date(2024, 6, 6), False, False, "time"),
        (date(2024, 6, 6), False, True, "time"),
        (date(2024, 6, 10), False, True, "signal"),
        (date(2024, 6, 10), True, True, "signal"),
        (date(2024, 6, 10), True, False, None),
    ],
)
def test_a_time_exit_waits_for_the_closing_slot_unless_overdue_and_a_signal_exit_goes_in_any(
    exit_session, closing, signal, why
):
    assert exits.due_reason(plan(exit_session), TODAY, closing_slot=closing, exit_signal=signal) == why


@pytest.mark.parametrize(
    ("bid", "step", "limit"),
    [("250.37", 0, "250.11"), ("250.37", 1, "249.61"), ("10.00", 0, "9.99"), ("0.4213", 0, "0.4208"),
     ("0.4213", 1, "0.4200")],
)  # fmt: skip
def test_a_limit_rung_is_the_bid_less_its_pad_rounded_down(bid, step, limit):
    wish = exits.rung(position(), plan(), quote(bid, "300"), TODAY, 1, step, "time")
    assert (wish.order_type, wish.limit_price, wish.quantity) == (OrderType.IOC_LIMIT, D(limit), 7)
    assert not wish.is_buy


def test_a_short_position_is_bought_back_above_the_ask():
    wish = exits.rung(position(Side.SHORT), plan(), quote("249", "250.37"), TODAY, 1, 0, "time")
    assert wish.limit_price == D("250.63")
    assert wish.is_buy


@pytest.mark.parametrize("seen", [None, quote("0", "10"), quote("NaN", "10"), quote("10", "Infinity")])
def test_without_a_usable_quote_the_rung_is_a_market_order(seen):
    wish = exits.rung(position(), plan(), seen, TODAY, 1, 0, "time")
    assert (wish.order_type, wish.limit_price) == (OrderType.MARKET, None)


def test_the_last_rung_has_no_limit_and_every_rung_its_own_name():
    wishes = [exits.rung(position(), plan(), quote("10", "10.02"), TODAY, n + 1, n, "time") for n in range(3)]
    assert [w.order_type for w in wishes] == [OrderType.IOC_LIMIT, OrderType.IOC_LIMIT, OrderType.MARKET]
    assert len({w.client_order_id for w in wishes}) == 3


def test_protection_is_a_stop_alone_or_stop_and_target_in_one_for_exactly_what_is_held():
    alone = exits.protection(position(), plan(), Levels(stop=D(96), target=None), TODAY, 2)
    both = exits.protection(position(), plan(), Levels(stop=D(96), target=D(104)), TODAY, 1)
    assert (alone.order_type, alone.stop_price, alone.limit_price, alone.quantity) == (OrderType.GTC_STOP, 96, None, 7)
    assert (both.order_type, both.stop_price, both.limit_price) == (OrderType.GTC_OCO, 96, 104)
    assert alone.client_order_id.endswith("-stop-2")
