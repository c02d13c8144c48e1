"""`kobe drift` on a made-up market: from past bars only, recorded once, and no trading on what cannot be read."""

import json
from dataclasses import replace

import polars as pl
import pytest
from kit.command import kobe, one_line
from kit.home import LAST

from kobe.app import import_bars, standing, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.drift import DriftRequest, run_drift
from kobe.app.signals_file import DATASET
from kobe.app.standing import states_at
from kobe.core.errors import DataError, ExitCode, ModelError, StaleDataError
from kobe.learning import drift, train

STRATEGIES = {"ibs_rsi", "turtle_soup"}
MONTHS_BACK = 150


def judged(ctx, session=LAST, **words):
    return run_drift(ctx, DriftRequest(session=session, **words))


def of(document, name="ibs_rsi"):
    return next(s for s in document.data["strategies"] if s["strategy"] == name)


def readings(document, name="ibs_rsi"):
    return {r["name"]: r for r in of(document, name)["readings"]}


def with_older_champion(home, *, wins=None):
    """Give a home a champion whose evidence ended 150 sessions ago; `wins` claims that share of its trades."""
    ctx = wiring.build(home)
    through = ctx.calendar.offset(LAST, -MONTHS_BACK)
    rows = pl.read_parquet(ctx.paths.walk_forward / DATASET).filter(pl.col("exit_date") <= through)
    _, facts = ctx.models.load(ctx.models.champion(LAST))
    model = train.base_rate_model(rows, {})
    if wins is not None:
        claimed = {n: replace(r, wins=round(r.trades * wins)) for n, r in model.records.items()}
        model = replace(model, records=claimed)
    model_id = ctx.models.add(model, facts | {"knowable_from": str(through), "why": "older"}, None)
    ctx.models.promote(model_id, "older evidence, to be judged by what came after")
    return ctx


def say(ctx, strategy, payload, number):
    ctx.ledger.append(standing.STREAM, strategy, standing.KIND, payload, key=f"{strategy}:planted:{number}")


def test_a_market_that_goes_on_as_before_is_normal_and_everything_is_said(home):
    ctx = with_older_champion(home)
    document = judged(ctx)
    told = of(document)
    assert (document.schema, told["state"], told["on_record"]) == ("kobe.drift/1", "NORMAL", "NORMAL")
    found = readings(document)
    assert {"win rate", "profit factor", "sharpe", "slow decay", "calibration error", "psi rsi2"} <= set(found)
    assert told["effective"] >= 20
    assert told["size"] < told["effective"] <= told["judged"] <= told["signals"]
    assert 0 < told["power"] < 1
    section = next(s for s in document.sections if s.title == "ibs_rsi")
    assert any("Power" in line for line in section.lines)
    assert section.table.columns[:1] == ("statistic",)
    assert {"value", "evidence", "critical", "verdict"} <= set(section.table.columns)
    json.dumps(document.data, allow_nan=False)


def test_soon_after_the_evidence_there_are_too_few_signals_to_say_anything(home):
    ctx = wiring.build(home)
    document = judged(ctx)
    assert all(of(document, n)["reasons"] == ["too_few_signals"] for n in STRATEGIES)
    assert "too few to say" in document.summary[0]
    assert states_at(ctx, LAST) == dict.fromkeys(STRATEGIES, "NORMAL")


def test_a_session_is_recorded_once_and_the_chain_holds(home):
    ctx = with_older_champion(home)
    first, second = judged(ctx), judged(ctx)
    assert set(first.data["recorded"]) == STRATEGIES
    assert second.data["recorded"] == []
    assert any("on record already" in line for line in second.summary)
    assert of(first)["readings"] == of(second)["readings"]
    events = ctx.ledger.events(standing.STREAM)
    assert [(e.entity, e.kind) for e in events] == [("ibs_rsi", "state"), ("turtle_soup", "state")]
    assert events[0].payload["statistics"]["readings"] == of(first)["readings"]
    assert run_audit_verify(ctx).exit_code is ExitCode.OK


