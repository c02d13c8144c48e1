"""A hundred past decisions on real bars, made again to the byte: in a new process, and from the bars of their day."""

import hashlib
import random
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from kobe.app import import_bars, wiring
from kobe.app.decision import read_record
from kobe.app.promote import run_promote
from kobe.app.replay import run_replay
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.train_meta import run_train_meta
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.errors import ExitCode
from kobe.data.manifest import Provenance
from kobe.data.providers.files import read_bars

MEANING = Provenance(source="equities_daily")
FIRST, LAST = date(2012, 1, 3), date(2020, 12, 30)
SESSIONS, CUT, SEED = 100, 5, 2026
EARLY, LATER = date(2012, 12, 31), date(2016, 6, 30)


@pytest.fixture(scope="module")
def recorded(real_file, tmp_path_factory) -> tuple[Path, pl.DataFrame, list[date], list[dict]]:
    """A home with every kind of speaker, and the documents of a hundred scans.

    No model may speak until 2012 ends; then the base rate does, with a logistic candidate in its shadow; from the
    middle of 2016 on a logistic model, crowned by hand, because what a verdict thinks of it does not matter here.
    """
    home = tmp_path_factory.mktemp("replay") / "home"
    bars = read_bars(real_file, {})
    ctx = wiring.build(home)
    import_bars.keep(ctx, bars, MEANING, "all", replace=True)
    run_walk_forward(ctx, WalkForwardRequest(until=EARLY))
    shadow = run_train_meta(ctx).data["model_id"]
    run_promote(ctx)
    ctx.models.shadow(shadow, "to be heard by the record")
    run_walk_forward(ctx, WalkForwardRequest(until=LATER))
    ctx.models.promote(run_train_meta(ctx).data["model_id"], "to be replayed")
    sessions = [s for s in ctx.calendar.sessions if FIRST <= s <= LAST]
    drawn = sorted(random.Random(SEED).sample(sessions, SESSIONS))
    told = [run_scan(ctx, ScanRequest(session=day)).data for day in drawn]
    ctx.ledger.close()
    return home, bars, drawn, told


@pytest.mark.long
def test_a_hundred_random_sessions_of_nine_years_are_decided_again_to_the_byte(recorded):
    home, _, drawn, told = recorded
    assert len({t["model_id"] for t in told}) == 3
    assert {t["trade_of_day"]["action"] for t in told} == {"trade", "no_trade"}
    assert sum(t["trade_of_day"]["action"] == "trade" for t in told) >= 25
    fresh = wiring.build(home)
    for day in drawn:
        files = read_record(fresh, day)["files"]
        assert len(files) == 4
        on_disk = {n: hashlib.sha256((fresh.paths.of_session(day) / n).read_bytes()).hexdigest() for n in files}
        assert on_disk == files
        again = run_replay(fresh, day)
        assert again.exit_code is ExitCode.OK
        assert (again.data["same"], again.data["differing"], again.data["fates"]) == (True, [], [])
        assert again.data["changed"] == []
    fresh.ledger.close()


@pytest.mark.long
def test_a_store_that_ends_with_the_session_decides_as_the_whole_of_history_did(recorded, tmp_path):
    home, bars, drawn, told = recorded
    traded = [day for day, t in zip(drawn, told, strict=True) if t["trade_of_day"]["action"] == "trade"]
    days = random.Random(SEED).sample(traded, CUT - 1) + drawn[:1]
    for day in days:
        here = tmp_path / str(day)
        for part in ("state", "reports"):
            shutil.copytree(home / part, here / part)
        ctx = wiring.build(here)
        import_bars.keep(ctx, bars.filter(pl.col("date") <= day), MEANING, "cut", replace=True)
        assert ctx.calendar.sessions[ctx.panel().last_session] == day
        again = run_replay(ctx, day)
        assert again.data["same"], again.data["differing"]
        assert again.data["changed"] == []
        ctx.ledger.close()
