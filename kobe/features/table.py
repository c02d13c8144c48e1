"""The feature table: indicators over the whole panel, computed once each, and model inputs at chosen rows.

To add an indicator write a function in its file and one line in INDICATORS; for a model input, one in FEATURES.
Both tables are walked by the prefix-invariance test, so nothing here can see the future unnoticed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.features import momentum, patterns, trend, volatility, volume
from kobe.features.passes import Pass

Rows = npt.NDArray[np.int64]
T = TypeVar("T")
FEW_SESSIONS = 5  # up to so many, each by itself is quicker than all of them
MANY_SYMBOLS = 4  # with more than one symbol in so many, all of them are as quick
NEVER = 2**62  # the first bar of a column that is always unknown, as a variance of one bar


@dataclass(frozen=True, slots=True)
class Indicator:
    """A column over all rows.

    Attributes:
        compute: returns it, or the pass that does.
        first_bar: the first bar at which it is defined.
        at: returns it at some rows from the few bars before each; None where it takes the whole history.
    """

    compute: Callable[[Panel, int], Floats | Pass]
    first_bar: Callable[[int], int]
    at: Callable[[Panel, int, Rows], Floats] | None = None

    def values(self, panel: Panel, n: int) -> Floats:
        """Return the column with period n over all rows, float64[rows]."""
        found = self.compute(panel, n)
        return found.values(panel) if isinstance(found, Pass) else found


INDICATORS: dict[str, Indicator] = {
    "sma": Indicator(trend.simple_moving_average, lambda n: n - 1),
    "ibs": Indicator(momentum.internal_bar_strength, lambda _: 0),
    "rsi": Indicator(momentum.relative_strength_index, lambda n: n),
    "atr": Indicator(volatility.average_true_range, lambda n: n),
    "adv_usd": Indicator(volume.average_dollar_volume, lambda n: min(n, volume.LEAST_OBSERVATIONS) - 1),
    "prior_low": Indicator(patterns.prior_low, lambda n: n, patterns.prior_low_at),
    "prior_low_age": Indicator(patterns.prior_low_age, lambda n: n, patterns.prior_low_age_at),
    "prior_high": Indicator(patterns.prior_high, lambda n: n),
    "prior_high_age": Indicator(patterns.prior_high_age, lambda n: n),
    "bars_seen": Indicator(patterns.bars_seen, lambda _: 0),
    "yang_zhang": Indicator(volatility.yang_zhang, lambda n: n if n > 1 else NEVER),
}


@dataclass(frozen=True)
class FeatureTable:
    """Indicators of one panel, each computed at most once on the full history (DOMAIN D11)."""

    panel: Panel
    market_symbol: str = "SPY"
    _columns: dict[tuple[str, int], Floats] = field(default_factory=dict, repr=False)
    _derived: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, panel: Panel, market_symbol: str = "SPY") -> "FeatureTable":
        """Return the one table of a panel that everybody shares; it lives as long as the panel."""
        tables: dict[str, FeatureTable] = panel.__dict__.setdefault("_tables", {})
        return tables.setdefault(market_symbol, cls(panel, market_symbol))

    def column(self, name: str, n: int = 1) -> Floats:
        """Return an indicator with period n over all rows, float64[rows], read-only; row t known at close t."""
        if (name, n) not in self._columns:
            self.keep(name, n, INDICATORS[name].values(self.panel, n))
        return self._columns[name, n]

    def at(self, name: str, n: int, rows: Rows) -> Floats:
        """Return an indicator at some rows, float64[len(rows)]; of few symbols it is worked out on their bars alone."""
        quick = INDICATORS[name].at
        if self.has(name, n) or len(rows) * n > len(self.panel):
            return self.column(name, n)[rows]
        if quick is not None:
            return quick(self.panel, n, rows)
        symbols, place = np.unique(self.panel.symbol_of_row[rows], return_inverse=True)
        if len(symbols) * MANY_SYMBOLS > len(self.panel.symbols):
            return self.column(name, n)[rows]
        own = self.derived(("own", symbols.tobytes()), lambda: self._own(symbols))
        earlier = rows - self.panel.offsets[symbols][place]
        return own.column(name, n)[own.panel.offsets[place] + earlier]

    def _own(self, symbols: npt.NDArray[np.int32]) -> "FeatureTable":
        return FeatureTable(self.panel.select({self.panel.symbols[k] for k in symbols}), self.market_symbol)

    def pass_of(self, name: str, n: int) -> Pass | None:
        """Return the pass that would fill a column; None where the column is known, now or already."""
        if (name, n) in self._columns:
            return None
        found = INDICATORS[name].compute(self.panel, n)
        if isinstance(found, Pass):
            return found
        self.keep(name, n, found)
        return None

    def keep(self, name: str, n: int, values: Floats) -> None:
        """Take a column as worked out; nobody writes to it from now on."""
        values.flags.writeable = False
        self._columns[name, n] = values

    def has(self, name: str, n: int = 1) -> bool:
        """Whether a column was worked out already."""
        return (name, n) in self._columns

    def known(self, key: tuple[object, ...]) -> Any:
        """Return what was derived under a key, or None."""
        return self._derived.get(key)

    def derived(self, key: tuple[object, ...], compute: Callable[[], T]) -> T:
        """Return what `compute` makes of this panel, worked out at most once per key; treat it as read-only.

        For masks and rows that many parameter combinations share; the key names every parameter it depends on.
        """
        if key not in self._derived:
            self._derived[key] = compute()
        found: T = self._derived[key]
        return found

    def matrix(self, rows: Rows) -> Floats:
        """Return every model input at some rows, float64[len(rows), len(FEATURES)]; NaN where unknown."""
        return np.column_stack([compute(self, rows) for compute in FEATURES.values()])


def _log_return(n: int) -> Callable[[FeatureTable, Rows], Floats]:
    def compute(table: FeatureTable, rows: Rows) -> Floats:
        panel = table.panel
        enough = rows - n >= panel.offsets[panel.symbol_of_row[rows]]
        earlier = np.where(enough, rows - n, rows)
        return np.where(enough, np.log(panel.close[rows] / panel.close[earlier]), np.nan)

    return compute


def _at(name: str, n: int) -> Callable[[FeatureTable, Rows], Floats]:
    return lambda table, rows: table.at(name, n, rows)


def _over(numerator: Floats, positive: Floats) -> Floats:
    """Divide; NaN where the divisor is not positive, as an ATR of nothing that moved."""
    out: Floats = np.full(len(positive), np.nan)
    np.divide(numerator, positive, out=out, where=positive > 0)
    return out


def _depth_atr(table: FeatureTable, rows: Rows) -> Floats:
    panel = table.panel
    has_previous = rows > panel.offsets[panel.symbol_of_row[rows]]
    atr_before = np.where(has_previous, table.column("atr", 14)[rows - has_previous], np.nan)
    return _over(table.at("prior_low", 20, rows) - panel.low[rows], atr_before)


def _atr_pct(table: FeatureTable, rows: Rows) -> Floats:
    return table.column("atr", 14)[rows] / table.panel.close[rows]


def _sma200_distance_atr(table: FeatureTable, rows: Rows) -> Floats:
    return _over(table.panel.close[rows] - table.column("sma", 200)[rows], table.column("atr", 14)[rows])


def _gap_atr(table: FeatureTable, rows: Rows) -> Floats:
    panel = table.panel
    has_previous = rows > panel.offsets[panel.symbol_of_row[rows]]
    gap = panel.open[rows] - panel.close[rows - has_previous]
    return np.where(has_previous, _over(gap, table.column("atr", 14)[rows]), np.nan)


def _volume_z(table: FeatureTable, rows: Rows) -> Floats:
    panel = table.panel
    starts = panel.offsets[panel.symbol_of_row[rows]]
    window = np.maximum(rows[:, None] - np.arange(19, -1, -1)[None, :], starts[:, None])
    # In shares of the row's own day: log1p of shares that a later split multiplied would tell of that split.
    logs = np.log1p(panel.volume[window] / panel.raw_factor[rows][:, None])
    spread = logs.std(axis=1, ddof=1)
    z = np.divide(logs[:, -1] - logs.mean(axis=1), spread, out=np.full(len(rows), np.nan), where=spread > 0)
    return np.where(rows - starts >= 19, z, np.nan)


def _log_adv(table: FeatureTable, rows: Rows) -> Floats:
    return np.log10(np.maximum(table.column("adv_usd", 20)[rows], 1.0))


def _volatility_rank(table: FeatureTable, rows: Rows, window: int = 252) -> Floats:
    """Share of the last 252 bars whose Yang-Zhang volatility was at or below today's."""
    from kobe.features import volatility_kernels

    p, n = table.panel, 20
    starts = p.offsets[p.symbol_of_row[rows]]
    enough = rows - starts >= window + n
    out = np.full(len(rows), np.nan)
    if np.count_nonzero(enough) * (window + n) >= len(p) or table.has("yang_zhang", n):
        out[enough] = volatility_kernels.share_at_or_below(table.column("yang_zhang", n), rows[enough], window)
    elif enough.any():  # of few rows without the column
        bars, ranks = (p.open, p.high, p.low, p.close), np.empty(np.count_nonzero(enough))
        volatility_kernels.volatility_ranks(starts[enough], rows[enough], *bars, n, window, ranks)
        out[enough] = ranks
    return out


