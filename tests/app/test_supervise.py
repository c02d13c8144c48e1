"""A job in a process of its own: whatever becomes of that process, its end is on record and the day goes on."""

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from kit.home import at

from kobe.app import desk, wiring
from kobe.app.day import perform, recovery, runs, tick
from kobe.app.day.job_process import command_of, commanded, forked, starter, write_settings
from kobe.app.day.recovery import RULES, Failure
from kobe.app.day.supervise import Supervisor
from kobe.app.jobs import GUARDS, job_named
from kobe.core.errors import ExitCode, IntegrityError, UsageError
from kobe.core.types import Mode
from kobe.infra.processes import can_fork

DAY = date(2024, 11, 12)


@dataclass
class Pretended:
    """The host's clock at another time: not one that steps."""

    instant: datetime

    def now(self):
        return self.instant


needs_fork = pytest.mark.skipif(not can_fork(), reason="this system has no fork server")
KIT = Path(__file__).parents[1] / "kit" / "stuck_job.py"


@pytest.fixture
def ctx(tmp_path):
    return wiring.build(tmp_path / "home")


def stuck(ctx, how, **limits):
    """Run the reconcile job through a process that misbehaves."""
    job = replace(job_named("reconcile"), **limits)
    supervisor = Supervisor(start=commanded((sys.executable, str(KIT), how, str(ctx.paths.home)), live=False))
    return supervisor(ctx, job, DAY)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("how", "limits", "status", "words"),
    [
        ("hang", {"timeout": timedelta(seconds=4)}, runs.TIMED_OUT, "killed after 0:00:04"),
        ("eat", {"memory_mb": 300}, runs.OUT_OF_MEMORY, "killed above 300 MiB"),
        ("die", {}, runs.CRASHED, "its process ended with -11"),
        ("never_begins", {}, runs.CRASHED, "its process ended with 3 before it began"),
    ],
)
def test_every_bad_end_of_a_process_is_classed_recorded_and_leaves_nothing_running(ctx, how, limits, status, words):
    document = stuck(ctx, how, **limits)
    assert words in document.summary[0]
    known = runs.standing(ctx.ledger, "reconcile", DAY)
    assert next(e.kind for e in known.events if e.kind != runs.STARTED) == status
    assert known.is_settled == (RULES[Failure(status)].repeats == 0)
    assert not perform.is_running(ctx, job_named("reconcile"))
    if how == "hang" and (ctx.paths.home / "child.pid").exists():  # on a busy machine it is killed before it has one
        assert not is_alive(int((ctx.paths.home / "child.pid").read_text(encoding="utf-8")))


def test_damaged_records_stop_the_line(ctx):
    with pytest.raises(IntegrityError, match="damaged records"):
        stuck(ctx, "damaged")


@pytest.mark.parametrize("way", [pytest.param("forked", marks=needs_fork), "commanded"])
def test_the_real_process_leaves_the_record_the_same_process_would_leave(ctx, way):
    write_settings(ctx)
    start = forked(ctx, live=False) if way == "forked" else commanded(command_of(ctx), live=False)
    document = Supervisor(start=start)(ctx, job_named("reconcile"), DAY)
    assert document.exit_code is ExitCode.OK
    here = wiring.build(ctx.paths.home)
    perform.run_job(here, job_named("reconcile"), DAY, again=True)
    kinds = [(e.kind, e.payload.get("detail")) for e in runs.standing(ctx.ledger, "reconcile", DAY).events]
    assert kinds[:2] == kinds[2:]
    assert [kind for kind, _ in kinds[:2]] == [runs.STARTED, runs.DONE]


def test_nothing_begins_once_the_runner_is_stopping(ctx):
    supervisor = Supervisor(start=starter(ctx, live=False))
    supervisor.stopping.set()
    assert supervisor(ctx, job_named("reconcile"), DAY) is None
    assert runs.standing(ctx.ledger, "reconcile", DAY).events == ()


def test_a_critical_job_given_up_opens_nothing_any_more_until_it_runs_again(ctx):
    job = job_named("reconcile")
    today = replace(job, run=lambda *_: 1 / 0)
    for number in range(RULES[Failure.FAULT].repeats + 1):
        assert desk.current_mode(ctx).mode is Mode.NORMAL, number
        perform.run_job(ctx, today, ctx.today)
    known = runs.standing(ctx.ledger, "reconcile", ctx.today)
    assert [e.kind for e in known.events] == ["started", "failed", "started", "failed", "given_up"]
    state = desk.current_mode(ctx)
    assert (state.mode, state.why) == (Mode.REDUCE_ONLY, "runner: given up: reconcile")
    assert perform.run_job(ctx, job, ctx.today) is None, "a job given up is not tried again by itself"
    assert perform.run_job(ctx, job, ctx.today, again=True) is not None
    assert desk.current_mode(ctx).mode is Mode.NORMAL


