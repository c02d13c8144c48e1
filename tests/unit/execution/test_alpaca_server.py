"""The made-up Alpaca keeps Alpaca's rules, as its real client sees them."""

import http.client
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from kit import alpaca_calendar
from kit.alpaca_client import (
    APIError,
    ClosePositionRequest,
    CorporateActionsClient,
    CorporateActionsRequest,
    CorporateActionType,
    DataFeed,
    GetCalendarRequest,
    GetCorporateAnnouncementsRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OrderClass,
    OrderSide,
    QueryOrderStatus,
    ReplaceOrderRequest,
    StockHistoricalDataClient,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TimeInForce,
    TradingClient,
)
from kit.alpaca_server import KEY, SECRET, AlpacaDesk, AlpacaServer, alpaca_process
from kit.alpaca_store import Store

FRIDAY = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # 10:00 in New York
BUY, SELL = OrderSide.BUY, OrderSide.SELL
IOC, GTC, DAY = TimeInForce.IOC, TimeInForce.GTC, TimeInForce.DAY


@pytest.fixture(scope="module")
def running():
    with AlpacaServer() as server:
        yield server


@pytest.fixture
def server(running):
    running.reset()
    running.set_clock(FRIDAY)
    running.set_quote("ABC", "10.00", "10.02")
    return running


@pytest.fixture
def client(server):
    made = client_of(server.url)
    yield made
    made._session.close()


def client_of(url, key=KEY, secret=SECRET):
    made = TradingClient(key, secret, url_override=url)
    made._retry = 0
    return made


def limit(qty, price, side=BUY, tif=IOC, **more):
    return LimitOrderRequest(symbol="ABC", qty=qty, side=side, time_in_force=tif, limit_price=price, **more)


def oco(qty=7, target=11.0, stop=9.0):
    return LimitOrderRequest(
        symbol="ABC", qty=qty, side=SELL, time_in_force=GTC, order_class=OrderClass.OCO,
        take_profit=TakeProfitRequest(limit_price=target), stop_loss=StopLossRequest(stop_price=stop),
    )  # fmt: skip


def refusal(call, *arguments, **named):
    """Return (HTTP status, code, message) of what the client is refused."""
    with pytest.raises(APIError) as caught:
        call(*arguments, **named)
    return caught.value.status_code, caught.value.code, caught.value.message


def send(server, method, path, body=None):
    """Speak plain HTTP; returns (status, headers, body)."""
    link = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    keys = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    link.request(method, path, None if body is None else json.dumps(body), keys)
    answer = link.getresponse()
    content = answer.read()
    link.close()
    return answer.status, answer.headers, content


def status_of(client, order):
    return client.get_order_by_id(order.id).status.value


# -- immediate orders --------------------------------------------------------------------------------------------


def test_an_ioc_is_accepted_first_and_filled_at_the_ask_at_the_next_look(client):
    sent = client.submit_order(limit(7, 10.03, client_order_id="one"))
    assert (sent.status.value, sent.filled_qty, sent.filled_avg_price) == ("accepted", "0", None)
    seen = client.get_order_by_client_id("one")
    assert (seen.status.value, seen.filled_qty, seen.filled_avg_price) == ("filled", "7", "10.02")
    assert client.get_account().cash == "9929.86"


@pytest.mark.parametrize(("first", "polls"), [("accepted", 0), ("new", 1), ("pending_new", 3)])
def test_an_ioc_becomes_final_after_as_many_looks_as_asked_for(server, client, first, polls):
    server.configure(first_status=first, polls=polls)
    order = client.submit_order(limit(7, 10.03))
    assert [status_of(client, order) for _ in range(polls + 1)] == [first] * polls + ["filled"]


def test_an_order_may_stay_in_flight_for_a_time_and_hold_nothing_yet(server, client):
    server.configure(delay_s=3600)
    order = client.submit_order(limit(7, 10.03))
    assert status_of(client, order) == "accepted"
    assert client.get_all_positions() == []
    server.settle()
    assert status_of(client, order) == "filled"


def test_an_ioc_takes_the_displayed_size_and_ends_canceled_with_what_it_filled(server, client):
    server.set_quote("ABC", "10.00", "10.02", ask_size=3)
    order = client.submit_order(limit(7, 10.03))
    seen = client.get_order_by_id(order.id)
    assert (seen.status.value, seen.filled_qty, seen.filled_avg_price) == ("canceled", "3", "10.02")
    assert client.get_open_position("ABC").qty == "3"


