"""Train the meta-model: calibrated logistic regression in blocks ordered by time (DOMAIN 3.3, D18).

    fit | purge | calibrate | purge | judge the calibrator | purge | holdout

scikit-learn's default calibration trains on the future; here every block ends before the next begins, and labels
that reach over a border are dropped.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.backtest.montecarlo import clustered_interval
from kobe.core.errors import ModelError
from kobe.core.panel import Floats
from kobe.learning import calibrate, scorecard
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import BASE_RATE, LOGISTIC, Logistic, MetaModel, StrategyRecord

BORDERS = (0.55, 0.68, 0.78)  # shares of signal dates: end of fit, of calibrate, of judge; the rest is holdout
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.1)
LEAST_ROWS = 300


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Row masks of the four time blocks, purged, and the first session of each after the first."""

    fit: npt.NDArray[np.bool_]
    calibrate: npt.NDArray[np.bool_]
    judge: npt.NDArray[np.bool_]
    holdout: npt.NDArray[np.bool_]
    starts: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A candidate, what it was made from, and how it did on rows it never saw.

    Attributes:
        model: the candidate, or the base rate when the candidate shows no skill.
        skill: whether the candidate beats every baseline on the holdout.
        why: one sentence for people.
        pipeline: skops bytes of the scikit-learn pipeline.
        holdout: signal session, strategy, outcome, net R and probabilities of candidate and base rate.
        report: figures for the card.
    """

    model: MetaModel
    candidate: MetaModel
    skill: bool
    why: str
    pipeline: bytes
    holdout: pl.DataFrame
    report: dict[str, Any]


def blocks(
    session: npt.NDArray[np.int32], exit_session: npt.NDArray[np.int32], holdout_from: int | None = None
) -> Blocks:
    """Cut rows into time blocks by signal date; a label that ends in a later block belongs to neither.

    Args:
        session: of each row's signal.
        exit_session: at which its label is known.
        holdout_from: first session of the holdout; None lets it follow from the number of dates.

    Raises:
        ModelError: too few dates to cut.
    """
    dates = np.unique(session)
    if len(dates) < 60:
        raise ModelError(
            "too few signal dates to train on", seen=len(dates), expected="60 or more",
            next_command="kobe walk-forward",
        )  # fmt: skip
    if holdout_from is None:
        starts = tuple(int(dates[int(len(dates) * b)]) for b in BORDERS)
    else:
        before = dates[dates < holdout_from]
        if len(before) < 60 or len(before) == len(dates):
            raise ModelError(
                "the holdout leaves too few dates on one side", seen=f"{len(before)} of {len(dates)} before",
                expected="60 or more, and some after", next_command="kobe meta dataset",
            )  # fmt: skip
        starts = (*(int(before[int(len(before) * b / BORDERS[2])]) for b in BORDERS[:2]), holdout_from)
    edges = (0, *starts, int(np.iinfo(np.int32).max))
    masks = [(session >= a) & (session < b) & (exit_session < b) for a, b in pairwise(edges)]
    return Blocks(
        fit=masks[0], calibrate=masks[1], judge=masks[2], holdout=masks[3], starts=(starts[0], starts[1], starts[2])
    )


def records_of(frame: pl.DataFrame) -> dict[str, StrategyRecord]:
    """Return the record of each strategy in some rows of the data set."""
    found = {}
    for (name,), part in frame.group_by("strategy", maintain_order=True):
        r = part.get_column("r_net").to_numpy()
        wins, losses = r[r > 0], r[r <= 0]
        found[str(name)] = StrategyRecord(
            trades=len(r),
            wins=len(wins),
            average_win_r=float(wins.mean()) if len(wins) else 0.0,
            average_loss_r=float(-losses.mean()) if len(losses) else 0.0,
        )
    return dict(sorted(found.items()))


def base_rate_model(frame: pl.DataFrame, strategy_params: dict[str, dict[str, Any]]) -> MetaModel:
    """Return the honest null: the shrunken win rate of each strategy."""
    return MetaModel(kind=BASE_RATE, records=records_of(frame), strategy_params=strategy_params, logistic=None)


def _pipeline(strength: float) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    regression = LogisticRegression(C=strength, max_iter=2000)
    return Pipeline([("impute", imputer), ("scale", StandardScaler()), ("logistic", regression)])


def _fit(x: Floats, y: Floats, weight: Floats, strength: float) -> Any:
    pipeline = _pipeline(strength)
    # Mean 1 within the block: a scale over all rows would tell the fit how later labels overlap.
    pipeline.fit(x, y, logistic__sample_weight=weight / weight.mean())
    return pipeline


def _choose_strength(x: Floats, y: Floats, weight: Floats, session: Floats, exit_session: Floats) -> float:
    """Pick C by log-loss over three expanding, purged folds inside the fit block."""
    dates = np.unique(session)
    cuts = [dates[int(len(dates) * share)] for share in (0.4, 0.6, 0.8)] + [np.inf]
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for k in range(3):
        past, future = exit_session < cuts[k], (session >= cuts[k]) & (session < cuts[k + 1])
        if min(past.sum(), future.sum()) < 30 or len(np.unique(y[past])) < 2:
            continue
        for strength in STRENGTHS:
            p = _fit(x[past], y[past], weight[past], strength).predict_proba(x[future])[:, 1]
            losses[strength] += calibrate.log_loss(p, y[future]) * future.sum()
    return min(losses, key=lambda s: (losses[s], s))


def _arrays(pipeline: Any, sigmoid: tuple[float, float] | None) -> Logistic:
    imputer, scaler, regression = (pipeline.named_steps[n] for n in ("impute", "scale", "logistic"))
    return Logistic(
        medians=tuple(float(v) for v in imputer.statistics_),
        indicators=tuple(int(i) for i in imputer.indicator_.features_),
        means=tuple(float(v) for v in scaler.mean_),
        scales=tuple(float(v) for v in scaler.scale_),
        coefficients=tuple(float(v) for v in regression.coef_[0]),
        intercept=float(regression.intercept_[0]),
        sigmoid=sigmoid,
    )


def _calibrated(pipeline: Any, x: Floats, y: Floats, cut: Blocks) -> tuple[float, float] | None:
    """Return sigmoid parameters when they lower Brier and log-loss on the judge block, else None."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    if cut.calibrate.sum() < 50 or cut.judge.sum() < 50 or len(np.unique(y[cut.calibrate])) < 2:
        return None
    wrapped = CalibratedClassifierCV(FrozenEstimator(pipeline), method="sigmoid")
    wrapped.fit(x[cut.calibrate], y[cut.calibrate])
    raw = pipeline.predict_proba(x[cut.judge])[:, 1]
    tried = wrapped.predict_proba(x[cut.judge])[:, 1]
    later = y[cut.judge]
    better = calibrate.brier(tried, later) < calibrate.brier(raw, later)
    if not better or calibrate.log_loss(tried, later) >= calibrate.log_loss(raw, later):
        return None
    inner = wrapped.calibrated_classifiers_[0].calibrators[0]
    return float(inner.a_), float(inner.b_)


