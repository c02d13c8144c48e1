"""`kobe metrics`: the numbers of a home for Prometheus, one line of a table each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from kobe import __version__
from kobe.app.context import Context
from kobe.app.watching import alerts, watch_facts
from kobe.app.watching.job_watch import JobFacts
from kobe.app.watching.watch_facts import Facts
from kobe.core.clock import to_ns
from kobe.infra import exposition
from kobe.infra.exposition import Family, Sample
from kobe.learning.drift_states import Level
from kobe.reports.document import Document, Section, Table
from kobe.risk.breakers import Status

_BREAKER = {Status.CLOSED: 0.0, Status.HALF_OPEN: 1.0, Status.OPEN: 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One line of the table: what Prometheus calls it, what it says, and how it follows from the facts."""

    name: str
    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    read: Callable[[Facts], Iterable[Sample]]


def _one(value: float | Decimal | bool | None) -> tuple[Sample, ...]:
    return () if value is None else (Sample(float(value), {}),)


def _seconds(instant: datetime | None) -> tuple[Sample, ...]:
    return () if instant is None else (Sample(to_ns(instant) / 1e9, {}),)


def _age_s(facts: Facts, instant: datetime | None) -> tuple[Sample, ...]:
    return () if instant is None else (Sample((facts.now - instant).total_seconds(), {}),)


def _jobs(facts: Facts, value: Callable[[JobFacts], float | None]) -> list[Sample]:
    told = ((job.name, value(job)) for job in facts.jobs)
    return [Sample(found, {"job": name}) for name, found in told if found is not None]


def _alerts(facts: Facts) -> list[Sample]:
    """How many findings each alert has; one that these facts do not tell about has no sample."""
    told = ((rule, rule.condition(facts)) for rule in alerts.ALERTS)
    return [
        Sample(float(len(found)), {"alert": rule.name, "severity": rule.severity.word})
        for rule, found in told
        if found is not None
    ]


