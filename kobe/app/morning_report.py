"""`kobe morning-report`: before the open, what the day brings, what is held, and what is to be traded."""

import math
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from kobe.app import decision, explain, held, known, refused, report_files, scan
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.decision import PICKS
from kobe.app.eod_report import known_banners
from kobe.app.status import problems
from kobe.core.calendar import Calendar
from kobe.core.errors import DataError, KobeError, MissingDataError
from kobe.data import earnings, vix
from kobe.decisions import picks as pick_rows
from kobe.features.table import FeatureTable
from kobe.reports import morning
from kobe.reports.document import Document, jsonable
from kobe.reports.morning_facts import Chosen, Hours, Market, Morning, Pick, Yesterday

TOP = 3
TREND_BARS, MONTH, YEAR = 200, 21, 252
AHEAD_DAYS = 400
ENTERING = ("submit", "retry")
SHOWN = 160
"""Letters of what a job said."""
WORDS = {
    earnings.BLOCKED: "NEAR: an announcement is within the window",
    earnings.CLEAR: "clear",
    earnings.UNKNOWN: "unknown: no calendar speaks for it",
}


def run_morning_report(ctx: Context, session: date | None = None) -> Document:
    """Write the report of the morning of a session: the current one until its close, else the next.

    Of a past session it tells what was known at its open, and of its health what is known now.
    """
    day = session or coming_session(ctx)
    as_of = min(ctx.clock.now(), ctx.calendar.opens_at(day))
    newest = min(ctx.calendar.previous(day), ctx.calendar.last_complete(as_of))
    records = known.read(ctx, as_of)
    ask = ctx.clock.now() <= ctx.calendar.opens_at(day) and newest == ctx.calendar.last_complete(ctx.clock.now())
    holdings, silence = held.holdings(ctx, records, newest, ask=ask, before_open=True)
    chosen = chosen_of(ctx, ctx.calendar.previous(day))
    mode = known.mode_at(ctx, as_of)
    lines, words = _earnings(ctx, day, as_of, [h.symbol for h in holdings], chosen)
    ran = [r for d in (newest, day) for r in runs.of_session(ctx.ledger, d) if r.finished <= as_of]
    document = morning.build(
        Morning(
            session=day, as_of=as_of, hours=_hours(ctx.calendar, day), market=_market(ctx, newest, as_of),
            mode=mode.mode.name, mode_why=mode.why, holdings=holdings,
            silence=silence or ("" if ask else "only the closes were known"),
            earnings=lines, earnings_words=words, chosen=chosen, yesterday=_yesterday(ctx, records, newest, as_of),
            problems=problems(ctx),
            runs=[(r.job, str(r.session), r.status, r.detail[:SHOWN]) for r in ran if r.status != runs.DONE],
            ran=len(ran), banners=known_banners(ctx),
        )
    )  # fmt: skip
    report_files.write(ctx, ctx.paths.of_session(day), "morning", document)
    return document


def coming_session(ctx: Context) -> date:
    """Return the session a morning is about: today's until its close, else the next."""
    today = ctx.today
    if today in ctx.calendar and ctx.clock.now() < ctx.calendar.closes_at(today):
        return today
    return ctx.calendar.next(today)


def _hours(calendar: Calendar, day: date) -> Hours:
    return Hours(
        opens=calendar.opens_at(day), closes=calendar.closes_at(day), half_day=calendar.is_early_close(day),
        next_holiday=_next_holiday(calendar, day),
        next_half_day=next((d for d in sorted(calendar.early_closes) if d > day), None),
    )  # fmt: skip


def _next_holiday(calendar: Calendar, day: date) -> date | None:
    """Return the next weekday without a session; None where the calendar ends before it."""
    ahead = (day + timedelta(days=k) for k in range(1, AHEAD_DAYS))
    return next((d for d in ahead if d.weekday() < 5 and d <= calendar.sessions[-1] and d not in calendar), None)


def _market(ctx: Context, newest: date, as_of: datetime) -> Market:
    """Say where the market symbol stands, in raw dollars and in fractions of adjusted ones."""
    symbol = ctx.settings.market.symbol
    level, silence = _vix(ctx, as_of)
    panel = known.bars(ctx, [symbol], newest)
    if panel is None or not len(panel):
        return Market(symbol=symbol, session=None, vix=level, vix_silence=silence)
    close = panel.close
    average = float(FeatureTable(panel).column("sma", TREND_BARS)[-1])
    steps = np.diff(np.log(close[-MONTH - 1 :]))
    return Market(
        symbol=symbol, session=ctx.calendar.sessions[int(panel.session[-1])],
        close=float(close[-1] * panel.raw_factor[-1]),
        above_sma=float(close[-1]) / average - 1 if math.isfinite(average) else None,
        day=float(close[-1] / close[-2] - 1) if len(close) > 1 else None,
        month=float(close[-1] / close[-MONTH - 1] - 1) if len(close) > MONTH else None,
        volatility=float(np.std(steps, ddof=1)) * math.sqrt(YEAR) if len(steps) == MONTH else None,
        vix=level, vix_silence=silence,
    )  # fmt: skip


