"""The Alpaca broker against a server that speaks Alpaca's API: what goes over the wire, and what every fault means."""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from werkzeug.wrappers import Response

from kobe.core.calendar import xnys
from kobe.core.clock import SteppingClock, new_york_date
from kobe.core.errors import ConfigError, ExternalError, KobeError
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution.brokers.alpaca import make
from kobe.execution.brokers.alpaca_door import address, keys_fault
from kobe.execution.brokers.kit import BrokerKit, Keys
from kobe.execution.brokers.terms import SimTerms

D = Decimal
NOW = datetime(2026, 11, 20, 14, 35, tzinfo=UTC)
OPEN = "kobe-ibs_rsi-AAA-2026-11-19-long-open-1"
CLOSE = "kobe-ibs_rsi-AAA-2026-11-19-long-close-"
READ_S = 0.4


def kit_for(url, **changes):
    parts = {
        "clock": SteppingClock(NOW), "wait": lambda _: None, "mode": "paper", "books": None, "market": None,
        "terms": SimTerms(), "keys": Keys(key_id=KEY, secret=SECRET), "base_url": url, "data_url": url, "feed": "iex",
        "timeouts": (1.0, READ_S), "take_token": lambda: None, "blocks": lambda _: None,
    }  # fmt: skip
    return BrokerKit(**{**parts, **changes})


def order(name=OPEN, kind=OrderType.IOC_LIMIT, *, quantity=7, limit=None, stop=None, symbol="AAA"):
    effect = Effect.OPEN if kind is OrderType.IOC_LIMIT and name == OPEN else Effect.CLOSE
    if kind is OrderType.IOC_LIMIT and limit is None:
        limit = "10.04"
    return OrderRequest(
        client_order_id=name, signal_id="s", strategy="ibs_rsi", symbol=symbol, side=Side.LONG, effect=effect,
        order_type=kind, quantity=quantity, limit_price=None if limit is None else D(limit),
        stop_price=None if stop is None else D(stop), session=date(2026, 11, 20), reason="entry",
    )  # fmt: skip


def stop_order(number, stop="9", quantity=7):
    return order(f"{CLOSE}{number}", OrderType.GTC_STOP, stop=stop, quantity=quantity)


def pair_order(number, limit="12", stop="9", quantity=7):
    return order(f"{CLOSE}{number}", OrderType.GTC_OCO, limit=limit, stop=stop, quantity=quantity)


def requests_of(server, method):
    return [r for r in server.requests() if r["method"] == method]


def open_orders(server):
    over = {"filled", "canceled", "expired", "rejected", "replaced"}
    return [o for o in server.orders() if o["status"] not in over]


@pytest.fixture
def server():
    with AlpacaServer(hours="open") as running:
        running.set_clock(NOW)
        running.set_quote("AAA", "10.02", "10.03", last="10.025")
        yield running


@pytest.fixture
def broker(server):
    return make(kit_for(server.url))


@pytest.fixture
def holding(server, broker):
    """A broker whose account holds seven shares."""
    server.foreign_position("AAA", 7, "10")
    return broker


