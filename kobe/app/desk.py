"""What every use case that touches orders shares: the order manager, the facts for the gates, the lease."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import numpy as np

from kobe.app.context import Context
from kobe.core.ids import digest
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import ClearedOrder, Mode, Order, OrderRequest, Position, TradePlan, Verdict
from kobe.data.earnings import UNKNOWN
from kobe.execution import book
from kobe.execution.oms import Oms
from kobe.features.table import FeatureTable
from kobe.infra.locks import Lease
from kobe.risk import mode, review
from kobe.risk.facts import GateFacts

LEASE_WAIT_S = 20.0


@contextmanager
def order_desk(ctx: Context) -> Iterator[Oms]:
    """Give the order manager to one process at a time; what an earlier one left open is looked up first."""
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    with Lease(ctx.paths.locks, "orders", ctx.clock).acquire(timeout_s=LEASE_WAIT_S):
        oms = manager(ctx)
        oms.refresh(ctx.today)
        yield oms


def manager(ctx: Context) -> Oms:
    """Return the order manager without the lease: for reading."""
    return Oms(ledger=ctx.ledger, broker=ctx.broker, audit=ctx.audit, kill_switch=ctx.kill_switch)


def current_mode(ctx: Context) -> tuple[Mode, str]:
    """Return what the system may do and why."""
    return mode.current(ctx.ledger.events(mode.STREAM))


def set_mode(ctx: Context, source: str, wanted: Mode, reason: str) -> None:
    """Record what a source asks for; a repeated word changes nothing."""
    events = [e for e in ctx.ledger.events(mode.STREAM) if e.entity == source]
    if (events and events[-1].payload["mode"] == wanted.name) or (not events and wanted is Mode.NORMAL):
        return
    payload = {"mode": wanted.name, "reason": reason}
    ctx.ledger.append(mode.STREAM, source, "set", payload, key=f"{source}:{len(events) + 1}")
    ctx.audit.append("mode", {"source": source, **payload})


def last_panel(ctx: Context) -> Panel:
    """Return the bars that are complete by now and nothing later: all that a decision may see."""
    return ctx.panel().until(ctx.calendar.number(ctx.calendar.last_complete(ctx.clock.now())))


def gather(ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel) -> GateFacts:
    """Collect everything the gates look at for one request."""
    now, today = ctx.clock.now(), ctx.today
    trading = today in ctx.calendar
    orders = oms.orders()
    positions = oms.book().positions
    pending = [o for o in orders.values() if not o.status.is_final and not _closes(o)]
    busy = {p.symbol for p in positions} | {o.request.symbol for o in pending}
    account = ctx.broker.account()
    tradable, raw_close, adv = standing(past, request.symbol)
    return GateFacts(
        now=now,
        opens_at=ctx.calendar.opens_at(today) if trading else None,
        closes_at=ctx.calendar.closes_at(today) if trading else None,
        kill_reason=ctx.kill_switch.reason(),
        mode=current_mode(ctx)[0],
        quote=quote,
        tradable=tradable,
        clear_of_earnings=clear_of_earnings(ctx, past, request.symbol),
        raw_close=raw_close,
        adv_usd=adv,
        day_used_usd=book.day_used_usd(oms.intents(), now),
        open_positions=len(busy),
        symbol_held=request.symbol in busy,
        already_ordered=request.client_order_id in orders,
        cash_usd=account.cash_usd,
        account_blocked=account.blocked,
    )


def _closes(order: Order) -> bool:
    return order.request.effect.value == "close"


def standing(past: Panel, symbol: str) -> tuple[bool | None, Decimal | None, float | None]:
    """Return whether a symbol may be traded on its last bar, its raw close and its average dollar volume."""
    if symbol not in past.symbols:
        return None, None, None
    alone = past.select({symbol})
    row = len(alone) - 1
    raw = float(alone.close[row] * alone.raw_factor[row])
    adv = float(FeatureTable(alone).column("adv_usd", 20)[row])
    return bool(alone.tradable[row]), Decimal(str(round(raw, 6))), adv


def clear_of_earnings(ctx: Context, past: Panel, symbol: str) -> bool | None:
    """Whether the filter lets an entry after the symbol's last bar through; None where it cannot know."""
    chosen = ctx.earnings_filter
    if chosen is None:
        return True
    if symbol not in past.symbols:
        return None
    state = chosen.states(past, np.array([past.offsets[past.position(symbol) + 1] - 1]))[0]
    return None if state == UNKNOWN and not chosen.passes(state) else chosen.passes(state)


def judge(ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel) -> tuple[Verdict, ...]:
    """Ask every gate and record the decision before anything is done about it."""
    verdicts = review.review(request, gather(ctx, oms, request, quote, past), ctx.limits)
    refused = review.refusals(verdicts)
    order = {"client_order_id": request.client_order_id, "symbol": request.symbol, "quantity": request.quantity,
             "limit": str(request.limit_price), "stop": str(request.stop_price)}  # fmt: skip
    ctx.audit.append(
        "order_decision",
        {
            "decision_id": digest([order, str(ctx.clock.now())])[:16], "as_of": ctx.clock.now().isoformat(),
            "action": "refuse" if refused else "send", "order": order, "reason": request.reason,
            "verdicts": [[v.gate, v.outcome.value, v.code, v.observed, v.limit] for v in verdicts],
        },
    )  # fmt: skip
    return verdicts


def send(
    ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel, plan: TradePlan | None = None
) -> tuple[Order | None, tuple[Verdict, ...]]:
    """Judge a request and send it if no gate refuses; returns the order, or None with the verdicts."""
    verdicts = judge(ctx, oms, request, quote, past)
    cleared: ClearedOrder | None = review.clear(request, verdicts)
    return (None if cleared is None else oms.submit(cleared, plan)), verdicts


def factor_at(past: Panel, symbol: str, session: date) -> float:
    """Return raw price over adjusted price of a symbol at its last bar up to a session; 1 when it has none."""
    if symbol not in past.symbols:
        return 1.0
    mine = past[symbol]
    rows = [i for i, s in enumerate(mine.session.tolist()) if s <= past.calendar.number(session)]
    return float(past.raw_factor[mine.first_row + rows[-1]]) if rows else 1.0


def position_lines(positions: tuple[Position, ...]) -> list[dict[str, object]]:
    """Return positions as JSON-ready values."""
    return [
        {
            "symbol": p.symbol, "strategy": p.strategy, "side": p.side.value, "quantity": p.quantity,
            "average_price": str(round(p.average_price, 4)), "opened": p.opened.isoformat(), "signal_id": p.signal_id,
        }
        for p in positions
    ]  # fmt: skip
