"""The pick: every symbol has one fate, every refusal has a distance, every decision can be made again."""

import json
import re
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from kit.home import LAST, SPEC, at

from kobe.app import decision, import_bars, standing, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.decision import RECORD
from kobe.app.eod_report import run_eod_report
from kobe.app.explain import ExplainRequest, run_explain
from kobe.app.replay import run_replay
from kobe.app.scan import ScanRequest, read_trade_of_day, run_scan
from kobe.app.status import run_status
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.app.why_not import run_why_not
from kobe.core.errors import ExitCode, IntegrityError, MissingDataError, UsageError
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import synthetic_market
from kobe.decisions.funnel import FATES

DAY = date(2024, 12, 12)
MEANING = Provenance(source="synthetic")


@pytest.fixture
def scanned(home):
    """A home whose session was scanned and has picks."""
    ctx = wiring.build(home)
    document = run_scan(ctx, ScanRequest(session=DAY))
    assert document.data["picks"]
    return ctx, document


def test_every_symbol_has_one_fate_and_the_counts_sum_to_the_universe(scanned):
    ctx, document = scanned
    told = document.data
    assert (
        sum(told["funnel"].values()) == len(told["fates"]) == len(ctx.panel().until(ctx.calendar.number(DAY)).symbols)
    )
    assert set(told["funnel"]) <= set(FATES)
    picked = {row["symbol"] for row in told["picks"]}
    assert {s for s, f in told["fates"].items() if f in ("pick", "trade_of_day")} == picked


def test_why_not_agrees_with_the_fate_of_every_symbol_and_names_a_distance(scanned):
    ctx, document = scanned
    chosen = {}
    for symbol, fate in document.data["fates"].items():
        chosen.setdefault(fate, symbol)
    assert len(chosen) >= 4
    for fate, symbol in chosen.items():
        told = run_why_not(ctx, symbol, DAY).data
        assert told["fate"] == fate
        missed = [s for s in told["steps"] if not s["met"]]
        if fate == "no_setup":
            assert {s["strategy"] for s in missed} == {"ibs_rsi", "turtle_soup"}
        if fate in ("pick", "trade_of_day"):
            assert any(all(s["met"] for s in told["steps"] if s["strategy"] == name and s["code"] != "gate")
                       for name in ("ibs_rsi", "turtle_soup"))  # fmt: skip
        elif fate != "no_bar":
            assert all(s["change"] for s in missed)
    with pytest.raises(MissingDataError):
        run_why_not(ctx, "NOSUCH", DAY)


def test_a_decision_is_made_again_to_the_byte_and_a_changed_past_is_named(scanned, home):
    ctx, document = scanned
    assert run_replay(ctx, DAY).data["same"]
    symbol = document.data["picks"][0]["symbol"]
    bars = synthetic_market(SPEC, ctx.calendar)
    hit = (pl.col("symbol") == symbol) & (pl.col("date") == DAY)
    changed = bars.with_columns(volume=pl.when(hit).then(pl.col("volume") * 3).otherwise(pl.col("volume")))
    ctx.ledger.close()
    later = wiring.build(home)
    import_bars.keep(later, changed, MEANING, "changed", replace=True)
    told = run_replay(later, DAY)
    assert told.exit_code is ExitCode.INTEGRITY
    assert not told.data["same"]
    assert {"input": "bars of", "then": symbol, "now": ""} in told.data["changed"]
    assert any(symbol in value[0] and value[1] == "adv_usd" for value in told.data["values"])


def test_bars_that_came_later_change_no_past_decision(home):
    ctx = wiring.build(home)
    day = ctx.calendar.offset(LAST, -30)
    run_scan(ctx, ScanRequest(session=day))
    bars = synthetic_market(SPEC, ctx.calendar)
    spoiled = bars.with_columns(pl.when(pl.col("date") > day).then(pl.col(c) * 1.01).otherwise(pl.col(c)).alias(c)
                                for c in ("open", "high", "low", "close"))  # fmt: skip
    ctx.ledger.close()
    later = wiring.build(home)
    import_bars.keep(later, spoiled, MEANING, "spoiled", replace=True)
    assert run_replay(later, day).data["same"]


