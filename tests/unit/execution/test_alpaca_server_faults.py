"""The made-up Alpaca goes wrong exactly as told: what was done, what the client saw, and what the log says."""

import http.client
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests
from kit.alpaca_client import APIError, LimitOrderRequest, OrderSide, TimeInForce, TradingClient
from kit.alpaca_faults import FAULTS
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from pydantic import ValidationError

FRIDAY = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
ORDER = {"symbol": "ABC", "qty": "7", "side": "buy", "type": "limit", "time_in_force": "ioc", "limit_price": "10.03",
         "client_order_id": "one"}  # fmt: skip
KEYS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


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
    made = TradingClient(KEY, SECRET, url_override=server.url)
    made._retry = 0
    yield made
    made._session.close()


@pytest.fixture
def wire(server):
    """One connection that is kept alive."""
    with requests.Session() as session:
        session.headers.update(KEYS)
        yield session


def submit(wire, server, timeout=5.0, **changes):
    return wire.post(f"{server.url}/v2/orders", json=ORDER | changes, timeout=timeout)


def look(wire, server):
    return wire.get(f"{server.url}/v2/orders:by_client_order_id", params={"client_order_id": "one"}, timeout=5)


def request_of_the_client():
    return LimitOrderRequest(
        symbol="ABC", qty=7, side=OrderSide.BUY, time_in_force=TimeInForce.IOC, limit_price=10.03, client_order_id="one"
    )


def names(server):
    return [order["client_order_id"] for order in server.orders()]


@pytest.mark.parametrize(("fault", "made"), [("lost_before", []), ("lost_after", ["one"])])
def test_a_lost_connection_leaves_no_answer_and_no_order_or_an_order(server, wire, fault, made):
    server.fault("POST", "/v2/orders", fault)
    with pytest.raises(requests.exceptions.ConnectionError):
        submit(wire, server)
    assert names(server) == made
    (row,) = server.requests()
    assert (row["fault"], row["status"], row["accepted"]) == (fault, None, bool(made))
    assert submit(wire, server).status_code == (422 if made else 200)
    assert names(server) == ["one"]


@pytest.mark.parametrize(("fault", "made"), [("hang_before", []), ("hang", ["one"])])
def test_a_hanging_server_outlasts_the_clients_patience(server, wire, fault, made):
    server.fault("POST", "/v2/orders", fault, seconds=20)
    with pytest.raises(requests.exceptions.ReadTimeout):
        submit(wire, server, timeout=0.2)
    assert names(server) == made
    assert look(wire, server).status_code == (200 if made else 404)
    server.reset()
    assert names(server) == []


def test_a_request_may_hang_before_and_then_be_done_late(server, wire):
    server.fault("POST", "/v2/orders", "hang_before", seconds=0.3, done=True)
    with pytest.raises(requests.exceptions.ReadTimeout):
        submit(wire, server, timeout=0.05)
    assert look(wire, server).status_code == 404
    assert submit(wire, server).status_code in {200, 422}
    assert names(server) == ["one"]


def test_a_hang_that_ends_in_time_is_answered(server, wire):
    server.fault("POST", "/v2/orders", "hang", seconds=0.05)
    assert submit(wire, server).json()["status"] == "accepted"


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("fault", ["504", "500", "502_html", "429", "401"])
def test_an_error_status_says_nothing_about_whether_the_order_exists(server, wire, fault, done):
    server.fault("POST", "/v2/orders", fault, done=done)
    answer = submit(wire, server)
    assert answer.status_code == int(fault[:3])
    assert names(server) == (["one"] if done else [])
    assert look(wire, server).status_code == (200 if done else 404)


def test_the_real_client_repeats_a_504_four_times_and_only_the_id_keeps_it_one_order(server, client):
    client._retry, client._retry_wait = 3, 0
    server.fault("POST", "/v2/orders", "504", times=4, done=True)
    with pytest.raises(APIError) as caught:
        client.submit_order(request_of_the_client())
    assert caught.value.status_code == 504
    assert [row["done_status"] for row in server.requests()] == [200, 422, 422, 422]
    assert names(server) == ["one"]


