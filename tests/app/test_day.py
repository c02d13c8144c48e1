"""The whole day through the very jobs of the scheduler: parity with the backtest, repeats, halts, cut histories."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from kit.home import LAST, at

from kobe.app import desk, jobs, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.day import runs, simulate, tick
from kobe.app.decision import champion, scan_params
from kobe.app.reconcile import run_reconcile
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.status import run_status
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.backtest import engine, fills
from kobe.backtest.costs import no_costs
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExitCode
from kobe.core.types import Mode
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES


@pytest.fixture
def first(calendar) -> date:
    return calendar.offset(LAST, -14)


def played(home, first, last=LAST):
    ctx = wiring.build(home, clock=simulate.clock_before(first))
    return ctx, simulate.run_simulation(ctx, first, last)


def test_two_weeks_run_every_job_once_end_with_equal_books_and_a_chain_that_verifies(home, first):
    ctx, document = played(home, first)
    assert document.exit_code is ExitCode.OK
    days = ctx.calendar.between(first, LAST)
    expected = sum(len(jobs.jobs_of(ctx, day)) for day in days)
    assert document.data["counts"] == {"ran": expected, "failed": 0, "already": 0}
    assert document.data["wrong"] == []
    assert [fired for _, _, fired in document.data["jobs"]] == [wanted for _, wanted, _ in document.data["jobs"]]
    assert len(days) == 15
    assert run_audit_verify(ctx).exit_code is ExitCode.OK
    assert len(desk.manager(ctx).book().trades) >= 3
    assert (home / "STATUS.md").read_text(encoding="utf-8").startswith("# kobe status")


def test_playing_the_same_days_again_changes_nothing(home, first):
    ctx, _ = played(home, first, LAST - timedelta(days=7))
    before = [desk.manager(ctx).orders(), run_audit_verify(ctx).data["records"]]
    again, document = played(home, first, LAST - timedelta(days=7))
    assert document.data["counts"]["ran"] == 0
    assert [desk.manager(again).orders(), run_audit_verify(again).data["records"]] == before


def test_every_simulated_trade_is_the_backtest_s_trade_for_the_same_signal(home, first):
    """One code path: same entry session, same exit session, same prices up to the quoted spread and the tick."""
    ctx, _ = played(home, first)
    panel = ctx.panel()
    features = FeatureTable(panel)
    assumptions = engine.Assumptions(costs=no_costs())
    params = scan_params(ctx, champion(ctx, LAST)[1])
    known = {}
    for name, strategy in STRATEGIES.items():
        table = strategy.signals(panel, features, params[name])
        outcomes = engine.evaluate(panel, features, table, assumptions)
        for i, signal in enumerate(table.signals(panel)):
            known[signal.signal_id] = (outcomes, i)
    trades = desk.manager(ctx).book().trades
    assert len(trades) >= 3
    for trade in trades:
        outcomes, i = known[trade.signal_id]
        w = outcomes.walked
        factor = panel.raw_factor[w.entry_row[i]]
        sessions = panel.calendar.sessions
        assert trade.opened.date() == sessions[panel.session[w.entry_row[i]]]
        assert trade.closed.date() == sessions[panel.session[w.exit_row[i]]]
        assert trade.exit_reason.startswith(fills.REASONS[w.reason[i]]) or trade.exit_reason == "stop_or_target"
        retried = trade.opened.astimezone(NEW_YORK).hour == 10  # an hour later, the price has moved
        room = 0.05 if retried else 0.0015
        assert abs(float(trade.entry_price) - w.entry_price[i] * factor) < room * w.entry_price[i] * factor + 0.02
        assert abs(float(trade.exit_price) - w.exit_price[i] * factor) < 0.0015 * w.exit_price[i] * factor + 0.02


def test_a_scan_of_a_past_day_is_the_same_from_bars_cut_at_that_day(home, made_home, first, tmp_path, calendar):
    """Byte for byte: nothing after the session's close can reach the picks."""
    from kit.home import copy_home

    from kobe.app import import_bars

    day = calendar.offset(first, 6)
    whole = wiring.build(home)
    run_scan(whole, ScanRequest(session=day))
    cut_home = copy_home(made_home, tmp_path / "cut")
    cut = wiring.build(cut_home)
    import polars as pl

    bars = cut.store.frame().filter(pl.col("date") <= day)
    import_bars.keep(cut, bars, cut.store.manifest().provenance, "cut", replace=True)
    run_scan(cut, ScanRequest(session=day))
    names = [f"{n}.{kind}" for n in ("daily_picks", "trade_of_day") for kind in ("jsonl", "csv")]
    for name in names:
        theirs = (cut.paths.of_session(day) / name).read_bytes()
        assert (whole.paths.of_session(day) / name).read_bytes() == theirs
    assert (cut.paths.of_session(day) / "daily_picks.jsonl").stat().st_size > 0


def test_a_model_may_not_speak_about_sessions_before_its_evidence(home, calendar):
    ctx = wiring.build(home)
    known = ctx.models.entries()[0].knowable_from
    assert champion(ctx, known) is not None
    assert champion(ctx, calendar.previous(known)) is None
    document = run_scan(ctx, ScanRequest(session=calendar.previous(known), dry_run=True))
    assert document.data["trade_of_day"]["action"] == "no_trade"


def trading_day(home, first, calendar):
    """A session whose eve's scan chose a trade, with a context at 09:35 of it."""
    for k in range(14):
        day = calendar.offset(first, k)
        ctx = wiring.build(home, clock=at(day, 9, 35))
        chosen = run_scan(ctx, ScanRequest(session=calendar.previous(day))).data["trade_of_day"]
        if chosen["action"] == "trade":
            return ctx, day, chosen
    pytest.fail("the market of the tests has no trade in two weeks")


