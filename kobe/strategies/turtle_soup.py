"""Turtle Soup: buy a failed break of an old low, confirmed by a close back inside (DOMAIN 1.3, D8 to D10).

Source: Raschke and Connors, Street Smarts, 1995, in its end-of-day form. "ICT" is only a label here: the intraday
version with fair-value gaps needs intraday bars and is not claimed (D2).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.passes import Passes
from kobe.features.table import FeatureTable
from kobe.strategies.conditions import Condition, condition, shared_conditions
from kobe.strategies.spec import THRESHOLD_NOISE, BaseParams, Setup, Strategy, build_table, usable

NAME = "turtle_soup"


@dataclass(frozen=True, kw_only=True)
class TurtleSoupParams(BaseParams):
    """The sweep's shape and the trade's frame.

    Attributes:
        lookback_bars: window of the prior extreme, today excluded.
        min_age_bars: least age of that extreme, inclusive.
        min_depth_atr, max_depth_atr: depth of the sweep in ATR of the day before, both inclusive.
        stop_mode: `atr` (2 ATR from the fill) or `sweep` (a fixed level beyond the day's extreme).
        sweep_pad_atr: how far beyond, in ATR of the signal day.
        target_r: profit target in units of risk.
    """

    lookback_bars: int = 20
    min_age_bars: int = 4
    min_depth_atr: float = 0.10
    max_depth_atr: float = 2.0
    stop_mode: str = "atr"
    sweep_pad_atr: float = 0.2
    target_r: float = 1.0


def _sweeps(
    panel: Panel, features: FeatureTable, params: TurtleSoupParams, sign: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the rows of sweeps of the prior low (sign +1) or, mirrored, of the prior high (-1), and their recovery."""
    from kobe.features.prior_kernels import lows_swept

    extreme = panel.low if sign > 0 else -panel.high
    passes = Passes(features)
    atr, trend = passes.column("atr", params.atr_bars), usable(passes, params, sign)
    found = passes.rows((NAME, "swept", sign, params.lookback_bars), lows_swept, extreme, params.lookback_bars)
    passes.run()
    swept, lowest, age = found()  # few rows: the rest is looked at there only
    over = sign * lowest
    before = np.where(swept > 0, atr[np.maximum(swept - 1, 0)], np.nan)  # the history rule excludes a first bar
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (lowest - extreme[swept]) / before
    recovery = sign * (panel.close[swept] - over)
    shallowest, deepest = params.min_depth_atr - THRESHOLD_NOISE, params.max_depth_atr + THRESHOLD_NOISE
    deep = (depth >= shallowest) & (depth <= deepest)
    fits = deep & (age >= params.min_age_bars) & (recovery > 0) & trend[swept]
    return swept[fits], recovery[fits]


def _setup(panel: Panel, features: FeatureTable, params: TurtleSoupParams, sign: int) -> Setup:
    """Give the sweeps their score and stop; what does not change them is not part of their key."""
    shape = replace(params, target_r=1.0, stop_mode="atr", sweep_pad_atr=0.0)
    rows, recovery = features.derived((NAME, sign, shape), lambda: _sweeps(panel, features, params, sign))
    atr = features.column("atr", params.atr_bars)
    extreme = panel.low if sign > 0 else panel.high
    stop: Any = None
    if params.stop_mode == "sweep":
        stop = extreme[rows] - sign * params.sweep_pad_atr * atr[rows]
    elif params.stop_mode != "atr":
        msg = f"unknown stop_mode {params.stop_mode!r}: atr or sweep"
        raise ValueError(msg)
    return Setup(sign=sign, rows=rows, score=recovery / (2.0 * atr[rows]), stop_level=stop)


def signals(panel: Panel, features: FeatureTable, params: TurtleSoupParams) -> SignalTable:
    """Return every confirmed sweep; known at close t, filled at the open of t + 1."""
    setups = [_setup(panel, features, params, sign) for sign in ((1, -1) if params.shorts else (1,))]
    no_signal_exit = features.derived((NAME, "exit"), lambda: np.zeros(len(panel), dtype=np.uint8))
    return build_table(NAME, features, params, setups, no_signal_exit, target_r=params.target_r)


def conditions(
    panel: Panel, features: FeatureTable, params: TurtleSoupParams, rows: npt.NDArray[np.int64]
) -> list[Condition]:
    """Return the rules of a long setup at some rows, shared ones first."""
    level = features.at("prior_low", params.lookback_bars, rows)
    age = features.at("prior_low_age", params.lookback_bars, rows)
    atr = features.column("atr", params.atr_bars)[np.maximum(rows - 1, 0)]
    low, close = panel.low[rows], panel.close[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (level - low) / atr
    return [
        *shared_conditions(panel, features, params, rows),
        condition("no_sweep", f"prior low of {params.lookback_bars} bars above today's low, $", level - low, ">", 0.0),
        condition("sweep_too_shallow", "depth of the sweep, ATR", depth, ">=", params.min_depth_atr, scale=2.0,
                  noise=THRESHOLD_NOISE),
        condition("sweep_too_deep", "depth of the sweep, ATR", depth, "<=", params.max_depth_atr, scale=2.0,
                  noise=THRESHOLD_NOISE),
        condition("low_too_young", "age of the prior low, bars", age, ">=", params.min_age_bars, scale=10.0),
        condition("no_recovery", "close above the prior low, $", close, ">", level, scale=np.inf, close_for=level),
    ]  # fmt: skip


SPEC = Strategy(
    name=NAME,
    summary="buys a sweep of a low at least four bars old that closes back above it, above the 200-day average",
    defaults=TurtleSoupParams(),
    grid={"target_r": (0.5, 1.0, 1.5, 2.0), "stop_mode": ("atr", "sweep")},
    signals=signals,
    conditions=conditions,
)
