"""How bad the bad days are: value at risk and conditional value at risk, as positive loss numbers (DOMAIN 7)."""

import math
from dataclasses import dataclass

import numpy as np

from kobe.core.panel import Floats

TAIL = 0.05  # the 95% level; said as the tail, because 1 - 0.95 is not 0.05 in floats and picks the next observation
NOISE = 1e-12  # rounding of a sum over equal losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Loss quantile and mean loss beyond it; fractions, positive is a loss, NaN without observations.

    Attributes:
        value_at_risk, conditional_value_at_risk: of the worst share `tail`.
        probability_error: standard error of the tail's probability, sqrt(tail (1 - tail) / n).
        value_at_risk_interval: 95% interval of the quantile from the order statistics within two such errors.
    """

    tail: float
    observations: int
    value_at_risk: float
    conditional_value_at_risk: float
    probability_error: float
    value_at_risk_interval: tuple[float, float]


def value_at_risk(returns: Floats, tail: float = TAIL) -> float:
    """Loss that the worst share `tail` of the returns reaches: an observed one, never interpolated.

    NaN for no returns. Equals `-np.quantile(returns, tail, method="inverted_cdf")`.
    """
    return -float(np.quantile(returns, tail, method="inverted_cdf")) if len(returns) else math.nan


def conditional_value_at_risk(returns: Floats, tail: float = TAIL) -> float:
    """Mean loss over exactly the worst share `tail`, the observation on its border weighted by the part inside.

    NaN for no returns; never below the value at risk.

    Source: Rockafellar and Uryasev 2000, 2002 (discrete distributions).
    """
    if not len(returns):
        return math.nan
    losses = np.sort(-returns)[::-1]
    wanted = tail * len(losses)
    whole = min(int(wanted), len(losses) - 1)
    found = (float(losses[:whole].sum()) + (wanted - whole) * float(losses[whole])) / wanted
    least = value_at_risk(returns, tail)
    assert found >= least - NOISE * max(1.0, abs(least)), "the mean beyond a quantile cannot be milder than it"
    return max(found, least)


def tail_of(returns: Floats, tail: float = TAIL) -> Tail:
    """Summarise the loss tail of returns; fractions, NaN not allowed, no order assumed."""
    n = len(returns)
    error = math.sqrt(tail * (1.0 - tail) / n) if n else math.nan
    bounds = (min(1.0, tail + 1.96 * error), max(0.0, tail - 1.96 * error)) if n else ()
    low, high = (value_at_risk(returns, b) for b in bounds) if n else (math.nan, math.nan)
    return Tail(
        tail=tail,
        observations=n,
        value_at_risk=value_at_risk(returns, tail),
        conditional_value_at_risk=conditional_value_at_risk(returns, tail),
        probability_error=error,
        value_at_risk_interval=(low, high),
    )
