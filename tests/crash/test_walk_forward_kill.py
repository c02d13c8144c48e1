"""`kobe walk-forward` is killed fifty times at random moments; what it goes on from is whole, and it ends the same."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
KILLS = 50


def command(home: Path) -> list[str]:
    until = json.loads((home / "until.json").read_text())
    return [sys.executable, "-m", "kobe", "--home", str(home), "walk-forward", "--until", until, "--json"]


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")}  # fmt: skip


def check_manifests(folder: Path) -> None:
    """Whatever a manifest names is there as it names it."""
    for manifest in folder.glob("*/split_*/manifest.json"):
        for name, digest in json.loads(manifest.read_text())["files"].items():
            assert hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest() == digest, (manifest, name)


def test_killed_fifty_times_and_resumed_it_ends_with_the_digests_of_a_run_that_was_left_alone(made_home, tmp_path):
    from kit.home import SPEC, copy_home

    from kobe.app import wiring

    whole, home = copy_home(made_home, tmp_path / "whole"), copy_home(made_home, tmp_path / "home")
    ctx = wiring.build(whole)
    until = ctx.calendar.sessions[ctx.calendar.number(SPEC.last_session) - 16]
    ctx.ledger.close()
    for folder in (whole, home):
        (folder / "until.json").write_text(json.dumps(str(until)))
        subprocess.run(["rm", "-rf", str(folder / "wf_outputs")], check=True)
    started = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True)
    lasts = time.monotonic() - started
    expected = digests(whole / "wf_outputs")
    rng, killed = random.Random(83), 0
    for attempt in range(3 * KILLS):
        if killed == KILLS:
            break
        process = subprocess.Popen(command(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.15, 1.0) * lasts)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed += process.returncode == -signal.SIGKILL
        check_manifests(home / "wf_outputs")
        if process.returncode == 0 and attempt % 3 == 0:  # it got through: start over from nothing
            subprocess.run(["rm", "-rf", str(home / "wf_outputs")], check=True)
    assert killed == KILLS
    subprocess.run(command(home), check=True, capture_output=True)
    assert digests(home / "wf_outputs") == expected
    listed = subprocess.run(
        [sys.executable, "-m", "kobe", "--home", str(home), "experiments", "list", "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    runs = json.loads(listed.stdout)["runs"]
    assert len({r["results_digest"] for r in runs[1:]}) == 1, "every run that was recorded found the same"