def test_an_ioc_whose_limit_is_not_reached_ends_canceled_with_nothing(client):
    seen = client.get_order_by_id(client.submit_order(limit(7, 10.01)).id)
    assert (seen.status.value, seen.filled_qty, seen.filled_avg_price) == ("canceled", "0", None)


def test_a_fill_or_kill_order_fills_whole_or_not_at_all(server, client):
    server.set_quote("ABC", "10.00", "10.02", ask_size=3)
    small, large = (client.submit_order(limit(n, 10.03, tif=TimeInForce.FOK)) for n in (3, 4))
    assert (status_of(client, small), status_of(client, large)) == ("filled", "canceled")
    assert client.get_open_position("ABC").qty == "3"


def test_a_script_decides_the_parts_and_prices_of_the_next_order(server, client):
    server.script((2, "10.01"), (3, "10.03"), contains="mine")
    other = client.submit_order(limit(1, 10.03))
    mine = client.submit_order(limit(7, 10.03, client_order_id="mine"))
    assert status_of(client, other) == "filled"
    seen = client.get_order_by_id(mine.id)
    assert (seen.status.value, seen.filled_qty, seen.filled_avg_price) == ("canceled", "5", "10.022")


def test_halted_and_senseless_quotes_execute_nothing(server, client):
    server.halt("ABC")
    assert status_of(client, client.submit_order(limit(1, 10.03))) == "canceled"
    for ask in ("0", "NaN", None, "-1"):
        server.set_quote("ABC", "10.00", ask)
        assert status_of(client, client.submit_order(limit(1, 10.03))) == "canceled"


def test_paper_fills_are_partial_for_about_one_order_in_ten_and_the_same_for_a_seed(server, client):
    def filled():
        server.reset()
        server.configure(paper_seed=3)
        server.set_clock(FRIDAY)
        server.set_quote("ABC", "1.00", "1.02")
        for n in range(100):
            client.submit_order(limit(9, 1.02, client_order_id=f"p{n}"))
        return [order["filled_qty"] for order in server.orders()]

    first = filled()
    assert 3 <= sum(qty != "9" for qty in first) <= 20
    assert filled() == first


# -- resting orders ----------------------------------------------------------------------------------------------


def test_a_day_limit_rests_fills_in_parts_as_quotes_come_and_expires_at_the_close(server, client):
    order = client.submit_order(limit(10, 9.50, tif=DAY))
    assert status_of(client, order) == "new"
    server.set_quote("ABC", "9.48", "9.49", ask_size=4)
    seen = client.get_order_by_id(order.id)
    assert (seen.status.value, seen.filled_qty, seen.filled_avg_price) == ("partially_filled", "4", "9.49")
    server.set_clock(FRIDAY.replace(hour=21))
    assert status_of(client, order) == "expired"


def test_a_sell_stop_waits_for_the_bid_and_fills_at_the_bid_even_far_below(server, client):
    server.foreign_position("ABC", 7, "10")
    stop = StopOrderRequest(symbol="ABC", qty=7, side=SELL, time_in_force=GTC, stop_price=9.5)
    order = client.submit_order(stop)
    server.set_quote("ABC", "9.51", "9.53")
    assert status_of(client, order) == "new"
    server.set_quote("ABC", "8.20", "8.30")
    seen = client.get_order_by_id(order.id)
    assert (seen.status.value, seen.filled_avg_price) == ("filled", "8.2")
    assert client.get_all_positions() == []


def test_a_stop_limit_triggers_and_then_waits_for_its_limit(server, client):
    server.foreign_position("ABC", 7, "10")
    wanted = StopLimitOrderRequest(
        symbol="ABC", qty=7, side=SELL, time_in_force=GTC, stop_price=9.5, limit_price=9.4
    )  # fmt: skip
    order = client.submit_order(wanted)
    server.set_quote("ABC", "9.30", "9.32")
    assert status_of(client, order) == "new"
    server.set_quote("ABC", "9.45", "9.47")
    assert client.get_order_by_id(order.id).filled_avg_price == "9.45"


