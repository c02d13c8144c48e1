"""The exit ladder and the protection: nothing is sold twice, nothing stays naked, what failed is said aloud."""

import json
import shutil
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from kit import holding
from kit.wayward import Killed, wayward

from kobe.app import desk, protect, wiring
from kobe.app.flatten import FlattenRequest, run_flatten
from kobe.app.manage_exits import exit_signal, run_manage_exits
from kobe.app.start_up import order_desk
from kobe.core.errors import ConfigError, ExitCode, ExternalError, IntegrityError, MissingDataError
from kobe.core.ports import CorporateChange, Execution
from kobe.core.types import OrderStatus, Side, TradePlan
from kobe.execution import corporate, exits
from kobe.execution.brokers.sim_rules import Outcome
from kobe.execution.plans import PLANS, plan_json

D = Decimal
DAY, NEXT, HALF = holding.DAY, date(2024, 11, 13), date(2024, 11, 29)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home without positions, to be copied."""
    return holding.make(tmp_path_factory.mktemp("base") / "home")


@pytest.fixture
def open_home(base, tmp_path):
    return shutil.copytree(base, tmp_path / "home")


def entered(folder, *, day=DAY, hold=1, more="", choose=lambda _ctx, names: names[0], **how):
    """A context at 10:00 with one open, protected position, over a wayward broker; and its symbol."""
    if more:
        with (folder / "config" / "kobe.toml").open("a", encoding="utf-8") as file:
            file.write(more)
    ctx = wiring.build(folder, clock=holding.clock(day, 10, 0))
    symbol = choose(ctx, holding.affordable(ctx, day))
    holding.move(ctx, day, 10, 0)
    ctx = wayward(ctx)
    signal = holding.enter(ctx, symbol, hold=hold, **how)
    with order_desk(ctx) as oms:
        assert protect.protect(ctx, oms, desk.last_panel(ctx), signal) is not None
    ctx.broker.log.clear()
    return ctx, symbol, signal


def closing(ctx, day=DAY, hour=15, minute=55):
    holding.move(ctx, day, hour, minute)
    return run_manage_exits(ctx)


def closes_of(ctx, signal):
    orders = desk.manager(ctx).orders().values()
    return [o for o in orders if o.request.signal_id == signal and "-close-" in o.request.client_order_id]


def guards_of(ctx, signal):
    return exits.guards(desk.manager(ctx).orders().values(), signal)


def held(ctx, symbol):
    return ctx.broker.account().positions.get(symbol, 0)


def audit_kinds(ctx):
    lines = (ctx.paths.audit / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line).get("kind") for line in lines]


def test_a_time_exit_takes_the_protection_away_first_and_then_sells_once(open_home):
    ctx, symbol, _signal = entered(open_home)
    document = closing(ctx)
    calls = [name for method, name in ctx.broker.log if method in ("cancel", "submit")]
    assert document.exit_code is ExitCode.OK, document.summary
    assert ["-stop-" in calls[0], "-close-1" in calls[1], len(calls)] == [True, True, 2]
    assert held(ctx, symbol) == 0
    assert desk.manager(ctx).book().trades[0].exit_reason == "time"
    assert ctx.broker.faults == []


def test_on_a_half_day_the_closing_slot_is_five_to_one(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "home")
    ctx, symbol, _ = entered(folder, day=HALF)
    assert closing(ctx, HALF, 12, 30).data["due"] == []
    assert closing(ctx, HALF, 12, 55).exit_code is ExitCode.OK
    assert held(ctx, symbol) == 0


def test_while_the_protection_is_not_final_nothing_is_sold(open_home):
    ctx, symbol, _signal = entered(open_home)
    ctx.broker.plan("cancel", "open", "open")
    ctx.broker.plan("lookup", *["pass"] * 60)
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert "NOT CLOSED" in document.summary[1]
    assert "could sell twice" in document.summary[1]
    assert ctx.broker.asked("submit") == []
    assert ctx.broker.asked("cancel").__len__() == 2, "it is tried again once"
    assert held(ctx, symbol) == 5
    holding.move(ctx, DAY, 15, 57)
    assert run_manage_exits(ctx).exit_code is ExitCode.OK, "the next run closes it"
    assert held(ctx, symbol) == 0


def test_what_the_protection_sold_meanwhile_is_not_sold_again(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("cancel", "sold")
    assert closing(ctx).exit_code is ExitCode.OK
    assert closes_of(ctx, signal) == []
    assert held(ctx, symbol) == 0
    assert desk.manager(ctx).book().trades[0].exit_reason == "stop"


def test_each_rung_sells_exactly_what_the_one_before_left(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("submit", "part 2", "part 1")
    assert closing(ctx).exit_code is ExitCode.OK
    sold = [(o.request.order_type.value, o.request.quantity, o.filled) for o in closes_of(ctx, signal)]
    assert sold == [("ioc_limit", 5, 2), ("ioc_limit", 3, 1), ("market", 2, 2)]
    assert held(ctx, symbol) == 0
    assert len(desk.manager(ctx).book().trades) == 1


def test_the_limits_of_the_ladder_step_through_the_bid(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("submit", "reject", "reject")
    holding.move(ctx, DAY, 15, 55)
    bid = ctx.quotes.quotes([symbol])[symbol].bid
    run_manage_exits(ctx)
    limits = [o.request.limit_price for o in closes_of(ctx, signal)]
    assert limits == [exits.floor_tick(bid * D("0.999")), exits.floor_tick(bid * D("0.997")), None]


def test_after_a_failed_ladder_the_stop_is_put_back_and_the_failure_is_said_and_recorded(open_home):
    ctx, symbol, signal = entered(open_home)
    stop = guards_of(ctx, signal)[0].request.stop_price
    ctx.broker.plan("submit", "reject", "reject", "reject")
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert document.data["stuck"] == [symbol]
    assert "NOT CLOSED" in document.summary[1]
    (guard,) = guards_of(ctx, signal)
    assert (guard.status, guard.request.quantity, guard.request.stop_price) == (OrderStatus.ACCEPTED, 5, stop)
    assert any("was put back" in note for note in document.data["notes"])
    assert "not_closed" in audit_kinds(ctx)
    assert ctx.broker.faults == []


def test_a_rung_that_never_arrived_is_sent_again_by_its_name_while_there_is_time(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("submit", "silent")
    document = closing(ctx)
    assert document.exit_code is ExitCode.OK, document.summary
    assert [o.request.client_order_id[-2:] for o in closes_of(ctx, signal)] == ["-1"], "never a second name"
    assert ctx.clock.now() < at_time(DAY, 15, 58)
    assert [o["client_order_id"][-2:] for o in document.data["orders"]] == ["-1"]
    assert held(ctx, symbol) == 0
    assert ctx.broker.faults == []


def at_time(day, hour, minute):
    return holding.clock(day, hour, minute).now()


def never_heard(folder):
    """A position whose closing order was sent in vain until it was too late."""
    ctx, symbol, signal = entered(folder)
    ctx.broker.plan("submit", *["silent"] * 50)
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert [o.request.client_order_id[-2:] for o in closes_of(ctx, signal)] == ["-1"]
    assert guards_of(ctx, signal) == [], "a stop beside a sale that may still arrive could sell twice"
    assert any("may still act" in note for note in document.data["notes"])
    ctx.broker._plans.clear()
    return ctx, symbol, signal


def test_after_the_close_an_order_the_broker_does_not_know_is_given_up_and_the_guard_stands_for_the_night(open_home):
    ctx, symbol, signal = never_heard(open_home)
    document = closing(ctx, hour=16, minute=20)
    assert document.exit_code is ExitCode.PARTIAL
    assert closes_of(ctx, signal)[0].status is OrderStatus.ABANDONED
    assert guards_of(ctx, signal)[0].status is OrderStatus.ACCEPTED
    assert closing(ctx, NEXT, 9, 35).exit_code is ExitCode.OK
    assert held(ctx, symbol) == 0
    assert ctx.broker.faults == []


def test_after_the_close_an_order_the_broker_knows_is_not_given_up(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("submit", "lost")
    ctx.broker.plan("lookup", *["pass", "silent", *["silent"] * 300])
    closing(ctx)
    ctx.broker._plans.clear()
    assert closing(ctx, hour=16, minute=20).exit_code is ExitCode.OK
    assert closes_of(ctx, signal)[0].status is OrderStatus.FILLED
    assert guards_of(ctx, signal) == []
    assert held(ctx, symbol) == 0


def failing(error, times=1, after=0):
    """A stand-in for a question to the broker that fails some times, after so many good answers."""

    def wrap(real):
        left = [after, times]

        def asked(*arguments):
            if left[0]:
                left[0] -= 1
                return real(*arguments)
            if left[1]:
                left[1] -= 1
                raise error
            return real(*arguments)

        return asked

    return wrap


def after_the_cancel(ctx, error, times):
    """Let the account fail once a guard was cancelled."""
    real, left = ctx.broker.inner.account, [times]

    def account():
        if left[0] and ctx.broker.asked("cancel"):
            left[0] -= 1
            raise error
        return real()

    ctx.broker.account = account


def test_a_refusal_of_the_keys_between_guard_and_sale_puts_the_guard_back_and_says_what_to_run(open_home):
    ctx, symbol, signal = entered(open_home)
    after_the_cancel(ctx, ConfigError("the keys are refused", next_command="kobe broker probe"), 1)
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert f"NOT CLOSED: {symbol}" in document.summary[1]
    assert "the keys are refused; next: kobe broker probe" in document.summary[1]
    assert guards_of(ctx, signal)[0].status is OrderStatus.ACCEPTED
    assert held(ctx, symbol) == 5


def two(folder):
    """Two positions that are both due at the close."""
    ctx, symbol, signal = entered(folder)
    other = next(n for n in holding.affordable(ctx, DAY) if n != symbol)
    holding.move(ctx, DAY, 10, 0)
    second = holding.enter(ctx, other, hold=1)
    run_manage_exits(ctx)
    ctx.broker.log.clear()
    return ctx, (symbol, signal), (other, second)


def test_a_fault_about_one_position_does_not_keep_the_others_open(open_home):
    ctx, first, second = two(open_home)
    after_the_cancel(ctx, ConfigError("the keys are refused"), 1)
    document = closing(ctx)
    assert document.data["stuck"] == [first[0]]
    assert (held(ctx, first[0]), held(ctx, second[0])) == (5, 0)


def test_damaged_records_stop_everything_but_the_guard_is_put_back_first(open_home):
    ctx, _, signal = entered(open_home)
    after_the_cancel(ctx, IntegrityError("the ledger is damaged"), 1)
    with pytest.raises(IntegrityError):
        closing(ctx)
    assert guards_of(ctx, signal)[0].status is OrderStatus.ACCEPTED


def test_one_position_that_hangs_leaves_the_others_their_time(open_home):
    ctx, first, second = two(open_home)
    real = ctx.broker.submit

    def submit(request):
        if request.symbol == first[0] and "-close-" in request.client_order_id:
            raise ExternalError("the broker did not answer")
        return real(request)

    ctx.broker.submit = submit
    document = closing(ctx)
    assert document.data["stuck"] == [first[0]]
    assert held(ctx, second[0]) == 0


@pytest.mark.parametrize("error", [ExternalError("no answer"), ConfigError("the plan does not allow the feed")])
def test_a_quote_that_cannot_be_had_sends_the_market_order(open_home, error):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.quotes = failing(error, 50)(ctx.broker.quotes)
    assert closing(ctx).exit_code is ExitCode.OK
    assert [o.request.order_type.value for o in closes_of(ctx, signal)] == ["market"]
    assert held(ctx, symbol) == 0


def test_a_quote_that_cannot_be_had_about_a_naked_position_does_not_stop_the_one_that_is_due(open_home):
    ctx, due, other = two(open_home)
    plan = replace(desk.manager(ctx).plans()[other[1]], exit_session=date(2024, 11, 20))
    ctx.ledger.append(PLANS, other[1], "plan", plan_json(plan), key="longer")
    ctx.broker.inner.cancel(guards_of(ctx, other[1])[0].request.client_order_id)
    ctx.broker.quotes = failing(ExternalError("no answer"), 50)(ctx.broker.quotes)
    document = closing(ctx)
    assert document.data["due"] == [{"symbol": due[0], "reason": "time"}]
    assert held(ctx, due[0]) == 0


def test_without_bars_a_time_exit_goes_and_it_is_said_that_signal_exits_are_not_known(open_home):
    ctx, symbol, _ = entered(open_home)

    def nothing():
        raise MissingDataError("the bar store is empty")

    document = closing(replace(ctx, panel=nothing))
    assert held(ctx, symbol) == 0
    assert document.exit_code is ExitCode.PARTIAL
    assert "signal exits are not known without bars" in document.summary[1]


def test_a_rung_whose_answer_was_lost_is_found_by_its_name(open_home):
    ctx, symbol, _signal = entered(open_home)
    ctx.broker.plan("submit", "lost")
    assert closing(ctx).exit_code is ExitCode.OK
    assert len(ctx.broker.asked("submit")) == 1
    assert held(ctx, symbol) == 0


def test_a_rung_that_is_not_final_at_the_deadline_stops_the_ladder_until_its_end_is_known(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.plan("submit", "hidden 5000")
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert "may still act" in document.data["why"][0]
    assert len(closes_of(ctx, signal)) == 1
    ctx.broker._hidden.clear()
    assert closing(ctx, minute=57).exit_code is ExitCode.OK
    assert len(closes_of(ctx, signal)) == 1, "its end was a sale"
    assert held(ctx, symbol) == 0


def test_without_a_quote_the_market_order_goes_at_once(open_home):
    ctx, symbol, signal = entered(open_home)
    ctx.broker.quiet.add(symbol)
    assert closing(ctx).exit_code is ExitCode.OK
    assert [o.request.order_type.value for o in closes_of(ctx, signal)] == ["market"]
    assert held(ctx, symbol) == 0


def test_with_little_time_left_the_market_order_goes_at_once(open_home):
    ctx, _, signal = entered(open_home)
    holding.move(ctx, DAY, 15, 57, 51)
    assert run_manage_exits(ctx).exit_code is ExitCode.OK
    assert [o.request.order_type.value for o in closes_of(ctx, signal)] == ["market"]


def test_too_late_to_sell_the_protection_stays_where_it_is(open_home):
    ctx, _symbol, signal = entered(open_home)
    document = closing(ctx, minute=59)
    assert document.exit_code is ExitCode.PARTIAL
    assert "outside_hours" in document.data["why"][0]
    assert ctx.broker.asked("cancel") == []
    assert guards_of(ctx, signal)[0].status is OrderStatus.ACCEPTED


def test_an_overdue_time_exit_goes_in_whatever_slot_comes_first(open_home):
    ctx, symbol, _ = entered(open_home)
    document = closing(ctx, NEXT, 9, 35)
    assert document.data["due"] == [{"symbol": symbol, "reason": "time"}]
    assert document.exit_code is ExitCode.OK
    assert held(ctx, symbol) == 0


def leaving(ctx, names):
    """The first stock whose exit rule holds at the close of the day it is bought."""
    holding.move(ctx, NEXT, 9, 35)
    past = desk.last_panel(ctx)
    return next(n for n in names if exit_signal(ctx, past, plan_of(n)))


def plan_of(symbol):
    return TradePlan(
        signal_id="probe", strategy="ibs_rsi", symbol=symbol, side=Side.LONG, signal_date=date(2024, 11, 11),
        entry_session=DAY, exit_session=NEXT, stop_distance=1.0, stop_level=None, target_r=None, atr=1.0,
        reference_close=1.0, params={},
    )  # fmt: skip


@pytest.mark.parametrize(("hour", "minute"), [(9, 35), (15, 55)])
def test_a_signal_exit_of_yesterday_s_close_goes_at_the_open_and_where_it_was_missed_at_the_close(
    open_home, hour, minute
):
    ctx, symbol, _ = entered(open_home, hold=5, choose=leaving)
    assert closing(ctx).data["due"] == []
    document = closing(ctx, NEXT, hour, minute)
    assert document.data["due"] == [{"symbol": symbol, "reason": "signal"}]
    assert held(ctx, symbol) == 0


def test_fewer_shares_at_the_broker_than_on_our_books_are_not_sold(open_home):
    ctx, symbol, signal = entered(open_home)
    guard = guards_of(ctx, signal)[0].request.client_order_id
    ctx.broker.inner.cancel(guard)
    by_hand = exits.rung(protect.position_of(desk.manager(ctx), signal), desk.manager(ctx).plans()[signal], None, DAY,
                         77, 2, "by hand")  # fmt: skip
    ctx.broker.inner.submit(by_hand)
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert "the broker holds 0 of our 5 shares" in document.data["why"][0]
    assert closes_of(ctx, signal) == []
    assert held(ctx, symbol) == 0


@pytest.mark.parametrize("at", range(1, 9))
def test_killed_at_any_call_of_the_broker_and_run_again_the_position_is_sold_once(base, tmp_path, at):
    folder = shutil.copytree(base, tmp_path / "home")
    ctx, symbol, _signal = entered(folder)
    ctx.broker.plan("submit", "part 2")
    ctx.broker.die_at = ctx.broker._calls + at
    holding.move(ctx, DAY, 15, 55)
    died = False
    try:
        run_manage_exits(ctx)
    except Killed:
        died = True
    told, mine = ctx.broker._told, ctx.broker._mine
    again = wayward(wiring.build(folder, clock=holding.clock(DAY, 15, 56)))
    again.broker._told, again.broker._mine = told, mine
    document = run_manage_exits(again)
    assert died or at > 6
    assert document.exit_code is ExitCode.OK, document.summary
    assert held(again, symbol) == 0
    assert desk.manager(again).book().positions == ()
    assert again.broker.faults == ctx.broker.faults == []


# -- protection ------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_is_due_and_sends_nothing(open_home):
    ctx, symbol, _ = entered(open_home)
    holding.move(ctx, DAY, 15, 55)
    document = run_manage_exits(ctx, dry_run=True)
    assert symbol in document.summary[0]
    assert {method for method, _ in ctx.broker.log} <= {"lookup"}


def test_protection_the_broker_canceled_is_placed_again(open_home):
    ctx, _, signal = entered(open_home, hold=5)
    before = guards_of(ctx, signal)[0].request
    ctx.broker.inner.cancel(before.client_order_id)
    document = run_manage_exits(ctx)
    (guard,) = guards_of(ctx, signal)
    assert guard.request.client_order_id != before.client_order_id
    assert guard.request.stop_price == before.stop_price
    assert len(document.data["protection"]) == 1
    assert run_manage_exits(ctx).data["protection"] == [], "once is enough"


def test_a_late_fill_puts_the_protection_to_all_shares_held_in_one_step(open_home):
    ctx = wayward(wiring.build(open_home, clock=holding.clock(DAY, 10, 0)))
    symbol = holding.affordable(ctx, DAY)[0]
    holding.move(ctx, DAY, 10, 0)
    ctx.broker.plan("submit", "part 3")
    signal = holding.enter(ctx, symbol, 5)
    assert run_manage_exits(ctx).data["protection"][0]["quantity"] == 3
    late_fill(ctx, symbol, signal, 2)
    document = run_manage_exits(ctx)
    (guard,) = guards_of(ctx, signal)
    assert guard.request.quantity == 5
    assert len(ctx.broker.asked("replace")) == 1
    assert document.exit_code is ExitCode.OK
    first = next(o for o in desk.manager(ctx).orders().values() if o.request.client_order_id.endswith("-stop-1"))
    assert first.status is OrderStatus.REPLACED


def late_fill(ctx, symbol, signal, count):
    """The broker fills more of an entry that counted as final."""
    name = desk.manager(ctx).book().openings[signal][0].request.client_order_id
    request = desk.manager(ctx).orders()[name].request
    inner, broker = replace(request, client_order_id=f"{name}~late", quantity=count), ctx.broker.inner
    ctx.broker._mine.add(inner.client_order_id)
    with broker._writing():
        broker._place(inner, Outcome(status=OrderStatus.FILLED, parts=((count, request.limit_price),)))
    told = ctx.broker._told[name]
    more = Execution(execution_id=f"{name}:late", quantity=count, price=request.limit_price, at=told.at)
    filled = told.filled + count
    paid = told.average_price * told.filled + request.limit_price * count
    answer = replace(told, filled=filled, average_price=paid / filled, executions=(*told.executions, more))
    ctx.broker._told[name] = answer
    desk.manager(ctx).adopt(answer)


def rising(base, tmp_path, more, **how):
    """A position at the morning after a rise: context, symbol and signal."""
    for number in range(10):
        folder = shutil.copytree(base, tmp_path / f"home{number}")
        with (folder / "config" / "kobe.toml").open("a", encoding="utf-8") as file:
            file.write(more)
        ctx = wiring.build(folder, clock=holding.clock(DAY, 10, 0))
        names = holding.affordable(ctx, DAY)
        symbol = names[number]
        holding.move(ctx, DAY, 10, 0)
        ctx = wayward(ctx)
        signal = holding.enter(ctx, symbol, hold=5, **how)
        run_manage_exits(ctx)
        before = guards_of(ctx, signal)[0].request
        ctx.broker.log.clear()
        holding.move(ctx, NEXT, 9, 35)
        oms = desk.manager(ctx)
        past, position = desk.last_panel(ctx), protect.position_of(oms, signal)
        if position is None or exit_signal(ctx, past, oms.plans()[signal]):
            continue
        wanted = protect.levels(ctx, oms, past, position, oms.plans()[signal])
        quote = ctx.quotes.quotes([symbol])[symbol]
        if wanted.stop > before.stop_price and quote.last > wanted.stop:
            return ctx, signal, before, wanted
    pytest.fail("no stock of the test rises")


def test_a_trailing_stop_is_raised_the_morning_after_by_one_order_in_the_place_of_the_other(base, tmp_path):
    ctx, signal, before, wanted = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n")
    document = run_manage_exits(ctx)
    (guard,) = guards_of(ctx, signal)
    assert guard.request.stop_price == wanted.stop > before.stop_price
    assert guard.request.client_order_id.endswith("-stop-2")
    assert [ctx.broker.asked(m) for m in ("cancel", "submit")] == [[], []]
    assert desk.manager(ctx).orders()[before.client_order_id].status is OrderStatus.REPLACED
    assert document.exit_code is ExitCode.OK
    assert run_manage_exits(ctx).data["protection"] == []


def test_the_session_the_stop_is_placed_in_moves_nothing_yet(base, tmp_path):
    ctx, signal, before, _ = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n")
    holding.move(ctx, DAY, 15, 40)
    run_manage_exits(ctx)
    assert guards_of(ctx, signal)[0].request.client_order_id == before.client_order_id


def test_a_stop_and_target_is_canceled_final_and_then_placed_anew(base, tmp_path):
    ctx, signal, before, wanted = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n", target_r=3.0)
    run_manage_exits(ctx)
    (guard,) = guards_of(ctx, signal)
    assert guard.request.order_type.value == "gtc_oco"
    assert (guard.request.stop_price, guard.request.limit_price) == (wanted.stop, before.limit_price)
    assert [m for m, _ in ctx.broker.log if m != "lookup"] == ["cancel", "submit"]
    assert ctx.broker.faults == []


@pytest.mark.parametrize("how", ["reject", "silent"])
def test_an_amendment_that_fails_leaves_the_old_stop_and_says_so(base, tmp_path, how):
    ctx, _signal, before, wanted = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n")
    ctx.broker.plan("replace", how)
    document = run_manage_exits(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert f"the stop at {before.stop_price} for 5 shares stays" in document.summary[1]
    assert ctx.broker.inner.lookup(before.client_order_id).status is OrderStatus.ACCEPTED
    again = run_manage_exits(ctx)
    assert again.exit_code is ExitCode.OK, "the next run raises it"
    resting = [o for o in ctx.broker.inner.orders() if not o.status.is_final]
    assert len(resting) == 1
    assert desk.manager(ctx).orders()[resting[0].client_order_id].request.stop_price == wanted.stop


def test_where_a_new_stop_and_target_is_refused_the_old_prices_are_put_back(base, tmp_path):
    ctx, signal, before, _ = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n", target_r=3.0)
    ctx.broker.plan("submit", "reject")
    document = run_manage_exits(ctx)
    (guard,) = guards_of(ctx, signal)
    assert guard.request.stop_price == before.stop_price
    assert "put back" in document.summary[1]


def falling(ctx, names):
    """The first stock that is well below its price of ten o'clock at noon."""
    at = {}
    for hour in (10, 12):
        holding.move(ctx, DAY, hour, 0)
        at[hour] = ctx.quotes.quotes(names)
    return next(n for n in names if at[12][n].ask < at[10][n].bid * D("0.997"))


