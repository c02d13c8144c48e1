"""`kobe submit-totd` on the simulated broker, killed at any moment and run again, leaves one opening order per signal.

Every named point and every fault of a broker are in test_order_faults.py.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from kit.home import LAST, at

from kobe.app import desk, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.reconcile import run_reconcile
from kobe.app.scan import ScanRequest, run_scan
from kobe.core.errors import ExitCode

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a POSIX signal")]
KILLS = 20


@pytest.fixture(scope="module")
def ready(made_home, tmp_path_factory, calendar):
    """A home whose scan chose a trade, and the instant at which it is to be sent."""
    folder = tmp_path_factory.mktemp("ready") / "home"
    shutil.copytree(made_home, folder, ignore=shutil.ignore_patterns("wf_outputs"))
    for k in range(14, 0, -1):
        day = calendar.offset(LAST, -k)
        ctx = wiring.build(folder, clock=at(day, 9, 35))
        chosen = run_scan(ctx, ScanRequest(session=calendar.previous(day))).data["trade_of_day"]
        if chosen["action"] == "trade":
            return folder, day, chosen["signal_id"]
    pytest.fail("no trade to submit")


def start(home, day) -> subprocess.Popen:
    command = [sys.executable, "-m", "kobe", "--home", str(home), "submit-totd", "--as-of", f"{day}T09:35"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check(home, day, signal_id) -> None:
    ctx = wiring.build(home, clock=at(day, 9, 36))
    orders = list(ctx.broker.orders())
    ours = desk.manager(ctx).orders()
    assert all(o.client_order_id in ours for o in orders), "an order without a record"
    opening = [o for o in orders if "-open-" in o.client_order_id]
    assert [ours[o.client_order_id].request.signal_id for o in opening] == [signal_id]
    assert run_reconcile(ctx).exit_code is ExitCode.OK
    verdict = run_audit_verify(ctx)
    assert verdict.exit_code is ExitCode.OK, verdict.summary
    if opening[0].filled:
        guards = [ours[o.client_order_id].request.order_type.value for o in orders if o not in opening]
        assert guards in (["gtc_stop"], ["gtc_oco"])


@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments_leave_one_opening_order_and_a_chain_that_verifies(ready, tmp_path):
    base, day, signal_id = ready
    dice = random.Random(2024)
    whole = shutil.copytree(base, tmp_path / "whole")
    began = time.monotonic()
    first = start(whole, day)
    out, err = first.communicate()
    assert first.returncode == 0, out + err
    life = time.monotonic() - began
    check(whole, day, signal_id)
    interrupted, recorded, runs = 0, 0, 0
    while interrupted < KILLS and runs < 4 * KILLS:
        home = shutil.copytree(base, tmp_path / f"kill{runs}")
        runs += 1
        began = time.monotonic()
        process = start(home, day)
        try:
            process.wait(timeout=life * dice.uniform(0.3, 1.0))
            life = time.monotonic() - began  # it was quicker than thought: aim again
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            interrupted += 1
        process.communicate()
        recorded += bool(desk.manager(wiring.build(home, clock=at(day, 9, 36))).orders())
        again = start(home, day)
        out, err = again.communicate()
        assert again.returncode == 0, out + err
        check(home, day, signal_id)
        shutil.rmtree(home)
    said = f"{runs} runs, {interrupted} killed while alive, {recorded} with an intent on record before the rerun"
    sys.__stderr__.write(said + chr(10))
    assert interrupted == KILLS
