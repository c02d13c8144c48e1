"""How many shares: goldens of the risk fraction, every cap binds once, none is ever exceeded."""

from dataclasses import fields, replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.orders import LIMITS, D

from kobe.core.types import Side
from kobe.risk.facts import Limits
from kobe.risk.sizing import SizeInputs, halved, risk_fraction, size, size_at

ROOMY = replace(LIMITS, order_usd=D(10**7), day_usd=D(10**7), max_gross=D(2), max_name=D(2), max_sector=D(2),
                leverage=D(2))  # fmt: skip
INPUTS = SizeInputs(
    entry=D("50.00"), stop=D("48.20"), probability=0.65, gate=0.60, environment="paper", equity_usd=D(10_000),
    cash_usd=D(10_000), buying_power_usd=D(10_000), day_used_usd=D(0), gross_usd=D(0), name_usd=D(0),
    sector_usd=D(0), adv_usd=1e9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("probability", "fraction"),
    [(0.5999, "0"), (0.60, "0.0025"), (0.65, "0.006875"), (0.70, "0.01125"), (0.80, "0.02"), (0.95, "0.02"),
     (None, "0.0025"), (nan, "0")],
)  # fmt: skip
def test_the_risk_grows_from_a_quarter_percent_at_sixty_to_two_percent_at_eighty(probability, fraction):
    assert risk_fraction(probability, 0.60, LIMITS) == D(fraction)


def test_below_a_higher_gate_nothing_is_risked_and_above_a_lower_one_never_less_than_the_least():
    assert risk_fraction(0.65, 0.66, LIMITS) == 0
    assert risk_fraction(0.66, 0.66, LIMITS) == D("0.00775")
    assert risk_fraction(0.55, 0.50, LIMITS) == D("0.0025")


def test_ten_thousand_at_sixty_five_percent_risks_thirty_eight_shares():
    found = size(INPUTS, ROOMY)
    assert (found.quantity, found.bound_by, found.caps["risk"]) == (38, "risk", 38)


@pytest.mark.parametrize(
    ("cap", "limits", "inputs", "quantity"),
    [
        ("order_cap", {"order_usd": D(75)}, {}, 1),
        ("order_cap", {"order_usd": D("49.99")}, {}, 0),
        ("day_budget", {"day_usd": D(1000)}, {"day_used_usd": D(850)}, 3),
        ("day_budget", {"day_usd": D(1000)}, {"day_used_usd": D(2000)}, 0),
        ("cash", {"leverage": D(1)}, {"cash_usd": D("99.99")}, 1),
        ("gross", {"max_gross": D("0.20")}, {"gross_usd": D(1000)}, 20),
        ("gross", {"leverage": D(1)}, {"gross_usd": D(9900), "equity_usd": D(10_000)}, 2),
        ("name", {"max_name": D("0.05")}, {}, 10),
        ("sector", {"max_sector": D("0.10")}, {"sector_usd": D(100)}, 18),
        ("adv_share", {}, {"adv_usd": 50_000.0}, 10),
        ("buying_power", {}, {"buying_power_usd": D(100)}, 2),
    ],
)
def test_the_smallest_cap_binds_and_is_named(cap, limits, inputs, quantity):
    found = size(replace(INPUTS, **inputs), replace(ROOMY, **limits))
    assert (found.quantity, found.bound_by) == (quantity, cap)
    assert found.caps[cap] == min(found.caps.values())


def test_with_the_limits_as_they_are_the_fixture_is_bound_by_the_order_cap():
    found = size(INPUTS, LIMITS)
    assert (found.quantity, found.bound_by) == (1, "order_cap")
    assert found.caps == {"risk": 38, "order_cap": 1, "day_budget": 20, "cash": 200, "gross": 40, "name": 10,
                          "sector": 20, "adv_share": 200_000, "buying_power": 200}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"entry": D(0)}, "no_price"), ({"entry": D("NaN")}, "no_price"),
        ({"stop": None}, "no_stop"), ({"stop": D(50)}, "no_stop"), ({"stop": D(51)}, "no_stop"),
        ({"stop": D("NaN")}, "no_stop"), ({"stop": D(48), "side": Side.SHORT}, "no_stop"),
        ({"factor": D(0)}, "stood_down"), ({"factor": D("NaN")}, "stood_down"),
        ({"probability": 0.59}, "below_gate"), ({"probability": nan}, "below_gate"),
        ({"equity_usd": None}, "equity_unknown"), ({"cash_usd": None}, "cash_unknown"),
        ({"buying_power_usd": None}, "buying_power_unknown"), ({"day_used_usd": None}, "day_budget_unknown"),
        ({"gross_usd": None}, "gross_unknown"), ({"name_usd": None}, "name_unknown"),
        ({"sector_usd": None}, "sector_unknown"), ({"adv_usd": None}, "adv_share_unknown"),
        ({"adv_usd": inf}, "adv_share_unknown"),
    ],
)  # fmt: skip
def test_no_shares_come_with_a_named_reason(change, why):
    found = size(replace(INPUTS, **change), ROOMY)
    assert (found.quantity, found.bound_by) == (0, why)


