"""Walk-forward: choose parameters in each train window, judge them in the test window after it (DOMAIN 3.1)."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.backtest import engine, fills, kernel, metrics, together
from kobe.backtest.engine import Assumptions, Outcomes, Portfolio
from kobe.backtest.folds import Fold, in_test, in_train
from kobe.backtest.together import Followed
from kobe.core.panel import Floats, Panel
from kobe.core.ports import Progress
from kobe.core.threads import each
from kobe.features.table import FeatureTable
from kobe.strategies.spec import BaseParams, Strategy, params_hash

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How parameters are chosen inside a train window.

    Attributes:
        purge_sessions: last sessions of training that are left out, besides every label that ends in the test.
        least_trades: a trial with fewer has no objective.
        plateau: the neighbours' median objective must reach this share of the best one's.
    """

    purge_sessions: int = 5
    least_trades: int = 20
    plateau: float = 0.8


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One parameter combination in one train window; the objective is the t statistic clustered by date."""

    params: dict[str, Any]
    params_hash: str
    trades: int
    mean_r: float
    objective: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold with every trial and the choice made; `chosen_by` is `train` or `default`, and `why` says so."""

    fold: Fold
    params: BaseParams
    params_hash: str
    chosen_by: str
    why: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True)
class WalkForward:
    """The out-of-sample record of one strategy: choices, signals and one continuous account.

    Attributes:
        splits: complete splits in order.
        next_split: parameters chosen for the sessions after the last split; what the scan uses.
        outcomes: every out-of-sample signal, split by split, each with its outcome.
        split_number: int32 per signal.
        portfolio: one account over all of them, from the first to the last test session (D17).
        tried: every combination of the grid over the same sessions, whichever was chosen: what a Sharpe ratio is
            deflated by and the probability of overfitting is estimated from.
    """

    strategy: str
    splits: tuple[Split, ...]
    next_split: Split
    outcomes: Outcomes
    split_number: npt.NDArray[np.int32]
    portfolio: Portfolio
    tried: "Tried"

    @property
    def trials(self) -> int:
        """Combinations ever looked at; the number that deflates a Sharpe ratio."""
        return sum(len(s.trials) for s in (*self.splits, self.next_split))


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What every combination of a grid earned out of sample, had it been used all the time.

    Attributes:
        params: the combinations.
        params_hash: their names, in the same order.
        trades: closed trades of each, one per symbol at a time.
        returns: float64[sessions, combinations], daily returns of one research account each.
    """

    params: tuple[BaseParams, ...]
    params_hash: tuple[str, ...]
    trades: tuple[int, ...]
    returns: Floats


@dataclass(frozen=True, kw_only=True)
class Support:
    """What spares a run work; it changes no digit.

    Attributes:
        splits: finished by an earlier run of the same inputs, by number.
        tried: what the combinations earned in that run.
        elsewhere: follows the combinations on other processors.
    """

    splits: Mapping[int, Split] = field(default_factory=dict)
    tried: Tried | None = None
    elsewhere: "RecordMaker | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one combination did: its closed trades over all of history, one per symbol at a time, by session.

    Attributes:
        session, exit_session, net_r: one element per trade.
        returns: daily returns of a research account that used this combination from the first to the last test session.
    """

    params: BaseParams
    plain: dict[str, Any]
    params_hash: str
    session: npt.NDArray[np.int32]
    exit_session: npt.NDArray[np.int32]
    net_r: Floats
    returns: Floats


