"""Morning, day and week: what they tell was known then, adds up, repeats to the byte, and reads well for everybody."""

import json
import shutil
import struct
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from kit import pages
from kit.home import LAST, SPEC, at

from kobe.app import desk, eod_report, import_bars, known, scan_picture, wiring
from kobe.app.day import runs, simulate
from kobe.app.eod_report import run_eod_report
from kobe.app.morning_report import run_morning_report
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.status import run_status
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.app.weekly_report import run_weekly_report
from kobe.core.errors import ExitCode, UsageError
from kobe.core.ports import Quote
from kobe.core.types import Mode
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import synthetic_market
from kobe.execution import order
from kobe.execution.plans import PLANS
from kobe.reports.render import png

SESSIONS = 10
EVENING = (18, 0)


@pytest.fixture(scope="module")
def played(made_home, tmp_path_factory):
    """A home that has traded for some sessions, with the morning reports of the last two made before their opens."""
    folder = shutil.copytree(made_home, tmp_path_factory.mktemp("played") / "home")
    ctx = wiring.build(folder, clock=simulate.clock_before(LAST - timedelta(days=25)))
    days = ctx.calendar.between(ctx.calendar.offset(LAST, -SESSIONS + 1), LAST)
    simulate.run_simulation(ctx, days[0], days[-3])
    for day in days[-2:]:
        ctx.clock.set(at(day, 6, 30).now())
        document = run_morning_report(ctx, day)
        (folder / f"before-{day}.json").write_text(json.dumps(document.data))
        simulate.run_simulation(ctx, day, day)
    ctx.ledger.close()
    return folder


@pytest.fixture
def ctx(played, tmp_path):
    """A copy of it in the evening of its last session."""
    return wiring.build(shutil.copytree(played, tmp_path / "home"), clock=at(LAST, *EVENING))


def files(ctx, day, stem):
    return [(ctx.paths.of_session(day) / f"{stem}.{kind}").read_bytes() for kind in ("html", "md", "json")]


def test_a_morning_told_later_is_the_morning_as_it_was(ctx, played):
    for day in (LAST, ctx.calendar.previous(LAST)):
        before = json.loads((played / f"before-{day}.json").read_text())
        told = json.loads(json.dumps(run_morning_report(ctx, day).data))
        for key in ("session", "mode", "calendar", "market", "earnings", "yesterday"):
            assert told[key] == before[key], key
        held = [(p["symbol"], p["stop_usd"], p["last_usd"], p["sessions_left"]) for p in told["positions"]]
        assert held == [(p["symbol"], p["stop_usd"], p["last_usd"], p["sessions_left"]) for p in before["positions"]]
        assert not before["pick"]["recorded"]
        assert told["pick"]["recorded"]
        assert [p["signal_id"] for p in told["pick"]["top"]] == [p["signal_id"] for p in before["pick"]["top"]]


def test_a_morning_is_the_same_with_bars_cut_before_it_and_the_same_bytes_when_told_twice(ctx, played, tmp_path):
    day = ctx.calendar.previous(LAST)
    run_morning_report(ctx, day)
    whole = files(ctx, day, "morning")
    run_morning_report(ctx, day)
    assert files(ctx, day, "morning") == whole
    cut = wiring.build(shutil.copytree(played, tmp_path / "cut"), clock=at(LAST, *EVENING))
    bars = synthetic_market(SPEC, cut.calendar).filter(pl.col("date") < day)
    import_bars.keep(cut, bars, Provenance(source="synthetic"), "synthetic", replace=True)
    assert cut.panel().last_session == cut.calendar.number(cut.calendar.previous(day))
    shutil.rmtree(cut.paths.views)
    run_morning_report(cut, day)
    assert files(cut, day, "morning") == whole


def test_a_day_told_later_is_the_day_as_its_evening_told_it(ctx):
    day = ctx.calendar.previous(LAST)
    evening = json.loads((ctx.paths.of_session(day) / "eod.json").read_text())
    later = json.loads(json.dumps(run_eod_report(ctx, day).data))
    apart = {"audit_head", "reconcile", "banners"}
    assert {k: later[k] for k in later if k not in apart} == {k: evening[k] for k in later if k not in apart}
    assert later["reconcile"]["said"].startswith("reconcile done")
    entries = ctx.ledger.events("journal", entity=str(day))
    ctx.audit.append("a test", {})
    repeated = [files(ctx, day, "eod"), run_eod_report(ctx, day) and files(ctx, day, "eod")]
    assert ctx.ledger.events("journal", entity=str(day)) == entries
    assert repeated[0] != repeated[1]  # the chain's head is another one
    assert [run_eod_report(ctx, day) and files(ctx, day, "eod")] == repeated[1:]


