"""A strategy's rules one by one, with what was seen and what was asked: why a symbol gave no signal, and what would.

`Strategy.signals` decides; these say why. `tests/property/test_conditions.py` holds that a row gives a long signal
exactly where every condition is met.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.features.table import FeatureTable
from kobe.strategies.spec import THRESHOLD_NOISE, BaseParams

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One rule at some rows.

    Attributes:
        code: reason code of a row that breaks it.
        label: what is looked at, for people.
        observed: float64[rows]; NaN where it is unknown, and the unknown breaks every rule.
        sense: `<=`, `>=` or `>`.
        limit: float64[rows], what it is compared with.
        met: bool[rows].
        scale: what one large step of it is, to tell near misses from far ones; infinite: every miss is far.
        close_for: float64[rows], the close that would have met it with the rest of the bar as it was; NaN: none does.
    """

    code: str
    label: str
    observed: Floats
    sense: str
    limit: Floats
    met: Mask
    scale: float
    close_for: Floats

    def miss(self) -> Floats:
        """Return by how many scales each row misses, 0 where it does not; infinite where no miss is a near one."""
        off = np.abs(self.observed - self.limit) / self.scale
        far = np.isnan(off) | np.isinf(self.scale)
        return np.where(self.met, 0.0, np.where(far, np.inf, off))


def condition(
    code: str, label: str, observed: Floats, sense: str, limit: Floats | float, *, scale: float = np.inf,
    noise: Floats | float = 0.0, close_for: Floats | None = None,
) -> Condition:  # fmt: skip
    """Judge a rule.

    Args:
        code: reason code.
        label: for people.
        observed: float64[rows].
        sense: `<=`, `>=` or `>`.
        limit: what it is compared with.
        scale: see `Condition`.
        noise: float noise the strategy allows for: inclusive bounds reach further by it, strict ones less far.
        close_for: see `Condition`.
    """
    seen = np.asarray(observed, dtype=np.float64)
    bound = np.broadcast_to(np.asarray(limit, dtype=np.float64), seen.shape)
    met = {"<=": seen <= bound + noise, ">=": seen >= bound - noise, ">": seen - bound > noise}[sense]
    needed = np.full(len(seen), np.nan) if close_for is None else close_for
    return Condition(
        code=code, label=label, observed=seen, sense=sense, limit=bound, met=met, scale=scale, close_for=needed
    )


def shared_conditions(panel: Panel, features: FeatureTable, params: BaseParams, rows: Rows) -> list[Condition]:
    """Return what every strategy asks of a symbol before its own setup, in the order the funnel counts them."""
    before = (rows - panel.offsets[panel.symbol_of_row[rows]]).astype(np.float64)
    close, average = panel.close[rows], features.column("sma", params.sma_bars)[rows]
    adv, atr = features.column("adv_usd", 20)[rows], features.column("atr", params.atr_bars)[rows]
    p = params
    return [
        condition("not_tradable", "in the universe and on no hold", panel.tradable[rows].astype(float), ">=", 1.0),
        condition("too_young", "earlier bars", before, ">=", p.min_history_bars),
        condition("price_too_low", "raw close, $", close * panel.raw_factor[rows], ">=", p.min_price_usd),
        condition("too_illiquid", "average dollar volume of 20 bars, $", adv, ">=", p.min_adv_usd),
        condition("no_movement", f"ATR({p.atr_bars}), $", atr, ">", 0.0),
        condition("below_trend", f"close above SMA({p.sma_bars}), $", close, ">", average,
                  noise=THRESHOLD_NOISE * np.abs(average), close_for=average),
    ]  # fmt: skip


def first_broken(conditions: Sequence[Condition]) -> npt.NDArray[np.int64]:
    """Return per row the number of the first condition it breaks, or how many there are where it breaks none."""
    found = np.full(len(conditions[0].met), len(conditions), dtype=np.int64)
    for k in range(len(conditions) - 1, -1, -1):
        found[~conditions[k].met] = k
    return found