def test_orders_sent_at_night_wait_for_the_open_except_immediate_ones(server, client):
    server.set_clock(FRIDAY.replace(hour=2))
    day = client.submit_order(MarketOrderRequest(symbol="ABC", qty=1, side=BUY, time_in_force=DAY))
    ioc = client.submit_order(limit(1, 10.03))
    assert (status_of(client, day), status_of(client, ioc)) == ("accepted", "canceled")
    server.set_clock(FRIDAY)
    assert status_of(client, day) == "filled"


def test_orders_on_the_close_fill_at_the_close_and_are_refused_after_ten_to_four(server, client):
    wanted = MarketOrderRequest(symbol="ABC", qty=1, side=BUY, time_in_force=TimeInForce.CLS)
    order = client.submit_order(wanted)
    server.set_clock(datetime(2026, 11, 20, 20, 50, tzinfo=UTC))
    assert status_of(client, order) == "new"
    assert refusal(client.submit_order, wanted)[:2] == (422, 42210000)
    server.set_clock(datetime(2026, 11, 20, 21, 0, tzinfo=UTC))
    assert status_of(client, order) == "filled"


def test_orders_on_the_open_fill_at_the_open_or_expire(server, client):
    opg = TimeInForce.OPG
    assert refusal(client.submit_order, limit(1, 10.03, tif=opg))[:2] == (422, 42210000)
    server.set_clock(FRIDAY.replace(hour=13))
    near, far = (client.submit_order(limit(1, price, tif=opg)) for price in (10.03, 9.0))
    server.set_clock(FRIDAY.replace(hour=14, minute=30))
    assert (status_of(client, near), status_of(client, far)) == ("filled", "expired")


# -- groups ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quote", "winner"), [(("11.05", "11.07"), "limit"), (("8.90", "8.95"), "stop")])
def test_one_member_of_an_oco_fills_and_the_other_is_canceled(server, client, quote, winner):
    server.foreign_position("ABC", 7, "10")
    parent = client.submit_order(oco())
    assert [leg.status.value for leg in parent.legs] == ["held"]
    server.set_quote("ABC", *quote)
    told = {order["type"]: order for order in server.orders()}
    assert told.pop(winner)["status"] == "filled"
    assert [order["status"] for order in told.values()] == ["canceled"]
    assert server.positions() == []


def test_a_part_of_the_target_leaves_the_stop_for_the_rest_only(server, client):
    server.foreign_position("ABC", 7, "10")
    client.submit_order(oco())
    server.set_quote("ABC", "11.00", "11.02", bid_size=3)
    server.set_quote("ABC", "8.90", "8.95")
    assert {order["type"]: order["filled_qty"] for order in server.orders()} == {"limit": "3", "stop": "4"}
    assert server.positions() == []


def test_canceling_either_member_of_an_oco_ends_both_and_frees_the_shares(server, client):
    server.foreign_position("ABC", 7, "10")
    for pick in (lambda order: order.id, lambda order: order.legs[0].id):
        order = client.submit_order(oco())
        assert client.get_open_position("ABC").qty_available == "0"
        client.cancel_order_by_id(pick(order))
        assert client.get_open_position("ABC").qty_available == "7"
        nested = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
        assert {nested.status.value, nested.legs[0].status.value} == {"canceled"}


def test_legs_of_a_bracket_sleep_until_the_entry_is_filled(server, client):
    wanted = limit(
        5, 9.90, tif=GTC, order_class=OrderClass.BRACKET, take_profit=TakeProfitRequest(limit_price=10.5),
        stop_loss=StopLossRequest(stop_price=9.5),
    )  # fmt: skip
    entry = client.submit_order(wanted)
    server.set_quote("ABC", "10.60", "10.62")
    assert server.positions() == []
    server.set_quote("ABC", "9.88", "9.90")
    seen = client.get_order_by_id(entry.id, GetOrderByIdRequest(nested=True))
    assert [leg.status.value for leg in seen.legs] == ["new", "held"]
    server.set_quote("ABC", "9.40", "9.42")
    assert [order["status"] for order in server.orders()] == ["filled", "canceled", "filled"]


def test_canceling_the_entry_of_a_bracket_or_oto_cancels_its_legs(server, client):
    wanted = limit(5, 9.90, tif=DAY, order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=9.5))
    client.cancel_order_by_id(client.submit_order(wanted).id)
    assert [order["status"] for order in server.orders()] == ["canceled", "canceled"]


# -- refusals ----------------------------------------------------------------------------------------------------


