"""What differs between both books, by name, cause and remedy; and what may still be an order on its way."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.ports import BrokerOrder
from kobe.core.types import Effect, Fill, Order, OrderRequest, OrderStatus, OrderType, Position, Side
from kobe.execution.reconcile import Cause, Remedy, Theirs, compare, may_wait, since_when

D = Decimal
DAY = date(2024, 6, 5)
AT = datetime(2024, 6, 5, 13, 35, tzinfo=UTC)


def ours(name="kobe-a-1", filled=0, status=OrderStatus.CANCELED, symbol="AAA", quantity=5, session=DAY):
    request = OrderRequest(
        client_order_id=name, signal_id="s", strategy="ibs_rsi", symbol=symbol, side=Side.LONG, effect=Effect.OPEN,
        order_type=OrderType.IOC_LIMIT, quantity=quantity, limit_price=D(10), stop_price=None, session=session,
        reason="test",
    )  # fmt: skip
    fills = (Fill(fill_id="f", client_order_id=name, symbol=symbol, side=Side.LONG, effect=Effect.OPEN,
                  quantity=filled, price=D(10), fee_usd=D(0), at=AT),) if filled else ()  # fmt: skip
    return Order(request=request, status=status, fills=fills)


def told(name="kobe-a-1", filled=0, status=OrderStatus.CANCELED, symbol="AAA", quantity=5, is_buy=True):
    return BrokerOrder(client_order_id=name, symbol=symbol, quantity=quantity, is_buy=is_buy, status=status,
                       filled=filled, average_price=D(10) if filled else None, at=AT)  # fmt: skip


def held(symbol="AAA", quantity=5):
    return Position(signal_id="s", strategy="ibs_rsi", symbol=symbol, side=Side.LONG, quantity=quantity,
                    average_price=D(10), opened=AT)  # fmt: skip


def differences(orders=(), positions=(), broker=(), shares=None, since=DAY, splits=None):
    theirs = Theirs(orders={o.client_order_id: o for o in broker}, shares=shares or {}, since=since,
                    splits=splits or {})  # fmt: skip
    found = compare({o.request.client_order_id: o for o in orders}, positions, theirs)
    return [(d.kind, d.cause, d.subject, d.remedy) for d in found]


def test_equal_books_have_no_difference():
    assert not differences([ours(filled=5, status=OrderStatus.FILLED)], [held()],
                           [told(filled=5, status=OrderStatus.FILLED)], {"AAA": 5})  # fmt: skip


def test_a_fill_that_came_after_the_end_of_our_order_is_adopted():
    found = differences([ours()], [], [told(filled=3)], {"AAA": 3})
    assert ("fills", Cause.LATE_FILL, "kobe-a-1", Remedy.ADOPT) in found


def test_a_fill_the_broker_takes_back_halts():
    found = differences([ours(filled=3)], [held(quantity=3)], [told()], {"AAA": 3})
    assert found == [("fills", Cause.OTHER, "kobe-a-1", Remedy.HALT)]


def test_an_order_with_a_name_of_kobe_s_that_the_ledger_never_wrote_halts_and_is_not_adopted():
    assert differences(broker=[told("kobe-x-9")]) == [
        ("unknown_order", Cause.LOST_ORDER, "kobe-x-9", Remedy.HALT)
    ]  # fmt: skip


def test_an_order_placed_by_hand_that_touches_nothing_of_ours_is_listed_and_halts_nothing():
    assert differences(broker=[told("by-hand", symbol="ZZZ", status=OrderStatus.ACCEPTED)]) == [
        ("foreign_order", Cause.OTHER, "by-hand", Remedy.NOTE)
    ]
    assert differences(broker=[told("by-hand", filled=5, symbol="ZZZ", status=OrderStatus.FILLED)]) == [
        ("foreign_fill", Cause.OTHER, "by-hand", Remedy.NOTE)
    ]


def test_an_open_order_placed_by_hand_in_a_symbol_we_hold_halts():
    found = differences([ours(filled=5)], [held()], [told(filled=5), told("by-hand", status=OrderStatus.ACCEPTED)],
                        {"AAA": 5})  # fmt: skip
    assert found == [("foreign_order", Cause.OTHER, "by-hand", Remedy.HALT)]


def test_a_position_bought_by_hand_is_an_orphan_that_halts():
    found = differences(broker=[told("by-hand", filled=5, symbol="ZZZ")], shares={"ZZZ": 5})
    assert found == [
        ("foreign_fill", Cause.OTHER, "by-hand", Remedy.NOTE), ("orphan", Cause.ORPHAN, "ZZZ", Remedy.HALT)
    ]  # fmt: skip


@pytest.mark.parametrize(("mine", "theirs"), [(0, -2), (3, -2)])
def test_a_short_position_that_nobody_here_opened_halts(mine, theirs):
    found = differences(positions=[held(quantity=mine)] if mine else [], shares={"AAA": theirs})
    assert found == [("short", Cause.ORPHAN, "AAA", Remedy.HALT)]


def test_shares_that_differ_by_the_ratio_of_a_split_are_named_after_it():
    found = differences(positions=[held(quantity=5)], shares={"AAA": 20}, splits={"AAA": D(4)})
    assert found == [("position", Cause.SPLIT, "AAA", Remedy.HALT)]
    reverse = differences(positions=[held(quantity=7)], shares={"AAA": 3}, splits={"AAA": D("0.5")})
    assert reverse == [("position", Cause.SPLIT, "AAA", Remedy.HALT)]
    other = differences(positions=[held(quantity=5)], shares={"AAA": 19}, splits={"AAA": D(4)})
    assert other == [("position", Cause.OTHER, "AAA", Remedy.HALT)]


def test_another_order_under_the_same_name_halts_whatever_it_filled():
    found = differences([ours()], [], [told(symbol="BBB", filled=5)], {})
    assert found == [("identity", Cause.OTHER, "kobe-a-1", Remedy.HALT)]


def test_an_order_we_count_as_ended_that_is_still_open_at_the_broker_halts():
    found = differences([ours(status=OrderStatus.ABANDONED)], [], [told(status=OrderStatus.ACCEPTED)])
    assert found == [("status", Cause.LOST_ORDER, "kobe-a-1", Remedy.HALT)]


def test_an_end_the_broker_tells_is_adopted_and_two_words_for_an_end_are_no_difference():
    open_here = differences([ours(status=OrderStatus.ACCEPTED)], [], [told(status=OrderStatus.EXPIRED)])
    assert open_here == [("status", Cause.LOST_ORDER, "kobe-a-1", Remedy.ADOPT)]
    assert not differences([ours(status=OrderStatus.ABANDONED)], [], [told(status=OrderStatus.REJECTED)])
    assert not differences([ours(status=OrderStatus.ACCEPTED)], [], [told(status=OrderStatus.UNKNOWN)])


def test_an_order_the_broker_forgot_is_missing_only_within_the_span_that_was_asked_for():
    mine = ours(filled=5, status=OrderStatus.FILLED)
    assert differences([mine], [held()], [], {"AAA": 5}) == [
        ("missing_order", Cause.LOST_ORDER, "kobe-a-1", Remedy.HALT)
    ]
    assert not differences([mine], [held()], [], {"AAA": 5}, since=date(2024, 6, 6))
    assert not differences([ours(status=OrderStatus.ABANDONED)])


def test_orders_are_compared_a_week_back_or_as_long_as_the_oldest_that_is_not_final():
    assert since_when([ours()], DAY) == date(2024, 5, 29)
    assert since_when([ours(status=OrderStatus.ACCEPTED, session=date(2024, 4, 1))], DAY) == date(2024, 4, 1)
    assert since_when([ours(session=date(2024, 4, 1))], DAY) == date(2024, 5, 29)


def test_only_a_difference_of_a_symbol_with_an_order_on_its_way_may_wait():
    theirs = Theirs(orders={"kobe-x-9": told("kobe-x-9")}, shares={"AAA": 5, "BBB": 5}, since=DAY)
    found = {d.subject: d for d in compare({}, [], theirs)}
    on_its_way = [ours(status=OrderStatus.UNKNOWN)]
    assert may_wait(found["AAA"], on_its_way)
    assert not may_wait(found["BBB"], on_its_way)
    assert not may_wait(found["AAA"], [ours()])
    assert not may_wait(found["kobe-x-9"], on_its_way), "a name of ours that nobody wrote never waits"


@given(
    mine=st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 9)),
    theirs=st.dictionaries(st.sampled_from("ABCD"), st.integers(-9, 9).filter(bool)),
)
def test_shares_differ_exactly_where_the_two_sides_do(mine, theirs):
    found = compare({}, [held(s, n) for s, n in mine.items()], Theirs(orders={}, shares=theirs, since=DAY))
    assert {d.subject for d in found} == {s for s in "ABCD" if mine.get(s, 0) != theirs.get(s, 0)}
    assert all(d.halts for d in found)
