"""Every code a gate may refuse with: what it means and what an operator does; a contract test holds it complete."""

from dataclasses import dataclass

SHOW = "kobe gates last shows what was seen"
ASK_BROKER = "kobe broker account; the next run asks again"


@dataclass(frozen=True, slots=True)
class Code:
    """A refusal: its gate, its meaning in one sentence, and what to do next."""

    gate: str
    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    "kill_switch": Code("kill_switch", "the kill switch is on", "find out why, then kobe resume"),
    "mode": Code("mode", "the system's mode forbids this order", "kobe mode show names the source and its remedy"),
    "environment_unknown": Code("keys", "the broker is neither sim, paper nor live", "kobe config show; set run.mode"),
    "keys_unknown": Code("keys", "nobody checked the keys against the address", "kobe doctor"),
    "keys_mismatch": Code("keys", "keys and address do not belong together", "put the keys of this run.mode in place"),
    "live_not_armed": Code("keys", "live trading without --live", "give --live if real money is meant"),
    "clock_unknown": Code("clock", "the broker's clock could not be asked", ASK_BROKER),
    "clock_skew": Code("clock", "this machine's clock differs from the broker's", "synchronise the clock (NTP)"),
    "market_closed": Code("hours", "the exchange is closed today, or nobody knows its hours", "wait for a session"),
    "outside_hours": Code("hours", "too early after the open or too late before the close", "wait for the window"),
    "halted": Code("halted", "trading in the symbol is halted", "wait for its reopening; nothing is sent by itself"),
    "halt_unknown": Code("halted", "no quote tells whether trading is halted", "kobe doctor; see the quote's feed"),
    "asset_unknown": Code("asset", "the broker does not know the symbol", "check the symbol for a change of name"),
    "asset_inactive": Code("asset", "the broker lists the symbol as inactive", "leave it; look for a delisting"),
    "not_tradable_at_broker": Code("asset", "the broker does not let one trade the symbol", "leave it"),
    "tradable_unknown": Code("tradable", "there is no bar of the symbol", "kobe data status; fetch or import bars"),
    "not_tradable": Code("tradable", "the symbol is on hold or outside the universe", "kobe data quarantine list"),
    "prohibited": Code("prohibited", "the symbol is on the prohibited list", "kobe prohibit list; wait, or remove it"),
    "prohibitions_unknown": Code(
        "prohibited", "an entry of the prohibited list cannot be read", "kobe prohibit list --all, then remove it"
    ),
    "earnings_near": Code("earnings", "an earnings announcement is near", "wait; kobe earnings window SYMBOL"),
    "earnings_unknown": Code("earnings", "no calendar speaks for the session", "kobe earnings import FILE"),
    "price_unknown": Code("price", "no raw close is known", "kobe data status; fetch or import bars"),
    "price_too_low": Code("price", "the last raw close is below the least price", "leave it"),
    "adv_unknown": Code("adv", "no average dollar volume is known", "kobe data status; 20 sessions are needed"),
    "adv_too_low": Code("adv", "too few dollars change hands in a day", "leave it"),
    "adv_feed_unknown": Code("adv", "nobody knows whose volume it is", "kobe data status; import from a named source"),
    "adv_feed_untrusted": Code(
        "adv", "the volume is of IEX alone, a few percent of the tape",
        "bring bars of the whole tape in, or set risk.trust_iex_volume",
    ),
    "bad_quote": Code("quote", "no quote, or one that is zero, crossed, one-sided or old", SHOW + "; try again"),
    "spread_unknown": Code("spread", "without a sane quote there is no spread", "as for bad_quote"),
    "spread_too_wide": Code("spread", "bid and ask are too far apart", "wait; an opening is retried once at 10:30"),
    "band_unknown": Code("limit_band", "neither last trade nor close is known", "kobe data status; see the quote"),
    "luld_band": Code("limit_band", "the limit is too near or beyond the exchange's price band", "wait; do not chase"),
    "atr_unknown": Code("limit_band", "no close or no ATR to measure the limit with", "kobe data status"),
    "limit_too_far": Code("limit_band", "the price left the last close by too many ATR", "leave it: the signal is old"),
    "no_limit_price": Code("order_budget", "an opening without a limit could cost anything", "report it as a defect"),
    "order_cap": Code("order_budget", "the order costs more than one order may", "fewer shares, or another cap"),
    "size_unknown": Code("size", "the order was never sized", "report it as a defect"),
    "size_cap": Code("size", "more shares than the sizing allows", "see the cap that bound it in kobe gates last"),
    "day_cap_unknown": Code("day_budget", "today's spending is not known", "kobe reconcile"),
    "day_cap": Code("day_budget", "today's budget is spent or reserved", "wait for the next New York date"),
    "positions_unknown": Code("max_positions", "the number of positions is not known", "kobe reconcile"),
    "max_positions": Code("max_positions", "as many positions are open as may be", "wait until one is closed"),
    "held_unknown": Code("symbol_held", "nobody knows whether the symbol is held", "kobe reconcile"),
    "symbol_held": Code("symbol_held", "the symbol is held or on order already", "wait until it is closed"),
    "gross_unknown": Code("exposure_gross", "open notional or equity is not known", ASK_BROKER),
    "exposure_gross": Code("exposure_gross", "too much of the equity would be open", "wait until something is closed"),
    "leverage": Code("exposure_gross", "more would be open than leverage allows", "wait until something is closed"),
    "name_unknown": Code("exposure_name", "open notional of the name or equity is not known", ASK_BROKER),
    "exposure_name": Code("exposure_name", "too much of the equity would be in one name", "fewer shares"),
    "sector_unknown": Code("exposure_sector", "open notional of the sector or equity is not known", ASK_BROKER),
    "exposure_sector": Code("exposure_sector", "too much of the equity would be in a sector", "wait, or fewer shares"),
    "correlation_unknown": Code(
        "correlation", "the likeness to something held cannot be told", "40 common sessions of bars are needed"
    ),
    "correlated": Code("correlation", "the symbol moves like something held", "wait until that one is closed"),
    "equity_unknown": Code("drawdown", "equity, last close or the month's peak is not known", ASK_BROKER),
    "safe_mode_day": Code(
        "drawdown", "too much was lost since the last close",
        "next session: kobe limits reset drawdown_day --reason WHY",
    ),
    "safe_mode_month": Code(
        "drawdown", "too much was lost since the month's highest equity",
        "find out why, then kobe limits reset drawdown_month --reason WHY",
    ),
    "breakers_unknown": Code("breakers", "the breakers' record cannot be read", "kobe doctor"),
    "breaker_open": Code("breakers", "a circuit breaker is open", "kobe limits breakers; it half-opens next session"),
    "account_unknown": Code("account", "the account's standing is not known", ASK_BROKER),
    "account_blocked": Code("account", "the broker refuses trading in the account", "ask the broker"),
    "cash_unknown": Code("account", "cash is not known, or the order's cost", ASK_BROKER),
    "no_cash": Code("account", "the order costs more than the free cash", "wait for sales to settle"),
    "buying_power_unknown": Code("account", "the broker does not tell the buying power", ASK_BROKER),
    "buying_power": Code("account", "the order needs more than the buying power", "wait, or fewer shares"),
    "margin_unknown": Code("margin", "the margin that must be kept is not known", ASK_BROKER),
    "margin_short": Code("margin", "the equity would fall below the margin to be kept", "close something first"),
    "pdt_unknown": Code("margin", "equity or day trades are not known", "kobe reconcile"),
    "pdt": Code("margin", "it could become the fourth day trade in five sessions below $25,000", "wait"),
    "shorts_off": Code("short", "selling short is not allowed", "it is research only: risk.allow_shorts"),
    "short_unknown": Code("short", "asset, rule 201 or equity is not known", ASK_BROKER),
    "account_may_not_short": Code("short", "the broker does not let the account sell short", "leave it"),
    "not_shortable": Code("short", "the broker does not lend the symbol", "leave it"),
    "hard_to_borrow": Code("short", "the symbol is hard to borrow", "leave it"),
    "short_restricted": Code("short", "rule 201 is in force after a fall of a tenth", "wait until the day after next"),
    "short_equity": Code("short", "selling short needs $2,000 of equity", "leave it"),
    "duplicate_unknown": Code("duplicate", "nobody knows whether the order was sent", "kobe reconcile"),
    "duplicate_intent": Code("duplicate", "an order of this name was sent before", "nothing: it is sent once"),
}  # fmt: skip