def test_a_client_order_id_is_unique_for_ever_also_after_its_cancel(server, client):
    order = client.submit_order(limit(1, 9.0, tif=GTC, client_order_id="once"))
    client.cancel_order_by_id(order.id)
    for _ in range(2):
        found = refusal(client.submit_order, limit(1, 10.03, client_order_id="once"))
        assert found == (422, 40010001, "client_order_id must be unique")
    assert len(server.orders()) == 1


def test_eight_submits_of_one_id_at_once_give_one_order(server):
    body = {"symbol": "ABC", "qty": "7", "side": "buy", "type": "limit", "time_in_force": "ioc",
            "limit_price": "10.03", "client_order_id": "same"}  # fmt: skip
    gate = threading.Barrier(8)

    def submit(_):
        gate.wait()
        return send(server, "POST", "/v2/orders", body)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(submit, range(8))) == [200] + [422] * 7
    assert [order["client_order_id"] for order in server.orders()] == ["same"]
    assert [position["qty"] for position in server.positions()] == ["7"]
    assert sum(row["accepted"] for row in server.requests()) == 1


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"limit_price": "10.025"}, 42210000, "sub-penny"),
        ({"limit_price": "0.12345"}, 42210000, "sub-penny"),
        ({"qty": "0"}, 42210000, "qty must be > 0"),
        ({"qty": "-1"}, 42210000, "qty must be > 0"),
        ({"qty": "1.5"}, 42210000, "fractional orders must be DAY orders"),
        ({"qty": float("nan")}, 40010001, "not a number"),
        ({"qty": "abc"}, 40010001, "not a number"),
        ({"qty": None}, 40010001, "qty or notional"),
        ({"symbol": "NONE"}, 42210000, "not found"),
        ({"time_in_force": "never"}, 40010001, "invalid time_in_force"),
        ({"type": "stop", "limit_price": None, "stop_price": "9"}, 42210000, "greater than current price"),
        ({"type": "stop", "side": "sell", "limit_price": None, "stop_price": "10.5"}, 42210000, "less than current"),
        ({"order_class": "oco", "side": "sell"}, 42210000, "day or gtc"),
        ({"extended_hours": True}, 42210000, "extended hours"),
        ({"client_order_id": "x" * 129}, 40010001, "128"),
    ],
)
def test_a_malformed_order_is_refused_with_its_code_and_leaves_no_order(server, body, code, words):
    good = {"symbol": "ABC", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "10.03"}
    status, _, content = send(server, "POST", "/v2/orders", good | body)
    told = json.loads(content)
    assert (status, told["code"]) == (422, code)
    assert words in told["message"]
    assert server.orders() == []


def test_more_than_the_buying_power_is_refused_and_open_orders_use_it_up(server, client):
    assert refusal(client.submit_order, limit(1000, 10.03)) == (403, 40310000, "insufficient buying power")
    client.submit_order(limit(900, 9.0, tif=GTC))
    assert client.get_account().buying_power == "1900"
    assert refusal(client.submit_order, limit(300, 9.0))[:2] == (403, 40310000)


def test_shares_held_for_open_sell_orders_cannot_be_sold_twice(server, client):
    server.foreign_position("ABC", 7, "10")
    protection = client.submit_order(oco())
    with pytest.raises(APIError) as caught:
        client.submit_order(limit(7, 10.0, side=SELL))
    told = json.loads(str(caught.value))
    assert (caught.value.status_code, told["code"]) == (403, 40310000)
    assert (told["available"], told["existing_qty"], told["held_for_orders"]) == ("0", "7", "7")
    client.cancel_order_by_id(protection.id)
    assert status_of(client, client.submit_order(limit(7, 10.0, side=SELL))) == "filled"


def test_an_opposite_open_order_is_a_wash_trade_unless_limits_do_not_cross_or_it_is_a_group(server, client):
    server.foreign_position("ABC", 14, "10")
    client.submit_order(limit(7, 10.50, side=SELL, tif=GTC))
    assert status_of(client, client.submit_order(limit(1, 10.03))) == "filled"
    assert "wash trade" in refusal(client.submit_order, limit(1, 10.50))[2]
    server.reset()
    server.set_clock(FRIDAY)
    server.set_quote("ABC", "10.00", "10.02")
    server.foreign_position("ABC", 7, "10")
    client.submit_order(oco())
    assert status_of(client, client.submit_order(limit(1, 10.03))) == "filled"


