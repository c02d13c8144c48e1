"""Our books against the broker's: what differs is repaired by rule or halts openings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kobe.app import cash_book, desk
from kobe.app.cash_book import Money
from kobe.app.context import Context
from kobe.core.errors import ExternalError
from kobe.core.ports import Account
from kobe.core.types import Mode
from kobe.execution import reconcile
from kobe.execution.cash import Identity
from kobe.execution.oms import Oms
from kobe.execution.reconcile import Difference, Remedy, Theirs

SOURCE = "reconcile"
SEEN, FOUND = "in_flight", "found"
SECOND_LOOK = timedelta(seconds=10)  # a difference seen again after this long is no order on its way


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What comparing both books came to.

    Attributes:
        differences: everything that was found, what a rule repaired included.
        money: the cash taken apart since the last agreed sum of an earlier day; None before there is one.
        account: as the broker told it.
        orders: how many of the broker's were compared.
    """

    differences: tuple[Difference, ...]
    money: Identity | None
    account: Account
    orders: int

    @property
    def unsettled(self) -> tuple[Difference, ...]:
        """What is neither repaired nor harmless."""
        return tuple(d for d in self.differences if not d.is_settled)

    @property
    def why(self) -> str:
        """The result in words."""
        halting = [d for d in self.differences if d.halts]
        if halting:
            named = ", ".join(f"{d.kind} {d.subject} ({d.ours} here, {d.broker} there)" for d in halting[:3])
            return named + (f" and {len(halting) - 3} more" if len(halting) > 3 else "")
        if any(d.remedy is Remedy.WAIT for d in self.differences):
            return "an order is on its way: judged again in the next run"
        return f"{len(self.unsettled)} differences a rule repairs" if self.unsettled else "books are equal"


@dataclass(frozen=True, kw_only=True)
class _View:
    """One look at the broker: the orders first, so that what happens between the questions shows in the shares."""

    theirs: Theirs
    account: Account


def settle(ctx: Context, oms: Oms, *, repair: bool = True, adopt_cash: str = "") -> Settlement:
    """Compare both books, repair what a rule can, and set the mode by what is left.

    The caller holds the lease `orders`, unless nothing is to be repaired.

    Args:
        ctx: context.
        oms: the order manager.
        repair: False only looks.
        adopt_cash: why the broker's cash is to be believed whatever our book says; empty: it is not.

    Raises:
        ExternalError: the broker cannot be reached.
    """
    view = _look(ctx, oms)
    found, adopted = _compared(oms, view, repair=repair)
    if any(reconcile.may_wait(d, oms.orders().values()) for d in found):
        view = _look(ctx, oms)
        found, more = _compared(oms, view, repair=repair)
        adopted += more
    money = cash_book.look(ctx, oms, view.account, view.theirs.orders.values())
    left = _waited(ctx, oms, [*found, *money.differences], repair=repair)
    left = [replace(d, remedy=Remedy.BOOK, do=adopt_cash) if adopt_cash and d.kind == "cash" else d for d in left]
    if repair:
        left = _booked(ctx, money, left, adopt_cash)
    told = (*adopted, *left)
    result = Settlement(
        differences=told, money=money.today, account=view.account, orders=len(view.theirs.orders)
    )  # fmt: skip
    if repair:
        _keep(ctx, told)
        differs = any(d.halts or d.remedy is Remedy.WAIT for d in told)
        desk.set_mode(ctx, SOURCE, Mode.REDUCE_ONLY if differs else Mode.NORMAL, result.why)
    return result


def found_since(ctx: Context, sequence: int) -> list[dict[str, Any]]:
    """Return every difference that was kept after an event of the ledger, oldest first."""
    return [d for e in ctx.ledger.events(SOURCE, entity=FOUND, after=sequence) for d in e.payload["differences"]]


def in_flight(ctx: Context) -> list[str]:
    """Return what the last comparison left to be judged again, in words."""
    return [f"{kind} {subject}: {ours} here, {broker} there" for kind, subject, ours, broker in _seen(ctx)]


