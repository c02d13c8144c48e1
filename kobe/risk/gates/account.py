"""What the account allows: standing, cash, buying power, margin through the day, and selling short."""

from decimal import Decimal

from kobe.core.types import OrderRequest, Side, Verdict
from kobe.risk.answers import cost_of, exempt, known, passed, refused
from kobe.risk.facts import GateFacts, Limits, closes
from kobe.risk.gates.exposure import HARD_LEVERAGE

ACCOUNT, MARGIN, SHORT = "account", "margin", "short"
SHORT_MARK_UP = Decimal("1.03")  # Alpaca reserves for a short the higher of its limit and 103% of the ask
MARGIN_SHARE, LOW_PRICE, LOW_PRICE_SHARE = Decimal("0.30"), Decimal("2.50"), Decimal(1)
PDT_EQUITY, PDT_TRADES = Decimal(25_000), 3
SHORT_EQUITY = Decimal(2_000)


def check_account(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse when the broker blocks the account or an opening costs more than cash and buying power hold."""
    if facts.account_blocked is None:
        return refused(ACCOUNT, "account_unknown", "unknown", "not blocked")
    if facts.account_blocked:
        return refused(ACCOUNT, "account_blocked", "blocked", "not blocked")
    if closes(request):
        return exempt(ACCOUNT, "not blocked")
    return _affordable(request, facts, limits)


def _affordable(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    cost, cash = cost_of(request), spendable(facts.cash_usd, facts.equity_usd, limits)
    if cost is None or cash is None:
        return refused(ACCOUNT, "cash_unknown", f"order {cost}, cash {facts.cash_usd}", "known")
    if cost > cash:
        return refused(ACCOUNT, "no_cash", cost, f"<= {cash}")
    power = facts.buying_power_usd
    if power is None and facts.environment == "sim":
        return passed(ACCOUNT, cost, f"<= {cash}")
    if not known(power):
        return refused(ACCOUNT, "buying_power_unknown", power or "unknown", "known")
    needed = _reserved(request, facts, cost)
    if needed > power:
        return refused(ACCOUNT, "buying_power", needed, f"<= {power}")
    return passed(ACCOUNT, needed, f"<= {min(cash, power)}")


def spendable(cash: Decimal | None, equity: Decimal | None, limits: Limits) -> Decimal | None:
    """Return the cash, and with leverage above 1 what may be borrowed on the equity; None when unknown."""
    if not known(cash):
        return None
    if limits.leverage <= 1:
        return cash
    return cash + (min(limits.leverage, HARD_LEVERAGE) - 1) * equity if known(equity) else None


def _reserved(request: OrderRequest, facts: GateFacts, cost: Decimal) -> Decimal:
    """Buying power the broker sets aside for the order."""
    ask = None if facts.quote is None else facts.quote.ask
    if request.side is Side.LONG or not known(ask):
        return cost
    return max(cost, SHORT_MARK_UP * ask * request.quantity)


def check_margin(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse openings the margin rules do not allow (D24): FINRA's intraday margin, or the old day-trade count."""
    if closes(request):
        return exempt(MARGIN, limits.day_trade_policy)
    if limits.day_trade_policy == "off":
        return exempt(MARGIN, "any", "policy off")
    if limits.day_trade_policy == "legacy_pdt":
        return _pattern_day_trader(facts)
    return _intraday_margin(request, facts)


def _intraday_margin(request: OrderRequest, facts: GateFacts) -> Verdict:
    kept, equity, cost = facts.maintenance_usd, facts.equity_usd, cost_of(request)
    if kept is None and facts.environment == "sim":
        kept = Decimal(0)
    if not known(kept) or not known(equity) or cost is None or request.limit_price is None:
        return refused(MARGIN, "margin_unknown", f"equity {equity}, margin kept {kept}", "known")
    share = LOW_PRICE_SHARE if request.limit_price < LOW_PRICE else MARGIN_SHARE
    needed = kept + share * cost
    limit = f"<= equity {equity}"
    return passed(MARGIN, needed, limit) if equity >= needed else refused(MARGIN, "margin_short", needed, limit)


def _pattern_day_trader(facts: GateFacts) -> Verdict:
    limit = f"equity >= {PDT_EQUITY} or < {PDT_TRADES} day trades in five sessions"
    equity, trades = facts.equity_usd, facts.day_trades
    if not known(equity) or trades is None:
        return refused(MARGIN, "pdt_unknown", f"equity {equity}, day trades {trades}", limit)
    observed = f"equity {equity}, {trades} day trades"
    good = equity >= PDT_EQUITY or trades < PDT_TRADES
    return passed(MARGIN, observed, limit) if good else refused(MARGIN, "pdt", observed, limit)


def check_short(request: OrderRequest, facts: GateFacts, limits: Limits) -> Verdict:
    """Refuse short openings unless allowed, easy to borrow, not restricted by rule 201, and backed by $2,000."""
    limit = "allowed, shortable, easy to borrow, unrestricted"
    if closes(request) or request.side is Side.LONG:
        return exempt(SHORT, limit, "no short opening")
    asset, equity = facts.asset, facts.equity_usd
    if not limits.allow_shorts:
        return refused(SHORT, "shorts_off", "risk.allow_shorts = false", limit)
    if asset is None or facts.short_restricted is None or facts.may_short is None or not known(equity):
        seen = f"asset {asset and asset.symbol}, rule 201 {facts.short_restricted}, equity {equity}"
        return refused(SHORT, "short_unknown", seen, limit)
    hindrances = {
        "account_may_not_short": not facts.may_short, "not_shortable": not asset.shortable,
        "hard_to_borrow": not asset.easy_to_borrow, "short_restricted": facts.short_restricted,
    }  # fmt: skip
    for code, hinders in hindrances.items():
        if hinders:
            return refused(SHORT, code, code.replace("_", " "), limit)
    if equity < SHORT_EQUITY:
        return refused(SHORT, "short_equity", equity, f">= {SHORT_EQUITY}")
    return passed(SHORT, "may be sold short", limit)