def test_fractional_orders_are_day_orders_and_notional_buys_money_worth(server, client):
    order = client.submit_order(MarketOrderRequest(symbol="ABC", notional=75, side=BUY, time_in_force=DAY))
    seen = client.get_order_by_id(order.id)
    assert (seen.status.value, seen.qty, seen.filled_qty) == ("filled", None, "7.48502994")
    server.set_asset("ABC", fractionable=False)
    assert refusal(client.submit_order, limit(0.5, 10.03, tif=DAY))[0] == 403


@pytest.mark.parametrize(
    ("asset", "account", "status"),
    [
        ({"tradable": False}, {}, 422),
        ({"status": "inactive"}, {}, 422),
        ({}, {"trading_blocked": True}, 403),
        ({}, {"trade_suspended_by_user": True}, 403),
    ],
)
def test_blocked_accounts_and_assets_take_no_orders(server, client, asset, account, status):
    server.set_asset("ABC", **asset)
    server.set_account(**account)
    assert refusal(client.submit_order, limit(1, 10.03))[0] == status
    assert server.orders() == []


def test_shorts_need_a_borrowable_asset_and_count_with_a_negative_position(server, client):
    server.set_asset("ABC", easy_to_borrow=False)
    assert refusal(client.submit_order, limit(7, 10.0, side=SELL))[0] == 422
    server.set_asset("ABC", easy_to_borrow=True)
    client.submit_order(limit(7, 10.0, side=SELL))
    held = client.get_open_position("ABC")
    assert (held.qty, held.side.value, held.market_value) == ("-7", "short", "-70.07")
    client.submit_order(limit(7, 10.02))
    assert client.get_all_positions() == []
    assert client.get_account().cash == "9999.86"


# -- looking, replacing, canceling -------------------------------------------------------------------------------


def test_orders_are_listed_by_status_time_symbol_and_direction_and_nested(server, client):
    server.set_quote("XYZ", "20.00", "20.02")
    server.foreign_position("ABC", 7, "10")
    done = client.submit_order(limit(1, 10.03))
    server.set_clock(FRIDAY + timedelta(minutes=1))
    group = client.submit_order(oco())
    ids = lambda **wanted: [o.id for o in client.get_orders(GetOrdersRequest(**wanted))]  # noqa: E731
    assert ids(nested=True) == [group.id]
    assert ids() == [group.legs[0].id, group.id]
    assert ids(status=QueryOrderStatus.CLOSED) == [done.id]
    assert ids(status=QueryOrderStatus.ALL, direction="asc", limit=1) == [done.id]
    assert ids(status=QueryOrderStatus.ALL, after=FRIDAY + timedelta(seconds=30), nested=True) == [group.id]
    assert ids(status=QueryOrderStatus.ALL, until=FRIDAY + timedelta(seconds=30)) == [done.id]
    assert ids(status=QueryOrderStatus.ALL, symbols=["XYZ"]) == []
    assert ids(status=QueryOrderStatus.ALL, side=BUY) == [done.id]


def test_unknown_orders_and_positions_are_404(client):
    nobody = "00000000-0000-4000-8000-000000000000"
    assert refusal(client.get_order_by_id, nobody)[:2] == (404, 40410000)
    assert refusal(client.get_order_by_client_id, "nobody")[:2] == (404, 40410000)
    assert refusal(client.cancel_order_by_id, nobody)[:2] == (404, 40410000)
    assert refusal(client.get_open_position, "ABC")[:2] == (404, 40410000)
    assert refusal(client.close_position, "ABC")[:2] == (404, 40410000)
    assert refusal(client.get_asset, "NONE")[:2] == (404, 40410000)


def test_a_final_order_cannot_be_canceled(client):
    order = client.submit_order(limit(1, 10.03))
    assert refusal(client.cancel_order_by_id, order.id) == (422, 42210000, 'order is already in "filled" state')


def test_a_cancel_may_be_pending_for_some_looks(server, client):
    server.configure(cancel_polls=2)
    order = client.submit_order(limit(1, 9.0, tif=GTC))
    client.cancel_order_by_id(order.id)
    assert [status_of(client, order) for _ in range(3)] == ["pending_cancel", "pending_cancel", "canceled"]


