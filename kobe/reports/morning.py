"""The morning report: what the day brings, what is held, what yesterday did, and the pick with its chart."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.core.clock import NEW_YORK
from kobe.reports import book_tables
from kobe.reports.book_tables import money, percent, signed
from kobe.reports.document import Document, Figure, Section, Table, jsonable, shown
from kobe.reports.morning_facts import Chosen, Hours, Market, Morning, Pick, Yesterday
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_levels import letter_chart, level_chart
from kobe.reports.status import problem_lines

ODD_GAP = 0.20
"""A gap from which on a person should look for a split or another action of the company first."""
PREVIEW = "worked out for this report; the scan after the open puts it on record"


def build(m: Morning) -> Document:
    """Build the report."""
    best = m.chosen.best
    others = [p for p in m.chosen.picks if p is not best]
    sections = [
        _trouble(m),
        _no_trade(m.chosen) if best is None else _best(m.chosen, best),
        *(_pick(p, f"Rank {p.row['rank']}: {p.row['symbol']}") for p in others),
        book_tables.positions(m.holdings),
        _gaps(m),
        _market(m),
        _earnings(m),
        _calendar(m),
        _before(m.yesterday),
        _health(m),
    ]
    return Document(
        schema="kobe.morning_report/1",
        title=f"Morning, {m.session:%a} {m.session}",
        summary=_summary(m),
        figures=_figures(m),
        banners=m.banners,
        sections=tuple(s for s in sections if s is not None),
        data=_data(m),
    )


def trade_words(chosen: Chosen) -> str:
    """Say in one line what is to be traded, or why nothing is."""
    best = chosen.best
    if chosen.silence:
        return f"No pick is known: {chosen.silence}"
    if best is None:
        return f"No trade: {chosen.reason}"
    r = best.row
    likely = "no model speaks" if r["probability"] is None else f"{r['probability']:.0%} (gate {r['gate']:.0%})"
    return f"Trade of the day: {r['symbol']} {r['side']}, {r['strategy']}, {likely}, close {money(r['raw_close'])}"


def _summary(m: Morning) -> tuple[str, ...]:
    needs = f"{len(m.problems)} need a human" if m.problems else "nothing needs a human"
    return (
        trade_words(m.chosen),
        book_tables.position_words(m.holdings),
        f"{_day_words(m.hours)}; {m.market.words}; mode {m.mode}; {needs}",
    )


def _day_words(h: Hours) -> str:
    opens, closes = (f"{i.astimezone(NEW_YORK):%H:%M}" for i in (h.opens, h.closes))
    return f"{'HALF DAY' if h.half_day else 'Full day'}, {opens} to {closes} ET"


def _figures(m: Morning) -> tuple[Figure, ...]:
    best = m.chosen.best
    risk = [h.distance_usd * h.quantity for h in m.holdings if h.distance_usd is not None]
    note = m.chosen.reason if best is None else f"{best.row['strategy']}, {best.row['side']}"
    opens, closes = (f"{i.astimezone(NEW_YORK):%H:%M}" for i in (m.hours.opens, m.hours.closes))
    return (
        Figure(label="Trade of the day", value="none" if best is None else str(best.row["symbol"]), note=note),
        Figure(label="Mode", value=m.mode, note=m.mode_why),
        Figure(label="Open, $", value=signed(book_tables.open_total(m.holdings)), note=f"{len(m.holdings)} held"),
        Figure(label="To the stops, $", value=money(sum(risk, Decimal(0))), note="from the last prices"),
        Figure(label="Market", value=_side(m.market), note=f"{m.market.symbol}, 200-day average"),
        Figure(
            label="HALF DAY" if m.hours.half_day else "Session", value=f"to {closes}", note=f"from {opens}, New York"
        ),
    )


def _side(market: Market) -> str:
    return "unknown" if market.above_sma is None else "above" if market.above_sma > 0 else "below"


def _trouble(m: Morning) -> Section | None:
    if not m.problems:
        return None
    return Section(title="Needs a human, now", lines=problem_lines(m.problems), boxed=True)


def _no_trade(chosen: Chosen) -> Section:
    lines = [trade_words(chosen)]
    lines += [] if chosen.silence or chosen.recorded else [PREVIEW]
    return Section(title="Trade of the day: none", lines=tuple(lines), boxed=True)


def _best(chosen: Chosen, best: Pick) -> Section:
    said = [chosen.reason] if chosen.recorded else [chosen.reason, PREVIEW]
    return _pick(best, f"Trade of the day: {best.row['symbol']}", said, boxed=True)


def _pick(pick: Pick, title: str, said: Sequence[str] = (), *, boxed: bool = False) -> Section:
    r, bars, levels = pick.row, pick.bars, pick.levels
    label = f"{r['symbol']}, raw dollars"
    told = [
        f"{r['strategy']}, {r['side']}; close {money(r['raw_close'])}, "
        + ", ".join(f"{name} {money(price)}" for name, price in levels.items()) + ".",
        *(f"{line[:1].upper()}{line[1:]}." for line in said or [_odds(r)]),
    ]  # fmt: skip
    return Section(
        title=title, lines=tuple(told), boxed=boxed,
        picture=responsive(lambda width: level_chart(label, bars[-_room(width) :], levels, width)) if bars else None,
        letters=letter_chart(bars[-40:], levels) if bars else (),
    )  # fmt: skip


def _odds(row: Mapping[str, Any]) -> str:
    if row["probability"] is None:
        return "no model speaks about it"
    return f"probability {row['probability']:.3f}, gate {row['gate']:.3f}, expected {shown(row['expected_r'])} R"


def _room(width: int) -> int:
    return 60 if width > 600 else 30


def _gaps(m: Morning) -> Section | None:
    if not m.holdings:
        return None
    told = [f"{h.symbol}: {percent(h.gap)}; look for a split or another action of the company first"
            for h in m.holdings if h.gap is not None and abs(h.gap) >= ODD_GAP]  # fmt: skip
    if m.silence:
        told.insert(0, f"Gaps are not known yet: {m.silence}; the last closes stand for the prices.")
    rows = tuple(
        (h.symbol, money(h.before_usd), money(None if h.last is None else h.last.usd), percent(h.gap),
         "-" if h.last is None else h.last.source)
        for h in m.holdings
    )  # fmt: skip
    columns = ("symbol", "close before", "now", "gap", "from")
    table = Table(columns=columns, rows=rows, words=frozenset({"symbol", "from"}))
    return Section(title="Overnight", lines=tuple(told), table=None if m.silence else table)


def _market(m: Morning) -> Section:
    k = m.market
    if k.session is None:
        return Section(title="Market", lines=(f"There is no bar of {k.symbol}: its trend is not known.",))
    rows = (
        (f"{k.symbol} at the close of {k.session}", shown(k.close)),
        ("against its 200-day average", percent(k.above_sma)),
        ("last session", percent(k.day)),
        ("last 21 sessions", percent(k.month)),
        ("volatility of 21 sessions, a year", "-" if k.volatility is None else f"{k.volatility:.1%}"),
        ("VIX", k.vix_silence if k.vix is None else f"{k.vix[0]:.2f} (of {k.vix[1]})"),
        ("mode", m.mode + (f": {m.mode_why}" if m.mode_why else "")),
    )
    table = Table(columns=("what", "is"), rows=rows, words=frozenset({"what"}))
    return Section(title="Market", lines=(f"{k.words[:1].upper()}{k.words[1:]}.",), table=table)


def _earnings(m: Morning) -> Section:
    if not m.earnings:
        return Section(title="Earnings", lines=(m.earnings_words,))
    columns = ("symbol", "is", "around this session", "next date known")
    table = Table(columns=columns, rows=tuple(m.earnings), words=frozenset(columns))
    return Section(title="Earnings", lines=(m.earnings_words,), table=table)


def _calendar(m: Morning) -> Section:
    h = m.hours
    told = [f"{_day_words(h)}."]
    if h.next_holiday is not None:
        told.append(f"Next holiday: {h.next_holiday:%A}, {h.next_holiday}.")
    if h.next_half_day is not None:
        told.append(f"Next half day: {h.next_half_day:%A}, {h.next_half_day}.")
    return Section(title="Calendar", lines=tuple(told))


def _before(y: Yesterday) -> Section:
    told = ["Nobody scanned for it." if y.decision is None else decision_words(y.decision)]
    told += [f"{job}: {said}" for job, said in y.said]
    told += [f"Refusals are not known: {y.silence}"] if y.silence else []
    told += [f"Refused: {r.symbol} by {r.gate}, {r.code}: {r.observed}, allowed {r.limit} ({r.meaning})"
             for r in y.refused]  # fmt: skip
    told += [] if y.orders else ["No order was sent."]
    table = book_tables.orders(y.orders, "").table
    return Section(title=f"Yesterday, {y.session}", lines=tuple(told), table=table)


def decision_words(decision: Mapping[str, Any]) -> str:
    """Say what a decision was."""
    if decision["action"] == "trade":
        return f"Decided: {decision['symbol']}, {decision['reason']}."
    return f"Decided: {str(decision['action']).replace('_', ' ')}, {decision['reason']}."


def _health(m: Morning) -> Section:
    told = f"{m.ran} runs of jobs for this session and the one before; {len(m.runs)} did not end well."
    columns = ("job", "session", "status", "detail")
    table = Table(columns=columns, rows=tuple(m.runs), words=frozenset(columns)) if m.runs else None
    return Section(title="Health", lines=(told,), table=table)


def _data(m: Morning) -> dict[str, Any]:
    h, c, y = m.hours, m.chosen, m.yesterday
    return {
        "session": str(m.session), "as_of": m.as_of.isoformat(), "mode": m.mode, "mode_why": m.mode_why,
        "calendar": {
            "opens": h.opens.isoformat(), "closes": h.closes.isoformat(), "half_day": h.half_day,
            "next_holiday": _day(h.next_holiday), "next_half_day": _day(h.next_half_day),
        },
        "market": {
            "symbol": m.market.symbol, "session": _day(m.market.session), "close": m.market.close,
            "above_sma200": m.market.above_sma, "day": m.market.day, "month": m.market.month,
            "volatility": m.market.volatility,
            "vix": None if m.market.vix is None else {"close": m.market.vix[0], "session": str(m.market.vix[1])},
        },
        "positions": [p.row() for p in m.holdings], "quotes": m.silence or "asked",
        "earnings": [dict(zip(("symbol", "is", "state", "next"), line, strict=True)) for line in m.earnings],
        "earnings_calendar": m.earnings_words,
        "pick": {
            "signal_date": str(c.signal_date), "recorded": c.recorded, "action": c.action, "reason": c.reason,
            "signal_id": c.signal_id, "silence": c.silence,
            "top": [jsonable({**p.row, "levels": dict(p.levels)}) for p in c.picks],
        },
        "yesterday": {
            "session": str(y.session), "decision": None if y.decision is None else jsonable(dict(y.decision)),
            "orders": [{"order": o.request.client_order_id, "status": o.status.word, "filled": o.filled,
                        "wanted": o.request.quantity, "reason": o.request.reason} for o in y.orders],
            "refused": [r.row() for r in y.refused], "refusals_unknown": y.silence,
            "said": [list(line) for line in y.said],
        },
        "problems": [p.row() for p in m.problems], "runs": m.ran, "ended_badly": [list(r) for r in m.runs],
    }  # fmt: skip


def _day(day: date | None) -> str | None:
    return None if day is None else str(day)
