"""What the simulated account held at an instant, however late a move became known and whatever was asked before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from kobe.execution.brokers.sim_books import SimBooks, _Move

START, CASH = datetime(2024, 6, 3, 14, 0, tzinfo=UTC), Decimal(1_000)
moments = st.integers(0, 9).map(lambda n: START + timedelta(minutes=n))
symbols = st.sampled_from(("AAA", "BBB"))
deals = st.builds(lambda at, symbol, n: _Move(at=at, rank=1, symbol=symbol, shares=n, cash_usd=Decimal(-10 * n)),
                  moments, symbols, st.integers(-5, 9))  # fmt: skip
splits = st.builds(lambda at, symbol, ratio: _Move(at=at, rank=0, symbol=symbol, ratio=ratio, cash_usd=Decimal(1)),
                   moments, symbols, st.sampled_from([Fraction(2), Fraction(1, 3)]))  # fmt: skip


def summed(moves, until):
    """Add up every move up to an instant, from the first."""
    cash, shares = CASH, {}
    for move in sorted(moves, key=lambda m: m.order):
        if move.at <= until:
            before = shares.get(move.symbol, 0)
            before = before if move.ratio is None else int(before * move.ratio // 1)
            shares[move.symbol] = before + move.shares
            cash += move.cash_usd
    return cash, {s: n for s, n in sorted(shares.items()) if n}


@given(st.lists(st.one_of(deals, splits, moments), max_size=60))
def test_a_sum_carried_on_is_the_sum_from_the_beginning(told):
    books, moves = SimBooks(ledger=None, cash_usd=CASH), []
    for step in told:
        if isinstance(step, _Move):
            books._move(step)
            moves.append(step)
        else:
            assert books.holdings(step) == summed(moves, step)
    for minute in (9, 0, 4, 9):
        until = START + timedelta(minutes=minute)
        assert books.holdings(until) == summed(moves, until)