def test_a_replaced_order_lives_on_under_new_names(server, client):
    old = client.submit_order(limit(5, 9.0, tif=GTC, client_order_id="old"))
    new = client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=6, limit_price=9.1))
    seen = client.get_order_by_client_id("old")
    assert (seen.status.value, seen.replaced_by) == ("replaced", new.id)
    assert (new.replaces, new.qty, new.limit_price) == (old.id, "6", "9.1")
    assert new.client_order_id != "old"
    assert refusal(client.replace_order_by_id, old.id, ReplaceOrderRequest(qty=7))[0] == 422
    taken = ReplaceOrderRequest(limit_price=9.2, client_order_id="old")
    assert refusal(client.replace_order_by_id, new.id, taken)[1] == 40010001
    server.set_quote("ABC", "9.05", "9.10")
    assert status_of(client, new) == "filled"


def test_a_replaced_stop_of_an_oco_still_belongs_to_it(server, client):
    server.foreign_position("ABC", 7, "10")
    order = client.submit_order(oco())
    client.replace_order_by_id(order.legs[0].id, ReplaceOrderRequest(stop_price=9.5))
    server.set_quote("ABC", "9.45", "9.47")
    assert status_of(client, order) == "canceled"
    assert server.positions() == []


def test_everything_is_canceled_and_closed_at_once(server, client):
    server.foreign_position("ABC", 7, "10")
    client.submit_order(oco())
    assert [told.body.message.split(" (")[0] for told in client.close_all_positions()] == [
        "insufficient qty available for order"
    ]
    assert [told.status for told in client.cancel_orders()] == [200]
    client.close_position("ABC", ClosePositionRequest(qty="3"))
    assert client.get_open_position("ABC").qty == "4"
    client.submit_order(limit(1, 9.0, tif=GTC))
    assert [told.status for told in client.close_all_positions(cancel_orders=True)] == [200]
    assert client.get_all_positions() == []


# -- account, time, data -----------------------------------------------------------------------------------------


def test_the_account_has_its_fields_of_today_or_those_before_july_2026(server, client):
    account = client.get_account()
    assert (account.cash, account.equity, account.last_equity, account.multiplier) == ("10000", "10000", "10000", "1")
    assert (account.pattern_day_trader, account.daytrade_count) == (None, None)
    assert not account.trading_blocked
    server.configure(pdt_fields=True)
    account = client.get_account()
    assert (account.pattern_day_trader, account.daytrade_count, account.daytrading_buying_power) == (False, 0, "0")
    server.set_account(cash="500.5", status="ACCOUNT_CLOSED", maintenance_margin="17")
    account = client.get_account()
    assert (account.cash, account.status.value, account.maintenance_margin) == ("500.5", "ACCOUNT_CLOSED", "17")


def test_equity_rolls_into_last_equity_with_the_day(server, client):
    client.submit_order(limit(10, 10.03))
    server.set_quote("ABC", "11.00", "11.02")
    server.set_clock(FRIDAY + timedelta(days=3))
    assert client.get_account().last_equity == "10009.9"


def test_wrong_keys_meet_a_401_or_a_403_and_do_nothing(server):
    for status in (401, 403):
        server.configure(auth_status=status)
        stranger = client_of(server.url, secret="wrong")
        assert refusal(stranger.submit_order, limit(1, 10.03))[:2] == (status, 40110000)
        stranger._session.close()
    assert server.orders() == []
    assert not any(row["accepted"] for row in server.requests())


def test_the_clock_is_set_and_may_be_told_wrongly_without_changing_the_time_of_orders(server, client):
    clock = client.get_clock()
    assert (clock.timestamp, clock.is_open) == (FRIDAY, True)
    assert clock.next_open == datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert clock.next_close == datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    server.set_clock(skew_s=-90)
    assert client.get_clock().timestamp == FRIDAY - timedelta(seconds=90)
    assert abs(client.submit_order(limit(1, 10.03)).submitted_at - FRIDAY) < timedelta(milliseconds=1)
    server.set_clock(datetime(2026, 11, 26, 15, 0, tzinfo=UTC))
    assert not client.get_clock().is_open


def test_the_calendar_of_the_broker_is_the_exchanges_and_may_be_overruled(server, client, calendar):
    for year in range(2010, 2028):
        for n in range(366):
            day = date(year, 1, 1) + timedelta(days=n)
            hours = alpaca_calendar.hours(day)
            assert (hours is not None) == (day in calendar), day
            if hours:
                assert f"{calendar.closes_at(day).astimezone(alpaca_calendar.NEW_YORK):%H:%M}" == hours[1], day
    server.set_session(date(2026, 11, 25), None)
    days = client.get_calendar(GetCalendarRequest(start=date(2026, 11, 24), end=date(2026, 11, 27)))
    assert [(d.date.day, d.open.hour, d.close.hour) for d in days] == [(24, 9, 16), (27, 9, 13)]