def _of_market(compute: Callable[[FeatureTable, Rows], Floats]) -> Callable[[FeatureTable, Rows], Floats]:
    """Evaluate a feature on the market symbol's bar of the same session; NaN when there is none."""

    def evaluate(table: FeatureTable, rows: Rows) -> Floats:
        panel = table.panel
        out = np.full(len(rows), np.nan)
        if table.market_symbol not in panel.symbols:
            return out
        market = panel[table.market_symbol]
        sessions, back = np.unique(panel.session[rows], return_inverse=True)
        place = np.searchsorted(market.session, sessions)
        found = (place < len(market)) & (market.session[np.minimum(place, len(market) - 1)] == sessions)
        values = np.full(len(sessions), np.nan)
        values[found] = compute(table, (market.first_row + place[found]).astype(np.int64))
        return values[back]

    return evaluate


def _breadth(table: FeatureTable, rows: Rows) -> Floats:
    """Share of symbols with a close above their SMA200 in that session, among those that have one."""
    sessions, back = np.unique(table.panel.session[rows], return_inverse=True)
    if len(sessions) > FEW_SESSIONS:
        every: Floats = table.derived(("breadth",), lambda: _breadth_by_session(table))
        return every[table.panel.session[rows]]
    shares = [table.derived(("breadth", s), partial(_breadth_of, table, s)) for s in sessions.tolist()]
    return np.array(shares)[back]


