"""`kobe weekly-report`: the week's money, the evidence against last week's, the models, the refusals, the jobs."""

import json
import os
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from kobe.app import held, known, refused, report_files
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.eod_report import known_banners, standings, until
from kobe.core.errors import KobeError, UsageError
from kobe.core.types import JobRecord
from kobe.infra.records import audit_newest
from kobe.learning import registry
from kobe.reports import weekly
from kobe.reports.document import Document
from kobe.reports.end_of_day import MONTH, START
from kobe.reports.weekly import FIGURES, WEEK, Evidence, Lateness, Models

WEEKLY, SUMMARY = "weekly", "summary.json"
PROMOTE = "promote"
SHOWN = 160
LATE_S = 1.0
"""Seconds from which on a start is late."""
NOTHING_YET = "there is no walk-forward yet; next: kobe walk-forward"


def run_weekly_report(ctx: Context, session: date | None = None) -> Document:
    """Write the report of the week a session is in (default: the last complete one), up to the last complete one."""
    newest = ctx.calendar.last_complete(ctx.clock.now())
    week = sessions_of_week(ctx, session or newest, newest)
    first, last = week[0], week[-1]
    end = until(ctx, last)
    records = known.read(ctx, end)
    closed = known.closed_trades(ctx, records)
    points = known.equity_points(ctx, last)
    holdings, _ = held.holdings(ctx, records, last, ask=end == ctx.clock.now(), before_open=False)
    found, silence = refused.refusals(ctx, first, last, end)
    evidence, unknown = _evidence(ctx, first)
    ran = [r for day in week for r in runs.of_session(ctx.ledger, day) if r.finished <= end]
    spans = {WEEK: first, MONTH: last.replace(day=1), START: date.min}
    document = weekly.build(
        weekly.Week(
            sessions=week, days={day: known.profit(closed, points, day, day) for day in week},
            profit={span: known.profit(closed, points, since, last) for span, since in spans.items()},
            closed=[t for t in closed if first <= t.closed <= last], holdings=holdings,
            curve=points[-known.SHOWN_CLOSES :], refused=found, silence=silence, evidence=evidence,
            evidence_silence=unknown, models=_models(ctx, last), drift=standings(ctx, last), jobs=_lateness(ctx, ran),
            ended_badly=[(r.job, str(r.session), r.status, r.detail[:SHOWN]) for r in ran
                         if r.status not in (runs.DONE, runs.UNFINISHED)],
            mode=known.mode_at(ctx, end).mode.name, banners=known_banners(ctx),
        )
    )  # fmt: skip
    report_files.write(ctx, ctx.paths.of_session(last), WEEKLY, document)
    return document


def sessions_of_week(ctx: Context, session: date, newest: date) -> Sequence[date]:
    """Return the sessions of a session's week that are over.

    Raises:
        UsageError: none of it is.
    """
    monday = session - timedelta(days=session.weekday())
    found = ctx.calendar.between(monday, min(monday + timedelta(days=6), newest))
    if not found:
        raise UsageError(
            "no session of that week is over", seen=session, expected=f"{newest} or earlier",
            next_command="kobe weekly-report",
        )  # fmt: skip
    return found


def _evidence(ctx: Context, first: date) -> tuple[list[Evidence], str]:
    """Return the walk-forward's figures as they stand now beside those of the last report before this week."""
    before = _last_report(ctx, first)
    found = []
    for name in ctx.settings.strategies:
        path = ctx.paths.walk_forward / name / SUMMARY
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            figures = _figures_of(told)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return [], f"the walk-forward of {name} cannot be read: {error}"
        was = before.get(name) or {}
        found.append(
            Evidence(strategy=name, through=str(told.get("evidence_through")), figures=figures,
                     before_through=was.get("through"), before={key: was.get(key) for key in FIGURES})
        )  # fmt: skip
    return found, "" if found else NOTHING_YET