def test_assets_are_found_by_symbol_or_id(server, client):
    found = client.get_asset("ABC")
    assert client.get_asset(found.id).symbol == "ABC"
    assert [asset.symbol for asset in client.get_all_assets()] == ["ABC"]
    assert (found.tradable, found.exchange.value, found.asset_class.value) == (True, "NASDAQ", "us_equity")


def test_quotes_trades_and_snapshots_follow_the_clock_the_feed_and_the_plan(server):
    server.set_quote("XYZ", "20.00", "20.02", age_s=30, last="20.01", bid_size=3)
    server.set_quote("XYZ", "19.00", "0", feed="iex")
    data = StockHistoricalDataClient(KEY, SECRET, url_override=server.url)
    ask = lambda feed: data.get_stock_latest_quote(  # noqa: E731
        StockLatestQuoteRequest(symbol_or_symbols=["ABC", "XYZ", "NONE"], feed=feed)
    )
    quotes = ask(DataFeed.SIP)
    assert (quotes["ABC"].ask_price, quotes["ABC"].timestamp) == (10.02, FRIDAY)
    assert (quotes["XYZ"].bid_size, quotes["XYZ"].timestamp) == (3, FRIDAY - timedelta(seconds=30))
    assert set(quotes) == {"ABC", "XYZ"}
    assert ask(DataFeed.IEX)["XYZ"].ask_price == 0
    trade = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="XYZ"))["XYZ"]
    assert trade.price == 20.01
    server.set_bars("ABC", {"t": "2026-11-20T05:00:00Z", "o": 9, "h": 11, "l": 8, "c": 10, "v": 500})
    shot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["ABC"]))["ABC"]
    assert (shot.latest_trade.price, shot.daily_bar.close, shot.previous_daily_bar) == (10.01, 10, None)
    server.configure(sip=False)
    assert refusal(ask, DataFeed.SIP)[::2] == (403, "subscription does not permit querying recent SIP data")
    data._session.close()


# -- activities and corporate actions ----------------------------------------------------------------------------


def test_fills_and_cash_movements_are_activities_with_pages(server, client):
    server.script(2, 3)
    client.submit_order(limit(5, 10.03))
    server.deposit("100.50")
    server.withdraw(20)
    server.activity("FEE", "-0.02", description="TAF")
    fills = client.get("/account/activities/FILL", {"direction": "asc"})
    told = [(f["qty"], f["cum_qty"], f["leaves_qty"], f["type"], f["price"]) for f in fills]
    assert told == [("2", "2", "3", "partial_fill", "10.02"), ("3", "5", "0", "fill", "10.02")]
    assert [a["net_amount"] for a in client.get("/account/activities/CSD,CSW,FEE")] == ["-0.02", "-20", "100.5"]
    assert client.get_account().cash == "10030.38"
    page = client.get("/account/activities", {"page_size": 2})
    rest = client.get("/account/activities", {"page_token": page[-1]["id"]})
    assert [a["activity_type"] for a in page + rest] == ["FEE", "CSW", "CSD", "FILL", "FILL"]
    assert client.get("/account/activities", {"after": "2026-11-21T00:00:00Z"}) == []


def test_a_late_fill_is_booked_after_the_cancel_and_a_doubled_fill_only_told(server, client):
    order = client.submit_order(limit(5, 9.0, tif=GTC, client_order_id="late"))
    client.cancel_order_by_id(order.id)
    server.fill("late", 2, "9.00")
    seen = client.get_order_by_id(order.id)
    assert (seen.status.value, seen.filled_qty) == ("canceled", "2")
    server.duplicate_fill()
    first, second = client.get("/account/activities/FILL")
    assert first == second
    assert client.get_open_position("ABC").qty == "2"


