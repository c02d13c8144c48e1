"""What watching looks at: one frozen bundle that alerts, health and metrics all read, so that they never disagree.

Everything comes from this home's own records. The broker, the providers and a store that lies elsewhere are not asked.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from kobe.app import breakers, desk, equity, protect, standing
from kobe.app.audit import audit_report, end_fault
from kobe.app.context import Context
from kobe.app.gates import DECISION
from kobe.app.operation_settings import WatchSettings
from kobe.app.watching import anomalies, data_age, heartbeat, job_watch
from kobe.app.watching.data_age import BarFacts
from kobe.app.watching.heartbeat import Heartbeat
from kobe.app.watching.job_watch import JobFacts
from kobe.core.clock import SteppingClock, from_ns, new_york_date
from kobe.core.errors import IntegrityError, ModelError
from kobe.core.ports import Event
from kobe.core.types import OrderStatus, Outcome
from kobe.execution import book, exits
from kobe.execution.oms import Oms
from kobe.infra import processes
from kobe.infra.outbox_store import OutboxStore, State
from kobe.infra.records import audit
from kobe.infra.records.audit_lines import read_head
from kobe.reports.anomalies import Reading, Source
from kobe.risk import mode
from kobe.risk.breakers import BreakerState

BEATS_MISSED = 4
DAY_RECORDS = 1_000
_UNCLEAR = (OrderStatus.UNKNOWN, OrderStatus.SENT, OrderStatus.INTENT)
_DEAD = State.DEAD
_WAITING = (State.WAITING, State.SENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFacts:
    """The books by our own ledger, raw dollars; None where nobody knows.

    Attributes:
        orders: how many by status.
        unclear: (client order id, status, since) of orders whose end nobody knows.
        unprotected: (symbol, since) of positions without an order that guards every share.
        overstayed: (symbol, session) of positions that should have been closed in a session that is over.
        positions: how many are open; `cost_usd` what was paid for them.
        realised_usd: net of every finished trade; open_usd: of what is held, at the last close.
        marked: session of the last close that equity and cash were kept of.
        day_used_usd, day_limit_usd: opening notional of the New York date.
    """

    orders: Mapping[str, int]
    unclear: tuple[tuple[str, str, datetime], ...]
    unprotected: tuple[tuple[str, datetime], ...]
    overstayed: tuple[tuple[str, date], ...]
    positions: int
    cost_usd: Decimal
    realised_usd: Decimal
    open_usd: Decimal | None
    marked: date | None
    equity_usd: Decimal | None
    cash_usd: Decimal | None
    day_used_usd: Decimal
    day_limit_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that is watched, at one instant.

    Attributes:
        now: instant; bounds: what counts as odd, late, old or short.
        run_mode: what kind of trading this home does.
        beat: the runner's last sign of life, None where none works; beat_limit_s: the age that is silence.
        kill_reason: why everything is blocked, or None.
        bars: None where there are none, or where they lie elsewhere.
        model_id, model_until: the champion and the last close of its evidence; model_fault: why it is refused.
        drift, calibration: levels by strategy, and the strategies whose calibration stands out.
        refusals: (gate, code) -> refused openings of the New York date.
        audit_records: of the chain; audit_fault: what is wrong with its end, empty when nothing is.
        waiting, dead: messages on their way and given up; None without an outbox.
        disk_free_bytes, memory_bytes: of the home's disk, and of processes by name.
        back_s: seconds that the newest record lies in the future: the clock was set back.
        odd: odd readings of the last session's bars, None where nobody looked; why: symbol -> why it is watched.
        sources: how old the data are, none where nobody looked.
    """

    now: datetime
    bounds: WatchSettings
    run_mode: str
    mode: mode.State
    kill_reason: str | None
    beat: Heartbeat | None
    beat_limit_s: float
    jobs: tuple[JobFacts, ...]
    bars: BarFacts | None
    books: BookFacts
    breakers: Mapping[str, BreakerState]
    model_id: str | None
    model_until: datetime | None
    model_fault: str
    drift: Mapping[str, str]
    calibration: tuple[str, ...]
    refusals: Mapping[tuple[str, str], int]
    audit_records: int
    audit_fault: str
    waiting: int | None
    dead: int | None
    disk_free_bytes: int
    memory_bytes: Mapping[str, int]
    back_s: float
    odd: tuple[Reading, ...] | None = None
    why: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    @property
    def beat_age_s(self) -> float | None:
        """Seconds since the runner's last sign of life."""
        return None if self.beat is None else self.beat.age_s(self.now)

    @property
    def is_silent(self) -> bool:
        """Whether a runner that should give signs of life does not."""
        return self.beat_age_s is not None and self.beat_age_s > self.beat_limit_s


