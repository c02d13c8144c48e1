"""The cash book of this home's account in the ledger: anchors, moves and fees, and what they say now."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from kobe.app.context import Context
from kobe.core.clock import new_york_date
from kobe.core.ports import Account, BrokerOrder, CashMove, Event
from kobe.core.units import to_cents
from kobe.execution import cash, order
from kobe.execution.cash import STREAM, Anchor, FeeShare, Identity
from kobe.execution.oms import Oms
from kobe.execution.reconcile import Cause, Difference, Remedy

ANCHOR, FEE = "anchor", "fee"
NOTHING = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Money:
    """The account's cash as it was looked at.

    Attributes:
        account: name of the account in the cash book.
        before: the last agreed sum; None in a new book.
        now: cash, day and sequence of this moment, as the next anchor.
        identity: the cash taken apart since `before`; None without an agreed sum.
        today: the same since the last agreed sum of an earlier day, or since the book began.
        moves: what came and went by other means, those known included.
        foreign: what orders placed by other means have brought.
        fees: fees to be spread over their sales.
        differences: what the book did not know.
    """

    account: str
    before: Anchor | None
    now: Anchor
    identity: Identity | None
    today: Identity | None
    moves: tuple[CashMove, ...]
    foreign: dict[str, Decimal]
    fees: tuple[FeeShare, ...]
    differences: tuple[Difference, ...]


def look(ctx: Context, oms: Oms, account: Account, theirs: Iterable[BrokerOrder]) -> Money:
    """Compare the account's cash with the book; nothing is written.

    Raises:
        ExternalError: the broker does not tell what came and went.
    """
    name = _name(ctx, account)
    anchors = ctx.ledger.events(STREAM, entity=name)
    before = Anchor.read(anchors[-1].payload) if anchors else None
    events = ctx.ledger.events(order.STREAM, after=0 if before is None else before.sequence)
    filled = [e for e in events if e.kind == "fill"]
    sequence = filled[-1].sequence if filled else 0 if before is None else before.sequence
    now = Anchor(cash_usd=account.cash_usd, day=ctx.today, sequence=sequence)
    moves = tuple(ctx.broker.cash_moves((before or now).moves_since))
    strangers = list(theirs)
    foreign = cash.foreign_flows(strangers)
    if before is None:
        return Money(account=name, before=None, now=now, identity=None, today=None, moves=moves, foreign=foreign,
                     fees=(), differences=())  # fmt: skip
    fills = [order.fill_from(e.payload) for e in filled]
    late = ctx.clock.now() - timedelta(days=cash.LATE_DAYS + 2)
    recent = cash.sales_of(
        f for o in oms.recent(new_york_date(late)).values() for f in o.fills if f.at >= late
    )  # fmt: skip
    free = cash.unpaid(recent, booked_fees(ctx), ctx.today)
    found = cash.identity(before, fills, moves, foreign, account.cash_usd)
    unexplained = cash.judge(found, fills, free, cash.fees_by_hand(before, strangers))
    fees: list[FeeShare] = []
    if cash.fresh(before, moves):  # a fee told late may belong to the last sales before it, however long ago
        fees = cash.fee_shares(before, moves, cash.sales_of(f for o in oms.orders().values() for f in o.fills))
    if unexplained is not None and unexplained.cause is Cause.FEE and unexplained.remedy is Remedy.BOOK:
        fees += [cash.untold_fee(found, free, ctx.today, len(anchors))] if free else []
        now = replace(now, ahead_usd=-found.difference_usd)
    named = [*cash.of_moves(cash.fresh(before, moves)), *([] if unexplained is None else [unexplained])]
    return Money(account=name, before=before, now=now, identity=found,
                 today=_since_yesterday(found, anchors, ctx.today), moves=moves, foreign=foreign,
                 fees=tuple(fees), differences=tuple(named))  # fmt: skip


def book(ctx: Context, money: Money, why: str = "") -> None:
    """Write down what came, what was charged, and the sum both sides agree on from now on."""
    after = cash.next_anchor(money.before, money.moves, money.foreign, money.now)
    if after == money.before:
        return
    count = len(ctx.ledger.events(STREAM, entity=money.account))
    document = after.document() | {"adopted": why, "step": None if money.identity is None else money.identity.agreed()}
    with ctx.ledger.exclusive():
        for move in () if money.before is None else cash.fresh(money.before, money.moves):
            payload = {"id": move.move_id, "kind": move.kind, "day": str(move.day), "usd": str(move.usd),
                       "detail": move.detail}  # fmt: skip
            ctx.ledger.append(STREAM, f"{money.account}:moves", "move", payload, key=f"{money.account}:{move.move_id}")
        for fee in money.fees:
            ctx.ledger.append(STREAM, FEE, "fee", fee.document(), key=f"{money.account}:fee:{fee.key}")
        ctx.ledger.append(STREAM, money.account, ANCHOR, document, key=f"{money.account}:anchor:{count + 1}")
    if why or money.differences:
        told = {"cash_usd": str(to_cents(after.cash_usd)), "reason": why, "booked": [d.do for d in money.differences]}
        ctx.audit.append("cash", told)


def booked_fees(ctx: Context) -> dict[str, Decimal]:
    """Return the fees that were booked to each order besides those of its fills."""
    found: dict[str, Decimal] = {}
    for event in ctx.ledger.events(STREAM, entity=FEE):
        for name, usd in event.payload["parts"].items():
            found[name] = found.get(name, Decimal(0)) + Decimal(usd)
    return found


def dividends(ctx: Context) -> list[CashMove]:
    """Return the dividends that were booked, oldest first."""
    return [
        CashMove(move_id=e.payload["id"], kind="dividend", day=date.fromisoformat(e.payload["day"]),
                 usd=Decimal(e.payload["usd"]), detail=e.payload["detail"])
        for e in ctx.ledger.events(STREAM)
        if e.kind == "move" and e.payload["kind"] == "dividend"
    ]  # fmt: skip


def _since_yesterday(found: Identity, anchors: list[Event], today: date) -> Identity:
    """Return an identity from the last anchor of an earlier day on, or from the first one."""
    day = today.isoformat()
    first = next((k for k in range(len(anchors) - 1, -1, -1) if anchors[k].payload["day"] < day), 0)
    steps = (a.payload["step"] for a in anchors[first + 1 :])
    return found.before(Decimal(anchors[first].payload["cash_usd"]), steps)


def _name(ctx: Context, account: Account) -> str:
    return f"{ctx.broker.environment}:{account.account_id}"
