"""The words of kobe: what may be built, what is refused, and how faults and names are composed."""

import hashlib
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core import errors, ids, units
from kobe.core.clock import SteppingClock, as_utc, from_ns, new_york_date, to_ns
from kobe.core.types import (
    Candidate,
    ClearedOrder,
    Effect,
    Fill,
    Mode,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Outcome,
    Side,
    Signal,
    Verdict,
    seal,
)  # fmt: skip

FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)
PASSED = Verdict(gate="hours", outcome=Outcome.PASS, code="ok", observed="10:00", limit="09:35-15:58")
REDUCED = replace(PASSED, gate="liquidity", outcome=Outcome.REDUCE)
REFUSED = replace(PASSED, gate="budget", outcome=Outcome.REJECT)
SIGNAL = Signal(
    signal_id="0123456789abcdef", strategy="ibs_rsi", symbol="AAA", side=Side.LONG, signal_date=FRIDAY,
    valid_session=MONDAY, reference_close=99.4, stop=94.9, stop_distance=4.5, target=None, target_r=None, atr=2.25,
    score=0.9, params_hash="fedcba9876543210",
)  # fmt: skip
REQUEST = OrderRequest(
    client_order_id="kobe-ibs_rsi-AAA-2026-03-06-long-open-1", signal_id=SIGNAL.signal_id, strategy="ibs_rsi",
    symbol="AAA", side=Side.LONG, effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=7,
    limit_price=Decimal("10.04"), stop_price=None, session=MONDAY, reason="entry",
)  # fmt: skip
FILL = Fill(
    fill_id="1", client_order_id=REQUEST.client_order_id, symbol="AAA", side=Side.LONG, effect=Effect.OPEN, quantity=3,
    price=Decimal("10.03"), fee_usd=Decimal(0), at=datetime(2026, 3, 9, 13, 35, tzinfo=UTC),
)  # fmt: skip
CANDIDATE = Candidate(
    signal=SIGNAL, probability=0.6, gate=0.6, expected_r=0.1, model_id=None, adv_usd=5e6, raw_close=5.0, rank=1,
    features={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("seal_given", "verdicts"),
    [
        (None, (PASSED,)),
        (object(), (PASSED,)),
        (True, (PASSED,)),
        ("seal", ()),
        ("seal", (REFUSED,)),
        ("seal", (PASSED, REFUSED, PASSED)),
    ],
)
def test_an_order_is_cleared_only_with_the_seal_and_verdicts_none_of_which_refuses(seal_given, verdicts):
    with pytest.raises(ValueError, match="clear"):
        ClearedOrder(request=REQUEST, verdicts=verdicts, _seal=seal() if seal_given == "seal" else seal_given)


def test_a_cleared_order_cannot_be_turned_into_another_one():
    cleared = ClearedOrder(request=REQUEST, verdicts=(PASSED, REDUCED), _seal=seal())
    assert cleared.request is REQUEST
    with pytest.raises(FrozenInstanceError):
        cleared.request = replace(REQUEST, quantity=700)
    with pytest.raises(ValueError, match="not cleared"):
        replace(cleared, verdicts=(REFUSED,))
    assert "seal" not in repr(cleared)


def test_a_refusal_is_a_value_that_says_what_was_seen_and_allowed():
    assert REFUSED.outcome is Outcome.REJECT
    assert {o.value for o in Outcome} == {"PASS", "REDUCE", "REJECT"}
    assert (REFUSED.observed, REFUSED.limit) == ("10:00", "09:35-15:58")


def test_two_modes_combine_to_the_stricter():
    order = [Mode.NORMAL, Mode.REDUCED, Mode.REDUCE_ONLY, Mode.CLOSE_ONLY, Mode.HALT]
    assert list(Mode) == order
    for (i, a), (j, b) in product(enumerate(order), repeat=2):
        assert max(a, b) is order[max(i, j)]


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": -1},
        {"limit_price": None},
        {"order_type": OrderType.GTC_STOP},
        {"order_type": OrderType.GTC_OCO},
        {"order_type": OrderType.GTC_OCO, "stop_price": Decimal(9), "limit_price": None},
    ],
)
def test_an_order_without_what_its_type_needs_is_refused(change):
    with pytest.raises(ValueError, match=r"order|OCO"):
        replace(REQUEST, **change)