def test_a_market_beyond_a_stop_that_rests_nowhere_is_sold_at_once(open_home):
    ctx, symbol, signal = entered(open_home, hold=5, choose=falling, stop_atr=0.1)
    ctx.broker.inner.cancel(guards_of(ctx, signal)[0].request.client_order_id)
    holding.move(ctx, DAY, 12, 0)
    document = run_manage_exits(ctx)
    assert document.data["due"] == [{"symbol": symbol, "reason": "stop"}]
    assert held(ctx, symbol) == 0


def with_shares(ctx, symbol, count):
    """Let the broker say that it holds so many shares more of a symbol."""
    real = ctx.broker.inner.account

    def account():
        seen = real()
        return replace(seen, positions={**seen.positions, symbol: seen.positions.get(symbol, 0) + count})

    ctx.broker.account = account


def test_a_price_beyond_the_stop_means_nothing_while_the_broker_holds_other_shares_than_ours(open_home):
    ctx, symbol, signal = entered(open_home, hold=5, choose=falling, stop_atr=0.1)
    ctx.broker.inner.cancel(guards_of(ctx, signal)[0].request.client_order_id)
    with_shares(ctx, symbol, 5)
    holding.move(ctx, DAY, 12, 0)
    document = run_manage_exits(ctx)
    assert document.data["due"] == []
    assert ctx.broker.asked("submit") == [], "a stop there would sell at once"
    assert document.exit_code is ExitCode.PARTIAL
    assert "kobe jobs run holdings --again" in document.summary[1]


