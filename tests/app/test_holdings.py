"""What companies did overnight: shares, stops and money stay right across a split, the rest freezes a holding."""

import shutil
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from kit import holding
from kit.wayward import wayward

from kobe.app import breakers, desk, jobs, protect, wiring
from kobe.app.day import perform
from kobe.app.flatten import FlattenRequest, run_flatten
from kobe.app.holdings import run_holdings, void_split
from kobe.app.manage_exits import run_manage_exits
from kobe.core.errors import ExitCode, UsageError
from kobe.core.ports import CorporateChange
from kobe.core.types import Mode
from kobe.data.providers.synthetic import SyntheticSpec
from kobe.execution import corporate, exits

D = Decimal
SPEC = SyntheticSpec(symbols=60, years=2, seed=7)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with a market of many stocks, some of which split."""
    return holding.make(tmp_path_factory.mktemp("base") / "home", spec=SPEC)


def splits_of(ctx):
    """(symbol, session, ratio) of every split in the second year's bars."""
    panel, found = ctx.panel(), []
    for symbol in panel.symbols:
        mine = panel[symbol]
        factor = panel.raw_factor[mine.first_row : mine.first_row + len(mine)]
        for i in np.flatnonzero(np.abs(factor[:-1] / factor[1:] - 1) > 1e-6):
            day = panel.calendar.sessions[mine.session[i + 1]]
            if day > date(2024, 3, 1):
                found.append((symbol, day, Fraction(float(factor[i] / factor[i + 1])).limit_denominator(100)))
    return found


@pytest.fixture
def before_split(base, tmp_path):
    """A protected position on the eve of a split: context, symbol, signal, the session of the split and its ratio."""
    folder = shutil.copytree(base, tmp_path / "home")
    probe = wiring.build(folder, clock=holding.clock(holding.DAY, 10, 0))
    for symbol, day, ratio in splits_of(probe):
        eve = probe.calendar.previous(day)
        if symbol in holding.affordable(probe, eve):
            ctx = wayward(wiring.build(folder, clock=holding.clock(eve, 10, 0)))
            signal = holding.enter(ctx, symbol, 7, hold=5)
            run_manage_exits(ctx)
            if protect.position_of(desk.manager(ctx), signal) is not None:
                holding.move(ctx, eve, 15, 40)
                run_manage_exits(ctx)
                if protect.position_of(desk.manager(ctx), signal) is not None:
                    return ctx, symbol, signal, day, ratio
    pytest.fail("the market of the test has no split of a stock one could hold")


def guard_of(ctx, signal):
    return exits.resting(desk.manager(ctx).orders().values(), signal)


def test_a_split_rescales_shares_and_price_and_the_books_are_equal_again(before_split):
    ctx, symbol, signal, day, ratio = before_split
    was = protect.position_of(desk.manager(ctx), signal)
    holding.move(ctx, day, 8, 0)
    document = run_holdings(ctx, day)
    now = protect.position_of(desk.manager(ctx), signal)
    assert document.data["changes"][0][:4] == [symbol, "split", str(day), str(ratio)]
    assert now.quantity == was.quantity * ratio // 1 == ctx.broker.account().positions[symbol]
    assert abs(now.average_price * ratio.numerator / ratio.denominator - was.average_price) < D("1e-20")
    assert desk.current_mode(ctx).mode is Mode.NORMAL
    assert breakers.open_breakers(ctx) == {}, "at no moment did the books differ"


def test_protection_in_old_shares_is_gone_before_the_open_and_stands_anew_where_it_stood(before_split):
    ctx, _, signal, day, ratio = before_split
    was = guard_of(ctx, signal).request
    holding.move(ctx, day, 8, 0)
    run_holdings(ctx, day)
    old = [o for o in ctx.broker.inner.orders() if o.client_order_id == was.client_order_id]
    assert old[0].status.is_final, "in new prices it would sell at the open, and too few shares"
    holding.move(ctx, day, 9, 35)
    run_manage_exits(ctx)
    now = guard_of(ctx, signal)
    if now is None:
        pytest.fail("the stock fell through its stop overnight")
    assert now.request.quantity == was.quantity * ratio // 1
    scaled = was.stop_price * ratio.denominator / ratio.numerator
    assert abs(now.request.stop_price - scaled) <= D("0.02")


def test_repeated_runs_have_one_effect(before_split):
    ctx, _, signal, day, _ = before_split
    holding.move(ctx, day, 8, 0)
    run_holdings(ctx, day)
    held, events = protect.position_of(desk.manager(ctx), signal), len(ctx.ledger.events(corporate.STREAM))
    again = run_holdings(ctx, day)
    assert again.data["changes"] == []
    assert protect.position_of(desk.manager(ctx), signal) == held
    assert len(ctx.ledger.events(corporate.STREAM)) == events


