"""`kobe status`: the page a person looks at first, on the terminal and as STATUS.md at the top of the home."""

from kobe.app import books, breakers, desk, scan
from kobe.app.context import Context
from kobe.app.runs import last_runs
from kobe.core.errors import KobeError
from kobe.core.types import Mode, OrderStatus
from kobe.execution import exits
from kobe.infra.records.audit import head_text
from kobe.infra.records.audit_lines import read_head
from kobe.reports import status
from kobe.reports.document import Document
from kobe.reports.render import markdown
from kobe.reports.status import Problem


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
            kill_reason=ctx.kill_switch.reason() if ctx.paths.state.is_dir() else None,
            model=_model(ctx),
            bars=bars,
            pick=_pick(ctx),
            last_runs=last_runs(ctx.ledger),
            positions=positions,
            problems=problems(ctx),
            audit=audit_line(ctx),
            banners=banners,
        )
    )
    if write:
        ctx.artifacts.write(ctx.paths.home / "STATUS.md", markdown.render(document).encode())
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
    """Return everything that needs a human."""
    found = []
    if ctx.paths.state.is_dir() and (reason := ctx.kill_switch.reason()) is not None:
        found.append(Problem(since=None, what=f"kill switch is on: {reason}", next_command="kobe resume"))
    state = desk.current_mode(ctx)
    if state.mode > Mode.REDUCED:
        found.append(Problem(since=None, what=f"mode {state.mode.name}: {state.why}", next_command="kobe mode show"))
    for job, session, outcome, detail in last_runs(ctx.ledger):
        if outcome == "failed":
            what = f"{job} of {session} failed: {detail}"
            found.append(Problem(since=None, what=what, next_command=f"kobe jobs run {job}"))
    newest = ctx.calendar.last_complete(ctx.clock.now())
    picked = scan.shown_trade_of_day(ctx, newest)
    if picked is not None and picked["action"] == scan.DAMAGED:
        what = f"the picks of {newest} cannot be believed: {picked['reason']}"
        found.append(Problem(since=None, what=what, next_command=f"kobe scan --session {newest}"))
    waiting = [f"not settled with the broker yet: {what}" for what in books.in_flight(ctx)]
    found += [Problem(since=None, what=what, next_command="kobe reconcile") for what in waiting]
    tripped = [f"breaker {name}: {why}" for name, why in breakers.open_breakers(ctx).items()]
    found += [Problem(since=None, what=what, next_command="kobe limits breakers") for what in tripped]
    return found + _order_problems(ctx)


def _order_problems(ctx: Context) -> list[Problem]:
    oms = desk.manager(ctx)
    orders, plans = oms.orders(), oms.plans()
    instants = {o.request.client_order_id: at for o, at in oms.intents()}
    unclear = (OrderStatus.UNKNOWN, OrderStatus.SENT, OrderStatus.INTENT)
    found = [
        Problem(since=instants[name], what=f"{name} is {known.status.word}", next_command="kobe reconcile")
        for name, known in orders.items()
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
            found.append(Problem(since=p.opened, what=what, next_command="kobe manage-exits"))
    return found
