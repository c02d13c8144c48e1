"""The facts the gates look at, gathered for one order from the books, the bars and the broker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from kobe.app import breakers, decision, equity, prohibit
from kobe.app.context import Context
from kobe.core.clock import new_york_date
from kobe.core.panel import Panel
from kobe.core.ports import Account, Quote
from kobe.core.types import Effect, Order, OrderRequest, Position
from kobe.data.earnings import UNKNOWN
from kobe.decisions.spread import Spread
from kobe.execution import book
from kobe.execution.oms import Oms
from kobe.features.table import FeatureTable
from kobe.risk import mode
from kobe.risk.facts import GateFacts

SSR_DROP = Decimal("0.10")  # Regulation SHO rule 201: a tenth below the close before
DAY_TRADE_SESSIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a symbol at its last complete session; None is unknown. Raw dollars."""

    tradable: bool | None = None
    raw_close: Decimal | None = None
    previous_close: Decimal | None = None
    atr_usd: Decimal | None = None
    adv_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Open notional in dollars, what is on its way included: of all, by symbol and by sector."""

    gross: Decimal
    by_symbol: dict[str, Decimal]
    by_sector: dict[str, Decimal]


def gather(
    ctx: Context, oms: Oms, request: OrderRequest, quote: Quote | None, past: Panel, *, again: bool = False
) -> GateFacts:
    """Collect everything the gates look at for one request; the broker is asked about itself here.

    Args:
        ctx: context.
        oms: the order manager.
        request: what is to be judged; the shares that sizing allows are for the caller to fill in.
        quote: current quote.
        past: bars up to the last complete session.
        again: the order was intended before and its process died: its own reservation does not stand in its way.
    """
    account = ctx.broker.account()
    seen = standing(past, request.symbol)
    today = ctx.today
    trading = today in ctx.calendar
    facts = GateFacts(
        now=ctx.clock.now(),
        opens_at=ctx.calendar.opens_at(today) if trading else None,
        closes_at=ctx.calendar.closes_at(today) if trading else None,
        kill_reason=ctx.kill_switch.blocks(closing=request.effect is Effect.CLOSE),
        mode=mode.current(ctx.ledger.events(mode.STREAM)).mode,
        environment=ctx.broker.environment,
        keys_fault=ctx.broker.keys_fault(),
        armed=ctx.armed,
        quote=quote,
        raw_close=seen.raw_close,
        account_blocked=account.blocked,
        already_ordered=not again and oms.order(request.client_order_id) is not None,
    )
    if request.effect is Effect.CLOSE:
        return facts
    return replace(_of_an_opening(ctx, oms, request, past, facts, account, again=again), now=ctx.clock.now())


def _of_an_opening(
    ctx: Context, oms: Oms, request: OrderRequest, past: Panel, facts: GateFacts, account: Account, *, again: bool
) -> GateFacts:
    """Add what only openings are asked about; an order that is tried again does not stand in its own way."""
    own = {request.client_order_id} if again else set[str]()
    intents = [(o, at) for o, at in oms.intents() if o.request.client_order_id not in own]
    positions = [p for p in oms.book().positions if not (again and p.signal_id == request.signal_id)]
    pending = on_their_way(o for o, _ in intents)
    money = equity.standing(ctx, account)
    seen, sectors = standing(past, request.symbol), decision.sectors_of(ctx)
    open_usd = exposure(past, sectors, positions, pending)
    return replace(
        facts,
        clock_skew_s=clock_skew(ctx),
        asset=ctx.broker.asset(request.symbol),
        tradable=seen.tradable,
        prohibited=prohibit.active(ctx, request.symbol),
        clear_of_earnings=clear_of_earnings(ctx, past, request.symbol),
        atr_usd=seen.atr_usd,
        adv_usd=seen.adv_usd,
        adv_feed=past.feed,
        day_used_usd=book.day_used_usd(intents, facts.now),
        open_positions=len({p.signal_id for p in positions} | {o.request.signal_id for o in pending}),
        symbol_positions=len(
            {p.signal_id for p in positions if p.symbol == request.symbol}
            | {o.request.signal_id for o in pending if o.request.symbol == request.symbol}
        ),
        gross_usd=open_usd.gross,
        name_usd=open_usd.by_symbol.get(request.symbol, Decimal(0)),
        sector_usd=open_usd.by_sector.get(sectors.get(request.symbol, ""), Decimal(0)),
        equity_usd=account.equity_usd,
        last_equity_usd=money.last_usd,
        month_peak_usd=money.month_peak_usd,
        correlations=correlations(past, request, positions, {p.symbol for p in positions} - {request.symbol}),
        breakers=breakers.open_breakers(ctx),
        cash_usd=account.cash_usd,
        buying_power_usd=account.buying_power_usd,
        maintenance_usd=account.maintenance_usd,
        day_trades=day_trades(ctx, oms),
        short_restricted=short_restricted(seen, facts.quote),
        may_short=account.may_short,
    )


def on_their_way(orders: Iterable[Order]) -> list[Order]:
    """Return openings whose end is not known."""
    return [o for o in orders if not o.status.is_final and o.request.effect is Effect.OPEN]


def clock_skew(ctx: Context) -> float | None:
    """Return our clock minus the broker's in seconds, at the middle of the question."""
    before = ctx.clock.now()
    theirs = ctx.broker.now()
    middle = before + (ctx.clock.now() - before) / 2
    return (middle - theirs).total_seconds()