# -- what goes over the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (order(), {"side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "10.04"}),
        (order(limit="0.4217"), {"side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "0.4217"}),
        (order(limit="1E+2"), {"side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "100"}),
        (order(limit="1000.98"), {"side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "1000.98"}),
        (order(f"{CLOSE}1", limit="10.01"),
         {"side": "sell", "type": "limit", "time_in_force": "ioc", "limit_price": "10.01"}),
        (stop_order(1, "9.05"), {"side": "sell", "type": "stop", "time_in_force": "gtc", "stop_price": "9.05"}),
        (pair_order(1, "12.10", "9.05"),
         {"side": "sell", "type": "limit", "time_in_force": "gtc", "order_class": "oco",
          "take_profit": {"limit_price": "12.10"}, "stop_loss": {"stop_price": "9.05"}}),
        (order(f"{CLOSE}1", OrderType.MARKET), {"side": "sell", "type": "market", "time_in_force": "day"}),
    ],
)  # fmt: skip
def test_an_order_goes_over_the_wire_as_exact_decimals_and_nothing_else(server, holding, request_, body):
    holding.submit(request_)
    sent = requests_of(server, "POST")
    assert [r["path"].rstrip("?") for r in sent] == ["/v2/orders"]
    assert json.loads(sent[0]["body"]) == {
        "symbol": "AAA", "qty": "7", "client_order_id": request_.client_order_id, **body
    }  # fmt: skip


def test_an_order_is_followed_by_its_name_until_it_is_filled(server, broker):
    assert broker.submit(order()).status is OrderStatus.ACCEPTED
    told = broker.lookup(OPEN)
    assert (told.status, told.filled, told.average_price) == (OrderStatus.FILLED, 7, D("10.03"))
    assert (told.symbol, told.quantity, told.is_buy, told.executions) == ("AAA", 7, True, ())
    assert broker.lookup("kobe-never-sent") is None


def test_a_partial_fill_that_ends_canceled_keeps_its_shares(server, broker):
    server.script(3)
    broker.submit(order())
    told = broker.lookup(OPEN)
    assert (told.status, told.filled) == (OrderStatus.CANCELED, 3)


def test_a_late_fill_after_the_cancel_is_seen(server, holding):
    holding.submit(stop_order(1))
    assert holding.cancel(f"{CLOSE}1").filled == 0
    server.fill(f"{CLOSE}1", 2, "9")
    told = holding.lookup(f"{CLOSE}1")
    assert (told.status, told.filled) == (OrderStatus.CANCELED, 2)


def test_a_fill_told_twice_is_counted_once(server, broker):
    broker.submit(order())
    server.settle()
    server.duplicate_fill()
    assert broker.lookup(OPEN).filled == 7
    assert broker.account().positions == {"AAA": 7}
    assert broker.cash_moves(date(2026, 11, 1)) == ()


# -- faults ------------------------------------------------------------------------------------------------------

UNHEARD = ["lost_before", "lost_after", "hang", "500", "504", "502_html", "missing_fields", "garbage_number", "nan",
           "negative_qty", "other_symbol", "wrong_client_order_id", "overfill", "big_body", "empty_body",
           "truncated_json", "cut_body", "array_instead"]  # fmt: skip


@pytest.mark.parametrize("fault", UNHEARD)
def test_no_answer_that_can_be_believed_is_an_error_and_the_order_is_sent_once(server, broker, fault):
    server.fault("POST", "/v2/orders", fault, seconds=30)
    began = time.monotonic()
    with pytest.raises(ExternalError) as told:
        broker.submit(order())
    assert time.monotonic() - began < 5
    assert not told.value.retryable
    assert len(requests_of(server, "POST")) == 1
    known = broker.lookup(OPEN)
    assert (known is None) == (fault in {"lost_before", "500", "504", "502_html"})


@pytest.mark.parametrize("fault", ["500", "504", "502_html", "lost_before", "hang", "empty_body", "big_body", "nan"])
def test_a_look_that_hears_nothing_never_means_that_there_is_no_order(server, broker, fault):
    broker.submit(order())
    server.fault("GET", "/v2/orders", fault, seconds=30)
    with pytest.raises(ExternalError):
        broker.lookup(OPEN)
    assert broker.lookup(OPEN).filled == 7


def test_a_page_that_is_not_alpacas_does_not_say_that_there_is_no_order(httpserver):
    broker = make(kit_for(httpserver.url_for("").rstrip("/")))
    for reply in (Response("<html>404</html>", 404), Response('{"message":"no Route matched"}', 404)):
        httpserver.expect_oneshot_request("/v2/orders:by_client_order_id").respond_with_response(reply)
        with pytest.raises(ExternalError):
            broker.lookup(OPEN)


def test_an_order_with_a_status_nobody_knows_is_unknown(server, broker):
    server.fault("POST", "/v2/orders", "unknown_status")
    assert broker.submit(order()).status is OrderStatus.UNKNOWN


def test_numbers_written_oddly_are_the_same_numbers(server, broker):
    broker.submit(order())
    server.fault("GET", "/v2/orders", "string_numbers")
    told = broker.lookup(OPEN)
    assert (told.quantity, told.filled, told.average_price) == (7, 7, D("10.03"))


def test_too_many_requests_are_told_with_when_to_come_back(server, broker):
    server.fault("POST", "/v2/orders", "429", seconds=17)
    with pytest.raises(ExternalError, match="again in 17 s") as told:
        broker.submit(order())
    assert told.value.retryable
    assert len(requests_of(server, "POST")) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys_are_a_matter_of_settings_and_are_not_shown(server, status):
    server.configure(auth_status=status)
    broker = make(kit_for(server.url, keys=Keys(key_id="PKWRONG", secret="wrong-secret")))
    for call in (lambda: broker.submit(order()), broker.account, broker.now, lambda: broker.lookup(OPEN)):
        with pytest.raises(ConfigError, match="refuses the keys") as told:
            call()
        assert "WRONG" not in told.value.message
        assert "wrong-secret" not in told.value.message
    assert server.orders() == []


def test_the_other_words_for_refused_keys_and_for_the_rate_limit_are_understood(httpserver):
    broker = make(kit_for(httpserver.url_for("").rstrip("/")))
    httpserver.expect_oneshot_request("/v2/clock").respond_with_json({"message": "forbidden."}, status=403)
    with pytest.raises(ConfigError, match="refuses the keys"):
        broker.now()
    reset = {"X-RateLimit-Reset": str(int(NOW.timestamp()) + 30)}
    httpserver.expect_oneshot_request("/v2/clock").respond_with_data("slow down", status=429, headers=reset)
    with pytest.raises(ExternalError, match="again at 2026-11-20T14:35:30"):
        broker.now()


def test_a_name_used_before_returns_the_order_that_has_it(server, broker):
    broker.submit(order())
    again = broker.submit(order())
    assert (again.status, again.filled) == (OrderStatus.FILLED, 7)
    assert len(server.orders()) == 1
    with pytest.raises(ExternalError, match="under the name of"):
        broker.submit(order(quantity=3))


def test_a_name_said_to_be_used_that_nobody_finds_is_an_error(server, broker):
    server.fault("POST", "/v2/orders", "duplicate_422", done=False)
    with pytest.raises(ExternalError, match="no order has this name"):
        broker.submit(order())


def test_what_the_broker_refuses_is_rejected_in_its_own_words(server, broker):
    poor = broker.submit(order(quantity=100_000))
    assert (poor.status, poor.filled, poor.average_price) == (OrderStatus.REJECTED, 0, None)
    assert poor.detail.startswith("40310000: ")
    odd = broker.submit(order(limit="10.0412"))
    assert odd.status is OrderStatus.REJECTED
    assert odd.detail.startswith("42210000: ")
    assert broker.lookup(OPEN) is None


def test_words_of_the_broker_are_short_printable_and_without_keys(httpserver):
    said = {"code": 40310000, "message": f"no \x1b[31m{SECRET}\n{KEY} " + "x" * 5000}
    httpserver.expect_request("/v2/orders").respond_with_json(said, status=403)
    detail = make(kit_for(httpserver.url_for("").rstrip("/"))).submit(order()).detail
    assert detail.isprintable()
    assert len(detail) < 300
    assert SECRET not in detail
    assert KEY not in detail


@pytest.mark.parametrize("status", [403, 422])
def test_a_refusal_that_is_not_the_brokers_own_is_no_rejection(httpserver, status):
    httpserver.expect_request("/v2/orders").respond_with_data("<html>blocked</html>", status=status)
    with pytest.raises(ExternalError):
        make(kit_for(httpserver.url_for("").rstrip("/"))).submit(order())


@pytest.mark.parametrize("change", [{"limit": "NaN"}, {"limit": "Infinity"}, {"limit": "-1"}, {"limit": "0"},
                                    {"symbol": "../x"}, {"name": "x" * 129}, {"name": "a b"}])  # fmt: skip
def test_an_order_that_cannot_be_one_never_leaves(server, broker, change):
    told = broker.submit(order(**change))
    assert told.status is OrderStatus.ABANDONED
    assert told.detail.startswith("not sent: ")
    assert server.requests() == []


def test_the_kill_switch_is_asked_after_the_token_and_before_the_wire(server):
    seen = []

    def blocks(request):
        seen.append(request.client_order_id)
        return "operator"

    broker = make(kit_for(server.url, take_token=lambda: seen.append("token"), blocks=blocks))
    told = broker.submit(order())
    assert told.status is OrderStatus.ABANDONED
    assert "kill switch before the wire: operator" in told.detail
    assert seen == ["token", OPEN]
    assert server.requests() == []
    assert broker.lookup(OPEN) is None
    assert seen == ["token", OPEN, "token"]


def test_every_request_takes_one_token(server):
    taken = []
    broker = make(kit_for(server.url, take_token=lambda: taken.append(1)))
    server.foreign_position("AAA", 7, "10")
    broker.account()
    broker.submit(pair_order(1))
    broker.cancel(f"{CLOSE}1")
    broker.orders(date(2026, 11, 1))
    broker.quotes(["AAA"])
    assert len(taken) == len(server.requests())


def test_a_token_that_does_not_come_stops_the_request(server):
    def none_left():
        raise ExternalError("the request limit of the service is used up", retryable=True)

    with pytest.raises(ExternalError, match="used up"):
        make(kit_for(server.url, take_token=none_left)).submit(order())
    assert server.requests() == []


def test_an_answer_that_trickles_ends(httpserver):
    def trickle(_):
        return Response((b" " for _ in iter(lambda: time.sleep(READ_S / 4), 1)), 200, direct_passthrough=True)

    httpserver.expect_request("/v2/clock").respond_with_handler(trickle)
    began = time.monotonic()
    with pytest.raises(ExternalError):
        make(kit_for(httpserver.url_for("").rstrip("/"))).now()
    assert time.monotonic() - began < 3 * READ_S + 2


@pytest.mark.parametrize("body", ["[" * 100_000, '{"timestamp": ' + "9" * 10_000 + "}", "\x00\xff", "null", '"x"'])
def test_json_made_to_hurt_is_an_error(httpserver, body):
    httpserver.expect_request("/v2/clock").respond_with_data(body.encode("latin-1"), content_type="text/plain")
    with pytest.raises(ExternalError):
        make(kit_for(httpserver.url_for("").rstrip("/"))).now()


def test_keys_are_not_carried_to_another_host(httpserver, server):
    elsewhere = {"Location": f"{server.url}/v2/clock"}
    httpserver.expect_request("/v2/clock").respond_with_data("", status=302, headers=elsewhere)
    with pytest.raises(ExternalError):
        make(kit_for(httpserver.url_for("").rstrip("/"))).now()
    assert server.requests() == []


def test_no_proxy_of_the_environment_sees_a_request(server, broker, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert broker.now() == NOW


def test_no_key_is_ever_shown(server, broker, caplog):
    caplog.set_level(logging.DEBUG)
    told = [repr(broker), repr(broker.kit), repr(broker.door), repr(broker.door.trading)]
    for fault in [*UNHEARD, "401", "429", "duplicate_422"]:
        server.reset()
        server.set_quote("AAA", "10.02", "10.03")
        server.fault("*", "/v2", fault, times=-1, seconds=30)
        for call in (lambda: broker.submit(order()), broker.account, lambda: broker.quotes(["AAA"])):
            try:
                told.append(repr(call()))
            except KobeError as error:
                told += [error.message, repr(error), repr(error.__cause__)]
    text = "\n".join(told) + caplog.text
    assert "127.0.0.1" in caplog.text  # what was logged was looked at
    assert SECRET not in text
    assert KEY not in text


# -- cancel and replace ------------------------------------------------------------------------------------------


def test_a_cancel_tells_where_the_order_stands(server, holding):
    assert holding.cancel("kobe-never-sent") is None
    holding.submit(stop_order(1))
    assert holding.cancel(f"{CLOSE}1").status is OrderStatus.CANCELED
    assert holding.cancel(f"{CLOSE}1").status is OrderStatus.CANCELED
    assert len(requests_of(server, "DELETE")) == 1


def test_a_cancel_on_its_way_is_not_final(server, holding):
    server.configure(cancel_polls=1)
    holding.submit(stop_order(1))
    told = holding.cancel(f"{CLOSE}1")
    assert (told.status, told.detail) == (OrderStatus.ACCEPTED, "pending_cancel")


def test_a_cancel_that_comes_too_late_tells_the_fill(server, broker):
    broker.submit(order())
    told = broker.cancel(OPEN)
    assert (told.status, told.filled) == (OrderStatus.FILLED, 7)


def test_a_cancel_nobody_answers_is_an_error(server, holding):
    holding.submit(stop_order(1))
    server.fault("DELETE", "/v2/orders", "504")
    with pytest.raises(ExternalError):
        holding.cancel(f"{CLOSE}1")
    assert len(requests_of(server, "DELETE")) == 1


def test_a_stop_is_moved_in_one_request_that_carries_its_new_name(server, holding):
    holding.submit(stop_order(1, "9"))
    new = holding.replace(f"{CLOSE}1", stop_order(2, "9.55"))
    assert (new.client_order_id, new.status) == (f"{CLOSE}2", OrderStatus.ACCEPTED)
    assert holding.lookup(f"{CLOSE}1").status is OrderStatus.REPLACED
    sent = requests_of(server, "PATCH")
    assert [json.loads(r["body"]) for r in sent] == [{"qty": "7", "stop_price": "9.55", "client_order_id": f"{CLOSE}2"}]
    assert [o["stop_price"] for o in open_orders(server)] == ["9.55"]


def test_a_move_whose_answer_is_lost_is_found_again_and_not_made_twice(server, holding):
    holding.submit(stop_order(1))
    server.fault("PATCH", "/v2/orders", "lost_after")
    with pytest.raises(ExternalError):
        holding.replace(f"{CLOSE}1", stop_order(2, "9.55"))
    new = holding.replace(f"{CLOSE}1", stop_order(2, "9.55"))
    assert (new.client_order_id, new.status) == (f"{CLOSE}2", OrderStatus.ACCEPTED)
    assert len(requests_of(server, "PATCH")) == 1


def test_a_move_the_broker_refuses_leaves_the_old_stop(server, holding):
    holding.submit(stop_order(1))
    told = holding.replace(f"{CLOSE}1", stop_order(2, "9.5555"))
    assert told.status is OrderStatus.REJECTED
    assert [o["client_order_id"] for o in open_orders(server)] == [f"{CLOSE}1"]


def test_a_pair_is_cancelled_waited_for_and_sent_anew(server):
    waits = []
    broker = make(kit_for(server.url, wait=waits.append))
    server.foreign_position("AAA", 7, "10")
    server.configure(cancel_polls=2)
    broker.submit(pair_order(1))
    new = broker.replace(f"{CLOSE}1", pair_order(2, "12.50", "9.50"))
    assert (new.client_order_id, new.status) == (f"{CLOSE}2", OrderStatus.ACCEPTED)
    assert waits
    assert broker.lookup(f"{CLOSE}1").status is OrderStatus.CANCELED
    assert len(open_orders(server)) == 2


def test_a_pair_that_does_not_die_is_never_joined_by_another(server, holding):
    server.configure(cancel_polls=1000)
    holding.submit(pair_order(1))
    with pytest.raises(ExternalError, match="still live"):
        holding.replace(f"{CLOSE}1", pair_order(2))
    assert len(requests_of(server, "POST")) == 1


def test_nothing_takes_the_place_of_an_order_that_has_filled(server, holding):
    holding.submit(pair_order(1))
    server.fill(f"{CLOSE}1", 7, "12")
    told = holding.replace(f"{CLOSE}1", pair_order(2))
    assert (told.status, told.detail) == (OrderStatus.ABANDONED, "not sent: the order to be replaced is filled")
    assert len(requests_of(server, "POST")) == 1


def test_shares_sold_while_a_pair_is_cancelled_are_not_sold_again(server):
    def sells_two(_):
        server.fill(f"{CLOSE}1", 2, "12")

    broker = make(kit_for(server.url, wait=sells_two))
    server.foreign_position("AAA", 7, "10")
    server.configure(cancel_polls=2)
    broker.submit(pair_order(1))
    told = broker.replace(f"{CLOSE}1", pair_order(2))
    assert told.status is OrderStatus.ABANDONED
    assert len(requests_of(server, "POST")) == 1


@pytest.mark.parametrize("old", [stop_order(1), pair_order(1)])
def test_the_kill_switch_leaves_the_old_order_resting(server, old):
    blocked = []
    broker = make(kit_for(server.url, blocks=lambda _: blocked[0] if blocked else None))
    server.foreign_position("AAA", 7, "10")
    broker.submit(old)
    blocked.append("operator")
    told = broker.replace(f"{CLOSE}1", pair_order(2))
    assert told.status is OrderStatus.ABANDONED
    assert not broker.lookup(f"{CLOSE}1").status.is_final
    assert not requests_of(server, "DELETE") + requests_of(server, "PATCH")


def test_there_must_be_something_to_replace(server, holding):
    with pytest.raises(ExternalError, match="no order to be replaced"):
        holding.replace(f"{CLOSE}1", stop_order(2))
    assert not requests_of(server, "POST")


# -- pairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bid", "price"), [("12.00", D("12.00")), ("8.90", D("8.90"))])
def test_what_either_side_of_a_pair_sells_is_sold_under_its_name(server, holding, bid, price):
    assert holding.submit(pair_order(1)).status is OrderStatus.ACCEPTED
    server.set_quote("AAA", bid, D(bid) + D("0.01"))
    told = holding.lookup(f"{CLOSE}1")
    assert (told.status, told.filled, told.average_price) == (OrderStatus.FILLED, 7, price)
    assert [o.filled for o in holding.orders()] == [7]
    assert holding.account().positions == {}


# -- orders of the account ---------------------------------------------------------------------------------------


def many(server, count, group):
    """Place resting orders, `group` of them in each microsecond."""
    server.set_account(cash="1000000")
    for n in range(count):
        if n % group == 0:
            server.set_clock(NOW + timedelta(microseconds=n // group))
        server.foreign_order("AAA", 1, "buy", type="limit", time_in_force="gtc", limit_price="5",
                             client_order_id=f"other-{n}")  # fmt: skip


def test_no_order_is_lost_or_doubled_where_pages_meet_within_one_instant(server, broker):
    many(server, 1100, 150)
    names = [o.client_order_id for o in broker.orders()]
    assert sorted(names) == sorted(f"other-{n}" for n in range(1100))


def test_more_orders_in_one_instant_than_fit_a_page_are_an_error_and_not_a_loss(server, broker):
    many(server, 501, 501)
    with pytest.raises(ExternalError, match="one instant"):
        broker.orders()


def test_orders_since_a_date_are_those_of_that_new_york_date_and_those_still_open(server, holding):
    server.set_clock(datetime(2026, 11, 17, 15, tzinfo=UTC))
    holding.submit(order(OPEN, quantity=1))
    holding.submit(stop_order(1, quantity=1))
    server.settle()
    server.set_clock(datetime(2026, 11, 18, 4, 59, tzinfo=UTC))
    holding.submit(order(f"{CLOSE}2", limit="10.01", quantity=1))
    server.set_clock(datetime(2026, 11, 18, 5, 0, tzinfo=UTC))
    holding.submit(order(f"{CLOSE}3", limit="10.01", quantity=1))
    server.settle()
    assert {o.client_order_id for o in holding.orders()} == {OPEN, f"{CLOSE}1", f"{CLOSE}2", f"{CLOSE}3"}
    assert {o.client_order_id for o in holding.orders(date(2026, 11, 18))} == {f"{CLOSE}1", f"{CLOSE}3"}


def test_orders_placed_by_hand_do_not_hide_ours(server, broker):
    broker.submit(order())
    server.foreign_order("AAA", "1.5", "buy")
    told = {o.client_order_id: o for o in broker.orders()}
    assert told[OPEN].filled == 7
    assert any("1.5" in o.detail for o in told.values())


# -- facts -------------------------------------------------------------------------------------------------------


def test_the_account_tells_cash_standing_and_signed_positions(server, broker):
    server.configure(pdt_fields=True)
    broker.submit(order())
    server.settle()
    server.foreign_position("BBB", -3, "20")
    told = broker.account()
    assert told.cash_usd == D(10_000) - 7 * D("10.03")
    assert told.positions == {"AAA": 7, "BBB": -3}
    assert (told.blocked, told.last_equity_usd) == (False, D(10_000))
    server.set_account(trading_blocked=True)
    assert broker.account().blocked
    server.fault("GET", "/v2/account", "other_account")
    assert broker.account().account_id != told.account_id


@pytest.mark.parametrize("fault", ["missing_fields", "nan", "garbage_number", "big_body", "array_instead", "502_html"])
def test_an_account_that_cannot_be_believed_is_an_error(server, broker, fault):
    server.fault("GET", "/v2/account", fault)
    with pytest.raises(ExternalError):
        broker.account()


def test_the_clock_of_the_broker_is_told_as_it_goes(server, broker):
    assert broker.now() == NOW
    server.set_clock(skew_s=-7.5)
    assert broker.now() == NOW - timedelta(seconds=7.5)


def test_the_calendar_of_the_broker_is_the_exchanges(broker):
    calendar = xnys()
    days = calendar.between(date(2026, 1, 1), date(2026, 12, 31))
    ours = {day: (calendar.opens_at(day), calendar.closes_at(day)) for day in days}
    assert broker.sessions(date(2026, 1, 1), date(2026, 12, 31)) == ours


def test_an_asset_the_broker_does_not_know_is_none_and_silence_is_not(server, broker):
    server.set_asset("BBB", tradable=False, easy_to_borrow=False)
    told = broker.asset("BBB")
    assert (told.active, told.tradable, told.easy_to_borrow) == (True, False, False)
    assert broker.asset("ZZZ") is None
    assert broker.asset("../orders") is None
    server.fault("GET", "/v2/assets", "502_html")
    with pytest.raises(ExternalError):
        broker.asset("BBB")


def test_cash_that_came_and_went_is_told_oldest_first_over_many_pages(server, broker):
    broker.submit(order())
    server.settle()
    for n in range(230):
        server.activity("DIV", D(n + 1) / 100)
    server.withdraw(250)
    server.activity("FEE", "-0.02")
    told = broker.cash_moves(date(2026, 11, 1))
    assert len(told) == 232
    assert sum(m.usd for m in told if m.kind == "dividend") == sum(D(n + 1) / 100 for n in range(230))
    assert [m.usd for m in told if m.kind == "transfer"] == [-250]
    assert [m.usd for m in told if m.kind == "fee"] == [D("-0.02")]
    assert {m.day for m in told} == {new_york_date(NOW)}
    assert broker.cash_moves(date(2026, 11, 21)) == ()


def test_a_split_is_told_for_the_session_it_falls_on(server, holding):
    server.split("AAA", 2)
    (told,) = holding.corporate_changes(["AAA", "BBB"], date(2026, 11, 20))
    assert (told.symbol, told.kind, told.ratio, told.effective) == ("AAA", "split", 2, date(2026, 11, 20))
    assert holding.corporate_changes(["AAA"], date(2026, 11, 19)) == ()
    assert holding.corporate_changes(["AAA"], date(2026, 11, 23)) == ()
    assert holding.corporate_changes([], date(2026, 11, 20)) == ()


def test_many_quotes_are_asked_for_in_one_request(server, broker):
    server.set_quote("BBB", "0", "20.05", bid_size=0)
    told = broker.quotes(["AAA", "BBB", "CCC", "not a symbol", "AAA:fraction"])
    assert sorted(told) == ["AAA", "BBB"]
    assert (told["AAA"].bid, told["AAA"].ask, told["AAA"].last) == (D("10.02"), D("10.03"), D("10.025"))
    assert (told["BBB"].bid, told["BBB"].bid_size, told["AAA"].feed, told["AAA"].at) == (0, 0, "iex", NOW)
    (request,) = server.requests()
    assert request["path"] == "/v2/stocks/snapshots?symbols=AAA%2CBBB%2CCCC&feed=iex"
    broker.quotes([f"S{n:03}" for n in range(450)])
    assert len(server.requests()) == 1 + 3
    assert broker.quotes([]) == {}


def test_a_feed_the_plan_does_not_hold_is_a_matter_of_settings(server):
    server.configure(sip=False)
    with pytest.raises(ConfigError, match=r'broker\.feed = "iex"'):
        make(kit_for(server.url, feed="sip")).quotes(["AAA"])
    assert make(kit_for(server.url, feed="iex")).quotes(["AAA"])["AAA"].feed == "iex"


# -- keys and addresses ------------------------------------------------------------------------------------------


def test_keys_must_belong_to_the_address_unless_it_is_on_this_machine():
    assert keys_fault("paper", "", "PKABC") == ""
    assert keys_fault("live", "", "AKABC") == ""
    assert "paper keys with the live address" in keys_fault("live", "", "PKABC")
    assert "live keys with the paper address" in keys_fault("paper", "https://paper-api.alpaca.markets", "AKABC")
    assert keys_fault("paper", "http://127.0.0.1:9", "AKABC") == ""
    assert keys_fault("live", "http://localhost:9", "PKABC") == ""
    assert keys_fault("paper", "", "") != ""
    assert keys_fault("paper", "https://api.alpaca.markets", "PKABC") != ""


@pytest.mark.parametrize("given", [
    "https://api.alpaca.markets", "https://evil.example", "http://paper-api.alpaca.markets", "127.0.0.1:8000",
    "http://127.0.0.1:8000/v2", "https://paper-api.alpaca.markets/v2", "https://user:pw@paper-api.alpaca.markets",
    "https://paper-api.alpaca.markets@evil.example", "http://127.0.0.1.evil.example", "ftp://127.0.0.1", "http://[::1",
    "http://127.0.0.1:notaport", "https://paper-api.alpaca.markets?x=1", "file:///etc/passwd",
])  # fmt: skip
def test_an_address_that_is_not_the_modes_own_or_this_machine_is_refused(given):
    with pytest.raises(ConfigError):
        address(given, "paper-api.alpaca.markets")


def test_an_address_may_be_the_modes_own_or_on_this_machine():
    host = "paper-api.alpaca.markets"
    assert address("", host) == f"https://{host}"
    assert address(f"https://{host}/", host) == f"https://{host}"
    assert address("http://127.0.0.1:8000/", host) == "http://127.0.0.1:8000"
    assert address("http://[::1]:8000", host) == "http://[::1]:8000"


@pytest.mark.parametrize("keys", [Keys(), Keys(key_id="PKABC"), Keys(secret="half")])
def test_missing_keys_are_named_by_their_variables_when_they_are_wanted(keys):
    broker = make(kit_for("", keys=keys))
    assert broker.keys_fault()
    for call in (broker.now, broker.account, lambda: broker.quotes(["AAA"]), lambda: broker.lookup(OPEN)):
        with pytest.raises(ConfigError, match="APCA_API") as told:
            call()
        assert told.value.next_command
        assert "PKABC" not in told.value.message
        assert "half" not in told.value.message


def test_no_order_is_sent_with_keys_of_the_other_kind():
    broker = make(kit_for("", mode="live", data_url=""))
    assert broker.environment == "live"
    with pytest.raises(ConfigError, match="paper keys with the live address"):
        broker.submit(order())
    with pytest.raises(ConfigError):
        broker.replace(OPEN, stop_order(1))


def test_the_address_of_the_mode_is_used_when_none_is_given():
    assert make(kit_for("")).door.trading._base_url == "https://paper-api.alpaca.markets"
    assert make(kit_for("", mode="live", data_url="")).door.trading._base_url == "https://api.alpaca.markets"
    assert make(kit_for("", data_url="")).door.market._base_url == "https://data.alpaca.markets"


def test_the_client_neither_repeats_nor_waits_for_ever(broker):
    for client in (broker.door.trading, broker.door.market, broker.door.actions):
        assert client._retry == 0
        assert client._retry_codes == []
        for scheme in ("https://", "http://"):
            assert client._session.adapters[scheme].max_retries.total == 0
            assert type(client._session.adapters[scheme]).__name__ == "Bounded"
        assert client._session.trust_env is False


def test_making_the_broker_does_not_load_its_client():
    code = "import sys; import kobe.execution.brokers.alpaca; print('alpaca' in sys.modules, 'requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.split() == ["False", "False"]


def test_a_host_out_of_reach_is_an_error_soon():
    broker = make(kit_for("http://127.0.0.1:9"))
    began = time.monotonic()
    for call in (broker.now, lambda: broker.submit(order()), lambda: broker.cancel(OPEN)):
        with pytest.raises(ExternalError), suppress(ConfigError):
            call()
    assert time.monotonic() - began < 5