METRICS: tuple[Metric, ...] = (
    Metric(name="kobe_info", help="Version and kind of trading; always 1.",
           read=lambda f: [Sample(1.0, {"version": __version__, "mode": f.run_mode})]),
    Metric(name="kobe_facts_timestamp_seconds", help="When these numbers were read.",
           read=lambda f: _seconds(f.now)),
    Metric(name="kobe_equity_usd", help="Equity at the last close that was kept.",
           read=lambda f: _one(f.books.equity_usd)),
    Metric(name="kobe_cash_usd", help="Cash at the last close that was kept.", read=lambda f: _one(f.books.cash_usd)),
    Metric(name="kobe_realised_profit_usd", help="Net result of every finished trade.",
           read=lambda f: _one(f.books.realised_usd)),
    Metric(name="kobe_open_profit_usd", help="Gain of what is held at the last close, before fees.",
           read=lambda f: _one(f.books.open_usd)),
    Metric(name="kobe_positions", help="Open positions.", read=lambda f: _one(f.books.positions)),
    Metric(name="kobe_positions_cost_usd", help="What was paid for the open positions.",
           read=lambda f: _one(f.books.cost_usd)),
    Metric(name="kobe_positions_unprotected", help="Positions without an order that guards every share.",
           read=lambda f: _one(len(f.books.unprotected))),
    Metric(name="kobe_orders", help="Orders by status, all there ever were.",
           read=lambda f: [Sample(float(n), {"status": s}) for s, n in sorted(f.books.orders.items())]),
    Metric(name="kobe_gate_refusals_today", help="Verdicts that refused an order on this New York date.",
           read=lambda f: [Sample(float(n), {"gate": g, "code": c}) for (g, c), n in sorted(f.refusals.items())]),
    Metric(name="kobe_budget_used_usd", help="Opening notional of this New York date, reservations included.",
           read=lambda f: _one(f.books.day_used_usd)),
    Metric(name="kobe_budget_limit_usd", help="Most opening notional of a New York date.",
           read=lambda f: _one(f.books.day_limit_usd)),
    Metric(name="kobe_job_last_success_timestamp_seconds", help="When a job was done last.",
           read=lambda f: _jobs(f, lambda j: None if j.succeeded is None else to_ns(j.succeeded) / 1e9)),
    Metric(name="kobe_job_last_duration_seconds", help="How long a job took when it was done last.",
           read=lambda f: _jobs(f, lambda j: j.duration_s)),
    Metric(name="kobe_job_failures", help="Bad ends of a job in the last ten sessions with runs.",
           read=lambda f: _jobs(f, lambda j: float(j.failures))),
    Metric(name="kobe_job_lateness_seconds", help="How long after its slot a job began, or is behind while it has not.",
           read=lambda f: _jobs(f, lambda j: j.late_s)),
    Metric(name="kobe_job_overdue", help="Whether a job is due and has not begun.",
           read=lambda f: _jobs(f, lambda j: float(j.overdue is not None))),
    Metric(name="kobe_bars_age_seconds", help="Since the close of the newest bar.",
           read=lambda f: _age_s(f, f.bars.closed if f.bars else None)),
    Metric(name="kobe_bars_sessions_behind", help="Sessions the newest bar is behind what is due.",
           read=lambda f: _one(f.bars.behind if f.bars else None)),
    Metric(name="kobe_source_old", help="Whether a kind of data had no delivery for too long.",
           read=lambda f: [Sample(float(s.is_old), {"source": s.name}) for s in f.sources if s.is_old is not None]),
    Metric(name="kobe_odd_readings", help="Odd values of held, picked and market names in the last session.",
           read=lambda f: _one(None if f.odd is None else len(f.odd))),
    Metric(name="kobe_model_present", help="Whether a champion may speak.",
           read=lambda f: _one(f.model_id is not None)),
    Metric(name="kobe_model_age_seconds", help="Since the last close of the champion's evidence.",
           read=lambda f: _age_s(f, f.model_until)),
    Metric(name="kobe_drift_state", help="0 NORMAL, 1 WATCH, 2 HALF_SIZE, 3 STAND_DOWN.",
           read=lambda f: [Sample(float(Level[v]), {"strategy": n}) for n, v in sorted(f.drift.items())]),
    Metric(name="kobe_breaker_state", help="0 closed, 1 half open, 2 open.",
           read=lambda f: [Sample(_BREAKER[s.status], {"breaker": n}) for n, s in f.breakers.items()]),
    Metric(name="kobe_mode", help="0 NORMAL, 1 REDUCED, 2 REDUCE_ONLY, 3 CLOSE_ONLY, 4 HALT.",
           read=lambda f: _one(int(f.mode.mode))),
    Metric(name="kobe_kill_switch", help="Whether the kill switch blocks.",
           read=lambda f: _one(f.kill_reason is not None)),
    Metric(name="kobe_audit_records", help="Records of the audit chain.",
           read=lambda f: _one(f.audit_records)),
    Metric(name="kobe_audit_sound", help="Whether the end of the audit chain hangs together.",
           read=lambda f: _one(not f.audit_fault)),
    Metric(name="kobe_outbox_waiting", help="Messages that are on their way.", read=lambda f: _one(f.waiting)),
    Metric(name="kobe_outbox_dead", help="Messages that were given up.", read=lambda f: _one(f.dead)),
    Metric(name="kobe_disk_free_bytes", help="Space left on the disk of the home.",
           read=lambda f: _one(f.disk_free_bytes)),
    Metric(name="kobe_resident_memory_bytes", help="Memory of a process and of what it started.",
           read=lambda f: [Sample(float(n), {"process": p}) for p, n in sorted(f.memory_bytes.items())]),
    Metric(name="kobe_heartbeat_age_seconds", help="Since the runner's last sign of life.",
           read=lambda f: _one(f.beat_age_s)),
    Metric(name="kobe_alerts", help="What is wrong now, by alert.", read=_alerts),
)  # fmt: skip
"""Every metric; one line adds one."""


def render(facts: Facts) -> str:
    """Return the facts as Prometheus reads them."""
    return exposition.render(
        Family(name=m.name, help=m.help, kind=m.kind, samples=tuple(m.read(facts))) for m in METRICS
    )


def run_metrics(ctx: Context, file: str = "") -> Document:
    """Show the numbers; with a file write them there as well, whole or not at all.

    Args:
        ctx: context.
        file: relative to the home; node_exporter reads names that end in `.prom`.
    """
    facts = watch_facts.collect(ctx, bars=True)
    text = render(facts)
    if file:
        _write(ctx, file, text)
    rows = tuple(
        (m.name, ", ".join(f"{k}={v}" for k, v in sorted(s.labels.items())), s.value)
        for m in METRICS
        for s in m.read(facts)
    )
    return Document(
        schema="kobe.metrics/1",
        title=f"Metrics at {facts.now:%Y-%m-%d %H:%M:%S} UTC",
        summary=(f"{len(rows)} numbers" + (f", written to {ctx.paths.home / file}" if file else ""),),
        sections=(Section(title="", table=Table(columns=("metric", "labels", "value"), rows=rows)),),
        data={"text": text, "metrics": [{"name": n, "labels": labels, "value": v} for n, labels, v in rows]},
    )


def write_metrics(ctx: Context) -> None:
    """Write the numbers to `watch.metrics_file`, where that is set; called after each job.

    Raises:
        KobeError: records cannot be read, or the file cannot be written.
    """
    if ctx.settings.watch.metrics_file:
        _write(ctx, ctx.settings.watch.metrics_file, render(watch_facts.collect(ctx, bars=True)))


def _write(ctx: Context, file: str, text: str) -> None:
    ctx.artifacts.write(ctx.paths.home / file, text.encode(), wait=False)
