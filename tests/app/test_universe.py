"""A universe is built, shown, traded by, and its bias measured, from the command's own functions."""

from datetime import date

import pytest
from kit.home import LAST, at

from kobe.app import universe, wiring
from kobe.app.data_health import CheckRequest, run_check, run_verify
from kobe.app.scan import ScanRequest, run_scan
from kobe.core.errors import ExitCode, UsageError


def built(ctx, name="liquid", **changes):
    rules = universe.rules_of(30, 5.0, 1e6, 100)
    given = {"as_of": None, "since": date(2022, 6, 1), "every": "quarterly", **changes}
    return universe.run_build(ctx, universe.BuildRequest(name=name, rules=rules, **given))


def test_a_rolling_universe_narrows_the_scan_to_its_members(home, calendar, monkeypatch):
    day = calendar.offset(LAST, -5)
    ctx = wiring.build(home, clock=at(calendar.next(day), 9, 36))
    told = built(ctx)
    assert told.data["kind"] == "point-in-time"
    assert set(told.data["proof"]["chosen"]) == {30}
    members = universe.run_show(ctx, "liquid", day).data["members"]
    assert len(members) == 30
    whole = run_scan(ctx, ScanRequest(session=day, dry_run=True)).data["funnel"]
    monkeypatch.setenv("KOBE_DATA__UNIVERSE", "liquid")
    narrow = wiring.build(home, clock=at(calendar.next(day), 9, 36))
    told = run_scan(narrow, ScanRequest(session=day, dry_run=True))
    assert sum(told.data["funnel"].values()) == sum(whole.values())
    traded = sum(whole.values()) - whole["no_bar"]
    assert traded - len(members) <= told.data["funnel"]["not_tradable"] < traded
    assert {pick["symbol"] for pick in told.data["picks"]} <= set(members)
    assert any("point-in-time list over static-current bars" in banner for banner in told.banners)


def test_the_bias_of_a_list_is_measured_and_a_static_one_has_none_to_compare_with(home):
    ctx = wiring.build(home, clock=at(LAST, 17, 0))
    built(ctx)
    told = universe.run_bias(ctx, "liquid").data
    assert {r["strategy"] for r in told["results"]} == {"ibs_rsi", "turtle_soup"}
    assert all(r["from"] <= r["static_minus_then_per_year"] <= r["to"] for r in told["results"])
    assert all(0.9 < row["share"] <= 1.0 for row in told["coverage"])
    built(ctx, "today", since=None)
    with pytest.raises(UsageError, match="point-in-time"):
        universe.run_bias(ctx, "today")


def test_a_dry_run_writes_nothing_and_odd_words_are_refused(home):
    ctx = wiring.build(home, clock=at(LAST, 17, 0))
    built(ctx, dry_run=True)
    assert not (home / "data" / "universe").exists()
    with pytest.raises(UsageError, match="rhythm"):
        built(ctx, every="hourly")
    with pytest.raises(UsageError, match="bounds"):
        universe.rules_of(0, 5.0, 1e6, 100)


def test_a_check_writes_its_report_with_pictures_and_a_verified_store_stays_verified(home):
    ctx = wiring.build(home, clock=at(LAST, 17, 0))
    told = run_check(ctx, CheckRequest())
    assert told.exit_code is ExitCode.PARTIAL
    assert {rule["rule"] for rule in told.data["rules"]} >= {"jump_without_event"}
    page = (home / "reports" / "data_check.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 1
    assert 'role="img"' in page
    assert run_verify(ctx).exit_code is ExitCode.OK
