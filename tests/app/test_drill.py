"""The kill switch with each dependency broken, the cancel that goes with it, and a switch that does not block."""

import json
import os
from contextlib import contextmanager
from dataclasses import replace

import pytest
from kit import holding

from kobe.app import desk, drill, drill_scene, protect, wiring
from kobe.app.kill import KillRequest, run_kill, run_resume
from kobe.app.start_up import order_desk
from kobe.core.errors import ExitCode
from kobe.core.types import OrderStatus
from kobe.infra.locks import Lease

FAST = ("healthy", "disk_full", "audit_unwritable", "audit_damaged", "desk_taken", "switch_dangling",
        "switch_unreadable")  # fmt: skip


@pytest.fixture(scope="module")
def drilled(tmp_path_factory):
    """One run of the cases that wait for nobody."""
    return drill.run_drill_kill(tmp_path_factory.mktemp("drill"), names=FAST)


def case(document, name):
    return next(c for c in document.data["cases"] if c["case"] == name)


@pytest.mark.parametrize("name", FAST)
def test_with_any_dependency_broken_nothing_leaves_after_the_trip(drilled, name):
    told = case(drilled, name)
    assert (told["blocked"], told["left"]) == (True, 0)
    assert "left" not in told["attempts"].values()
    assert 0 <= told["silent_s"] <= told["refused_s"]
    assert drilled.exit_code is ExitCode.OK


def test_the_healthy_case_refuses_by_the_switch_and_cancels_what_was_open(drilled):
    told = case(drilled, "healthy")
    assert told["attempts"] == {"fresh opening": "refused by the gates", "cleared opening": "abandoned",
                                "cleared closing": "abandoned", "moved stop": "abandoned"}  # fmt: skip
    assert (told["ended"], told["faults"]) == (2, [])
    assert told["cancelled_s"] > 0


@pytest.mark.parametrize("name", ["audit_unwritable", "audit_damaged", "desk_taken", "switch_dangling"])
def test_records_that_cannot_be_written_do_not_hold_the_cancel_up(drilled, name):
    assert case(drilled, name)["cancelled_s"] is not None


def test_what_did_not_work_is_told_with_its_reason(drilled):
    assert "disk is full" in case(drilled, "disk_full")["faults"][0]
    assert case(drilled, "switch_unreadable")["cancelled_s"] is None


@pytest.mark.long
def test_all_cases_of_the_drill_let_nothing_out():
    document = drill.run_drill_kill()
    assert document.exit_code is ExitCode.OK
    assert len(document.data["cases"]) == len(drill.CASES)
    assert all(c["blocked"] and c["tried"] for c in document.data["cases"])
    assert case(document, "ledger_locked")["cancelled_s"] is not None
    assert "503" in " ".join(case(document, "broker_errors")["faults"])


class Deaf:
    """A switch that hears and does nothing."""

    def __init__(self, real):
        self.real = real

    def engage(self, reason):
        self.real.engage(reason)

    def reason(self):
        return None

    def blocks(self, *, closing):
        return None


def test_a_switch_that_does_not_block_is_found_out(tmp_path):
    @contextmanager
    def deaf(home):
        with drill._healthy(home) as stage:
            ctx = stage.ctx
            yield drill.Stage(ctx=replace(ctx, kill_switch=Deaf(ctx.kill_switch)), left=stage.left)

    with drill_scene.own_environment():
        base = drill_scene.make_home(tmp_path / "base")
        told = drill._run(drill.Case("deaf", "the switch", deaf), base, tmp_path / "deaf")
    assert (told.blocked, told.left > 0) == (False, True)
    assert drill._document([told]).exit_code is ExitCode.FAULT


def test_settings_and_keys_of_the_environment_are_hidden_from_the_drill_and_come_back(monkeypatch):
    monkeypatch.setenv("KOBE_RUN__MODE", "live")
    monkeypatch.setenv("APCA_API_KEY_ID", "AKREAL")
    with drill_scene.own_environment():
        assert "KOBE_RUN__MODE" not in os.environ
        assert "APCA_API_KEY_ID" not in os.environ
    assert os.environ["KOBE_RUN__MODE"] == "live"


# -- kobe kill -------------------------------------------------------------------------------------------------


@pytest.fixture
def ctx(tmp_path):
    """A home with a protected position and an open order that its ledger does not know."""
    return drill_scene.context(drill_scene.make_home(tmp_path / "home"))


def resting(ctx):
    return {o.client_order_id for o in ctx.broker.orders() if not o.status.is_final}


def test_kill_with_cancel_ends_openings_and_leaves_the_protection(ctx):
    guard = (resting(ctx) - {drill_scene.STRAY}).pop()
    document = run_kill(ctx, KillRequest(reason="test", cancel=True))
    assert document.exit_code is ExitCode.OK
    assert resting(ctx) == {guard}
    assert document.data["ended"] == [drill_scene.STRAY]
    assert document.data["cancelled_s"] >= document.data["silent_s"] > 0
    assert ctx.kill_switch.reason() == "test"


def test_kill_with_cancel_of_all_takes_the_protection_too_and_the_ledger_knows_it(ctx):
    guard = (resting(ctx) - {drill_scene.STRAY}).pop()
    document = run_kill(ctx, KillRequest(cancel=True, everything=True))
    assert resting(ctx) == set()
    assert document.data["ended"][0] == drill_scene.STRAY, "openings first"
    assert desk.manager(ctx).orders()[guard].status is OrderStatus.CANCELED


def test_kill_with_cancel_works_while_the_ledger_is_a_folder(ctx):
    drill_scene.close(ctx)
    for name in ("kobe.db", "kobe.db-wal", "kobe.db-shm"):
        (ctx.paths.state / name).unlink(missing_ok=True)
    (ctx.paths.state / "kobe.db").mkdir()
    document = run_kill(ctx, KillRequest(reason="test", cancel=True))
    assert ctx.kill_switch.reason() == "test"
    assert drill_scene.STRAY in document.data["ended"]
    assert document.data["cancelled_s"] is not None


def test_kill_with_cancel_waits_for_nobody_at_the_order_desk(ctx):
    with Lease(ctx.paths.locks, "orders", ctx.clock):
        document = run_kill(ctx, KillRequest(cancel=True, everything=True))
    assert resting(ctx) == set()
    assert document.exit_code is ExitCode.PARTIAL
    assert "not in the ledger yet" in document.data["faults"][0]
    with order_desk(ctx) as oms:
        assert all(o.status.is_final for o in oms.orders().values()), "the next visitor learns of it"


def test_kill_says_whether_the_switch_is_on_and_a_dry_run_does_nothing(ctx):
    assert run_kill(ctx, KillRequest(dry_run=True)).data["on"] is False
    assert run_kill(ctx, KillRequest(reason="a")).data["on"] is True
    assert json.loads(json.dumps(run_resume(ctx).data))["on"] is False


def test_once_the_switch_is_off_the_rules_place_the_stop_again(ctx):
    run_kill(ctx, KillRequest(cancel=True, everything=True))
    run_resume(ctx)
    with order_desk(ctx) as oms:
        signal = oms.book().positions[0].signal_id
        assert protect.protect(ctx, oms, desk.last_panel(ctx), signal).status is OrderStatus.ACCEPTED


def test_the_drill_leaves_the_home_of_its_caller_alone(tmp_path):
    home = holding.make(tmp_path / "home")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in home.rglob("*"))
    wiring.build(home)
    drill.run_drill_kill(tmp_path, names=("healthy",))
    assert sorted((p.name, p.stat().st_mtime_ns) for p in home.rglob("*")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
