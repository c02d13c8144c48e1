"""A symbol on hold is in no scan, leaves no order, and its release is on record."""

from datetime import date

import pytest
from kit.home import LAST, at

from kobe.app import desk, wiring
from kobe.app.data_health import CheckRequest, run_check, run_hold, run_quarantine_list, run_release
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.submit_totd import SubmitRequest, run_submit_totd
from kobe.core.errors import UsageError
from kobe.learning import promote


def first_trade(home, calendar) -> tuple[date, str]:
    """Return a session with a trade of the day and its symbol."""
    for back in range(1, 12):
        day = calendar.offset(LAST, -back)
        document = run_scan(wiring.build(home, clock=at(calendar.next(day), 9, 36)), ScanRequest(session=day))
        if document.data["trade_of_day"]["symbol"]:
            return day, document.data["trade_of_day"]["symbol"]
    pytest.fail("no session with a trade of the day")


def test_a_hold_by_hand_takes_the_symbol_out_of_the_scan_until_it_is_released(home, calendar):
    day, symbol = first_trade(home, calendar)
    ctx = wiring.build(home, clock=at(calendar.next(day), 9, 36))
    told = run_scan(ctx, ScanRequest(session=day, dry_run=True)).data
    before, before_barred = told["trade_of_day"]["symbol"], told["funnel"].get("not_tradable", 0)
    run_hold(ctx, symbol, "looks odd", day, dry_run=False)
    held = run_scan(ctx, ScanRequest(session=day, dry_run=True)).data
    assert before == symbol
    assert held["trade_of_day"]["symbol"] != symbol
    assert held["funnel"]["not_tradable"] == before_barred + 1
    run_check(ctx, CheckRequest())
    assert symbol in str(run_quarantine_list(ctx, everything=False).data), "a check does not undo a hold by hand"
    run_release(ctx, symbol, None, "seen on two feeds", dry_run=False)
    again = run_scan(ctx, ScanRequest(session=day, dry_run=True)).data
    assert again["trade_of_day"]["symbol"] == symbol
    assert "seen on two feeds" in str(run_quarantine_list(ctx, everything=True).data)
    with pytest.raises(UsageError, match="nothing to release"):
        run_release(ctx, symbol, None, "again", dry_run=False)
    with pytest.raises(UsageError, match="reason"):
        run_hold(ctx, symbol, "  ", day, dry_run=False)


def test_a_hold_that_comes_after_the_scan_still_stops_the_order(home, calendar):
    day, symbol = first_trade(home, calendar)
    ctx = wiring.build(home, clock=at(calendar.next(day), 9, 36))
    run_hold(ctx, symbol, "two feeds disagree", day, dry_run=False)
    document = run_submit_totd(ctx, SubmitRequest())
    assert document.exit_code.name == "REFUSED"
    assert [o for o in desk.manager(ctx).orders().values() if o.request.symbol == symbol] == []


def test_a_dry_run_changes_no_hold(home, calendar):
    ctx = wiring.build(home, clock=at(LAST, 17, 0))
    symbol = ctx.store.manifest().symbols[3]
    before = run_quarantine_list(ctx, everything=True).data
    run_hold(ctx, symbol, "only asking", None, dry_run=True)
    assert run_quarantine_list(ctx, everything=True).data == before


def test_any_bias_on_record_keeps_a_model_from_live_orders():
    assert promote.scope(()) == promote.LIVE
    assert promote.scope(("UNIVERSE BIAS: static-current",)) == promote.PAPER