def test_a_run_that_was_missed_is_made_up_for_in_a_later_session(before_split):
    ctx, _, signal, day, ratio = before_split
    was = protect.position_of(desk.manager(ctx), signal)
    late = ctx.calendar.next(day)
    holding.move(ctx, late, 8, 0)
    run_holdings(ctx, late)
    position = protect.position_of(desk.manager(ctx), signal)
    if position is None:
        pytest.skip("it was stopped out in the meantime")
    assert position.quantity == was.quantity * ratio // 1


def test_a_position_sold_after_its_split_is_one_trade_whose_money_is_the_broker_s(before_split):
    ctx, symbol, _, day, _ = before_split
    holding.move(ctx, day, 8, 0)
    run_holdings(ctx, day)
    holding.move(ctx, day, 10, 0)
    run_flatten(ctx, FlattenRequest(reason="test"))
    book = desk.manager(ctx).book()
    assert ctx.broker.account().positions.get(symbol, 0) == 0
    (trade,) = book.trades
    cash = ctx.broker.account().cash_usd - 10_000
    assert abs(trade.net_usd - cash) < D("0.01")
    paid = sum((m.usd for m in ctx.broker.cash_moves(day)), D(0))
    assert abs(book.in_lieu_usd - paid) <= D("0.01")


def test_bought_after_the_split_nothing_is_rescaled(before_split):
    ctx, symbol, _, day, _ = before_split
    holding.move(ctx, day, 8, 0)
    run_holdings(ctx, day)
    holding.move(ctx, day, 10, 0)
    run_flatten(ctx, FlattenRequest())
    desk.set_mode(ctx, "operator", Mode.NORMAL, "test")
    holding.move(ctx, day, 11, 0)
    names = [n for n in holding.affordable(ctx, day) if n != symbol][:1]
    holding.move(ctx, day, 11, 0)
    signal = holding.enter(ctx, names[0], 3)
    assert protect.position_of(desk.manager(ctx), signal).quantity == 3


class Told:
    """A broker that tells of changes of its own."""

    def __init__(self, inner, *changes):
        self.inner, self.changes = inner, changes

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def corporate_changes(self, symbols, session):
        return tuple(c for c in self.changes if c.symbol in symbols and c.effective == session)


@pytest.mark.parametrize("kind", ["merger", "delisting", "symbol_change"])
def test_anything_but_a_split_freezes_the_holding_keeps_its_stop_and_turns_openings_off(base, tmp_path, kind):
    folder = shutil.copytree(base, tmp_path / "home")
    ctx = wiring.build(folder, clock=holding.clock(holding.DAY, 10, 0))
    symbol = holding.affordable(ctx, holding.DAY)[0]
    holding.move(ctx, holding.DAY, 10, 0)
    signal = holding.enter(ctx, symbol, hold=1)
    run_manage_exits(ctx)
    day = ctx.calendar.next(holding.DAY)
    change = CorporateChange(symbol=symbol, kind=kind, effective=day, symbol_after="NEW", detail="cash and stock")
    ctx = replace(ctx, broker=Told(ctx.broker, change))
    holding.move(ctx, day, 8, 0)
    document = run_holdings(ctx, day)
    assert document.exit_code is ExitCode.PARTIAL
    assert "FROZEN" in document.summary[1]
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY
    holding.move(ctx, day, 15, 55)
    exits_run = run_manage_exits(ctx)
    assert exits_run.data["due"] == [], "its time exit is overdue, and is not sent by itself"
    assert any("its exits are not sent" in note for note in exits_run.data["notes"])
    if protect.position_of(desk.manager(ctx), signal) is not None:
        assert guard_of(ctx, signal) is not None
        run_flatten(ctx, FlattenRequest(symbol=symbol))
    assert protect.position_of(desk.manager(ctx), signal) is None
    run_holdings(ctx, day)
    assert "corporate_actions" not in {r.source for r in desk.current_mode(ctx).reasons}


def test_without_holdings_nobody_is_asked(base, tmp_path):
    ctx = wayward(wiring.build(shutil.copytree(base, tmp_path / "home"), clock=holding.clock(holding.DAY, 8, 0)))
    document = run_holdings(ctx, holding.DAY)
    assert document.summary[0] == "nothing is held"
    assert document.exit_code is ExitCode.OK


@pytest.fixture
def held(base, tmp_path):
    """A protected position of seven shares at eight the next morning: context, symbol, signal, session."""
    folder = shutil.copytree(base, tmp_path / "home")
    ctx = wiring.build(folder, clock=holding.clock(holding.DAY, 10, 0))
    symbol = holding.affordable(ctx, holding.DAY)[0]
    holding.move(ctx, holding.DAY, 10, 0)
    signal = holding.enter(ctx, symbol, 7, hold=9)
    run_manage_exits(ctx)
    day = ctx.calendar.next(holding.DAY)
    holding.move(ctx, day, 8, 0)
    return ctx, symbol, signal, day


