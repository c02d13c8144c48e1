"""Champion against challenger on the same later rows (DOMAIN 3.5, D15). The usual gates are necessary, never enough.

To add a condition: a function that returns lines, and one line in CONDITIONS.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.backtest import metrics, overfit
from kobe.backtest.montecarlo import clustered_interval
from kobe.core.panel import Floats
from kobe.learning import calibrate
from kobe.learning.model import MetaModel

Mask = npt.NDArray[np.bool_]
PAPER, LIVE = "paper", "live"
WINDOW_SESSIONS, LEAST_WINDOW_SESSIONS, LEAST_WINDOWS = 63, 32, 2
LEAST_TRADES, LEAST_DATES, LEAST_DSR, MOST_PBO = 30, 20, 0.95, 0.20
SMALL_LOSS = 0.002  # a Brier interval may reach this far when log-loss falls
ONE_SE = 0.6827


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One condition with its value and threshold; NaN never passes."""

    name: str
    value: float
    threshold: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was tried before this model, as the experiment registry and the walk-forward tell it.

    Attributes:
        trials: different strategy parameters ever looked at plus models ever judged.
        trial_sharpe_sd: annual, over the strategies' trials; the largest where several strategies signal.
        pbo: probability of overfitting of the strategies' own choice, the largest; NaN where it cannot be had.
    """

    trials: float
    trial_sharpe_sd: float
    pbo: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a condition may look at; rows are those of the holdout.

    Attributes:
        p, old: probabilities of challenger and champion; y: outcome; r, dear_r: net R, and with costs doubled.
        dates: signal session; exits: exit session; mask, old_mask: rows at or above each model's gate.
        report: the challenger's figures of training (`ece`, `ece_null_95`).
    """

    p: Floats
    old: Floats
    y: Floats
    r: Floats
    dear_r: Floats
    dates: npt.NDArray[np.int32]
    exits: npt.NDArray[np.int32]
    mask: Mask
    old_mask: Mask
    report: dict[str, float]
    search: Search
    seed: int

    @property
    def reference(self) -> Mask:
        """Rows the champion would have acted on, or all of them where it acts too seldom to be compared with."""
        return self.old_mask if int(self.old_mask.sum()) >= LEAST_TRADES else np.ones(len(self.y), dtype=np.bool_)

    def daily(self) -> Floats:
        """Sum of gated net R by exit session over every session of the holdout, idle ones included."""
        first, last = int(self.dates.min()), int(self.exits.max())
        found: Floats = np.bincount(
            self.exits[self.mask] - first, weights=self.r[self.mask], minlength=last - first + 1
        ).astype(np.float64)
        return found


def scope(banners: Sequence[str]) -> str:
    """Say where a model learned from such evidence may speak: any bias on record keeps it from live orders (D14)."""
    return PAPER if banners else LIVE


def gated(model: MetaModel, strategies: Sequence[str], p: Floats) -> Mask:
    """Mark the rows a model would have acted on."""
    gates = {name: model.gate(name) for name in set(strategies)}
    result: Mask = p >= np.array([gates[s] for s in strategies])
    return result


def judge(
    holdout: pl.DataFrame, challenger: MetaModel, champion: MetaModel, report: dict[str, float], search: Search, *,
    seed: int,
) -> list[Line]:  # fmt: skip
    """Return every condition for replacing the champion, all of them evaluated.

    `holdout` carries the challenger's probabilities `p` and the champion's `p_champion` on rows neither saw.
    """
    p, old, y, r, gross = (
        holdout.get_column(c).to_numpy().astype(np.float64) for c in ("p", "p_champion", "y", "r_net", "r_gross")
    )
    names = holdout.get_column("strategy").to_list()
    case = Case(
        p=p, old=old, y=y, r=r, dear_r=2.0 * r - gross, dates=holdout.get_column("session").to_numpy(),
        exits=holdout.get_column("exit_session").to_numpy(), mask=gated(challenger, names, p),
        old_mask=gated(champion, names, old), report=report, search=search, seed=seed,
    )  # fmt: skip
    return [line for condition in CONDITIONS for line in condition(case)]


def _line(name: str, value: float, threshold: str, *, passed: bool) -> Line:
    return Line(name=name, value=float(value), threshold=threshold, passed=bool(passed) and not math.isnan(value))


def _closer(case: Case) -> list[Line]:
    """Probabilities nearer to what happened than the champion's, surely."""
    gain = (case.p - case.y) ** 2 - (case.old - case.y) ** 2
    upper = clustered_interval(gain, case.dates, lambda v: float(v.mean()), seed=case.seed, level=0.90)[1]
    loss = calibrate.log_loss(case.p, case.y) - calibrate.log_loss(case.old, case.y)
    sure = upper < 0 or (upper <= SMALL_LOSS and loss < 0)
    return [
        _line("brier difference", gain.mean(), "< 0", passed=gain.mean() < 0),
        _line("brier difference, 90% upper bound by date", upper, f"< 0, or <= {SMALL_LOSS} with less log-loss",
              passed=sure),
        _line("log-loss difference", loss, "< 0", passed=loss < 0),
    ]  # fmt: skip


