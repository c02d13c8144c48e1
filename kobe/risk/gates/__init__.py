"""Gates, in evaluation order (DOMAIN 4.5). All are evaluated and recorded, even after the first refusal.

To add one: a module with a `check` that never raises on valid input and refuses what it does not know,
then one line below.
"""

from collections.abc import Callable

from kobe.core.types import OrderRequest, Verdict
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import budget, eligibility, exposure, hours, kill_switch, liquidity, mode, quote

Gate = Callable[[OrderRequest, GateFacts, Limits], Verdict]

GATES: dict[str, Gate] = {
    "kill_switch": kill_switch.check,
    "mode": mode.check,
    "hours": hours.check,
    "tradable": eligibility.check_tradable,
    "earnings": eligibility.check_earnings,
    "price": liquidity.check_price,
    "adv": liquidity.check_adv,
    "quote": quote.check_sanity,
    "spread": quote.check_spread,
    "order_budget": budget.check_order,
    "day_budget": budget.check_day,
    "max_positions": exposure.check_positions,
    "symbol_held": exposure.check_held,
    "account": budget.check_account,
    "duplicate": exposure.check_duplicate,
}