def test_a_simulated_broker_need_not_tell_its_buying_power():
    found = size(replace(INPUTS, environment="sim", buying_power_usd=None), ROOMY)
    assert (found.quantity, "buying_power" in found.caps) == (38, False)


def test_a_factor_cuts_the_risk_and_never_raises_it():
    assert size(replace(INPUTS, factor=D("0.5")), ROOMY).quantity == 19
    assert size(replace(INPUTS, factor=D(3)), ROOMY).quantity == 38


def test_a_short_is_sized_by_the_stop_above_it():
    found = size(replace(INPUTS, side=Side.SHORT, stop=D("51.80")), ROOMY)
    assert (found.quantity, found.bound_by) == (38, "risk")


def money(top):
    return st.decimals(min_value=0, max_value=top, places=2, allow_nan=False)


inputs = st.builds(
    SizeInputs, entry=st.decimals(min_value="0.01", max_value=5000, places=4), stop=money(5000),
    side=st.sampled_from(Side), probability=st.none() | st.floats(0, 1), gate=st.sampled_from([0.6, 0.62, 1.1]),
    factor=st.sampled_from([D("0.25"), D("0.5"), D(1)]), environment=st.just("paper"), equity_usd=money(10**7),
    cash_usd=st.decimals(min_value=-1000, max_value=10**7, places=2), buying_power_usd=money(10**7),
    day_used_usd=money(2000), gross_usd=money(10**6), name_usd=money(10**5), sector_usd=money(10**5),
    adv_usd=st.floats(0, 1e10),
)  # fmt: skip
bounds = st.builds(
    Limits, order_usd=money(10**6), day_usd=money(10**6), max_gross=money(2), max_name=money(1), max_sector=money(2),
    max_adv_share=money("0.1"), leverage=st.sampled_from([D(1), D("1.5"), D(2)]), min_size=st.just(D("0.0025")),
    max_size=st.sampled_from([D("0.01"), D("0.02")]),
)  # fmt: skip


@given(inputs, bounds)
def test_no_cap_is_ever_exceeded_and_no_size_is_negative(i, limits):
    found = size(i, limits)
    assert found.quantity >= 0
    if not found.quantity:
        return
    cost = found.quantity * i.entry
    assert cost <= min(limits.order_usd, limits.day_usd - i.day_used_usd, i.buying_power_usd)
    assert cost + i.gross_usd <= min(limits.max_gross, limits.leverage) * i.equity_usd
    assert cost + i.name_usd <= limits.max_name * i.equity_usd
    assert cost + i.sector_usd <= limits.max_sector * i.equity_usd
    assert cost <= i.cash_usd + (limits.leverage - 1) * i.equity_usd
    assert cost <= limits.max_adv_share * D(str(i.adv_usd))
    lost = found.quantity * abs(i.entry - i.stop)
    assert lost <= risk_fraction(i.probability, i.gate, limits) * i.factor * i.equity_usd


MORE = {"equity_usd": 1, "cash_usd": 1, "buying_power_usd": 1, "day_used_usd": -1, "gross_usd": -1, "name_usd": -1,
        "sector_usd": -1}  # fmt: skip


@given(inputs, bounds, st.sampled_from(sorted(MORE)), money(10**6))
def test_more_room_under_one_cap_never_gives_fewer_shares(i, limits, name, more):
    wider = replace(i, **{name: getattr(i, name) + MORE[name] * more})
    assert size(wider, limits).quantity >= size(i, limits).quantity


@given(inputs, bounds, st.sampled_from(["order_usd", "day_usd", "max_gross", "max_name", "max_sector", "max_adv_share",
                                        "max_size"]))  # fmt: skip
def test_a_wider_limit_never_gives_fewer_shares(i, limits, name):
    wider = replace(limits, **{name: getattr(limits, name) * 2})
    assert size(i, wider).quantity >= size(i, limits).quantity


def test_every_unknown_input_gives_no_shares():
    optional = [f.name for f in fields(SizeInputs) if "None" in str(f.type)]
    for name in set(optional) - {"probability", "environment"}:
        assert size(replace(INPUTS, **{name: None}), ROOMY).quantity == 0


def test_what_is_affordable_at_a_price_is_whole_and_half_a_cap_buys_half():
    assert (size_at(D("10.03"), LIMITS, D(1000)).quantity, size_at(D("10.03"), LIMITS, D(20)).bound_by) == (7, "cash")
    assert size_at(D("75.00"), LIMITS, D(1000)).quantity == 1
    assert size_at(D("75.01"), LIMITS, D(1000)).quantity == 0
    assert size_at(D("37.51"), halved(LIMITS), D(1000)).quantity == 0
    assert size_at(D("NaN"), LIMITS, D(1000)).bound_by == "no price"
    assert size_at(D(10), LIMITS, D(-5)).quantity == 0
