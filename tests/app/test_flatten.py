"""Everything closed by hand: what is open is cancelled, what is held is sold once, and nothing is opened again."""

import json
import shutil
from dataclasses import replace

import pytest
from kit import holding
from kit.wayward import Killed, wayward

from kobe.app import desk, wiring
from kobe.app.flatten import FlattenRequest, run_flatten
from kobe.app.manage_exits import run_manage_exits
from kobe.core.errors import ExitCode, MissingDataError, RefusedError, UsageError
from kobe.core.types import Effect, Mode, OrderRequest, OrderType, Side

DAY = holding.DAY


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with two protected positions at ten o'clock, to be copied."""
    folder = holding.make(tmp_path_factory.mktemp("base") / "home")
    ctx = wiring.build(folder, clock=holding.clock(DAY, 10, 0))
    names = holding.affordable(ctx, DAY)[:2]
    holding.move(ctx, DAY, 10, 0)
    for name in names:
        holding.enter(ctx, name)
    run_manage_exits(ctx)
    ctx.ledger.close()
    return folder


def at_noon(folder):
    return wayward(wiring.build(folder, clock=holding.clock(DAY, 12, 0)))


@pytest.fixture
def ctx(base, tmp_path):
    return at_noon(shutil.copytree(base, tmp_path / "home"))


def symbols(ctx):
    return [p.symbol for p in desk.manager(ctx).book().positions]


