"""FIFO to the cent: the worked example of DOMAIN 2.2 and its invariants under any fills."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.types import Effect, Fill, Side
from kobe.execution.book import match_fifo

D = Decimal
START = datetime(2024, 6, 3, 14, 0, tzinfo=UTC)


def fill(k: int, effect: Effect, quantity: int, price: str, fee: str = "0") -> Fill:
    return Fill(fill_id=str(k), client_order_id=f"o{k}", symbol="A", side=Side.LONG, effect=effect, quantity=quantity,
                price=D(price), fee_usd=D(fee), at=START + timedelta(minutes=k))  # fmt: skip


def test_the_worked_example_books_each_sale_against_its_own_lots():
    fills = [fill(1, Effect.OPEN, 10, "50"), fill(2, Effect.OPEN, 5, "52"), fill(3, Effect.CLOSE, 8, "53", "0.02"),
             fill(4, Effect.CLOSE, 7, "49", "0.02")]  # fmt: skip
    lots, closed = match_fifo(fills)
    assert lots == ()
    assert [round(c.net_usd, 4) for c in closed] == [D("23.98"), D("-2.0057"), D("-15.0143")]
    assert sum(c.net_usd for c in closed) == D("6.96")


@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(1, 9), st.integers(100, 9999), st.integers(0, 5)), min_size=1, max_size=30
    )
)
def test_realised_and_open_add_up_to_cash_and_no_lot_goes_negative(steps):
    fills, held = [], 0
    for k, (opens, wanted, cents, fee) in enumerate(steps):
        quantity = wanted if opens else min(wanted, held)
        if quantity == 0:
            continue
        held += quantity if opens else -quantity
        effect = Effect.OPEN if opens else Effect.CLOSE
        fills.append(fill(k, effect, quantity, str(D(cents) / 100), str(D(fee) / 100)))
    lots, closed = match_fifo(fills)
    cash = sum(((-1 if f.effect is Effect.OPEN else 1) * f.price * f.quantity - f.fee_usd for f in fills), D(0))
    open_cost = sum((lot.price * lot.quantity + lot.fee_usd for lot in lots), D(0))
    assert sum(lot.quantity for lot in lots) == held
    assert all(lot.quantity > 0 for lot in lots)
    assert abs(sum((c.net_usd for c in closed), D(0)) - open_cost - cash) < D("1e-18")


def test_closing_more_than_is_open_is_a_fault():
    with pytest.raises(ValueError, match="more than are open"):
        match_fifo([fill(1, Effect.OPEN, 1, "5"), fill(2, Effect.CLOSE, 2, "5")])
