"""What the simulated broker does with an order: refuse it as a real broker would, fill it, or let it rest.

Codes and words of refusals are those of the broker kobe trades live with (DOMAIN 4.1). Immediate orders take what
is displayed at the touch and walk at most one level, as large and half a spread worse; the price is never better
than the touch. Resting stops and targets are judged by the very rules of the backtest (`backtest.fills`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from kobe.core.clock import midnight
from kobe.core.ports import Asset, Quote
from kobe.core.types import OrderRequest, OrderStatus, OrderType
from kobe.core.units import to_decimal
from kobe.execution.brokers.sim_books import Standing
from kobe.execution.brokers.sim_market import EDGE, SimMarket
from kobe.execution.brokers.terms import SimTerms, luck
from kobe.execution.rounding import ceil_tick, floor_tick, tick_for

RESTING = (OrderType.GTC_STOP, OrderType.GTC_OCO)
NO_MARKET = "no market: closed or halted"
NO_MONEY = "40310000: insufficient buying power"
CROSSED = "40310000: potential wash trade detected. use complex orders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an order at once; no status while it rests. Parts are (quantity, price)."""

    status: OrderStatus | None = None
    detail: str = ""
    parts: tuple[tuple[int, Decimal], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What the market did to a resting order: filled it whole at a price, or canceled it where there is none."""

    at: datetime
    price: Decimal | None
    detail: str


def refusal(
    request: OrderRequest, asset: Asset | None, quote: Quote | None, standing: Standing, terms: SimTerms
) -> str | None:
    """Return why an order is rejected, None when it is taken."""
    reasons = (
        _asset_fault(request, asset),
        _price_fault(request),
        _market_fault(request, quote),
        _bad_luck(request, terms),
        _account_fault(request, quote, standing),
    )
    return next((why for why in reasons if why is not None), None)


def _asset_fault(request: OrderRequest, asset: Asset | None) -> str | None:
    if asset is None:
        return f"40410000: asset not found for {request.symbol}"
    return None if asset.tradable else f"42210000: asset {request.symbol} is not active"


def _price_fault(request: OrderRequest) -> str | None:
    for name, price in (("limit_price", request.limit_price), ("stop_price", request.stop_price)):
        if price is not None and price % tick_for(price):
            rule = "sub-penny increment does not fulfill minimum pricing criteria"
            return f"42210000: invalid {name} {price}. {rule}"
    limit, stop = request.limit_price, request.stop_price
    if request.order_type is not OrderType.GTC_OCO or limit is None or stop is None:
        return None
    if (limit >= stop) if request.is_buy else (limit <= stop):
        word = "less" if request.is_buy else "greater"
        return f"42210000: take_profit.limit_price must be {word} than stop_loss.stop_price"
    return None


def _market_fault(request: OrderRequest, quote: Quote | None) -> str | None:
    if request.order_type not in RESTING:
        closed = quote is None or (quote.halted and request.order_type is OrderType.MARKET)
        return NO_MARKET if closed else None
    stop = request.stop_price
    if quote is None or quote.last is None or stop is None:
        return None
    if (stop <= quote.last) if request.is_buy else (stop >= quote.last):
        word = "greater" if request.is_buy else "less"
        seen = f"(stop_price: {stop}, market_price: {quote.last})"
        return f"42210000: stop price must be {word} than current price {seen}"
    return None


def _bad_luck(request: OrderRequest, terms: SimTerms) -> str | None:
    name = request.client_order_id
    if luck(f"reject:{name}") >= terms.reject_share:
        return None
    own = NO_MONEY if request.is_buy else _too_few(request, 0, request.quantity)
    return own if luck(f"reject:{name}:code") < 0.5 else CROSSED


def _account_fault(request: OrderRequest, quote: Quote | None, standing: Standing) -> str | None:
    if standing.crossed and request.order_type is not OrderType.GTC_OCO:
        return CROSSED
    if not request.is_buy:
        few = request.quantity > standing.shares
        return _too_few(request, standing.shares, standing.held_for_orders) if few else None
    named = [p for p in (request.limit_price, request.stop_price) if p is not None]
    price = max(named or [quote.ask if quote else Decimal(0)])
    return NO_MONEY if price * request.quantity > standing.cash_usd else None


def _too_few(request: OrderRequest, available: int, held: int) -> str:
    told = f"(requested: {request.quantity}, available: {available})"
    return f"40310000: insufficient qty available for order {told}, held_for_orders: {held}"


# -- immediate orders ------------------------------------------------------------------------------------------


def execute(request: OrderRequest, quote: Quote, terms: SimTerms) -> Outcome:
    """Return what an immediate order gets at a quote."""
    levels = _levels(request, quote)
    limit = request.limit_price
    if request.order_type is OrderType.MARKET:
        # pessimistic: everything beyond the displayed size fills half a spread worse than the touch
        first = min(request.quantity, levels[0][0])
        return _ended(request, [(first, levels[0][1]), (request.quantity - first, levels[1][1])])
    if quote.halted:
        return Outcome(status=OrderStatus.CANCELED, detail="halted")
    within = [(n, p) for n, p in levels if limit is None or (p <= limit if request.is_buy else p >= limit)]
    if not within:
        return Outcome(status=OrderStatus.CANCELED, detail="limit not reached")
    wanted = _wanted(request, sum(n for n, _ in within), terms)
    if not wanted:
        return Outcome(status=OrderStatus.CANCELED, detail="nothing at the limit")
    first = min(wanted, within[0][0])
    return _ended(request, [(first, within[0][1]), (wanted - first, within[-1][1])])


def _levels(request: OrderRequest, quote: Quote) -> list[tuple[int, Decimal]]:
    """Return size and price at the touch and one level on."""
    half = (quote.ask - quote.bid) / 2
    if request.is_buy:
        return [(quote.ask_size, quote.ask), (quote.ask_size, ceil_tick(quote.ask + half))]
    return [(quote.bid_size, quote.bid), (quote.bid_size, floor_tick(quote.bid - half))]


def _wanted(request: OrderRequest, available: int, terms: SimTerms) -> int:
    """How many shares an immediate-or-cancel order gets, by the luck of its name."""
    chance = luck(request.client_order_id)
    if chance < terms.no_fill_share:
        return 0
    found = min(request.quantity, available)
    return found // 2 if chance < terms.no_fill_share + terms.partial_share and found > 1 else found


def _ended(request: OrderRequest, parts: Iterable[tuple[int, Decimal]]) -> Outcome:
    filled = tuple((n, p) for n, p in parts if n)
    if sum(n for n, _ in filled) == request.quantity:
        return Outcome(status=OrderStatus.FILLED, parts=filled)
    return Outcome(status=OrderStatus.CANCELED, detail="part filled", parts=filled)


# -- resting orders --------------------------------------------------------------------------------------------


def triggered(
    market: SimMarket, request: OrderRequest, placed: datetime, session: date, now: datetime
) -> Trigger | None:
    """Return what a session did to a resting order as far as it is known, None when it still rests.

    A split of the symbol cancels it in the night before: its prices mean nothing any more.
    """
    night = midnight(session)
    if placed < night <= now and market.splits(request.symbol, session, session):
        return Trigger(at=night, price=None, detail="canceled: split")
    seen = market.bar(request.symbol, session)
    opens, late = market.calendar.opens_at(session), market.calendar.closes_at(session) - EDGE
    if seen is None or now < opens:
        return None
    fresh = placed >= opens
    halt = market.halt(request.symbol, session)
    halted_open = halt is not None and halt[0] <= opens
    found = None if fresh or halted_open else _at_open(request, seen.bar[0], opens)
    if found is None and halt is not None and placed <= halt[1] <= now:
        found = _after_halt(request, market.price(seen, halt[1]), halt[1])
    if found is None and placed < late <= now:
        found = _inside(request, seen.bar[1], seen.bar[2], late - timedelta(seconds=1))
    return found


def _terms(request: OrderRequest) -> tuple[int, float, float]:
    """Side of the position an order guards, its stop and its target; a target that is not there is NaN."""
    target = float("nan") if request.limit_price is None else float(request.limit_price)
    return -1 if request.is_buy else 1, float(request.stop_price or 0), target


def _at_open(request: OrderRequest, open_: float, opens: datetime) -> Trigger | None:
    from kobe.backtest import fills as rules

    side, stop, target = _terms(request)
    reason = rules.exit_at_open(side, open_, stop, target, False)
    if reason == rules.STAY:
        return None
    return Trigger(at=opens, price=_money(open_), detail=rules.REASONS[reason])


def _after_halt(request: OrderRequest, price: float, at: datetime) -> Trigger | None:
    """Fill a stop that was run over during a halt at the first price after it."""
    from kobe.backtest import fills as rules

    side, stop, _ = _terms(request)
    if side * (price - stop) > 0.0:
        return None
    rounded = ceil_tick(_money(price)) if request.is_buy else floor_tick(_money(price))
    return Trigger(at=at, price=rounded, detail=rules.REASONS[rules.STOP])


def _inside(request: OrderRequest, high: float, low: float, at: datetime) -> Trigger | None:
    from kobe.backtest import fills as rules

    side, stop, target = _terms(request)
    reason, _ = rules.exit_inside(side, high, low, stop, target, rules.TICK_USD, True)
    if reason == rules.STAY:
        return None
    price = stop if reason == rules.STOP else target
    return Trigger(at=at, price=_money(price), detail=rules.REASONS[reason])


def _money(value: float) -> Decimal:
    return to_decimal(round(value, 6))