@pytest.mark.parametrize(
    ("side", "effect", "buys"),
    [("long", "open", True), ("long", "close", False), ("short", "open", False), ("short", "close", True)],
)
def test_buying_is_opening_a_long_or_closing_a_short(side, effect, buys):
    assert replace(REQUEST, side=Side(side), effect=Effect(effect)).is_buy is buys


def test_the_notional_is_the_most_that_can_be_spent():
    assert REQUEST.notional_usd == Decimal("70.28")
    market = replace(REQUEST, order_type=OrderType.MARKET, limit_price=None)
    assert market.notional_usd == 0


@pytest.mark.parametrize("change", [{"quantity": 0}, {"quantity": -3}, {"price": Decimal(0)}, {"price": Decimal(-1)}])
def test_a_fill_has_a_positive_quantity_and_price(change):
    with pytest.raises(ValueError, match="positive"):
        replace(FILL, **change)


def test_what_is_filled_is_counted_from_the_fills_and_not_from_the_status():
    order = Order(request=REQUEST, status=OrderStatus.CANCELED, fills=(FILL,))  # an IOC that fills 3 of 7
    assert (order.filled, order.remaining) == (3, 4)
    assert order.status.is_final


def test_the_final_states_are_those_after_which_nothing_can_happen():
    final = {s.word for s in OrderStatus if s.is_final}
    assert final == {"filled", "canceled", "expired", "rejected", "replaced", "abandoned"}
    assert len({s.word for s in OrderStatus}) == len(OrderStatus)


@pytest.mark.parametrize(
    "change",
    [
        {"atr": 0.0},
        {"atr": -1.0},
        {"atr": float("nan")},
        {"stop": float("nan")},
        {"reference_close": float("inf")},
        {"score": float("nan")},
        {"valid_session": FRIDAY},
        {"valid_session": date(2026, 3, 5)},
    ],
)
def test_a_signal_with_an_undefined_number_or_a_past_session_is_refused(change):
    with pytest.raises(ValueError, match="signal"):
        replace(SIGNAL, **change)


@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan")])
def test_a_probability_lies_between_nought_and_one_or_is_absent(probability):
    with pytest.raises(ValueError, match="probability"):
        replace(CANDIDATE, probability=probability)
    assert replace(CANDIDATE, probability=None).probability is None


@pytest.mark.parametrize(
    ("value", "money"),
    [(0.1, "0.1"), (2.675, "2.675"), (10.03, "10.03"), (np.float64(1.005), "1.005"), ("5.00", "5.00"), (1e-7, "1E-7")],
)
def test_money_is_made_from_the_text_of_a_number(value, money):
    assert units.to_decimal(value) == Decimal(money)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_money_turns_back_into_the_same_number(value):
    assert float(units.to_decimal(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), "nan"])
def test_money_is_finite(value):
    with pytest.raises(ValueError, match="finite"):
        units.to_decimal(value)


def test_amounts_round_half_to_even_and_fees_round_up():
    assert [units.to_cents(Decimal(v)) for v in ("2.675", "2.665", "-0.005")] == [
        Decimal(v) for v in ("2.68", "2.66", "-0.00")
    ]
    assert [units.fee_cents(Decimal(v)) for v in ("0", "0.0001", "0.01", "0.0100001")] == [
        Decimal(v) for v in ("0.00", "0.01", "0.01", "0.02")
    ]
    assert (units.SESSIONS_PER_YEAR, units.BPS) == (252, 1e-4)


def test_a_signal_is_named_by_the_hash_of_its_five_facts():
    text = "turtle_soup|BRK.B|short|2026-03-06|fedcba9876543210"
    wanted = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert ids.signal_id("turtle_soup", "BRK.B", "short", FRIDAY, "fedcba9876543210") == wanted
    facts = ("ibs_rsi", "AAA", "long", FRIDAY, "p")
    others = [("turtle_soup", "AAB", "short", MONDAY, "q")[i] for i in range(5)]
    names = {ids.signal_id(*facts)} | {ids.signal_id(*facts[:i], others[i], *facts[i + 1 :]) for i in range(5)}
    assert len(names) == 6


def order_id(**changes) -> str:
    facts = {"strategy": "ibs_rsi", "symbol": "AAA", "signal_date": FRIDAY, "side": "long", "effect": "open"}
    return ids.client_order_id(**{**facts, "attempt": 1, **changes})


