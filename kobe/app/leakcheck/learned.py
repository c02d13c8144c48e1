"""What walk-forward and training said up to a session, as cells."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from kobe.app.leakcheck.cells import Cells, of_rows
from kobe.app.leakcheck.lab import Lab, Pairs, joined, told
from kobe.app.leakcheck.stages import Stages
from kobe.core.errors import ModelError
from kobe.learning import train
from kobe.learning.dataset import FEATURE_COLUMNS, LABEL_COLUMNS
from kobe.learning.train import Trained

TRIAL_COLUMNS = ("trades", "mean_r", "objective", "chosen")
# A row's weight counts the labels alive beside it and is scaled to mean 1 over all rows, later ones included: it is a
# figure of the whole data set. The model that is trained on it is compared instead.
ROW_COLUMNS = (*(c for c in LABEL_COLUMNS if c != "weight"), "split", "exit_session", *FEATURE_COLUMNS)
AFTER_FIT, IN_HOLDOUT = "other rows after the fit", "other holdout"
FIT_PARTS = ("strength", "median", "mean", "scale", "coefficient", "intercept")


def choices(stages: Stages, session: int) -> Cells:
    """Return every trial of the splits whose training had ended, and which was chosen.

    The first split needs its test to have ended as well: before that there is no walk-forward at all.
    """
    rows: list[tuple[str, int, tuple[float, ...]]] = []
    for name in stages.pipeline.strategies:
        record = stages.walked(name)
        for split in () if record is None else (*record.splits, record.next_split):
            fold = split.fold
            if (fold.test_last if fold.number == 1 else fold.train_last) > session:
                continue
            for k, t in enumerate(split.trials):
                figures = (float(t.trades), t.mean_r, t.objective, float(t.params_hash == split.params_hash))
                rows.append((f"/{name}/{fold.number}/{k}", fold.train_last, figures))
    return of_rows(rows, TRIAL_COLUMNS)


def out_of_sample(stages: Stages, session: int) -> Cells:
    """Return the out-of-sample trades that had ended, of splits whose test had ended."""
    parts = []
    for name in stages.pipeline.strategies:
        record = stages.walked(name)
        if record is None:
            continue
        ended = [s.fold.number for s in record.splits if s.fold.test_last <= session]
        mine = np.isin(record.split_number, ended)
        labels = [f"{name}/{n}" for n in record.split_number[mine].tolist()]
        parts.append(told(stages.panel, record.outcomes.take(mine), labels, session))
    return joined(parts) if parts else of_rows([], ())


def rows(stages: Stages, session: int) -> Cells:
    """Return the rows of the data set whose label was known, of splits whose test had ended."""
    frame = stages.dataset
    if not len(frame):
        return of_rows([], ROW_COLUMNS)
    windows = stages.terms.windows(stages.panel.first_session, stages.panel.last_session)
    ended = [f.number for f in windows if f.test_last <= session]
    mine = frame.filter((pl.col("exit_session") <= session) & pl.col("split").is_in(ended))
    name = mine.select(pl.concat_str("symbol", "strategy", separator="/")).to_series()
    return Cells(
        symbol=np.array(name.to_list(), dtype=np.str_),
        session=mine.get_column("session").to_numpy(),
        columns={c: mine.get_column(c).cast(pl.Float64).to_numpy() for c in ROW_COLUMNS},
    )


def figures(trained: Trained) -> dict[str, float]:
    """Return every number of a candidate by name."""
    card = trained.candidate.logistic
    found = {"/strength": float(trained.report["strength"])}
    for name, record in trained.candidate.records.items():
        for key in ("trades", "wins", "average_win_r", "average_loss_r"):
            found[f"/record/{name}/{key}"] = float(getattr(record, key))
    if card is None:
        return found
    found["/intercept"] = card.intercept
    lists = {"median": card.medians, "mean": card.means, "scale": card.scales, "coefficient": card.coefficients}
    for part, values in lists.items():
        found |= {f"/{part}/{k}": v for k, v in enumerate(values)}
    return found | {f"/sigmoid/{k}": v for k, v in enumerate(card.sigmoid or ())}


def _cells(named: Mapping[str, float], session: int) -> Cells:
    return of_rows([(name, session, (value,)) for name, value in named.items()], ("value",))


def model(stages: Stages, session: int) -> Cells:
    """Return the candidate trained as `kobe walk-forward --until` and `kobe train-meta` would have that evening."""
    past = stages.at(session)
    trained = _trained(past, past.dataset, session)
    return _cells({} if trained is None else figures(trained), session)


def _trained(stages: Stages, frame: pl.DataFrame, name: object) -> Trained | None:
    if not len(frame):
        return None
    try:
        return stages.trained(frame, name)
    except ModelError:  # too little evidence by then, in every world alike
        return None


def blocks_apart(lab: Lab, session: int) -> Pairs:
    """Compare the fit on the data set with that on one whose later rows say something else.

    Nothing fitted may move with rows outside its block; the sigmoid and the records not with the holdout's.
    """
    past = lab.whole.at(session)
    frame = past.dataset
    honest = _trained(past, frame, session)
    if honest is None or session != max(lab.late):
        return
    exits = frame.get_column("exit_session").to_numpy()
    cut = train.blocks(frame.get_column("session").to_numpy(), exits)
    for test, later in ((AFTER_FIT, ~cut.fit), (IN_HOLDOUT, exits >= cut.starts[2])):
        other = _trained(past, _scrambled(frame, later, lab.seed), (session, test))
        if other is None:
            continue
        two = [figures(t) for t in (honest, other)]
        if test == AFTER_FIT:
            two = [{n: v for n, v in one.items() if n.split("/")[1] in FIT_PARTS} for one in two]
        yield test, _cells(two[0], session), _cells(two[1], session)


def _scrambled(frame: pl.DataFrame, later: np.ndarray, seed: int) -> pl.DataFrame:
    """Give some rows other features and other results; what dates and blocks are made of stays."""
    rng = np.random.default_rng(seed)
    columns = []
    for name in ("r_net", *FEATURE_COLUMNS):
        values = frame.get_column(name).to_numpy().astype(np.float64)
        spread = np.nanstd(values) + 1.0
        columns.append(pl.Series(name, np.where(later, 2.0 * spread * rng.standard_normal(len(values)), values)))
    results = columns[0].to_numpy()
    return frame.with_columns(columns).with_columns(pl.Series("y", (results > 0).astype(np.int8)))