def test_a_record_that_was_touched_is_refused(scanned):
    ctx, _ = scanned
    path = ctx.paths.of_session(DAY) / RECORD
    record = json.loads(path.read_text())
    record["inputs"]["limits"]["order_usd"] = "75000"
    path.write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="differs"):
        run_replay(ctx, DAY)
    with pytest.raises(MissingDataError):
        run_replay(ctx, ctx.calendar.previous(DAY))


def test_a_dry_run_writes_nothing_and_says_the_same(home):
    ctx = wiring.build(home)
    records = run_audit_verify(ctx).data["records"]
    dry = run_scan(ctx, ScanRequest(session=DAY, dry_run=True)).data
    assert run_audit_verify(ctx).data["records"] == records
    assert not ctx.paths.of_session(DAY).exists()
    wet = run_scan(ctx, ScanRequest(session=DAY)).data
    assert dry == wet


def test_an_explanation_adds_up_and_every_number_in_its_words_is_a_fact(scanned, tmp_path):
    ctx, document = scanned
    for row in document.data["picks"]:
        told = run_explain(ctx, ExplainRequest(pick=row["symbol"], session=DAY, write=True)).data
        assert told["pick"]["signal_id"] == row["signal_id"]
        model = told["model"]
        if model is not None:
            assert model["probability"] == pytest.approx(row["probability"], abs=1e-12)
            for share, whole in (("log_odds", model["log_odds"] - model["base_log_odds"]),
                                 ("probability", model["probability"] - model["base"])):  # fmt: skip
                assert sum(part[share] for part in model["parts"]) == pytest.approx(whole, abs=1e-12)
        for sentences in told["stories"].values():
            for s in sentences:
                words = s["text"]
                for fact in sorted(s["facts"].values(), key=len, reverse=True):
                    assert fact in words
                    words = words.replace(fact, "", 1)
                assert not re.search(r"\d", words), s
        assert all(str(a["exit_date"]) <= str(DAY) for a in told["likeness"]["nearest"])
        page = (ctx.paths.of_session(DAY) / f"explain-{row['symbol']}.html").read_text()
        assert "<svg" in page
        assert "http" not in page.replace("http://www.w3.org", "")
    with pytest.raises(UsageError, match="no such pick"):
        run_explain(ctx, ExplainRequest(pick="NOSUCH", session=DAY))


def test_one_bet_in_two_names_is_one_pick(home):
    ctx = wiring.build(home)
    calm = replace(ctx, settings=ctx.settings.model_copy(
        update={"scan": ctx.settings.scan.model_copy(update={"max_correlation": 1.0, "top": 10})}))  # fmt: skip
    strict = replace(ctx, settings=ctx.settings.model_copy(
        update={"scan": ctx.settings.scan.model_copy(update={"max_correlation": 0.2, "top": 10})}))  # fmt: skip
    free, held = (run_scan(c, ScanRequest(session=DAY, dry_run=True)).data for c in (calm, strict))
    assert len(held["picks"]) < len(free["picks"])
    assert held["funnel"]["correlated"] >= 1
    panel = ctx.panel().until(ctx.calendar.number(DAY))
    names = [row["symbol"] for row in held["picks"]]
    for k, one in enumerate(names):
        for other in names[:k]:
            a, b = panel[one], panel[other]
            _, i, j = np.intersect1d(a.session[-61:], b.session[-61:], return_indices=True)
            x, y = (np.diff(np.log(bars.close[-61:][at])) for bars, at in ((a, i), (b, j)))
            assert np.corrcoef(x, y)[0, 1] < 0.2