def _figures_of(told: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of a summary by the keys of `FIGURES`; what it does not tell is None."""
    parts = [told.get(part) or {} for part in ("trades", "curve", "statistics")]
    found: dict[str, float | None] = {}
    for key in FIGURES:
        values = [part[key] for part in parts if part.get(key) is not None]
        found[key] = float(values[0]) if values else None
    return found


def _last_report(ctx: Context, first: date) -> dict[str, Any]:
    """Return the evidence as the newest weekly report before a session told it; nothing where none can be read."""
    days = os.listdir(ctx.paths.reports) if ctx.paths.reports.is_dir() else []  # noqa: PTH208 - one of each session
    for day in sorted((name for name in days if name < str(first)), reverse=True):
        try:
            told = json.loads((ctx.paths.reports / day / f"{WEEKLY}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict) and isinstance(told.get("evidence"), dict):
            evidence: dict[str, Any] = told["evidence"]
            return evidence
    return {}


def _models(ctx: Context, last: date) -> Models:
    """Say who speaks about the week's last session, who is heard beside it, and how the newest candidate was judged."""
    entries = {e.model_id: e for e in ctx.models.entries()}
    champion = ctx.models.champion(last)
    shadow = ctx.models.shadow_at(last)
    waiting = [e for e in entries.values() if e.state == registry.CANDIDATE and e.knowable_from <= last]
    challenger = shadow or (waiting[-1].model_id if waiting else None)
    judged, lines = _verdict(ctx)
    return Models(
        champion=_named(entries, champion, "none; next: kobe promote"),
        challenger=_named(entries, challenger, "none waits"),
        spoke=0 if shadow is None else ctx.models.sessions_spoken(shadow),
        wanted=0 if shadow is None else ctx.settings.meta.shadow_sessions, judged=judged, lines=lines,
    )  # fmt: skip


def _named(entries: dict[str, registry.Entry], model_id: str | None, nobody: str) -> str:
    if model_id is None:
        return nobody
    e = entries[model_id]
    return f"{model_id} ({e.kind.replace('_', ' ')}, {e.state}, evidence to {e.knowable_from})"


def _verdict(ctx: Context) -> tuple[str, list[tuple[str, float | None, str, str]]]:
    """Return whom the newest promotion judged and every condition; nothing where the chain cannot be read."""
    try:
        for told in (record.payload for record in audit_newest.newest(ctx.paths.audit, PROMOTE)):
            if told.get("judged") and told.get("lines"):
                lines = [(n["name"], n["value"], n["threshold"], "pass" if n["passed"] else "fail")
                         for n in told["lines"]]  # fmt: skip
                return str(told["judged"]), lines
    except KobeError as error:
        return f"nobody: {error.message}", []
    return "nobody", []


def _lateness(ctx: Context, ran: Sequence[JobRecord]) -> list[Lateness]:
    """Return each job's runs of the week; a run is late by what lies between its time and its start."""
    from kobe.app.jobs import JOBS

    slots = {job.name: job.slot for job in JOBS}
    found = []
    for name in dict.fromkeys(r.job for r in ran):
        mine = [r for r in ran if r.job == name]
        firsts = {r.session: r for r in reversed(mine) if r.status != runs.MISSED}
        late = [
            ((r.started - at).total_seconds(), day)
            for day, r in firsts.items()
            if name in slots and (at := _instant(ctx, slots[name], day)) is not None
        ]
        worst = max((one for one in late if one[0] >= LATE_S), default=(None, None))
        found.append(
            Lateness(job=name, runs=sum(r.status != runs.MISSED for r in mine),
                     bad=sum(r.status in (*runs.BAD_ENDS, runs.GIVEN_UP) for r in mine),
                     missed=sum(r.status == runs.MISSED for r in mine), latest_s=worst[0], latest_session=worst[1])
        )  # fmt: skip
    return found


def _instant(ctx: Context, slot: Any, day: date) -> datetime | None:
    at: datetime | None = slot.instant(ctx.calendar, day)
    return at