def audit(ctx):
    lines = (ctx.paths.audit / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [(told["kind"], told["payload"]) for told in map(json.loads, lines)]


def test_everything_is_sold_once_and_openings_stay_off_until_somebody_says_so(ctx):
    held = symbols(ctx)
    document = run_flatten(ctx, FlattenRequest(reason="test"))
    assert document.exit_code is ExitCode.OK, document.summary
    assert sorted(document.data["closed"]) == sorted(held)
    assert ctx.broker.account().positions == {}
    assert [o for o in ctx.broker.inner.orders() if not o.status.is_final] == []
    assert desk.current_mode(ctx).mode is Mode.CLOSE_ONLY
    assert "kobe mode set NORMAL" in document.summary[0]
    assert {t.exit_reason for t in desk.manager(ctx).book().trades} == {"flatten"}
    assert ctx.broker.faults == []


def test_one_symbol_leaves_the_others_and_their_protection(ctx):
    mine, other = symbols(ctx)
    run_flatten(ctx, FlattenRequest(symbol=mine))
    assert symbols(ctx) == [other]
    assert [o.symbol for o in ctx.broker.inner.orders() if not o.status.is_final] == [other]


def test_a_second_run_finds_nothing_to_do(ctx):
    run_flatten(ctx, FlattenRequest())
    ctx.broker.log.clear()
    document = run_flatten(ctx, FlattenRequest())
    assert document.exit_code is ExitCode.OK
    assert "no position to close" in document.summary[0]
    assert ctx.broker.asked("submit") == []


def test_a_dry_run_lists_what_would_be_sold_and_changes_nothing(ctx):
    held = symbols(ctx)
    document = run_flatten(ctx, FlattenRequest(dry_run=True))
    assert all(any(name in line for line in document.data["cancelled"]) for name in held)
    assert symbols(ctx) == held
    assert desk.current_mode(ctx).mode is Mode.NORMAL
    assert "flatten" not in [kind for kind, _ in audit(ctx)]


def test_the_kill_switch_refuses_it_and_the_broker_hears_nothing(ctx):
    ctx.kill_switch.engage("test")
    with pytest.raises(RefusedError, match="override-kill"):
        run_flatten(ctx, FlattenRequest())
    assert ctx.broker.log == []
    assert desk.current_mode(ctx).mode is Mode.NORMAL


def test_an_override_without_a_reason_is_refused(ctx):
    ctx.kill_switch.engage("test")
    with pytest.raises(UsageError, match="needs a reason"):
        run_flatten(ctx, FlattenRequest(override_kill=True, reason=" "))
    assert ctx.broker.log == []


def test_an_override_is_on_record_before_anything_is_done_and_lets_closing_orders_through_only(ctx):
    ctx.kill_switch.engage("test")
    seen = []
    ctx.broker.on_call = lambda: seen.append([kind for kind, _ in audit(ctx)])
    document = run_flatten(ctx, FlattenRequest(override_kill=True, reason="fire"))
    assert document.exit_code is ExitCode.OK, document.summary
    assert all("flatten" in kinds for kinds in seen)
    told = next(payload for kind, payload in audit(ctx) if kind == "flatten")
    assert (told["who"], told["reason"], told["kill_switch"], told["override_kill"]) == (
        "operator",
        "fire",
        "test",
        True,
    )
    assert ctx.broker.account().positions == {}
    assert ctx.kill_switch.reason() == "test", "the switch stays on"
    assert ctx.kill_switch.blocks(closing=True) == "test", "and blocks closing orders again"


def test_a_record_that_cannot_be_written_means_nothing_is_done(ctx):
    folder = ctx.paths.audit
    folder.rename(folder.with_name("moved"))
    folder.write_bytes(b"")
    with pytest.raises(Exception, match="cannot be used"):
        run_flatten(ctx, FlattenRequest(reason="test"))
    assert ctx.broker.log == []


def test_an_opening_that_may_still_fill_is_told(ctx):
    stray = opening(ctx)
    from kobe.execution import order

    ctx.ledger.append(order.STREAM, stray.client_order_id, "intent", order.request_json(stray),
                      key=f"{stray.client_order_id}:intent")  # fmt: skip
    ctx.ledger.append(order.STREAM, stray.client_order_id, "status", {"status": "sent", "detail": ""}, key="sent")
    document = run_flatten(ctx, FlattenRequest())
    assert document.exit_code is ExitCode.PARTIAL
    assert any("may still open a position" in line for line in document.data["warnings"])
    assert symbols(ctx) == [], "the positions are closed all the same"


def opening(ctx):
    return OrderRequest(
        client_order_id="kobe-ibs_rsi-SYN001-2024-11-11-long-open-9", signal_id="late", strategy="ibs_rsi",
        symbol="SYN001", side=Side.LONG, effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=1,
        limit_price=holding.D(10), stop_price=None, session=DAY, reason="test",
    )  # fmt: skip


def test_what_kobe_did_not_open_is_named_and_not_touched(ctx):
    name = next(n for n in holding.affordable(ctx, DAY) if n not in symbols(ctx))
    holding.move(ctx, DAY, 12, 0)
    foreign = replace(opening(ctx), client_order_id="by-hand", symbol=name, order_type=OrderType.MARKET,
                      limit_price=None)  # fmt: skip
    ctx.broker.inner.submit(foreign)
    document = run_flatten(ctx, FlattenRequest())
    assert document.exit_code is ExitCode.PARTIAL
    assert document.data["orphans"][0].startswith(f"1 {name} at sim were not opened by kobe")
    assert ctx.broker.account().positions == {name: 1}


def test_what_could_not_be_closed_is_said_and_stays_protected(ctx):
    ctx.broker.plan("submit", *["reject"] * 3, "pass", *["reject"] * 3)
    document = run_flatten(ctx, FlattenRequest())
    assert document.exit_code is ExitCode.PARTIAL
    assert sum("NOT CLOSED" in line for line in document.summary) == 2
    assert len([o for o in ctx.broker.inner.orders() if not o.status.is_final]) == 2


@pytest.mark.parametrize("at", range(1, 13))
def test_killed_at_any_call_of_the_broker_and_run_again_nothing_is_sold_twice(base, tmp_path, at):
    folder = shutil.copytree(base, tmp_path / "home")
    ctx = at_noon(folder)
    ctx.broker.die_at = at
    with pytest.raises(Killed):
        run_flatten(ctx, FlattenRequest(reason="test"))
    assert desk.current_mode(at_noon(folder)).mode is Mode.CLOSE_ONLY, "openings were off before the first call"
    again = at_noon(folder)
    document = run_flatten(again, FlattenRequest(reason="test"))
    assert document.exit_code is ExitCode.OK, document.summary
    assert again.broker.account().positions == {}
    assert ctx.broker.faults == again.broker.faults == []


def test_a_halt_of_an_operator_is_not_loosened(ctx):
    desk.set_mode(ctx, "operator", Mode.HALT, "nothing may move")
    with pytest.raises(RefusedError, match="kobe mode set CLOSE_ONLY --reason WHY"):
        run_flatten(ctx, FlattenRequest(reason="test"))
    assert desk.current_mode(ctx).mode is Mode.HALT
    assert ctx.broker.log == []


def test_a_symbol_nobody_holds_changes_no_mode(ctx):
    document = run_flatten(ctx, FlattenRequest(symbol="NONE"))
    assert document.exit_code is ExitCode.OK
    assert desk.current_mode(ctx).mode is Mode.NORMAL
    assert "no position to close; openings stay as they are" in document.summary[0]


def test_it_needs_no_bars(ctx):
    def nothing():
        raise MissingDataError("the bar store is empty")

    document = run_flatten(replace(ctx, panel=nothing), FlattenRequest(reason="test"))
    assert document.exit_code is ExitCode.OK, document.summary
    assert ctx.broker.account().positions == {}


def test_shares_the_broker_holds_beyond_ours_are_told_after_the_sale(ctx):
    mine, _ = symbols(ctx)
    real = ctx.broker.inner.account

    def account():
        seen = real()
        return replace(seen, positions={**seen.positions, mine: seen.positions.get(mine, 0) + 5})

    ctx.broker.account = account
    document = run_flatten(ctx, FlattenRequest(symbol=mine, reason="test"))
    assert document.exit_code is ExitCode.PARTIAL
    assert any("kobe jobs run holdings --again" in line for line in document.data["warnings"])
