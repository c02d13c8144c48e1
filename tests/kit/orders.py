"""An order that passes every gate, and the facts it passes on; tests change one thing at a time."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from kobe.core.ports import Asset, Quote
from kobe.core.types import Effect, Mode, OrderRequest, OrderType, Side
from kobe.risk.facts import GateFacts, Limits

D = Decimal
NOW = datetime(2024, 6, 3, 15, 0, tzinfo=UTC)
OPEN, CLOSE = NOW.replace(hour=13, minute=30), NOW.replace(hour=20)
LIMITS = Limits()


def quote(bid="10.00", ask="10.02", size=100, age=0.0, last=None, **changed) -> Quote:
    """A quote of the feed `sim`, so many seconds old."""
    at = NOW - timedelta(seconds=age)
    told = Quote(symbol="ABC", bid=D(bid), ask=D(ask), bid_size=size, ask_size=size, at=at, feed="sim",
                 last=None if last is None else D(last))  # fmt: skip
    return replace(told, **changed)


ASSET = Asset(symbol="ABC", active=True, tradable=True, shortable=True, easy_to_borrow=True)
FACTS = GateFacts(
    now=NOW, opens_at=OPEN, closes_at=CLOSE, kill_reason=None, mode=Mode.NORMAL, environment="paper", keys_fault="",
    armed=False, clock_skew_s=0.1, quote=quote(), asset=ASSET, tradable=True, prohibited=(), clear_of_earnings=True,
    raw_close=D(10), atr_usd=D("0.30"), adv_usd=5e6, adv_feed="sip", size_cap=7, size_bound_by="order_cap",
    day_used_usd=D(0), open_positions=0, symbol_positions=0, gross_usd=D(0), name_usd=D(0), sector_usd=D(0),
    equity_usd=D(10_000), last_equity_usd=D(10_000), month_peak_usd=D(10_000), correlations={}, breakers={},
    account_blocked=False, cash_usd=D(1000), buying_power_usd=D(2000), maintenance_usd=D(0), day_trades=0,
    short_restricted=False, may_short=True, already_ordered=False,
)  # fmt: skip


def order(quantity=7, limit="10.03", effect=Effect.OPEN, **changed) -> OrderRequest:
    """An immediate-or-cancel order; `limit` None for one without."""
    request = OrderRequest(
        client_order_id="kobe-x-ABC-2024-05-31-long-open-1", signal_id="s", strategy="ibs_rsi", symbol="ABC",
        side=Side.LONG, effect=effect, order_type=OrderType.IOC_LIMIT, quantity=quantity, limit_price=D(limit or "1"),
        stop_price=None, session=date(2024, 6, 3), reason="test",
    )  # fmt: skip
    if limit is None:
        changed = {"order_type": OrderType.MARKET, "limit_price": None} | changed
    return replace(request, **changed)


def leaving(**changed) -> OrderRequest:
    """An exit by immediate-or-cancel limit."""
    return order(effect=Effect.CLOSE, limit="9.99", **changed)


STOP = order(effect=Effect.CLOSE, order_type=OrderType.GTC_STOP, limit=None, stop_price=D(9))
SHORT = order(side=Side.SHORT, limit="9.99")
SHORTS = replace(LIMITS, allow_shorts=True)
