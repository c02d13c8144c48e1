"""What a fill cost, by hand; and a measured rate only ever raises the schedule, from its date on."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.app.slippage import LEAST_FILLS, measure
from kobe.backtest.costs import CostRates, cost_schedule, flat_costs
from kobe.core.ports import Event
from kobe.core.types import Effect, Fill, Order, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution import slippage
from kobe.execution.slippage import Quoted, Sample

D = Decimal
DAY = date(2024, 6, 5)
AT = datetime(2024, 6, 5, 13, 35, tzinfo=UTC)


def filled(
    price, *, effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, limit=None, stop=None, placed=DAY, side=Side.LONG
):
    request = OrderRequest(
        client_order_id="kobe-1", signal_id="s", strategy="ibs_rsi", symbol="AAA", side=side, effect=effect,
        order_type=order_type, quantity=4, limit_price=D(limit) if limit else D(1000), session=placed,
        stop_price=None if stop is None else D(stop), reason="test",
    )  # fmt: skip
    fill = Fill(fill_id="f", client_order_id="kobe-1", symbol="AAA", side=side, effect=effect, quantity=4,
                price=D(price), fee_usd=D(0), at=AT)  # fmt: skip
    return Order(request=request, status=OrderStatus.FILLED, fills=(fill,))


def test_a_buy_above_and_a_sale_below_the_middle_are_costs():
    quoted = Quoted(D("99.90"), D("100.10"))
    bought = slippage.sample(filled("100.10"), quoted, D("100.05"))
    assert (bought.side, bought.kind) == ("buy", "entry")
    assert bought.mid_bps == pytest.approx(10.0)
    assert bought.reference_bps == pytest.approx(4.9975, abs=1e-4)
    sold = slippage.sample(filled("99.95", effect=Effect.CLOSE), quoted, None)
    assert (sold.side, sold.kind) == ("sell", "exit")
    assert sold.mid_bps == pytest.approx(5.0)
    assert sold.reference_bps is None


def test_what_counts_for_the_cost_model_is_beyond_the_half_spread_it_charges():
    from dataclasses import replace

    one = slippage.sample(filled("100.10"), Quoted(D("99.90"), D("100.10")), None)
    assert one.excess_bps is None, "without its liquidity nobody knows what is charged"
    assert replace(one, half_spread_bps=2.0).excess_bps == pytest.approx(8.0)


def test_a_stop_is_measured_from_its_level_and_from_the_open_when_that_was_beyond_it():
    stop = {"effect": Effect.CLOSE, "order_type": OrderType.GTC_STOP, "stop": "95"}
    before = DAY - timedelta(days=1)
    inside = slippage.sample(filled("94.905", placed=before, **stop), None, D("97"))
    assert (inside.kind, inside.reference_bps) == ("stop", pytest.approx(10.0))
    gapped = slippage.sample(filled("93.00", placed=before, **stop), None, D("93"))
    assert gapped.reference_bps == 0
    fresh = slippage.sample(filled("94.905", **stop), None, D("93"))
    assert fresh.reference_bps == pytest.approx(10.0), "a stop placed that day never saw the open"


@pytest.mark.parametrize(("price", "kind"), [("95.00", "stop"), ("94.10", "stop"), ("105.00", "target")])
def test_a_stop_and_target_in_one_is_what_it_was_filled_near(price, kind):
    pair = filled(price, effect=Effect.CLOSE, order_type=OrderType.GTC_OCO, stop="95", limit="105")
    assert slippage.kind_of(pair) == kind
    assert slippage.market_at(pair, None, None) == (D(95) if kind == "stop" else D(105))


def event(k, kind, payload, entity="e"):
    return Event(sequence=k, stream="x", entity=entity, kind=kind, at_ns=k, payload=payload)


def test_quotes_that_are_none_are_left_out_and_the_last_one_counts():
    told = [event(1, "quote", {"bid": "10.00", "ask": "10.02"}, "a"),
            event(2, "quote", {"bid": "10.10", "ask": "10.12"}, "a"),
            event(3, "quote", {"bid": "0", "ask": "10.12"}, "b"), event(4, "quote", {"bid": "11", "ask": "10"}, "c"),
            event(5, "quote", {"bid": "NaN", "ask": "10"}, "d"), event(6, "quote", {}, "e")]  # fmt: skip
    found = slippage.quotes(told)
    assert list(found) == ["a"]
    assert found["a"].mid == D("10.11")


def rate(k, effective, bps):
    return event(k, "rate", slippage.rate_document(effective, bps, {}))


def test_a_measured_rate_raises_the_schedule_from_its_date_until_the_next_one():
    model = cost_schedule([
        CostRates(effective=day, slippage_bps=bps, half_spread_bps=((0.0, 2.0),), sec_fee_per_million_usd=fee)
        for day, bps, fee in ((date(1990, 1, 2), 5.0, 20.0), (date(2024, 6, 1), 8.0, 30.0))
    ])  # fmt: skip
    raised = slippage.with_measured(model, [rate(1, date(2024, 5, 1), 7.0), rate(2, date(2024, 7, 1), 12.0),
                                            rate(3, date(2024, 8, 1), 1.0)])  # fmt: skip
    charged = [raised.at(date(2024, month, 15)).slippage_bps for month in (4, 5, 6, 7, 8)]
    assert charged == [5.0, 7.0, 8.0, 12.0, 8.0]
    assert [raised.at(date(2024, m, 15)).sec_fee_per_million_usd for m in (5, 6)] == [20.0, 30.0]
    assert slippage.with_measured(model, []) is model


@given(
    measured=st.lists(st.tuples(st.dates(date(2020, 1, 1), date(2024, 1, 1)), st.floats(-50, 50)), max_size=6),
    day=st.dates(date(2019, 1, 1), date(2025, 1, 1)),
)
def test_no_measurement_ever_lowers_what_is_charged(measured, day):
    model = flat_costs(5.0)
    raised = slippage.with_measured(model, [rate(k, d, bps) for k, (d, bps) in enumerate(measured)])
    assert raised.at(day).slippage_bps >= model.at(day).slippage_bps


def samples(values, per_day=1):
    return [
        Sample(client_order_id=f"o{k}", symbol="AAA", day=DAY + timedelta(days=k // per_day),
               side="buy" if k % 2 else "sell", kind="entry", quantity=1, price=D(100), mid_bps=v,
               reference_bps=None, half_spread_bps=0.0)
        for k, v in enumerate(values)
    ]  # fmt: skip


def test_the_interval_holds_the_mean_is_seeded_and_is_silent_with_too_few_fills():
    values = [float(k % 7) for k in range(60)]
    first, again = measure(samples(values), 81), measure(samples(values), 81)
    assert repr(first) == repr(again)
    whole = next(m for m in first if (m.measure, m.side) == ("mid", "all"))
    assert whole.low_bps < whole.mean_bps < whole.high_bps
    assert (whole.n, whole.dates, whole.speaks) == (60, 60, True)
    few = next(m for m in measure(samples(values[: LEAST_FILLS - 1]), 81) if (m.measure, m.side) == ("mid", "all"))
    assert not few.speaks
    none = next(m for m in first if m.measure == "reference")
    assert none.n == 0
    assert math.isnan(none.mean_bps)


def test_fills_of_one_day_count_as_one_for_the_interval():
    values = [10.0 * (k // 10 % 2) for k in range(60)]
    alone = next(m for m in measure(samples(values), 81) if (m.measure, m.side) == ("mid", "all"))
    together = next(m for m in measure(samples(values, per_day=10), 81) if (m.measure, m.side) == ("mid", "all"))
    assert together.high_bps - together.low_bps > 1.5 * (alone.high_bps - alone.low_bps)
    one_day = next(m for m in measure(samples(values, per_day=60), 81) if (m.measure, m.side) == ("mid", "all"))
    assert not one_day.speaks, "one day has no interval"