def _breadth_by_session(table: FeatureTable) -> Floats:
    panel, average = table.panel, table.column("sma", 200)
    known = ~np.isnan(average)
    size = panel.last_session + 1
    total = np.bincount(panel.session[known], minlength=size)
    share = np.full(size, np.nan)
    above = np.bincount(panel.session[known & (panel.close > average)], minlength=size)
    np.divide(above, total, out=share, where=total > 0)
    return share


def _breadth_of(table: FeatureTable, session: int) -> float:
    rows = table.panel.rows_at(session)
    average = table.column("sma", 200)[rows]
    known = np.count_nonzero(~np.isnan(average))
    return np.count_nonzero(table.panel.close[rows] > average) / known if known else np.nan


def _weekday(day: int) -> Callable[[FeatureTable, Rows], Floats]:
    def compute(table: FeatureTable, rows: Rows) -> Floats:
        days = table.panel.calendar.days[table.panel.session[rows]]
        result: Floats = ((days + 3) % 7 == day).astype(np.float64)  # 1970-01-01 was a Thursday
        return result

    return compute


FEATURES: dict[str, Callable[[FeatureTable, Rows], Floats]] = {
    "ibs": _at("ibs", 1),
    "rsi2": _at("rsi", 2),
    "rsi14": _at("rsi", 14),
    "depth_atr": _depth_atr,
    "extreme_age": _at("prior_low_age", 20),
    "atr_pct": _atr_pct,
    "sma200_distance_atr": _sma200_distance_atr,
    "return_5": _log_return(5),
    "return_20": _log_return(20),
    "return_60": _log_return(60),
    "volatility_rank": _volatility_rank,
    "gap_atr": _gap_atr,
    "volume_z": _volume_z,
    "log_adv": _log_adv,
    "market_trend_atr": _of_market(_sma200_distance_atr),
    "market_return_5": _of_market(_log_return(5)),
    "market_volatility_rank": _of_market(_volatility_rank),
    "breadth": _breadth,
    "is_monday": _weekday(0),
    "is_friday": _weekday(4),
}
