"""Gates, in evaluation order (DOMAIN 4.5). All are evaluated and recorded, even after the first refusal.

To add one: a module with a `check` that never raises on valid input and refuses what it does not know,
then one line below, its codes in `codes.CODES` and its settings in `codes.SETTINGS`.
"""

from collections.abc import Callable

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import (
    account,
    budget,
    connection,
    eligibility,
    exposure,
    hours,
    kill_switch,
    limit_band,
    liquidity,
    mode,
    quote,
    safety,
)

Gate = Callable[[OrderRequest, GateFacts, Limits], Verdict]

GATES: dict[str, Gate] = {
    "kill_switch": kill_switch.check,
    "mode": mode.check,
    "keys": connection.check_keys,
    "clock": connection.check_clock,
    "hours": hours.check_hours,
    "halted": hours.check_halted,
    "asset": eligibility.check_asset,
    "tradable": eligibility.check_tradable,
    "prohibited": eligibility.check_prohibited,
    "earnings": eligibility.check_earnings,
    "price": liquidity.check_price,
    "adv": liquidity.check_adv,
    "quote": quote.check_sanity,
    "spread": quote.check_spread,
    "limit_band": limit_band.check,
    "order_budget": budget.check_order,
    "size": budget.check_size,
    "day_budget": budget.check_day,
    "max_positions": exposure.check_positions,
    "symbol_held": exposure.check_held,
    "exposure_gross": exposure.check_gross,
    "exposure_name": exposure.check_name,
    "exposure_sector": exposure.check_sector,
    "correlation": exposure.check_correlation,
    "drawdown": safety.check_drawdown,
    "breakers": safety.check_breakers,
    "account": account.check_account,
    "margin": account.check_margin,
    "short": account.check_short,
    "duplicate": exposure.check_duplicate,
}