def test_days_add_up_to_the_week_and_trades_to_the_realised_profit(ctx):
    told = run_weekly_report(ctx).data
    days = [run_eod_report(ctx, date.fromisoformat(day)).data for day in told["sessions"]]
    for key in ("realised_usd", "equity_usd"):
        whole = Decimal(told["profit"]["week"][key])
        assert abs(sum(Decimal(d["profit"]["day"][key]) for d in days) - whole) <= Decimal("0.02")
    assert [t for d in days for t in d["trades"]] == told["trades"]
    closed = desk.manager(ctx).book().trades
    realised = sum((t.net_usd for t in closed), Decimal(0))
    assert abs(Decimal(days[-1]["realised_total_usd"]) - realised) < Decimal("0.01")
    assert closed
    assert days[-1]["equity_curve"][-1] == [str(LAST), days[-1]["equity_usd"]]
    late = {j["job"]: (j["runs"], j["bad"], j["missed"]) for j in told["jobs"]}
    assert late["scan"] == (len(days), 0, 0)


def test_what_the_carried_fold_knows_is_what_a_fold_of_all_events_knows(ctx):
    held = known.read(ctx, ctx.clock.now())
    assert held.fold is not None
    assert held.orders == order.fold(ctx.ledger.events(order.STREAM))
    alone = replace(held, fold=None)
    touched = [[o.request.client_order_id for o in alone.touched(day)] for day in days_played(ctx)]
    assert [[o.request.client_order_id for o in held.touched(day)] for day in days_played(ctx)] == touched
    assert sum(map(bool, touched)) > 2


def test_records_that_changed_while_they_were_read_are_read_anew(ctx, monkeypatch):
    plan = ctx.ledger.events(PLANS)[0]
    whole = order.OrderFold.book

    def book(fold, changes):
        ctx.ledger.append(PLANS, plan.entity, plan.kind, plan.payload, key="meanwhile")
        return whole(fold, changes)

    monkeypatch.setattr(order.OrderFold, "book", book)
    assert known.read(ctx, ctx.clock.now()).fold is None


def test_the_profit_of_a_span_counts_both_its_ends(ctx):
    points, days = known.equity_points(ctx, LAST), days_played(ctx)
    trade = known.closed_trades(ctx, known.read(ctx, ctx.clock.now()))[0]
    closed = [replace(trade, closed=day, net_usd=Decimal(1 << k)) for k, day in enumerate(days[1::2] + days[-1:])]
    for first in days:
        for last in days:
            told = known.profit(closed, points, first, last)
            assert told.realised_usd == sum((t.net_usd for t in closed if first <= t.closed <= last), Decimal(0))
            inside = [usd for day, usd in points if first <= day <= last]
            base = next((usd for day, usd in reversed(points) if day < first), inside[0] if inside[1:] else None)
            assert told.equity_usd == (inside[-1] - base if inside and base is not None else None)


def days_played(ctx):
    return ctx.calendar.between(ctx.calendar.offset(LAST, -SESSIONS + 1), LAST)


def test_a_week_is_compared_with_the_report_of_the_week_before(ctx):
    for told in ctx.paths.reports.glob("*/weekly.*"):  # the weeks that were played have theirs
        told.unlink()
    before = run_weekly_report(ctx, LAST - timedelta(days=7))
    assert "no report of last week" in before.sections[-5].lines[0]
    assert before.data["evidence_before"]["ibs_rsi"]["through"] is None
    told = run_weekly_report(ctx).data
    assert told["evidence_before"] == before.data["evidence"]
    assert told["evidence"]["ibs_rsi"]["trades"] > 100
    assert told["models"]["champion"].split()[0] == ctx.models.champion(LAST)


def test_refusals_of_a_day_stand_in_its_reports_with_code_and_meaning(home, calendar):
    ctx = wiring.build(home, clock=at(calendar.offset(LAST, -14), 9, 40))
    while run_scan(ctx, ScanRequest(session=calendar.previous(ctx.today))).data["trade_of_day"]["action"] != "trade":
        ctx.clock.set(at(calendar.next(ctx.today), 9, 40).now())
    day = ctx.today
    desk.set_mode(ctx, "operator", Mode.REDUCE_ONLY, "a test")
    assert run_submit_totd(ctx, SubmitRequest()).exit_code is ExitCode.REFUSED
    ctx.clock.set(at(day, 16, 20).now())
    document = run_eod_report(ctx, day)
    assert [(r["gate"], r["code"]) for r in document.data["refused"]] == [("mode", "mode")]
    assert "the system's mode forbids this order" in files(ctx, day, "eod")[0].decode().replace("&#39;", "'")
    assert run_weekly_report(ctx, day).data["tally"][0][:2] == ["mode", 1]
    ctx.clock.set(at(calendar.next(day), 6, 30).now())
    morning = run_morning_report(ctx)
    assert [r["code"] for r in morning.data["yesterday"]["refused"]] == ["mode"]
    assert any("REDUCE_ONLY" in p["what"] and p["since"] != "unknown" for p in morning.data["problems"])


