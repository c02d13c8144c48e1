"""Runners as processes: killed, frozen, told to stop in the middle of a job; whatever comes, each job has one end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from kit.command import kobe

from kobe.app import wiring
from kobe.app.audit import run_audit_verify
from kobe.app.day import perform, runs, tick
from kobe.app.jobs import job_named, jobs_of
from kobe.app.watching import heartbeat
from kobe.core.errors import ExitCode
from kobe.infra.locks import Lease

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]
ROUNDS = 6
TAKEOVER_S = 5.0
PATIENCE_S = 60.0
GRACE_S = 3
HELD_UP = "backup"


@pytest.fixture
def home(tmp_path):
    """A home where the evening of the session before is still to be made up for, whatever day it is."""
    folder = tmp_path / "home"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "kobe.toml").write_text(
        f"[schedule]\nheartbeat_s = 1\nstop_grace_s = {GRACE_S}\n", encoding="utf-8"
    )
    ctx = wiring.build(folder)
    before = ctx.calendar.previous(ctx.calendar.previous(ctx.today))
    perform.miss(ctx, job_named("backup"), before)
    ctx.ledger.close()
    return folder


def last_session(ctx) -> date:
    return ctx.calendar.previous(ctx.today)


def made_up_for(ctx) -> list[str]:
    """Return the jobs behind the close of the session before, whose time has come."""
    day, now = last_session(ctx), ctx.clock.now()
    return [j.name for j in jobs_of(ctx, day) if not tick._would_delay(ctx, j)
            and j.slot.is_after(ctx.calendar, day) and j.slot.instant(ctx.calendar, day) <= now]  # fmt: skip


def kinds(ctx, job) -> list[str]:
    return [e.kind for e in runs.standing(ctx.ledger, job, last_session(ctx)).events]


def is_settled(ctx, job) -> bool:
    return runs.standing(ctx.ledger, job, last_session(ctx)).is_settled


def until(condition, what):
    """Wait for something that happens by itself; a look every few milliseconds."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    pytest.fail(f"never: {what}")


@dataclass
class Lives:
    """Runners of one home, and the processes of jobs that outlived one; all are ended at the end."""

    home: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)

    def runner(self, *options: str) -> subprocess.Popen:
        """Start one; what it says goes to a file beside the home."""
        said = (self.home.parent / f"said{len(self.processes)}.txt").open("w")
        command = [sys.executable, "-m", "kobe", "--home", str(self.home), "run", *options]
        environment = os.environ | {"PYTHONFAULTHANDLER": "1"}  # what hangs says where, see `ended`
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment))
        said.close()
        return self.processes[-1]

    def said(self, process: subprocess.Popen) -> str:
        """Return what a runner said so far."""
        return (self.home.parent / f"said{self.processes.index(process)}.txt").read_text(encoding="utf-8")

    def ended(self, process: subprocess.Popen) -> int:
        """Wait for a runner's end and return its exit code; one that hangs has to say where."""
        with suppress(subprocess.TimeoutExpired):
            return process.wait(PATIENCE_S)
        process.send_signal(signal.SIGABRT)
        process.wait()
        pytest.fail(f"it goes on:\n{self.said(process)}")

    def job_at_work(self) -> int:
        """Wait until the process of the job is in the middle of it; returns its number."""

        def look() -> int | None:
            with suppress(OSError, ValueError):
                told = json.loads((self.home / "state" / "locks" / f"job-{HELD_UP}.holder.json").read_bytes())
                if kinds(ctx, HELD_UP)[-1:] == [runs.STARTED]:
                    self.orphans.append(told["pid"])
                    return int(told["pid"])
            return None

        ctx = wiring.build(self.home)
        return until(look, "the job has begun")

    def end(self) -> None:
        """End everything."""
        for pid in self.orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture
def lives(home) -> Iterator[Lives]:
    made = Lives(home)
    yield made
    made.end()


def holder(home) -> int | None:
    try:
        return json.loads((home / "state" / "locks" / "runner.holder.json").read_bytes())["pid"]
    except (OSError, ValueError):
        return None


def stands_by_or_works(lives, process) -> bool:
    return "standing by" in lives.said(process) or holder(lives.home) == process.pid


def is_idle(lives, process) -> bool:
    return "next: 20" in lives.said(process)


def check_one_end_each(ctx):
    for name in made_up_for(ctx):
        told = kinds(ctx, name)
        assert told[-1] == runs.DONE, (name, told)
        assert sum(kind in runs.SETTLED for kind in told) == 1, (name, told)
        starts = [i for i, kind in enumerate(told) if kind == runs.STARTED]
        assert all(told[i - 1] == runs.CRASHED for i in starts[1:]), (name, told)
    assert run_audit_verify(ctx).exit_code is ExitCode.OK


