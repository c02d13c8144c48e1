"""The cash book to the cent: what must be there, what a fee or rounding explains, and what halts."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kobe.core.ports import BrokerOrder, CashMove
from kobe.core.types import Effect, Fill, OrderStatus, Side
from kobe.execution import cash
from kobe.execution.cash import Anchor
from kobe.execution.reconcile import Cause, Remedy

D = Decimal
DAY = date(2024, 6, 5)
AT = datetime(2024, 6, 5, 14, 0, tzinfo=UTC)
ANCHOR = Anchor(cash_usd=D("10000.00"), day=DAY, sequence=7, moves=frozenset({"old"}))


def fill(name, quantity, price, *, sells=False, fee="0", at=AT):
    return Fill(fill_id=f"{name}:1", client_order_id=name, symbol="AAA", side=Side.LONG,
                effect=Effect.CLOSE if sells else Effect.OPEN, quantity=quantity, price=D(price), fee_usd=D(fee),
                at=at)  # fmt: skip


def move(move_id, kind, usd, day=DAY):
    return CashMove(move_id=move_id, kind=kind, day=day, usd=D(usd))


def look(actual, fills=(), moves=(), foreign=None, anchor=ANCHOR, booked=()):
    found = cash.identity(anchor, fills, moves, foreign or {}, D(actual))
    free = cash.unpaid(cash.sales_of(fills), booked, DAY)
    return found, cash.judge(found, list(fills), free), free


def test_the_book_adds_buys_sales_fees_and_moves_and_leaves_known_moves_out():
    fills = [fill("b", 3, "20.10"), fill("s", 3, "21.00", sells=True, fee="0.01")]
    moves = [move("old", "transfer", "500"), move("new", "dividend", "1.20")]
    found, judged, _ = look("10003.89", fills, moves)
    assert found.expected_usd == D("10003.89")
    assert judged is None
    assert "10,000.00" in found.words
    assert "difference 0.00" in found.words


def test_what_nothing_explains_halts_with_both_numbers():
    _, judged, _ = look("9990.00", [fill("b", 1, "5.00")])
    assert (judged.cause, judged.remedy) == (Cause.OTHER, Remedy.HALT)
    assert (judged.ours, judged.broker) == ("9995.00", "9990.00")


def test_one_cent_a_fill_is_rounding_and_two_are_not():
    fills = [fill("b", 1, "5.00")]
    assert look("9995.01", fills)[1].cause is Cause.ROUNDING
    assert look("9994.99", fills)[1].cause is Cause.ROUNDING
    assert look("9995.02", fills)[1].remedy is Remedy.HALT


def test_a_fraction_of_a_cent_is_no_difference():
    assert look("9995.004", [fill("b", 1, "5.00")])[1] is None


def test_a_small_charge_after_sales_without_a_fee_is_a_fee_and_is_shared_by_what_they_sold():
    fills = [fill("s1", 1, "30.00", sells=True), fill("s2", 1, "60.00", sells=True)]
    found, judged, free = look("10089.97", fills)
    assert (judged.cause, judged.remedy) == (Cause.FEE, Remedy.BOOK)
    share = cash.untold_fee(found, free, DAY, 1)
    assert share.parts == {"s1": D("0.01"), "s2": D("0.02")}


def test_a_charge_larger_than_any_fee_of_those_sales_halts():
    assert look("10029.90", [fill("s1", 1, "30.00", sells=True)])[1].remedy is Remedy.HALT


def test_sales_whose_fee_was_told_or_booked_explain_no_other_charge():
    told = [fill("s1", 1, "30.00", sells=True, fee="0.01")]
    assert look("10029.96", told)[1].remedy is Remedy.HALT
    plain = [fill("s1", 1, "30.00", sells=True)]
    assert look("10029.97", plain, booked=("s1",))[1].remedy is Remedy.HALT


def test_a_fee_that_is_told_late_is_booked_to_the_sales_of_its_day():
    early, late = AT - timedelta(days=2), AT
    sales = [fill("s1", 1, "30.00", sells=True, at=early), fill("s2", 1, "60.00", sells=True, at=late)]
    fees = cash.fee_shares(ANCHOR, [move("f", "fee", "-0.03", DAY - timedelta(days=1))], sales)
    assert [f.parts for f in fees] == [{"s1": D("0.03")}]
    assert not cash.fee_shares(ANCHOR, [move("old", "fee", "-0.03")], sales)


def test_a_fee_that_was_charged_first_and_told_later_counts_once():
    ahead = Anchor(cash_usd=D("10000.00"), day=DAY, sequence=7, ahead_usd=D("0.03"))
    found, judged, _ = look("10000.00", moves=[move("f", "fee", "-0.03")], anchor=ahead)
    assert judged is None
    assert found.moves_usd == 0
    assert not cash.fee_shares(ahead, [move("f", "fee", "-0.03")], [fill("s", 1, "30.00", sells=True)])
    after = cash.next_anchor(ahead, [move("f", "fee", "-0.03")], {}, ANCHOR)
    assert after.ahead_usd == 0


def test_what_was_bought_by_hand_is_known_to_the_cash_book_once():
    order = BrokerOrder(client_order_id="by-hand", symbol="ZZZ", quantity=2, is_buy=True, status=OrderStatus.FILLED,
                        filled=2, average_price=D("10.00"), at=AT)  # fmt: skip
    foreign = cash.foreign_flows([order])
    assert look("9980.00", foreign=foreign)[1] is None
    after = cash.next_anchor(ANCHOR, [], foreign, Anchor(cash_usd=D("9980.00"), day=DAY, sequence=7))
    assert look("9980.00", foreign=foreign, anchor=after)[1] is None


def test_an_anchor_keeps_the_moves_that_may_be_told_again_and_no_older_ones():
    moves = [move("recent", "dividend", "1", DAY - timedelta(days=7)), move("gone", "fee", "-1", date(2024, 5, 1))]
    after = cash.next_anchor(ANCHOR, moves, {}, Anchor(cash_usd=D(1), day=DAY, sequence=9))
    assert after.moves == {"recent"}
    assert Anchor.read(after.document()) == after


@given(
    cents=st.integers(-5000, 5000),
    sold=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 99_999)), min_size=1, max_size=8),
)
def test_the_parts_of_a_fee_are_whole_cents_and_sum_to_it(cents, sold):
    usd = D(cents) / 100
    sales = [fill(f"s{k}", quantity, str(D(price) / 100), sells=True) for k, (quantity, price) in enumerate(sold)]
    parts = cash.spread(usd, sales)
    assert sum(parts.values(), D(0)) == usd
    assert all(v == v.quantize(D("0.01")) for v in parts.values())
    assert all((v > 0) == (usd > 0) for v in parts.values())


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(100, 9999), st.integers(0, 3)), max_size=20),
    gone=st.lists(st.integers(-10_000, 10_000), max_size=5),
)
def test_a_broker_that_books_everything_always_agrees(steps, gone):
    fills = [fill(f"o{k}", quantity, str(D(price) / 100), sells=sells, fee=str(D(fee) / 100))
             for k, (sells, quantity, price, fee) in enumerate(steps)]  # fmt: skip
    moves = [move(f"m{k}", "transfer", str(D(cents) / 100)) for k, cents in enumerate(gone)]
    truth = ANCHOR.cash_usd
    for f in fills:
        truth += (1 if f.effect is Effect.CLOSE else -1) * f.price * f.quantity - f.fee_usd
    truth += sum((m.usd for m in moves), D(0))
    found, judged, _ = look(truth, fills, moves)
    assert found.difference_usd == 0
    assert judged is None
