"""Alpha candidates and what the record says about them: an expression, the reason it should pay, and the sign of that.

To add one write one line in ALPHAS; everything else walks the table, the test of its blindness to the future too.
Columns are those rules may use (`close`, `sma_50`, ...) and the model inputs (`return_5`, `breadth`, ...). Prices and
volumes are split-adjusted: divide them by each other, so that a later split changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.errors import UsageError
from kobe.core.evaluation import evaluate_number
from kobe.core.expression_reader import parse
from kobe.core.expressions import CONDITION, Numeric
from kobe.core.panel import Floats, Ints
from kobe.features.table import FEATURES, FeatureTable
from kobe.strategies import rule

LEVEL = 0.05  # family-wise, over every alpha ever looked at
SAME = 0.7  # Spearman correlation from which on two columns say the same
BLOCK_SESSIONS = 20  # clusters of whole dates, four holding horizons long, because labels of neighbouring dates overlap
LEAST_CLUSTERS = 10
CHUNK_ROWS = 65_536
NOISE_DIGITS = 9  # a mean that is zero but for rounding has no sign
WORTH, NO_SIGNAL, CONTRADICTS, TOO_FEW = "worth a trial", "no signal", "sign contradicts its reason", "too few dates"
REDUNDANT = "redundant with"


@dataclass(frozen=True, slots=True)
class Alpha:
    """A number that is to tell good signals of a date from bad ones.

    Attributes:
        expression: in kobe's expression language.
        sign: +1 when more of it should earn more, -1 when less should.
        reason: who pays for it and why, in one sentence.
    """

    expression: str
    sign: int
    reason: str

    @property
    def tree(self) -> Numeric:
        """The expression read.

        Raises:
            UsageError: it cannot be read, names an unknown column, or is a condition.
        """
        found = parse(self.expression, is_column, EXPECTED)
        if isinstance(found, CONDITION):
            raise UsageError(
                "an alpha is a number, no condition", seen=self.expression, expected="such as close / open"
            )
        return found


ALPHAS: dict[str, Alpha] = {
    "reversal_3": Alpha(
        "(lag(close, 3) - close) / atr_14", +1,
        "Who must sell within days pays those who wait to buy, and the price comes back when the sellers are done.",
    ),
    "residual_return_5": Alpha(
        "return_5 - market_return_5", -1,
        "A fall the market did not share is one stock's own selling pressure, which ends; a fall of all is news.",
    ),
    "stretch_20": Alpha(
        "(close - sma_20) / atr_14", -1,
        "Far below its own month a price has run ahead of its news, because liquidity is slow to arrive.",
    ),
    "body_of_day": Alpha(
        "(close - open) / atr_14", -1,
        "What is lost between open and close is lost to order flow and reverts; news moves the opening price.",
    ),
    "momentum_12_1": Alpha(
        "lag(close, 21) / lag(close, 250) - 1", +1,
        "Investors take in a year's good news too slowly, so that dips of winners are bought by those still late.",
    ),
    "near_high_250": Alpha(
        "close / prior_high_250", +1,
        "Traders take the year's high for a ceiling and sell too early near it, which leaves the rise unfinished.",
    ),
    "trend_slope": Alpha(
        "(sma_50 - sma_200) / atr_14", +1,
        "Funds build positions over months, and their unfinished buying stands under a dip within a rising trend.",
    ),
    "price_impact_20": Alpha(
        "abs(close / lag(close, 20) - 1) / adv_usd_20", +1,
        "Where a dollar moves the price further, whoever provides liquidity is paid more for it.",
    ),
    "turnover_shock": Alpha(
        "close * volume / adv_usd_20", +1,
        "A fall on heavy turnover is somebody leaving in a hurry, a fall on thin turnover is news.",
    ),
    "volatility_ratio": Alpha(
        "yang_zhang_10 / yang_zhang_60", -1,
        "Volatility that has just risen is news not yet taken in, and what follows news is drift, no reversal.",
    ),
    "lottery_4": Alpha(
        "max(close / lag(close, 1), lag(close, 1) / lag(close, 2), lag(close, 2) / lag(close, 3),"
        " lag(close, 3) / lag(close, 4))", -1,
        "Buyers of lottery tickets overpay for stocks that have just jumped.",
    ),
    "range_shock": Alpha(
        "(high - low) / lag(atr_14, 1)", +1,
        "An unusually wide day is forced selling met by few buyers, and it exhausts the sellers.",
    ),
}  # fmt: skip
"""Name -> candidate. Sources, in order: Lehmann 1990; Blitz et al. 2013; De Bondt and Thaler 1985 on a short horizon;
Berkman et al. 2012; Jegadeesh and Titman 1993; George and Hwang 2004; Moskowitz et al. 2012; Amihud 2002; Campbell,
Grossman and Wang 1993; Ang et al. 2006; Bali et al. 2011; Nagel 2012."""
EXPECTED = f"{rule.EXPECTED}, or a model input: {', '.join(FEATURES)}"


def is_column(name: str) -> bool:
    """Say whether an alpha may use a name."""
    return rule.is_column(name) or name in FEATURES


def _column(features: FeatureTable, name: str) -> Floats:
    if rule.is_column(name):
        return rule.column(features, name)
    return features.derived(("model input", name), lambda: _model_input(features, name))


def _model_input(features: FeatureTable, name: str) -> Floats:
    """Compute a model input over all rows, in parts: some need a window of bars for each row."""
    starts = range(0, len(features.panel), CHUNK_ROWS)
    rows = [np.arange(s, min(s + CHUNK_ROWS, len(features.panel)), dtype=np.int64) for s in starts]
    return np.concatenate([FEATURES[name](features, part) for part in rows]) if rows else np.zeros(0)


def values(features: FeatureTable, alpha: Alpha) -> Floats:
    """Return an alpha over all rows, float64[rows]; NaN where unknown; row t is known at close t."""
    found = evaluate_number(alpha.tree, lambda name: _column(features, name), features.panel.offsets)
    return np.where(np.isfinite(found), found, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How well an alpha ranked, within each date, what the signals of that date earned.

    Attributes:
        rows: signals at which it is known.
        coverage: their share of all signals.
        dates: dates with two or more signals that differ.
        ic: mean rank information coefficient; a date of n signals weighs n - 1, because its own varies by 1 / (n - 1).
        t: of that mean, over clusters of whole dates.
        p: two-sided, NaN when there are too few clusters.
        years: calendar years with such dates.
        years_alike: those whose mean has the sign of the whole.
    """

    rows: int
    coverage: float
    dates: int
    ic: float
    t: float
    p: float
    years: int
    years_alike: int