def test_against_the_market_s_trend_nothing_is_entered_in_scan_and_account_alike(home):
    ctx = wiring.build(home)
    settings = ctx.settings.model_copy(update={"scan": ctx.settings.scan.model_copy(update={"regime": "market_trend"})})
    guarded = replace(ctx, settings=settings)
    panel = ctx.panel()
    market = panel["SPY"]
    average = np.convolve(market.close, np.ones(200) / 200, mode="valid")
    below = market.session[199:][market.close[199:] <= average]
    day = ctx.calendar.sessions[int(below[-1])]
    told = run_scan(guarded, ScanRequest(session=day, dry_run=True)).data
    assert told["trade_of_day"]["action"] == "no_trade"
    assert not told["picks"]
    rows = np.flatnonzero(panel.session == below[-1])
    assert not guarded.assumptions().entry_filter(panel, rows).any()
    assert ctx.assumptions().entry_filter is None


def test_a_kept_view_says_what_a_fresh_one_says_and_a_touched_one_is_worked_out_anew(home):
    ctx = wiring.build(home)
    inputs = decision.gather(ctx, DAY)
    fresh = decision.decide(ctx, inputs, fresh=True)
    assert not ctx.paths.views.exists()
    first, kept = decision.decide(ctx, inputs), decision.decide(ctx, inputs)
    assert fresh == first == kept
    (path,) = ctx.paths.views.glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert decision.decide(ctx, inputs) == fresh
    path.write_bytes(b"")
    assert decision.decide(ctx, inputs) == fresh


def test_a_changed_store_is_never_answered_from_an_old_view(home):
    ctx = wiring.build(home)
    before = run_scan(ctx, ScanRequest(session=DAY, dry_run=True)).data
    bars = synthetic_market(SPEC, ctx.calendar)
    spoiled = bars.with_columns(pl.when(pl.col("date") == DAY).then(pl.col("volume") * 2).otherwise(pl.col("volume"))
                                .alias("volume"))  # fmt: skip
    ctx.ledger.close()
    later = wiring.build(home)
    import_bars.keep(later, spoiled, MEANING, "spoiled", replace=True)
    after = run_scan(later, ScanRequest(session=DAY, dry_run=True)).data
    assert after["data_digest"] != before["data_digest"]
    assert after["picks"][0]["adv_usd"] > before["picks"][0]["adv_usd"]


@pytest.mark.parametrize("harm", ["edit", "cut", "garbage", "remove"])
def test_a_touched_file_is_named_by_replay_and_believed_by_nobody(scanned, harm):
    ctx, _ = scanned
    folder = ctx.paths.of_session(DAY)
    for name in ("daily_picks.jsonl", "trade_of_day.jsonl"):
        path = folder / name
        whole = path.read_bytes()
        spoiled = {"edit": whole.replace(b'"rank":1', b'"rank":2'), "cut": whole[:-40], "garbage": b"\xff\x00"}
        path.unlink() if harm == "remove" else path.write_bytes(spoiled[harm])
        told = run_replay(ctx, DAY)
        assert told.exit_code is ExitCode.INTEGRITY
        assert told.data["touched"] == [name]
        with pytest.raises(IntegrityError, match=name):
            run_explain(ctx, ExplainRequest(pick="1", session=DAY))
        if name.startswith("trade"):
            with pytest.raises(IntegrityError):
                read_trade_of_day(ctx, DAY)
        path.write_bytes(whole)
    assert run_replay(ctx, DAY).data["same"]
    run_scan(ctx, ScanRequest(session=DAY))
    assert read_trade_of_day(ctx, DAY) is not None


def test_settings_of_today_change_no_decision_of_yesterday(scanned):
    ctx, document = scanned
    changed = replace(ctx, settings=ctx.settings.model_copy(update={
        "scan": ctx.settings.scan.model_copy(update={"top": 1, "max_correlation": 0.1, "regime": "market_trend"}),
        "market": ctx.settings.market.model_copy(update={"symbol": "SYN001"})}))  # fmt: skip
    assert run_replay(changed, DAY).data["same"]
    for row in document.data["picks"]:
        assert run_why_not(changed, row["symbol"], DAY).data["fate"] in ("pick", "trade_of_day")


