"""What DOMAIN 10.9 and 10.10 forbid of the meta-model: checks that the honest code passes and each mutant fails.

The future of a fit (scaler or imputer over all rows, calibration on the holdout) is also hunted by
`tests/app/test_leakcheck.py`, from the outside; here scikit-learn itself tells which rows it was given.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from kit import worlds
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from kobe.app.leakcheck.planted import walk_in_hindsight, walk_trained_on_test
from kobe.backtest import engine, walk_forward
from kobe.backtest.costs import flat_costs
from kobe.backtest.walk_forward import Choice, Split, WalkForward
from kobe.learning import dataset, train
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.strategies import STRATEGIES

ID = FEATURE_COLUMNS.index("volume_z")


@pytest.fixture(scope="module")
def evidence() -> worlds.Evidence:
    return worlds.of_bars(worlds.market(5, symbols=60, years=5))


# Labels: net of every cost (10.10).


def net_labels(frame: pl.DataFrame) -> bool:
    """Whether every label says that the trade made money after costs, and no trade is free of them."""
    y, net, gross = (frame.get_column(c).to_numpy() for c in ("y", "r_net", "r_gross"))
    return bool(np.array_equal(y == 1, net > 0) and (net < gross).all())


def test_labels_are_net_and_gross_ones_are_noticed(evidence):
    frame = evidence.frame
    assert net_labels(frame)
    told = np.concatenate([r.outcomes.net_r[r.outcomes.closed] for r in evidence.records])
    np.testing.assert_array_equal(np.sort(told), np.sort(frame.get_column("r_net").to_numpy()))
    gross = frame.with_columns(y=(pl.col("r_gross") > 0).cast(pl.Int8))
    assert (gross.get_column("y") != frame.get_column("y")).sum() >= 5
    assert not net_labels(gross)
    assert not net_labels(gross.with_columns(r_net=pl.col("r_gross")))


def test_a_record_made_without_costs_is_noticed(evidence):
    free = replace(worlds.assumptions(), costs=flat_costs(0.0))
    record = evidence.records[0]
    o, numbers = walk_forward.out_of_sample(
        evidence.panel, evidence.features, STRATEGIES[record.strategy], record.splits, free
    )
    span = record.splits[0].fold.test_first, record.splits[-1].fold.test_last
    account = engine.run_portfolio(evidence.panel, o, free, *span)
    mutant = replace(record, outcomes=o, split_number=numbers, portfolio=account)
    assert not net_labels(dataset.build(evidence.panel, evidence.features, [mutant]))


# Rows: out of sample of the parameters that made them (10.9).


def chosen_before(e: worlds.Evidence, strategy: str) -> dict[int, str]:
    """Return split -> parameters chosen by a walk-forward that has no bar after that split's training."""
    found = {}
    for fold in worlds.windows(e.panel)[1:]:
        past = e.panel.until(fold.train_last)
        spec = STRATEGIES[strategy]
        told = walk_forward.run(
            past, type(e.features)(past), spec, spec.params({}), worlds.windows(past), worlds.assumptions()
        )
        found[fold.number] = told.next_split.params_hash
    return found


@pytest.fixture(scope="module")
def honest_choices(evidence) -> dict[str, dict[int, str]]:
    return {r.strategy: chosen_before(evidence, r.strategy) for r in evidence.records}


def unseen(frame: pl.DataFrame, e: worlds.Evidence, choices: dict[str, dict[int, str]]) -> bool:
    """Whether no row's date was seen by the choice of its parameters.

    It lies after that split's training, and they are the parameters that bars up to there call for.
    """
    folds = {f.number: f for f in worlds.windows(e.panel)}
    rows = frame.select("session", "split", "strategy", "params_hash").unique()
    for session, split, strategy, made_with in rows.iter_rows():
        fold = folds[split]
        inside = fold.train_last < session and fold.test_first <= session <= fold.test_last
        if not inside or made_with != choices[strategy].get(split, made_with):
            return False
    return True