def _keep(ctx: Context, told: Sequence[Difference]) -> None:
    """Keep what was found; the same again is no news."""
    events = ctx.ledger.events(SOURCE, entity=FOUND)
    document = {"differences": [d.document() for d in told]}
    if document != (events[-1].payload if events else {"differences": []}):
        ctx.ledger.append(SOURCE, FOUND, "found", document, key=f"{FOUND}:{len(events) + 1}")


def _look(ctx: Context, oms: Oms) -> _View:
    since = reconcile.since_when(oms.unfinished().values(), ctx.today)
    theirs = {o.client_order_id: o for o in ctx.broker.orders(since)}
    account = ctx.broker.account()
    held = reconcile.shares_by_symbol(oms.book().positions)
    differing = sorted(s for s, n in held.items() if account.positions.get(s, 0) not in (0, n))
    splits = _splits(ctx, differing) if differing else {}
    return _View(theirs=Theirs(orders=theirs, shares=account.positions, since=since, splits=splits), account=account)


def _splits(ctx: Context, symbols: Sequence[str]) -> dict[str, Decimal]:
    """Return the splits in force; they only give a difference its name, so silence names none."""
    session = ctx.calendar.previous_or_same(ctx.today)
    try:
        changes = ctx.broker.corporate_changes(symbols, session)
    except ExternalError:
        return {}
    return {c.symbol: c.ratio for c in changes if c.kind == "split" and c.ratio is not None}


def _compared(oms: Oms, view: _View, *, repair: bool) -> tuple[list[Difference], list[Difference]]:
    """Return what differs, and what was repaired on the way by writing the broker's word into the ledger."""
    found = _differences(oms, view)
    adopted = list[Difference]()
    for d in found:
        if repair and d.remedy is Remedy.ADOPT:
            adopted.append(_adopted(oms, view, d))
    if adopted:
        found = _differences(oms, view)
    failed = {d.subject: d for d in adopted if not d.done}
    return [failed.get(d.subject, d) for d in found], [d for d in adopted if d.done]


def _differences(oms: Oms, view: _View) -> tuple[Difference, ...]:
    ours = oms.recent(view.theirs.since, view.theirs.orders)
    return reconcile.compare(ours, oms.book().positions, view.theirs)


def _adopted(oms: Oms, view: _View, difference: Difference) -> Difference:
    """Write what the broker says of one order; what cannot be believed halts."""
    try:
        oms.adopt(view.theirs.orders[difference.subject])
    except ExternalError as error:
        return replace(difference, remedy=Remedy.HALT, do=f"{error.what}: {error.seen}")
    return replace(difference, done=True)


def _waited(ctx: Context, oms: Oms, found: list[Difference], *, repair: bool) -> list[Difference]:
    """Give what may be an order on its way one more run, and remember that it was seen."""
    now, known, orders = ctx.clock.now(), _seen(ctx), oms.orders().values()
    kept, result = dict[tuple[str, ...], datetime](), list[Difference]()
    for d in found:
        if reconcile.may_wait(d, orders):
            key = tuple(d.sighting)
            kept[key] = min(known.get(key, now), now)
            d = d if now - kept[key] >= SECOND_LOOK else reconcile.waiting(d)  # noqa: PLW2901 - judged on the way
        result.append(d)
    if repair and kept != known:
        count = len(ctx.ledger.events(SOURCE, entity=SEEN))
        seen = [[*key, at.isoformat()] for key, at in sorted(kept.items())]
        ctx.ledger.append(SOURCE, SEEN, "seen", {"seen": seen}, key=f"{SEEN}:{count + 1}")
    return result


def _seen(ctx: Context) -> dict[tuple[str, ...], datetime]:
    """Return what earlier comparisons left to be judged again, with the instant it was seen first."""
    events = ctx.ledger.events(SOURCE, entity=SEEN)
    told = events[-1].payload["seen"] if events else []
    return {tuple(key): datetime.fromisoformat(at) for *key, at in told}


def _booked(ctx: Context, money: Money, left: list[Difference], adopt_cash: str) -> list[Difference]:
    """Write the money into the cash book where nothing else differs; else it waits for that."""
    if any(d.remedy not in (Remedy.BOOK, Remedy.NOTE) for d in left):
        return left
    cash_book.book(ctx, money, adopt_cash)
    return [replace(d, done=True) if d.remedy is Remedy.BOOK else d for d in left]