def _record(panel: Panel, followed: Followed, params: BaseParams, assumptions: Assumptions, span: Span) -> Record:
    """Keep what one combination did through all of history, and run the account of the test sessions over it."""
    o, place = followed.outcomes, followed.place
    ends, state = o.walked.exit_row[place], o.walked.state[place]
    first = kernel.first_come(o.symbol[place], o.row[place], ends, state)
    kept = place[first & (state == fills.CLOSED)]
    # A window is a slice, and its dates ascend; sessions fit sixteen bits, and those are sorted without comparing.
    kept = kept[np.argsort(o.session[kept].astype(np.uint16), kind="stable")]
    session = o.session[place]
    later = place[(session >= span[0]) & (session <= span[1])]
    return Record(
        params=params,
        plain=asdict(params),
        params_hash=followed.params_hash,
        session=o.session[kept],
        exit_session=o.exit_session[kept],
        net_r=o.net_r[kept],
        returns=engine.run_portfolio(panel, o, assumptions, *span, among=later).returns,
    )


def records(
    panel: Panel, features: FeatureTable, strategy: Strategy, combinations: Sequence[BaseParams],
    assumptions: Assumptions, span: Span, progress: Progress | None = None,
) -> list[Record]:  # fmt: skip
    """Follow combinations, the trades they share once; each depends on nothing but itself, so they may be dealt out.

    Args:
        panel: all bars.
        features: their feature table.
        strategy: whose signals.
        combinations: parameters.
        assumptions: costs and account.
        span: first and last test session.
        progress: called after each combination.
    """
    tables = [strategy.signals(panel, features, params) for params in combinations]
    followed = together.follow(panel, features, tables, assumptions)
    done = itertools.count(1)

    def work(k: int) -> Record:
        found = _record(panel, followed[k], combinations[k], assumptions, span)
        if progress:
            progress(next(done), len(combinations), strategy.name)
        return found

    return each(range(len(combinations)), len(panel) * len(combinations), work)


RecordMaker = Callable[[str, Sequence[BaseParams], Span], list[Record]]
"""Follows combinations elsewhere: strategy id, parameters, first and last test session."""


def _tried(records: Sequence[Record]) -> Tried:
    return Tried(
        params=tuple(r.params for r in records), params_hash=tuple(r.params_hash for r in records),
        trades=tuple(len(r.net_r) for r in records), returns=np.column_stack([r.returns for r in records]),
    )  # fmt: skip


def _trial(record: Record, fold: Fold, choice: Choice) -> Trial:
    borders = np.array([fold.train_first, fold.train_last + 1], dtype=record.session.dtype)  # else all are converted
    span = slice(*np.searchsorted(record.session, borders))
    mine = in_train(fold, record.session[span], record.exit_session[span], choice.purge_sessions)
    net_r, dates = record.net_r[span][mine], record.session[span][mine]
    enough = len(net_r) >= choice.least_trades
    return Trial(
        params=dict(record.plain),
        params_hash=record.params_hash,
        trades=len(net_r),
        mean_r=float(net_r.mean()) if len(net_r) else math.nan,
        objective=metrics.date_clustered_t(net_r, dates) if enough else math.nan,
    )


def _neighbours(index: int, shape: Sequence[int], ordered: Sequence[bool]) -> list[int]:
    """Flat indices one step away along the ordered axes of the grid."""
    place = np.unravel_index(index, shape)
    found = []
    for axis, is_ordered in enumerate(ordered):
        for step in (-1, 1):
            moved = list(place)
            moved[axis] += step
            if is_ordered and 0 <= moved[axis] < shape[axis]:
                found.append(int(np.ravel_multi_index(tuple(moved), tuple(shape))))
    return found


def choose(trials: Sequence[Trial], strategy: Strategy, choice: Choice) -> tuple[int | None, str]:
    """Return the index of the trial to use, or None for the literature's defaults, and why.

    The best objective wins only on a plateau: the median of its neighbours along the numeric axes must reach
    `choice.plateau` of it. A lone peak is noise until proved otherwise.
    """
    objective = np.array([t.objective for t in trials])
    if not np.any(objective > 0):
        return None, "no combination made money in training with enough trades"
    best = int(np.nanargmax(objective))
    if len(trials) == 1:
        return best, f"objective {objective[best]:.2f}, the only combination"
    shape = [len(values) for values in strategy.grid.values()]
    ordered = [not isinstance(values[0], str) for values in strategy.grid.values()]
    around = objective[_neighbours(best, shape, ordered)]
    median = float(np.median(np.nan_to_num(around, nan=0.0))) if len(around) else float(objective[best])
    if median < choice.plateau * objective[best]:
        return None, f"lone peak: neighbours' median {median:.2f} against {objective[best]:.2f}"
    return best, f"objective {objective[best]:.2f} on a plateau of {median:.2f}"


