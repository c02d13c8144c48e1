"""The order state machine under any order of events, repeated and contradictory ones included."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.clock import to_ns
from kobe.core.errors import ExternalError, IntegrityError
from kobe.core.ports import BrokerOrder, Event, Execution
from kobe.core.types import Effect, Order, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution import answers, order
from kobe.execution.reconcile import Theirs, compare

NAME = "kobe-ibs_rsi-ABC-2024-05-31-long-open-1"
REQUEST = OrderRequest(
    client_order_id=NAME, signal_id="s", strategy="ibs_rsi", symbol="ABC", side=Side.LONG, effect=Effect.OPEN,
    order_type=OrderType.IOC_LIMIT, quantity=7, limit_price=Decimal("10.04"), stop_price=None,
    session=date(2024, 6, 3), reason="test",
)  # fmt: skip
AT = datetime(2024, 6, 3, 14, tzinfo=UTC)
WORDS = st.sampled_from([s for s in OrderStatus if s is not OrderStatus.INTENT])


def event(kind: str, payload: dict, n: int) -> Event:
    return Event(sequence=n, stream=order.STREAM, entity=NAME, kind=kind, at_ns=n, payload=payload)


def fill(number: int, quantity: int) -> dict:
    return {
        "fill_id": f"f{number}", "client_order_id": NAME, "symbol": "ABC", "side": "long", "effect": "open",
        "quantity": quantity, "price": "10.00", "fee_usd": "0", "at": AT.isoformat(),
    }  # fmt: skip


def start() -> Order:
    return order.apply(None, event("intent", order.request_json(REQUEST), 1))


STEPS = st.lists(
    st.one_of(
        WORDS.map(lambda s: ("status", {"status": s.word, "detail": ""})),
        st.tuples(st.integers(1, 3), st.integers(1, 2)).map(lambda t: ("fill", fill(*t))),
    ),
    max_size=12,
)


@given(STEPS)
def test_a_final_status_stays_shares_never_go_back_and_never_exceed_what_was_asked(steps):
    state, seen = start(), [start()]
    for n, (kind, payload) in enumerate(steps, start=2):
        state = order.apply(state, event(kind, payload, n))
        seen.append(state)
    for before, after in pairwise(seen):
        assert before.filled <= after.filled <= REQUEST.quantity
        assert after.request == REQUEST
        if before.status.is_final:
            assert after.status is before.status
    assert state.changes == len(steps) + 1


@given(STEPS, st.randoms(use_true_random=False))
def test_the_shares_do_not_depend_on_the_order_in_which_events_arrive(steps, dice):
    def end(told):
        state = start()
        for n, (kind, payload) in enumerate(told, start=2):
            state = order.apply(state, event(kind, payload, n))
        return {f.fill_id for f in state.fills}, state.status.is_final

    mixed = dice.sample(steps, len(steps))
    assert end(steps) == end(mixed)


@given(st.lists(st.tuples(st.integers(1, 3), st.decimals("9.50", "10.50", places=2)), min_size=1, max_size=4))
def test_a_broker_that_tells_sums_gives_the_same_shares_and_the_same_money_as_one_that_tells_executions(parts):
    quantity = sum(n for n, _ in parts)
    wanted = replace(REQUEST, quantity=quantity)
    by_sum = by_parts = Order(request=wanted, status=OrderStatus.SENT)
    paid, told = Decimal(0), list[Execution]()
    for k, (filled, (n, price)) in enumerate(zip(accumulate(n for n, _ in parts), parts, strict=True)):
        paid += n * price
        told.append(Execution(execution_id=f"e{k}", quantity=n, price=price, at=AT))
        answer = BrokerOrder(
            client_order_id=NAME, symbol="ABC", quantity=quantity, is_buy=True, status=OrderStatus.ACCEPTED,
            filled=filled, average_price=paid / filled, at=AT,
        )  # fmt: skip
        by_sum = replace(by_sum, fills=(*by_sum.fills, *answers.fresh_fills(by_sum, answer)))
        split = replace(answer, executions=tuple(told))
        by_parts = replace(by_parts, fills=(*by_parts.fills, *answers.fresh_fills(by_parts, split)))
        assert answers.fresh_fills(by_sum, answer) == () == answers.fresh_fills(by_parts, split)
    assert by_sum.filled == by_parts.filled == quantity
    for known in (by_sum, by_parts):
        assert abs(sum(f.price * f.quantity for f in known.fills) - paid) < Decimal("0.000001") * quantity
    assert answers.status_after(by_sum, answer) is OrderStatus.FILLED


ANSWER = BrokerOrder(
    client_order_id=NAME, symbol="ABC", quantity=7, is_buy=True, status=OrderStatus.ACCEPTED, filled=3,
    average_price=Decimal("10.01"), at=AT,
)  # fmt: skip
KNOWN = Order(request=REQUEST, status=OrderStatus.SENT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": "XYZ"}, {"quantity": 8}, {"is_buy": False}, {"client_order_id": "other"}, {"filled": 8},
        {"average_price": None}, {"average_price": Decimal(0)}, {"average_price": Decimal("NaN")},
        {"executions": (Execution(execution_id="e", quantity=2, price=Decimal(10), at=AT),)},
    ],
)  # fmt: skip
def test_an_answer_about_something_else_or_with_impossible_shares_is_not_believed(wrong):
    with pytest.raises(ExternalError, match="contradicts"):
        answers.fresh_fills(KNOWN, replace(ANSWER, **wrong))


def test_shares_that_were_told_are_never_taken_back():
    three = replace(KNOWN, fills=answers.fresh_fills(KNOWN, ANSWER))
    with pytest.raises(ExternalError, match="2 filled after 3"):
        answers.fresh_fills(three, replace(ANSWER, filled=2))


def test_an_average_that_would_make_later_shares_cost_nothing_is_not_believed():
    three = replace(KNOWN, fills=answers.fresh_fills(KNOWN, ANSWER))
    with pytest.raises(ExternalError, match="do not allow"):
        answers.fresh_fills(three, replace(ANSWER, filled=4, average_price=Decimal("7.50")))


def test_an_event_without_an_intent_stops_everything():
    with pytest.raises(IntegrityError):
        order.apply(None, event("status", {"status": "filled"}, 1))


def test_a_late_fill_counts_although_the_order_had_ended():
    ended = order.apply(start(), event("status", {"status": "canceled"}, 2))
    late = order.apply(ended, event("fill", fill(1, 2), 3))
    assert (late.status, late.filled) == (OrderStatus.CANCELED, 2)


def test_old_news_does_not_undo_what_is_known_but_lost_contact_does():
    partial = order.apply(start(), event("status", {"status": "partial"}, 2))
    assert order.apply(partial, event("status", {"status": "accepted"}, 3)).status is OrderStatus.PARTIAL
    unknown = order.apply(partial, event("status", {"status": "unknown"}, 3))
    assert unknown.status is OrderStatus.UNKNOWN
    assert order.apply(unknown, event("status", {"status": "accepted"}, 4)).status is OrderStatus.ACCEPTED


class Told:
    """A ledger of nothing but these events."""

    def __init__(self, events: list[Event]) -> None:
        self.all = events

    def events(self, stream: str, *, entity: str | None = None, after: int = 0) -> list[Event]:
        return [e for e in self.all if e.stream == stream and e.sequence > after and entity in (None, e.entity)]


DAYS = st.dates(date(2024, 6, 1), date(2024, 6, 20))
LIVES = st.lists(st.tuples(DAYS, DAYS, st.none() | WORDS, st.none() | WORDS), min_size=1, max_size=8)


@given(LIVES, DAYS, st.integers(1, 40))
def test_a_comparison_with_the_broker_needs_no_more_than_the_recent_orders(lives, since, pause):
    """Whatever the sessions, the clocks and what either side says of an order; read in two goes like one."""
    events, theirs = list[Event](), dict[str, BrokerOrder]()
    for number, (session, at, ours, broker) in enumerate(lives):
        name = f"{NAME}{number}"
        asked = order.request_json(replace(REQUEST, client_order_id=name, session=session))
        said = [("intent", asked)] + ([] if ours is None else [("status", {"status": ours.word, "detail": ""})])
        for kind, payload in said:
            then = replace(event(kind, payload, len(events) + 1), entity=name)
            events.append(replace(then, at_ns=to_ns(datetime(at.year, at.month, at.day, 14, tzinfo=UTC))))
        if broker is not None:
            theirs[name] = replace(ANSWER, client_order_id=name, status=broker, filled=0, average_price=None)
    fold = order.OrderFold(Told(events[:pause]))
    fold.recent(since)
    fold.ledger = Told(events)
    word = Theirs(orders=theirs, shares={}, since=since)
    recent = fold.recent(since, theirs)
    assert compare(recent, (), word) == compare(fold.orders(), (), word)
    assert recent.items() >= {n: o for n, o in fold.orders().items() if o.request.session >= since}.items()
