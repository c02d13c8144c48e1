"""Both books compared on a home with its simulated broker: repaired by rule, judged twice, or openings stop."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from kit.home import at, copy_home

from kobe.app import books, cash_book, desk, equity, import_bars, wiring
from kobe.app.reconcile import ReconcileRequest, run_reconcile
from kobe.core.errors import ExitCode, ExternalError
from kobe.core.ports import CashMove
from kobe.core.types import Effect, Mode, OrderRequest, OrderType, Side
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.execution import order

D = Decimal
DAY = date(2024, 12, 17)


@pytest.fixture(scope="session")
def market_home(tmp_path_factory):
    """A home with bars and nothing else."""
    folder = tmp_path_factory.mktemp("market") / "home"
    ctx = wiring.build(folder)
    bars = synthetic_market(SyntheticSpec(symbols=5, years=1, last_session=date(2024, 12, 31)), ctx.calendar)
    import_bars.keep(ctx, bars, Provenance(source="synthetic"), "synthetic", replace=True)
    ctx.ledger.close()
    return folder


@pytest.fixture
def ctx(market_home, tmp_path):
    (tmp_path / "x").mkdir()
    folder = copy_home(market_home, tmp_path / "home")
    settings = folder / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[sim]\nno_fill_share = 0.0\npartial_share = 0.0\n", encoding="utf-8")
    return wiring.build(folder, clock=at(DAY, 10, 0))


class Meddled:
    """The home's broker, whose account and moves the test may change."""

    def __init__(self, broker, cash=0, moves=(), positions=None, hidden=()):
        self._broker, self._cash, self._moves = broker, D(cash), tuple(moves)
        self._positions, self._hidden = positions, hidden

    def __getattr__(self, name):
        return getattr(self._broker, name)

    def account(self):
        told = self._broker.account()
        positions = told.positions if self._positions is None else self._positions
        return replace(told, cash_usd=told.cash_usd + self._cash, positions=positions)

    def cash_moves(self, since):
        return tuple(m for m in self._moves if m.day >= since)

    def orders(self, since=None):
        return [o for o in self._broker.orders(since) if o.client_order_id not in self._hidden]


def meddled(ctx, **changes):
    return replace(ctx, broker=Meddled(ctx.broker, **changes))


def wish(name, quantity=2, symbol="SYN001", effect=Effect.OPEN, order_type=OrderType.MARKET, **changes):
    return OrderRequest(
        **{"client_order_id": name, "signal_id": "sig", "strategy": "ibs_rsi", "symbol": symbol, "side": Side.LONG,
           "effect": effect, "order_type": order_type, "quantity": quantity, "limit_price": None, "stop_price": None,
           "session": DAY, "reason": "test"} | changes
    )  # fmt: skip


def intend(ctx, request, status=""):
    """Write an order into the ledger alone, with an end when one is given."""
    name = request.client_order_id
    ctx.ledger.append(order.STREAM, name, "intent", order.request_json(request), key=f"{name}:intent")
    if status:
        ctx.ledger.append(order.STREAM, name, "status", {"status": status, "detail": ""}, key=f"{name}:{status}")


def traded(ctx, request):
    """Let the broker take an order and the ledger know of it."""
    intend(ctx, request)
    ctx.broker.submit(request)
    return run_reconcile(ctx)


def told(document, *names):
    return [tuple(d[n] for n in names or ("kind", "class", "remedy", "done")) for d in document.data["differences"]]


def mode(ctx):
    return desk.current_mode(ctx).mode


def test_the_first_comparison_begins_the_cash_book_and_the_next_one_takes_it_apart(ctx):
    first = run_reconcile(ctx)
    assert first.exit_code is ExitCode.OK
    assert first.data["cash"]["anchor_usd"] == "10000"
    document = traded(ctx, wish("kobe-1"))
    assert document.exit_code is ExitCode.OK
    fill = desk.manager(ctx).orders()["kobe-1"].fills[0]
    money = document.data["cash"]
    assert (D(money["anchor_usd"]), D(money["fills_usd"])) == (10_000, -fill.price * fill.quantity)
    assert money["difference_usd"] == "0.00"
    anchor = ctx.ledger.events("cash", entity="sim:sim")[-1].payload
    assert D(anchor["cash_usd"]) == 10_000 - fill.price * fill.quantity - fill.fee_usd
    assert mode(ctx) is Mode.NORMAL


