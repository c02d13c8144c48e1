"""Dividends by ex-date and the loan of shares sold short, by hand: who gets what, when, in trade and account."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from kit import panels
from kit.bars import CALENDAR

from kobe.backtest import carry, engine, fills
from kobe.backtest.account import Terms
from kobe.backtest.costs import CostModel, flat_costs
from kobe.core.panel import Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable

SIGNAL, ENTRY, EXIT = 30, 31, 35  # bars; the time exit is the close of the fifth session
BIG = Terms(10_000.0, 1.0, 0.5, 5, 1.0)  # 100 shares at 50
ONE_YEAR_DAYS = 360


def loans(rate: float) -> CostModel:
    free = flat_costs(0.0)
    return replace(free, rates=(replace(free.rates[0], borrow_rate_annual=rate),))


def one(side: int, paid: dict[int, float] | None = None, *, first: date = panels.START, closes=None) -> Panel:
    """A at 50 for 60 bars with dividends at some of them."""
    bars = panels.of_closes([50.0] * 60 if closes is None else closes, first=first)
    panel = panels.panel({"A": bars})
    column = np.zeros(len(panel))
    for bar, amount in (paid or {}).items():
        column[bar] = amount
    return replace(panel, dividend=column)


def ask(panel: Panel, side: int, *, exits: tuple[int, ...] = (), distance: float = 5.0) -> SignalTable:
    mask = np.zeros(len(panel), np.uint8)
    mask[list(exits)] = 3
    return SignalTable(
        strategy="x", params={}, params_hash="x", row=np.array([SIGNAL]), side=np.array([side], np.int8),
        stop_distance=np.array([distance]), stop_level=np.array([np.nan]), target_r=np.array([np.nan]),
        atr=np.array([2.0]), score=np.array([0.5]), exit_mask=mask, max_gap_atr=2.0, hold_bars=5,
    )  # fmt: skip


def run(panel: Panel, table: SignalTable, costs: CostModel, terms: Terms = BIG):
    assumed = engine.Assumptions(costs=costs, terms=terms)
    o = engine.evaluate(panel, FeatureTable(panel), table, assumed)
    return o, engine.run_portfolio(panel, o, assumed, panel.first_session, panel.last_session)


both = pytest.mark.parametrize("side", [1, -1])


@both
@pytest.mark.parametrize(
    ("bar", "received"),
    [(SIGNAL, 0.0), (ENTRY, 0.0), (ENTRY + 1, 1.0), (EXIT, 1.0), (EXIT + 1, 0.0)],
)
def test_a_dividend_belongs_to_who_held_the_share_before_the_ex_dates_open(side, bar, received):
    panel = one(side, {bar: 1.0})
    o, p = run(panel, ask(panel, side), flat_costs(0.0))
    assert o.dividend.tolist() == [received]
    assert (o.gross_r[0], o.net_r[0]) == (0.0, side * received / 5.0)
    assert p.quantity.tolist() == [100.0]
    assert p.dividends_usd.tolist() == p.net_usd.tolist() == [side * 100.0 * received]
    wanted = np.full(60, 10_000.0)
    wanted[bar:] += side * 100.0 * received
    assert p.equity_usd.tolist() == wanted.tolist(), "booked in cash on the ex-date, marked that day"


@both
def test_who_leaves_at_the_open_of_the_ex_date_still_has_the_dividend(side):
    """The right to it parted from the share before that open."""
    panel = one(side, {33: 0.4})
    o, p = run(panel, ask(panel, side, exits=(32,)), flat_costs(0.0))
    assert (int(o.walked.exit_row[0]), fills.REASONS[o.walked.reason[0]]) == (33, "signal")
    assert p.net_usd[0] == pytest.approx(side * 40.0)
    o, _ = run(panel, ask(panel, side, exits=(31,)), flat_costs(0.0))
    assert o.dividend.tolist() == [0.0], "one session earlier it is the buyer's"


def test_several_dividends_add_up_and_an_open_trade_has_those_so_far():
    panel = one(1, {32: 0.1, 34: 0.2, 35: 0.3}).until(int(one(1).session[34]))
    o, p = run(panel, ask(panel, 1), flat_costs(0.0))
    assert fills.STATES[o.walked.state[0]] == "open"
    assert o.dividend[0] == pytest.approx(0.1 + 0.2)
    assert np.isnan(o.net_r[0])
    assert p.dividends_usd[0] == pytest.approx(30.0)
    assert p.equity_usd[-1] == pytest.approx(10_030.0)


def test_a_fall_of_the_dividends_size_on_its_ex_date_loses_nothing():
    """D12: a price that falls by what is paid out is no loss of the holder's."""
    panel = one(1, {33: 2.0}, closes=[50.0] * 33 + [48.0] * 27)
    o, p = run(panel, ask(panel, 1), flat_costs(0.0))
    assert o.gross_r[0] == pytest.approx(-0.4)
    assert o.net_r[0] == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(p.equity_usd, 10_000.0)


