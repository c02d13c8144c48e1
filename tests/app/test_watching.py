"""Watching: every alert begins by what it is about, is told once at each end, and health is the worst of them."""

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from kit.home import LAST, at, copy_home
from prometheus_client.parser import text_string_to_metric_families

from kobe.app import desk, wiring
from kobe.app.day import runs
from kobe.app.watching import alerts, heartbeat, watch_facts
from kobe.app.watching.alerts import ALERTS
from kobe.app.watching.anomalies import HELD, run_anomalies
from kobe.app.watching.data_age import BarFacts
from kobe.app.watching.health import run_health
from kobe.app.watching.heartbeat import Heartbeat
from kobe.app.watching.job_watch import JobFacts
from kobe.app.watching.metrics import METRICS, render, run_metrics, write_metrics
from kobe.core.clock import SteppingClock, to_ns
from kobe.core.errors import ExitCode, StaleDataError
from kobe.core.messages import Severity
from kobe.core.types import JobRecord, Mode
from kobe.reports.anomalies import Reading, Source
from kobe.risk import breakers, mode
from kobe.risk.breakers import BreakerState, Status

HOUR = timedelta(hours=1)


@pytest.fixture
def ctx(home):
    """An hour after the last close of the home's bars."""
    return wiring.build(home, clock=at(LAST, 17, 0))


@pytest.fixture
def facts(calm):
    return calm[1]


@pytest.fixture(scope="module")
def calm(made_home, tmp_path_factory):
    """A context and its facts for tests that change nothing."""
    folder = copy_home(made_home, tmp_path_factory.mktemp("calm") / "home")
    mine = wiring.build(folder, clock=at(LAST, 17, 0))
    return mine, watch_facts.collect(mine, bars=True)


def reading(symbol):
    return Reading(symbol=symbol, measure="return", value=-0.3, median=0.0, z=-12.0)


def beat(facts, age_s, job=""):
    ns = to_ns(facts.now) - int(age_s * 1e9)
    return Heartbeat(pid=1, run_id="r", started_ns=ns, beat_ns=ns, next_ns=0, job=job)


def state(wanted, source="operator"):
    return mode.State(
        mode=wanted, factor=Decimal(1),
        reasons=(mode.Reason(source, wanted, "because", at(LAST, 12, 0).now()),),
    )  # fmt: skip


def with_books(facts, **changes):
    return replace(facts, books=replace(facts.books, **changes))


PLANTED = {
    "audit_damaged": lambda f: replace(f, audit_fault="edited at record 7"),
    "kill_switch": lambda f: replace(f, kill_reason="drill"),
    "halted": lambda f: replace(f, mode=state(Mode.HALT)),
    "unprotected": lambda f: with_books(f, unprotected=(("SYN001", f.now - HOUR),)),
    "exit_overdue": lambda f: with_books(f, overstayed=(("SYN001", LAST),)),
    "order_unknown": lambda f: with_books(f, unclear=(("kobe-1", "unknown", f.now - HOUR),)),
    "books_differ": lambda f: replace(f, mode=state(Mode.REDUCE_ONLY, "reconcile")),
    "runner_silent": lambda f: replace(f, beat=beat(f, 61, "scan")),
    "clock_back": lambda f: replace(f, back_s=90.0),
    "disk_low": lambda f: replace(f, disk_free_bytes=2**20),
    "mode": lambda f: replace(f, mode=state(Mode.CLOSE_ONLY)),
    "breaker_open": lambda f: replace(
        f, breakers={"errors": BreakerState(name="errors", status=Status.OPEN, reason="5 errors in 600 s")}
    ),
    "data_stale": lambda f: replace(f, bars=BarFacts(newest=LAST, closed=f.now, behind=2, source="x")),
    "job_failed": lambda f: replace(f, jobs=(JobFacts(name="scan", critical=False, session=LAST, status="failed"),)),
    "job_missed": lambda f: replace(f, jobs=(JobFacts(name="scan", critical=False, session=LAST, status="missed"),)),
    "job_late": lambda f: replace(f, jobs=(JobFacts(name="scan", critical=False, late_s=901.0, overdue=LAST),)),
    "model_refused": lambda f: replace(f, model_fault="a model card was changed"),
    "model_missing": lambda f: replace(f, model_id=None),
    "drift": lambda f: replace(f, drift={"ibs_rsi": "HALF_SIZE"}),
    "calibration_drift": lambda f: replace(f, calibration=("ibs_rsi",)),
    "memory_high": lambda f: replace(f, memory_bytes={"runner": 5 * 2**30}),
    "dead_letters": lambda f: replace(f, dead=1),
    "odd_held": lambda f: replace(f, odd=(reading("SYN001"),), why={"SYN001": HELD}),
    "odd_watched": lambda f: replace(f, odd=(reading("SPY"),), why={"SPY": "market"}),
    "source_old": lambda f: replace(f, sources=(Source(name="vix", newest=None, age="9 days", is_old=True),)),
}
BESIDE = {"books_differ": {"mode"}}
"""What else the same fact means."""


