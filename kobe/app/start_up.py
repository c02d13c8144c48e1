"""Before any decision about orders: is it the right account, the same calendar, and do both books agree?"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from kobe.app import books, breakers, desk, equity, mode
from kobe.app.context import Context
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, MissingDataError
from kobe.core.ports import Account
from kobe.core.types import Mode
from kobe.execution.oms import Oms
from kobe.infra.locks import Lease

LEASE_WAIT_S = 20.0
BINDING = "binding"
CALENDAR_AHEAD = 5


@contextmanager
def order_desk(ctx: Context, *, closing: bool = False) -> Iterator[Oms]:
    """Give the order manager to one process at a time, after the books were compared with the broker's.

    What an earlier process left open is looked up first; a difference with the broker halts openings before
    anything is decided.

    Args:
        ctx: context.
        closing: only what closes will be sent: what cannot be compared halts openings, and closing goes on.

    Raises:
        ExternalError: the broker cannot be reached, or another process holds the desk.
        IntegrityError: another account answered, or records are damaged.
    """
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=LEASE_WAIT_S):
        oms = desk.manager(ctx)
        start_up(ctx, oms, closing=closing)
        yield oms


def start_up(ctx: Context, oms: Oms, *, closing: bool = False) -> None:
    """See that it is the right account, look up what is open, then compare calendar and books.

    Raises:
        ExternalError: the broker cannot be reached, or tells something that cannot be believed; with `closing` only
            where the account itself does not answer.
        IntegrityError: another account answered than the one this home trades.
        ConfigError: the account changed while something is open in the one before.
    """
    account = ctx.broker.account()
    check_account(ctx, oms, account)
    with _halting(ctx, "broker", "an order cannot be accounted for", closing=closing):
        oms.refresh(ctx.today)
    with _halting(ctx, "calendar", "the broker's calendar is not known", closing=closing):
        check_calendar(ctx)
    with _halting(ctx, "comparison", "the books were not compared", closing=closing):
        settled = books.settle(ctx, oms)
        watch(ctx, oms, settled.account, [f"{d.kind} {d.subject}" for d in settled.differences if d.halts])


@contextmanager
def _halting(ctx: Context, source: str, what: str, *, closing: bool) -> Iterator[None]:
    """Halt openings while something cannot be asked; what closes goes on without it."""
    try:
        yield
    except ExternalError as error:
        desk.set_mode(ctx, source, Mode.REDUCE_ONLY, f"{what}: {error.what}")
        if not closing:
            raise
    else:
        if source != "calendar":
            desk.set_mode(ctx, source, Mode.NORMAL, "told")


def check_account(ctx: Context, oms: Oms, account: Account) -> None:
    """Refuse another account than the one of the settings, or than the first that ever answered this home.

    Raises:
        IntegrityError: another account answered.
        ConfigError: the mode of the settings changed while something is open in the account before.
    """
    environment = ctx.broker.environment
    events = ctx.ledger.events(BINDING)
    bound = [e.payload["account_id"] for e in events if e.entity == environment]
    expected = ctx.settings.broker.account_id if environment != "sim" else ""
    expected = expected or (bound[-1] if bound else account.account_id)
    if account.account_id != expected:
        raise IntegrityError(
            "another account answered than the one this home trades", seen=f"{environment} {account.account_id}",
            expected=expected, next_command="kobe broker account",
        )  # fmt: skip
    if events and events[-1].entity == environment and bound[-1] == expected:
        return
    if events:
        _check_flat(ctx, oms, events[-1].entity)
    payload = {"account_id": expected}
    ctx.ledger.append(BINDING, environment, "account", payload, key=f"{environment}:{len(events) + 1}")
    ctx.audit.append("account_bound", {"environment": environment, **payload})


def _check_flat(ctx: Context, oms: Oms, before: str) -> None:
    """Refuse to carry what is open in one account over to another."""
    names = [p.symbol for p in oms.book().positions]
    names += list(oms.unfinished())
    if names:
        raise ConfigError(
            f"this home still trades {before}", seen=f"run.mode = {ctx.settings.run.mode}, open: {', '.join(names)}",
            expected=f"nothing open in {before}, or another home", next_command=f"run.mode = {before}; kobe flatten",
        )  # fmt: skip


def check_calendar(ctx: Context) -> None:
    """Compare the coming sessions with the broker's calendar; a difference halts openings until it is gone."""
    first = ctx.calendar.previous_or_same(ctx.today)
    last = ctx.calendar.offset(first, CALENDAR_AHEAD)
    ours = {d: (ctx.calendar.opens_at(d), ctx.calendar.closes_at(d)) for d in ctx.calendar.between(first, last)}
    theirs = ctx.broker.sessions(first, last)
    differs = sorted(str(d) for d in ours.keys() | theirs.keys() if ours.get(d) != theirs.get(d))
    wanted = Mode.REDUCE_ONLY if differs else Mode.NORMAL
    why = f"the broker's calendar differs on {', '.join(differs)}" if differs else "calendars agree"
    desk.set_mode(ctx, "calendar", wanted, why)


def watch(ctx: Context, oms: Oms, account: Account, differences: list[str]) -> None:
    """Let the breakers and SAFE_MODE look at the account, the last trades and orders, the errors and the bars."""
    money = equity.standing(ctx, account)
    facts = breakers.collect(
        ctx, equity_usd=account.equity_usd, last_equity_usd=money.last_usd, trades=oms.book().trades,
        orders=oms.orders(), newest=_newest_bar(ctx),
        differences=differences,
    )  # fmt: skip
    breakers.watch(ctx, facts)
    mode.watch_drawdown(ctx, account.equity_usd, money.last_usd, money.month_peak_usd)


def _newest_bar(ctx: Context) -> date | None:
    try:
        return ctx.store.manifest().last
    except MissingDataError:
        return None