def test_a_dividend_is_not_spent_on_its_own_day():
    """Cash, slots and equity of a session's entries are those of the close before."""
    panel = panels.panel({"A": panels.of_closes([50.0] * 60), "B": panels.of_closes([50.0] * 60)})
    paid = np.zeros(len(panel))
    paid[32] = 50.0
    panel = replace(panel, dividend=paid)
    table = ask(panel, 1)
    rows = np.array([SIGNAL, 60 + 31])
    two = {c: np.repeat(getattr(table, c), 2) for c in ("side", "stop_distance", "stop_level", "target_r", "atr")}
    table = replace(table, row=rows, score=np.array([0.5, 0.5]), **two)
    _, p = run(panel, table, flat_costs(0.0), Terms(10_000.0, 1.0, 0.9, 5, 1.0))
    assert p.quantity.tolist() == [180.0, 20.0]  # 9 000 of 10 000 are spent; 9 000 more come in on bar 32


def test_the_loan_is_charged_by_calendar_day_on_the_close_before_from_the_night_of_the_entry():
    """Entry on a Wednesday: Thursday and Friday one day each, Monday three, Tuesday one; 50 * 0.36 / 360 = 0.05."""
    first = CALENDAR.sessions[CALENDAR.number(date(2015, 3, 4)) - ENTRY]
    panel = one(-1, first=first)
    assert CALENDAR.sessions[panel.session[ENTRY]] == date(2015, 3, 4)
    o, p = run(panel, ask(panel, -1), loans(0.36))
    assert o.borrow[0] == pytest.approx(0.05 * 6)
    assert o.net_r[0] == pytest.approx(-0.05 * 6 / 5.0)
    assert o.gross_r[0] == 0.0
    assert p.borrow_usd[0] == pytest.approx(30.0)
    steps = -np.diff(p.equity_usd)[ENTRY - 1 : EXIT + 1]
    np.testing.assert_allclose(steps, [0.0, 5.0, 5.0, 15.0, 5.0, 0.0], atol=1e-9)


def test_a_closed_exchange_is_a_longer_night():
    """Good Friday 2015: Thursday the 2nd to Monday the 6th of April are four days."""
    shares = loans(0.36).borrow_shares(CALENDAR, CALENDAR.number(date(2015, 4, 7)))
    assert shares[CALENDAR.number(date(2015, 4, 6))] == pytest.approx(4 * 0.36 / ONE_YEAR_DAYS)
    assert shares[CALENDAR.number(date(2015, 4, 7))] == pytest.approx(0.36 / ONE_YEAR_DAYS)
    assert len(shares) == CALENDAR.number(date(2015, 4, 7)) + 1