def test_a_killed_holder_is_followed_within_seconds_whenever_it_dies_and_nothing_is_done_twice(home, tmp_path):
    dice, slowest, interrupted = random.Random(7), 0.0, 0
    for number in range(ROUNDS):
        with living(Path(shutil.copytree(home, tmp_path / f"h{number}" / "home"))) as lives:
            first = lives.runner()
            until(lambda first=first, lives=lives: holder(lives.home) == first.pid, "the first holds the lease")
            second = lives.runner("--standby")
            time.sleep(dice.uniform(0.0, 4.0))
            interrupted += not is_idle(lives, first)
            stood_by = stands_by_or_works(lives, second)
            first.kill()
            killed = time.monotonic()
            if not stood_by:  # it is still starting: that time is not the takeover's
                until(lambda lives=lives, second=second: stands_by_or_works(lives, second), "the second has started")
                killed = time.monotonic()
            until(lambda second=second, lives=lives: holder(lives.home) == second.pid, "the second took over")
            slowest = max(slowest, time.monotonic() - killed)
            ctx = wiring.build(lives.home)
            names = made_up_for(ctx)
            until(
                lambda ctx=ctx, names=names: all(is_settled(ctx, name) for name in names), "all that was due is settled"
            )
            check_one_end_each(ctx)
    sys.__stderr__.write(f"{ROUNDS} holders killed, {interrupted} at work; slowest takeover {slowest:.2f} s\n")
    assert slowest < TAKEOVER_S


@contextmanager
def living(home):
    made = Lives(home)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def held_up(home):
    """Hold up the backup: its process waits for a lease that is ours until it is released."""
    ctx = wiring.build(home)
    if tick._would_delay(ctx, job_named(HELD_UP)):
        pytest.skip("money may be due in New York now: what takes long, as this job may, waits")
    with Lease(home / "cache" / "locks", HELD_UP, ctx.clock) as lease:
        yield lease


@pytest.mark.parametrize("lives_on", [True, False], ids=["it goes on", "it dies"])
def test_a_job_that_outlives_its_runner_is_not_begun_a_second_time_while_it_is_alive(home, lives, held_up, lives_on):
    first = lives.runner()
    until(lambda: holder(home) == first.pid, "the first holds the lease")
    second = lives.runner("--standby")
    pid = lives.job_at_work()
    until(lambda: "standing by" in lives.said(second), "the second stands by")
    first.kill()
    first.wait()
    until(lambda: is_idle(lives, second), "the second has looked at what is due")
    ctx = wiring.build(home)
    assert kinds(ctx, HELD_UP) == [runs.STARTED]
    assert all(kinds(ctx, name)[-1] == runs.DONE for name in made_up_for(ctx) if name != HELD_UP)
    if lives_on:
        held_up.release()
    else:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not perform.is_running(ctx, job_named(HELD_UP)), "the job's process is gone")
        held_up.release()
        second.send_signal(signal.SIGTERM)  # it would look again within a minute; another one looks at once
        assert lives.ended(second) == ExitCode.TERMINATED
        lives.runner()
    until(lambda: is_settled(ctx, HELD_UP), "the job is done")
    ends = [] if lives_on else [runs.STARTED, runs.CRASHED]
    assert kinds(ctx, HELD_UP) == [*ends, runs.STARTED, runs.DONE]
    until(lambda: not perform.is_running(ctx, job_named(HELD_UP)), "the job's process has ended")
    check_one_end_each(ctx)


def test_beside_a_runner_once_is_refused_with_five(home, lives):
    first = lives.runner()
    until(lambda: holder(home) == first.pid, "it holds the lease")
    done = kobe(home, "run", "--once")
    assert done.returncode == 5
    assert f"process {first.pid}" in done.stderr


@pytest.mark.parametrize("in_time", [True, False], ids=["it ends in its grace", "it does not"])
def test_a_runner_told_to_stop_gives_the_job_its_grace_and_writes_down_how_it_ended(home, lives, held_up, in_time):
    process = lives.runner()
    lives.job_at_work()
    told = time.monotonic()
    process.send_signal(signal.SIGHUP)  # a reload waits for the job; the stop behind it does not
    process.send_signal(signal.SIGTERM)
    if in_time:
        held_up.release()
    assert lives.ended(process) == ExitCode.TERMINATED
    assert time.monotonic() - told < GRACE_S + 7
    ctx = wiring.build(home)
    assert kinds(ctx, HELD_UP) == [runs.STARTED, runs.DONE if in_time else runs.CRASHED]
    if not in_time:
        (end,) = [r for r in runs.of_session(ctx.ledger, last_session(ctx)) if r.job == HELD_UP]
        assert end.detail == "stopped with the runner"
    assert (heartbeat.read(ctx), holder(home)) == (None, None)
    assert not perform.is_running(ctx, job_named(HELD_UP))


def test_a_frozen_runner_is_silent_and_health_says_so_until_it_goes_on(home, lives):
    process = lives.runner()
    until(lambda: is_idle(lives, process), "its first round is over")
    assert "the runner is silent" not in kobe(home, "health").stdout
    process.send_signal(signal.SIGSTOP)
    beat = heartbeat.read(wiring.build(home))
    until(lambda: beat.age_s(wiring.build(home).clock.now()) > 5.5, "five beats are missed")
    told = kobe(home, "health")
    assert told.returncode == ExitCode.PARTIAL, told.stdout
    assert "the runner is silent" in told.stdout
    process.send_signal(signal.SIGCONT)
    until(lambda: (now := heartbeat.read(wiring.build(home))) and now.beat_ns > beat.beat_ns, "it beats again")
    assert "the runner is silent" not in kobe(home, "health").stdout