def _best_single(x: Floats, y: Floats, weight: Floats, cut: Blocks) -> tuple[str, Floats]:
    """Return the feature that alone does best inside the fit block, and its holdout probabilities."""
    best, chosen = np.inf, (FEATURE_COLUMNS[0], np.zeros(0))
    for k, name in enumerate(FEATURE_COLUMNS):
        column = x[:, [k]]
        pipeline = _fit(column[cut.fit], y[cut.fit], weight[cut.fit], STRENGTHS[-1])
        loss = calibrate.log_loss(pipeline.predict_proba(column[cut.fit])[:, 1], y[cut.fit])
        if loss < best:
            best, chosen = loss, (name, pipeline.predict_proba(column[cut.holdout])[:, 1])
    return chosen


def train(
    frame: pl.DataFrame, strategy_params: dict[str, dict[str, Any]], *, seed: int, holdout_from: int | None = None
) -> Trained:
    """Train a candidate and judge it once on the holdout.

    Args:
        frame: the data set (`dataset.build`).
        strategy_params: parameters the scan is to use with this model.
        seed: for the simulated null of the calibration error.
        holdout_from: first session of the holdout, or None.

    Raises:
        ModelError: too few rows or dates, or only one class.
    """
    import skops.io

    x = frame.select(FEATURE_COLUMNS).to_numpy()
    y = frame.get_column("y").to_numpy().astype(np.float64)
    if len(y) < LEAST_ROWS or len(np.unique(y)) < 2:
        raise ModelError(
            "too few closed out-of-sample trades to train on", seen=len(y),
            expected=f"{LEAST_ROWS} or more, both classes", next_command="kobe walk-forward",
        )  # fmt: skip
    weight = frame.get_column("weight").to_numpy()
    session, exits = frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy()
    cut = blocks(session, exits, holdout_from)
    mine = (a[cut.fit] for a in (x, y, weight, session, exits))
    strength = _choose_strength(*mine)
    pipeline = _fit(x[cut.fit], y[cut.fit], weight[cut.fit], strength)
    sigmoid = _calibrated(pipeline, x, y, cut)
    seen = frame.filter(pl.Series(~cut.holdout & (exits < cut.starts[2])))
    candidate = MetaModel(
        kind=LOGISTIC, records=records_of(seen), strategy_params=strategy_params, logistic=_arrays(pipeline, sigmoid)
    )
    _prove_equal(candidate, pipeline, x, sigmoid)
    null = base_rate_model(seen, strategy_params)
    holdout = _holdout(frame, x, cut, candidate, null)
    report = _report(holdout, _best_single(x, y, weight, cut), seed=seed)
    report |= {"strength": strength, "sigmoid": sigmoid is not None, "blocks": _counts(cut), "rows": len(y)}
    skill, why = _verdict(report)
    chosen = candidate if skill else base_rate_model(frame, strategy_params)
    return Trained(
        model=chosen, candidate=candidate, skill=skill, why=why, pipeline=skops.io.dumps(pipeline),
        holdout=holdout, report=report,
    )  # fmt: skip


