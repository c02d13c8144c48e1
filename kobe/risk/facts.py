"""What the gates look at: limits from the configuration and facts gathered for one order."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from kobe.core.ports import Asset, Quote
from kobe.core.types import Effect, Mode, OrderRequest, OrderType

DayTradePolicy = Literal["intraday_margin", "legacy_pdt", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds an order must respect; money in dollars, shares of equity as fractions, both sides tested (DOMAIN 11)."""

    order_usd: Decimal = Decimal(75)
    day_usd: Decimal = Decimal(1000)
    max_positions: int = 5
    max_per_symbol: int = 1
    min_price_usd: Decimal = Decimal(5)
    min_adv_usd: float = 5e6
    trust_iex_volume: bool = False
    max_spread: Decimal = Decimal("0.02")
    quote_max_age_s: float = 15.0
    open_delay_s: float = 300.0
    close_margin_s: float = 120.0
    max_clock_skew_s: float = 2.0
    luld_margin: Decimal = Decimal("0.005")
    limit_max_atr: Decimal = Decimal("2.0")
    max_gross: Decimal = Decimal("0.20")
    max_name: Decimal = Decimal("0.05")
    max_sector: Decimal = Decimal("0.10")
    max_correlation: float = 0.70
    day_drawdown: Decimal = Decimal("0.08")
    month_drawdown: Decimal = Decimal("0.20")
    min_size: Decimal = Decimal("0.0025")
    max_size: Decimal = Decimal("0.02")
    max_adv_share: Decimal = Decimal("0.01")
    leverage: Decimal = Decimal(1)
    allow_shorts: bool = False
    day_trade_policy: DayTradePolicy = "intraday_margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """Everything known about the moment an order is judged. None means unknown, and unknown refuses.

    What only openings are asked about is unknown unless it is given: an exit needs none of it and waits for none.

    Attributes:
        now: instant of the judgement.
        opens_at, closes_at: today's session, None when the exchange is closed today.
        kill_reason: why the kill switch blocks, None when it does not.
        mode: what the system may do.
        environment: of the broker: sim, paper or live.
        keys_fault: why keys and address do not belong together, empty when they do.
        armed: whether `--live` was given; asked of live orders only.
        clock_skew_s: our clock minus the broker's.
        quote: current quote, None when there is none.
        asset: what the broker lets one do with the symbol.
        tradable: whether the symbol is in the universe and on no hold as of its last complete session.
        prohibited: reasons on the prohibited list in force now; empty when there are none.
        clear_of_earnings: whether no announcement is near, as far as known at the last close; True where the filter is
            off.
        raw_close: last complete session's raw close.
        atr_usd: ATR of the last complete session in raw dollars.
        adv_usd: average dollar volume over 20 completed sessions.
        adv_feed: whose volume that is, such as `sip`, `iex` or a file's source.
        size_cap: shares the sizing allows, and the cap that bound it in `size_bound_by`.
        day_used_usd: opening notional spent and reserved today.
        open_positions: positions open or on their way.
        symbol_positions: how many of them are in this symbol.
        gross_usd, name_usd, sector_usd: open notional of all, of this symbol and of its sector, reservations included.
        equity_usd: equity of the account now.
        last_equity_usd: equity at the close of the session before, money moved since then included.
        month_peak_usd: highest equity since the month began in New York, money moved since then included.
        correlations: correlation of daily returns with each held symbol, its sign turned where the directions differ;
            None for a pair that cannot be told.
        breakers: breaker -> why it is open; empty when all are closed.
        account_blocked: whether the broker refuses trading.
        cash_usd: free cash at the broker.
        buying_power_usd: what the broker lets one buy for.
        maintenance_usd: margin that must be kept at the broker.
        day_trades: round trips opened and closed on one date in the last five sessions, by our own ledger.
        short_restricted: whether Regulation SHO rule 201 is in force for the symbol.
        may_short: whether the broker lets the account sell short.
        already_ordered: whether an order of this name was ever sent.
        luld_tier: 1 or 2 of the LULD plan; unknown counts as 1, whose band is the narrower.
    """

    now: datetime
    opens_at: datetime | None
    closes_at: datetime | None
    kill_reason: str | None
    mode: Mode
    environment: str | None
    keys_fault: str | None
    armed: bool
    quote: Quote | None
    raw_close: Decimal | None
    account_blocked: bool | None
    already_ordered: bool | None
    clock_skew_s: float | None = None
    asset: Asset | None = None
    tradable: bool | None = None
    prohibited: tuple[str, ...] | None = None
    clear_of_earnings: bool | None = None
    atr_usd: Decimal | None = None
    adv_usd: float | None = None
    adv_feed: str | None = None
    size_cap: int | None = None
    size_bound_by: str = ""
    day_used_usd: Decimal | None = None
    open_positions: int | None = None
    symbol_positions: int | None = None
    gross_usd: Decimal | None = None
    name_usd: Decimal | None = None
    sector_usd: Decimal | None = None
    equity_usd: Decimal | None = None
    last_equity_usd: Decimal | None = None
    month_peak_usd: Decimal | None = None
    correlations: Mapping[str, float | None] | None = None
    breakers: Mapping[str, str] | None = None
    cash_usd: Decimal | None = None
    buying_power_usd: Decimal | None = None
    maintenance_usd: Decimal | None = None
    day_trades: int | None = None
    short_restricted: bool | None = None
    may_short: bool | None = None
    luld_tier: int | None = None


def closes(request: OrderRequest) -> bool:
    """Whether the order reduces risk; budgets and selection gates never hold such an order back."""
    return request.effect is Effect.CLOSE


def rests(request: OrderRequest) -> bool:
    """Whether the order guards a position at the broker and waits there."""
    return closes(request) and request.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)