def test_a_dry_run_writes_nothing(home):
    ctx = with_older_champion(home)
    before = run_audit_verify(ctx).data["records"]
    assert judged(ctx, dry_run=True).data["recorded"] == []
    assert ctx.ledger.events(standing.STREAM) == []
    assert run_audit_verify(ctx).data["records"] == before


def test_bars_after_the_session_change_nothing(home):
    ctx = with_older_champion(home)
    session = ctx.calendar.offset(LAST, -30)
    whole = judged(ctx, session, dry_run=True)
    bars = ctx.store.frame().filter(pl.col("date") <= session)
    import_bars.keep(ctx, bars, ctx.store.manifest().provenance, "cut", replace=True)
    cut = judged(wiring.build(home), session, dry_run=True)
    assert of(whole)["judged"] >= 20
    assert whole.data == cut.data


def test_only_signals_after_the_evidence_whose_time_is_over_are_judged(home):
    ctx = with_older_champion(home)
    counts = [of(judged(ctx, ctx.calendar.offset(LAST, -back), dry_run=True))["signals"] for back in (145, 100, 5, 0)]
    assert counts[0] < 10
    assert counts == sorted(counts)
    document = judged(ctx, ctx.calendar.offset(LAST, -MONTHS_BACK), dry_run=True)
    assert {of(document, n)["signals"] for n in STRATEGIES} == {0}


def test_a_record_that_promised_more_is_found_out_one_level_in_five_sessions(home):
    ctx = with_older_champion(home, wins=0.97)
    days = ctx.calendar.between(ctx.calendar.offset(LAST, -12), LAST)
    path = [of(judged(ctx, day)) for day in days]
    levels = [p["state"] for p in path]
    assert levels == ["WATCH"] * 5 + ["HALF_SIZE"] * 5 + ["STAND_DOWN"] * 3
    assert {"win_rate", "slow_decay"} <= set(path[-1]["reasons"])
    assert (path[4]["since"], path[5]["since"]) == (str(days[0]), str(days[5]))
    assert states_at(ctx, days[7])["ibs_rsi"] == "HALF_SIZE"
    assert states_at(ctx, LAST)["ibs_rsi"] == "STAND_DOWN"
    assert "ibs_rsi" not in states_at(ctx, ctx.calendar.previous(days[0]))


def test_a_standing_outlives_the_champion_that_failed_it(home):
    ctx = with_older_champion(home)
    stood = {"session": str(ctx.calendar.previous(LAST)), "state": "STAND_DOWN", "since": None}
    say(ctx, "turtle_soup", stood, 1)
    document = judged(ctx)
    assert of(document, "turtle_soup")["state"] == "STAND_DOWN"
    assert of(document, "turtle_soup")["reasons"] == ["too_few_signals"]


@pytest.mark.parametrize(
    "payload",
    [{}, {"session": "2024-12-20"}, {"session": "2024-12-20", "state": "SLEEPY", "since": None},
     {"session": "2024-12-20", "state": "NORMAL", "since": "long ago"}, {"session": 20, "state": "NORMAL"},
     {"session": "2024-12-20", "state": ["NORMAL"], "since": None},
     {"session": "2024-12-20", "state": "NORMAL", "since": "2024-12-25"}],
)  # fmt: skip
def test_a_record_that_cannot_be_read_stands_down_until_a_newer_one_can(home, payload):
    ctx = wiring.build(home)
    say(ctx, "ibs_rsi", {"session": "2024-12-19", "state": "WATCH", "since": "2024-12-19"}, 1)
    say(ctx, "ibs_rsi", payload, 2)
    assert states_at(ctx, LAST) == {"ibs_rsi": "STAND_DOWN"}
    say(ctx, "ibs_rsi", {"session": "2024-12-23", "state": "NORMAL", "since": None}, 3)
    assert states_at(ctx, LAST) == {"ibs_rsi": "NORMAL"}