def test_the_loan_follows_the_price_the_rates_date_and_the_stress():
    closes = [50.0] * 32 + [52.0] * 28
    panel = one(-1, closes=closes)
    change = CALENDAR.sessions[int(panel.session[34])]
    old = loans(0.36).rates[0]
    model = replace(loans(0.36), rates=(old, replace(old, effective=change, borrow_rate_annual=0.72)))
    days = np.diff(CALENDAR.days[panel.session[31:36]])
    wanted = (np.array([50.0, 52.0, 52.0, 52.0]) * days * np.array([0.36, 0.36, 0.72, 0.72]) / 360).sum()
    o, _ = run(panel, ask(panel, -1), model)
    assert o.borrow[0] == pytest.approx(wanted)
    stressed, _ = run(panel, ask(panel, -1), model.times(3.0))
    assert stressed.borrow[0] == pytest.approx(3 * wanted)


def test_a_long_borrows_nothing_and_a_short_that_ends_on_its_first_day_neither():
    o, p = run(one(1), ask(one(1), 1), loans(0.36))
    assert (o.borrow.tolist(), p.borrow_usd.tolist()) == ([0.0], [0.0])
    panel = one(-1)
    o, _ = run(panel, ask(panel, -1, distance=0.5), loans(0.36))  # the bar's high is a dollar above
    assert int(o.walked.exit_row[0]) == ENTRY
    assert o.borrow.tolist() == [0.0]


def test_a_market_without_shorts_and_dividends_has_nothing_to_carry():
    plain = panels.panel({"A": panels.of_closes([50.0] * 60)})
    nothing = carry.carry_of(plain, np.ones(3, np.int8), loans(0.36), plain.last_session)
    assert (len(nothing.dividend), len(nothing.borrow)) == (0, 0)


@pytest.mark.parametrize(
    ("side", "told", "gross"),
    [(1, np.nan, -3.0), (-1, np.nan, -3.0), (1, 0.55, -5.5), (-1, 0.55, 5.5), (1, 0.0, 0.0), (-1, 0.0, 0.0),
     (1, 1.0, -10.0), (-1, 1.0, 10.0)],
)  # fmt: skip
def test_an_end_that_is_known_is_the_prices_and_an_unknown_one_goes_against_the_position(side, told, gross):
    """50 a share, R of 5; the haircut is 30%. What failed is worth less to who sold it short, too."""
    ended = panels.of_closes([50.0] * 34)
    panel = panels.panel({"A": ended, "B": panels.of_closes([50.0] * 60)}, final_loss=np.array([told, np.nan]))
    o, p = run(panel, ask(panel, side), loans(0.36))
    assert fills.REASONS[o.walked.reason[0]] == "end_of_data"
    assert o.gross_r[0] == pytest.approx(gross)
    assert np.isfinite(o.net_r[0])
    nights = int(CALENDAR.days[o.exit_session[0]] - CALENDAR.days[panel.session[ENTRY]])
    loan = 0.05 * nights if side < 0 else 0.0  # charged until the write-off, on the last close
    assert o.borrow[0] == pytest.approx(loan)
    assert p.net_usd[0] == pytest.approx(100 * (5 * gross - loan))
    assert p.equity_usd[-1] == pytest.approx(10_000.0 + p.net_usd[0])


@both
def test_a_bar_that_reaches_stop_and_target_is_counted_and_the_second_run_takes_the_target(side):
    """The pessimistic run loses one R, the other wins one: daily bars cannot tell (DOMAIN 2.1)."""
    panel = panels.panel({"A": panels.of_closes([50.0] * 60, spread=6.0)})
    table = replace(ask(panel, side), target_r=np.array([1.0]))
    found = [
        engine.evaluate(
            panel, FeatureTable(panel), table, engine.Assumptions(costs=flat_costs(0.0), stop_first=stop_first)
        )
        for stop_first in (True, False)
    ]
    assert [bool(o.walked.ambiguous[0]) for o in found] == [True, True]
    assert [fills.REASONS[o.walked.reason[0]] for o in found] == ["stop", "target"]
    assert [float(o.gross_r[0]) for o in found] == [-1.0, 1.0]
