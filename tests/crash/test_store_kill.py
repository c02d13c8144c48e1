"""Imports, fetches, checks and repairs are killed at random lines: the store verifies, nothing acknowledged is lost."""

import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from kit.killing import ENVIRONMENT
from kit.market import market, put, store_in

from kobe.data.verify import verify

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # hundreds of processes: a busy machine needs long
REPOSITORY = Path(__file__).parents[2]
KILLS = 15

WORK = """
import os, sys
from pathlib import Path
import polars as pl
from kit.killing import Countdown
from kit.market import market, put, store_in
from kit.provider import ListProvider
from kobe.core.calendar import xnys
from kobe.data import fetch, holds, ingest, verify
from kobe.data.quality import Scope
from kobe.infra.records.artifacts import FileArtifacts

folder, what, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calendar = xnys()
bars = market(calendar)
store = store_in(folder, calendar)

def do_import():
    put(store, bars, at="2021-02-01T00:00:00+00:00")

def do_fetch():
    provider = ListProvider(bars)
    wanted, _ = fetch.wishes(["AAA", "BBB", "CCC"], store, calendar, bars["date"].min(), bars["date"].max(), full=False)
    done = fetch.Fetcher(providers=[provider], adjustment="split", feed="consolidated", folder=folder / "incoming",
                         calendar=calendar, artifacts=FileArtifacts(), store=store).run(wanted)
    for (source, feed), group in fetch.by_origin(done.got.values()).items():
        told, events = fetch.joined(group)
        put(store, told, events, source=source, feed=feed, at="2021-02-01T00:00:00+00:00")

def do_check():
    _, held = ingest.rechecked(store, Scope(calendar=calendar))
    hold = holds.Hold("BBB", "by_hand", bars["date"].max(), None, "killed while it was written")
    store.amend(held=holds.merge(held, holds.to_frame([hold])))

def do_repair():
    verify.repair(store, lambda name, content: FileArtifacts().write(folder / "aside" / name, content))

work = dict(imported=do_import, fetched=do_fetch, checked=do_check, repaired=do_repair)[what]
with Countdown(left, "kobe/data", "kobe/infra") as counted:
    work()
os.write(1, str(counted.lines).encode())
"""


def run(folder: Path, what: str, line: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORK, str(folder), what, str(line)]
    return subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def prepared(folder: Path, calendar, what: str):
    """A store that acknowledged the first 300 sessions; for repairs, one with a year that is damaged."""
    bars = market(calendar)
    store = store_in(folder, calendar)
    put(store, bars.filter(pl.col("date") <= calendar.offset(bars["date"].min(), 299)))
    if what == "repaired":
        put(store, bars, at="2021-01-20T00:00:00+00:00")
        (store.blobs.folder / store.manifest().years["2020"].name).write_bytes(b"damaged")
    return store


@pytest.mark.parametrize("what", ["imported", "fetched", "checked", "repaired"])
def test_a_killed_writer_leaves_one_state_or_the_next_and_can_be_run_again(tmp_path, calendar, what):
    whole = tmp_path / "whole"
    prepared(whole, calendar, what)
    done = run(whole, what, -1)
    assert done.returncode == 0, done.stderr
    lines = int(done.stdout)
    bars = market(calendar)
    promised = bars.filter(pl.col("date") <= calendar.offset(bars["date"].min(), 299))
    rng, killed = random.Random(81), 0
    for k in range(KILLS):
        folder = tmp_path / str(k)
        store = prepared(folder, calendar, what)
        killed += run(folder, what, rng.randint(1, lines)).returncode == -9
        if what != "repaired":
            assert verify(store).good
            found = store.frame().drop("origin")
            assert len(promised.join(found, on=promised.columns, how="anti")) == 0, "acknowledged bars are gone"
            assert len(found) in {len(promised), len(bars)}
        assert run(folder, what, -1).returncode == 0
        assert verify(store).good
        expected = {"imported": bars, "fetched": bars, "checked": promised, "repaired": promised}[what]
        assert store.frame().drop("origin").equals(expected)
        assert store.panel().digest == store.panel().digest
    assert killed >= KILLS * 0.9