def test_a_split_changes_the_position_and_not_the_stops_and_is_announced(server, client):
    server.foreign_position("ABC", 7, "10")
    stop = StopOrderRequest(symbol="ABC", qty=7, side=SELL, time_in_force=GTC, stop_price=9.5)
    order = client.submit_order(stop)
    server.set_clock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    server.split("ABC", "2")
    held = client.get_open_position("ABC")
    assert (held.qty, held.avg_entry_price, held.current_price) == ("14", "5", "5.005")
    assert client.get_order_by_id(order.id).stop_price == "9.5"
    wanted = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.SPLIT], since=date(2026, 11, 20), until=date(2026, 11, 30)
    )
    with pytest.warns(DeprecationWarning, match="get_corporate_announcements"):
        (told,) = client.get_corporate_announcements(wanted)
    assert (told.initiating_symbol, told.new_rate, told.old_rate, told.ex_date) == ("ABC", 2, 1, date(2026, 11, 23))
    server.announce("dividend", "ABC", date(2026, 11, 24), cash="0.25")
    data = CorporateActionsClient(KEY, SECRET, url_override=server.url)
    days = {"start": date(2026, 11, 20), "end": date(2026, 11, 30)}
    found = data.get_corporate_actions(CorporateActionsRequest(symbols=["ABC"], **days)).data
    data._session.close()
    assert (found["forward_splits"][0].new_rate, found["cash_dividends"][0].rate) == (2, 0.25)


def test_a_reverse_split_pays_cash_for_the_fraction(server, client):
    server.foreign_position("ABC", 7, "10")
    server.set_clock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    server.split("ABC", "0.25")
    assert client.get_open_position("ABC").qty == "1"
    (paid,) = client.get("/account/activities/CIL")
    assert Decimal(paid["net_amount"]) == Decimal("0.75") * Decimal("40.04")


# -- a process of its own ----------------------------------------------------------------------------------------


def test_a_restarted_server_remembers_its_books_faults_and_requests(tmp_path):
    state = tmp_path / "state.json"
    with alpaca_process(state, cash="500") as desk:
        desk.set_clock(FRIDAY)
        desk.set_quote("ABC", "10.00", "10.02")
        desk.fault("GET", "/v2/account", "500")
        client = client_of(desk.url)
        client.submit_order(limit(7, 10.03, client_order_id="kept"))
        client._session.close()
        port, before = int(desk.url.rsplit(":", 1)[1]), (desk.orders(), desk.positions(), desk.activities())
    with alpaca_process(state, port) as desk:
        assert (desk.orders(), desk.positions(), desk.activities()) == before
        assert [row["status"] for row in desk.requests()] == [200]
        client = client_of(desk.url)
        assert refusal(client.get_account)[0] == 500
        assert refusal(client.submit_order, limit(7, 10.03, client_order_id="kept"))[0] == 422
        assert client.get_account().cash == "429.86"
        client._session.close()
        desk.reset()
        assert (desk.orders(), desk.account()["cash"]) == ([], "10000")
        with pytest.raises(ValueError, match="no such route"):
            desk.call("nonsense")


def test_the_file_holds_the_books_after_every_change_even_behind_a_torn_line(tmp_path):
    path = tmp_path / "state.json"
    with AlpacaServer(state=path, polls=1) as server:

        def kept():
            return Store(path).load() == (server.books.state, [], server.requests())

        server.set_clock(FRIDAY)
        server.set_quote("ABC", "10.00", "10.02", ask_size=3)
        client = client_of(server.url)
        order = client.submit_order(limit(7, 10.03, client_order_id="late"))
        assert kept()
        assert [(status_of(client, order), kept()) for _ in range(2)] == [("accepted", True), ("canceled", True)]
        protection = client.submit_order(oco(qty=3))
        client.get_orders()
        client.get_orders()
        client.replace_order_by_id(protection.legs[0].id, ReplaceOrderRequest(stop_price=9.5))
        assert kept()
        server.set_quote("ABC", "11.00", "11.02", bid_size=1)
        server.fill("late", 2, "10.05")
        server.set_quote("ABC", "9.00", "9.02")
        assert kept()
        assert [position["qty"] for position in server.positions()] == ["2"]
        client._session.close()
        with path.open("a") as file:
            file.write('{"set": {"cash": "1')
        assert kept()


def test_a_server_process_ends_at_sigterm_and_says_only_where_it_is():
    environment = {**os.environ, "PYTHONPATH": str(Path(alpaca_calendar.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "kit.alpaca_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        told = json.loads(process.stdout.readline())
        assert told["pid"] == process.pid
        assert AlpacaDesk(told["url"]).orders() == []
        process.terminate()
        assert (process.wait(20), process.stdout.read()) == (0, b"")
