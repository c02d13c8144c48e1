"""The real client's names for tests: on its way it imports a part of websockets that warns of its own age."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import DataFeed
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.requests import (
        CorporateActionsRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockSnapshotRequest,
    )
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import CorporateActionType, OrderClass, OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import (
        ClosePositionRequest,
        GetCalendarRequest,
        GetCorporateAnnouncementsRequest,
        GetOrderByIdRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        ReplaceOrderRequest,
        StopLimitOrderRequest,
        StopLossRequest,
        StopOrderRequest,
        TakeProfitRequest,
    )

__all__ = [
    "APIError", "ClosePositionRequest", "CorporateActionType", "CorporateActionsClient", "CorporateActionsRequest",
    "DataFeed", "GetCalendarRequest", "GetCorporateAnnouncementsRequest", "GetOrderByIdRequest", "GetOrdersRequest",
    "LimitOrderRequest", "MarketOrderRequest", "OrderClass", "OrderSide", "QueryOrderStatus", "ReplaceOrderRequest",
    "StockHistoricalDataClient", "StockLatestQuoteRequest", "StockLatestTradeRequest", "StockSnapshotRequest",
    "StopLimitOrderRequest", "StopLossRequest", "StopOrderRequest", "TakeProfitRequest", "TimeInForce",
    "TradingClient",
]  # fmt: skip