def test_every_page_reads_well_without_eyes_colours_or_a_network(ctx):
    run_morning_report(ctx)
    run_weekly_report(ctx)
    run_eod_report(ctx)
    made = sorted(ctx.paths.home.rglob("*.html"))
    assert len({p.name for p in made}) >= 4
    for path in made:
        page = path.read_text(encoding="utf-8")
        assert pages.faults(page) == [], path
    for scheme in ("light", "dark"):
        shades = pages.colours(page, scheme)
        texts = [(shades[ink], shades[paper]) for ink in ("ink", "soft") for paper in ("paper", "box")]
        texts += [(shades["good"], shades["box"]), (shades["bad"], shades["box"]), (shades["ink"], shades["warn"])]
        texts += [(shades["good"], shades["paper"]), (shades["bad"], shades["paper"])]
        assert min(pages.contrast(*pair) for pair in texts) >= pages.LEAST_CONTRAST


def test_planted_faults_of_a_page_are_found():
    page = '<html><body><svg></svg><img src="x"><table><thead><tr><th>a</th></tr></thead></table><script></script>'
    assert len(pages.faults(page + "</body></html>")) >= 7
    assert pages.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert pages.contrast("#777777", "#ffffff") < pages.LEAST_CONTRAST


def test_what_came_from_outside_is_escaped_wherever_it_stands(ctx):
    hostile = "<script>alert(1)</script>|`$x^2$ \u202e"
    runs.write(ctx.ledger, replace(runs.of_session(ctx.ledger, LAST)[-1], status=runs.FAILED, detail=hostile))
    desk.set_mode(ctx, "operator", Mode.CLOSE_ONLY, hostile)
    ctx.clock.set(at(LAST, 18, 30).now())
    for run in (run_morning_report, run_weekly_report, run_eod_report, run_status):
        run(ctx)
    for path in [*ctx.paths.reports.rglob("*.html"), *ctx.paths.reports.rglob("*.md"), ctx.paths.home / "STATUS.md"]:
        assert "<script" not in path.read_text(encoding="utf-8"), path
    drawn = eod_report.picture(ctx)
    assert drawn is None or drawn[0]


def test_the_pictures_are_of_a_phone_s_size_and_say_their_figures_in_words(ctx):
    pytest.importorskip("matplotlib")
    told = run_eod_report(ctx).data
    content, words = eod_report.picture(ctx)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (png.WIDTH, png.HEIGHT) == (1200, 675)
    assert f"{Decimal(told['equity_usd']):,.2f}" in words
    assert all(symbol["symbol"] in words for symbol in told["trades"])
    assert eod_report.picture(ctx) == (content, words)
    day = ctx.calendar.previous(LAST)
    content, words = scan_picture.picture(ctx, day)
    assert struct.unpack(">II", content[16:24]) == (1200, 675)
    assert str(day) in words


def test_an_empty_home_gets_sensible_reports(tmp_path):
    ctx = wiring.build(tmp_path, clock=at(LAST, 17, 0))
    morning, day, week = run_morning_report(ctx), run_eod_report(ctx), run_weekly_report(ctx)
    assert [d.exit_code for d in (morning, day, week)] == [ExitCode.OK] * 3
    assert "the store holds no bars" in morning.summary[0]
    assert "No calendar" in str(morning.data["earnings_calendar"])
    assert day.data["trades"] == []
    assert week.data["evidence_unknown"]
    for path in tmp_path.rglob("*.html"):
        assert pages.faults(path.read_text(encoding="utf-8")) == [], path


def test_a_broker_that_does_not_answer_stops_no_report_of_the_day(ctx, tmp_path):
    folder = shutil.copytree(ctx.paths.home, tmp_path / "mute")
    settings = folder / "config" / "kobe.toml"
    settings.write_text(settings.read_text() + '[run]\nmode = "paper"\n[broker]\nbase_url = "http://127.0.0.1:9"\n'
                        'data_url = "http://127.0.0.1:9"\n')  # fmt: skip
    (folder / ".env").write_text("APCA_API_KEY_ID=a\nAPCA_API_SECRET_KEY=b\n")
    mute = wiring.build(folder, clock=at(LAST, *EVENING))
    document = run_eod_report(mute)
    assert document.exit_code is ExitCode.PARTIAL
    assert "did not answer" in document.banners[-1]
    assert [p["symbol"] for p in document.data["holdings"]] == [p.symbol for p in desk.manager(ctx).book().positions]
    assert run_morning_report(mute).exit_code is ExitCode.OK


