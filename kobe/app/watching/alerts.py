"""Alerts: one table of what may be wrong, judged over the facts, told once when it begins and once when it ends."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from kobe.app.context import Context
from kobe.app.watching import alert_rules, watch_facts
from kobe.app.watching.alert_rules import Condition
from kobe.app.watching.watch_facts import Facts
from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.errors import ExitCode
from kobe.core.messages import Message, Severity
from kobe.core.ports import Event
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

STREAM = "alerts"
RAISED, CLEARED = "raised", "cleared"
LEASE, LEASE_WAIT_S = "alerts", 10.0
Tell = Callable[[Message], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table.

    Attributes:
        name: what records and messages call it.
        severity: of its messages; INFO alone never makes a home unhealthy.
        meaning: what it says, for the list.
        condition: what is wrong by some facts; None where the facts do not tell, and then nothing begins or ends.
        remedy: the command that helps.
        health: the exit code of `kobe health` while it stands.
        tells: False where somebody else tells people already, such as the job itself.
    """

    name: str
    severity: Severity
    meaning: str
    condition: Condition
    remedy: str
    health: ExitCode = ExitCode.PARTIAL
    tells: bool = True


_URGENT, _WARNING, _INFO = Severity.URGENT, Severity.WARNING, Severity.INFO
ALERTS: tuple[Rule, ...] = (
    Rule(name="audit_damaged", severity=_URGENT, meaning="the end of the audit chain does not hang together",
         condition=alert_rules.audit_damaged, remedy="kobe audit verify", health=ExitCode.INTEGRITY),
    Rule(name="model_refused", severity=_URGENT, meaning="the promoted model is not the one that was registered",
         condition=alert_rules.model_refused, remedy="kobe models list", health=ExitCode.INTEGRITY),
    Rule(name="kill_switch", severity=_URGENT, meaning="the kill switch is on",
         condition=alert_rules.kill_switch, remedy="kobe resume", health=ExitCode.REFUSED),
    Rule(name="halted", severity=_URGENT, meaning="the mode is HALT",
         condition=alert_rules.halted, remedy="kobe mode show", health=ExitCode.REFUSED),
    Rule(name="unprotected", severity=_URGENT, meaning="a position lies without its protective order",
         condition=alert_rules.unprotected, remedy="kobe manage-exits"),
    Rule(name="exit_overdue", severity=_URGENT, meaning="a position is past its time exit",
         condition=alert_rules.exit_overdue, remedy="kobe manage-exits"),
    Rule(name="order_unknown", severity=_URGENT, meaning="nobody knows how an order ended",
         condition=alert_rules.order_unknown, remedy="kobe reconcile"),
    Rule(name="books_differ", severity=_URGENT, meaning="our books differ from the broker's",
         condition=alert_rules.books_differ, remedy="kobe reconcile"),
    Rule(name="runner_silent", severity=_URGENT, meaning="the runner gives no sign of life",
         condition=alert_rules.runner_silent, remedy="kobe run"),
    Rule(name="clock_back", severity=_URGENT, meaning="this machine's clock is wrong",
         condition=alert_rules.clock_back, remedy="set this machine's clock by a time server"),
    Rule(name="disk_low", severity=_URGENT, meaning="the disk of the home is nearly full",
         condition=alert_rules.disk_low, remedy="free some space"),
    Rule(name="mode", severity=_WARNING, meaning="the mode is worse than NORMAL",
         condition=alert_rules.worse_mode, remedy="kobe mode show"),
    Rule(name="breaker_open", severity=_WARNING, meaning="a circuit breaker refuses openings",
         condition=alert_rules.breaker_open, remedy="kobe limits breakers"),
    Rule(name="data_stale", severity=_WARNING, meaning="bars that are due are not there",
         condition=alert_rules.data_stale, remedy="kobe data fetch", health=ExitCode.DATA),
    Rule(name="job_failed", severity=_WARNING, meaning="the last run of a job failed",
         condition=alert_rules.job_failed, remedy="kobe jobs history --failed", tells=False),
    Rule(name="job_missed", severity=_WARNING, meaning="a job was missed or given up",
         condition=alert_rules.job_missed, remedy="kobe jobs history --failed", tells=False),
    Rule(name="job_late", severity=_WARNING, meaning="a job has not begun long after its slot",
         condition=alert_rules.job_late, remedy="kobe run"),
    Rule(name="model_missing", severity=_WARNING, meaning="no model was promoted",
         condition=alert_rules.model_missing, remedy="kobe walk-forward, then train-meta and promote"),
    Rule(name="drift", severity=_WARNING, meaning="a strategy's signals are not like its evidence",
         condition=alert_rules.drift, remedy="kobe drift"),
    Rule(name="calibration_drift", severity=_WARNING, meaning="the model's probabilities are off for recent signals",
         condition=alert_rules.calibration_drift, remedy="kobe drift"),
    Rule(name="memory_high", severity=_WARNING, meaning="the runner takes too much memory",
         condition=alert_rules.memory_high, remedy="kobe run, started anew"),
    Rule(name="dead_letters", severity=_WARNING, meaning="messages were given up",
         condition=alert_rules.dead_letters, remedy="kobe notify dead list"),
    Rule(name="odd_held", severity=_WARNING, meaning="a held name behaves unlike itself",
         condition=alert_rules.odd_held, remedy="kobe anomalies"),
    Rule(name="odd_watched", severity=_INFO, meaning="a pick or the market behaves unlike itself",
         condition=alert_rules.odd_watched, remedy="kobe anomalies"),
    Rule(name="source_old", severity=_INFO, meaning="a table beside the bars had no delivery for days",
         condition=alert_rules.source_old, remedy="kobe anomalies"),
)  # fmt: skip
"""Every alert, the worst first; one line and a condition in `alert_rules` add one."""
BY_NAME = {rule.name: rule for rule in ALERTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is wrong now; `subject` says which one where a rule may speak of several."""

    name: str
    subject: str
    severity: Severity
    words: str
    remedy: str
    since: datetime | None = None

    @property
    def entity(self) -> str:
        """Its identity in the ledger."""
        return f"{self.name}:{self.subject}"

    def row(self) -> dict[str, str | None]:
        """Return it as JSON-ready values."""
        since = None if self.since is None else self.since.isoformat()
        return {**asdict(self), "severity": self.severity.word, "since": since}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What began, what ended and what stands, those that began included."""

    began: tuple[Alert, ...]
    ended: tuple[Alert, ...]
    standing: tuple[Alert, ...]


def evaluate(ctx: Context, facts: Facts | None = None) -> list[Alert]:
    """Return everything that is wrong now, the worst first; nothing is remembered or told.

    Args:
        ctx: context.
        facts: to judge by; None gathers them, bars and audit chain included.
    """
    found = facts or watch_facts.collect(ctx, bars=True, chain=True)
    since = {a.entity: a.since for a in remembered(ctx)}
    return [
        Alert(name=rule.name, subject=f.subject, severity=rule.severity, words=f.words, remedy=rule.remedy,
              since=since.get(f"{rule.name}:{f.subject}"))
        for rule in ALERTS
        for f in rule.condition(found) or ()
    ]  # fmt: skip


def watch(ctx: Context, tell: Tell, facts: Facts | None = None) -> Change:
    """Judge the facts, tell what began and what ended, and remember it; asked again, nothing is told again.

    A message is handed over before it is remembered: a process killed in between tells it again under the same key,
    which the notifier knows.

    Args:
        ctx: context.
        tell: takes a message and keeps it durably.
        facts: to judge by; None gathers them, bars and audit chain included.

    Raises:
        ExternalError: another process is at it.
    """
    found = facts or watch_facts.collect(ctx, bars=True, chain=True)
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, LEASE, ctx.clock).acquire(timeout_s=LEASE_WAIT_S):
        change = _compared(ctx, found)
        events = ctx.ledger.events(STREAM)
        for kind, alerts in ((CLEARED, change.ended), (RAISED, change.began)):
            for alert in alerts:
                number = sum(e.entity == alert.entity for e in events) + 1
                _say(ctx, tell, alert, kind, f"{alert.entity}:{number}")
    return change


