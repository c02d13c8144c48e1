"""What the gates look at: limits from the configuration and facts gathered for one order."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kobe.core.ports import Quote
from kobe.core.types import Effect, Mode, OrderRequest, Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds an order must respect; money in dollars, every one tested on both sides (DOMAIN 11)."""

    order_usd: Decimal = Decimal(75)
    day_usd: Decimal = Decimal(1000)
    max_positions: int = 5
    min_price_usd: Decimal = Decimal(5)
    min_adv_usd: float = 5e6
    max_spread: Decimal = Decimal("0.02")
    quote_max_age_s: float = 15.0
    open_delay_s: float = 300.0
    close_margin_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """Everything known about the moment an order is judged. None means unknown, and unknown refuses.

    Attributes:
        now: instant of the judgement.
        opens_at, closes_at: today's session, None when the exchange is closed today.
        kill_reason: why the kill switch blocks, None when it does not.
        mode: what the system may do.
        quote: current quote, None when there is none.
        tradable: whether the symbol is in the universe and on no hold as of its last complete session.
        clear_of_earnings: whether no announcement is near, as far as known at the last close; True where the filter is
            off.
        raw_close: last complete session's raw close.
        adv_usd: average dollar volume over 20 completed sessions.
        day_used_usd: opening notional spent and reserved today.
        open_positions: positions open or on their way.
        symbol_held: whether this symbol is among them.
        already_ordered: whether an order of this name was ever sent.
        cash_usd: free cash at the broker.
        account_blocked: whether the broker refuses trading.
    """

    now: datetime
    opens_at: datetime | None
    closes_at: datetime | None
    kill_reason: str | None
    mode: Mode
    quote: Quote | None
    tradable: bool | None
    clear_of_earnings: bool | None
    raw_close: Decimal | None
    adv_usd: float | None
    day_used_usd: Decimal | None
    open_positions: int | None
    symbol_held: bool | None
    already_ordered: bool | None
    cash_usd: Decimal | None
    account_blocked: bool | None


def verdict(gate: str, *, good: bool, code: str, observed: object, limit: object) -> Verdict:
    """Build a verdict: PASS, or REJECT with its reason code."""
    return Verdict(
        gate=gate,
        outcome=Outcome.PASS if good else Outcome.REJECT,
        code="ok" if good else code,
        observed=str(observed),
        limit=str(limit),
    )


def closes(request: OrderRequest) -> bool:
    """Whether the order reduces risk; budgets and selection gates never hold such an order back."""
    return request.effect is Effect.CLOSE