def standing(past: Panel, symbol: str) -> Standing:
    """Return what is known of a symbol at its last bar."""
    if symbol not in past.symbols:
        return Standing()
    alone = past.select({symbol})
    if not len(alone):
        return Standing()
    row, table = len(alone) - 1, FeatureTable(alone)
    factor = float(alone.raw_factor[row])
    atr = float(table.column("atr", 14)[row]) * factor
    return Standing(
        tradable=bool(alone.tradable[row]), raw_close=_money(float(alone.close[row]) * factor),
        previous_close=_money(float(alone.close[row - 1]) * factor) if row else None,
        atr_usd=_money(atr) if np.isfinite(atr) and atr > 0 else None, adv_usd=float(table.column("adv_usd", 20)[row]),
    )  # fmt: skip


def clear_of_earnings(ctx: Context, past: Panel, symbol: str) -> bool | None:
    """Whether the filter lets an entry after the symbol's last bar through; None where it cannot know."""
    chosen = ctx.earnings_filter
    if chosen is None:
        return True
    if symbol not in past.symbols:
        return None
    state = chosen.states(past, np.array([past.offsets[past.position(symbol) + 1] - 1]))[0]
    return None if state == UNKNOWN and not chosen.passes(state) else chosen.passes(state)


def exposure(
    past: Panel, sectors: Mapping[str, str], positions: Iterable[Position], pending: Iterable[Order]
) -> Exposure:
    """Add up what is open and on its way, each at the higher of what was paid and the last raw close.

    Symbols without a sector count as one sector together.
    """
    by_symbol: dict[str, Decimal] = {}
    for p in positions:
        last = standing(past, p.symbol).raw_close or Decimal(0)
        by_symbol[p.symbol] = by_symbol.get(p.symbol, Decimal(0)) + max(p.average_price, last) * p.quantity
    for o in pending:
        left = (o.request.limit_price or Decimal(0)) * o.remaining
        by_symbol[o.request.symbol] = by_symbol.get(o.request.symbol, Decimal(0)) + left
    by_sector: dict[str, Decimal] = {}
    for symbol, usd in by_symbol.items():
        sector = sectors.get(symbol, "")
        by_sector[sector] = by_sector.get(sector, Decimal(0)) + usd
    return Exposure(gross=sum(by_symbol.values(), Decimal(0)), by_symbol=by_symbol, by_sector=by_sector)


def correlations(
    past: Panel, request: OrderRequest, positions: Iterable[Position], held: set[str]
) -> dict[str, float | None]:
    """Return the correlation with each held symbol, its sign turned where the directions differ."""
    spread, found = Spread(past), dict[str, float | None]()
    sides = {p.symbol: p.side for p in positions}
    for symbol in sorted(held):
        if symbol not in past.symbols or request.symbol not in past.symbols:
            found[symbol] = None
            continue
        rho = spread.correlation(request.symbol, symbol)
        found[symbol] = None if np.isnan(rho) else rho * (1 if sides[symbol] is request.side else -1)
    return found


def day_trades(ctx: Context, oms: Oms) -> int:
    """Count round trips opened and closed on one New York date in the last five sessions, by our own ledger."""
    first = ctx.calendar.offset(ctx.calendar.previous(ctx.calendar.next(ctx.today)), 1 - DAY_TRADE_SESSIONS)
    trips = [(new_york_date(t.opened), new_york_date(t.closed)) for t in oms.book().trades]
    return sum(first <= opened == closed for opened, closed in trips)


def short_restricted(seen: Standing, quote: Quote | None) -> bool | None:
    """Whether rule 201 is in force: the last close or the last trade is a tenth below the close before it."""
    if seen.raw_close is None or seen.previous_close is None:
        return None
    fell_yesterday = seen.raw_close <= seen.previous_close * (1 - SSR_DROP)
    last = None if quote is None else (quote.last or quote.bid)
    fell_today = last is not None and last.is_finite() and last <= seen.raw_close * (1 - SSR_DROP)
    return fell_yesterday or fell_today


def _money(value: float) -> Decimal:
    return Decimal(str(round(value, 6)))
