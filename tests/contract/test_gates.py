"""Every gate of the table: both sides of its boundary, unknown facts refuse, exits are not held back by budgets."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from kobe.core.ports import Quote
from kobe.core.types import ClearedOrder, Effect, Mode, OrderRequest, OrderType, Outcome, Side
from kobe.risk import mode as mode_rules
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import GATES
from kobe.risk.review import clear, refusals, review

NOW = datetime(2024, 6, 3, 15, 0, tzinfo=UTC)
OPEN, CLOSE = NOW.replace(hour=13, minute=30), NOW.replace(hour=20)
D = Decimal


def quote(bid="10.00", ask="10.02", size=100, age=0.0) -> Quote:
    at = NOW - timedelta(seconds=age)
    return Quote(symbol="ABC", bid=D(bid), ask=D(ask), bid_size=size, ask_size=size, at=at, feed="sim")


FACTS = GateFacts(
    now=NOW, opens_at=OPEN, closes_at=CLOSE, kill_reason=None, mode=Mode.NORMAL, quote=quote(), tradable=True,
    clear_of_earnings=True, raw_close=D(10), adv_usd=5e6, day_used_usd=D(0), open_positions=0, symbol_held=False,
    already_ordered=False, cash_usd=D(1000), account_blocked=False,
)  # fmt: skip
LIMITS = Limits()


def order(quantity=7, limit="10.03", effect=Effect.OPEN) -> OrderRequest:
    return OrderRequest(
        client_order_id="kobe-x-ABC-2024-05-31-long-open-1", signal_id="s", strategy="ibs_rsi", symbol="ABC",
        side=Side.LONG, effect=effect, order_type=OrderType.IOC_LIMIT, quantity=quantity, limit_price=D(limit),
        stop_price=None, session=date(2024, 6, 3), reason="test",
    )  # fmt: skip


def code(gate: str, request: OrderRequest | None = None, **changed) -> str:
    return GATES[gate](request or order(), replace(FACTS, **changed), LIMITS).code


BOUNDARIES = [
    ("kill_switch", {"kill_reason": None}, {"kill_reason": "operator"}, "kill_switch"),
    ("mode", {"mode": Mode.REDUCED}, {"mode": Mode.REDUCE_ONLY}, "mode"),
    ("hours", {"now": OPEN + timedelta(minutes=5)}, {"now": OPEN + timedelta(seconds=299)}, "outside_hours"),
    ("hours", {"now": CLOSE - timedelta(minutes=2)}, {"now": CLOSE - timedelta(seconds=119)}, "outside_hours"),
    ("tradable", {"tradable": True}, {"tradable": False}, "not_tradable"),
    ("earnings", {"clear_of_earnings": True}, {"clear_of_earnings": False}, "earnings_near"),
    ("price", {"raw_close": D("5.00")}, {"raw_close": D("4.99")}, "price_too_low"),
    ("adv", {"adv_usd": 5e6}, {"adv_usd": 4_999_999.99}, "adv_too_low"),
    ("quote", {"quote": quote(age=15.0)}, {"quote": quote(age=15.1)}, "bad_quote"),
    ("spread", {"quote": quote("9.90", "10.10")}, {"quote": quote("9.90", "10.1001")}, "spread_too_wide"),
    ("max_positions", {"open_positions": 4}, {"open_positions": 5}, "max_positions"),
    ("day_budget", {"day_used_usd": D("929.79")}, {"day_used_usd": D("929.80")}, "day_cap"),
    ("account", {"cash_usd": D("70.21")}, {"cash_usd": D("70.20")}, "no_cash"),
    ("symbol_held", {"symbol_held": False}, {"symbol_held": True}, "symbol_held"),
    ("duplicate", {"already_ordered": False}, {"already_ordered": True}, "duplicate_intent"),
]


@pytest.mark.parametrize(("gate", "inside", "outside", "refusal"), BOUNDARIES)
def test_a_gate_passes_at_its_bound_and_refuses_just_beyond(gate, inside, outside, refusal):
    assert code(gate, **inside) == "ok"
    assert code(gate, **outside) == refusal


def test_the_order_cap_is_inclusive_at_seventy_five_dollars():
    assert code("order_budget", order(quantity=3, limit="25.00")) == "ok"
    assert code("order_budget", order(quantity=3, limit="25.01")) == "order_cap"


@pytest.mark.parametrize(
    "bad",
    [
        None, quote("0", "10"), quote("-1", "10"), quote("10", "10"), quote("10.02", "10.00"), quote(size=0),
        quote("NaN", "10"), quote("10", "Infinity"), quote(age=-5.0),
    ],
)  # fmt: skip
def test_a_quote_that_is_zero_crossed_locked_one_sided_undefined_or_from_the_future_is_refused(bad):
    assert code("quote", quote=bad) == "bad_quote"
    assert code("spread", quote=bad) != "ok"


def test_the_spread_is_measured_against_the_middle():
    assert code("spread", quote=quote("10.00", "10.20")) == "ok"  # 1.980% by the middle, 2% by the bid


NULLABLE = {
    "opens_at": "hours", "closes_at": "hours", "quote": "quote", "tradable": "tradable",
    "clear_of_earnings": "earnings", "raw_close": "price", "adv_usd": "adv", "day_used_usd": "day_budget",
    "open_positions": "max_positions", "symbol_held": "symbol_held", "already_ordered": "duplicate",
    "cash_usd": "account", "account_blocked": "account",
}  # fmt: skip


@pytest.mark.parametrize("name", list(NULLABLE))
def test_what_is_unknown_refuses(name):
    facts = replace(FACTS, **{name: None})
    assert NULLABLE[name] in {v.gate for v in refusals(review(order(), facts, LIMITS))}


def test_every_fact_that_may_be_unknown_is_covered_above():
    optional = {f.name for f in fields(GateFacts) if "None" in str(f.type)}
    assert optional == set(NULLABLE) | {"kill_reason"}


def test_all_gates_answer_even_after_the_first_refusal_and_only_a_full_clean_review_clears():
    bad = replace(FACTS, kill_reason="x", mode=Mode.HALT, raw_close=None)
    verdicts = review(order(), bad, LIMITS)
    assert [v.gate for v in verdicts] == list(GATES)
    assert {v.gate for v in refusals(verdicts)} == {"kill_switch", "mode", "price"}
    assert clear(order(), verdicts) is None
    good = review(order(), FACTS, LIMITS)
    assert clear(order(), good) is not None
    assert clear(order(), good[1:]) is None
    with pytest.raises(ValueError, match=r"only risk\.review"):
        ClearedOrder(request=order(), verdicts=good)


def test_an_exit_is_held_back_by_hours_kill_switch_and_halt_but_by_no_budget():
    facts = replace(FACTS, day_used_usd=None, open_positions=None, raw_close=None, adv_usd=None, symbol_held=True,
                    cash_usd=D(0), mode=Mode.CLOSE_ONLY, quote=quote("9.00", "11.00"))  # fmt: skip
    leaving = order(quantity=500, effect=Effect.CLOSE)
    assert refusals(review(leaving, facts, LIMITS)) == ()
    for change in ({"kill_reason": "x"}, {"mode": Mode.HALT}, {"closes_at": None}, {"quote": None}):
        assert refusals(review(leaving, replace(facts, **change), LIMITS))


def test_loosening_never_happens_by_adding_a_source_of_mode():
    from kobe.core.ports import Event

    def said(source: str, mode: str, n: int) -> Event:
        return Event(sequence=n, stream="mode", entity=source, kind="set", at_ns=n, payload={"mode": mode})

    events = [said("reconcile", "REDUCE_ONLY", 1), said("operator", "NORMAL", 2)]
    assert mode_rules.current(events)[0] is Mode.REDUCE_ONLY
    assert mode_rules.current([*events, said("drift", "nonsense", 3)])[0] is Mode.HALT
    assert mode_rules.current([*events, said("reconcile", "NORMAL", 4)])[0] is Mode.NORMAL
    assert all(v.outcome in Outcome for v in review(order(), FACTS, LIMITS))
