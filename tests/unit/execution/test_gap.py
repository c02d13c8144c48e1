"""The gap between backtest and account: worked by hand, and its parts sum to the cent whatever happens."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.execution.gap import Ideal, Part, Real, shares, split, totals

D = Decimal
IDEAL = Ideal(side=1, quantity=10, entry=D("50.00"), exit=D("53.00"), entry_paid=D("50.05"), exit_got=D("52.95"),
              fee_usd=D("0.02"))  # fmt: skip


def test_a_trade_by_hand_price_fill_slippage_exit_and_fee():
    """Intended 10, filled 8 at 50.22 with the middle at 50.20; sold at 52.40 with the middle at 52.41."""
    real = Real(side=1, quantity=8, entry=D("50.22"), exit=D("52.40"), entry_reference=D("50.20"),
                exit_reference=D("52.41"), fee_usd=D("0.01"))  # fmt: skip
    gap = split(IDEAL, real)
    assert gap.backtest_usd == D("28.98")
    assert gap.realised_usd == D("17.43")
    assert gap.parts == {
        Part.FILL: D("-5.80"),  # two shares at 2.90
        Part.PRICE: D("-1.60"),  # 8 x 0.20
        Part.SLIPPAGE: D("0.56"),  # 8 x (0.03 + 0.04) less than the model charges
        Part.EXIT: D("-4.72"),  # 8 x 0.59
        Part.FEE: D("0.01"),
    }
    assert gap.usd == D("-11.55")


def test_a_trade_like_the_backtest_s_has_no_gap():
    real = Real(side=1, quantity=10, entry=D("50.05"), exit=D("52.95"), entry_reference=D("50.00"),
                exit_reference=D("53.00"), fee_usd=D("0.02"))  # fmt: skip
    assert not split(IDEAL, real).parts


@pytest.mark.parametrize("cause", [Part.UNIVERSE, Part.MISSED_RUN, Part.GATE, Part.FILL, Part.SIGNAL])
def test_a_trade_that_was_not_made_costs_the_backtest_s_result_and_names_one_cause(cause):
    assert split(IDEAL, None, cause=cause).parts == {cause: D("-28.98")}


def test_a_trade_the_strategies_no_longer_wish_is_the_signal_s_part_apart_from_how_it_was_done():
    real = Real(side=1, quantity=10, entry=D("50.15"), exit=D("52.95"), entry_reference=D("50.10"),
                exit_reference=D("53.00"), fee_usd=D("0.02"))  # fmt: skip
    gap = split(IDEAL, real, counted=False)
    assert gap.backtest_usd == 0
    assert gap.parts == {Part.SIGNAL: D("28.98"), Part.PRICE: D("-1.00")}


def test_a_trade_without_a_backtest_is_one_part():
    real = Real(side=1, quantity=1, entry=D("10"), exit=D("11"))
    assert split(None, real).parts == {Part.SIGNAL: D("1.00")}


def test_without_a_quote_on_record_nothing_counts_as_slippage():
    real = Real(side=1, quantity=10, entry=D("50.25"), exit=D("52.75"), fee_usd=D("0.02"))
    assert split(IDEAL, real).parts == {Part.PRICE: D("-2.00"), Part.EXIT: D("-2.00")}


def test_a_short_gains_where_a_long_loses():
    ideal = Ideal(side=-1, quantity=10, entry=D(50), exit=D(48), entry_paid=D(50), exit_got=D(48))
    real = Real(side=-1, quantity=10, entry=D("49.90"), exit=D(48), entry_reference=D("49.90"), exit_reference=D(48))
    assert split(ideal, real).parts == {Part.PRICE: D("-1.00")}


price = st.integers(1, 5_000_000).map(lambda n: D(n) / 1000)
maybe = st.none() | price
money = st.integers(-5000, 5000).map(lambda n: D(n) / 1000)
ideals = st.builds(Ideal, side=st.sampled_from([1, -1]), quantity=st.integers(0, 1000), entry=price, exit=price,
                   entry_paid=price, exit_got=price, fee_usd=money, carried_usd=money)  # fmt: skip
reals = st.builds(Real, side=st.sampled_from([1, -1]), quantity=st.integers(0, 1000), entry=price, exit=price,
                  entry_reference=maybe, exit_reference=maybe, fee_usd=money, carried_usd=money)  # fmt: skip


@given(ideal=st.none() | ideals, real=st.none() | reals, cause=st.sampled_from(list(Part)), counted=st.booleans())
def test_parts_are_whole_cents_and_sum_to_realised_less_backtest(ideal, real, cause, counted):
    if ideal is not None and real is not None:
        real = Real(side=ideal.side, **{n: getattr(real, n) for n in Real.__slots__ if n != "side"})
    gap = split(ideal, real, cause=cause, counted=counted)
    assert sum(gap.parts.values(), D(0)) == gap.usd
    assert all(v == v.quantize(D("0.01")) for v in gap.parts.values())
    realised = real.net_usd if real else D(0)
    backtest = ideal.net_usd if ideal and counted else D(0)
    assert abs(gap.usd - (realised - backtest)) <= D("0.01")


@given(gaps=st.lists(st.builds(split, ideals, st.none() | reals, cause=st.sampled_from(list(Part))), max_size=6))
def test_totals_sum_to_the_whole_and_shares_to_one(gaps):
    parts = totals(gaps)
    assert sum(parts.values(), D(0)) == sum((g.usd for g in gaps), D(0))
    told = sum(shares(parts).values(), D(0))
    assert told == 0 or abs(told - 1) < D("1e-20")
