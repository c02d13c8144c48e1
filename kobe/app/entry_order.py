"""The order that opens a trade: how many shares, at what limit, and how the position is to be closed."""

from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal

from kobe.app import breakers, decision, desk, order_facts, standing
from kobe.app.context import Context
from kobe.core.ids import client_order_id
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import Candidate, Effect, OrderRequest, OrderType, Signal, TradePlan
from kobe.execution.oms import Oms
from kobe.execution.rounding import buy_limit, floor_tick
from kobe.learning.drift_states import Level
from kobe.risk import sizing
from kobe.risk.facts import GateFacts

HALF = Decimal("0.5")


def draft(candidate: Candidate, quote: Quote | None, attempt: int) -> OrderRequest:
    """Build the order for a single share: limit 0.1% through the ask, or the last close where nothing is quoted."""
    s = candidate.signal
    price = quote.ask if quote is not None and quote.ask > 0 else Decimal(str(round(candidate.raw_close, 6)))
    name = client_order_id(
        strategy=s.strategy, symbol=s.symbol, signal_date=s.signal_date, side=s.side.value, effect="open",
        attempt=attempt,
    )  # fmt: skip
    return OrderRequest(
        client_order_id=name, signal_id=s.signal_id, strategy=s.strategy, symbol=s.symbol, side=s.side,
        effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=1, limit_price=buy_limit(price),
        stop_price=None, session=s.valid_session, reason=f"trade of the day, attempt {attempt}",
    )  # fmt: skip


def sized(
    ctx: Context, oms: Oms, request: OrderRequest, candidate: Candidate, quote: Quote | None, past: Panel, *,
    again: bool = False,
) -> tuple[sizing.Size, GateFacts]:  # fmt: skip
    """Return the shares that every cap allows for an order, and the facts the gates will be asked about."""
    facts = order_facts.gather(ctx, oms, request, quote, past, again=again)
    half = standing.states_at(ctx, candidate.signal.signal_date).get(request.strategy) == Level.HALF_SIZE.name
    limits = sizing.halved(ctx.limits) if half else ctx.limits
    size = sizing.size(_inputs(ctx, candidate, request.limit_price or Decimal(0), facts, half=half), limits)
    return size, replace(facts, size_cap=size.quantity, size_bound_by=size.bound_by)


def _inputs(ctx: Context, candidate: Candidate, limit: Decimal, facts: GateFacts, *, half: bool) -> sizing.SizeInputs:
    s = candidate.signal
    factor = desk.current_mode(ctx).factor * breakers.factor(ctx) * (HALF if half else 1)
    return sizing.SizeInputs(
        entry=limit, stop=stop_below(s, limit, candidate.raw_close / s.reference_close),
        side=s.side, probability=candidate.probability, gate=candidate.gate, factor=factor,
        environment=facts.environment, equity_usd=facts.equity_usd,
        cash_usd=facts.cash_usd, buying_power_usd=facts.buying_power_usd, day_used_usd=facts.day_used_usd,
        gross_usd=facts.gross_usd, name_usd=facts.name_usd, sector_usd=facts.sector_usd, adv_usd=facts.adv_usd,
    )  # fmt: skip


def stop_below(signal: Signal, entry: Decimal, raw_factor: float) -> Decimal | None:
    """Return the raw stop of an entry at a price: its distance below it, or the level the signal fixed."""
    if signal.stop_distance is not None:
        return floor_tick(entry - Decimal(str(round(signal.stop_distance * raw_factor, 9))))
    return floor_tick(Decimal(str(round(signal.stop * raw_factor, 9))))


def plan(ctx: Context, candidate: Candidate) -> TradePlan:
    """Return how the position is to be closed, fixed before it is opened."""
    s = candidate.signal
    model = decision.champion(ctx, s.signal_date)
    params = decision.scan_params(ctx, model[1] if model else None)[s.strategy]
    return TradePlan(
        signal_id=s.signal_id, strategy=s.strategy, symbol=s.symbol, side=s.side, signal_date=s.signal_date,
        entry_session=s.valid_session, exit_session=ctx.calendar.offset(s.valid_session, params.hold_bars - 1),
        stop_distance=s.stop_distance, stop_level=None if s.stop_distance is not None else s.stop,
        target_r=s.target_r, atr=s.atr, reference_close=s.reference_close, params=asdict(params),
    )  # fmt: skip


def model_fault(ctx: Context, signal_date: date) -> str | None:
    """Return why the champion may not speak for live money, or None: biased evidence is for paper only (D14)."""
    from kobe.learning.promote import PAPER, scope

    model_id = ctx.models.champion(signal_date)
    if ctx.broker.environment != "live" or model_id is None:
        return None
    banners = tuple(ctx.models.load(model_id)[1]["banners"])
    if scope(banners) != PAPER:
        return None
    return f"model_scope: {model_id} is for paper only ({'; '.join(banners)})"
