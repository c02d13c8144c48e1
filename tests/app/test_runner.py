"""The runner as a process: it explains itself, holds its lease, and stops when asked."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest

from kobe.app import wiring
from kobe.app.day import runs
from kobe.app.day.job_process import IN_FORCE
from kobe.app.day.runner_once import runner_lease
from kobe.app.day.watchman import ClockWatch, Signs
from kobe.app.settings import load
from kobe.app.watching import heartbeat
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExternalError
from kobe.infra.records import audit
from kobe.interfaces.scheduler.timetable import wake_ups

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@contextmanager
def runner(home, *options, out=subprocess.DEVNULL):
    """A runner's process; it is asked to stop at the end, and killed if it does not."""
    command = [sys.executable, "-m", "kobe", "--home", str(home), "run", *options]
    with subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


def heard(process, words):
    """Read what a runner says until it says some words; everything up to there."""
    said = []
    for line in iter(process.stderr.readline, ""):
        said.append(line)
        if words in line:
            return said
    raise AssertionError(f"it ended without saying {words!r}: {said}")


@posix
@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_runner_starts_on_an_empty_home_tells_the_timetable_and_stops_when_told(tmp_path, told, code):
    out_file = tmp_path / "out.txt"
    with out_file.open("w") as out, runner(tmp_path / "home", out=out) as process:
        heard(process, "next: 20")
        ctx = wiring.build(tmp_path / "home")
        with pytest.raises(ExternalError, match=f"process {process.pid}"):
            runner_lease(ctx).acquire()
        beat = heartbeat.read(ctx)
        assert beat is not None
        assert (beat.pid, beat.age_s(ctx.clock.now()) < 60) == (process.pid, True)
        process.send_signal(told)
        said = process.stderr.read()
        assert process.wait(60) == code
    assert "exits-close" in out_file.read_text()
    assert "Traceback" not in said
    assert heartbeat.read(ctx) is None


@posix
def test_a_runner_that_is_killed_is_followed_by_the_one_that_stands_by_and_nothing_is_done_twice(tmp_path):
    home = tmp_path / "home"
    with ExitStack() as stack:
        first = stack.enter_context(runner(home))
        heard(first, "next: 20")
        second = stack.enter_context(runner(home, "--standby"))
        heard(second, "standing by")
        first.kill()
        killed = time.monotonic()
        heard(second, "next: 20")
        assert time.monotonic() - killed < 30, "the lease is asked for each second"
        ctx = wiring.build(home)
        started = [r.payload for r in audit.read(ctx.paths.audit) if r.kind == "runner_started"]
        assert [r["pid"] for r in started] == [first.pid, second.pid]
        assert (started[0]["took_over"], started[1]["took_over"]["pid"]) == (None, first.pid)
    for event in ctx.ledger.events(runs.STREAM):
        known = runs.standing(ctx.ledger, event.payload["job"], date.fromisoformat(event.payload["session"]))
        assert sum(e.kind == runs.DONE for e in known.events) <= 1


@posix
def test_a_hangup_reads_the_settings_anew_and_takes_nothing_looser(tmp_path):
    home = tmp_path / "home"
    with runner(home) as process:
        heard(process, "next: 20")
        (home / "config").mkdir()
        (home / "config" / "kobe.toml").write_text("[risk]\nday_max_usd = 500\norder_max_usd = 900\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        heard(process, "settings read anew: risk.day_max_usd = 500")
        heard(process, "risk.order_max_usd = 900 is looser than 75")
        in_force, _ = load(home, home / "state" / IN_FORCE)
        assert (in_force.risk.day_max_usd, in_force.risk.order_max_usd) == (500, 75)
        once = [sys.executable, "-m", "kobe", "--home", str(home), "run", "--once"]
        loose = {**os.environ, "KOBE_RISK__DAY_MAX_USD": "9000"}
        assert subprocess.run(once, env=loose, capture_output=True, check=False).returncode == 5
        assert load(home, home / "state" / IN_FORCE)[0] == in_force, "the limits are those of the lease's holder"
        (home / "config" / "kobe.toml").write_text("[risk]\nday_max_usd = many\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        heard(process, "settings not read anew")


def test_a_clock_that_is_set_is_noticed_and_one_that_only_creeps_is_not():
    at = datetime(2024, 11, 12, 14, 30, tzinfo=UTC)
    watch = ClockWatch(at, 100.0)
    assert watch.jump_s(at + timedelta(seconds=15.5), 115.0) == 0
    assert watch.jump_s(at + timedelta(hours=1), 130.0) == pytest.approx(3600 - 15.5 - 15)
    assert watch.jump_s(at, 145.0) == pytest.approx(-3615)
    assert watch.jump_s(at + timedelta(seconds=15), 160.0) == 0


def test_a_thread_that_works_and_gives_no_sign_for_a_minute_is_not_alive():
    signs = Signs()
    assert signs.is_alive(1e9)
    signs.begin(100.0)
    assert (signs.is_alive(159.0), signs.is_alive(161.0)) == (True, False)
    signs.sign("scan", 160.0)
    assert (signs.job, signs.is_alive(219.0)) == ("scan", True)
    signs.end()
    assert signs.is_alive(1e9)


def test_a_service_manager_hears_what_is_said_and_one_that_is_gone_does_no_harm(tmp_path):
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(place)
        script = "from kobe.interfaces.scheduler import systemd; systemd.notify('READY=1')"
        for address in (place, "", str(tmp_path / "gone")):
            environment = {**os.environ, "NOTIFY_SOCKET": address}
            subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        manager.settimeout(5)
        assert manager.recv(100) == b"READY=1"


def test_a_second_runner_is_refused_with_five(home):
    with runner_lease(wiring.build(home)):
        command = [sys.executable, "-m", "kobe", "--home", str(home), "run", "--once"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "another kobe process holds runner" in done.stderr


def test_every_session_from_2010_to_2027_wakes_at_its_own_instants(calendar):
    """Half days, both changes of clocks and ad-hoc closures included: expected against planned."""
    morning, night = ["06:00", "06:30", "08:00", "09:35", "10:30"], ["22:00"]
    for day in calendar.between(date(2010, 1, 4), date(2027, 12, 31)):
        start = calendar.opens_at(day) - timedelta(hours=5)
        wakes = [i.astimezone(NEW_YORK) for i in wake_ups(calendar, day, start, sessions=1)]
        close = ["12:55", "13:20"] if calendar.is_early_close(day) else ["15:55", "16:20"]
        assert [f"{w:%H:%M}" for w in wakes if w.date() == day] == [*morning, *close, *night], day
        weekend = [f"{w:%a %H:%M}" for w in wakes if w.date() != day]
        assert weekend == (["Sat 10:00"] if calendar.next(day).weekday() <= day.weekday() else []), day
