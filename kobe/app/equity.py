"""The account's equity over time, money moved in and out taken into account (DOMAIN 7: SAFE_MODE)."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import takewhile

from kobe.app.carry import carried
from kobe.app.context import Context
from kobe.core.clock import from_ns
from kobe.core.ports import Account, CashMove, Event
from kobe.core.types import Mode
from kobe.risk import mode

STREAM = "equity"
Marks = dict[date, tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the drawdown is measured from; None where nobody knows."""

    last_usd: Decimal | None
    month_peak_usd: Decimal | None


def mark(ctx: Context, account: Account, session: date) -> None:
    """Keep the equity at the close of a session; the first mark of a session and account stays."""
    if session in marks(ctx, session):
        return
    environment = ctx.broker.environment
    payload = {
        "equity_usd": str(account.equity_usd), "cash_usd": str(account.cash_usd), "environment": environment,
    }  # fmt: skip
    ctx.ledger.append(STREAM, session.isoformat(), "close", payload, key=f"{environment}:{session.isoformat()}")


def mark_before(ctx: Context, account: Account) -> None:
    """Keep the last close's equity by the broker's word, where no evening run kept it."""
    before = ctx.calendar.previous(ctx.today)
    days = kept(ctx, ctx.broker.environment)
    if account.last_equity_usd is not None and days and before not in days and before > min(days):
        mark(ctx, replace(account, equity_usd=account.last_equity_usd), before)


def marks(ctx: Context, first: date = date.min) -> dict[date, Decimal]:
    """Return the equity at the close of each session marked from one on, of the account that is traded now."""
    known = kept(ctx, ctx.broker.environment)
    days = list(takewhile(lambda day: day >= first, reversed(known)))
    return {day: known[day][0] for day in reversed(days)}


def kept(ctx: Context, environment: str) -> Marks:
    """Return (equity, cash) by session of every close that was marked in an account, oldest first."""
    return carried(ctx, STREAM, dict[str, Marks], _add_mark).get(environment, {})


def _add_mark(by_environment: dict[str, Marks], event: Event) -> None:
    told = event.payload
    of_environment = by_environment.setdefault(told["environment"], {})
    day = date.fromisoformat(event.entity)
    is_last = not of_environment or day >= next(reversed(of_environment))
    of_environment[day] = Decimal(told["equity_usd"]), Decimal(told["cash_usd"])
    if not is_last:  # a session of the past that was played later
        by_environment[told["environment"]] = dict(sorted(of_environment.items()))


def standing(ctx: Context, account: Account) -> Standing:
    """Return the last close's equity and the month's peak, as if money moved since then had been there before.

    A deposit is no gain and a withdrawal no loss. The broker's own word about the last close comes before our mark.
    """
    today = ctx.today
    first = max(today.replace(day=1), month_from(ctx) or today.replace(day=1))
    before = ctx.calendar.previous(today)
    known = marks(ctx, min(first, before))
    moves = ctx.broker.cash_moves(min(first, before))
    last = account.last_equity_usd if account.last_equity_usd is not None else known.get(before)
    peaks = [equity + _moved_after(moves, day) for day, equity in known.items() if first <= day < today]
    if last is not None:
        last += _moved_after(moves, before)
        peaks.append(last)
    peak = max([*peaks, account.equity_usd]) if peaks else None
    return Standing(last_usd=last, month_peak_usd=peak)


def _moved_after(moves: tuple[CashMove, ...], day: date) -> Decimal:
    return sum((m.usd for m in moves if m.kind == "transfer" and m.day > day), Decimal(0))


def month_from(ctx: Context) -> date | None:
    """Return the session the month's peak counts from since an operator lifted its SAFE_MODE; None when nobody did."""
    lifts = [e for e in ctx.ledger.events(mode.STREAM, entity=mode.DRAWDOWN_MONTH) if mode.word(e).mode is Mode.REDUCED]
    return coming_session(ctx, lifts[-1]) if lifts else None


def coming_session(ctx: Context, event: Event) -> date:
    """The session an event came before the close of."""
    return ctx.calendar.next(ctx.calendar.last_complete(from_ns(event.at_ns)))