def test_equal_books_write_nothing_a_second_time(ctx):
    traded(ctx, wish("kobe-1"))
    before = len(ctx.ledger.events("cash"))
    run_reconcile(ctx)
    assert len(ctx.ledger.events("cash")) == before
    assert not ctx.ledger.events("reconcile")


def test_a_fill_that_came_after_the_end_of_our_order_is_written_into_the_ledger_and_named(ctx):
    run_reconcile(ctx)
    request = wish("kobe-1")
    intend(ctx, request, "canceled")
    ctx.broker.submit(request)
    document = run_reconcile(ctx)
    assert document.exit_code is ExitCode.OK
    assert ("fills", "late_fill", "adopt", True) in told(document)
    known = desk.manager(ctx).orders()["kobe-1"]
    assert (known.filled, known.status.word) == (2, "canceled")
    assert mode(ctx) is Mode.NORMAL


def test_an_order_with_our_name_that_nobody_wrote_halts_openings_and_is_not_adopted(ctx):
    run_reconcile(ctx)
    ctx.broker.submit(wish("kobe-stranger"))
    document = run_reconcile(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert ("unknown_order", "lost_order", "halt", False) in told(document)
    assert ("orphan", "orphan", "halt", False) in told(document)
    assert not desk.manager(ctx).orders()
    assert mode(ctx) is Mode.REDUCE_ONLY
    assert "kobe-stranger" in document.summary[0]


def test_what_was_bought_by_hand_halts_until_it_is_sold_again_and_its_cash_is_explained(ctx):
    run_reconcile(ctx)
    ctx.broker.submit(wish("by-hand-1", signal_id="hand"))
    document = run_reconcile(ctx)
    assert {d[0] for d in told(document)} == {"foreign_fill", "orphan"}
    assert mode(ctx) is Mode.REDUCE_ONLY
    ctx.broker.submit(wish("by-hand-2", signal_id="hand", effect=Effect.CLOSE))
    document = run_reconcile(ctx)
    assert ("cash", "fee", "book", True) in told(document), "what the sale was charged nobody told"
    assert not [d for d in document.data["differences"] if d["remedy"] == "halt"]
    assert document.exit_code is ExitCode.OK
    assert mode(ctx) is Mode.NORMAL


def test_a_difference_of_a_symbol_with_an_order_on_its_way_holds_openings_and_is_a_halt_when_seen_again(ctx):
    run_reconcile(ctx)
    traded(ctx, wish("kobe-1"))
    lost = wish("kobe-3", signal_id="other")
    ctx.ledger.append(order.STREAM, "kobe-3", "intent", order.request_json(lost), key="kobe-3:intent")
    odd = meddled(ctx, positions={"SYN001": 1})
    document = run_reconcile(odd)
    assert ("position", "other", "wait", False) in told(document)
    assert document.exit_code is ExitCode.PARTIAL
    assert mode(ctx) is Mode.REDUCE_ONLY
    assert any("SYN001" in line for line in books.in_flight(odd))
    ctx.clock.advance(seconds=11)
    document = run_reconcile(odd)
    assert ("position", "other", "halt", False) in told(document)
    assert mode(ctx) is Mode.REDUCE_ONLY
    assert run_reconcile(ctx).exit_code is ExitCode.OK
    assert mode(ctx) is Mode.NORMAL
    assert not books.in_flight(ctx)


def test_the_same_difference_without_an_order_on_its_way_halts_at_once_and_a_guard_that_rests_is_none(ctx):
    traded(ctx, wish("kobe-1"))
    traded(ctx, wish("kobe-2", effect=Effect.CLOSE, order_type=OrderType.GTC_STOP, stop_price=D("0.01")))
    document = run_reconcile(meddled(ctx, positions={"SYN001": 1}))
    assert ("position", "other", "halt", False) in told(document)
    assert mode(ctx) is Mode.REDUCE_ONLY


def test_an_order_the_broker_does_not_tell_of_is_missing(ctx):
    traded(ctx, wish("kobe-1"))
    assert ("missing_order", "lost_order", "halt", False) in told(run_reconcile(meddled(ctx, hidden=("kobe-1",))))


def test_money_that_comes_and_goes_is_booked_by_its_kind_and_halts_nothing(ctx):
    run_reconcile(ctx)
    moves = [CashMove(move_id="a", kind="transfer", day=DAY, usd=D("500.00")),
             CashMove(move_id="b", kind="dividend", day=DAY, usd=D("1.25"), detail="DIV SYN001")]  # fmt: skip
    odd = meddled(ctx, cash=D("501.25"), moves=moves)
    document = run_reconcile(odd)
    assert told(document) == [("cash_move", "transfer", "book", True), ("cash_move", "dividend", "book", True)]
    assert document.exit_code is ExitCode.OK
    assert not told(run_reconcile(odd)), "what is booked is no news"
    assert [(m.usd, m.detail) for m in cash_book.dividends(ctx)] == [(D("1.25"), "DIV SYN001")]


def test_cash_that_nothing_explains_halts_with_both_numbers_until_it_is_adopted(ctx):
    run_reconcile(ctx)
    odd = meddled(ctx, cash=D("-3.00"))
    document = run_reconcile(odd)
    assert told(document, "kind", "ours", "broker", "remedy") == [("cash", "10000.00", "9997.00", "halt")]
    assert document.exit_code is ExitCode.PARTIAL
    assert mode(ctx) is Mode.REDUCE_ONLY
    assert "difference -3.00" in document.summary[1]
    document = run_reconcile(odd, ReconcileRequest(adopt_cash="the bank took it"))
    assert document.exit_code is ExitCode.OK
    assert mode(ctx) is Mode.NORMAL
    assert ctx.ledger.events("cash", entity="sim:sim")[-1].payload["adopted"] == "the bank took it"
    assert run_reconcile(odd).exit_code is ExitCode.OK


def test_a_fee_the_fills_did_not_know_is_booked_to_the_sale_it_belongs_to(ctx):
    traded(ctx, wish("kobe-1"))
    traded(ctx, wish("kobe-2", effect=Effect.CLOSE))
    fee = CashMove(move_id="f", kind="fee", day=DAY, usd=D("-0.02"))
    document = run_reconcile(meddled(ctx, cash=D("-0.02"), moves=[fee]))
    assert document.exit_code is ExitCode.OK
    assert cash_book.booked_fees(ctx) == {"kobe-2": D("0.02")}


def test_a_dry_run_names_the_same_and_changes_nothing(ctx):
    run_reconcile(ctx)
    request = wish("kobe-1")
    intend(ctx, request, "canceled")
    ctx.broker.submit(request)
    before = [len(ctx.ledger.events(s)) for s in ("orders", "cash", "mode", "reconcile")]
    document = run_reconcile(ctx, ReconcileRequest(dry_run=True))
    assert document.exit_code is ExitCode.PARTIAL
    assert ("fills", "late_fill", "adopt", False) in told(document)
    assert "nothing was changed" in document.summary[0]
    assert [len(ctx.ledger.events(s)) for s in ("orders", "cash", "mode", "reconcile")] == before


def test_opening_the_desk_asks_the_broker_a_handful_of_times(ctx):
    traded(ctx, wish("kobe-1"))
    asked = []

    class Counted(Meddled):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if callable(found) and not name.startswith("_"):
                asked.append(name)
            return found

    counted = replace(ctx, broker=Counted(ctx.broker))
    books.settle(counted, desk.manager(counted))
    assert sorted(asked) == ["account", "cash_moves", "orders"]


def test_a_broker_that_cannot_be_believed_about_an_order_halts_with_its_words(ctx):
    run_reconcile(ctx)
    request = wish("kobe-1")
    intend(ctx, request, "canceled")
    ctx.broker.submit(request)

    class Liar(Meddled):
        def orders(self, since=None):
            return [replace(o, filled=1, executions=o.executions) for o in super().orders(since)]

    document = run_reconcile(replace(ctx, broker=Liar(ctx.broker)))
    assert ("fills", "late_fill", "halt", False) in told(document)
    assert mode(ctx) is Mode.REDUCE_ONLY


def test_the_evening_comparison_keeps_the_equity_of_the_session_once(ctx):
    run_reconcile(ctx)
    assert equity.marks(ctx) == {}
    ctx.clock.set(at(DAY, 16, 20).now())
    run_reconcile(ctx)
    assert equity.marks(ctx) == {DAY: D("10000")}
    run_reconcile(meddled(ctx, cash=D("-5")))
    assert equity.marks(ctx) == {DAY: D("10000")}


def test_no_answer_changes_nothing(ctx):
    run_reconcile(ctx)

    class Mute(Meddled):
        def cash_moves(self, since):
            raise ExternalError("nothing was heard")

    before = len(ctx.ledger.events("cash"))
    with pytest.raises(ExternalError):
        run_reconcile(replace(ctx, broker=Mute(ctx.broker)))
    assert len(ctx.ledger.events("cash")) == before
