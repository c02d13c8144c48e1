"""`kobe broker`: is the broker there, is it the right one, and what does it hold beside our own books."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from kobe.app import desk
from kobe.app.context import Context
from kobe.app.order_facts import clock_skew
from kobe.app.start_up import BINDING
from kobe.core.errors import ConfigError, ExitCode, KobeError
from kobe.core.ports import Account, BrokerOrder
from kobe.execution.reconcile import shares_by_symbol
from kobe.reports.document import Document, Section, Table

TRIES = 3
SESSIONS_AHEAD = 10
NEXT = "next: kobe reconcile"
ASKED_FOR = ("SPY", "AAPL", "MSFT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check saw; with a remedy it differs from what it should be."""

    seen: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def _timed(ask: Callable[[], ResultT]) -> tuple[ResultT, dict[str, float]]:
    """Ask a few times; return the last answer and the latencies in milliseconds."""
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        answer = ask()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return answer, {
        "least_ms": round(took[0], 1),
        "median_ms": round(took[TRIES // 2], 1),
        "most_ms": round(took[-1], 1),
    }


def _within(latency: dict[str, float]) -> str:
    return f"{latency['median_ms']:.0f} ms ({latency['least_ms']:.0f} to {latency['most_ms']:.0f})"


def _keys(ctx: Context) -> Finding:
    fault = ctx.broker.keys_fault()
    if fault:
        raise ConfigError("keys and mode do not belong together", seen=fault, next_command="kobe config show --origin")
    return Finding(seen=f"run.mode = {ctx.settings.run.mode}, broker {ctx.broker.name} ({ctx.broker.environment})")


def _clock(ctx: Context) -> Finding:
    skew, latency = _timed(lambda: clock_skew(ctx) or 0.0)
    most = ctx.settings.risk.max_clock_skew_s
    remedy = "" if abs(skew) <= most else "set this machine's clock by a time server"
    return Finding(seen=f"ours is {skew:+.2f} s off, {_within(latency)}", remedy=remedy,
                   data={"skew_s": round(skew, 3), "latency": latency})  # fmt: skip


def _bound_account(ctx: Context) -> str:
    """Return the account this home trades, or nothing before one has answered."""
    if ctx.broker.environment != "sim" and ctx.settings.broker.account_id:
        return ctx.settings.broker.account_id
    bound = ctx.ledger.events(BINDING, entity=ctx.broker.environment)
    return str(bound[0].payload["account_id"]) if bound else ""


def _account(ctx: Context) -> Finding:
    account, latency = _timed(ctx.broker.account)
    expected = _bound_account(ctx)
    seen = f"{account.account_id or '-'}: equity {account.equity_usd:.2f} $, cash {account.cash_usd:.2f} $"
    remedy = "ask the broker why it is blocked" if account.blocked else ""
    if expected and account.account_id != expected:
        remedy = f"this home trades {expected}: its keys, or another home"
    standing = "blocked" if account.blocked else "may trade"
    return Finding(seen=f"{seen}, {standing}, {_within(latency)}", remedy=remedy,
                   data={**_account_json(account), "expected_account_id": expected, "latency": latency})  # fmt: skip


def _symbols(ctx: Context) -> list[str]:
    """Return a few symbols to ask quotes for: what is held, else the first of the bars, else well-known ones."""
    held = sorted(shares_by_symbol(desk.manager(ctx).book().positions))
    try:
        return held or list(ctx.panel().symbols[: len(ASKED_FOR)]) or list(ASKED_FOR)
    except KobeError:
        return list(ASKED_FOR)


def _quotes(ctx: Context) -> Finding:
    symbols = _symbols(ctx)
    quotes, latency = _timed(lambda: ctx.quotes.quotes(symbols))
    now, today = ctx.clock.now(), ctx.today
    trading = today in ctx.calendar and ctx.calendar.opens_at(today) <= now < ctx.calendar.closes_at(today)
    feeds = sorted({q.feed for q in quotes.values()})
    newest = max((q.at for q in quotes.values()), default=None)
    age = None if newest is None else (now - newest).total_seconds()
    seen = f"{len(quotes)} of {len(symbols)} symbols, feed {', '.join(feeds) or 'untold'}"
    seen += "" if age is None else f", newest {age:.0f} s old"
    late = trading and (age is None or age > ctx.settings.risk.quote_max_age_s)
    remedy = "the market is open: look at broker.feed and at the symbols" if late else ""
    facts = {"asked": symbols, "told": sorted(quotes), "feeds": feeds, "age_s": age, "latency": latency}
    return Finding(seen=f"{seen}, {_within(latency)}", remedy=remedy, data=facts)


def _calendar(ctx: Context) -> Finding:
    first = ctx.today if ctx.today in ctx.calendar else ctx.calendar.next(ctx.today)
    days = ctx.calendar.between(first, ctx.calendar.offset(first, SESSIONS_AHEAD - 1))
    ours = {day: (ctx.calendar.opens_at(day), ctx.calendar.closes_at(day)) for day in days}
    theirs = ctx.broker.sessions(days[0], days[-1])
    odd = sorted(day.isoformat() for day in set(ours) | set(theirs) if ours.get(day) != theirs.get(day))
    if odd:
        return Finding(seen=f"different on {', '.join(odd)}", remedy="calendar.extra_closures, or ask the broker",
                       data={"different": odd})  # fmt: skip
    return Finding(seen=f"the next {len(days)} sessions to {days[-1]} are the same", data={"different": []})


CHECKS: dict[str, Callable[[Context], Finding]] = {
    "keys": _keys, "clock": _clock, "account": _account, "quotes": _quotes, "calendar": _calendar,
}  # fmt: skip


def run_broker_probe(ctx: Context) -> Document:
    """Ask the broker for everything a session needs and change nothing; a failed check does not hide the others."""
    rows, codes, data = [], [], dict[str, Any]()
    for name, check in CHECKS.items():
        try:
            found = check(ctx)
            result, seen, remedy, facts = "DIFFERS" if found.remedy else "ok", found.seen, found.remedy, found.data
            codes += [ExitCode.PARTIAL] if found.remedy else []
        except KobeError as error:
            result, remedy, facts = "FAIL", error.next_command or "", dict[str, Any]()
            seen = error.what + (f": {error.seen}" if error.seen else "")
            codes.append(error.exit_code)
        rows.append((name, result, seen, remedy))
        data[name] = {"result": result, "seen": seen, "next": remedy, **facts}
    failed = [c for c in codes if c is not ExitCode.PARTIAL]
    passed = len(rows) - len(codes)
    return Document(
        schema="kobe.broker_probe/1",
        title=f"{ctx.broker.name}, {ctx.broker.environment}",
        summary=(f"{passed} of {len(rows)} checks pass",),
        sections=(Section(title="", table=Table(columns=("check", "result", "seen", "next"), rows=tuple(rows))),),
        data={"broker": ctx.broker.name, "environment": ctx.broker.environment, "checks": data},
        exit_code=ExitCode.EXTERNAL if ExitCode.EXTERNAL in failed else max(failed or codes, default=ExitCode.OK),
    )


def _account_json(account: Account) -> dict[str, Any]:
    def text(usd: object) -> str | None:
        return None if usd is None else str(usd)

    return {
        "account_id": account.account_id, "blocked": account.blocked, "may_short": account.may_short,
        "cash_usd": text(account.cash_usd), "equity_usd": text(account.equity_usd),
        "last_equity_usd": text(account.last_equity_usd), "buying_power_usd": text(account.buying_power_usd),
        "maintenance_usd": text(account.maintenance_usd), "positions": account.positions,
    }  # fmt: skip


def run_broker_account(ctx: Context) -> Document:
    """Show the account as the broker tells it, and whether it is the one this home trades."""
    account, expected = ctx.broker.account(), _bound_account(ctx)
    told = _account_json(account)
    rows = tuple((name, _cell(value)) for name, value in told.items() if name != "positions")
    known = "no account has been traded yet" if not expected else f"this home trades {expected}"
    return Document(
        schema="kobe.broker_account/1",
        title=f"Account at {ctx.broker.name}, {ctx.broker.environment}",
        summary=(f"{'blocked' if account.blocked else 'may trade'}; {known}; {len(account.positions)} positions",),
        sections=(Section(title="", table=Table(columns=("what", "broker"), rows=rows)),),
        data={**told, "expected_account_id": expected},
    )


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)


def run_broker_orders(ctx: Context, since: date | None = None) -> Document:
    """Show the broker's orders beside what the ledger knows of each.

    Args:
        ctx: context.
        since: orders placed from this New York date on, and those still open; None is all of them.
    """
    ours = desk.manager(ctx).orders()
    theirs = sorted(ctx.broker.orders(since), key=lambda o: (o.at, o.client_order_id))
    lines = []
    for o in theirs:
        known = ours.get(o.client_order_id)
        ledger = "not in the ledger" if known is None else f"{known.status.word}, {known.filled} filled"
        same = known is not None and (known.filled, known.status) == (o.filled, o.status)
        lines.append({**_order_json(o), "ledger": ledger, "same": same})
    columns = ("name", "symbol", "side", "quantity", "filled", "average_price", "status", "ledger")
    odd = sum(not line["same"] for line in lines)
    rows = tuple(tuple(line[c] for c in columns) for line in lines)
    said = f"{len(lines)} orders, {odd} told otherwise than the ledger has them"
    return Document(
        schema="kobe.broker_orders/1",
        title=f"Orders at {ctx.broker.name}, {ctx.broker.environment}",
        summary=(said, NEXT) if odd else (said,),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),) if rows else (),
        data={"since": since.isoformat() if since else None, "orders": lines, "differences": odd},
    )