def walked(e: worlds.Evidence, walk: Callable[..., WalkForward]) -> list[WalkForward]:
    return [
        walk(e.panel, e.features, s, s.params({}), worlds.windows(e.panel), worlds.assumptions(), choice=Choice())
        for s in STRATEGIES.values() if s.name in worlds.SETTINGS.strategies
    ]  # fmt: skip


def with_training_rows(record: WalkForward, e: worlds.Evidence) -> WalkForward:
    """The mutant that also learns from the trades its parameters were chosen on."""

    def wide(split: Split) -> Split:
        return replace(split, fold=replace(split.fold, test_first=split.fold.train_first))

    splits, terms = [wide(s) for s in record.splits], worlds.assumptions()
    o, numbers = walk_forward.out_of_sample(e.panel, e.features, STRATEGIES[record.strategy], splits, terms)
    span = record.splits[0].fold.train_first, record.splits[-1].fold.test_last
    return replace(record, outcomes=o, split_number=numbers, portfolio=engine.run_portfolio(e.panel, o, terms, *span))


def test_no_row_was_seen_by_the_choice_of_its_parameters(evidence, honest_choices):
    assert evidence.frame.get_column("params_hash").n_unique() > 2
    assert unseen(evidence.frame, evidence, honest_choices)


@pytest.mark.parametrize("walk", [walk_trained_on_test, walk_in_hindsight])
def test_parameters_that_saw_the_dates_of_their_rows_are_noticed(evidence, honest_choices, walk):
    mutant = dataset.build(evidence.panel, evidence.features, walked(evidence, walk))
    assert not unseen(mutant, evidence, honest_choices)


def test_rows_of_training_windows_are_noticed(evidence, honest_choices):
    records = [with_training_rows(r, evidence) for r in evidence.records]
    mutant = dataset.build(evidence.panel, evidence.features, records)
    assert len(mutant) > len(evidence.frame)
    assert not unseen(mutant, evidence, honest_choices)


# Fits: which rows scikit-learn was given (10.10).


@dataclass(frozen=True)
class Fit:
    """One call of `fit` of a step, with the numbers of its rows."""

    step: str
    rows: np.ndarray


@contextmanager
def watched() -> Iterator[list[Fit]]:
    """Note the rows every imputer, scaler and calibrator is fitted on, by the number each row carries in one input."""
    told: list[Fit] = []
    with pytest.MonkeyPatch.context() as patch:
        for step in (SimpleImputer, StandardScaler, CalibratedClassifierCV):
            patch.setattr(step, "fit", _noting(step, told))
        yield told


def _noting(step: type, told: list[Fit]):
    fit = step.fit

    def noted(self, X, *args, **more):
        if X.shape[1] >= len(FEATURE_COLUMNS):  # the baselines of one input carry no number
            told.append(Fit(step.__name__, X[:, ID].astype(np.int64)))
        return fit(self, X, *args, **more)

    return noted


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Put its own number into an input of every row."""
    return frame.with_columns(pl.Series(FEATURE_COLUMNS[ID], np.arange(len(frame), dtype=np.float64)))


def in_time_order(frame: pl.DataFrame, told: list[Fit]) -> bool:
    """Whether every fit was over before what it is calibrated on began, and all before the holdout did.

    max(fit ts) + purge < min(calibration ts), where a fit reaches as far as its labels do. What was fitted before the
    calibrator is calibrated on all of its rows; what it fits itself, on those that fit was not given.
    """
    session, exits = (frame.get_column(c).to_numpy() for c in ("session", "exit_session"))
    cut = train.blocks(session, exits)
    places = [k for k, f in enumerate(told) if f.step == CalibratedClassifierCV.__name__]
    pairs = [
        (f.rows, told[k].rows if at < k else np.setdiff1d(told[k].rows, f.rows))
        for k in places
        for at, f in enumerate(told)
        if at not in places
    ]
    ordered = all(len(later) and exits[fit].max() < session[later].min() for fit, later in pairs)
    return bool(pairs) and ordered and bool(max(exits[f.rows].max() for f in told) < session[cut.holdout].min())


def _known(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, train.Blocks]:
    x, y = frame.select(FEATURE_COLUMNS).to_numpy(), frame.get_column("y").to_numpy()
    return x, y, train.blocks(frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy())


def honest(frame: pl.DataFrame) -> None:
    """What kobe does."""
    train.train(frame, {}, seed=1)


def by_hand(frame: pl.DataFrame) -> None:
    """The same steps without kobe's code around them."""
    _calibrate(frame, lambda cut: cut.fit, lambda cut: cut.calibrate)


