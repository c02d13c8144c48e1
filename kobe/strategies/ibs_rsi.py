"""IBS + RSI(2): buy weakness inside an uptrend (DOMAIN 1.2, D4 to D7).

Sources: Pagonidis 2013 for IBS; Connors and Alvarez 2008 for RSI(2) above the 200-day average. The 2 x ATR stop
is a risk policy: Connors found that hard stops cost mean reversion money, so reports show both.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Ints, Panel
from kobe.core.signal_table import SignalTable
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
    in_trend,
    usable_key,
)  # fmt: skip

NAME = "ibs_rsi"
COARSE_IBS, COARSE_RSI = 0.25, 25.0


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


def _exit_mask(panel: Panel, features: FeatureTable, params: IbsRsiParams) -> npt.NDArray[np.uint8]:
    from kobe.features import row_conditions

    def compute() -> npt.NDArray[np.uint8]:
        if params.exit_rule == "rsi":
            rsi = features.column("rsi", params.rsi_bars)
            return row_conditions.exit_bits(rsi, 70.0 - THRESHOLD_NOISE, 30.0 + THRESHOLD_NOISE)
        if params.exit_rule == "sma5":
            average = features.column("sma", 5)
            return beyond(1, panel.close, average) * LONG_EXIT + beyond(-1, panel.close, average) * SHORT_EXIT
        if params.exit_rule == "ibs":
            return row_conditions.exit_bits(features.column("ibs"), 0.8 - THRESHOLD_NOISE, 0.2 + THRESHOLD_NOISE)
        msg = f"unknown exit_rule {params.exit_rule!r}: rsi, sma5 or ibs"
        raise ValueError(msg)

    return features.derived((NAME, "exit", params.exit_rule, params.rsi_bars), compute)


@dataclass(frozen=True, slots=True)
class _Weak:
    """Rows in the trend that are weak enough for any threshold up to a coarse one, with what is judged there."""

    rows: Ints
    ibs: Floats
    rsi: Floats


def _weak(panel: Panel, features: FeatureTable, params: IbsRsiParams) -> _Weak:
    """Find them once for all combinations whose thresholds round up to the same coarse ones."""
    from kobe.features import row_conditions

    ibs_top = np.ceil(params.ibs_max / COARSE_IBS) * COARSE_IBS + 2.0 * THRESHOLD_NOISE
    rsi_top = np.ceil(params.rsi_max / COARSE_RSI) * COARSE_RSI + 2.0 * THRESHOLD_NOISE

    def compute() -> _Weak:
        ibs, rsi = features.column("ibs"), features.column("rsi", params.rsi_bars)
        above = in_trend(panel, features, params, 1)
        return _Weak(*row_conditions.rows_within(above, ibs, -np.inf, ibs_top, rsi, -np.inf, rsi_top))

    key = (NAME, "weak", ibs_top, params.rsi_bars, rsi_top, usable_key(params, 1))
    return features.derived(key, compute)


def signals(panel: Panel, features: FeatureTable, params: IbsRsiParams) -> SignalTable:
    """Return every setup of the panel; a signal at row t is known at close t and filled at the open of t + 1."""
    from kobe.features import row_conditions

    ibs_max, rsi_max = params.ibs_max + THRESHOLD_NOISE, params.rsi_max + THRESHOLD_NOISE
    weak = _weak(panel, features, params)
    long = np.flatnonzero((weak.ibs <= ibs_max) & (weak.rsi <= rsi_max))
    stretch = 1.0 - (weak.ibs[long] + weak.rsi[long] / 100.0) / 2.0
    setups = [Setup(sign=1, rows=weak.rows[long], score=stretch)]
    if params.shorts:
        ibs, rsi = features.column("ibs"), features.column("rsi", params.rsi_bars)
        below = in_trend(panel, features, params, -1)
        rows, ibs, rsi = row_conditions.rows_within(below, ibs, 1.0 - ibs_max, np.inf, rsi, 100.0 - rsi_max, np.inf)
        setups.append(Setup(sign=-1, rows=rows, score=(ibs + rsi / 100.0) / 2.0))
    return build_table(NAME, features, params, setups, _exit_mask(panel, features, params))


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
