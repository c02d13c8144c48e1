"""What is left undone is done again: exits that did not end, and positions without their guard."""

import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from kit import holding
from kit.wayward import wayward

from kobe.app import desk, jobs, protect, wiring
from kobe.app.day import perform, runs, tick
from kobe.app.day.runner_once import run_once
from kobe.app.doctor.checks import DoctorRequest, run_doctor
from kobe.app.manage_exits import run_manage_exits
from kobe.core.errors import ExitCode, ExternalError
from kobe.core.types import OrderStatus
from kobe.execution import exits

DAY, MINUTE = holding.DAY, timedelta(minutes=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with one position that ends today and has its guard, at ten o'clock; its evening jobs do nothing."""
    folder = holding.make(tmp_path_factory.mktemp("base") / "home")
    ctx = wiring.build(folder, clock=holding.clock(DAY, 10, 0))
    name = holding.affordable(ctx, DAY)[0]
    holding.move(ctx, DAY, 10, 0)
    holding.enter(ctx, name, hold=1)
    run_manage_exits(ctx)
    ctx.ledger.close()
    return folder


@pytest.fixture
def ctx(base, tmp_path):
    """The home, with every job of the day but the exits recorded as missed."""
    ctx = wayward(wiring.build(shutil.copytree(base, tmp_path / "home"), clock=holding.clock(DAY, 12, 0)))
    for job in jobs.JOBS:
        if job.name != "exits-close":
            perform.miss(ctx, job, DAY)
    return ctx


def guard_of(ctx):
    (position,) = desk.manager(ctx).book().positions
    return exits.resting(desk.manager(ctx).orders().values(), position.signal_id)


def statuses(ctx, name):
    return [r.status for r in runs.history(ctx.ledger) if r.job == name]


def test_exits_that_did_not_end_are_run_again_by_the_next_wake(ctx):
    ctx.broker.plan("submit", *["reject"] * 3)
    holding.move(ctx, DAY, 15, 55)
    assert [(name, told.exit_code) for name, told in tick.tick(ctx)] == [("exits-close", ExitCode.PARTIAL)]
    assert not runs.standing(ctx.ledger, "exits-close", DAY).is_settled
    assert tick.again_at(ctx) == ctx.clock.now() + MINUTE
    ctx.clock.set(tick.again_at(ctx))
    assert [(name, told.exit_code) for name, told in tick.tick(ctx)] == [("exits-close", ExitCode.OK)]
    assert statuses(ctx, "exits-close") == ["unfinished", "done"]
    assert desk.manager(ctx).book().positions == ()
    assert tick.again_at(ctx) is None
    assert tick.tick(ctx) == []


def test_the_runner_stops_waking_for_exits_two_minutes_before_the_close_and_what_is_left_is_missed_then(ctx):
    ctx.broker.plan("submit", *["reject"] * 3)
    holding.move(ctx, DAY, 15, 57, 30)
    tick.tick(ctx)
    assert guard_of(ctx) is not None
    assert tick.again_at(ctx) is None
    holding.move(ctx, DAY, 16, 20)
    assert [name for name, _ in tick.tick(ctx)] == []
    assert statuses(ctx, "exits-close") == ["unfinished", "missed"]
    assert guard_of(ctx) is not None


def test_exits_that_nobody_began_before_the_close_are_missed_and_not_called_done(ctx):
    holding.move(ctx, DAY, 16, 25)
    assert tick.tick(ctx) == []
    assert statuses(ctx, "exits-close") == ["missed"]


def test_at_the_closing_slot_the_exits_of_the_open_are_left_to_those_of_the_close(base, tmp_path):
    ctx = wayward(wiring.build(shutil.copytree(base, tmp_path / "home"), clock=holding.clock(DAY, 15, 55)))
    done = [name for name, _ in tick.tick(ctx)]
    assert "exits-close" in done
    assert "exits-open" not in done
    assert statuses(ctx, "exits-open") == ["missed"]


def test_exits_of_the_open_are_repeated_for_ten_minutes(base, tmp_path):
    ctx = wayward(wiring.build(shutil.copytree(base, tmp_path / "home"), clock=holding.clock(DAY, 9, 40)))
    assert tick.again_at(ctx) == ctx.clock.now() + MINUTE
    holding.move(ctx, DAY, 9, 50)
    assert tick.again_at(ctx) is None


def test_a_position_without_its_guard_gets_it_at_the_next_wake_and_not_twice_within_a_minute(ctx):
    ctx.broker.inner.cancel(guard_of(ctx).request.client_order_id)
    desk.manager(ctx).refresh(DAY)
    assert len(protect.uncovered(desk.manager(ctx))) == 1
    assert tick.again_at(ctx) == ctx.clock.now() + MINUTE
    ctx.broker.plan("submit", "reject")
    assert [(name, told.exit_code) for name, told in tick.tick(ctx)] == [("guards", ExitCode.PARTIAL)]
    ctx.clock.advance(seconds=59)
    assert tick.tick(ctx) == []
    ctx.clock.advance(seconds=1)
    assert [(name, told.exit_code) for name, told in tick.tick(ctx)] == [("guards", ExitCode.OK)]
    assert protect.uncovered(desk.manager(ctx)) == []
    ctx.clock.advance(seconds=60)
    assert tick.tick(ctx) == []
    assert tick.again_at(ctx) is None


def test_an_entry_whose_end_nobody_knows_is_asked_after_by_the_guards_and_what_it_bought_is_guarded(ctx):
    held = {p.symbol for p in desk.manager(ctx).book().positions}
    name = next(n for n in holding.affordable(ctx, DAY) if n not in held)
    holding.move(ctx, DAY, 12, 0)
    ctx.broker.plan("submit", "lost")
    ctx.broker.plan("lookup", "pass", *["silent"] * 3)  # the first asks after the guard that rests
    with suppress(ExternalError):
        holding.enter(ctx, name)
    assert [o.status for o in desk.manager(ctx).orders().values()].count(OrderStatus.UNKNOWN) == 1
    holding.move(ctx, DAY, 12, 5)
    assert tick.again_at(ctx) == ctx.clock.now() + MINUTE
    assert [job for job, _ in tick.tick(ctx)] == ["guards"]
    assert {p.symbol for p in desk.manager(ctx).book().positions} == {*held, name}
    assert protect.uncovered(desk.manager(ctx)) == []
    assert tick.again_at(ctx) is None


def test_a_slot_that_comes_while_another_job_is_at_work_is_not_lost(ctx):
    """The guards begin at 15:54:30 and end after 15:55: the exits of the close follow in the same round."""
    ctx.broker.inner.cancel(guard_of(ctx).request.client_order_id)
    desk.manager(ctx).refresh(DAY)
    holding.move(ctx, DAY, 15, 54, 30)
    ctx.broker.on_call = lambda: holding.move(ctx, DAY, 15, 55, 10)
    told = run_once(ctx)
    assert [name for name, _ in told.data["jobs"]] == ["guards", "exits-close"]
    assert desk.manager(ctx).book().positions == ()


def test_a_clock_that_was_ahead_for_a_minute_takes_no_exits_from_the_day_it_pretended_to(ctx):
    holding.move(ctx, DAY, 22, 30)
    tick.tick(ctx)
    assert statuses(ctx, "exits-close") == ["missed"]
    holding.move(ctx, DAY, 15, 55)
    assert [name for name, _ in tick.tick(ctx)] == ["exits-close"]
    assert statuses(ctx, "exits-close") == ["missed", "done"]
    assert desk.manager(ctx).book().positions == ()
    assert tick.tick(ctx) == []


def test_the_doctor_fails_on_a_position_without_its_guard_as_health_does(ctx):
    look = DoctorRequest(only=("positions",))
    assert run_doctor(ctx, look).exit_code is ExitCode.OK
    ctx.broker.inner.cancel(guard_of(ctx).request.client_order_id)
    desk.manager(ctx).refresh(DAY)
    told = run_doctor(ctx, look)
    assert told.exit_code is not ExitCode.OK
    (position,) = desk.manager(ctx).book().positions
    assert f"{position.symbol} lies without" in str(told.data)


def test_what_had_its_day_only_is_not_to_be_run_the_day_after(ctx):
    assert jobs.remedy(ctx, "exits-close", DAY, runs.MISSED) == f"kobe jobs run exits-close --session {DAY} --again"
    holding.move(ctx, ctx.calendar.next(DAY), 8, 0)
    assert jobs.remedy(ctx, "exits-close", DAY, runs.MISSED) == "kobe jobs history --job exits-close"
    assert jobs.remedy(ctx, "eod-report", DAY, runs.FAILED) == f"kobe jobs run eod-report --session {DAY}"


@pytest.mark.parametrize(("hour", "minute"), [(8, 30), (16, 0)])
def test_guards_are_not_chased_while_the_exchange_is_closed(ctx, hour, minute):
    ctx.broker.inner.cancel(guard_of(ctx).request.client_order_id)
    desk.manager(ctx).refresh(DAY)
    holding.move(ctx, DAY, hour, minute)
    for job in jobs.JOBS:
        perform.miss(ctx, job, DAY)
    assert tick.tick(ctx) == []
    assert tick.again_at(ctx) is None


def test_guards_are_not_chased_under_the_kill_switch(ctx):
    ctx.broker.inner.cancel(guard_of(ctx).request.client_order_id)
    desk.manager(ctx).refresh(DAY)
    ctx.kill_switch.engage("test")
    assert tick.tick(ctx) == []
    assert tick.again_at(ctx) is None


def test_a_signal_exit_that_is_repeated_counts_one_settled_run(ctx):
    job = replace(jobs.job_named("exits-close"), run=lambda *_: run_manage_exits(ctx))
    holding.move(ctx, DAY, 15, 55)
    assert perform.run_job(ctx, job, DAY).exit_code is ExitCode.OK
    assert perform.run_job(ctx, job, DAY) is None
