"""The promise of the whole: a past day is scanned alike from its own bars alone and from all of history."""

import shutil
from datetime import date

import polars as pl
import pytest

from kobe.app import import_bars, wiring
from kobe.app.promote import run_promote
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.train_meta import run_train_meta
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.data.manifest import Provenance
from kobe.data.providers.files import read_bars

DAY = date(2020, 3, 5)
MEANING = Provenance(source="equities_daily")


@pytest.mark.long
def test_2020_03_05_of_505_real_symbols_gives_the_same_picks_from_bars_cut_at_that_day(real_file, tmp_path):
    whole = wiring.build(tmp_path / "whole")
    bars = read_bars(real_file, {})
    import_bars.keep(whole, bars, MEANING, "all", replace=True)
    run_walk_forward(whole, WalkForwardRequest(until=whole.calendar.previous(DAY)))
    run_train_meta(whole)
    run_promote(whole)
    whole.ledger.close()
    shutil.copytree(tmp_path / "whole" / "state", tmp_path / "cut" / "state")
    cut = wiring.build(tmp_path / "cut")
    import_bars.keep(cut, bars.filter(pl.col("date") <= DAY), MEANING, "cut", replace=True)
    told = [run_scan(ctx, ScanRequest(session=DAY)).data for ctx in (whole, cut)]
    assert told[0]["picks"] == told[1]["picks"]
    assert told[0]["model_id"] is not None
    assert len(told[0]["picks"]) >= 1
    for name in ("daily_picks", "trade_of_day"):
        for kind in ("jsonl", "csv"):
            left, right = ((ctx.paths.of_session(DAY) / f"{name}.{kind}").read_bytes() for ctx in (whole, cut))
            assert left == right