def test_a_429_says_when_to_come_back(server, wire):
    server.fault("GET", "/v2/clock", "429", seconds=7)
    headers = wire.get(f"{server.url}/v2/clock", timeout=5).headers
    assert (headers["Retry-After"], headers["X-RateLimit-Remaining"], headers["X-RateLimit-Limit"]) == ("7", "0", "200")
    assert int(headers["X-RateLimit-Reset"]) > 0


def test_more_requests_than_the_limit_are_429_until_the_minute_ends(server, wire):
    server.configure(rate_limit=3)
    answers = [wire.get(f"{server.url}/v2/clock", timeout=5) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 61


def test_an_html_body_breaks_the_error_of_the_real_client(server, client):
    server.fault("POST", "/v2/orders", "502_html")
    with pytest.raises(APIError) as caught:
        client.submit_order(request_of_the_client())
    assert caught.value.status_code == 502
    with pytest.raises(json.JSONDecodeError):
        _ = caught.value.code


def test_a_duplicate_may_be_claimed_for_an_order_that_was_just_made_or_never(server, wire):
    server.fault("POST", "/v2/orders", "duplicate_422")
    server.fault("POST", "/v2/orders", "duplicate_422", done=False)
    first, second = submit(wire, server), submit(wire, server, client_order_id="two")
    assert [(a.status_code, a.json()["code"]) for a in (first, second)] == [(422, 40010001)] * 2
    assert names(server) == ["one"]


def test_an_unknown_status_breaks_the_real_client_after_the_order_exists(server, client):
    server.fault("POST", "/v2/orders", "unknown_status")
    with pytest.raises(ValidationError):
        client.submit_order(request_of_the_client())
    assert names(server) == ["one"]


def test_a_partial_fill_then_a_cancel_keeps_its_shares(server, wire):
    server.fault("POST", "/v2/orders", "partial_then_canceled")
    assert submit(wire, server).json()["status"] == "accepted"
    told = look(wire, server).json()
    assert (told["status"], told["filled_qty"]) == ("canceled", "3")
    assert [position["qty"] for position in server.positions()] == ["3"]


@pytest.mark.parametrize(
    ("fault", "field", "told"),
    [
        ("unknown_status", "status", "zombie"),
        ("missing_fields", "status", None),
        ("missing_fields", "filled_qty", None),
        ("garbage_number", "filled_qty", "abc"),
        ("string_numbers", "filled_qty", "7.000000000"),
        ("nan", "filled_avg_price", "NaN"),
        ("negative_qty", "filled_qty", "-7"),
        ("other_symbol", "symbol", "ZZZZ"),
        ("wrong_client_order_id", "client_order_id", "one-other"),
        ("overfill", "filled_qty", "8"),
        ("shrinking_fill", "filled_qty", "6"),
    ],
)
def test_a_damaged_answer_lies_once_and_the_books_stay_right(server, wire, fault, field, told):
    submit(wire, server)
    server.fault("GET", "/v2/orders", fault)
    assert look(wire, server).json().get(field) == told
    true = look(wire, server).json()
    assert (true["status"], true["filled_qty"], true["symbol"]) == ("filled", "7", "ABC")
    assert true == server.orders()[0]


def test_the_account_of_somebody_else_may_answer(server, wire):
    server.fault("GET", "/v2/account", "other_account")
    theirs, ours = (wire.get(f"{server.url}/v2/account", timeout=5).json() for _ in range(2))
    assert theirs["account_number"] != ours["account_number"]
    assert theirs["id"] != ours["id"]


def test_prices_of_quotes_may_become_text_or_no_number(server, wire):
    for fault in ("string_numbers", "nan"):
        server.fault("GET", "/v2/stocks/quotes", fault)
        answer = wire.get(f"{server.url}/v2/stocks/quotes/latest?symbols=ABC", timeout=5)
        price = answer.json()["quotes"]["ABC"]["ap"]
        assert repr(price) == ("'10.020000000'" if fault == "string_numbers" else "nan")


@pytest.mark.parametrize("fault", ["empty_body", "truncated_json", "array_instead", "big_body"])
def test_a_body_may_be_empty_short_a_list_or_huge_while_the_order_exists(server, wire, fault):
    server.fault("POST", "/v2/orders", fault)
    answer = submit(wire, server)
    assert (answer.status_code, names(server)) == (200, ["one"])
    if fault == "big_body":
        assert len(answer.content) > 10_000_000
    elif fault == "array_instead":
        assert answer.json()[0]["client_order_id"] == "one"
    else:
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()


def test_a_body_may_break_off_before_its_announced_length(server):
    server.fault("POST", "/v2/orders", "cut_body")
    link = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    link.request("POST", "/v2/orders", json.dumps(ORDER), KEYS)
    with pytest.raises(http.client.IncompleteRead):
        link.getresponse().read()
    link.close()
    assert names(server) == ["one"]


def test_rules_meet_only_their_method_path_and_body_and_may_wait_their_turn(server, wire):
    server.fault("POST", "/v2/orders", "500", contains='"two"', after=1)
    server.fault("*", "/v2/clock", "500", times=-1)
    assert submit(wire, server).status_code == 200
    assert submit(wire, server, client_order_id="two").status_code == 200
    assert submit(wire, server, client_order_id="two").status_code == 500
    assert submit(wire, server, client_order_id="three").status_code == 200
    assert [wire.get(f"{server.url}/v2/clock", timeout=5).status_code for _ in range(3)] == [500] * 3
    server.clear_faults()
    assert wire.get(f"{server.url}/v2/clock", timeout=5).status_code == 200


def test_an_unknown_fault_is_refused(server):
    with pytest.raises(ValueError, match="unknown fault"):
        server.fault("POST", "/v2/orders", "lightning")
    assert len(FAULTS) == 27


def test_the_log_holds_every_request_with_what_was_done_and_what_was_told(server, wire):
    submit(wire, server, limit_price="10.033")
    server.fault("POST", "/v2/orders", "504", done=True)
    submit(wire, server)
    told = [(r["method"], r["path"], r["done_status"], r["status"], r["accepted"]) for r in server.requests()]
    assert told == [("POST", "/v2/orders", 422, 422, False), ("POST", "/v2/orders", 200, 504, True)]
    assert json.loads(server.requests()[1]["body"])["client_order_id"] == "one"


def test_the_admin_door_works_over_http_without_keys_and_says_why_it_refuses(server):
    url = f"{server.url}/_kit"
    answer = requests.post(f"{url}/quote", json={"symbol": "ABC", "bid": "9", "ask": "9.01"}, timeout=5)
    assert answer.json()["ask"] == "9.01"
    refused = requests.post(f"{url}/foreign_order", json={"symbol": "ABC", "qty": "0", "side": "buy"}, timeout=5)
    assert (refused.status_code, refused.json()["code"]) == (400, 42210000)
    requests.post(f"{url}/foreign_order", json={"symbol": "ABC", "qty": "2", "side": "buy"}, timeout=5)
    assert [position["qty"] for position in server.positions()] == ["2"]
    assert server.requests() == []


def test_cash_and_positions_add_up_to_the_fills(server, wire):
    for n, qty in enumerate((1, 3, 9)):
        submit(wire, server, client_order_id=str(n), qty=str(qty))
    server.set_quote("ABC", "10.13", "10.15")
    submit(wire, server, client_order_id="out", side="sell", qty="5", limit_price="10.13")
    spent = sum(
        (1 if a["side"] == "buy" else -1) * Decimal(a["qty"]) * Decimal(a["price"]) for a in server.activities()
    )
    assert Decimal(server.account()["cash"]) == 10_000 - spent
    assert [(p["qty"], p["avg_entry_price"]) for p in server.positions()] == [("8", "10.02")]
