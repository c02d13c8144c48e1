"""While the filter is on, nothing is entered near an announcement: by no scan, no order and no backtest."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from kit.home import LAST, at

from kobe.app import desk, earnings, order_facts, reference, wiring
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.backtest import engine
from kobe.core.errors import ExitCode
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

KNOWN = datetime(2024, 11, 1, tzinfo=UTC)


def build(home, calendar, day, **earnings_settings):
    ctx = wiring.build(home, clock=at(calendar.next(day), 9, 36))
    chosen = ctx.settings.earnings.model_copy(update=earnings_settings)
    return replace(ctx, settings=ctx.settings.model_copy(update={"earnings": chosen}))


def tell(ctx, rows: list[tuple[str, object]]) -> None:
    """Write announcements, known since November."""
    frame = pl.DataFrame(rows, schema={"symbol": pl.String, "date": pl.Date}, orient="row").with_columns(
        known_at=pl.lit(KNOWN, pl.Datetime("us", "UTC"))
    )
    path = ctx.paths.home / "calendar.parquet"
    frame.write_parquet(path)
    request = earnings.earnings_import(path, "test", filings=False, dry_run=False)
    assert reference.run_table_import(ctx, request).exit_code is ExitCode.OK


@pytest.fixture
def trade_day(home, calendar):
    for back in range(1, 12):
        day = calendar.offset(LAST, -back)
        told = run_scan(wiring.build(home, clock=at(calendar.next(day), 9, 36)), ScanRequest(session=day, dry_run=True))
        if told.data["trade_of_day"]["symbol"]:
            return day, told.data["trade_of_day"]["symbol"]
    pytest.fail("no session with a trade of the day")


def test_an_announcement_takes_the_symbol_out_of_the_picks_with_its_code(home, calendar, trade_day):
    day, symbol = trade_day
    ctx = build(home, calendar, day, enabled=True, unknown="pass")
    tell(ctx, [(symbol, calendar.next(day))])
    told = run_scan(ctx, ScanRequest(session=day, dry_run=True)).data
    assert symbol not in [p["symbol"] for p in told["picks"]]
    assert told["funnel"]["earnings_near"] == 1
    assert sum(told["funnel"].values()) == len(ctx.panel().symbols)
    off = build(home, calendar, day, enabled=False)
    assert run_scan(off, ScanRequest(session=day, dry_run=True)).data["trade_of_day"]["symbol"] == symbol


def test_where_nobody_knows_nothing_is_entered_and_the_reason_is_said(home, calendar, trade_day):
    day, _ = trade_day
    told = run_scan(build(home, calendar, day, enabled=True), ScanRequest(session=day, dry_run=True))
    assert told.data["picks"] == []
    assert told.data["trade_of_day"]["reason"].startswith("earnings_unknown: every signal is refused")


def test_a_calendar_that_comes_after_the_scan_still_stops_the_order(home, calendar, trade_day):
    day, symbol = trade_day
    ctx = build(home, calendar, day, enabled=True, unknown="pass")
    run_scan(ctx, ScanRequest(session=day))
    assert run_submit_totd(ctx, SubmitRequest(dry_run=True)).data["status"] == "dry_run"
    tell(ctx, [(symbol, calendar.next(day))])
    facts = [order_facts.clear_of_earnings(ctx, desk.last_panel(ctx), name) for name in (symbol, "NOBODY")]
    assert facts == [False, None]
    document = run_submit_totd(ctx, SubmitRequest())
    assert document.data["order"] is None
    assert desk.manager(ctx).orders() == {}


def test_the_backtest_s_account_leaves_out_exactly_the_entries_that_were_held_back(home, calendar):
    ctx = build(home, calendar, LAST, enabled=True, unknown="pass")
    panel = ctx.panel()
    strategy = STRATEGIES["ibs_rsi"]
    features = FeatureTable(panel)
    free = ctx.assumptions().entry_filter
    table = strategy.signals(panel, features, strategy.defaults)
    known_from = calendar.number(calendar.previous_or_same(KNOWN.date())) + 1
    late = [i for i in range(len(table)) if known_from <= panel.session[table.row[i]] < panel.last_session]
    chosen = late[:: max(len(late) // 5, 1)]
    signals = table.signals(panel, np.array(chosen))
    tell(ctx, [(s.symbol, s.valid_session) for s in signals])
    held_back = ctx.assumptions()
    assert free is not None
    allowed = held_back.entry_filter(panel, table.row)
    assert not allowed[chosen].any()
    assert allowed[: late[0]].all(), "nobody knew of it before it was told"
    outcomes = engine.evaluate(panel, features, table, held_back)
    book = engine.run_portfolio(panel, outcomes, held_back, panel.first_session, panel.last_session)
    assert set(book.offered) == set(np.flatnonzero(allowed & (outcomes.walked.entry_row >= 0)))
    assert len(outcomes) == len(table), "what is held back keeps its simulated outcome"
