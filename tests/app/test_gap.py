"""A simulated fortnight: every signal's gap sums to the cent, its parts are what was done to it, and the rest of it."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from kit.home import LAST, copy_home

from kobe.app import books, desk, gap, journal, slippage, wiring
from kobe.app.day import simulate
from kobe.app.reconcile import run_reconcile
from kobe.core.errors import ExitCode, UsageError

D = Decimal


@pytest.fixture(scope="session")
def played_home(made_home, tmp_path_factory, calendar):
    """A home that has traded two weeks; do not write into it."""
    folder = copy_home(made_home, tmp_path_factory.mktemp("played") / "home")
    first = calendar.offset(LAST, -14)
    ctx = wiring.build(folder, clock=simulate.clock_before(first))
    assert simulate.run_simulation(ctx, first, LAST).exit_code is ExitCode.OK
    ctx.ledger.close()
    return folder


@pytest.fixture
def ctx(played_home, tmp_path, calendar):
    from kit.home import at

    return wiring.build(copy_home(played_home, tmp_path / "home"), clock=at(LAST, 16, 30))


@pytest.fixture
def first(calendar) -> date:
    return calendar.offset(LAST, -14)


def signals(document):
    return document.data["signals"]


def test_every_signal_s_parts_sum_to_the_cent_and_all_of_them_to_the_whole(ctx, first):
    document = gap.run_gap(ctx, first, LAST)
    assert len(signals(document)) >= 3
    for line in signals(document):
        parts = sum((D(v) for v in line["parts"].values()), D(0))
        assert parts == D(line["realised_usd"]) - D(line["backtest_usd"]) == D(line["gap_usd"])
    whole = document.data
    assert sum((D(p["usd"]) for p in whole["parts"].values()), D(0)) == D(whole["gap_usd"])
    assert sum(p["share"] for p in whole["parts"].values()) == pytest.approx(1.0)
    assert not whole["notes"]


def test_what_is_realised_is_the_ledger_s_own_figure(ctx, first):
    told = {s["signal_id"]: D(s["realised_usd"]) for s in signals(gap.run_gap(ctx, first, LAST))}
    trades = desk.manager(ctx).book().trades
    assert len(trades) >= 3
    for trade in trades:
        assert abs(told[trade.signal_id] - trade.net_usd) <= D("0.005")


def test_a_first_attempt_that_filled_has_no_gap_but_the_slippage_the_simulation_does_not_take(ctx, first):
    """The simulated market stands at the open at 09:35, so what is left is what the model charges beyond the quote."""
    whole = [s for s in signals(gap.run_gap(ctx, first, LAST))
             if s["status"] in ("filled", "open") and s["intended"]["limit"]]  # fmt: skip
    assert whole
    for line in whole:
        parts = {name: abs(D(usd)) for name, usd in line["parts"].items()}
        notional = D(line["backtest"]["entry"]) * line["intended"]["quantity"]
        assert parts.pop("slippage", D(0)) < notional * D("0.003")
        assert all(usd <= D("0.10") for usd in parts.values()), line


def test_a_home_that_never_ran_in_a_span_has_nothing_to_compare(ctx, calendar):
    document = gap.run_gap(ctx, calendar.offset(LAST, -200), calendar.offset(LAST, -100))
    assert signals(document) == []


def test_a_span_that_ends_before_it_begins_is_refused(ctx):
    with pytest.raises(UsageError, match="ends before it begins"):
        gap.run_gap(ctx, LAST, LAST - timedelta(days=5))


def test_a_trade_no_run_sent_costs_the_backtest_s_result_under_its_name(made_home, tmp_path, calendar, first):
    """The submit jobs are settled as missed: the scan decided, nobody sent."""
    from kobe.app import jobs
    from kobe.app.day import perform
    from kobe.app.scan import ScanRequest, run_scan

    folder = copy_home(made_home, tmp_path / "idle")
    ctx = wiring.build(folder, clock=simulate.clock_before(first))
    for session in calendar.between(first, LAST):
        ctx.clock.set(calendar.opens_at(session))
        run_scan(ctx, ScanRequest(session=calendar.previous(session)))
        perform.miss(ctx, jobs.job_named("submit"), session)
    ctx.clock.set(calendar.closes_at(LAST))
    document = gap.run_gap(ctx, first, LAST)
    lines = signals(document)
    assert lines
    for line in lines:
        assert set(line["parts"]) <= {"missed_run"}
        assert D(line["gap_usd"]) == -D(line["backtest_usd"])
        assert line["status"] == "not sent"


def test_a_trade_the_kill_switch_refused_is_the_gate_s(made_home, tmp_path, calendar, first):
    folder = copy_home(made_home, tmp_path / "killed")
    ctx = wiring.build(folder, clock=simulate.clock_before(first))
    ctx.paths.state.mkdir(exist_ok=True)
    ctx.kill_switch.engage("drill")
    simulate.run_simulation(ctx, first, calendar.offset(first, 4))
    lines = signals(gap.run_gap(ctx, first, calendar.offset(first, 4)))
    assert lines
    for line in lines:
        assert set(line["parts"]) <= {"gate"}, line
        assert "kill_switch" in line["why"]


def test_sessions_nobody_scanned_are_missed_runs(made_home, tmp_path, calendar, first):
    from kobe.app import jobs
    from kobe.app.day import perform

    folder = copy_home(made_home, tmp_path / "asleep")
    ctx = wiring.build(folder, clock=simulate.clock_before(first))
    for session in calendar.between(first, LAST):
        perform.miss(ctx, jobs.job_named("scan"), session)
    ctx.clock.set(calendar.closes_at(LAST))
    lines = signals(gap.run_gap(ctx, first, LAST))
    assert lines
    assert all(set(line["parts"]) <= {"missed_run"} and not line["decided_then"] for line in lines)


def test_books_of_a_played_fortnight_agree_to_the_cent(ctx):
    document = run_reconcile(ctx)
    assert document.exit_code is ExitCode.OK
    assert document.data["cash"]["difference_usd"] == "0.00"
    assert not books.in_flight(ctx)


def test_slippage_is_measured_from_the_quotes_and_too_few_fills_are_not_applied(ctx):
    document = slippage.run_show(ctx)
    measures = {(m["measure"], m["side"]): m for m in document.data["measures"]}
    mid = measures["mid", "buy"]
    assert mid["n"] >= 3
    assert 0 < mid["median_bps"] < 30
    assert not mid["speaks"]
    refused = slippage.run_apply(ctx)
    assert refused.exit_code is ExitCode.REFUSED
    assert not ctx.ledger.events("slippage")


def test_a_measured_rate_is_written_once_and_raises_the_costs_from_the_next_session(ctx, monkeypatch, calendar):
    found = slippage.samples(ctx)
    from dataclasses import replace

    many = [replace(s, day=calendar.offset(LAST, -k % 14 - 14), mid_bps=20.0 + k % 3, half_spread_bps=2.0, kind="entry")
            for s in found for k in range(12)]  # fmt: skip
    monkeypatch.setattr(slippage, "samples", lambda _: many)
    dry = slippage.run_apply(ctx, dry_run=True)
    assert dry.exit_code is ExitCode.OK
    assert not ctx.ledger.events("slippage")
    slippage.run_apply(ctx)
    slippage.run_apply(ctx)
    (event,) = ctx.ledger.events("slippage")
    assert event.payload["effective"] == str(calendar.next(LAST))
    assert 18.0 < event.payload["slippage_bps"] < 21.0
    assert ctx.costs.at(calendar.next(LAST)).slippage_bps == 5.0, "nothing uses it until the settings say so"
    costs = ctx.settings.costs.model_copy(update={"use_measured": True})
    used = replace(ctx, settings=ctx.settings.model_copy(update={"costs": costs}))
    assert used.costs.at(LAST).slippage_bps == 5.0
    assert used.costs.at(calendar.next(LAST)).slippage_bps == event.payload["slippage_bps"]


def test_the_journal_lists_finished_trades_with_tags_and_their_sum(ctx):
    document = journal.run_list(ctx, {})
    trades = desk.manager(ctx).book().trades
    assert len(document.data["trades"]) == len(trades) >= 3
    assert sum(D(t["net_usd"]) for t in document.data["trades"]) == pytest.approx(
        sum(t.net_usd for t in trades), abs=D("0.05")
    )
    row = document.data["trades"][0]
    assert row["weekday"] in ("monday", "tuesday", "wednesday", "thursday", "friday")
    assert row["regime"] in ("above_sma200", "below_sma200")
    assert row["r"] is not None
    some = journal.run_list(ctx, {"weekday": row["weekday"]}).data["trades"]
    assert row in some
    assert all(t["weekday"] == row["weekday"] for t in some)


def test_a_trade_stopped_at_its_level_lost_one_r(ctx):
    for trade in journal.run_list(ctx, {"exit_reason": "stop"}).data["trades"]:
        assert trade["r"] == pytest.approx(-1.0, abs=0.1)


def test_statistics_by_tag_count_every_trade_once_in_each_tag(ctx):
    found = journal.run_stats(ctx).data
    for tag in {w["tag"] for w in found["tags"]}:
        assert sum(w["trades"] for w in found["tags"] if w["tag"] == tag) == found["trades"]
    assert all(w["low"] <= w["win_rate"] <= w["high"] for w in found["tags"])
    with pytest.raises(UsageError):
        journal.run_stats(ctx, "colour")


def test_notes_stay_and_the_file_holds_trades_and_notes_without_formulas(ctx, tmp_path):
    journal.run_add(ctx, '=HYPERLINK("x")  said  twice', symbol="syn001", session=LAST)
    journal.run_add(ctx, "spread was wide")
    listed = journal.run_list(ctx, {"symbol": "SYN001"}).data["notes"]
    assert [n["text"] for n in listed] == ['=HYPERLINK("x") said twice']
    journal.run_export(ctx, tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK" in text
    assert text.count("\nnote,") == 2
    assert text.count("\ntrade,") == len(desk.manager(ctx).book().trades)
    shown = journal.run_show(ctx, LAST)
    assert len(shown.data["notes"]) == 2
    assert "Decision for this session" in shown.data["text"]


@pytest.mark.parametrize(("text", "symbol"), [("", ""), ("   ", ""), ("x" * 2001, ""), ("fine", "../etc")])
def test_a_note_without_words_or_about_no_symbol_is_refused(ctx, text, symbol):
    with pytest.raises(UsageError):
        journal.run_add(ctx, text, symbol=symbol)


def test_a_tag_nobody_gives_is_refused():
    with pytest.raises(UsageError):
        journal.parse_tags(["colour=red"])
    assert journal.parse_tags(["weekday=monday"]) == {"weekday": "monday"}