def _calibrate(frame: pl.DataFrame, fit: Callable, later: Callable) -> None:
    x, y, cut = _known(frame)
    frozen = FrozenEstimator(train._pipeline(0.01).fit(x[fit(cut)], y[fit(cut)]))
    CalibratedClassifierCV(frozen, method="sigmoid").fit(x[later(cut)], y[later(cut)])


def calibrated_by_default(frame: pl.DataFrame) -> None:
    """scikit-learn's default: five folds stratified by result, so that early rows are forecast from late ones."""
    x, y, cut = _known(frame)
    rows = cut.fit | cut.calibrate
    CalibratedClassifierCV(train._pipeline(0.01), method="sigmoid").fit(x[rows], y[rows])


def scaled_on_all_rows(frame: pl.DataFrame) -> None:
    """Imputer and scaler know the holdout; regression and calibrator do not."""
    x, y, cut = _known(frame)
    steps = Pipeline(train._pipeline(0.01).steps[:2]).fit(x)
    regression = LogisticRegression(C=0.01).fit(steps.transform(x[cut.fit]), y[cut.fit])
    frozen = FrozenEstimator(Pipeline([*steps.steps, ("logistic", regression)]))
    CalibratedClassifierCV(frozen, method="sigmoid").fit(x[cut.calibrate], y[cut.calibrate])


def calibrated_on_its_own_rows(frame: pl.DataFrame) -> None:
    """The calibrator hears the rows the regression was fitted on."""
    _calibrate(frame, lambda cut: cut.fit, lambda cut: cut.fit)


def calibrated_on_the_holdout(frame: pl.DataFrame) -> None:
    """The calibrator hears the rows that are to judge it."""
    _calibrate(frame, lambda cut: cut.fit, lambda cut: cut.holdout)


def not_purged(frame: pl.DataFrame) -> None:
    """Blocks cut by signal date alone: labels of the fit end inside the calibration."""
    session = frame.get_column("session").to_numpy()
    _calibrate(frame, lambda cut: session < cut.starts[0], lambda cut: cut.calibrate)


def test_kobe_fits_before_it_calibrates_and_calibrates_before_the_holdout(evidence):
    frame = numbered(evidence.frame)
    with watched() as told:
        honest(frame)
    assert in_time_order(frame, told)
    _, _, cut = _known(frame)
    fitted = [f for f in told if f.step != CalibratedClassifierCV.__name__]
    assert fitted
    (calibrator,) = [f for f in told if f.step == CalibratedClassifierCV.__name__]
    assert {s for f in fitted for s in f.rows} <= set(np.flatnonzero(cut.fit))
    np.testing.assert_array_equal(calibrator.rows, np.flatnonzero(cut.calibrate))


@pytest.mark.parametrize(
    ("fit", "in_order"),
    [
        (by_hand, True), (calibrated_by_default, False), (scaled_on_all_rows, False),
        (calibrated_on_its_own_rows, False), (calibrated_on_the_holdout, False), (not_purged, False),
    ],
)  # fmt: skip
def test_a_fit_that_knows_what_comes_later_is_noticed(evidence, fit, in_order):
    frame = numbered(evidence.frame)
    with watched() as told:
        fit(frame)
    assert in_time_order(frame, told) == in_order