def _calibrated(case: Case) -> list[Line]:
    ece, null = case.report["ece"], case.report["ece_null_95"]
    return [_line("calibration error", ece, f"<= {null:.4f} (null 95%)", passed=ece <= null)]


def _accurate(case: Case) -> list[Line]:
    """Right about winning at the gate at least as often as the champion; McNemar's p says whether by luck."""
    won = case.y > 0
    right, old_right = case.mask == won, case.old_mask == won
    better, worse = int((right & ~old_right).sum()), int((old_right & ~right).sum())
    told = f">= 0 (McNemar p {_sign_test(better, better + worse):.3f})"
    gain = (better - worse) / len(case.y)
    return [_line("accuracy at the gate, difference", gain, told, passed=gain >= 0)]


def _sign_test(hits: int, n: int) -> float:
    """Two-sided exact binomial p of `hits` in n fair tosses."""
    if n == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(hits, n).pvalue)


def _no_worse(case: Case) -> list[Line]:
    """Win rate and profit factor of gated trades within a standard error of the champion's."""
    lines = []
    measures: tuple[tuple[str, Floats, Callable[[Floats], float]], ...] = (
        ("gated win rate", case.y, lambda v: float(v.mean())),
        ("gated profit factor, against the champion's", case.r, metrics.profit_factor),
    )
    for name, values, statistic in measures:
        mine, theirs = values[case.mask], statistic(values[case.reference])
        if not len(mine):
            lines.append(_line(name, math.nan, f">= {theirs:.4f} less one SE", passed=False))
            continue
        low, high = clustered_interval(mine, case.dates[case.mask], statistic, seed=case.seed, level=ONE_SE)
        error = (high - low) / 2.0
        told = f">= {theirs - error:.4f} ({theirs:.4f} less one SE)"
        lines.append(_line(name, statistic(mine), told, passed=statistic(mine) >= theirs - error))
    return lines


def _necessary(case: Case) -> list[Line]:
    """The usual gates: passing them proves little (DOMAIN 2.8), failing them ends the matter."""
    r = case.r[case.mask]
    days = len(np.unique(case.dates[case.mask]))
    factor, sharpe = metrics.profit_factor(r), metrics.sharpe(case.daily())
    won = float(case.y[case.mask].mean()) if len(r) else math.nan
    return [
        _line("gated holdout trades", len(r), f">= {LEAST_TRADES}", passed=len(r) >= LEAST_TRADES),
        _line("gated holdout dates", days, f">= {LEAST_DATES}", passed=days >= LEAST_DATES),
        _line("gated profit factor", factor, "> 1.5", passed=factor > 1.5),
        _line("gated Sharpe", sharpe, "> 1", passed=sharpe > 1),
        _line("gated Sharpe, too good to be true", sharpe, "<= 5", passed=sharpe <= 5),
        _line("gated win rate, too good to be true", won, "<= 0.9", passed=won <= 0.9),
    ]


def _sufficient(case: Case) -> list[Line]:
    """What luck, dear markets and a single good quarter would not pass (D15)."""
    daily, search = case.daily(), case.search
    per_period = overfit.per_period_variance(search.trial_sharpe_sd**2)
    known = np.ptp(daily) > 0 and not math.isnan(search.trial_sharpe_sd)
    deflated = (
        overfit.deflated_sharpe(daily, trials=search.trials, trial_variance=per_period).probability
        if known
        else math.nan
    )
    needed = overfit.minimum_track_record(daily) if np.ptp(daily) > 0 else math.nan
    dear = metrics.profit_factor(case.dear_r[case.mask])
    share = _positive_windows(daily)
    return [
        _line(f"gated deflated Sharpe ({search.trials:,.0f} trials)", deflated, f">= {LEAST_DSR}",
              passed=deflated >= LEAST_DSR),
        _line("minimum record, sessions", needed, f"<= {len(daily)} (the holdout's)", passed=needed <= len(daily)),
        _line("overfitting probability of the strategies", search.pbo, f"<= {MOST_PBO}", passed=search.pbo <= MOST_PBO),
        _line("gated profit factor, costs doubled", dear, "> 1.2", passed=dear > 1.2),
        _line("windows that earned money", share, ">= 0.6", passed=share >= 0.6),
    ]  # fmt: skip


def _positive_windows(daily: Floats) -> float:
    """Share of the holdout's windows of 63 sessions with a profit; NaN with fewer than two."""
    starts = range(0, len(daily), WINDOW_SESSIONS)
    sums = [daily[k : k + WINDOW_SESSIONS].sum() for k in starts if len(daily) - k >= LEAST_WINDOW_SESSIONS]
    return float(np.mean(np.array(sums) > 0)) if len(sums) >= LEAST_WINDOWS else math.nan


CONDITIONS: tuple[Callable[[Case], list[Line]], ...] = (
    _closer, _calibrated, _accurate, _no_worse, _necessary, _sufficient,
)  # fmt: skip