def test_the_status_page_says_since_when_and_what_comes_next(ctx):
    ctx.clock.set(at(LAST, 18, 10).now())
    desk.set_mode(ctx, "operator", Mode.HALT, "lunch")
    ctx.clock.set(at(LAST, 18, 30).now())
    ctx.kill_switch.engage("fire")
    told = run_status(ctx).data
    assert [p["what"].split(":")[0] for p in told["problems"]][:1] == ["mode HALT"]
    assert told["problems"][0]["since"] == f"{at(LAST, 18, 10).now():%Y-%m-%d %H:%M} UTC"
    assert all(p["since"] != "unknown" for p in told["problems"])
    assert "since" in told["mode"]
    assert told["next"].startswith(str(LAST)) or told["next"].startswith(str(ctx.calendar.next(LAST)))
    assert ":" in told["next"]


class Quoting:
    """Quotes a share of the last close for every symbol, as a broker does before the open."""

    def __init__(self, prices, instant):
        self.prices, self.instant = prices, instant

    def quotes(self, symbols):
        return {
            s: Quote(symbol=s, bid=p, ask=p, bid_size=1, ask_size=1, at=self.instant, feed="kit")
            for s, p in self.prices.items()
            if s in symbols
        }


def test_gaps_come_from_quotes_where_there_are_any_and_an_odd_one_asks_for_a_look(ctx):
    day = ctx.calendar.next(LAST)
    ctx.clock.set(at(day, 6, 30).now())
    closed = {p["symbol"]: Decimal(p["last_usd"]) for p in run_morning_report(ctx).data["positions"]}
    assert closed
    halved = {symbol: round(usd / 2, 4) for symbol, usd in closed.items()}
    document = run_morning_report(replace(ctx, quotes=Quoting(halved, ctx.clock.now())))
    told = document.data["positions"]
    assert {p["symbol"]: Decimal(p["last_usd"]) for p in told} == halved
    assert all(p["gap"] == pytest.approx(-0.5, abs=1e-4) for p in told)
    assert all(p["last_from"].startswith(f"quote of {day} 06:30 ET") for p in told)
    overnight = next(s for s in document.sections if s.title == "Overnight")
    assert "look for a split" in overnight.lines[0]
    quiet = run_morning_report(ctx)
    assert all(p["gap"] is None and p["last_from"] == f"close of {LAST}" for p in quiet.data["positions"])
    assert "no quotes at this hour" in quiet.data["quotes"]


def test_a_morning_names_earnings_and_vix_as_they_were_known(home):
    day, instant = date(2024, 12, 13), pl.Datetime("us", "UTC")
    ctx = wiring.build(home, clock=at(day, 6, 30))
    symbol = run_morning_report(ctx).data["pick"]["top"][0]["symbol"]
    known = at(date(2024, 12, 2), 9, 0).now()
    row = {"symbol": [symbol], "kind": ["announcement"], "period": ["q4"], "date": [day], "part": ["amc"]}
    told = pl.DataFrame({**row, "known_at": [known]}).with_columns(pl.col("known_at").cast(instant))
    ctx.reference.write("earnings", told, "kit", known)
    level = {"date": [date(2024, 12, 12)], "open": [16.0], "high": [17.0], "low": [15.0], "close": [16.5]}
    told = pl.DataFrame({**level, "known_at": [at(date(2024, 12, 12), 17, 0).now()]})
    ctx.reference.write("vix", told.with_columns(pl.col("known_at").cast(instant)), "kit", ctx.clock.now())
    data = run_morning_report(ctx).data
    assert data["market"]["vix"] == {"close": 16.5, "session": "2024-12-12"}
    near = {"symbol": symbol, "is": "pick", "state": "NEAR: an announcement is within the window"}
    assert data["earnings"][0] == near | {"next": "TODAY (amc)"}
    early = run_morning_report(wiring.build(home, clock=at(date(2024, 11, 25), 6, 30))).data
    assert early["earnings"] == [], "nobody had a calendar then"
    assert early["market"]["vix"] is None
    (ctx.paths.reference / "manifest.json").write_text("torn")
    damaged = run_morning_report(ctx)
    assert "damaged" in damaged.data["earnings_calendar"]
    assert damaged.exit_code is ExitCode.OK


def test_a_morning_names_half_days_and_the_next_holiday(tmp_path):
    document = run_morning_report(wiring.build(tmp_path, clock=at(date(2024, 12, 24), 6, 30)))
    assert document.data["calendar"]["half_day"]
    assert document.data["calendar"]["next_holiday"] == "2024-12-25"
    assert "HALF DAY, 09:30 to 13:00 ET" in document.summary[2]


def test_a_report_of_a_session_that_has_not_begun_is_refused(ctx):
    with pytest.raises(UsageError):
        run_eod_report(ctx, ctx.calendar.next(LAST))
    with pytest.raises(UsageError):
        run_weekly_report(ctx, LAST + timedelta(days=30))
