"""What Alpaca says, read with suspicion: good answers give exact values, and no bad one is taken for good."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from kobe.core.errors import ExternalError
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution.brokers import alpaca_facts, alpaca_replies

D = Decimal
NAME = "kobe-ibs_rsi-AAA-2026-11-19-long-open-1"
ROW = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d", "client_order_id": NAME, "created_at": "2026-11-20T14:35:00.1Z",
    "submitted_at": "2026-11-20T14:35:00.123456789Z", "updated_at": "2026-11-20T14:35:01.987654321Z",
    "symbol": "AAA", "qty": "7", "filled_qty": "0", "filled_avg_price": None, "order_class": "", "type": "limit",
    "side": "buy", "status": "new", "legs": None,
}  # fmt: skip
REQUEST = OrderRequest(
    client_order_id=NAME, signal_id="s", strategy="ibs_rsi", symbol="AAA", side=Side.LONG, effect=Effect.OPEN,
    order_type=OrderType.IOC_LIMIT, quantity=7, limit_price=D("10.04"), stop_price=None, session=date(2026, 11, 20),
    reason="entry",
)  # fmt: skip
IN_FLIGHT = ["new", "accepted", "pending_new", "accepted_for_bidding", "stopped", "suspended", "calculated",
             "done_for_day", "held", "pending_cancel", "pending_replace", "pending_review"]  # fmt: skip


def read(**changes):
    return alpaca_replies.order({**ROW, **changes}, "the test", name=NAME, request=REQUEST)


def pair(parent, leg, quantity="7"):
    both = {"side": "sell", "order_class": "oco", "qty": quantity}
    return alpaca_replies.order({**ROW, **both, **parent, "legs": [{**ROW, **both, "id": "leg", **leg}]}, "the test")


def filled(quantity, price):
    return {"filled_qty": quantity, "filled_avg_price": price}


@pytest.mark.parametrize("word", IN_FLIGHT)
def test_what_is_in_flight_is_accepted_and_partial_once_shares_are_filled(word):
    assert read(status=word).status is OrderStatus.ACCEPTED
    partial = read(status=word, **filled("3", "10.03"))
    assert (partial.status, partial.filled, partial.average_price) == (OrderStatus.PARTIAL, 3, D("10.03"))


@pytest.mark.parametrize(
    ("word", "status"),
    [("canceled", OrderStatus.CANCELED), ("expired", OrderStatus.EXPIRED), ("rejected", OrderStatus.REJECTED),
     ("replaced", OrderStatus.REPLACED)],
)  # fmt: skip
def test_an_order_that_ended_keeps_the_shares_it_filled(word, status):
    told = read(status=word, **filled("3", "10.03"))
    assert (told.status, told.filled) == (status, 3)


def test_filled_shares_count_more_than_the_word():
    assert read(status="filled", **filled("7", "10.03")).status is OrderStatus.FILLED
    assert read(status="canceled", **filled("7", "10.03")).status is OrderStatus.FILLED
    short = read(status="filled", **filled("3", "10.03"))
    assert (short.status, short.filled) == (OrderStatus.UNKNOWN, 3)


def test_a_status_nobody_knows_is_unknown_and_its_word_is_kept():
    told = read(status="zombie", **filled("3", "10.03"))
    assert told.status is OrderStatus.UNKNOWN
    assert "zombie" in told.detail
    assert told.filled == 3


def test_numbers_may_be_text_or_json_numbers_and_stay_exact():
    told = read(qty=7, filled_qty=7.0, filled_avg_price=10.03, status="filled")
    assert (told.quantity, told.filled, told.average_price) == (7, 7, D("10.03"))
    assert read(qty="7.000000000", **filled("1.0", "10.030000000")).average_price == D("10.03")


def test_instants_have_nanoseconds_cut_to_microseconds_in_utc():
    assert read().at == datetime(2026, 11, 20, 14, 35, 1, 987654, tzinfo=UTC)
    assert read(updated_at=None).at == datetime(2026, 11, 20, 14, 35, 0, 123456, tzinfo=UTC)
    assert read(updated_at="2026-11-20T09:35:01-05:00").at == datetime(2026, 11, 20, 14, 35, 1, tzinfo=UTC)


BAD = {
    "qty": ["NaN", float("nan"), float("inf"), "-7", -7, "7.5", 7.5, "0", 0, None, True, "seven", "", [], {}, "1e3",
            "1E+999999", "9" * 400, " 7", "7 ", "\u0667", "8", "99999999999"],
    "filled_qty": ["NaN", "-1", -1, "8", "2.5", None, False, "abc", float("nan"), float("-inf"), "1e999999999"],
    "client_order_id": [None, "", "kobe-other", 7, "a\nb"],
    "symbol": [None, "", "ZZZZ", 7, "AAA\x00"],
    "side": [None, "", "sell", "sell_short", 1],
    "status": [None, "", 7, []],
    "updated_at": ["", "yesterday", 1732113301, "2026-13-45T00:00:00Z", "2026-11-20T14:35:01",
                   "0001-01-01T00:00:00+14:00"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_field_that_cannot_be_believed_is_an_error_of_the_broker(name, value):
    with pytest.raises(ExternalError) as told:
        read(**{name: value})
    assert not told.value.retryable
    assert len(told.value.message) < 500
    assert told.value.message.isprintable()


@pytest.mark.parametrize("name", sorted(set(ROW) - {"id", "created_at", "submitted_at", "updated_at", "order_class",
                                                    "type", "legs", "filled_avg_price"}))  # fmt: skip
def test_a_missing_field_is_an_error_of_the_broker(name):
    with pytest.raises(ExternalError):
        alpaca_replies.order({k: v for k, v in ROW.items() if k != name}, "the test", name=NAME, request=REQUEST)


@pytest.mark.parametrize("price", [None, "0", "-1", "NaN", float("nan"), "abc", True])
def test_filled_shares_without_a_price_are_an_error(price):
    with pytest.raises(ExternalError):
        read(**filled("3", price))


@pytest.mark.parametrize("answer", [None, [], [ROW], "ok", 7, True])
def test_an_answer_that_is_no_object_is_an_error(answer):
    with pytest.raises(ExternalError):
        alpaca_replies.order(answer, "the test")


def test_a_target_or_stop_pair_is_one_order_with_the_fills_of_both():
    assert pair({"status": "new"}, {"status": "held"}).status is OrderStatus.ACCEPTED
    target = pair({"status": "filled", **filled("7", "12")}, {"status": "canceled"})
    assert (target.status, target.filled, target.average_price) == (OrderStatus.FILLED, 7, D(12))
    stop = pair({"status": "canceled"}, {"status": "filled", **filled("7", "8.98")})
    assert (stop.status, stop.filled, stop.average_price) == (OrderStatus.FILLED, 7, D("8.98"))
    both = pair({"status": "canceled", **filled("3", "12")}, {"status": "filled", "qty": "4", **filled("4", "9")})
    assert (both.status, both.filled, both.average_price) == (OrderStatus.FILLED, 7, D(72) / 7)
    assert pair({"status": "canceled"}, {"status": "canceled"}).status is OrderStatus.CANCELED


def test_a_pair_is_over_only_when_both_are():
    half = pair({"status": "filled", **filled("7", "12")}, {"status": "pending_cancel"})
    assert (half.status, half.filled) == (OrderStatus.PARTIAL, 7)
    assert pair({"status": "canceled"}, {"status": "held"}).status is OrderStatus.ACCEPTED
    assert pair({"status": "canceled"}, {"status": "zombie"}).status is OrderStatus.UNKNOWN


@pytest.mark.parametrize("leg", [{"symbol": "ZZZZ"}, {"side": "buy"}, filled("8", "9"), {"qty": "NaN"}])
def test_a_stop_that_does_not_belong_to_its_target_is_an_error(leg):
    with pytest.raises(ExternalError):
        pair({"status": "new"}, {"status": "held", **leg})


def test_a_pair_that_sold_more_shares_than_it_is_for_is_an_error():
    with pytest.raises(ExternalError):
        pair({"status": "filled", **filled("7", "12")}, {"status": "filled", **filled("7", "9")})


def test_a_pair_without_its_stop_is_an_error_unless_it_was_rejected():
    row = {**ROW, "order_class": "oco", "side": "sell"}
    with pytest.raises(ExternalError):
        alpaca_replies.order(row, "the test")
    assert alpaca_replies.order({**row, "status": "rejected"}, "the test").status is OrderStatus.REJECTED


def test_orders_of_others_are_told_in_whole_shares_with_a_word_about_the_rest():
    other = {**ROW, "client_order_id": "by hand"}
    fraction = alpaca_replies.order({**other, "qty": "7.75", **filled("2.5", "10")}, "the test")
    assert (fraction.quantity, fraction.filled) == (7, 2)
    assert "2.5 of 7.75" in fraction.detail
    dollars = alpaca_replies.order({**other, "qty": None, "notional": "75", "status": "canceled"}, "the test")
    assert (dollars.quantity, dollars.status) == (0, OrderStatus.CANCELED)
    assert "75 dollars" in dollars.detail
    with pytest.raises(ExternalError):
        alpaca_replies.order({**other, "qty": "NaN"}, "the test")


def test_legs_of_others_orders_are_orders_and_the_legs_of_pairs_are_not():
    bracket = {**ROW, "id": "1", "client_order_id": "by hand", "order_class": "bracket",
               "legs": [{**ROW, "id": "2", "client_order_id": "leg", "side": "sell"}]}  # fmt: skip
    ours = {**ROW, "id": "3", "order_class": "oco", "side": "sell",
            "legs": [{**ROW, "id": "4", "client_order_id": "its stop", "side": "sell"}]}  # fmt: skip
    stop_alone = {**ROW, "id": "4", "client_order_id": "its stop", "side": "sell"}
    told = alpaca_replies.every_order([bracket, ours, stop_alone], "the test")
    assert sorted(o.client_order_id for o in told) == ["by hand", NAME, "leg"]


ACCOUNT = {
    "id": "a", "account_number": "PA1", "status": "ACTIVE", "currency": "USD", "cash": "1000.5", "equity": "1500.25",
    "last_equity": "1490", "buying_power": "1000.5", "maintenance_margin": "0", "trading_blocked": False,
    "account_blocked": False, "trade_suspended_by_user": False, "shorting_enabled": True,
}  # fmt: skip


def test_the_account_is_read_in_both_its_shapes():
    old = {**ACCOUNT, "pattern_day_trader": False, "daytrade_count": 0, "daytrading_buying_power": "0"}
    told = alpaca_facts.account(ACCOUNT, [])
    assert told == alpaca_facts.account(old, [])
    assert (told.cash_usd, told.equity_usd, told.blocked, told.account_id) == (D("1000.5"), D("1500.25"), False, "a")
    few = alpaca_facts.account({k: v for k, v in ACCOUNT.items() if k not in ("last_equity", "buying_power")}, [])
    assert (few.last_equity_usd, few.buying_power_usd) == (None, None)


@pytest.mark.parametrize("change", [{"trading_blocked": True}, {"account_blocked": True}, {"status": "SUBMITTED"},
                                    {"trade_suspended_by_user": True}])  # fmt: skip
def test_any_block_of_the_account_is_a_block(change):
    assert alpaca_facts.account({**ACCOUNT, **change}, []).blocked


@pytest.mark.parametrize("change", [{"trading_blocked": None}, {"trading_blocked": "false"}, {"account_blocked": 0},
                                    {"cash": "NaN"}, {"equity": None}, {"last_equity": "abc"}, {"status": None},
                                    {"currency": "EUR"}, {"id": None}])  # fmt: skip
def test_an_account_that_does_not_say_whether_it_may_trade_is_an_error(change):
    with pytest.raises(ExternalError):
        alpaca_facts.account({**ACCOUNT, **change}, [])


def test_positions_are_signed_whole_shares_and_a_fraction_is_never_hidden():
    rows = [("AAA", "7", "long"), ("BBB", "-3", "short"), ("CCC", "4", "short"), ("DDD", "0.5", "long"),
            ("EEE", "-2.25", "short")]  # fmt: skip
    told = alpaca_facts.account(ACCOUNT, [{"symbol": s, "qty": q, "side": side} for s, q, side in rows])
    assert told.positions == {"AAA": 7, "BBB": -3, "CCC": -4, "DDD:fraction": 1, "EEE": -2, "EEE:fraction": -1}


@pytest.mark.parametrize("rows", [None, {}, [1], [{"symbol": "A", "qty": "NaN", "side": "long"}],
                                  [{"symbol": "A", "qty": "-1", "side": "long"}], [{"symbol": "A", "qty": "1"}],
                                  [{"symbol": "A", "qty": "1", "side": "long"}] * 2])  # fmt: skip
def test_positions_that_cannot_be_believed_are_an_error(rows):
    with pytest.raises(ExternalError):
        alpaca_facts.account(ACCOUNT, rows)


def test_the_clock_is_read_with_and_without_a_zone():
    expected = datetime(2026, 11, 20, 14, 35, 0, 123456, tzinfo=UTC)
    for text in ("2026-11-20T09:35:00.123456789-05:00", "2026-11-20T09:35:00.123456789", "2026-11-20T14:35:00.123456Z"):
        assert alpaca_facts.now({"timestamp": text}) == expected
    for bad in ({}, {"timestamp": None}, {"timestamp": "soon"}, [], None):
        with pytest.raises(ExternalError):
            alpaca_facts.now(bad)


def test_the_calendar_is_new_york_time_and_odd_sessions_are_errors():
    half = {"date": "2026-11-27", "open": "09:30", "close": "13:00", "session_open": "0400"}
    told = alpaca_facts.sessions([half], date(2026, 11, 27), date(2026, 11, 27))
    assert told == {
        date(2026, 11, 27): (datetime(2026, 11, 27, 14, 30, tzinfo=UTC), datetime(2026, 11, 27, 18, tzinfo=UTC))
    }
    assert alpaca_facts.sessions([half], date(2026, 11, 28), date(2026, 11, 30)) == {}
    for bad in (
        [{**half, "close": "09:00"}],
        [half, half],
        [{**half, "date": "x"}],
        [{**half, "open": None}],
        {},
        None,
    ):
        with pytest.raises(ExternalError):
            alpaca_facts.sessions(bad, date(2026, 11, 27), date(2026, 11, 27))


def test_an_asset_may_only_what_it_says_it_may():
    row = {"symbol": "AAA", "status": "active", "tradable": True, "class": "us_equity"}
    plain = alpaca_facts.asset(row, "AAA")
    assert (plain.active, plain.tradable, plain.shortable, plain.easy_to_borrow) == (True, True, False, False)
    assert not alpaca_facts.asset({**row, "class": "crypto"}, "AAA").tradable
    assert not alpaca_facts.asset({**row, "shortable": "true"}, "AAA").shortable
    for bad in ({**row, "symbol": "BBB"}, {**row, "tradable": None}, {**row, "status": None}, []):
        with pytest.raises(ExternalError):
            alpaca_facts.asset(bad, "AAA")


def test_cash_moves_have_a_kind_and_what_is_no_cash_is_left_out():
    def activity(number, kind, amount, **more):
        return {"id": str(number), "activity_type": kind, "date": "2026-11-20", "net_amount": amount, **more}

    kinds = {"CSD": "transfer", "CSW": "transfer", "JNLC": "transfer", "ACATC": "transfer", "DIV": "dividend",
             "DIVNRA": "dividend", "INT": "interest", "FEE": "fee", "PTC": "fee", "SPLIT": "other"}  # fmt: skip
    rows = [activity(n, kind, "-1.25") for n, kind in enumerate(kinds)]
    rows += [activity(90, "FILL", "5"), activity(91, "DIV", "5", status="canceled"),
             activity(92, "CSD", "5") | {"date": "2026-11-18"}, dict(rows[0])]  # fmt: skip
    told = alpaca_facts.cash_moves(rows, date(2026, 11, 19))
    assert {m.detail: m.kind for m in told} == kinds
    assert {m.usd for m in told} == {D("-1.25")}
    assert alpaca_facts.cash_moves([activity(1, "REORG", None)], date(2026, 1, 1))[0].usd == 0
    for bad in (activity(1, "CSD", None), activity(1, "FEE", "NaN"), activity(1, "DIV", "1") | {"date": None}):
        with pytest.raises(ExternalError):
            alpaca_facts.cash_moves([bad], date(2026, 1, 1))


MONDAY = date(2026, 11, 23)


def changes(**groups):
    return alpaca_facts.corporate_changes(groups, ["AAA", "BBB"], MONDAY)


def test_corporate_actions_of_the_day_change_what_is_held():
    split = {"symbol": "AAA", "new_rate": 3, "old_rate": 2, "ex_date": "2026-11-23", "process_date": "2026-11-23"}
    told = changes(
        forward_splits=[split, {**split, "ex_date": "2026-11-24"}, {**split, "symbol": "ZZZ"}],
        reverse_splits=[{**split, "symbol": "BBB", "new_rate": 1, "old_rate": 10, "ex_date": "2026-11-21"}],
        cash_dividends=[{**split, "rate": 0.5}],
    )
    assert [(c.symbol, c.kind, c.ratio) for c in told] == [("AAA", "split", D("1.5")), ("BBB", "split", D("0.1"))]
    today = {"process_date": "2026-11-23"}
    told = changes(
        cash_mergers=[{**today, "acquiree_symbol": "AAA", "acquirer_symbol": "XXX", "effective_date": "2026-11-23"}],
        name_changes=[{**today, "old_symbol": "BBB", "new_symbol": "CCC"},
                      {**today, "old_symbol": "AAA", "new_symbol": "AAA"}],
        worthless_removals=[{**today, "symbol": "BBB"}],
        spin_offs=[{**today, "source_symbol": "BBB", "ex_date": "2026-11-23", "new_symbol": "B2"}],
        stock_dividends=[{**today, "symbol": "AAA", "rate": 0.05}],
    )  # fmt: skip
    assert [(c.symbol, c.kind, c.ratio, c.symbol_after) for c in told] == [
        ("AAA", "merger", None, "XXX"), ("AAA", "split", D("1.05"), None), ("BBB", "delisting", None, None),
        ("BBB", "merger", None, None), ("BBB", "symbol_change", None, "CCC"),
    ]  # fmt: skip


def test_a_split_that_does_not_say_how_much_is_an_error():
    for bad in ({"old_rate": 0}, {"new_rate": -1}, {"new_rate": None}, {"ex_date": "?"}):
        row = {"symbol": "AAA", "new_rate": 3, "old_rate": 2, "ex_date": "2026-11-23", **bad}
        with pytest.raises(ExternalError):
            changes(forward_splits=[row])


def test_a_quote_is_exact_and_what_is_missing_or_odd_in_it_is_zero():
    text = """{"AAA": {"latestQuote": {"t": "2026-11-20T14:35:00.123456789Z", "bp": 10.02, "ap": 10.03, "bs": 300,
        "as": 1200}, "latestTrade": {"t": "2026-11-20T14:34:59Z", "p": 10.025, "s": 1}},
        "BBB": {"latestQuote": {"t": "2026-11-20T14:35:00Z", "bp": NaN, "ap": -1, "bs": "x"}, "latestTrade": null},
        "CCC": {"latestQuote": null}, "DDD": null, "EEE": {"latestQuote": {"t": null, "bp": 1, "ap": 2}}}"""
    told = alpaca_facts.quotes(json.loads(text), "iex")
    assert sorted(told) == ["AAA", "BBB"]
    a, b = told["AAA"], told["BBB"]
    assert (a.bid, a.ask, a.bid_size, a.ask_size, a.last, a.feed) == (
        D("10.02"),
        D("10.03"),
        300,
        1200,
        D("10.025"),
        "iex",
    )
    assert a.at == datetime(2026, 11, 20, 14, 35, 0, 123456, tzinfo=UTC)
    assert (b.bid, b.ask, b.bid_size, b.ask_size, b.last) == (0, 0, 0, 0, None)
    with pytest.raises(ExternalError):
        alpaca_facts.quotes([], "iex")