def _ranks(column: Floats, group: Ints) -> Floats:
    """Return ranks within groups around their middle, ties sharing the mean of theirs; no NaN in, none out."""
    order = np.lexsort((column, group))
    v, g = column[order], group[order]
    new_group = np.concatenate(([True], g[1:] != g[:-1]))
    new_run = new_group | np.concatenate(([True], v[1:] != v[:-1]))
    first = np.flatnonzero(new_run)
    length = np.diff(np.append(first, len(v)))
    place = np.repeat(first + (length - 1) / 2.0, length)
    first, length = np.flatnonzero(new_group), np.diff(np.append(np.flatnonzero(new_group), len(v)))
    out = np.empty(len(v))
    out[order] = place - np.repeat(first + (length - 1) / 2.0, length)
    return out


def rank_evidence(column: Floats, r_net: Floats, session: npt.NDArray[np.int32], stratum: Ints, year: Ints) -> Evidence:
    """Weigh an alpha against net R, rank by rank within each date.

    Args:
        column: the alpha at each signal, float64[n], NaN where unknown.
        r_net: what each signal earned, in R.
        session: of each signal.
        stratum: signals of a date are compared within it only, such as the number of their strategy.
        year: calendar year of each signal.
    """
    known = ~np.isnan(column)
    rows, coverage = int(known.sum()), float(known.mean()) if len(known) else 0.0
    empty = Evidence(rows=rows, coverage=coverage, dates=0, ic=np.nan, t=np.nan, p=np.nan, years=0, years_alike=0)
    if not rows:
        return empty
    key = session[known].astype(np.int64) * (int(stratum.max()) + 1) + stratum[known]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    x, y = _ranks(column[known], group), _ranks(r_net[known], group)
    scale = np.sqrt(np.bincount(group, weights=x * x) * np.bincount(group, weights=y * y))
    says = scale > 0
    if not says.any():
        return empty
    each = np.bincount(group, weights=x * y)[says] / scale[says]
    weight = np.bincount(group)[says] - 1.0
    day, when = session[known][first[says]], year[known][first[says]]
    ic = float(each @ weight / weight.sum())
    t, p = _clustered(each - ic, weight, day // BLOCK_SESSIONS, ic)
    by_year = np.bincount(when - when.min(), weights=each * weight)[np.unique(when) - when.min()]
    return Evidence(
        rows=rows, coverage=coverage, dates=len(np.unique(day)), ic=ic, t=t, p=p, years=len(by_year),
        years_alike=int((np.sign(by_year.round(NOISE_DIGITS)) == np.sign(round(ic, NOISE_DIGITS))).sum()),
    )  # fmt: skip


def _clustered(residual: Floats, weight: Floats, cluster: Ints, mean: float) -> tuple[float, float]:
    """Return t and two-sided p of a weighted mean whose terms may move together within clusters.

    Student's t with the clusters' effective number less one: a few heavy clusters count as few.
    """
    from scipy.special import stdtr

    _, back = np.unique(cluster, return_inverse=True)
    sums, mass = np.bincount(back, weights=residual * weight), np.bincount(back, weights=weight)
    effective = mass.sum() ** 2 / float(mass @ mass)
    squares = float(sums @ sums)
    if effective < LEAST_CLUSTERS or squares <= 0.0:
        return np.nan, np.nan
    t = mean * float(mass.sum()) / np.sqrt(squares * effective / (effective - 1.0))
    return float(t), float(2.0 * stdtr(effective - 1.0, -abs(t)))


def spearman(one: Floats, other: Floats) -> float:
    """Return the rank correlation of two columns over the rows where both are known; NaN where one is constant."""
    both = ~(np.isnan(one) | np.isnan(other))
    if not both.any():
        return float("nan")
    nothing = np.zeros(int(both.sum()), dtype=np.int64)
    x, y = _ranks(one[both], nothing), _ranks(other[both], nothing)
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def holm(p: Floats, looks: int) -> Floats:
    """Return p-values corrected by Holm for a family of `looks` tests of which these are some.

    The p-values of earlier looks are taken for 1, which never makes the correction milder. NaN counts as 1, too.

    Source: Holm 1979.
    """
    filled = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(filled, kind="stable")
    factor = max(looks, len(p)) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(filled[order] * factor))
    return corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The column an alpha is most like, by the size of their Spearman correlation."""

    name: str
    rho: float


def most_alike(column: Floats, others: Mapping[str, Floats]) -> Likeness | None:
    """Return which of some columns says most nearly the same; None when none can be compared."""
    rhos = {name: spearman(column, other) for name, other in others.items()}
    known = {name: rho for name, rho in rhos.items() if not np.isnan(rho)}
    if not known:
        return None
    name = max(known, key=lambda n: abs(known[n]))
    return Likeness(name=name, rho=known[name])


def verdicts(
    found: Mapping[str, Evidence], corrected: Mapping[str, float], signs: Mapping[str, int],
    columns: Mapping[str, Floats], features: Mapping[str, Likeness | None],
) -> dict[str, str]:  # fmt: skip
    """Return one verdict per alpha.

    Two alphas that say the same are one finding: the weaker by |t| is redundant with the one that is worth a trial.

    Args:
        found: evidence by name.
        corrected: p by name, after Holm.
        signs: stated sign by name.
        columns: values at the signals by name, for comparing alphas with each other.
        features: the model input each is most like.
    """
    said: dict[str, str] = {}
    for name in sorted(found, key=lambda n: (-abs(np.nan_to_num(found[n].t)), n)):
        seen, model = found[name], features[name]
        worth = [other for other, word in said.items() if word == WORTH]
        twin = next((o for o in worth if abs(spearman(columns[name], columns[o])) >= SAME), None)
        if np.isnan(seen.p):
            said[name] = TOO_FEW
        elif corrected[name] >= LEVEL:
            said[name] = NO_SIGNAL
        elif np.sign(seen.ic) != signs[name]:
            said[name] = CONTRADICTS
        elif model is not None and abs(model.rho) >= SAME:
            said[name] = f"{REDUNDANT} {model.name}"
        else:
            said[name] = f"{REDUNDANT} {twin}" if twin else WORTH
    return {name: said[name] for name in found}
