"""The weekly report: what the week earned, whether the evidence still holds, who speaks, what was refused and late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.reports import book_tables, end_of_day
from kobe.reports.book_tables import Closed, Holding, Profit, Refused, signed
from kobe.reports.document import Cell, Document, Figure, Section, Table, jsonable, shown
from kobe.reports.end_of_day import Standing
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_money import signed_bars

FIGURES: dict[str, str] = {
    "trades": "trades", "win_rate": "won", "average_r": "mean R", "profit_factor": "profit factor",
    "sharpe": "Sharpe ratio", "max_drawdown": "deepest drawdown", "dsr": "deflated Sharpe ratio",
    "pbo": "probability of overfitting", "needed_sessions": "sessions a proof needs",
}  # fmt: skip
"""Figures of a walk-forward that a week is compared by: key -> words."""
WEEK = "week"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The walk-forward of one strategy: its figures now, those of last week's report, and where each ends."""

    strategy: str
    through: str
    figures: Mapping[str, float | None]
    before_through: str | None
    before: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Who speaks and who is heard beside it.

    Attributes:
        champion, challenger: id, kind and end of the evidence in words.
        spoke: sessions in which the challenger was asked so far; wanted: how many it needs.
        lines: the newest verdict: condition, value, threshold, verdict.
        judged: whom it was about.
    """

    champion: str
    challenger: str
    spoke: int
    wanted: int
    judged: str
    lines: Sequence[tuple[str, float | None, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """One job over the week: runs, how many did not end well, and the most seconds a run began after its time."""

    job: str
    runs: int
    bad: int
    missed: int
    latest_s: float | None
    latest_session: date | None


@dataclass(frozen=True, kw_only=True)
class Week:
    """Everything the report is made from.

    Attributes:
        sessions: of the week up to now, oldest first.
        days: profit by session; profit: by span, the keys week, month and since start.
        closed, holdings, refused: see `book_tables`; silence: why refusals are not known.
        curve: equity by session since the start.
        evidence, evidence_silence: by strategy, and why there is none.
        models, drift, jobs: see there.
        ended_badly: (job, session, status, detail) of every run that did not end well.
    """

    sessions: Sequence[date]
    days: Mapping[date, Profit]
    profit: Mapping[str, Profit]
    closed: Sequence[Closed]
    holdings: Sequence[Holding]
    curve: Sequence[tuple[date, Decimal]]
    refused: Sequence[Refused]
    silence: str
    evidence: Sequence[Evidence]
    evidence_silence: str
    models: Models
    drift: Sequence[Standing]
    jobs: Sequence[Lateness]
    ended_badly: Sequence[tuple[str, str, str, str]]
    mode: str
    banners: tuple[str, ...]


def build(week: Week) -> Document:
    """Build the report."""
    first, last = week.sessions[0], week.sessions[-1]
    sections = (
        _by_day(week),
        _by_strategy(week),
        book_tables.curve(week.curve),
        book_tables.trades(week.closed, "Trades of the week"),
        book_tables.positions(week.holdings),
        *_evidence(week),
        _models(week.models),
        end_of_day.drift(week.drift),
        _refusals(week),
        _jobs(week),
    )
    return Document(
        schema="kobe.weekly_report/1",
        title=f"Week of {first} to {last}",
        summary=_summary(week),
        figures=_figures(week),
        banners=week.banners,
        sections=tuple(s for s in sections if s is not None),
        data=_data(week),
    )


def _best(profit: Profit) -> Decimal:
    """Return the change of the equity, or what was realised where no equity is known."""
    return profit.realised_usd if profit.equity_usd is None else profit.equity_usd


def _summary(week: Week) -> tuple[str, ...]:
    won = sum(t.net_usd > 0 for t in week.closed)
    told = week.profit[WEEK]
    bad = sum(j.bad + j.missed for j in week.jobs)
    worst = [s for s in week.drift if s.level != "NORMAL"]
    drifts = "; ".join(f"{s.strategy} {s.level}" for s in worst) or "No drift"
    return (
        f"Week {signed(_best(told))} $ (realised {signed(told.realised_usd)}); {len(week.closed)} trades, {won} won",
        book_tables.position_words(week.holdings),
        f"{drifts}; refusals {len(week.refused)}; runs missed or failed {bad}; mode {week.mode}",
        f"Champion {week.models.champion}; challenger {week.models.challenger}",
    )


def _figures(week: Week) -> tuple[Figure, ...]:
    tiles = [
        Figure(label=f"{span.capitalize()}, $", value=signed(_best(p)), note=f"realised {signed(p.realised_usd)}")
        for span, p in week.profit.items()
    ]
    won = sum(t.net_usd > 0 for t in week.closed)
    known = [t.r for t in week.closed if t.r is not None]
    mean = f"mean {sum(known) / len(known):+.2f} R" if known else "no R known"
    tiles.append(Figure(label="Trades", value=f"{won} of {len(week.closed)} won", note=mean))
    standing = signed(book_tables.open_total(week.holdings))
    tiles.append(Figure(label="Open, $", value=standing, note=f"{len(week.holdings)} held"))
    tiles.append(Figure(label="Refusals", value=str(len(week.refused)), note="by the gates"))
    return tuple(tiles)


def _by_day(week: Week) -> Section:
    values = [float(_best(p)) for p in week.days.values()]
    labels = [f"{day:%a %m-%d}" for day in week.days]
    rows = tuple((f"{day:%a} {day}", signed(p.realised_usd), signed(p.equity_usd)) for day, p in week.days.items())
    total = week.profit[WEEK]
    rows += (("week", signed(total.realised_usd), signed(total.equity_usd)),)
    columns = ("session", "realised $", "equity $")
    return Section(
        title="By day",
        picture=responsive(lambda width: signed_bars(labels, values, width, what="Profit by session")) or None,
        table=Table(columns=columns, rows=rows, words=frozenset({"session"})),
    )


def _by_strategy(week: Week) -> Section | None:
    names = dict.fromkeys(t.strategy for t in week.closed)
    if not names:
        return None
    rows = [_worth(name, [t for t in week.closed if t.strategy == name], week) for name in names]
    columns = ("strategy", "trades", "won", "net $", "mean R", "mean R of the evidence")
    told = "A week of trades proves nothing by itself; drift says when they no longer fit the evidence."
    table = Table(columns=columns, rows=tuple(rows), words=frozenset({"strategy"}))
    return Section(title="By strategy", lines=(told,), table=table)


def _worth(name: str, mine: Sequence[Closed], week: Week) -> tuple[Cell, ...]:
    known = [t.r for t in mine if t.r is not None]
    evidence = next((e.figures.get("average_r") for e in week.evidence if e.strategy == name), None)
    mean = f"{sum(known) / len(known):+.2f}" if known else "-"
    net = sum((t.net_usd for t in mine), Decimal(0))
    told = "-" if evidence is None else f"{evidence:+.2f}"
    return name, len(mine), sum(t.net_usd > 0 for t in mine), signed(net), mean, told


def _evidence(week: Week) -> list[Section]:
    if week.evidence_silence:
        return [Section(title="Evidence", lines=(week.evidence_silence,))]
    return [_against(e) for e in week.evidence]


def _against(e: Evidence) -> Section:
    rows = tuple((words, shown(e.figures.get(key)), shown(e.before.get(key)), _change(e, key))
                 for key, words in FIGURES.items())  # fmt: skip
    last = "there is no report of last week to compare with" if e.before_through is None else (
        f"last week's ended {e.before_through}"
    )  # fmt: skip
    columns = ("figure", "now", "last week", "change")
    return Section(
        title=f"Evidence: {e.strategy}", lines=(f"Walk-forward through {e.through}; {last}.",),
        table=Table(columns=columns, rows=rows, words=frozenset({"figure"})),
    )  # fmt: skip


def _change(e: Evidence, key: str) -> str:
    now, before = e.figures.get(key), e.before.get(key)
    if now is None or before is None:
        return "-"
    return "same" if now == before else f"{now - before:+,.3g}"


def _models(m: Models) -> Section:
    told = [f"Champion: {m.champion}.", f"Challenger: {m.challenger}."]
    if m.spoke or m.wanted:
        told.append(f"It was asked in {m.spoke} sessions of the {m.wanted} it needs.")
    told.append(f"Newest verdict, on {m.judged}:" if m.lines else "No candidate was judged yet.")
    columns = ("condition", "value", "threshold", "verdict")
    table = Table(columns=columns, rows=tuple(m.lines), words=frozenset({"condition", "threshold", "verdict"}))
    return Section(
        title="Champion against challenger",
        lines=tuple(told),
        table=table if m.lines else None,
        folded="Every condition",
    )


def _refusals(week: Week) -> Section:
    title = "Refusals, by code"
    if week.silence:
        return Section(title=title, lines=(f"Not known: {week.silence}",))
    if not week.refused:
        return Section(title=title, lines=("None.",))
    columns = ("code", "times", "it means")
    table = Table(columns=columns, rows=book_tables.tally(week.refused), words=frozenset({"code", "it means"}))
    return Section(title=title, table=table)


def _jobs(week: Week) -> Section:
    rows = tuple(
        (j.job, j.runs, j.bad, j.missed, "-" if j.latest_s is None else _seconds(j.latest_s),
         "-" if j.latest_session is None else str(j.latest_session))
        for j in week.jobs
    )  # fmt: skip
    if not rows:
        return Section(title="Jobs", lines=("None ran.",))
    columns = ("job", "runs", "bad ends", "missed", "latest start", "in")
    runs, late = sum(j.runs for j in week.jobs), sum(j.latest_s is not None for j in week.jobs)
    told = [f"{runs} runs; {len(week.ended_badly)} missed or ended badly; {late} of {len(week.jobs)} jobs began late."]
    told += [f"{job} of {session} {status.replace('_', ' ')}: {detail}"
             for job, session, status, detail in week.ended_badly]  # fmt: skip
    table = Table(columns=columns, rows=rows, words=frozenset({"job", "in"}))
    return Section(title="Jobs", lines=tuple(told), table=table, folded="Every job")


def _seconds(late: float) -> str:
    return f"{late:.0f} s" if late < 120 else f"{late / 60:.0f} min" if late < 7200 else f"{late / 3600:.1f} h"


def _data(week: Week) -> dict[str, Any]:
    m = week.models
    return {
        "sessions": [str(day) for day in week.sessions], "mode": week.mode,
        "profit": {span: p.row() for span, p in week.profit.items()},
        "days": {str(day): p.row() for day, p in week.days.items()},
        "trades": [t.row() for t in week.closed], "holdings": [h.row() for h in week.holdings],
        "equity_curve": [[str(at), str(usd)] for at, usd in week.curve],
        "refused": [r.row() for r in week.refused], "refusals_unknown": week.silence,
        "tally": [list(line) for line in book_tables.tally(week.refused)],
        "evidence": {e.strategy: {"through": e.through, **jsonable(dict(e.figures))} for e in week.evidence},
        "evidence_before": {
            e.strategy: {"through": e.before_through, **jsonable(dict(e.before))} for e in week.evidence
        },
        "evidence_unknown": week.evidence_silence,
        "models": {"champion": m.champion, "challenger": m.challenger, "spoke": m.spoke, "wanted": m.wanted,
                   "judged": m.judged, "lines": [list(line) for line in m.lines]},
        "drift": {s.strategy: {"level": s.level, "since": s.since and str(s.since)} for s in week.drift},
        "jobs": [{"job": j.job, "runs": j.runs, "bad": j.bad, "missed": j.missed, "latest_s": j.latest_s,
                  "latest_session": j.latest_session and str(j.latest_session)} for j in week.jobs],
        "ended_badly": [list(r) for r in week.ended_badly],
    }  # fmt: skip