def test_guards_given_up_open_nothing_and_another_job_s_good_run_or_a_missed_one_does_not_lift_that(ctx):
    guards = replace(GUARDS, run=lambda *_: 1 / 0)
    for _ in range(RULES[Failure.FAULT].repeats + 1):
        perform.run_job(ctx, guards, ctx.today, again=True)
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY
    perform.run_job(ctx, job_named("reconcile"), ctx.today)
    perform.miss(ctx, GUARDS, ctx.calendar.previous(ctx.today))
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY
    perform.run_job(ctx, replace(GUARDS, run=job_named("reconcile").run), ctx.today, again=True)
    assert desk.current_mode(ctx).mode is Mode.NORMAL


def test_a_day_that_has_not_come_is_not_settled_and_what_was_missed_is_said(ctx):
    coming = ctx.calendar.next(ctx.today)
    for name in ("reconcile", "scan"):
        with pytest.raises(UsageError, match="has not come yet"):
            perform.run_one(ctx, name, coming, again=False)
    with pytest.raises(UsageError, match="as it is now"):
        perform.run_one(ctx, "holdings", ctx.calendar.previous(ctx.today), again=False)
    past = ctx.calendar.previous(ctx.today)
    perform.miss(ctx, job_named("eod-report"), past, "nothing ran")
    told = perform.run_one(ctx, "eod-report", past, again=False)
    assert (told.exit_code, told.summary) == (ExitCode.PARTIAL, ("missed, not run; --again runs it now",))


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="POSIX alarms")
def test_a_job_s_process_ends_by_itself_a_little_after_its_time_whoever_watches_it():
    script = (
        "import signal; from kobe.app.day import job_process; signal.signal(signal.SIGALRM, signal.SIG_IGN);"
        "job_process._limit('exits-close'); print(signal.alarm(1)); signal.pause()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    timeout_s = job_named("exits-close").timeout.total_seconds()
    assert timeout_s < int(done.stdout) <= timeout_s + 60
    assert done.returncode == -signal.SIGALRM, "the system ends it: nobody can hold that up"


def test_what_was_missed_while_nothing_ran_is_told_once(tmp_path):
    ctx = wiring.build(tmp_path / "home", clock=Pretended(at(date(2024, 11, 12), 9, 40).now()))
    perform.miss(ctx, job_named("backup"), date(2024, 8, 12))
    heard = []
    listening = replace(ctx, notifier=SimpleNamespace(tell=heard.append, deliver=lambda: 0))
    tick.tick(listening, lambda *_, **__: None)
    absence = [m for m in heard if m.kind == "absence"]
    assert len(absence) == 1
    assert "2024-08-12 to 2024-11-08" in absence[0].title
    assert absence[0].severity.word == "urgent"
    told_by_job = [m.key for m in heard if m.kind != "absence"]
    assert all(":2024-11-12:" in key or ":2024-11-11:" in key for key in told_by_job), told_by_job
    missed = [r for r in runs.history(ctx.ledger) if r.status == runs.MISSED and r.session < date(2024, 11, 11)]
    assert len({r.session for r in missed}) == len(ctx.calendar.between(date(2024, 8, 12), date(2024, 11, 8)))


def test_long_work_waits_while_money_may_be_due(tmp_path):
    late = date(2024, 11, 12)
    for hour, minute, waits in ((5, 0, False), (7, 30, True), (10, 0, True), (15, 59, True), (16, 21, False)):
        real = Pretended(at(late, hour, minute).now())
        ctx = wiring.build(tmp_path / "home", clock=real)
        assert tick._would_delay(ctx, job_named("fetch")) is waits, (hour, minute)
        assert not tick._would_delay(ctx, job_named("exits-close"))


def test_waits_between_repeats_grow_and_no_rule_is_missing(ctx):
    assert set(RULES) == set(Failure)
    assert list(recovery.WAITS) == sorted(recovery.WAITS)
    job = replace(job_named("eod-report"), run=lambda *_: (_ for _ in ()).throw(ConnectionError("x")))
    perform.run_job(ctx, job, ctx.today)
    known = runs.standing(ctx.ledger, "eod-report", ctx.today)
    assert recovery.repeat_at(known) - known.ended == recovery.WAITS[0]
    assert tick.NEVER.is_settled is False
