"""The runner as a process: it explains itself, holds its lease, and stops when asked."""

import os
import signal
import subprocess
import sys

import pytest

from kobe.app import jobs, wiring
from kobe.app.runner_once import runner_lease
from kobe.core.errors import ExternalError
from kobe.interfaces.scheduler.runner import refill
from kobe.interfaces.scheduler.timetable import wake_ups


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_runner_starts_on_an_empty_home_tells_the_timetable_and_stops_on_sigterm(tmp_path):
    command = [sys.executable, "-m", "kobe", "--home", str(tmp_path / "home"), "run"]
    out_file = tmp_path / "out.txt"
    with (
        out_file.open("w") as stdout,
        subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process,
    ):
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("next: ") for line in lines), "it ended without saying what comes next"
        try:
            with pytest.raises(ExternalError, match=f"process {process.pid}"):
                runner_lease(wiring.build(tmp_path / "home")).acquire()
        finally:
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "exits-close" in out_file.read_text()
    assert "Traceback" not in err


def test_a_second_runner_is_refused_with_five(home):
    with runner_lease(wiring.build(home)):
        command = [sys.executable, "-m", "kobe", "--home", str(home), "run", "--once"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "another kobe process holds runner" in done.stderr


def test_every_session_from_2010_to_2027_wakes_at_its_own_five_instants(calendar):
    """Half days, both changes of clocks and ad-hoc closures included: expected against planned."""
    from datetime import date, timedelta

    from kobe.core.clock import NEW_YORK

    for day in calendar.between(date(2010, 1, 4), date(2027, 12, 31)):
        start = calendar.opens_at(day) - timedelta(hours=4)
        local = [i.astimezone(NEW_YORK).strftime("%H:%M") for i in wake_ups(calendar, day, start, sessions=1)]
        early = calendar.is_early_close(day)
        assert local == ["08:00", "09:35", "10:30", *(["12:55", "13:20"] if early else ["15:55", "16:20"])], day


class Planned:
    """A scheduler that only writes down when it was asked to wake."""

    def __init__(self):
        self.instants = []

    def add_job(self, _wake, _kind, *, run_date, **_how):
        self.instants.append(run_date)


def test_while_exits_are_not_done_the_runner_wakes_each_minute_between_its_slots(tmp_path):
    from datetime import date, timedelta

    from kit.home import at

    ctx = wiring.build(tmp_path / "home", clock=at(date(2024, 11, 12), 15, 55))
    before, after = Planned(), Planned()
    refill(before, ctx, None)
    assert ctx.clock.now() + timedelta(minutes=1) in before.instants
    jobs.miss(ctx, jobs.job_named("exits-close"), ctx.today)
    refill(after, ctx, None)
    assert ctx.clock.now() + timedelta(minutes=1) not in after.instants
