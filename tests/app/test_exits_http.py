"""The same exits over real HTTP against a made-up Alpaca: cancels that take their time, answers that get lost."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from kit import holding
from kit.alpaca_server import KEY, SECRET, AlpacaServer

from kobe.app import desk, order_facts, wiring
from kobe.app.flatten import FlattenRequest, run_flatten
from kobe.app.kill import KillRequest, run_kill
from kobe.app.manage_exits import run_manage_exits
from kobe.core.errors import ExitCode

D = Decimal
SYMBOL, DAY, NEXT, LAST = "SYN000", holding.DAY, date(2024, 11, 13), date(2024, 11, 14)
SETTINGS = """[run]
mode = "paper"
[broker]
base_url = "{url}"
data_url = "{url}"
poll_deadline_s = 3
read_timeout_s = 2
[exits]
trail_atr = 0.5
"""


@pytest.fixture(params=[None, 3.0], ids=["stop", "stop_and_target"])
def traded(request, tmp_path):
    """(context, server, price) of a protected position, with a stop alone or with a target as well."""
    with AlpacaServer() as server:
        folder = holding.make(tmp_path / "home", SETTINGS.format(url=server.url))
        (folder / ".env").write_text(f"APCA_API_KEY_ID={KEY}\nAPCA_API_SECRET_KEY={SECRET}\n", encoding="utf-8")
        ctx = wiring.build(folder, clock=holding.clock(DAY, 10, 0))
        price = round(order_facts.standing(desk.last_panel(ctx), SYMBOL).raw_close, 2)
        server.set_asset(SYMBOL)
        stand(ctx, server, DAY, 10, 0, price)
        holding.enter(ctx, SYMBOL, hold=3, target_r=request.param)
        assert run_manage_exits(ctx).exit_code is ExitCode.OK
        yield ctx, server, price
        ctx.ledger.close()


def stand(ctx, server, day, hour, minute, price):
    """Move both clocks, and the quote."""
    holding.move(ctx, day, hour, minute)
    server.set_clock(ctx.clock.now())
    server.set_quote(SYMBOL, price, price + D("0.02"), last=price)


def live_sells(server):
    """Sell orders that could still execute; the two legs of a pair are one."""
    resting = [o for o in server.orders() if o["side"] == "sell" and o["status"] in ("new", "accepted", "held")]
    return [o for o in resting if o["status"] != "held"]


def sold(server):
    return sum(D(o["filled_qty"]) for o in server.orders() if o["side"] == "sell")


def test_a_raised_stop_and_a_time_exit_leave_one_sale_and_nothing_resting(traded):
    ctx, server, price = traded
    stand(ctx, server, NEXT, 9, 35, price + D("0.50"))
    assert len(run_manage_exits(ctx).data["protection"]) == 1
    assert len(live_sells(server)) == 1
    server.configure(cancel_polls=2)
    stand(ctx, server, LAST, 15, 55, price)
    assert run_manage_exits(ctx).exit_code is ExitCode.OK
    assert (sold(server), live_sells(server), server.positions()) == (5, [], [])


def test_a_cancel_that_never_becomes_final_sends_no_sale(traded):
    ctx, server, price = traded
    server.configure(cancel_polls=10_000)
    stand(ctx, server, LAST, 15, 55, price)
    document = run_manage_exits(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert "NOT CLOSED" in document.summary[1]
    assert sold(server) == 0
    posts = [r for r in server.requests() if r["method"] == "POST" and "-close-" in r["body"]]
    assert posts == []


@pytest.mark.parametrize("fault", ["504", "lost_after", "502_html", "unknown_status", "hang"])
def test_a_closing_order_whose_answer_is_bad_is_found_by_name_and_sold_once(traded, fault):
    ctx, server, price = traded
    stand(ctx, server, LAST, 15, 55, price)
    server.fault("POST", "/v2/orders", fault, contains="-close-", done=True)
    first = run_manage_exits(ctx)
    again = run_manage_exits(ctx)
    assert ExitCode.OK in (first.exit_code, again.exit_code)
    assert (sold(server), server.positions()) == (5, [])


def test_a_closing_order_that_never_arrived_is_sent_again_by_its_name(traded):
    ctx, server, price = traded
    stand(ctx, server, LAST, 15, 55, price)
    server.fault("POST", "/v2/orders", "lost_before", contains="-close-")

    def wait(seconds):
        ctx.wait(seconds)
        server.set_clock(ctx.clock.now())
        server.set_quote(SYMBOL, price, price + D("0.02"), last=price)

    assert run_manage_exits(replace(ctx, wait=wait)).exit_code is ExitCode.OK
    posts = [r for r in server.requests() if r["method"] == "POST" and "-close-" in r["body"]]
    assert ["-close-1" in r["body"] for r in posts] == [True, True]
    assert (sold(server), server.positions(), live_sells(server)) == (5, [], [])


@pytest.mark.parametrize("times", [1, 2])
def test_keys_that_are_refused_for_the_closing_order_do_not_end_the_ladder(traded, times):
    ctx, server, price = traded
    stand(ctx, server, LAST, 15, 55, price)
    server.fault("POST", "/v2/orders", "401", contains="-close-", times=times)
    server.fault("GET", "/v2/stocks/snapshots", "504", times=-1)
    assert run_manage_exits(ctx).exit_code is ExitCode.OK
    assert (sold(server), server.positions(), live_sells(server)) == (5, [], [])


@pytest.mark.parametrize("fault", ["lost_after", "504"])
def test_a_raise_whose_answer_is_lost_leaves_one_order_resting(traded, fault):
    ctx, server, price = traded
    stand(ctx, server, NEXT, 9, 35, price + D("0.50"))
    for method in ("PATCH", "POST"):
        server.fault(method, "/v2/orders", fault, contains="-stop-2", done=True)
    run_manage_exits(ctx)
    assert len(live_sells(server)) == 1
    server.clear_faults()
    assert run_manage_exits(ctx).exit_code is ExitCode.OK
    assert len(live_sells(server)) == 1


def test_a_flatten_through_the_kill_switch_sells_once_and_a_kill_with_cancel_empties_the_book(traded):
    ctx, server, _ = traded
    document = run_kill(ctx, KillRequest(reason="test", cancel=True, everything=True))
    assert document.exit_code is ExitCode.OK, document.summary
    assert live_sells(server) == []
    sent = [r for r in server.requests() if r["method"] in ("POST", "PATCH")]
    assert run_manage_exits(ctx).exit_code is ExitCode.PARTIAL, "the switch holds the protection back"
    assert [r for r in server.requests() if r["method"] in ("POST", "PATCH")] == sent
    done = run_flatten(ctx, FlattenRequest(override_kill=True, reason="test"))
    assert done.exit_code is ExitCode.OK, done.summary
    assert (sold(server), server.positions()) == (5, [])


@pytest.mark.parametrize("traded", [None], indirect=True, ids=["stop"])
def test_a_stop_that_sold_a_part_and_ended_leaves_the_rest_unprotected_and_says_so(traded):
    ctx, server, price = traded
    server.end_order(live_sells(server)[0]["client_order_id"], "canceled")
    server.script((2, str(price)), status="canceled", symbol=SYMBOL, contains="-stop-")
    document = run_manage_exits(ctx)
    assert (document.exit_code, sold(server), live_sells(server)) == (ExitCode.PARTIAL, 2, [])
    assert any("UNPROTECTED" in line for line in document.summary), document.summary
    assert run_manage_exits(ctx).exit_code is ExitCode.OK
    assert [o["qty"] for o in live_sells(server)] == ["3"]