def test_a_later_session_s_record_says_nothing_about_an_earlier_one(home, calendar):
    ctx = wiring.build(home)
    day = calendar.previous(LAST)
    say(ctx, "ibs_rsi", {"session": str(LAST), "state": "HALF_SIZE", "since": str(LAST)}, 1)
    say(ctx, "ibs_rsi", {"session": str(day), "state": "WATCH", "since": str(day)}, 2)
    assert states_at(ctx, LAST) == {"ibs_rsi": "HALF_SIZE"}
    assert states_at(ctx, day) == {"ibs_rsi": "WATCH"}
    assert states_at(ctx, calendar.previous(day)) == {}


def test_a_strategy_the_model_never_saw_keeps_its_standing(home):
    ctx = with_older_champion(home)
    model, facts = ctx.models.load(ctx.models.champion(LAST))
    alone = replace(model, records={"ibs_rsi": model.records["ibs_rsi"]})
    ctx.models.promote(ctx.models.add(alone, facts | {"why": "one record"}, None), "one record")
    document = judged(ctx)
    assert of(document, "turtle_soup")["reasons"] == ["no_record"]
    assert of(document, "turtle_soup")["state"] == "NORMAL"
    assert "nothing to compare with" in document.summary[1]


def test_what_is_missing_is_named_with_the_next_command(home, calendar):
    ctx = with_older_champion(home)
    with pytest.raises(StaleDataError, match="kobe data import"):
        judged(ctx, calendar.offset(LAST, 3))
    with pytest.raises(DataError, match="not a session"):
        judged(ctx, LAST.replace(day=25))
    with pytest.raises(ModelError, match="kobe promote"):
        judged(ctx, calendar.offset(LAST, -MONTHS_BACK - 1))
    dataset = ctx.paths.walk_forward / DATASET
    pl.read_parquet(dataset).drop("r_net").write_parquet(dataset)
    with pytest.raises(ModelError, match="r_net"):
        judged(ctx)
    dataset.write_bytes(b"PAR1nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        judged(ctx)
    dataset.unlink()
    with pytest.raises(DataError, match="kobe walk-forward"):
        judged(ctx)


def test_the_command_says_it_in_json_and_an_empty_home_what_to_do_next(home, tmp_path):
    with_older_champion(home).ledger.close()
    done = kobe(home, "drift", "--session", str(LAST), "--json", "--dry-run")
    told = json.loads(done.stdout)
    assert (done.returncode, told["schema"], told["dry_run"]) == (0, "kobe.drift/1", True)
    assert any("SYNTHETIC" in b for b in told["banners"])
    shown = kobe(home, "drift", "--session", str(LAST))
    assert "ibs_rsi: NORMAL" in shown.stdout
    one_line(kobe(tmp_path / "empty", "drift", "--session", str(LAST)), 4, "no bars", "kobe data import")
    assert kobe(home, "drift", "--session", "yesterday").returncode == 2


def test_the_scan_can_ask_for_the_states_of_a_home_without_records(home):
    ctx = wiring.build(home)
    assert states_at(ctx, LAST) == {}


def test_what_is_kept_from_session_to_session_changes_no_digit_and_goes_when_the_evidence_does(home, monkeypatch):
    ctx = with_older_champion(home)
    days = [ctx.calendar.offset(LAST, -back) for back in range(9, -1, -1)]
    looked, look = [], drift.signs
    monkeypatch.setattr(drift, "signs", lambda *given, **words: looked.append(given) or look(*given, **words))

    def told(each):
        return [judged(each(), day, dry_run=True).data for day in days]

    one = told(lambda: ctx)
    assert len(STRATEGIES) < len(looked) < len(days) * len(STRATEGIES)  # some evenings no signal has ripened
    assert one == told(lambda: wiring.build(home))
    with_older_champion(home, wins=0.4)
    promised = told(lambda: ctx)
    assert promised != one
    assert promised == told(lambda: wiring.build(home))
    path = ctx.paths.walk_forward / DATASET
    pl.read_parquet(path).with_columns(pl.col("rsi2") + 50.0).write_parquet(path)
    other = told(lambda: ctx)
    assert other != promised
    assert other == told(lambda: wiring.build(home))