def test_a_sound_home_has_no_alert_and_is_healthy(calm):
    ctx, facts = calm
    assert alerts.evaluate(ctx, facts) == []
    document = run_health(ctx)
    assert (document.exit_code, document.data["status"]) == (ExitCode.OK, "healthy")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r.name)
def test_each_alert_begins_by_its_own_fact_and_by_no_other(calm, rule):
    ctx, facts = calm
    found = alerts.evaluate(ctx, PLANTED[rule.name](facts))
    assert {a.name for a in found} == {rule.name} | BESIDE.get(rule.name, set())
    assert all(a.words and a.remedy for a in found)


def test_on_the_safe_side_of_each_bound_nothing_is_said(calm):
    ctx, facts = calm
    b = facts.bounds
    quiet = replace(
        with_books(
            facts,
            unprotected=(("SYN001", facts.now - timedelta(seconds=b.unprotected_s - 1)),),
            unclear=(("kobe-1", "sent", facts.now - timedelta(seconds=b.order_unknown_s - 1)),),
        ),
        beat=beat(facts, 60), back_s=2.0, disk_free_bytes=b.least_disk_mb * 2**20, dead=0,
        memory_bytes={"runner": b.most_memory_mb * 2**20}, drift={"ibs_rsi": "NORMAL"},
        jobs=(JobFacts(name="scan", critical=False, late_s=b.job_late_s - 1, overdue=LAST, status="done"),),
    )  # fmt: skip
    assert alerts.evaluate(ctx, quiet) == []


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_ends(ctx, facts):
    told = []
    wrong = PLANTED["kill_switch"](facts)
    for seen in (wrong, wrong, facts, facts, wrong):
        alerts.watch(ctx, told.append, seen)
    assert [m.title for m in told] == [
        "the kill switch is on: drill", "over: the kill switch is on: drill", "the kill switch is on: drill",
    ]  # fmt: skip
    assert len({m.key for m in told}) == 3
    assert {m.severity for m in told} == {Severity.URGENT}
    assert [a.name for a in alerts.remembered(ctx)] == ["kill_switch"]
    listed = alerts.run_alerts_list(ctx).data
    assert [a["name"] for a in listed["standing"]] == ["kill_switch"]


def test_a_process_that_dies_between_telling_and_remembering_tells_again_under_the_same_key(ctx, facts):
    keys = []

    def dies(message):
        keys.append(message.key)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            alerts.watch(ctx, dies, PLANTED["disk_low"](facts))
    alerts.watch(ctx, lambda m: keys.append(m.key), PLANTED["disk_low"](facts))
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_what_the_facts_do_not_tell_neither_ends_nor_begins(ctx, facts):
    told = []
    alerts.watch(ctx, told.append, PLANTED["odd_held"](facts))
    change = alerts.watch(ctx, told.append, replace(facts, odd=None, bars=None))
    assert (len(told), [a.name for a in change.standing], change.ended) == (1, ["odd_held"], ())
    assert [a.name for a in alerts.watch(ctx, told.append, facts).ended] == ["odd_held"]


def test_what_jobs_tell_by_themselves_is_remembered_and_not_told_again(ctx, facts):
    told = []
    change = alerts.watch(ctx, told.append, PLANTED["job_failed"](facts))
    assert (told, [a.name for a in change.began]) == ([], ["job_failed"])


