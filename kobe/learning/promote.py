"""Champion against challenger on the same later rows (DOMAIN 3.5). The usual gates are necessary, never enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.backtest import metrics
from kobe.backtest.montecarlo import clustered_interval
from kobe.core.panel import Floats
from kobe.learning.model import MetaModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One condition with its value and threshold; NaN never passes."""

    name: str
    value: float
    threshold: str
    passed: bool


def gated(holdout: pl.DataFrame, model: MetaModel) -> npt.NDArray[np.bool_]:
    """Mark the holdout rows the model would have acted on."""
    gates = np.array([model.gate(s) for s in holdout.get_column("strategy")])
    result: npt.NDArray[np.bool_] = holdout.get_column("p").to_numpy() >= gates
    return result


def _daily_r(holdout: pl.DataFrame, mask: npt.NDArray[np.bool_]) -> Floats:
    """Sum of net R by exit session over every session of the holdout, idle ones included."""
    sessions = holdout.get_column("session").to_numpy()
    exits = holdout.get_column("exit_session").to_numpy()
    first, last = int(sessions.min()), int(exits.max())
    r = holdout.get_column("r_net").to_numpy()
    daily: Floats = np.bincount(exits[mask] - first, weights=r[mask], minlength=last - first + 1).astype(np.float64)
    return daily


PAPER, LIVE = "paper", "live"


def scope(banners: Sequence[str]) -> str:
    """Say where a model learned from such evidence may speak: any bias on record keeps it from live orders (D14)."""
    return PAPER if banners else LIVE


def judge(holdout: pl.DataFrame, challenger: MetaModel, report: dict[str, float], *, seed: int) -> list[Line]:
    """Return every condition for replacing the champion, all of them evaluated.

    `holdout` carries the challenger's probabilities `p` and the champion's `p_champion` on rows neither saw.
    """
    p, old, y = (holdout.get_column(c).to_numpy().astype(np.float64) for c in ("p", "p_champion", "y"))
    dates = holdout.get_column("session").to_numpy()
    gain = (p - y) ** 2 - (old - y) ** 2
    upper = clustered_interval(gain, dates, lambda v: float(v.mean()), seed=seed, level=0.90)[1]
    mask = gated(holdout, challenger)
    r = holdout.get_column("r_net").to_numpy()[mask]
    days = len(np.unique(dates[mask]))
    factor, sharpe = metrics.profit_factor(r), metrics.sharpe(_daily_r(holdout, mask))
    better = float(y[mask].mean()) if len(r) else float("nan")
    return [
        Line(name="brier difference", value=float(gain.mean()), threshold="< 0", passed=float(gain.mean()) < 0),
        Line(name="brier difference, 90% upper bound by date", value=upper, threshold="< 0", passed=upper < 0),
        Line(
            name="calibration error", value=report["ece"], threshold=f"<= {report['ece_null_95']:.4f} (null 95%)",
            passed=report["ece"] <= report["ece_null_95"],
        ),
        Line(name="gated holdout trades", value=len(r), threshold=">= 30", passed=len(r) >= 30),
        Line(name="gated holdout dates", value=days, threshold=">= 20", passed=days >= 20),
        Line(name="gated win rate", value=better, threshold=f">= {y.mean():.4f} (ungated)", passed=better >= y.mean()),
        Line(name="gated profit factor", value=factor, threshold="> 1.5", passed=factor > 1.5),
        Line(name="gated Sharpe", value=sharpe, threshold="> 1", passed=sharpe > 1),
        Line(name="gated Sharpe, too good to be true", value=sharpe, threshold="<= 5", passed=sharpe <= 5),
        Line(name="gated win rate, too good to be true", value=better, threshold="<= 0.9", passed=better <= 0.9),
    ]  # fmt: skip