def test_an_order_is_named_by_the_facts_that_make_it_what_it_is():
    assert order_id() == "kobe-ibs_rsi-AAA-2026-03-06-long-open-1"
    assert order_id(effect="close", attempt=12) == "kobe-ibs_rsi-AAA-2026-03-06-long-close-12"


def test_an_order_name_is_at_most_128_characters_and_attempts_begin_at_one():
    room = 128 - len(order_id(symbol=""))
    assert len(order_id(symbol="A" * room)) == 128
    with pytest.raises(ValueError, match="no valid client order id"):
        order_id(symbol="A" * (room + 1))
    with pytest.raises(ValueError, match="no valid client order id"):
        order_id(attempt=0)


def test_digests_do_not_depend_on_the_order_of_keys_and_refuse_nan():
    assert ids.canonical_json({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'
    assert ids.digest({"a": 1, "b": 2}) == ids.digest({"b": 2, "a": 1}) != ids.digest({"a": 2, "b": 1})
    assert ids.digest([]) == hashlib.sha256(b"[]").hexdigest()
    assert ids.short_digest([]) == ids.digest([])[:16]
    assert ids.combined_digest(["a", "b"]) != ids.combined_digest(["b", "a"])
    with pytest.raises(ValueError, match="not JSON compliant"):
        ids.digest({"a": float("nan")})


def test_each_family_of_faults_has_its_exit_code():
    codes = {
        errors.KobeError: 1, errors.UsageError: 2, errors.ConfigError: 3, errors.DataError: 4,
        errors.MissingDataError: 4, errors.StaleDataError: 4, errors.SchemaError: 4, errors.ModelError: 4,
        errors.ExternalError: 5, errors.RefusedError: 6, errors.IntegrityError: 8,
    }  # fmt: skip
    known = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.KobeError)}
    assert known == set(codes)
    assert {kind: int(kind("x").exit_code) for kind in codes} == codes
    assert set(errors.EXIT_MEANINGS) == set(errors.ExitCode)


def test_a_fault_says_what_was_wrong_seen_and_expected_and_what_to_run_next():
    fault = errors.MissingDataError("no bars", seen="ZZZ", expected="a listed symbol", next_command="kobe data status")
    assert str(fault) == "no bars; seen: ZZZ; expected: a listed symbol; next: kobe data status"
    assert fault.code == "missing_data"
    assert str(errors.KobeError("broken", expected=0)) == "broken; expected: 0"
    assert str(errors.KobeError("broken")) == "broken"


def test_a_fault_outside_is_repeated_only_when_it_says_so():
    assert not errors.ExternalError("no answer").retryable
    again = errors.ExternalError("no answer", seen=504, next_command="kobe status", retryable=True)
    assert again.retryable
    assert str(again) == "no answer; seen: 504; next: kobe status"


def test_an_instant_is_utc_and_a_naive_one_is_a_defect():
    bombay = datetime(2026, 3, 9, 19, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert as_utc(bombay) == datetime(2026, 3, 9, 13, 35, tzinfo=UTC)
    assert as_utc(bombay).tzinfo is UTC
    for refuse in (as_utc, new_york_date, to_ns):
        with pytest.raises(ValueError, match="naive"):
            refuse(datetime(2026, 3, 9, 13, 35))  # noqa: DTZ001 - the defect under test


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-03-09T03:30:00+00:00", "2026-03-08"),  # 23:30 on Sunday in New York is still Sunday
        ("2026-03-09T03:59:59+00:00", "2026-03-08"),  # summer time began that Sunday
        ("2026-03-09T04:00:00+00:00", "2026-03-09"),
        ("2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("2026-11-02T05:00:00+00:00", "2026-11-02"),
    ],
)
def test_the_day_changes_at_midnight_in_new_york(now, day):
    assert new_york_date(datetime.fromisoformat(now)).isoformat() == day


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_nanoseconds_keep_every_microsecond(instant):
    assert from_ns(to_ns(instant)) == instant


def test_a_stepping_clock_moves_only_when_told_to():
    clock = SteppingClock(datetime(2026, 3, 9, 13, 35, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.advance(seconds=90.5)
    assert clock.now() == datetime(2026, 3, 9, 13, 36, 30, 500_000, tzinfo=UTC)
    with pytest.raises(ValueError, match="naive"):
        clock.set(datetime(2026, 3, 9))  # noqa: DTZ001 - the defect under test