def _say(ctx: Context, tell: Tell, alert: Alert, kind: str, key: str) -> None:
    if BY_NAME[alert.name].tells if alert.name in BY_NAME else True:
        tell(_message(alert, kind, key))
    payload = {"severity": alert.severity.word, "words": alert.words, "remedy": alert.remedy}
    ctx.ledger.append(STREAM, alert.entity, kind, payload, key=key)


def _message(alert: Alert, kind: str, key: str) -> Message:
    """Say what began or ended; the end is told as loudly as the beginning, to the same people."""
    began = kind == RAISED
    return Message(
        key=f"alert:{key}", kind=f"alert_{alert.name}", severity=alert.severity,
        title=alert.words if began else f"over: {alert.words}", lines=(f"next: {alert.remedy}",) if began else (),
    )  # fmt: skip


def _compared(ctx: Context, facts: Facts) -> Change:
    now = {a.entity: a for a in evaluate(ctx, facts)}
    before = {a.entity: a for a in remembered(ctx)}
    untold = {rule.name for rule in ALERTS if rule.condition(facts) is None}
    ended = tuple(a for name, a in before.items() if name not in now and a.name not in untold)
    left = tuple(a for name, a in before.items() if name not in now and a.name in untold)
    return Change(
        began=tuple(a for name, a in now.items() if name not in before), ended=ended, standing=(*now.values(), *left)
    )  # fmt: skip


