"""How much is open: positions, symbols, notional against equity, likeness; and never the same wish twice."""

import math
from decimal import Decimal

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.answers import cost_of, exempt, known, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes

POSITIONS, HELD, DUPLICATE = "max_positions", "symbol_held", "duplicate"
GROSS, NAME, SECTOR, CORRELATION = "exposure_gross", "exposure_name", "exposure_sector", "correlation"
HARD_LEVERAGE = Decimal(2)  # Regulation T overnight (D28); no setting goes beyond it


def check_positions(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening when the book is full or its size unknown."""
    limit, count = f"< {limits.max_positions}", facts.open_positions
    if closes(request):
        return exempt(POSITIONS, limit)
    if count is None:
        return refused(POSITIONS, "positions_unknown", "unknown", limit)
    if count >= limits.max_positions:
        return refused(POSITIONS, "max_positions", count, limit)
    return passed(POSITIONS, count, limit)


def check_held(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening in a symbol that is held or on order as often as one may be."""
    limit, count = f"< {limits.max_per_symbol}", facts.symbol_positions
    if closes(request):
        return exempt(HELD, limit)
    if count is None:
        return refused(HELD, "held_unknown", "unknown", limit)
    if count >= limits.max_per_symbol:
        return refused(HELD, "symbol_held", count, limit)
    return passed(HELD, count, limit)


def check_gross(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that takes the open notional over its share of equity, or over the leverage."""
    leverage = min(limits.leverage, HARD_LEVERAGE)
    limit = f"<= {limits.max_gross} and <= {leverage} of equity"
    if closes(request):
        return exempt(GROSS, limit)
    cost = cost_of(request)
    if not known(facts.gross_usd) or not known(facts.equity_usd) or cost is None:
        return refused(GROSS, "gross_unknown", f"{facts.gross_usd} open, equity {facts.equity_usd}", limit)
    total = facts.gross_usd + cost
    observed = f"{total} of {facts.equity_usd}"
    if total > leverage * facts.equity_usd:
        return refused(GROSS, "leverage", observed, limit)
    if total > limits.max_gross * facts.equity_usd:
        return refused(GROSS, "exposure_gross", observed, limit)
    return passed(GROSS, observed, limit)


def check_name(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that takes one name over its share of equity."""
    return _part(NAME, request, facts.name_usd, facts.equity_usd, limits.max_name)


def check_sector(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that takes a sector over its share of equity; names without one are one sector together."""
    return _part(SECTOR, request, facts.sector_usd, facts.equity_usd, limits.max_sector)


def _part(gate: str, request: OrderRequest, used: Decimal | None, equity: Decimal | None, most: Decimal) -> Verdict:
    limit = f"<= {most} of equity"
    if closes(request):
        return exempt(gate, limit)
    cost = cost_of(request)
    if not known(used) or not known(equity) or cost is None:
        return refused(gate, f"{gate.removeprefix('exposure_')}_unknown", f"{used} open, equity {equity}", limit)
    observed = f"{used + cost} of {equity}"
    return passed(gate, observed, limit) if used + cost <= most * equity else refused(gate, gate, observed, limit)


def check_correlation(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse an opening that moves like something held, or whose likeness to it cannot be told."""
    limit, pairs = f"< {limits.max_correlation:g}", facts.correlations
    if closes(request):
        return exempt(CORRELATION, limit)
    if pairs is None:
        return refused(CORRELATION, "correlation_unknown", "unknown", limit)
    unknown, top, like = "", -math.inf, "nothing held"
    for symbol, rho in pairs.items():
        if rho is None or math.isnan(rho):
            unknown = symbol
        elif rho > top:
            top, like = rho, f"{symbol} {rho:.4f}"
    if top >= limits.max_correlation:
        return refused(CORRELATION, "correlated", like, limit)
    if unknown:
        return refused(CORRELATION, "correlation_unknown", unknown, limit)
    return passed(CORRELATION, like, limit)


def check_duplicate(_request: OrderRequest, facts: GateFacts, _limits: Limits) -> Verdict:
    """Refuse an order whose name was ever sent, exits included: one intent, at most one order."""
    if facts.already_ordered is None:
        return refused(DUPLICATE, "duplicate_unknown", "unknown", "never sent")
    if facts.already_ordered:
        return refused(DUPLICATE, "duplicate_intent", "sent before", "never sent")
    return passed(DUPLICATE, "never sent", "never sent")
