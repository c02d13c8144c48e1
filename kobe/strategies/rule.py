"""A strategy written as an expression, for research only: not in STRATEGIES, and nothing of it reaches an order.

Columns are the bars' own (`open`, `close`, ...) and indicators with their period, such as `rsi_2` or `prior_low_20`;
`ibs` and `bars_seen` have none. Prices are split-adjusted: compare them with each other, never with a number of
dollars, which a later split would change.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.errors import ConfigError
from kobe.core.evaluation import Mask, evaluate_condition
from kobe.core.expression_reader import parse_condition
from kobe.core.expressions import Condition, text
from kobe.core.panel import BAR_COLUMNS, Floats, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import INDICATORS, FeatureTable
from kobe.strategies.spec import LONG_EXIT, BaseParams, Setup, Strategy, build_table, tradable

NAME = "rule"
WITHOUT_PERIOD = ("ibs", "bars_seen")
MAX_PERIOD_BARS = 400
EXPECTED = (
    f"{', '.join(BAR_COLUMNS)}, {', '.join(WITHOUT_PERIOD)}, or an indicator and its period such as sma_200 ("
    + (", ".join(n for n in INDICATORS if n not in WITHOUT_PERIOD) + ")")
)
NO_PREFERENCE = 0.5  # a rule says yes or no; among its signals liquidity decides


@dataclass(frozen=True, kw_only=True)
class RuleParams(BaseParams):
    """The rule in canonical text, so that equal rules have equal hashes. Long only; `sma_bars` is not used.

    Attributes:
        entry: condition of a setup, judged at each close.
        exit: condition that closes a trade at the next open, judged at each close; empty for none.

    Raises:
        UsageError: an expression cannot be read or names an unknown column.
        ConfigError: shorts are asked for.
    """

    entry: str
    exit: str = ""

    def __post_init__(self) -> None:
        if self.shorts:
            raise ConfigError("a rule is long only", seen="shorts = true", expected="shorts = false")
        object.__setattr__(self, "entry", text(read_rule(self.entry)))
        if self.exit:
            object.__setattr__(self, "exit", text(read_rule(self.exit)))


def read_rule(source: str) -> Condition:
    """Read a condition over the columns rules may use.

    Raises:
        UsageError: it cannot be read or names an unknown column.
    """
    return parse_condition(source, is_column, EXPECTED)


def is_column(name: str) -> bool:
    """Say whether a rule may use a name; each column has exactly one."""
    if name in BAR_COLUMNS or name in WITHOUT_PERIOD:
        return True
    indicator, _, digits = name.rpartition("_")
    known = indicator in INDICATORS and indicator not in WITHOUT_PERIOD
    written = digits.isascii() and digits.isdecimal() and not digits.startswith("0")
    return known and written and int(digits) <= MAX_PERIOD_BARS


def column(features: FeatureTable, name: str) -> Floats:
    """Return a named column over all rows, float64[rows], NaN where undefined; row t is known at close t."""
    if name in BAR_COLUMNS:
        values: Floats = getattr(features.panel, name)
        return values
    if name in WITHOUT_PERIOD:
        return features.column(name)
    indicator, _, digits = name.rpartition("_")
    return features.column(indicator, int(digits))


def _holds(features: FeatureTable, source: str) -> Mask:
    return evaluate_condition(read_rule(source), lambda name: column(features, name), features.panel.offsets)


def signals(panel: Panel, features: FeatureTable, params: RuleParams) -> SignalTable:
    """Return every row at which the rule holds; known at close t, filled at the open of t + 1."""
    rows = np.flatnonzero(tradable(features, params) & _holds(features, params.entry))
    setup = Setup(sign=1, rows=rows, score=np.full(len(rows), NO_PREFERENCE))
    exit_mask: npt.NDArray[np.uint8] = np.zeros(len(panel), dtype=np.uint8)
    if params.exit:
        exit_mask = _holds(features, params.exit) * LONG_EXIT
    return build_table(NAME, features, params, [setup], exit_mask)


def strategy(params: RuleParams) -> Strategy:
    """Make a strategy of a rule: the same conditions on liquidity and history, fills and costs as any other.

    Example:
        strategy(RuleParams(entry="ibs <= 0.2 and rsi_2 <= 10 and close > sma_200", exit="rsi_2 >= 70"))
    """
    return Strategy(
        name=NAME,
        summary=f"buys where {params.entry}" + (f", sells where {params.exit}" if params.exit else ""),
        defaults=params,
        grid={},
        signals=signals,
    )
