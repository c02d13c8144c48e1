"""Before any decision about orders: is it the right account, the same calendar, and do both books agree?"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from kobe.app import books, breakers, desk, equity, mode
from kobe.app.context import Context
from kobe.core.errors import ExternalError, IntegrityError, MissingDataError
from kobe.core.ports import Account
from kobe.core.types import Mode
from kobe.execution.oms import Oms
from kobe.infra.locks import Lease

LEASE_WAIT_S = 20.0
BINDING = "binding"
CALENDAR_AHEAD = 5


@contextmanager
def order_desk(ctx: Context) -> Iterator[Oms]:
    """Give the order manager to one process at a time, after the books were compared with the broker's.

    What an earlier process left open is looked up first; a difference with the broker halts openings before
    anything is decided.

    Raises:
        ExternalError: the broker cannot be reached, or another process holds the desk.
        IntegrityError: another account answered, or records are damaged.
    """
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=LEASE_WAIT_S):
        oms = desk.manager(ctx)
        start_up(ctx, oms)
        yield oms


def start_up(ctx: Context, oms: Oms) -> None:
    """Look up what is open, then compare account, calendar and books; what differs halts openings.

    Raises:
        ExternalError: the broker cannot be reached, or tells something that cannot be believed.
        IntegrityError: another account answered than the one this home trades.
    """
    try:
        oms.refresh(ctx.today)
    except ExternalError as error:
        desk.set_mode(ctx, "broker", Mode.REDUCE_ONLY, f"an order cannot be accounted for: {error.what}")
        raise
    desk.set_mode(ctx, "broker", Mode.NORMAL, "every open order was told")
    check_account(ctx, ctx.broker.account())
    check_calendar(ctx)
    settled = books.settle(ctx, oms)
    watch(ctx, oms, settled.account, [f"{d.kind} {d.subject}" for d in settled.differences if d.halts])


def check_account(ctx: Context, account: Account) -> None:
    """Refuse another account than the one of the settings, or than the first that ever answered this home.

    Raises:
        IntegrityError: another account answered.
    """
    environment = ctx.broker.environment
    bound = [e.payload["account_id"] for e in ctx.ledger.events(BINDING, entity=environment)]
    expected = ctx.settings.broker.account_id if environment != "sim" else ""
    expected = expected or (bound[0] if bound else account.account_id)
    if account.account_id != expected:
        raise IntegrityError(
            "another account answered than the one this home trades", seen=f"{environment} {account.account_id}",
            expected=expected, next_command="kobe broker account",
        )  # fmt: skip
    if not bound:
        ctx.ledger.append(BINDING, environment, "account", {"account_id": expected}, key=environment)
        ctx.audit.append("account_bound", {"environment": environment, "account_id": expected})


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
        orders=list(oms.orders().values()), newest=_newest_bar(ctx),
        differences=differences,
    )  # fmt: skip
    breakers.watch(ctx, facts)
    mode.watch_drawdown(ctx, account.equity_usd, money.last_usd, money.month_peak_usd)


def _newest_bar(ctx: Context) -> date | None:
    try:
        return ctx.store.manifest().last
    except MissingDataError:
        return None