def _vix(ctx: Context, as_of: datetime) -> tuple[tuple[float, date] | None, str]:
    """Return the level known at an instant, and why there is none; a damaged table stops no page."""
    try:
        level = vix.level_at(ctx.reference.read("vix"), as_of)
    except DataError:
        return None, "none known; next: kobe data vix import"
    except KobeError as error:
        return None, error.message
    return (level.close, level.session), ""


def chosen_of(ctx: Context, signal_date: date) -> Chosen:
    """Return the recorded decision, or what the scan would say now; what cannot be believed stops no page."""
    told = scan.shown_trade_of_day(ctx, signal_date)
    try:
        if told is None:
            return _preview(ctx, signal_date)
        if told["action"] == scan.DAMAGED:
            return Chosen(signal_date=signal_date, silence=str(told["reason"]))
        record = decision.read_record(ctx, signal_date)
        rows = decision.read_rows(ctx, signal_date, record, PICKS)
        return _of(ctx, told, rows, record["saw"], recorded=True)
    except KobeError as error:
        return Chosen(signal_date=signal_date, silence=error.message)


def _preview(ctx: Context, signal_date: date) -> Chosen:
    found = scan.compute(ctx, signal_date)
    rows = jsonable(pick_rows.pick_rows(found))
    return _of(ctx, jsonable(pick_rows.trade_of_day_row(found)), rows, jsonable(found.saw), recorded=False)


def _of(
    ctx: Context, told: dict[str, Any], rows: list[dict[str, Any]], saw: dict[str, Any], *, recorded: bool
) -> Chosen:
    signal_date = date.fromisoformat(told["signal_date"])
    best = [r for r in rows if r["signal_id"] == told["signal_id"]]
    shown = best + [r for r in rows if r not in best][: TOP - len(best)]
    return Chosen(
        signal_date=signal_date, recorded=recorded, action=told["action"], reason=told["reason"],
        signal_id=told["signal_id"],
        picks=[pick_of(ctx, row, signal_date, saw.get(row["signal_id"], [])) for row in shown],
    )  # fmt: skip


def pick_of(ctx: Context, row: dict[str, Any], signal_date: date, saw: list[dict[str, Any]]) -> Pick:
    """Return a pick with its bars and levels; without them where its bars are gone."""
    try:
        bars, levels = explain.chart(ctx, row, signal_date, saw)
    except (KeyError, MissingDataError):
        bars, levels = [], {}
    return Pick(row=row, bars=bars, levels=levels)


def _earnings(
    ctx: Context, day: date, as_of: datetime, symbols: list[str], chosen: Chosen
) -> tuple[list[tuple[str, str, str, str]], str]:
    """Return a line per held name and pick, and which calendar speaks; a damaged one is named and stops no page."""
    try:
        return _calendar_lines(ctx, day, as_of, symbols, chosen)
    except KobeError as error:
        return [], f"Not known: {error.message}"


def _calendar_lines(
    ctx: Context, day: date, as_of: datetime, symbols: list[str], chosen: Chosen
) -> tuple[list[tuple[str, str, str, str]], str]:
    kinds = dict.fromkeys([str(p.row["symbol"]) for p in chosen.picks], "pick") | dict.fromkeys(symbols, "held")
    events = ctx.reference.read("earnings").filter(pl.col("known_at") <= as_of)
    calendar = events.filter(pl.col("kind") == earnings.ANNOUNCEMENT)
    if calendar.is_empty():
        return [], "No calendar: earnings are not known; next: kobe earnings import FILE."
    words = f"A calendar of {calendar.get_column('symbol').n_unique():,} symbols speaks."
    if not kinds:
        return [], f"{words} Nothing is held and nothing is picked."
    chosen_window = ctx.settings.earnings
    asked = pl.DataFrame(
        {"symbol": list(kinds), "session": [day] * len(kinds), "decided": [ctx.calendar.previous(day)] * len(kinds)},
        schema={"symbol": pl.String, "session": pl.Date, "decided": pl.Date},
    )
    found = earnings.window(
        events, asked, ctx.calendar, before=chosen_window.before_sessions, after=chosen_window.after_sessions,
        trusted=chosen_window.trusted,
    )  # fmt: skip
    ahead = ctx.reference.as_of("earnings", as_of).filter(
        (pl.col("kind") == earnings.ANNOUNCEMENT) & (pl.col("date") >= day)
    )
    following = {symbol: (when, part) for symbol, when, part in ahead.sort("date", descending=True)
                 .select("symbol", "date", "part").iter_rows()}  # fmt: skip
    return [
        (symbol, kinds[symbol], WORDS[state], _next(following.get(symbol), day))
        for symbol, state in found.select("symbol", "state").iter_rows()
    ], words


def _next(told: tuple[date, str] | None, day: date) -> str:
    if told is None:
        return "-"
    when, part = told
    return f"{'TODAY' if when == day else str(when)}" + ("" if part == "unknown" else f" ({part})")


def _yesterday(ctx: Context, records: known.Records, session: date, as_of: datetime) -> Yesterday:
    found, silence = refused.refusals(ctx, session, session, as_of)
    said = {
        r.job: r.detail[:SHOWN]
        for r in runs.of_session(ctx.ledger, session)
        if r.job in ENTERING and r.finished <= as_of
    }
    return Yesterday(
        session=session, decision=scan.shown_trade_of_day(ctx, ctx.calendar.previous(session)),
        orders=records.touched(session), refused=found, silence=silence, said=list(said.items()),
    )  # fmt: skip
