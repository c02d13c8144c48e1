"""FIFO to the cent: the worked example of DOMAIN 2.2 and its invariants under any fills, splits between them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.core.types import Effect, Fill, Order, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution import book
from kobe.execution.book import match_fifo
from kobe.execution.corporate import Split, exact_ratio

D = Decimal
START = datetime(2024, 6, 3, 14, 0, tzinfo=UTC)


def fill(k: int, effect: Effect, quantity: int, price: str, fee: str = "0") -> Fill:
    return Fill(fill_id=f"{k:03}", client_order_id=f"o{k}", symbol="A", side=Side.LONG, effect=effect,
                quantity=quantity, price=D(price), fee_usd=D(fee), at=START + timedelta(minutes=k))  # fmt: skip


def order(told: Fill, signal: str = "s", reason: str = "time") -> Order:
    request = OrderRequest(
        client_order_id=told.client_order_id, signal_id=signal, strategy="x", symbol=told.symbol, side=told.side,
        effect=told.effect, order_type=OrderType.MARKET, quantity=told.quantity, limit_price=None, stop_price=None,
        session=told.at.date(), reason=reason,
    )  # fmt: skip
    return Order(request=request, status=OrderStatus.FILLED, fills=(told,))


def split(minute: float, ratio: Fraction | int, cash: str = "0", symbol: str = "A") -> Split:
    at = START + timedelta(minutes=minute)
    return Split(symbol=symbol, session=date(2024, 6, 3), at=at, ratio=Fraction(ratio), cash_price=D(cash), recorded=at)


STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 9), st.integers(100, 9999), st.integers(0, 5)), min_size=1, max_size=30
)
RATIOS = st.sampled_from([Fraction(2), Fraction(4), Fraction(3, 2), Fraction(1, 8), Fraction(21, 20), Fraction(7, 3)])


def test_the_worked_example_books_each_sale_against_its_own_lots():
    fills = [fill(1, Effect.OPEN, 10, "50"), fill(2, Effect.OPEN, 5, "52"), fill(3, Effect.CLOSE, 8, "53", "0.02"),
             fill(4, Effect.CLOSE, 7, "49", "0.02")]  # fmt: skip
    lots, closed = match_fifo(fills)
    assert lots == ()
    assert [round(c.net_usd, 4) for c in closed] == [D("23.98"), D("-2.0057"), D("-15.0143")]
    assert sum(c.net_usd for c in closed) == D("6.96")


@given(steps=STEPS)
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


def play(steps, splits_at):
    """Fills of one signal with splits after some of them, never selling more than is held; and the splits."""
    fills, changes, held = [], [], 0
    for k, (opens, wanted, cents, fee) in enumerate(steps):
        quantity = wanted if opens else min(wanted, held)
        if quantity:
            held += quantity if opens else -quantity
            effect = Effect.OPEN if opens else Effect.CLOSE
            fills.append(fill(k, effect, quantity, str(D(cents) / 100), str(D(fee) / 100)))
        if k in splits_at and fills:
            changes.append(split(k + 0.5, splits_at[k], "12.345"))
            held = int(held * splits_at[k] // 1)
    return fills, changes, held


@given(steps=STEPS, splits_at=st.dictionaries(st.integers(0, 29), RATIOS, max_size=3))
def test_splits_between_the_fills_change_no_money_and_leave_the_shares_the_broker_counts(steps, splits_at):
    fills, changes, held = play(steps, splits_at)
    made = book.build([order(f) for f in fills], changes)
    mine = book._folded({"s": fills}, changes)["s"] if fills else book.Holding()
    assert sum(p.quantity for p in made.positions) == held
    assert all(lot.quantity > 0 and lot.price > 0 for lot in mine.lots)
    flows = sum(((-1 if f.effect is Effect.OPEN else 1) * f.price * f.quantity - f.fee_usd for f in fills), D(0))
    realised = sum((c.net_usd for c in (*mine.closings, *mine.in_lieu)), D(0))
    open_cost = sum((lot.price * lot.quantity + lot.fee_usd for lot in mine.lots), D(0))
    assert abs(realised - open_cost - flows - made.in_lieu_usd) < D("1e-15")
    if not made.positions and fills:
        assert abs(made.trades[0].net_usd - flows - made.in_lieu_usd) < D("1e-15")


def test_a_four_for_one_split_quarters_the_price_and_the_sale_after_it_is_a_gain_to_the_cent():
    orders = [order(fill(1, Effect.OPEN, 5, "100", "0.05")), order(fill(3, Effect.CLOSE, 20, "26", "0.02"))]
    (trade,) = book.build(orders, [split(2, 4)]).trades
    assert (trade.quantity, trade.entry_price, trade.exit_price) == (20, 25, 26)
    assert trade.net_usd == D("19.93")


def test_fractions_of_several_lots_make_a_whole_share_before_anything_is_paid_in_cash():
    fills = [fill(1, Effect.OPEN, 3, "10"), fill(2, Effect.OPEN, 3, "20")]
    made = book.build([order(f) for f in fills], [split(3, Fraction(3, 2), "10")])
    assert made.positions[0].quantity == 9
    assert abs(made.positions[0].average_price * 9 - 90) < D("1e-20")
    assert made.in_lieu_usd == 0


def test_a_reverse_split_pays_the_fraction_and_books_it_at_its_cost():
    made = book.build([order(fill(1, Effect.OPEN, 12, "2.00"))], [split(2, Fraction(1, 8), "16.80")])
    assert made.positions[0].quantity == 1
    assert made.positions[0].average_price == 16
    assert made.in_lieu_usd == D("8.40")
    sold = book.build([order(fill(1, Effect.OPEN, 12, "2.00")), order(fill(3, Effect.CLOSE, 1, "17"))],
                      [split(2, Fraction(1, 8), "16.80")])  # fmt: skip
    assert sold.trades[0].net_usd == D("1.40")


def test_a_holding_of_less_than_a_share_ends_as_cash_in_lieu():
    (trade,) = book.build([order(fill(1, Effect.OPEN, 5, "2"))], [split(2, Fraction(1, 10), "21")]).trades
    assert (trade.exit_reason, trade.net_usd, trade.quantity) == ("cash_in_lieu", D("0.50"), 5)
    assert trade.closed == START + timedelta(minutes=2)


def test_a_split_is_of_its_symbol_and_of_what_was_held_before_it_only():
    mine, other = fill(1, Effect.OPEN, 4, "10"), replace(fill(2, Effect.OPEN, 4, "10"), symbol="B")
    late = fill(9, Effect.OPEN, 4, "10")
    made = book.build([order(mine, "a"), order(other, "b"), order(late, "c")], [split(5, 2)])
    assert {p.signal_id: p.quantity for p in made.positions} == {"a": 8, "b": 4, "c": 4}


def test_two_positions_in_one_symbol_lose_no_share_between_them():
    a, b = fill(1, Effect.OPEN, 3, "10"), fill(2, Effect.OPEN, 3, "10")
    made = book.build([order(a, "a"), order(b, "b")], [split(3, Fraction(3, 2))])
    assert sorted(p.quantity for p in made.positions) == [4, 5]


@given(parts=st.lists(st.integers(1, 5), min_size=1, max_size=6), sold=st.lists(st.integers(1, 5), max_size=8))
def test_partial_fills_of_any_number_stay_one_position_and_become_one_trade(parts, sold):
    fills = [fill(k, Effect.OPEN, n, "10") for k, n in enumerate(parts)]
    left = sum(parts)
    for k, wanted in enumerate((*sold, left), start=len(parts)):
        n = min(wanted, left)
        if n:
            fills.append(fill(k, Effect.CLOSE, n, "11"))
            left -= n
    made = book.build([order(f) for f in fills])
    assert len(made.positions) + len(made.trades) == 1
    if left == 0:
        assert made.trades[0].quantity == sum(parts)
        assert made.trades[0].net_usd == sum(parts)


def test_closing_more_than_is_open_is_a_fault():
    with pytest.raises(ValueError, match="more were closed than are open"):
        match_fifo([fill(1, Effect.OPEN, 1, "5"), fill(2, Effect.CLOSE, 2, "5")])


def test_a_position_is_never_turned_around_and_a_sale_beyond_it_is_counted_and_leaves_the_book_readable():
    sold = replace(fill(2, Effect.CLOSE, 8, "6"), client_order_id="o1")
    made = book.build([order(fill(1, Effect.OPEN, 5, "5")), order(sold)])
    assert (made.positions, made.oversold) == ((), {sold.symbol: 3})
    assert [(t.quantity, t.net_usd) for t in made.trades] == [(5, Decimal(5))]
    assert book.build([order(sold)]).trades == ()


@pytest.mark.parametrize(("told", "meant"), [("4", "4"), ("0.333333", "1/3"), ("1.05", "21/20"), ("0.125", "1/8")])
def test_a_ratio_told_as_a_decimal_is_the_fraction_it_stands_for(told, meant):
    assert exact_ratio(D(told)) == Fraction(meant)


def test_a_split_into_nothing_is_refused():
    with pytest.raises(ValueError, match="positive ratio"):
        exact_ratio(D("0.00001"))