def test_submitting_twice_sends_once(home, first, calendar):
    ctx, _, chosen = trading_day(home, first, calendar)
    once, twice = run_submit_totd(ctx, SubmitRequest()), run_submit_totd(ctx, SubmitRequest())
    assert once.data["order"]["client_order_id"] == twice.data["order"]["client_order_id"]
    assert twice.data["status"] == "already_done"
    opening = [o.client_order_id for o in ctx.broker.orders() if "-open-" in o.client_order_id]
    assert [desk.manager(ctx).orders()[name].request.signal_id for name in opening] == [chosen["signal_id"]]


def test_a_dry_run_shows_the_gates_and_sends_nothing(home, first, calendar):
    ctx, _, _ = trading_day(home, first, calendar)
    document = run_submit_totd(ctx, SubmitRequest(dry_run=True))
    assert document.data["status"] == "dry_run"
    assert list(ctx.broker.orders()) == []
    assert desk.manager(ctx).orders() == {}


def test_the_kill_switch_refuses_and_nothing_reaches_the_broker(home, first, calendar):
    ctx, _, _ = trading_day(home, first, calendar)
    ctx.kill_switch.engage("drill")
    document = run_submit_totd(ctx, SubmitRequest())
    assert document.exit_code is ExitCode.REFUSED
    assert "kill_switch" in document.data["message"]
    assert list(ctx.broker.orders()) == []


def test_a_kill_switch_made_between_the_gates_and_the_wire_still_wins(home, first, calendar):
    ctx, day, _ = trading_day(home, first, calendar)
    oms = desk.manager(ctx)
    from dataclasses import replace

    tripped = replace(oms, checkpoint=lambda name: ctx.kill_switch.engage("late") if name == "after_intent" else None)
    from kobe.app import entry_order
    from kobe.decisions import scan as decide

    found = decide.run(ctx.panel(), calendar.previous(day), model=champion(ctx, calendar.previous(day)),
                       params=scan_params(ctx, champion(ctx, day)[1]), limits=ctx.limits)  # fmt: skip
    symbol = found.trade_of_day.signal.symbol
    quote = ctx.quotes.quotes([symbol])[symbol]
    draft, past = entry_order.draft(found.trade_of_day, quote, 1), desk.last_panel(ctx)
    size, facts = entry_order.sized(ctx, tripped, draft, found.trade_of_day, quote, past)
    order, _ = desk.send_judged(ctx, tripped, replace(draft, quantity=size.quantity), facts)
    assert order.status.word == "abandoned"
    assert list(ctx.broker.orders()) == []


def test_an_order_the_ledger_never_wrote_halts_openings_until_it_is_gone(home, first, calendar):
    ctx, _, _ = trading_day(home, first, calendar)
    run_submit_totd(ctx, SubmitRequest())
    from kobe.core.types import Effect, OrderRequest, OrderType, Side

    stray = OrderRequest(client_order_id="someone-else-1", signal_id="x", strategy="hand", symbol="SYN001",
                         side=Side.LONG, effect=Effect.OPEN, order_type=OrderType.MARKET, quantity=1,
                         limit_price=None, stop_price=None, session=ctx.today, reason="by hand")  # fmt: skip
    assert ctx.broker.submit(stray).filled
    document = run_reconcile(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert {d["kind"] for d in document.data["differences"]} == {"foreign_fill", "orphan"}
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY
    assert any("REDUCE_ONLY" in p["what"] for p in run_status(ctx).data["problems"])


def test_a_missed_entry_is_recorded_and_never_made_up_for(home, first, calendar):
    ctx = wiring.build(home, clock=at(first, 11, 45))
    done = dict(tick.tick(ctx))
    assert set(done) == {"holdings", "reconcile-open", "exits-open"}
    missed = {r.job for r in runs.history(ctx.ledger) if r.status == "missed"}
    assert missed == {"morning-report", "scan", "submit", "retry"}
    assert list(ctx.broker.orders()) == []


def test_evening_jobs_of_the_day_before_are_made_up_for(home, first, calendar):
    early = wiring.build(home, clock=at(first, 9, 35))
    tick.tick(early)
    late = wiring.build(home, clock=at(calendar.next(first), 8, 0))
    rounds = [[name for name, _ in tick.tick(late)] for _ in range(6)]
    assert rounds == [["morning-report", "holdings"], ["reconcile"], ["prepare"], ["drift"], ["eod-report"], []]


def test_the_budget_of_the_day_counts_reservations_and_resets_with_new_york_s_date(home, first, calendar):
    from kobe.execution import book

    ctx, day, _ = trading_day(home, first, calendar)
    run_submit_totd(ctx, SubmitRequest())
    intents = desk.manager(ctx).intents()
    used = book.day_used_usd(intents, ctx.clock.now())
    order = next(o for o, _ in intents)
    assert used == sum((f.price * f.quantity for f in order.fills), Decimal(0)) > 0
    tomorrow = at(calendar.next(day), 0, 1).now()
    assert book.day_used_usd(intents, tomorrow) == 0
    assert book.day_used_usd(intents, tomorrow - timedelta(minutes=2)) == used
    yesterday = at(calendar.previous(day), 12, 0).now()
    assert book.day_used_usd(intents, yesterday) == used, "a clock set back must not free the budget"


def test_the_half_day_closes_positions_at_five_to_one(calendar):
    half = date(2024, 11, 29)
    closing = next(j for j in jobs.JOBS if j.name == "exits-close").slot
    instant = closing.instant(calendar, half)
    assert instant == at(half, 12, 55).now()