def test_a_check_without_a_teller_changes_nothing(ctx):
    ctx.kill_switch.engage("drill")
    document = alerts.run_alerts_check(ctx)
    assert document.exit_code is ExitCode.PARTIAL
    assert alerts.remembered(ctx) == []
    assert alerts.run_alerts_check(ctx, lambda _m: None).data["alerts"][0]["name"] == "kill_switch"
    assert alerts.remembered(ctx)


def test_health_is_the_worst_of_what_is_wrong_on_the_home_itself(ctx):
    """Each step adds something worse, on the disk; the clock is the real calendar's."""
    clock = ctx.clock
    assert isinstance(clock, SteppingClock)
    desk.set_mode(ctx, "operator", Mode.REDUCE_ONLY, "drill")
    assert run_health(ctx).exit_code is ExitCode.PARTIAL
    clock.set(at(LAST, 17, 0).now() + timedelta(days=9))
    assert (run_health(ctx).exit_code, run_health(ctx).data["status"]) == (ExitCode.DATA, "stale")
    ctx.kill_switch.engage("drill")
    assert run_health(ctx).exit_code is ExitCode.REFUSED
    for k in range(3):
        ctx.audit.append("drill", {"k": k})
    chain = ctx.paths.audit / "audit.jsonl"
    chain.write_bytes(b"\n".join(chain.read_bytes().splitlines()[:-2]) + b"\n")
    document = run_health(ctx)
    assert (document.exit_code, document.data["status"]) == (ExitCode.INTEGRITY, "damaged")
    assert document.data["troubles"][0]["name"] == "audit_damaged"


def test_an_edited_record_far_from_the_end_is_found_by_the_check_and_not_by_the_quick_look(ctx):
    for k in range(120):
        ctx.audit.append("drill", {"k": k})
    chain = ctx.paths.audit / "audit.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b'{"k":5}', b'{"k":6}', 1))
    assert watch_facts.collect(ctx).audit_fault == ""
    assert "audit_damaged" in {a.name for a in alerts.evaluate(ctx)}


def test_a_ledger_that_is_no_ledger_is_damaged_and_not_a_traceback(home):
    wiring.build(home).ledger.close()
    (home / "state" / "kobe.db").write_bytes(b"not a database, not at all" * 100)
    for name in ("kobe.db-wal", "kobe.db-shm"):
        (home / "state" / name).unlink(missing_ok=True)
    document = run_health(wiring.build(home, clock=at(LAST, 17, 0)))
    assert document.exit_code is ExitCode.INTEGRITY


def test_a_runner_that_stopped_beating_is_silent_and_one_that_said_goodbye_is_not(ctx):
    limit_s = 4 * ctx.settings.schedule.heartbeat_s
    heartbeat.beat(ctx, ctx.clock.now(), None, "scan")
    assert not watch_facts.collect(ctx).is_silent
    ctx.clock.advance(seconds=limit_s + 1)
    assert [a.words for a in alerts.evaluate(ctx)] == [f"the runner is silent for {limit_s + 1:.0f} s, at scan"]
    heartbeat.end(ctx)
    assert alerts.evaluate(ctx) == []


def test_jobs_are_late_by_their_slots_and_what_waits_for_another_is_not(ctx):
    """Nothing ran in the last session of a home that had run before: at 10:00 its morning is late."""
    before = ctx.calendar.previous(LAST)

    def record(job, day, status, begin):
        told = JobRecord(job=job, session=day, run_id="r", status=status, started=begin,
                         finished=begin + timedelta(seconds=9), outputs={}, detail="")  # fmt: skip
        runs.start(ctx.ledger, job, day, "r", begin)
        runs.write(ctx.ledger, told)

    for job in ("reconcile", "prepare", "drift", "eod-report", "backup", "holdings", "reconcile-open", "exits-open",
                "scan", "submit", "retry", "exits-close", "checks"):  # fmt: skip
        record(job, before, runs.DONE, at(before, 9, 40).now())
    ctx.clock.set(at(LAST, 10, 0).now())
    record("scan", LAST, runs.FAILED, at(LAST, 9, 41).now())
    jobs = {j.name: j for j in watch_facts.collect(ctx).jobs}
    assert jobs["reconcile-open"].overdue == LAST
    assert jobs["reconcile-open"].late_s == 25 * 60
    assert jobs["submit"].overdue is None, "it waits for the scan"
    assert (jobs["scan"].late_s, jobs["scan"].failures, jobs["scan"].status) == (6 * 60, 1, runs.FAILED)
    assert jobs["scan"].duration_s == 9.0
    found = {a.name for a in alerts.evaluate(ctx)}
    assert {"job_late", "job_failed"} <= found


