"""IBS + RSI(2): buy weakness inside an uptrend (DOMAIN 1.2, D4 to D7).

Sources: Pagonidis 2013 for IBS; Connors and Alvarez 2008 for RSI(2) above the 200-day average. The 2 x ATR stop
is a risk policy: Connors found that hard stops cost mean reversion money, so reports show both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Ints, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.passes import Passes
from kobe.features.table import FeatureTable
from kobe.strategies.conditions import Condition, condition, shared_conditions
from kobe.strategies.spec import (
    LONG_EXIT,
    SHORT_EXIT,
    THRESHOLD_NOISE,
    BaseParams,
    Setup,
    Strategy,
    beyond,
    build_table,
    usable,
    usable_key,
)  # fmt: skip

NAME = "ibs_rsi"
COARSE_IBS, COARSE_RSI = 0.25, 25.0
Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class IbsRsiParams(BaseParams):
    """Thresholds of the setup, all inclusive, and the rule that ends a trade early.

    Attributes:
        ibs_max: largest IBS of a long setup; the short setup mirrors it as 1 - ibs_max.
        rsi_bars: period of Wilder's RSI.
        rsi_max: largest RSI of a long setup; mirrored as 100 - rsi_max.
        exit_rule: `rsi` (RSI >= 70), `sma5` (close > SMA5) or `ibs` (IBS >= 0.8), judged at each close.
    """

    ibs_max: float = 0.20
    rsi_bars: int = 2
    rsi_max: float = 10.0
    exit_rule: str = "rsi"


def _exit_mask(passes: Passes, params: IbsRsiParams) -> Bits:
    from kobe.features.row_conditions import exit_bits

    panel, features, key = passes.panel, passes.features, (NAME, "exit", params.exit_rule, params.rsi_bars)
    if params.exit_rule == "sma5":
        average = features.column("sma", 5)
        return features.derived(
            key, lambda: beyond(1, panel.close, average) * LONG_EXIT + beyond(-1, panel.close, average) * SHORT_EXIT
        )
    bounds = {
        "rsi": (70.0 - THRESHOLD_NOISE, 30.0 + THRESHOLD_NOISE),
        "ibs": (0.8 - THRESHOLD_NOISE, 0.2 + THRESHOLD_NOISE),
    }
    if params.exit_rule not in bounds:
        msg = f"unknown exit_rule {params.exit_rule!r}: rsi, sma5 or ibs"
        raise ValueError(msg)
    values = passes.column("rsi", params.rsi_bars) if params.exit_rule == "rsi" else passes.column("ibs")
    found: Bits = passes.marks(key, np.uint8, exit_bits, values, *bounds[params.exit_rule])
    return found


def _rows(passes: Passes, params: IbsRsiParams, sign: int, box: tuple[float, float, float, float]) -> Callable[[], Any]:
    """Ask for the rows in the trend with IBS and RSI in a box, and for both values there."""
    from kobe.features.row_conditions import rows_within

    ibs, rsi = passes.column("ibs"), passes.column("rsi", params.rsi_bars)
    key = (NAME, "rows", box, params.rsi_bars, usable_key(params, sign))
    return passes.rows(key, rows_within, usable(passes, params, sign), ibs, rsi, box)


def signals(panel: Panel, features: FeatureTable, params: IbsRsiParams) -> SignalTable:  # noqa: ARG001 - of features
    """Return every setup of the panel; a signal at row t is known at close t and filled at the open of t + 1.

    Candidates are found once for all combinations whose thresholds round up to the same coarse ones.
    """
    ibs_max, rsi_max = params.ibs_max + THRESHOLD_NOISE, params.rsi_max + THRESHOLD_NOISE
    ibs_top = float(np.ceil(params.ibs_max / COARSE_IBS) * COARSE_IBS + 2.0 * THRESHOLD_NOISE)
    rsi_top = float(np.ceil(params.rsi_max / COARSE_RSI) * COARSE_RSI + 2.0 * THRESHOLD_NOISE)
    passes = Passes(features)
    weak = _rows(passes, params, 1, (-np.inf, ibs_top, -np.inf, rsi_top))
    strong = _rows(passes, params, -1, (1.0 - ibs_top, np.inf, 100.0 - rsi_top, np.inf)) if params.shorts else None
    exits = _exit_mask(passes, params)
    passes.run()
    rows, ibs, rsi = weak()
    long = np.flatnonzero((ibs <= ibs_max) & (rsi <= rsi_max))
    setups = [Setup(sign=1, rows=rows[long], score=1.0 - (ibs[long] + rsi[long] / 100.0) / 2.0)]
    if strong is not None:
        rows, ibs, rsi = strong()
        short = np.flatnonzero((ibs >= 1.0 - ibs_max) & (rsi >= 100.0 - rsi_max))
        setups.append(Setup(sign=-1, rows=rows[short], score=(ibs[short] + rsi[short] / 100.0) / 2.0))
    return build_table(NAME, features, params, setups, exits)


def conditions(panel: Panel, features: FeatureTable, params: IbsRsiParams, rows: Ints) -> list[Condition]:
    """Return the rules of a long setup at some rows, shared ones first."""
    low, high = panel.low[rows], panel.high[rows]
    rsi = features.column("rsi", params.rsi_bars)[rows]
    return [
        *shared_conditions(panel, features, params, rows),
        condition("close_not_weak", "IBS", features.column("ibs")[rows], "<=", params.ibs_max, scale=1.0,
                  noise=THRESHOLD_NOISE, close_for=low + params.ibs_max * (high - low)),
        condition("not_washed_out", f"RSI({params.rsi_bars})", rsi, "<=", params.rsi_max, scale=100.0,
                  noise=THRESHOLD_NOISE),
    ]  # fmt: skip


SPEC = Strategy(
    name=NAME,
    summary="buys a close near the low of its bar with a washed-out RSI(2), above the 200-day average",
    defaults=IbsRsiParams(),
    grid={
        "ibs_max": (0.10, 0.15, 0.20, 0.25),
        "rsi_max": (5.0, 10.0, 15.0),
        "exit_rule": ("rsi", "sma5", "ibs"),
    },
    signals=signals,
    conditions=conditions,
)
