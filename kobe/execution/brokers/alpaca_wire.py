"""Orders as Alpaca takes them over the wire."""

import re
from decimal import Decimal
from typing import Any

from kobe.core.ids import CLIENT_ORDER_ID_MAX
from kobe.core.types import OrderRequest, OrderType

SYMBOL = re.compile(r"[A-Z][A-Z0-9./]{0,14}")
_NAME = re.compile(rf"[!-~]{{1,{CLIENT_ORDER_ID_MAX}}}")


def order_body(request: OrderRequest) -> dict[str, Any]:
    """Return an order as it goes over the wire; numbers are text, so that a price is the very decimal."""
    stop, limit = plain(request.stop_price), plain(request.limit_price)
    parts: dict[OrderType, dict[str, Any]] = {
        OrderType.IOC_LIMIT: {"type": "limit", "time_in_force": "ioc", "limit_price": limit},
        OrderType.GTC_STOP: {"type": "stop", "time_in_force": "gtc", "stop_price": stop},
        OrderType.GTC_OCO: {
            "type": "limit", "time_in_force": "gtc", "order_class": "oco", "take_profit": {"limit_price": limit},
            "stop_loss": {"stop_price": stop},
        },
        OrderType.MARKET: {"type": "market", "time_in_force": "day"},
    }  # fmt: skip
    return {
        "symbol": request.symbol, "qty": str(request.quantity), "side": "buy" if request.is_buy else "sell",
        **parts[request.order_type], "client_order_id": request.client_order_id,
    }  # fmt: skip


def order_fault(request: OrderRequest) -> str:
    """Return why an order cannot go over the wire, or nothing."""
    prices = [p for p in (request.limit_price, request.stop_price) if p is not None]
    if not _NAME.fullmatch(request.client_order_id):
        return f"no name for an order: {request.client_order_id!r}"
    if not SYMBOL.fullmatch(request.symbol):
        return f"no symbol: {request.symbol!r}"
    if request.quantity != int(request.quantity) or request.quantity <= 0:
        return f"no quantity of whole shares: {request.quantity}"
    if not all(p.is_finite() and p > 0 for p in prices):
        return f"no prices: {', '.join(str(p) for p in prices)}"
    return ""


def plain(price: Decimal | None) -> str | None:
    """Return a price as text, digit for digit and without an exponent."""
    return None if price is None else format(price, "f")
