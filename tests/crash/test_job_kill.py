"""Every job of the day, killed at random lines and run again, has the effect of one run that was left alone.

Half of the kills are drawn over all lines the job executes, half over those that write something down.
"""

import os
import random
import shutil
import sys
import time

import pytest
from kit import job_homes
from kit.job_zygote import PLACES, zygote
from kit.market_server import MarketServer, small_market

from kobe.app.jobs import GUARDS, JOBS

FULL = os.environ.get("KOBE_CRASH_FULL", "") not in ("", "0")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FULL, reason="takes more time than the others together: KOBE_CRASH_FULL=1"),
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]
NAMES = [job.name for job in (*JOBS, GUARDS)]
KILLS = 50
NOT_BEGUN = 3


@pytest.fixture(scope="module")
def forks():
    with zygote() as made:
        yield made


@pytest.fixture(scope="module")
def stages(made_home, tmp_path_factory, calendar):
    """Job -> the home that stands before it; jobs of exits where something is held."""
    folder = tmp_path_factory.mktemp("stages")
    with MarketServer(small_market(calendar)) as server:
        yield (
            job_homes.stages_of_a_day(made_home, folder)
            | job_homes.stages_of_a_holding(folder)
            | job_homes.stages_of_fetching(folder, server, calendar)
        )


def run_whole(forks, stage, home):
    """Run a job undisturbed; returns what it leaves and how many lines it executes in each kind of place."""
    lines = {}
    for where in PLACES:
        shutil.rmtree(home, ignore_errors=True)
        job_homes.copy(stage.home, home)
        told = forks.run("--home", str(home), *stage.words, line=0, where=where)
        assert told["signal"] == 0, told
        lines[where] = told["lines"]
    assert job_homes.faults_of_records(stage, home) == []
    return left_by(home), lines


def left_by(home):
    return dict(job_homes.files_of(home)), job_homes.events_of(home)


@pytest.mark.parametrize("name", NAMES)
def test_a_job_killed_anywhere_and_run_again_leaves_what_one_run_leaves(name, stages, forks, tmp_path):
    stage, dice = stages[name], random.Random(name)
    (files, events), lines = run_whole(forks, stage, tmp_path / "whole")
    began, killed, again = time.monotonic(), 0, 0
    for number in range(KILLS):
        home = job_homes.copy(stage.home, tmp_path / "killed")
        where = list(PLACES)[number % 2]
        line = dice.randint(1, lines[where])
        words = ("--home", str(home), *stage.words)
        killed += forks.run(*words, line=line, where=where)["signal"] == 9
        for _ in range(NOT_BEGUN):
            again += 1
            if forks.run(*words)["code"] == 0:
                break
        told = f"{name} killed before line {line} ({where})"
        assert job_homes.faults_of_records(stage, home) == [], told
        if job_homes.left_of_killed(home):
            forks.run("--home", str(home), "-q", "doctor", "--fix", "--only", "temporary")
        assert job_homes.left_of_killed(home) == [], told
        found, happened = left_by(home)
        assert differences(found, files) == [], told
        assert differences(happened[0], events[0]) == [], told
        assert sum(happened[1].values()) >= sum(events[1].values()), told
        assert job_homes.books_agree(stage, home), told
        shutil.rmtree(home)
    took = time.monotonic() - began
    sys.__stderr__.write(f"{name}: {killed} killed over {lines['anywhere']} lines, {again} runs again, {took:.1f} s\n")
    assert killed >= 0.8 * KILLS


def differences(one, other):
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
