"""The order manager, scenario by scenario: a real client over HTTP, the ledger on SQLite and on PostgreSQL alike."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from kit.orders import order as any_order

from kobe.core.clock import SteppingClock
from kobe.core.errors import ExternalError
from kobe.core.types import Effect, OrderStatus, OrderType, Outcome, Verdict
from kobe.execution.brokers.alpaca import make
from kobe.execution.brokers.kit import BrokerKit, Keys
from kobe.execution.brokers.terms import SimTerms
from kobe.execution.oms import Oms
from kobe.execution.order import OrderFold
from kobe.infra.kill_switch import FileKillSwitch
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.audit_verify import verify
from kobe.infra.records.ledger import SqlLedger
from kobe.risk.gates import GATES
from kobe.risk.review import clear

D = Decimal
NOW = datetime(2026, 11, 20, 14, 35, tzinfo=UTC)
TODAY = date(2026, 11, 20)
PASSED = tuple(Verdict(gate=g, outcome=Outcome.PASS, code="ok", observed="", limit="") for g in GATES)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path / "kobe.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def server():
    with AlpacaServer(hours="open") as running:
        running.set_clock(NOW)
        running.set_quote("ABC", "10.02", "10.03")
        yield running


@pytest.fixture
def desk(address, server, tmp_path):
    """Makes an order manager over the same records: another one is a process started later."""
    clock = SteppingClock(NOW)
    switch = FileKillSwitch(tmp_path / "KILL_SWITCH")
    ledgers = []

    def started() -> Oms:
        ledger = SqlLedger(address, clock)
        ledgers.append(ledger)
        parts = BrokerKit(
            clock=clock, wait=lambda s: clock.advance(seconds=s), mode="paper", books=None, market=None,
            terms=SimTerms(), keys=Keys(key_id=KEY, secret=SECRET), base_url=server.url, data_url=server.url,
            feed="iex", timeouts=(1.0, 0.4), take_token=lambda: None,
            blocks=lambda r: switch.blocks(closing=r.effect is Effect.CLOSE),
        )  # fmt: skip
        return Oms(
            ledger=ledger, fold=OrderFold(ledger), broker=make(parts), audit=AuditChain(tmp_path / "audit", clock, "t"),
            kill_switch=switch, clock=clock, wait=parts.wait,
        )  # fmt: skip

    yield started
    for ledger in ledgers:
        ledger.close()
    assert verify(tmp_path / "audit").ok


def opening(number=1, quantity=7, limit="10.04"):
    name = f"kobe-ibs_rsi-ABC-2026-11-19-long-open-{number}"
    return cleared(any_order(quantity, limit, client_order_id=name, session=TODAY))


def guard(number=1, quantity=7, stop="9.00"):
    name = f"kobe-ibs_rsi-ABC-2026-11-19-long-stop-{number}"
    return cleared(any_order(quantity, None, Effect.CLOSE, client_order_id=name, session=TODAY,
                             order_type=OrderType.GTC_STOP, stop_price=D(stop)))  # fmt: skip


def cleared(request):
    return clear(request, PASSED)


def posts(server):
    return [r for r in server.requests() if r["method"] == "POST"]


def equal_books(oms, server):
    ours = {name: o.filled for name, o in oms.orders().items() if o.status is not OrderStatus.ABANDONED}
    theirs = {o["client_order_id"]: int(o["filled_qty"]) for o in server.orders()}
    return ours == theirs


def test_1_an_order_that_fills_is_sent_once_and_its_shares_and_price_are_kept(desk, server):
    oms = desk()
    done = oms.submit(opening())
    assert (done.status, done.filled, done.fills[0].price) == (OrderStatus.FILLED, 7, D("10.03"))
    assert desk().orders() == oms.orders()
    assert desk().submit(opening()) == done
    assert len(posts(server)) == 1
    assert equal_books(oms, server)


def test_2_a_refused_order_is_final_and_holds_the_broker_s_words(desk, server):
    server.set_asset("ABC", tradable=False)
    done = desk().submit(opening())
    assert done.status is OrderStatus.REJECTED
    assert done.detail
    assert desk().submit(opening()).status is OrderStatus.REJECTED
    assert len(posts(server)) == 1


def test_3_a_part_that_filled_counts_although_the_rest_was_canceled(desk, server):
    server.set_quote("ABC", "10.02", "10.03", ask_size=3)
    oms = desk()
    done = oms.submit(opening())
    assert (done.status, done.filled) == (OrderStatus.CANCELED, 3)
    assert oms.book().positions[0].quantity == 3
    assert equal_books(oms, server)


def test_4_a_limit_that_is_not_reached_ends_without_a_share(desk, server):
    server.set_quote("ABC", "10.10", "10.20")
    assert (desk().submit(opening()).status, len(posts(server))) == (OrderStatus.CANCELED, 1)


def test_5_an_order_that_takes_its_time_is_asked_after_until_it_ends(desk, server):
    server.configure(polls=4)
    assert desk().submit(opening()).status is OrderStatus.FILLED


def test_6_an_order_without_an_end_by_the_deadline_is_unknown_and_found_out_later(desk, server):
    server.configure(polls=10_000)
    oms = desk()
    assert oms.submit(opening()).status is OrderStatus.UNKNOWN
    server.configure(polls=0)
    server.settle()
    changed = desk().refresh(TODAY)
    assert [(o.status, o.filled) for o in changed] == [(OrderStatus.FILLED, 7)]
    assert equal_books(oms, server)


@pytest.mark.parametrize("fault", ["lost_after", "504", "hang", "502_html", "truncated_json", "unknown_status"])
def test_7_a_lost_answer_is_asked_for_and_never_sent_again(desk, server, fault):
    server.fault("POST", "/v2/orders", fault, times=1, done=True, seconds=1.0)
    oms = desk()
    done = oms.submit(opening())
    assert (done.status, done.filled) == (OrderStatus.FILLED, 7)
    assert len(posts(server)) == 1
    assert equal_books(oms, server)


@pytest.mark.parametrize("fault", ["lost_before", "429", "hang_before"])
def test_8_an_order_that_never_arrived_stays_unknown_until_it_is_sent_again_under_its_name(desk, server, fault):
    server.fault("POST", "/v2/orders", fault, times=1, done=False, seconds=1.0)
    with pytest.raises(ExternalError):
        desk().submit(opening())
    assert [o.status for o in desk().orders().values()] == [OrderStatus.UNKNOWN]
    again = desk()
    assert again.submit(opening()).status is OrderStatus.FILLED
    assert len(server.orders()) == 1
    assert equal_books(again, server)


def test_9_an_order_the_broker_never_saw_is_abandoned_when_its_session_is_over(desk, server):
    server.fault("POST", "/v2/orders", "lost_before", times=1)
    with pytest.raises(ExternalError):
        desk().submit(opening())
    assert desk().refresh(TODAY) == []
    changed = desk().refresh(TODAY + timedelta(days=3))
    assert [o.status for o in changed] == [OrderStatus.ABANDONED]


def test_10_a_name_the_broker_has_is_looked_up_and_not_taken_for_a_refusal(desk, server):
    first = desk()
    first.submit(opening())
    server.fault("POST", "/v2/orders", "duplicate_422", times=1)
    second = opening(2)
    assert desk().submit(second).status is OrderStatus.FILLED


@pytest.mark.parametrize("fault", ["other_symbol", "negative_qty", "overfill", "garbage_number", "nan", "array_instead",
                                   "wrong_client_order_id", "missing_fields", "empty_body", "big_body"])  # fmt: skip
def test_11_an_answer_that_cannot_be_true_leaves_the_order_unknown_and_the_truth_is_found_out(desk, server, fault):
    server.fault("POST", "/v2/orders", fault, times=1)
    server.fault("GET", "/v2/orders", fault, times=50)
    oms = desk()
    with pytest.raises(ExternalError):
        oms.submit(opening())
    assert [o.status for o in oms.orders().values()] == [OrderStatus.UNKNOWN]
    server.clear_faults()
    assert [o.filled for o in desk().refresh(TODAY)] == [7]
    assert len(server.orders()) == 1
    assert equal_books(desk(), server)


def test_12_shares_are_never_taken_back(desk, server):
    server.configure(polls=10_000)
    server.script(3, 4)
    oms = desk()
    oms.submit(opening())
    server.fill(next(iter(oms.orders())), 3, "10.03")
    assert [o.filled for o in oms.refresh(TODAY)] == [3]
    server.fault("GET", "/v2/orders", "shrinking_fill", times=1)
    with pytest.raises(ExternalError):
        oms.refresh(TODAY)
    assert [o.filled for o in oms.orders().values()] == [3]


def test_13_a_fill_that_comes_after_the_end_is_taken_up(desk, server):
    server.set_quote("ABC", "10.10", "10.20")
    oms = desk()
    name = oms.submit(opening()).request.client_order_id
    server.fill(name, 2, "10.04")
    late = oms.adopt(oms.broker.lookup(name))
    assert (late.status, late.filled) == (OrderStatus.CANCELED, 2)
    assert oms.adopt(oms.broker.lookup(name)) == late


def test_14_a_guard_rests_is_replaced_without_a_gap_and_canceled_for_good(desk, server):
    oms = desk()
    oms.submit(opening())
    assert oms.submit(guard(1)).status is OrderStatus.ACCEPTED
    higher = oms.amend(guard(1).request.client_order_id, guard(2, stop="9.50"))
    assert higher.status is OrderStatus.ACCEPTED
    old = oms.orders()[guard(1).request.client_order_id]
    assert old.status is OrderStatus.REPLACED
    assert oms.cancel(higher.request.client_order_id).status is OrderStatus.CANCELED
    assert equal_books(oms, server)


@pytest.mark.parametrize("done", [True, False])
def test_15_a_replacement_whose_answer_is_lost_leaves_exactly_one_guard(desk, server, done):
    oms = desk()
    oms.submit(opening())
    oms.submit(guard(1))
    server.fault("PATCH", "/v2/orders", "lost_after" if done else "lost_before", times=1, done=done)
    try:
        oms.amend(guard(1).request.client_order_id, guard(2, stop="9.50"))
    except ExternalError:
        desk().amend(guard(1).request.client_order_id, guard(2, stop="9.50"))
    again = desk()
    again.refresh(TODAY)
    live = [o["client_order_id"] for o in server.orders() if o["status"] in ("new", "accepted")]
    assert live == [guard(2).request.client_order_id]
    resting = [n for n, o in again.orders().items() if not o.status.is_final]
    assert resting == live


def test_16_a_cancel_that_comes_too_late_tells_the_fill(desk, server):
    oms = desk()
    oms.submit(opening())
    oms.submit(guard(1))
    server.set_quote("ABC", "8.90", "8.95")
    done = oms.cancel(guard(1).request.client_order_id)
    assert (done.status, done.filled) == (OrderStatus.FILLED, 7)
    assert oms.book().positions == ()


def test_17_the_kill_switch_made_after_the_intent_wins_and_nothing_is_posted(desk, server):
    oms = desk()
    trips = replace(oms, checkpoint=lambda name: oms.kill_switch.engage("late") if name == "after_sent" else None)
    assert trips.submit(opening()).status is OrderStatus.ABANDONED
    assert posts(server) == []
    oms.kill_switch.release()
    assert desk().submit(opening()).status is OrderStatus.ABANDONED, "what it stopped is not sent by itself"
    assert posts(server) == []


def test_18_under_the_kill_switch_only_what_closes_may_be_let_through(desk, server):
    oms = desk()
    oms.submit(opening())
    oms.kill_switch.engage("drill")
    with oms.kill_switch.letting_close():
        assert oms.submit(guard(1)).status is OrderStatus.ACCEPTED
        assert oms.submit(opening(2)).status is OrderStatus.ABANDONED
    assert len(posts(server)) == 2


def test_19_one_order_that_cannot_be_told_does_not_keep_the_others_from_being_asked(desk, server):
    server.configure(polls=10_000)
    oms = desk()
    oms.submit(opening(1))
    oms.submit(opening(2))
    server.configure(polls=0)
    server.settle()
    server.fault("GET", "/v2/orders", "500", times=1)
    with pytest.raises(ExternalError):
        oms.refresh(TODAY)
    assert sorted(o.status.word for o in oms.orders().values()) == ["filled", "unknown"]