def _split(records: Sequence[Record], fold: Fold, strategy: Strategy, base: BaseParams, choice: Choice) -> Split:
    trials = tuple(_trial(r, fold, choice) for r in records)
    best, why = choose(trials, strategy, choice)
    params = base if best is None else records[best].params
    return Split(
        fold=fold,
        params=params,
        params_hash=params_hash(strategy.name, params),
        chosen_by="default" if best is None else "train",
        why=why,
        trials=trials,
    )


def following(fold: Fold) -> Fold:
    """Return the fold whose training ends with this one's test; its test window is still to come."""
    step = fold.test_last - fold.test_first + 1
    length = fold.train_last - fold.train_first + 1
    return replace(
        fold,
        number=fold.number + 1,
        train_first=fold.test_last - length + 1,
        train_last=fold.test_last,
        test_first=fold.test_last + 1,
        test_last=fold.test_last + step,
    )


def out_of_sample(
    panel: Panel, features: FeatureTable, strategy: Strategy, splits: Sequence[Split], assumptions: Assumptions
) -> tuple[Outcomes, npt.NDArray[np.int32]]:
    """Return the signals of every split's test window under its own parameters, and their split numbers."""
    chosen = {split.params_hash: split.params for split in splits}
    tables = [strategy.signals(panel, features, params) for params in chosen.values()]
    followed = dict(zip(chosen, together.follow(panel, features, tables, assumptions), strict=True))
    parts, numbers = [], []
    for split in splits:
        mine = followed[split.params_hash]
        part = mine.take(in_test(split.fold, mine.outcomes.session[mine.place]))
        parts.append(part)
        numbers.append(np.full(len(part), split.fold.number, np.int32))
    return Outcomes.concat(parts), np.concatenate(numbers)


def run(
    panel: Panel,
    features: FeatureTable,
    strategy: Strategy,
    base: BaseParams,
    windows: Sequence[Fold],
    assumptions: Assumptions,
    *,
    choice: Choice | None = None,
    support: Support | None = None,
    progress: Progress | None = None,
) -> WalkForward:
    """Walk one strategy forward over all windows.

    Args:
        panel: all bars; indicators are computed once on the full history, windows only slice (D11).
        features: the panel's feature table.
        strategy: whose grid is searched in train windows only.
        base: parameters the grid varies; also the fall-back.
        windows: complete folds, at least one.
        assumptions: costs and account.
        choice: how parameters are chosen.
        support: what spares work, such as the splits of an earlier run.
        progress: called after each combination.
    """
    choice, support = choice or Choice(), support or Support()
    known, tried = support.splits, support.tried
    wanted = [*windows, following(windows[-1])]
    first, last = windows[0].test_first, windows[-1].test_last
    made: list[Record] = []
    if tried is None or any(f.number not in known for f in wanted):
        combinations = strategy.combinations(base)
        if support.elsewhere is not None:
            made = support.elsewhere(strategy.name, combinations, (first, last))
        else:
            made = records(panel, features, strategy, combinations, assumptions, (first, last), progress)
    splits = [known.get(f.number) or _split(made, f, strategy, base, choice) for f in wanted]
    outcomes, numbers = out_of_sample(panel, features, strategy, splits[:-1], assumptions)
    portfolio = engine.run_portfolio(panel, outcomes, assumptions, first, last)
    return WalkForward(
        strategy=strategy.name,
        splits=tuple(splits[:-1]),
        next_split=splits[-1],
        outcomes=outcomes,
        split_number=numbers,
        portfolio=portfolio,
        tried=_tried(made) if made or tried is None else tried,
    )
