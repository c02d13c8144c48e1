"""Cross-validation of labels that last several sessions: purged, embargoed, in all combinations of test folds.

Folds are runs of signal dates, so trades of one date are never on both sides. A training label that is alive during
a test label, or begins within the embargo after it, is left out. Source: Lopez de Prado, AFML ch. 7 and 12.

Where every session has one row, every label lasts the same number of sessions and the dates divide by the folds, the
splits are those of skfolio's CombinatorialPurgedCV. Elsewhere they differ: skfolio counts rows, not sessions, purges
a fixed number of them whatever the labels' ends, and gives the rows left over to the last fold; here folds differ by
one date at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from kobe.core.errors import ConfigError, DataError
from kobe.core.panel import Floats, Ints

EMBARGO_SESSIONS = 25  # 1% of ten years
LEAST_EMBARGO = 5  # the holding horizon: a shorter one would let one trade's end touch the next one's beginning
MOST_SPLITS = 2000  # each one is a fit


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedSplit:
    """Rows to fit on and rows to judge, as positions in the arrays the split was made from, ascending.

    Attributes:
        number: from 1.
        train: int64[n], labels that touch no test label.
        folds: numbers of the test folds, from 0.
        tests: int64 rows of each of them.
    """

    number: int
    train: Ints
    folds: tuple[int, ...]
    tests: tuple[Ints, ...]

    @property
    def test(self) -> Ints:
        """All rows to judge, fold by fold."""
        return np.concatenate(self.tests)


def purged_kfold(
    session: npt.NDArray[np.int32],
    exit_session: npt.NDArray[np.int32],
    *,
    folds: int = 5,
    embargo_sessions: int = EMBARGO_SESSIONS,
) -> list[PurgedSplit]:
    """Return k splits, each with one fold to judge; see `combinatorial_splits`."""
    return combinatorial_splits(session, exit_session, folds=folds, test_folds=1, embargo_sessions=embargo_sessions)


def combinatorial_splits(
    session: npt.NDArray[np.int32],
    exit_session: npt.NDArray[np.int32],
    *,
    folds: int = 6,
    test_folds: int = 2,
    embargo_sessions: int = EMBARGO_SESSIONS,
) -> list[PurgedSplit]:
    """Return one split for every choice of test folds, in the order of `itertools.combinations`.

    Args:
        session: int32[n], session number of each signal, in any order.
        exit_session: int32[n], session in which its label is known, not before its signal.
        folds: runs of signal dates.
        test_folds: how many of them are judged at once.
        embargo_sessions: sessions of the exchange after the last test label's end in which no training label begins.

    Raises:
        ConfigError: an embargo below 5, or folds that cannot be combined.
        DataError: an exit before its signal or none yet, fewer dates than folds, or nothing to train on.
    """
    _check_plan(folds, test_folds, embargo_sessions)
    first, last = session.astype(np.int64), exit_session.astype(np.int64)
    _check_spans(first, last)
    rows = _rows_of_folds(first, folds)
    touched = np.column_stack([_touches(first, last, mine, embargo_sessions) for mine in rows])
    found = []
    for number, chosen in enumerate(combinations(range(folds), test_folds), start=1):
        train = np.flatnonzero(~touched[:, chosen].any(axis=1))
        if len(train) == 0:
            raise DataError(
                "purge and embargo leave nothing to train on", seen=f"split {number} of {folds} folds",
                expected=f"more dates, fewer test folds than {test_folds}, or a shorter embargo",
            )  # fmt: skip
        found.append(PurgedSplit(number=number, train=train, folds=chosen, tests=tuple(rows[f] for f in chosen)))
    return found


def _check_plan(folds: int, test_folds: int, embargo_sessions: int) -> None:
    if embargo_sessions < LEAST_EMBARGO:
        seen = f"{embargo_sessions} sessions"
        raise ConfigError("the embargo is too short", seen=seen, expected=f"{LEAST_EMBARGO} or more")
    if folds < 2 or not 1 <= test_folds < folds:
        seen = f"{test_folds} of {folds}"
        raise ConfigError("folds cannot be combined", seen=seen, expected="two or more, at least one to train on")
    if math.comb(folds, test_folds) > MOST_SPLITS:
        seen = f"{math.comb(folds, test_folds)} splits"
        raise ConfigError("too many splits, each one is a fit", seen=seen, expected=f"{MOST_SPLITS} or fewer")


def _check_spans(first: Ints, last: Ints) -> None:
    backwards, open_ = last < first, last == np.iinfo(np.int32).max
    if np.any(backwards):
        raise DataError("a label ends before its signal", seen=f"row {int(np.argmax(backwards))}")
    if np.any(open_):
        seen = f"row {int(np.argmax(open_))}"
        raise DataError("a trade that has not ended has no label", seen=seen, expected="closed trades only")


def _rows_of_folds(first: Ints, folds: int) -> list[Ints]:
    dates = np.unique(first)
    if len(dates) < folds:
        seen = f"{len(dates)} dates"
        raise DataError("fewer signal dates than folds", seen=seen, expected=f"{folds} or more")
    starts = [run[0] for run in np.array_split(dates, folds)]
    fold = np.searchsorted(starts, first, side="right") - 1
    return [np.flatnonzero(fold == k) for k in range(folds)]


def _touches(first: Ints, last: Ints, test: Ints, embargo_sessions: int) -> npt.NDArray[np.bool_]:
    """Mark the labels that are alive from a fold's first signal to its last label's end plus the embargo.

    The rows of the fold itself are among them. One span per fold is exact: every other row signals before or after
    all of the fold's rows, so that touching the span is touching its first or its longest label.
    """
    result: npt.NDArray[np.bool_] = (last >= first[test].min()) & (first <= last[test].max() + embargo_sessions)
    return result


def backtest_paths(folds: int, test_folds: int) -> Ints:
    """Return for every path and fold the position of the split that judges it, int64[C(N - 1, k - 1), N].

    Each path crosses all folds once, and each split's judgement of a fold is in exactly one path: path p takes of
    every fold the p-th split, in order, that judges it.

    Raises:
        ConfigError: folds that cannot be combined.
    """
    _check_plan(folds, test_folds, LEAST_EMBARGO)
    chosen = list(combinations(range(folds), test_folds))
    judges = [[k for k, split in enumerate(chosen) if fold in split] for fold in range(folds)]
    return np.array(judges, dtype=np.int64).T


def join_paths(splits: Sequence[PurgedSplit], judged: Sequence[Floats], rows: int) -> Floats:
    """Return the out-of-sample values of every backtest path, float64[paths, rows].

    Args:
        splits: all of one plan, in order.
        judged: per split float64[len(split.test)], one value per row of `split.test`, such as probabilities.
        rows: length of the arrays the splits were made from.

    Raises:
        DataError: values are missing for some split or row.
    """
    lengths, wanted = [len(v) for v in judged], [len(s.test) for s in splits]
    if lengths != wanted:
        raise DataError("the values do not fit the splits", seen=lengths, expected=wanted)
    folds, test_folds = 1 + max(max(s.folds) for s in splits), len(splits[0].folds)
    result = np.full((math.comb(folds - 1, test_folds - 1), rows), np.nan)
    seen = np.zeros(folds, dtype=np.int64)
    for split, values in zip(splits, judged, strict=True):
        borders = np.cumsum([len(t) for t in split.tests])[:-1]
        for fold, test, part in zip(split.folds, split.tests, np.split(values, borders), strict=True):
            result[seen[fold], test] = part
            seen[fold] += 1
    return result