def collect(ctx: Context, *, bars: bool = False, chain: bool = False) -> Facts:
    """Gather the facts; without more they are read in hundredths of a second.

    Args:
        ctx: context.
        bars: also look at the bars themselves: prices of what is held, odd values, age of the tables.
        chain: also walk the whole audit chain, and not its end alone.

    Raises:
        KobeError: records cannot be read.
    """
    beat, limit_s = heartbeat.read(ctx), BEATS_MISSED * ctx.settings.schedule.heartbeat_s
    watched, jobs = anomalies.look(ctx) if bars else None, job_watch.jobs(ctx)
    newest = ctx.calendar.last_complete(ctx.clock.now())
    model_id = ctx.models.champion(newest)
    evidence = {e.model_id: ctx.calendar.closes_at(e.knowable_from) for e in ctx.models.entries()}
    waiting, dead = _outbox(ctx)
    head = read_head(ctx.paths.audit)
    return Facts(
        now=ctx.clock.now(), bounds=ctx.settings.watch, run_mode=ctx.settings.run.mode,
        mode=desk.current_mode(ctx), kill_reason=ctx.kill_switch.reason() if ctx.paths.state.is_dir() else None,
        beat=beat, beat_limit_s=limit_s, jobs=jobs, bars=data_age.bar_facts(ctx),
        books=_books(ctx, bars=bars),
        breakers=breakers.states(ctx), model_id=model_id, model_until=evidence.get(model_id or ""),
        model_fault=_model_fault(ctx, model_id),
        drift=standing.states_at(ctx, newest), calibration=_calibration(ctx), refusals=_refusals(ctx),
        audit_records=head.seq if head else 0, audit_fault=_audit_fault(ctx, chain=chain), waiting=waiting, dead=dead,
        disk_free_bytes=_disk_free(ctx), memory_bytes=_memory(ctx, beat, limit_s), back_s=_back_s(ctx, beat, jobs),
        odd=None if watched is None else tuple(watched.odd), why={} if watched is None else watched.names,
        sources=() if watched is None else tuple(watched.sources),
    )  # fmt: skip


def _books(ctx: Context, *, bars: bool) -> BookFacts:
    oms = desk.manager(ctx)
    orders, books, intents = oms.orders(), oms.book(), oms.intents()
    now, marks = ctx.clock.now(), _marks(ctx)
    last = marks[-1] if marks else None
    return BookFacts(
        orders=Counter(o.status.word for o in orders.values()),
        unclear=tuple((o.request.client_order_id, o.status.word, at) for o, at in intents if o.status in _UNCLEAR),
        unprotected=_unprotected(oms),
        overstayed=_overstayed(ctx, oms),
        positions=len(books.positions),
        cost_usd=sum((p.average_price * p.quantity for p in books.positions), Decimal(0)),
        realised_usd=sum((t.net_usd for t in books.trades), Decimal(0)),
        open_usd=anomalies.open_profit_usd(ctx, books.positions) if bars else None,
        marked=date.fromisoformat(last.entity) if last else None,
        equity_usd=Decimal(last.payload["equity_usd"]) if last else None,
        cash_usd=Decimal(last.payload["cash_usd"]) if last else None,
        day_used_usd=book.day_used_usd(intents, now),
        day_limit_usd=Decimal(ctx.limits.day_usd),
    )


def _marks(ctx: Context) -> list[Event]:
    """Return the closes that equity was kept of in this kind of trading, oldest session first."""
    mine = [e for e in ctx.ledger.events(equity.STREAM) if e.payload["environment"] == ctx.settings.run.mode]
    return sorted(mine, key=lambda e: e.entity)