class Counting(Told):
    """A broker that also says how many shares it holds."""

    shares = None

    def account(self):
        seen = self.inner.account()
        return seen if self.shares is None else replace(seen, positions=self.shares)


def telling(ctx, shares, *changes):
    broker = Counting(ctx.broker, *changes)
    broker.shares = shares
    return replace(ctx, broker=broker)


def split_of(symbol, day, ratio):
    return CorporateChange(symbol=symbol, kind="split", effective=day, ratio=D(ratio))


def count(ctx, signal):
    position = protect.position_of(desk.manager(ctx), signal)
    return 0 if position is None else position.quantity


def test_a_split_the_broker_has_not_carried_out_yet_is_waited_for(held):
    ctx, symbol, signal, day = held
    ctx = telling(ctx, {symbol: 7}, split_of(symbol, day, 2))
    job = jobs.job_named("holdings")
    document = perform.run_job(ctx, job, day)
    assert document.exit_code is ExitCode.PARTIAL
    assert "kobe jobs run holdings --again" in document.summary[1]
    assert (count(ctx, signal), guard_of(ctx, signal).request.quantity) == (7, 7)
    ctx.broker.shares = {symbol: 14}
    document = perform.run_job(ctx, job, day)
    assert document is not None, "it was not over"
    assert count(ctx, signal) == 14
    assert perform.run_job(ctx, job, day) is None


def test_the_same_split_told_again_for_another_session_is_not_applied_twice(held):
    ctx, symbol, signal, day = held
    later = ctx.calendar.next(day)
    ctx = telling(ctx, {symbol: 14}, split_of(symbol, day, 2), split_of(symbol, later, 2))
    run_holdings(ctx, day)
    holding.move(ctx, later, 8, 0)
    document = run_holdings(ctx, later)
    assert count(ctx, signal) == 14
    assert document.exit_code is ExitCode.OK
    assert any("told again" in note for note in document.data["notes"])


@pytest.mark.parametrize(("ratios", "shares"), [(("2", "3"), 42), (("3", "0.5"), 10)])
def test_two_splits_of_one_symbol_on_one_day_both_count(held, ratios, shares):
    ctx, symbol, signal, day = held
    ctx = telling(ctx, {symbol: shares}, *[split_of(symbol, day, ratio) for ratio in ratios])
    assert len(run_holdings(ctx, day).data["changes"]) == 2
    assert count(ctx, signal) == shares


def test_a_split_that_was_recorded_wrongly_is_taken_back_by_an_operator_and_may_come_again(held):
    ctx, symbol, signal, day = held
    stop = guard_of(ctx, signal).request
    ctx = telling(ctx, {symbol: 14}, split_of(symbol, day, 2))
    run_holdings(ctx, day)
    ctx.broker.shares = {symbol: 7}
    document = void_split(ctx, symbol, day, "the broker took it back")
    assert (count(ctx, signal), document.data["held"]) == (7, 7)
    assert run_holdings(ctx, day).data["changes"] == []
    now = guard_of(ctx, signal)
    assert now is None or (now.request.quantity, now.request.stop_price) == (7, stop.stop_price)
    with pytest.raises(UsageError, match="no such split"):
        void_split(ctx, symbol, day, "again")
    ctx.broker.shares = {symbol: 14}
    run_holdings(ctx, day)
    assert count(ctx, signal) == 14


def test_a_void_needs_a_reason(held):
    ctx, symbol, _, day = held
    with pytest.raises(UsageError, match="without a reason"):
        void_split(ctx, symbol, day, " ")


def test_a_reverse_split_that_leaves_no_share_takes_the_guard_away(held):
    ctx, symbol, signal, day = held
    name = guard_of(ctx, signal).request.client_order_id
    ctx = telling(ctx, {}, split_of(symbol, day, "0.1"))
    run_holdings(ctx, day)
    assert count(ctx, signal) == 0
    assert ctx.broker.inner.lookup(name).status.is_final, "it would sell what is not there"


def test_a_guard_of_nothing_is_taken_away_when_nothing_is_held(held):
    ctx, symbol, signal, day = held
    name = guard_of(ctx, signal).request.client_order_id
    split = split_of(symbol, day, "0.1")
    payload = corporate.change_json(split, day, ctx.calendar.opens_at(day), D(0))
    ctx.ledger.append(corporate.STREAM, symbol, "split", payload, key="test")
    document = run_holdings(ctx, day)
    assert document.summary[0] == "nothing is held"
    assert document.data["notes"] == [f"{name} guarded nothing: canceled, 0 filled"]
