"""`kobe status`: the page a person looks at first, on the terminal and as STATUS.md at the top of the home."""

from dataclasses import replace
from datetime import UTC, date, datetime

from kobe.app import books, breakers, desk, scan
from kobe.app.audit import end_fault
from kobe.app.context import Context
from kobe.app.day.runs import BAD_ENDS, GIVEN_UP, MISSED, UNFINISHED, last_runs, standing
from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.errors import KobeError
from kobe.core.types import Mode, OrderStatus
from kobe.execution import exits
from kobe.infra.outbox import Outbox
from kobe.infra.records.audit import head_text
from kobe.infra.records.audit_lines import read_head
from kobe.reports import status
from kobe.reports.document import Document
from kobe.reports.render import markdown
from kobe.reports.status import Problem
from kobe.risk import mode


def audit_line(ctx: Context) -> str:
    """Return the head of the chain as a person may keep it: `kobe audit verify --head` compares the chain with it."""
    head = read_head(ctx.paths.audit)
    return "empty" if head is None else f"{head.seq} records, head {head_text(ctx.paths.audit)}"


def run_status(ctx: Context, *, write: bool = True) -> Document:
    """Collect the state of the home; with `write` also replace STATUS.md."""
    oms = desk.manager(ctx)
    state = desk.current_mode(ctx)
    positions = desk.position_lines(oms.book().positions)
    try:
        manifest = ctx.store.manifest()
        bars = f"{len(manifest.symbols)} symbols to {manifest.last} ({manifest.provenance.source})"
        banners = ctx.panel().banners
    except KobeError as error:
        bars, banners = error.message, ()
    document = status.build(
        status.State(
            as_of=ctx.clock.now(),
            run_mode=f"{ctx.settings.run.mode}, broker {ctx.broker.name}",
            mode=state.mode.name,
            mode_reason=state.why,
            mode_since=mode_since(state),
            kill_reason=ctx.kill_switch.reason() if ctx.paths.state.is_dir() else None,
            model=_model(ctx),
            bars=bars,
            pick=_pick(ctx),
            last_runs=last_runs(ctx.ledger, ctx.today),
            positions=positions,
            problems=problems(ctx),
            next_jobs=next_jobs(ctx),
            waiting=_waiting(ctx),
            audit=audit_line(ctx),
            banners=banners,
        )
    )
    if not write:
        return document
    try:
        ctx.artifacts.write(ctx.paths.home / "STATUS.md", markdown.render(document).encode())
    except KobeError as error:  # the page is still worth reading
        return replace(document, banners=(*document.banners, f"STATUS.md was not written: {error.message}"))
    return document


def _model(ctx: Context) -> str:
    model_id = ctx.models.champion(ctx.calendar.last_complete(ctx.clock.now()))
    if model_id is None:
        return "none promoted; next: kobe train-meta, kobe promote"
    entry = next(e for e in ctx.models.entries() if e.model_id == model_id)
    return f"{model_id} ({entry.kind}, evidence to {entry.knowable_from})"


def _pick(ctx: Context) -> str:
    session = ctx.calendar.last_complete(ctx.clock.now())
    chosen = scan.shown_trade_of_day(ctx, session)
    if chosen is None:
        return f"{session} not scanned yet"
    if chosen["action"] == scan.DAMAGED:
        return f"{session}: {chosen['reason']}"
    return f"{chosen['symbol'] or 'no trade'} for {chosen['valid_session']} ({chosen['reason']})"


def problems(ctx: Context) -> list[Problem]:
    """Return everything that needs a human, each with the instant since when it does where the records tell."""
    found = []
    if fault := end_fault(ctx):
        found.append(Problem(since=None, what=f"the audit chain is damaged: {fault}", next_command="kobe audit verify"))
    if ctx.paths.state.is_dir() and (reason := ctx.kill_switch.reason()) is not None:
        what = f"kill switch is on: {reason}"
        found.append(Problem(since=_switched_on(ctx), what=what, next_command="kobe resume"))
    state = desk.current_mode(ctx)
    if state.mode > Mode.REDUCED:
        what = f"mode {state.mode.name}: {state.why}"
        found.append(Problem(since=mode_since(state), what=what, next_command="kobe mode show"))
    found += _failed_runs(ctx)
    newest = ctx.calendar.last_complete(ctx.clock.now())
    picked = scan.shown_trade_of_day(ctx, newest)
    if picked is not None and picked["action"] == scan.DAMAGED:
        what = f"the picks of {newest} cannot be believed: {picked['reason']}"
        found.append(Problem(since=None, what=what, next_command=f"kobe scan --session {newest}"))
    found += [
        Problem(since=at, what=f"not settled with the broker yet: {what}", next_command="kobe reconcile")
        for what, at in _in_flight(ctx)
    ]
    tripped, known = breakers.open_breakers(ctx), breakers.states(ctx)
    found += [
        Problem(since=known[name].since, what=f"breaker {name}: {why}", next_command="kobe limits breakers")
        for name, why in tripped.items()
    ]
    return found + _order_problems(ctx)