def remembered(ctx: Context) -> list[Alert]:
    """Return the alerts that began and have not ended, by the ledger."""
    last: dict[str, Event] = {e.entity: e for e in ctx.ledger.events(STREAM)}
    return [_of_event(e) for e in last.values() if e.kind == RAISED]


def _of_event(event: Event) -> Alert:
    name, _, subject = event.entity.partition(":")
    told = event.payload
    return Alert(
        name=name, subject=subject, severity=Severity[str(told["severity"]).upper()], words=str(told["words"]),
        remedy=str(told["remedy"]), since=from_ns(event.at_ns),
    )  # fmt: skip


def run_alerts_list(ctx: Context) -> Document:
    """Show every rule, and since when it stands."""
    standing = remembered(ctx)
    columns = ("alert", "severity", "says", "next")
    rows = tuple((r.name, r.severity.word, r.meaning, r.remedy) for r in ALERTS)
    return Document(
        schema="kobe.alerts/1",
        title="Alerts",
        summary=(f"{_counted(len(standing), 'alert')} of the last check stand; kobe alerts check looks now"
                 if standing else "None stands since the last check; kobe alerts check looks now",),
        sections=(*_table("Standing", standing),
                  Section(title="What may be wrong", table=Table(columns=columns, rows=rows))),
        data={
            "rules": [
                {"name": r.name, "severity": r.severity.word, "meaning": r.meaning, "remedy": r.remedy,
                 "health": int(r.health)}
                for r in ALERTS
            ],
            "standing": [a.row() for a in standing],
        },
    )  # fmt: skip


def run_alerts_check(ctx: Context, tell: Tell | None = None) -> Document:
    """Judge now; with `tell` also tell and remember what began and ended."""
    if tell is None:
        return _checked(evaluate(ctx), (), dry_run=True)
    change = watch(ctx, tell)
    return _checked(change.standing, change.ended, dry_run=False)


def _checked(standing: Iterable[Alert], ended: Iterable[Alert], *, dry_run: bool) -> Document:
    found, over = list(standing), list(ended)
    dry = " (--dry-run: nobody was told)" if dry_run else ""
    return Document(
        schema="kobe.alerts_check/1",
        title="Alerts now",
        summary=(f"{_counted(len(found), 'alert')}{dry}" if found else f"Nothing is wrong{dry}",
                 *(f"over: {a.words}" for a in over)),
        sections=_table("", found),
        data={"alerts": [a.row() for a in found], "ended": [a.row() for a in over], "dry_run": dry_run},
        exit_code=ExitCode.PARTIAL if any(a.severity > Severity.INFO for a in found) else ExitCode.OK,
    )  # fmt: skip


def _table(title: str, alerts: list[Alert]) -> tuple[Section, ...]:
    """Return alerts as a table; the instants only where one is known."""
    if not alerts:
        return ()
    dated = any(a.since is not None for a in alerts)
    columns = ("alert", "severity", *(("since (ET)",) if dated else ()), "says", "next")
    rows = tuple(
        (a.name, a.severity.word, *((_since(a),) if dated else ()), a.words, a.remedy) for a in alerts
    )  # fmt: skip
    return (Section(title=title, table=Table(columns=columns, rows=rows)),)


def _since(alert: Alert) -> str:
    return "" if alert.since is None else f"{alert.since.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