def test_a_folder_that_cannot_keep_views_stops_no_scan(home):
    ctx = wiring.build(home)
    before = run_scan(ctx, ScanRequest(session=DAY, dry_run=True)).data
    shutil.rmtree(ctx.paths.views)
    ctx.paths.views.write_text("not a folder")
    assert run_scan(ctx, ScanRequest(session=DAY, dry_run=True)).data == before


def test_pages_say_that_picks_cannot_be_believed_and_are_made_all_the_same(home):
    ctx = wiring.build(home, clock=at(date(2024, 12, 13), 8, 0))
    run_scan(ctx, ScanRequest(session=DAY))
    assert run_status(ctx).data["problems"] == []
    path = ctx.paths.of_session(DAY) / "trade_of_day.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    told = run_status(ctx).data["problems"]
    assert [p["next"] for p in told] == [f"kobe scan --session {DAY}"]
    later = wiring.build(home, clock=at(date(2024, 12, 13), 17, 0))
    assert "trade_of_day.jsonl" in run_eod_report(later, date(2024, 12, 13)).summary[0]
    with pytest.raises(IntegrityError):
        run_submit_totd(wiring.build(home, clock=at(date(2024, 12, 13), 9, 36)), SubmitRequest())


def test_a_market_symbol_without_bars_is_named_and_not_taken_for_a_falling_market(home):
    ctx = wiring.build(home)
    blind = replace(ctx, settings=ctx.settings.model_copy(update={
        "scan": ctx.settings.scan.model_copy(update={"regime": "market_trend"}),
        "market": ctx.settings.market.model_copy(update={"symbol": "NOPE"})}))  # fmt: skip
    told = run_scan(blind, ScanRequest(session=DAY, dry_run=True)).data
    assert told["funnel"]["regime_unknown"] >= 1
    assert "against_regime" not in told["funnel"]


def test_half_size_refuses_before_the_ranking_what_half_a_cap_does_not_buy(home):
    ctx = wiring.build(home)
    inputs = decision.gather(ctx, DAY)
    free = decision.decide(ctx, inputs)
    dear = max(free.ranked, key=lambda c: c.raw_close)
    limits = inputs.limits | {"order_usd": str(round(dear.raw_close * 1.5, 2))}
    full = decision.decide(ctx, replace(inputs, limits=limits))
    half = decision.decide(ctx, replace(inputs, limits=limits, drift={dear.signal.strategy: "HALF_SIZE"}))
    refused = {c.signal.signal_id: c.rejection for c in half.candidates}
    assert dear.signal.signal_id in {c.signal.signal_id for c in full.ranked}
    assert refused[dear.signal.signal_id] == "unaffordable_at_order_cap"


@pytest.mark.parametrize("harm", ["rolled back", "stands down"])
def test_an_order_is_not_sent_on_ground_that_was_taken_away(home, calendar, harm):
    ctx = wiring.build(home, clock=at(date(2024, 12, 13), 9, 36))
    chosen = run_scan(ctx, ScanRequest(session=DAY)).data["trade_of_day"]
    assert chosen["action"] == "trade"
    assert run_submit_totd(ctx, SubmitRequest(dry_run=True)).data["status"] == "dry_run"
    if harm == "rolled back":
        other = next(e.model_id for e in ctx.models.entries() if e.model_id != chosen["model_id"])
        ctx.models.promote(other, "test")
    else:
        payload = {"session": str(DAY), "since": str(DAY), "state": "STAND_DOWN", "reasons": [], "statistics": {}}
        ctx.ledger.append(standing.STREAM, chosen["strategy"], standing.KIND, payload, key=f"planted:{DAY}")
    document = run_submit_totd(ctx, SubmitRequest())
    assert document.exit_code is ExitCode.REFUSED
    assert document.data["status"] == "overtaken"
    assert list(ctx.broker.orders()) == []