def _unprotected(oms: Oms) -> tuple[tuple[str, datetime], ...]:
    """Return positions without a guard, those on their way out excepted: a guard beside the exit would sell twice."""
    orders, plans = oms.orders(), oms.plans()
    naked = [*protect.uncovered(oms), *(p for p in oms.book().positions if p.signal_id not in plans)]
    leaving = {p.signal_id for p in naked if exits.pending_close(orders.values(), p.signal_id) is not None}
    return tuple((p.symbol, p.opened) for p in naked if p.signal_id not in leaving)


def _overstayed(ctx: Context, oms: Oms) -> tuple[tuple[str, date], ...]:
    newest, plans = ctx.calendar.last_complete(ctx.clock.now()), oms.plans()
    planned = [(p.symbol, plans[p.signal_id].exit_session) for p in oms.book().positions if p.signal_id in plans]
    return tuple((symbol, day) for symbol, day in planned if day <= newest)


def _calibration(ctx: Context) -> tuple[str, ...]:
    """Return the strategies whose newest drift record names calibration."""
    newest = {e.entity: e for e in ctx.ledger.events(standing.STREAM)}
    return tuple(sorted(n for n, e in newest.items() if "calibration_error" in (e.payload.get("reasons") or ())))


def _refusals(ctx: Context) -> dict[tuple[str, str], int]:
    """Count what the gates refused on the New York date, as far back as the end of the chain reaches."""
    found = Counter[tuple[str, str]]()
    for record in audit.read(ctx.paths.audit, last=DAY_RECORDS, kind=DECISION):
        if new_york_date(datetime.fromisoformat(record.payload["as_of"])) != ctx.today:
            continue
        verdicts = record.payload["verdicts"]
        found.update((gate, code) for gate, outcome, code, *_ in verdicts if outcome == Outcome.REJECT.value)
    return dict(found)


def _audit_fault(ctx: Context, *, chain: bool) -> str:
    """Say what is wrong with the audit chain, or with its end alone; empty when nothing is."""
    if not chain:
        return end_fault(ctx)
    report = audit_report(ctx)
    return "" if report.ok else f"{report.problem} at record {report.first_bad_seq}: {report.detail}"


def _model_fault(ctx: Context, model_id: str | None) -> str:
    """Say why the champion is refused; empty when it is not, or when there is none."""
    try:
        if model_id is not None:
            ctx.models.load(model_id)
    except (IntegrityError, ModelError) as error:
        return error.message
    return ""


def _outbox(ctx: Context) -> tuple[int | None, int | None]:
    from kobe.app.notify import FILE

    store = OutboxStore(ctx.paths.state / FILE)
    if not store.exists:
        return None, None
    with store.work() as out:
        counts = out.counts()
    waiting = sum(n for (_, state), n in counts.items() if state in _WAITING)
    return waiting, sum(n for (_, state), n in counts.items() if state is _DEAD)


def _disk_free(ctx: Context) -> int:
    there = next(p for p in (ctx.paths.home, *ctx.paths.home.parents) if p.exists())
    return shutil.disk_usage(there).free


def _memory(ctx: Context, beat: Heartbeat | None, limit_s: float) -> dict[str, int]:
    """Return the memory of this process, and of the runner while it beats: later its number may be anybody's."""
    found = {"self": processes.group_memory_bytes(os.getpid())}
    if beat is not None and beat.age_s(ctx.clock.now()) <= limit_s:
        found["runner"] = processes.group_memory_bytes(beat.pid)
    return {name: n for name, n in found.items() if n}


def _back_s(ctx: Context, beat: Heartbeat | None, jobs: tuple[JobFacts, ...]) -> float:
    """Return how far the newest records lie in the future; a pretended present says nothing about the clock."""
    if isinstance(ctx.clock, SteppingClock):
        return 0.0
    instants = [] if beat is None else [beat.at]
    instants += [from_ns(e.at_ns) for e in ctx.ledger.events(mode.STREAM)[-1:]]
    instants += [j.ended for j in jobs if j.ended is not None]
    return max(((at - ctx.clock.now()).total_seconds() for at in instants), default=0.0)