def test_shares_the_broker_holds_beyond_ours_after_a_close_are_told(open_home):
    ctx, symbol, _ = entered(open_home)
    with_shares(ctx, symbol, 5)
    document = closing(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert f"{symbol}: sim holds 5 shares, our books 0; next: kobe reconcile" in document.summary[1]


def test_a_guard_whose_position_is_gone_is_taken_away_even_when_nothing_is_open(open_home):
    ctx, symbol, signal = entered(open_home)
    name = guards_of(ctx, signal)[0].request.client_order_id
    gone = CorporateChange(symbol=symbol, kind="split", effective=NEXT, ratio=D("0.1"))
    payload = corporate.change_json(gone, NEXT, ctx.calendar.opens_at(NEXT), D(0))
    ctx.ledger.append(corporate.STREAM, symbol, "split", payload, key="test")
    holding.move(ctx, NEXT, 12, 0)
    document = run_manage_exits(ctx)
    assert document.summary[0] == "nothing is open"
    assert document.data["notes"] == [f"{name} guarded nothing: canceled, 0 filled"]
    assert ctx.broker.inner.lookup(name).status is OrderStatus.CANCELED


def test_a_guard_that_may_have_been_sent_in_the_place_of_another_is_brought_to_its_end_before_the_sale(base, tmp_path):
    ctx, _, before, _ = rising(base, tmp_path, "[exits]\ntrail_atr = 1.0\n")
    ctx.broker.plan("replace", "silent")
    run_manage_exits(ctx)
    ctx.broker.inner.cancel(before.client_order_id)
    holding.move(ctx, NEXT, 12, 0)
    run_flatten(ctx, FlattenRequest(reason="test"))
    told = [o for o in desk.manager(ctx).orders().values() if o.request.client_order_id.endswith("-stop-2")]
    assert told[0].status.is_final, "it could have arrived beside the sale"
    assert desk.manager(ctx).book().positions == ()
    assert ctx.broker.faults == []