def _counts(cut: Blocks) -> dict[str, int]:
    return {name: int(getattr(cut, name).sum()) for name in ("fit", "calibrate", "judge", "holdout")}


def _prove_equal(candidate: MetaModel, pipeline: Any, x: Floats, sigmoid: tuple[float, float] | None) -> None:
    """Check that the card's arithmetic is the pipeline's."""
    score = pipeline.decision_function(x)
    if sigmoid is not None:
        score = -(sigmoid[0] * score + sigmoid[1])
    gap = float(np.max(np.abs(candidate.probability(x, []) - 1.0 / (1.0 + np.exp(-score)))))
    if gap > 1e-12:
        raise ModelError("the model card does not reproduce its pipeline", seen=f"{gap:.3g}", expected="below 1e-12")


def _holdout(frame: pl.DataFrame, x: Floats, cut: Blocks, candidate: MetaModel, null: MetaModel) -> pl.DataFrame:
    rows = frame.filter(pl.Series(cut.holdout))
    names = rows.get_column("strategy").to_list()
    facts = rows.select(
        "signal_date", "session", "exit_session", "symbol", "strategy", "y", "r_net", "r_gross", "taken",
        *FEATURE_COLUMNS,
    )  # fmt: skip
    return facts.with_columns(
        pl.Series("p", candidate.probability(x[cut.holdout], names)),
        pl.Series("p_base", null.probability(x[cut.holdout], names)),
    )  # fmt: skip


def _report(holdout: pl.DataFrame, single: tuple[str, Floats], *, seed: int) -> dict[str, Any]:
    p, base, y = (holdout.get_column(c).to_numpy().astype(np.float64) for c in ("p", "p_base", "y"))
    if len(y) < 30:
        raise ModelError("too few holdout trades to judge a model", seen=len(y), expected="30 or more")
    edges, dates = calibrate.quantile_edges(p), holdout.get_column("session").to_numpy()
    excess = (p - y) ** 2 - (base - y) ** 2
    upper = clustered_interval(excess, dates, lambda v: float(v.mean()), seed=seed, level=0.90)[1]
    return {
        "brier_excess_upper_90": upper,
        "holdout_trades": len(y),
        "holdout_dates": holdout.get_column("session").n_unique(),
        "win_rate": float(y.mean()),
        "brier": calibrate.brier(p, y),
        "brier_base": calibrate.brier(base, y),
        "brier_single": calibrate.brier(single[1], y),
        "single_feature": single[0],
        "brier_skill": calibrate.brier_skill(p, y),
        "log_loss": calibrate.log_loss(p, y),
        "log_loss_base": calibrate.log_loss(base, y),
        "ece": calibrate.expected_calibration_error(p, y, edges),
        "ece_null_95": calibrate.ece_null(p, edges, seed=seed),
        "decomposition": scorecard.decomposition(p, y, edges),
        "reliability": [asdict(b) for b in calibrate.reliability(p, y, edges)],
        "coverage": scorecard.coverage_curve(p, y, holdout.get_column("r_net").to_numpy()),
    }


def _verdict(report: dict[str, Any]) -> tuple[bool, str]:
    """Skill is a lower holdout Brier than both baselines, surely (90%, by date), and a lower log-loss."""
    brier, base, single = report["brier"], report["brier_base"], report["brier_single"]
    figures = f"holdout Brier {brier:.4f}, base rate {base:.4f}, best single feature {single:.4f}"
    if brier >= min(base, single) or report["log_loss"] >= report["log_loss_base"]:
        return False, f"no skill: {figures}"
    if not report["brier_excess_upper_90"] < 0:
        return False, f"no skill: {figures}, but a gain that small is luck as often as not"
    return True, f"skill: {figures}"