def mode_since(state: mode.State) -> datetime | None:
    """Return since when the strictest mode is asked for; None in NORMAL."""
    return min((r.since for r in state.reasons if r.mode is state.mode), default=None)


def _switched_on(ctx: Context) -> datetime | None:
    """Return when the switch's file was written; the switch may be any kind of thing, or its folder out of reach."""
    try:
        written_s = (ctx.paths.state / "KILL_SWITCH").lstat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(written_s, UTC)


def _in_flight(ctx: Context) -> list[tuple[str, datetime]]:
    """Return what the last comparison left to be judged again, and when it was seen first."""
    seen = ctx.ledger.events(books.SOURCE, entity=books.SEEN)
    told = seen[-1].payload["seen"] if seen else []
    return [(what, datetime.fromisoformat(entry[-1])) for what, entry in zip(books.in_flight(ctx), told, strict=True)]


def _failed_runs(ctx: Context) -> list[Problem]:
    """Return each job whose newest run ended badly, since its first bad end in that session."""
    from kobe.app.jobs import remedy

    found = []
    for job, told, outcome, detail in last_runs(ctx.ledger, ctx.today):
        if outcome in (*BAD_ENDS, GIVEN_UP, MISSED, UNFINISHED):
            session = date.fromisoformat(told)
            ends = standing(ctx.ledger, job, session).bad_ends
            what = f"{job} of {session} {outcome.replace('_', ' ')}: {detail}"
            since = from_ns(ends[0].at_ns) if ends else None
            found.append(Problem(since=since, what=what, next_command=remedy(ctx, job, session, outcome)))
    return found


def _order_problems(ctx: Context) -> list[Problem]:
    oms = desk.manager(ctx)
    orders, plans = oms.orders(), oms.plans()
    unclear = (OrderStatus.UNKNOWN, OrderStatus.SENT, OrderStatus.INTENT)
    found = [
        Problem(since=oms.fold.intended(name), what=f"{name} is {known.status.word}", next_command="kobe reconcile")
        for name, known in oms.unfinished().items()
        if known.status in unclear
    ]
    newest = ctx.calendar.last_complete(ctx.clock.now())
    for p in oms.book().positions:
        plan = plans.get(p.signal_id)
        if exits.resting(orders.values(), p.signal_id) is None:
            what = f"{p.symbol} has no protective order"
            found.append(Problem(since=p.opened, what=what, next_command="kobe manage-exits"))
        if plan is not None and newest >= plan.exit_session:
            what = f"{p.symbol} is past its time exit"
            due = ctx.calendar.closes_at(plan.exit_session)
            found.append(Problem(since=due, what=what, next_command="kobe manage-exits"))
    return found


def next_jobs(ctx: Context) -> str:
    """Say which jobs come next, and when in New York."""
    from kobe.app.day.runner_once import next_slot
    from kobe.app.jobs import JOBS, jobs_of

    at = next_slot(ctx)
    if at is None:
        return "none: the calendar ends"
    day = at.astimezone(NEW_YORK).date()
    session = day if day in ctx.calendar else ctx.calendar.previous(day)
    names = [j.name for j in jobs_of(ctx, session) if j.slot.instant(ctx.calendar, session) == at]
    return f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M} ET: {', '.join(names) or f'one of {len(JOBS)} jobs'}"


def _waiting(ctx: Context) -> int | None:
    """Return how many messages have not left; None where none were ever written."""
    outbox = ctx.notifier
    try:
        return outbox.waiting() if isinstance(outbox, Outbox) and outbox.store.exists else None
    except KobeError:
        return None