def _order_json(o: BrokerOrder) -> dict[str, Any]:
    return {
        "name": o.client_order_id, "symbol": o.symbol, "side": "buy" if o.is_buy else "sell", "quantity": o.quantity,
        "filled": o.filled, "average_price": None if o.average_price is None else str(o.average_price),
        "status": o.status.word, "at": o.at.isoformat(), "detail": o.detail,
    }  # fmt: skip


def run_broker_positions(ctx: Context) -> Document:
    """Show signed shares by symbol, the ledger's beside the broker's."""
    ours = shares_by_symbol(desk.manager(ctx).book().positions)
    theirs = ctx.broker.account().positions
    pairs = {s: (ours.get(s, 0), theirs.get(s, 0)) for s in sorted(set(ours) | set(theirs))}
    odd = [s for s, (mine, yours) in pairs.items() if mine != yours]
    said = f"{len(pairs)} symbols; " + (f"different: {', '.join(odd)}" if odd else "both books are equal")
    rows = tuple((s, *both, "differs" if s in odd else "") for s, both in pairs.items())
    table = Table(columns=("symbol", "ledger", "broker", ""), rows=rows)
    told = [{"symbol": s, "ledger": mine, "broker": yours} for s, (mine, yours) in pairs.items()]
    return Document(
        schema="kobe.broker_positions/1",
        title=f"Positions at {ctx.broker.name}, {ctx.broker.environment}",
        summary=(said, NEXT) if odd else (said,),
        sections=(Section(title="", table=table),) if rows else (),
        data={"positions": told, "differences": odd},
    )
