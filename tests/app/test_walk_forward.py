"""The walk-forward's artifacts: resumable, and equal to the byte when the future is deleted."""

import json
import shutil

import polars as pl
import pytest
from kit.home import SPEC, copy_home

from kobe.app import import_bars, wiring
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.errors import MissingDataError
from kobe.data import actions

FILES = ("trade_list", "equity_curve", "trials")


def splits(home, strategy):
    return sorted((home / "wf_outputs" / strategy).glob("split_*"))


@pytest.mark.parametrize("strategy", ["ibs_rsi", "turtle_soup"])
def test_every_split_has_its_artifacts_and_a_manifest_that_names_their_digests(made_home, strategy):
    import hashlib

    complete = [s for s in splits(made_home, strategy) if (s / "manifest.json").is_file()]
    assert len(complete) >= 5
    for folder in complete:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        wanted = {f"{n}.{kind}" for n in FILES for kind in ("csv", "parquet")} | {"params.json"}
        assert set(manifest["files"]) == wanted
        for name, digest in manifest["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert any("SYNTHETIC" in b for b in manifest["banners"])
    page = (made_home / "wf_outputs" / "walk_forward.html").read_text(encoding="utf-8")
    assert "SYNTHETIC" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<svg" in page


def test_deleting_the_future_after_a_split_reproduces_the_earlier_splits_byte_for_byte(made_home, tmp_path):
    complete = [s for s in splits(made_home, "ibs_rsi") if (s / "manifest.json").is_file()]
    kept = complete[-2]
    last = json.loads((kept / "manifest.json").read_text(encoding="utf-8"))["test"][1]
    home = copy_home(made_home, tmp_path / "cut")
    shutil.rmtree(home / "wf_outputs")
    ctx = wiring.build(home)
    bars = ctx.store.frame().filter(pl.col("date") <= pl.lit(last).str.to_date())
    import_bars.keep(ctx, bars, ctx.store.manifest().provenance, "cut", replace=True)
    run_walk_forward(ctx, WalkForwardRequest())
    for strategy in ("ibs_rsi", "turtle_soup"):
        for folder in splits(made_home, strategy):
            if not (folder / "manifest.json").is_file() or folder.name >= kept.name:
                continue
            for file in sorted(folder.iterdir()):
                mine = home / "wf_outputs" / strategy / folder.name / file.name
                assert mine.read_bytes() == file.read_bytes(), f"{strategy}/{folder.name}/{file.name}"


def quarterly_dividends(panel):
    """A dividend of 0.40 of the tape's dollars for every symbol at every 20th of its bars."""
    sessions = panel.calendar.sessions
    told = [
        (b.symbol, sessions[s], "dividend", 0.40, "", "test") for b in panel for s in b.session[20::20].tolist()
    ]  # fmt: skip
    return pl.DataFrame(told, schema=actions.SCHEMA, orient="row")


def test_the_trade_list_says_what_dividends_and_loans_did_to_each_trade(made_home, tmp_path):
    home = copy_home(made_home, tmp_path / "paying")
    ctx = wiring.build(home)
    told = quarterly_dividends(ctx.store.panel())
    ctx.store.amend(events=pl.concat([ctx.store.actions(), told]).sort("symbol", "date"))
    panel = wiring.build(home).store.panel()
    assert panel.pays
    run_walk_forward(wiring.build(home), WalkForwardRequest())
    unsplit = [b.symbol for b in panel if (panel.raw_factor[b.first_row : b.first_row + len(b)] == 1.0).all()]
    whole = [f for f in splits(home, "ibs_rsi") if (f / "manifest.json").is_file()]
    trades = pl.concat([pl.read_parquet(f / "trade_list.parquet") for f in whole])
    closed = trades.filter((pl.col("state") == "closed") & pl.col("symbol").is_in(unsplit)).with_row_index()
    held = closed.join(told.select("symbol", pl.col("date").alias("ex")), on="symbol").filter(
        (pl.col("ex") > pl.col("entry_date")) & (pl.col("ex") <= pl.col("exit_date"))
    )
    counts = held.group_by("index").len().join(closed, on="index", how="right").fill_null(0)
    assert counts.filter((pl.col("len") > 0) & (pl.col("quantity") > 0)).height > 10
    wanted = counts.get_column("quantity") * counts.get_column("len") * 0.40
    assert counts.get_column("dividends_usd").to_list() == pytest.approx(wanted.to_list(), abs=1e-6)
    assert set(trades.get_column("borrow_usd")) == {0.0}, "nothing was sold short"
    plain = counts.with_columns(
        fills_r=(pl.col("exit_got") - pl.col("entry_paid")) / (pl.col("entry") - pl.col("stop")),
        paid_r=pl.col("len") * 0.40 / (pl.col("entry") - pl.col("stop")),
    )
    assert plain.select((pl.col("net_r") - pl.col("fills_r") - pl.col("paid_r")).abs().max()).item() < 1e-9


def test_a_run_that_lost_half_its_splits_is_completed_to_the_same_bytes(made_home, tmp_path):
    home = copy_home(made_home, tmp_path / "half")
    everything = {p.relative_to(home): p.read_bytes() for p in (home / "wf_outputs").rglob("*") if p.is_file()}
    for folder in splits(home, "ibs_rsi")[::2]:
        shutil.rmtree(folder)
    for folder in splits(home, "turtle_soup")[1::2]:
        (folder / "params.json").write_text("{half", encoding="utf-8")
    ctx = wiring.build(home)
    until = ctx.calendar.number(SPEC.last_session) - 16
    run_walk_forward(ctx, WalkForwardRequest(until=ctx.calendar.sessions[until]))
    again = {p.relative_to(home): p.read_bytes() for p in (home / "wf_outputs").rglob("*") if p.is_file()}
    assert again == everything


def test_finished_splits_are_taken_over_without_computing_them_again(home):
    steps = []
    ctx = wiring.build(home, progress=lambda done, total, label: steps.append((done, total, label)))
    until = ctx.calendar.sessions[ctx.calendar.number(SPEC.last_session) - 16]
    run_walk_forward(ctx, WalkForwardRequest(until=until))
    assert steps == []
    run_walk_forward(ctx, WalkForwardRequest(until=until, resume=False))
    assert [s[2] for s in steps].count("ibs_rsi") == 36


def test_too_little_history_is_said_with_the_number_needed(home, calendar):
    ctx = wiring.build(home)
    early = ctx.calendar.offset(ctx.calendar.next(ctx.store.manifest().first), 400)
    with pytest.raises(MissingDataError, match="565 or more"):
        run_walk_forward(ctx, WalkForwardRequest(until=early))