_DRAWDOWN = ("risk.day_drawdown", "risk.month_drawdown")
SETTINGS: dict[str, tuple[str, ...]] = {
    "keys": ("run.mode", "broker.base_url"),
    "clock": ("risk.max_clock_skew_s",),
    "hours": ("risk.open_delay_s", "risk.close_margin_s", "calendar.extra_closures"),
    "tradable": ("data.universe",),
    "earnings": ("earnings.enabled", "earnings.before_sessions", "earnings.after_sessions", "earnings.unknown"),
    "price": ("risk.min_price_usd",),
    "adv": ("risk.min_adv_usd", "risk.trust_iex_volume"),
    "quote": ("risk.quote_max_age_s",),
    "spread": ("risk.max_spread",),
    "limit_band": ("risk.luld_margin", "risk.limit_max_atr"),
    "order_budget": ("risk.order_max_usd",),
    "size": ("risk.min_size", "risk.max_size", "risk.max_adv_share"),
    "day_budget": ("risk.day_max_usd",),
    "max_positions": ("risk.max_positions",),
    "symbol_held": ("risk.max_per_symbol",),
    "exposure_gross": ("risk.max_gross", "risk.leverage"),
    "exposure_name": ("risk.max_name",),
    "exposure_sector": ("risk.max_sector", "scan.sectors_file"),
    "correlation": ("risk.max_correlation",),
    "drawdown": _DRAWDOWN,
    "breakers": ("breakers.daily_loss", "breakers.losing_streak", "breakers.errors", "breakers.errors_window_s",
                 "breakers.rejects_of_last", "breakers.reject_rate", "breakers.stale_sessions"),
    "account": ("risk.leverage",),
    "margin": ("risk.day_trade_policy",),
    "short": ("risk.allow_shorts",),
}  # fmt: skip
"""Gate -> the settings it goes by; a gate that is not here has none."""

HOLDS_EXITS = ("kill_switch", "mode", "keys", "hours", "quote", "limit_band", "account", "duplicate")
"""Gates that may hold an exit back; every other one lets it through."""


def of_gate(gate: str) -> dict[str, Code]:
    """Return the codes of one gate, in the table's order."""
    return {name: code for name, code in CODES.items() if code.gate == gate}