def test_the_clock_that_was_set_back_is_seen_by_records_of_the_future(home):
    ctx = wiring.build(home)
    told = {"pid": 1, "run_id": "r", "started_ns": 0, "beat_ns": to_ns(ctx.clock.now() + HOUR), "next_ns": 0}
    (ctx.paths.state / "runner.json").write_text(json.dumps(told))
    assert watch_facts.collect(ctx).back_s == pytest.approx(3600, abs=30)


def test_the_last_session_s_readings_are_told_with_their_sources_and_a_session_without_bars_is_refused(ctx):
    document = run_anomalies(ctx)
    assert document.data["session"] == str(LAST)
    assert "SPY" in document.data["watched"]
    assert {r["measure"] for r in document.data["readings"]} == {"return", "volume", "range"}
    assert document.data["sources"][0]["name"] == "bars"
    assert run_anomalies(ctx, ctx.calendar.previous(LAST)).data["session"] == str(ctx.calendar.previous(LAST))
    with pytest.raises(StaleDataError):
        run_anomalies(ctx, ctx.calendar.next(LAST))


def parsed(text):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_the_numbers_are_those_of_the_home_and_prometheus_reads_them(calm):
    ctx, facts = calm
    rich = replace(
        PLANTED["breaker_open"](PLANTED["drift"](PLANTED["kill_switch"](facts))),
        refusals={("spread", "wide"): 2}, waiting=3, dead=1, beat=beat(facts, 7),
        jobs=(JobFacts(name="scan", critical=False, late_s=1.5, duration_s=2.0, failures=1),),
    )  # fmt: skip
    read = parsed(render(rich))
    assert {name for name, _ in read} == {m.name for m in METRICS} - {
        "kobe_equity_usd", "kobe_cash_usd", "kobe_orders", "kobe_job_last_success_timestamp_seconds",
    }  # fmt: skip
    assert read["kobe_kill_switch", ()] == 1
    assert read["kobe_heartbeat_age_seconds", ()] == pytest.approx(7)
    assert read["kobe_gate_refusals_today", (("code", "wide"), ("gate", "spread"))] == 2
    assert read["kobe_breaker_state", (("breaker", "errors"),)] == 2
    assert read["kobe_alerts", (("alert", "kill_switch"), ("severity", "urgent"))] == 1
    assert read["kobe_budget_limit_usd", ()] == float(ctx.limits.day_usd)
    assert all(m.help.endswith(".") for m in METRICS)


def test_names_and_texts_please_promtool(facts):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=render(facts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_for_node_exporter_is_written_where_it_is_set_and_only_there(home, ctx):
    write_metrics(ctx)
    assert not (home / "metrics").exists()
    with (home / "config" / "kobe.toml").open("a", encoding="utf-8") as file:
        file.write('[watch]\nmetrics_file = "metrics/kobe.prom"\n')
    again = wiring.build(home, clock=at(LAST, 17, 0))
    write_metrics(again)
    assert ("kobe_mode", ()) in parsed((home / "metrics" / "kobe.prom").read_text(encoding="utf-8"))
    assert [p.name for p in (home / "metrics").iterdir()] == ["kobe.prom"], "whole or not at all, nothing left beside"
    document = run_metrics(again, "other.prom")
    assert (home / "other.prom").read_text(encoding="utf-8") == document.data["text"]


def test_every_breaker_is_among_the_numbers(facts):
    read = parsed(render(facts))
    assert {dict(labels)["breaker"] for name, labels in read if name == "kobe_breaker_state"} == set(breakers.BREAKERS)
