"""What a strategy is to the rest of kobe, and the conditions every strategy's signals share."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.errors import ConfigError
from kobe.core.ids import short_digest
from kobe.core.panel import Floats, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.passes import Passes
from kobe.features.table import FeatureTable

LONG_EXIT, SHORT_EXIT = np.uint8(1), np.uint8(2)
THRESHOLD_NOISE = 1e-9  # (42.24 - 42.07) / (42.92 - 42.07) is 0.2 in cents and 0.2000000000000015 in floats
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BaseParams:
    """Parameters every strategy has (DOMAIN 11).

    Attributes:
        sma_bars: trend filter, closes above (shorts: below) this simple moving average, strict.
        atr_bars: Wilder ATR period.
        stop_atr: protective stop distance in ATR.
        hold_bars: position is closed at the close of this bar, the entry bar being 1 (D6).
        max_gap_atr: no entry when the next open is further than this from the close (D10).
        min_price_usd: least raw price, inclusive.
        min_adv_usd: least average dollar volume over 20 bars, inclusive.
        min_history_bars: bars a symbol needs before its first signal.
        shorts: research only; live trading is long only (D25).
    """

    sma_bars: int = 200
    atr_bars: int = 14
    stop_atr: float = 2.0
    hold_bars: int = 5
    max_gap_atr: float = 2.0
    min_price_usd: float = 5.0
    min_adv_usd: float = 5e6
    min_history_bars: int = 250
    shorts: bool = False


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A strategy as the table holds it.

    Attributes:
        name: id used in artifacts, order ids and the configuration.
        summary: one line for people.
        defaults: the literature's parameters.
        grid: parameter name -> values tried in train windows only; its size counts as trials.
        signals: the one implementation, vectorised over the panel and causal at every row.
        conditions: the rules of a long setup one by one at some rows, to say why there is none (`conditions.py`);
            None where a strategy cannot tell.
    """

    name: str
    summary: str
    defaults: BaseParams
    grid: Mapping[str, tuple[Any, ...]]
    signals: Callable[[Panel, FeatureTable, Any], SignalTable]
    conditions: Callable[[Panel, FeatureTable, Any, npt.NDArray[np.int64]], list[Any]] | None = None

    def params(self, changes: Mapping[str, Any]) -> BaseParams:
        """Return the defaults with some values changed.

        Raises:
            ConfigError: a name is not a parameter of this strategy.
        """
        known = [f.name for f in fields(self.defaults)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise ConfigError(
                f"unknown parameter of {self.name}",
                seen=", ".join(unknown),
                expected=", ".join(known),
                next_command="kobe config show",
            )
        return replace(self.defaults, **changes)

    def combinations(self, base: BaseParams) -> list[BaseParams]:
        """Return every grid point around some base parameters, in a fixed order."""
        names = list(self.grid)
        return [replace(base, **dict(zip(names, values, strict=True))) for values in product(*self.grid.values())]


def params_hash(strategy: str, params: BaseParams) -> str:
    """Digest of a strategy's parameters; part of every signal id."""
    return short_digest([strategy, asdict(params)])


def tradable(features: FeatureTable, params: BaseParams) -> Mask:
    """Rows whose symbol is liquid, priced, old enough (D4), in the universe and not on hold.

    NaN compares as False, so an undefined indicator never lets a row through.
    """
    return _at_once(features, params, 0)


def in_trend(features: FeatureTable, params: BaseParams, sign: int) -> Mask:
    """Tradable rows with the close above (sign +1) or below (-1) the average of the trend filter, strict."""
    return _at_once(features, params, sign)


def _at_once(features: FeatureTable, params: BaseParams, sign: int) -> Mask:
    passes = Passes(features)
    found = usable(passes, params, sign)
    passes.run()
    return found


def usable(passes: Passes, params: BaseParams, sign: int) -> Mask:
    """Ask for `tradable` (sign 0) or `in_trend` together with other passes."""
    from kobe.features.row_conditions import usable_rows

    panel = passes.panel
    adv, atr = passes.column("adv_usd", 20), passes.column("atr", params.atr_bars)
    trend = passes.column("sma", params.sma_bars) if sign else adv
    inputs = (sign, panel.tradable, panel.close, panel.raw_factor, adv, atr, trend)
    bounds = (params.min_price_usd, params.min_adv_usd, params.min_history_bars, THRESHOLD_NOISE)
    found: Mask = passes.marks(usable_key(params, sign), np.bool_, usable_rows, *inputs, *bounds)
    return found


def usable_key(params: BaseParams, sign: int) -> tuple[object, ...]:
    """Name every parameter that `tradable` (sign 0) or `in_trend` depends on."""
    p = params
    trend_bars = p.sma_bars if sign else 0
    return ("usable", sign, trend_bars, p.min_price_usd, p.min_adv_usd, p.min_history_bars, p.atr_bars)


def beyond(sign: int, price: Floats, level: Floats) -> Mask:
    """Say where a price is strictly above (sign +1) or below (-1) a level by more than float noise."""
    from kobe.features import row_conditions

    result: Mask = row_conditions.beyond(sign, price, level, THRESHOLD_NOISE)
    return result


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Rows of one direction with the columns that belong to them."""

    sign: int
    rows: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    stop_level: npt.NDArray[np.float64] | None = None


def build_table(
    name: str,
    features: FeatureTable,
    params: BaseParams,
    setups: list[Setup],
    exit_mask: npt.NDArray[np.uint8],
    target_r: float = np.nan,
) -> SignalTable:
    """Assemble the signal table, ordered by row; a setup without stop levels gets the ATR stop."""
    rows = np.concatenate([s.rows for s in setups])
    order: Any = np.argsort(rows, kind="stable") if len(setups) > 1 else slice(None)  # one setup ascends by itself
    atr = features.column("atr", params.atr_bars)[rows]
    levels = [np.full(len(s.rows), np.nan) if s.stop_level is None else s.stop_level for s in setups]
    level = np.concatenate(levels)
    distance = np.where(np.isnan(level), params.stop_atr * atr, np.nan)
    return SignalTable(
        strategy=name,
        params=asdict(params),
        params_hash=params_hash(name, params),
        row=rows[order].astype(np.int64, copy=False),
        side=np.concatenate([np.full(len(s.rows), s.sign, np.int8) for s in setups])[order],
        stop_distance=distance[order],
        stop_level=level[order],
        target_r=np.full(len(rows), target_r),
        atr=atr[order],
        score=np.clip(np.concatenate([s.score for s in setups])[order], 0.0, 1.0),
        exit_mask=exit_mask,
        max_gap_atr=params.max_gap_atr,
        hold_bars=params.hold_bars,
    )
