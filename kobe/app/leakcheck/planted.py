"""The leaking versions of our functions: each does what its honest twin does, and looks at what it may not know.

None of this runs outside `kobe leakcheck --mutants` and its test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from kobe.app import order_facts
from kobe.app.leakcheck import stages
from kobe.app.leakcheck.world import World
from kobe.backtest import engine, walk_forward
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.backtest.folds import Fold
from kobe.backtest.walk_forward import Choice, Support, WalkForward, following
from kobe.core.panel import PRICE_COLUMNS, Floats, Panel
from kobe.core.signal_table import SignalTable
from kobe.core.types import Candidate
from kobe.data import universe
from kobe.data.universe import Rules, Universe
from kobe.decisions import scan
from kobe.features.passes import Pass
from kobe.features.table import FEATURES, INDICATORS, FeatureTable, Rows
from kobe.learning import dataset, train
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import Logistic
from kobe.learning.train import Trained
from kobe.strategies.spec import BaseParams, Strategy

Column = Callable[[Panel, int], Floats]
Input = Callable[[FeatureTable, Rows], Floats]
AHEAD_BARS = 5


def ahead(panel: Panel, values: Floats, bars: int) -> Floats:
    """Return each row's value some bars later in its symbol, NaN beyond the symbol's last bar."""
    rows = np.arange(len(panel)) + bars
    ends = panel.offsets[panel.symbol_of_row + 1]
    return np.where(rows < ends, values[np.minimum(rows, len(panel) - 1)], np.nan)


@dataclass(frozen=True)
class PlantedTable(FeatureTable):
    """A feature table in which some columns and model inputs leak."""

    planted: Mapping[str, Column] = field(default_factory=dict)
    planted_inputs: Mapping[str, Input] = field(default_factory=dict)

    def column(self, name: str, n: int = 1) -> Floats:
        """Return the leaking column where there is one."""
        if name not in self.planted:
            return super().column(name, n)
        if (name, n) not in self._columns:
            self._columns[name, n] = self.planted[name](self.panel, n)
        return self._columns[name, n]

    def at(self, name: str, n: int, rows: Rows) -> Floats:
        """Return what leaks at some rows as the whole column has it there."""
        return self.column(name, n)[rows] if name in self.planted else super().at(name, n, rows)

    def pass_of(self, name: str, n: int) -> Pass | None:
        """Return no pass for a leaking column: it is not worked out as the honest one is."""
        return None if name in self.planted else super().pass_of(name, n)

    def matrix(self, rows: Rows) -> Floats:
        """Return the inputs, the leaking ones among them."""
        values = super().matrix(rows)
        for name, compute in self.planted_inputs.items():
            values[:, list(FEATURES).index(name)] = compute(self, rows)
        return values


def table_with(**columns: Column) -> Callable[[Panel, str], FeatureTable]:
    """Return a maker of tables in which these indicators leak."""
    return partial(PlantedTable, planted=columns)


def table_with_inputs(**inputs: Input) -> Callable[[Panel, str], FeatureTable]:
    """Return a maker of tables in which these model inputs leak."""
    return partial(PlantedTable, planted_inputs=inputs)


def ibs_of_tomorrow(panel: Panel, _n: int) -> Floats:
    """Tomorrow's close inside today's bar."""
    span = np.where(panel.high > panel.low, panel.high - panel.low, np.nan)
    return (ahead(panel, panel.close, 1) - panel.low) / span


def centred_average(panel: Panel, n: int) -> Floats:
    """A moving average in the middle of its window."""
    return ahead(panel, INDICATORS["sma"].values(panel, n), n // 2)


def prior_low_with_tomorrow(panel: Panel, n: int) -> Floats:
    """The window of the prior low reaches one bar too far."""
    honest = INDICATORS["prior_low"].values(panel, n)
    return np.where(np.isnan(honest), np.nan, np.fmin(honest, ahead(panel, panel.low, 1)))


def rsi_rank_in_whole_sample(panel: Panel, n: int) -> Floats:
    """RSI as its percentile among all of a symbol's RSI, later ones included."""
    return _whole_sample_rank(panel, INDICATORS["rsi"].values(panel, n)) * 100.0


def dollars_with_later_splits(panel: Panel, n: int) -> Floats:
    """Tape price times adjusted shares: the volume knows of later splits, the price does not."""
    mixed = replace(panel, close=panel.close * panel.raw_factor)
    return INDICATORS["adv_usd"].values(mixed, n)


def _whole_sample_rank(panel: Panel, values: Floats) -> Floats:
    out = np.full(len(values), np.nan)
    for low, high in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        mine = values[low:high]
        known = np.sort(mine[~np.isnan(mine)])
        if len(known):
            out[low:high] = np.where(np.isnan(mine), np.nan, np.searchsorted(known, mine, side="right") / len(known))
    return out


def volatility_rank_in_whole_sample(table: FeatureTable, rows: Rows) -> Floats:
    """Percentile of today's volatility among all of the symbol's, later ones included."""
    levels = INDICATORS["yang_zhang"].values(table.panel, 20)
    return _whole_sample_rank(table.panel, levels)[rows]


def volume_score_of_whole_sample(table: FeatureTable, rows: Rows) -> Floats:
    """A z-score whose mean and spread come from all of the symbol's history."""
    panel, logs = table.panel, np.log1p(table.panel.volume)
    out = np.empty(len(panel))
    for low, high in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        out[low:high] = (logs[low:high] - logs[low:high].mean()) / (logs[low:high].std() + 1e-12)
    return out[rows]


def volume_score_after_splits(table: FeatureTable, rows: Rows) -> Floats:
    """One plus adjusted shares: the logarithm of a sum keeps a trace of splits to come."""
    panel = table.panel
    starts = panel.offsets[panel.symbol_of_row[rows]]
    window = np.maximum(rows[:, None] - np.arange(19, -1, -1)[None, :], starts[:, None])
    logs = np.log1p(panel.volume[window])
    spread = logs.std(axis=1, ddof=1)
    z = np.divide(logs[:, -1] - logs.mean(axis=1), spread, out=np.full(len(rows), np.nan), where=spread > 0)
    return np.where(rows - starts >= 19, z, np.nan)


def breadth_of_survivors(table: FeatureTable, rows: Rows) -> Floats:
    """Breadth over the symbols that still trade at the end."""
    panel = table.panel
    alive = panel.session[panel.offsets[1:] - 1] == panel.last_session
    mine = alive[panel.symbol_of_row] & ~np.isnan(table.column("sma", 200))
    size = panel.last_session + 1
    total = np.bincount(panel.session[mine], minlength=size)
    above = np.bincount(panel.session[mine & (panel.close > table.column("sma", 200))], minlength=size)
    share: Floats = np.divide(above, total, out=np.full(size, np.nan), where=total > 0)
    return share[panel.session[rows]]


def return_to_come(table: FeatureTable, rows: Rows) -> Floats:
    """The target under an input's name: the return of the next five bars."""
    panel = table.panel
    return np.log(ahead(panel, panel.close, AHEAD_BARS)[rows] / panel.close[rows])


def gap_of_tomorrow(table: FeatureTable, rows: Rows) -> Floats:
    """The gap of the day the order would fill."""
    panel = table.panel
    return (ahead(panel, panel.open, 1)[rows] - panel.close[rows]) / table.column("atr", 14)[rows]


def market_one_session_late(table: FeatureTable, rows: Rows) -> Floats:
    """The market's return looked up by the session after the symbol's."""
    panel, market = table.panel, table.panel[table.market_symbol]
    place = np.searchsorted(market.session, panel.session[rows] + 1)
    here = np.minimum(place, len(market) - 1)
    known = (place < len(market)) & (here >= AHEAD_BARS)
    moved = np.log(market.close[here] / market.close[np.maximum(here - AHEAD_BARS, 0)])
    return np.where(known, moved, np.nan)


SIGNAL_COLUMNS = ("row", "side", "stop_distance", "stop_level", "target_r", "atr", "score")
Change = Callable[[Panel, SignalTable], SignalTable]


def _leaking(
    honest: Callable[..., SignalTable], change: Change, panel: Panel, features: FeatureTable, params: BaseParams
) -> SignalTable:
    return change(panel, honest(panel, features, params))


def strategies_with(honest: Mapping[str, Strategy], change: Change) -> dict[str, Strategy]:
    """Return the strategies with their signals changed."""
    return {name: replace(s, signals=partial(_leaking, s.signals, change)) for name, s in honest.items()}


def _kept(table: SignalTable, keep: np.ndarray) -> SignalTable:
    return replace(table, **{name: getattr(table, name)[keep] for name in SIGNAL_COLUMNS})


def only_those_that_open_higher(panel: Panel, table: SignalTable) -> SignalTable:
    """A setup counts only if the next open is above the close."""
    return _kept(table, (ahead(panel, panel.open, 1) > panel.close)[table.row])


def exits_of_tomorrow(panel: Panel, table: SignalTable) -> SignalTable:
    """The exit rule is shifted the wrong way."""
    later = np.nan_to_num(ahead(panel, table.exit_mask.astype(np.float64), 1))
    return replace(table, exit_mask=later.astype(np.uint8))


def price_gate_on_adjusted(panel: Panel, table: SignalTable) -> SignalTable:
    """The least price is asked of the adjusted close, which a later split lowers."""
    return _kept(table, panel.close[table.row] >= 20.0)


def total_return_prices(world: World, held: pl.DataFrame) -> Panel:
    """Prices lowered by every later dividend."""
    panel = stages.adjust(world, held)
    columns = {name: getattr(panel, name).copy() for name in PRICE_COLUMNS}
    days = panel.calendar.days[panel.session]
    paid = world.events.filter(pl.col("kind") == "dividend").select("symbol", pl.col("date").to_physical(), "value")
    for symbol, day, value in paid.iter_rows():
        k = panel.position(symbol) if symbol in panel.symbols else None
        if k is not None:
            low, high = int(panel.offsets[k]), int(panel.offsets[k + 1])
            ex = low + int(np.searchsorted(days[low:high], day))
            share = value / float(panel.close[ex - 1] * panel.raw_factor[ex - 1]) if ex > low else 0.0
            for column in columns.values():
                column[low:ex] *= 1.0 - share
    return replace(panel, **columns)


def holds_placed_early(world: World) -> pl.DataFrame:
    """A hold begins sixty days before the odd bar that calls for it."""
    return stages.find_holds(world).with_columns(pl.col("since").dt.offset_by("-60d"))


def members_of_today(panel: Panel, size: int) -> Universe:
    """The list of the last session, used on the whole past."""
    rules = Rules(size=size, min_adv_usd=1e6, min_history=20)
    last = panel.calendar.sessions[panel.last_session]
    return universe.build(panel, "leakcheck", [last], rules, rolling=False)[0]


def members_counted_later(panel: Panel, _size: int) -> Universe:
    """The universe's size is counted from all symbols there will ever be: all but ten."""
    return stages.choose_members(panel, max(1, len(panel.symbols) - 10))


def without_the_doomed(panel: Panel, members: Universe) -> Panel:
    """Symbols that will stop trading are never bought."""
    alive = panel.session[panel.offsets[1:] - 1] == panel.last_session
    return universe.masked(panel, members).masked(alive[panel.symbol_of_row], panel.universe)


def labels_beyond_the_exit(
    panel: Panel, features: FeatureTable, table: SignalTable, assumptions: Assumptions
) -> Outcomes:
    """The result goes on after the trade has ended."""
    o = engine.evaluate(panel, features, table, assumptions)
    rows = np.maximum(o.walked.exit_row, 0)
    risk = np.abs(o.walked.entry_price - o.walked.stop)
    drift = np.nan_to_num(ahead(panel, panel.close, 10)[rows] - panel.close[rows]) / risk
    return replace(o, net_r=o.net_r + o.side * drift)


def _training_also_on_test(fold: Fold, choice: Choice, last: int) -> Fold:
    end = min(fold.test_last, last)
    return replace(fold, train_last=end + choice.purge_sessions, test_first=last + 1, test_last=last + 1)


def _no_purge(fold: Fold, choice: Choice, last: int) -> Fold:
    return replace(fold, train_last=fold.train_last + choice.purge_sessions, test_first=last + 1, test_last=last + 1)


def _walk_widened(
    widen: Callable[[Fold, Choice, int], Fold], panel: Panel, features: FeatureTable, strategy: Strategy,
    base: BaseParams, windows: list[Fold], assumptions: Assumptions, *, choice: Choice,
) -> WalkForward:  # fmt: skip
    wanted = [*windows, following(windows[-1])]
    wide = [widen(f, choice, panel.last_session) for f in wanted]
    peeked = walk_forward.run(panel, features, strategy, base, wide, assumptions, choice=choice)
    known = {f.number: replace(split, fold=f) for f, split in zip(wanted, peeked.splits, strict=True)}
    return walk_forward.run(
        panel, features, strategy, base, windows, assumptions, choice=choice, support=Support(splits=known)
    )


walk_trained_on_test = partial(_walk_widened, _training_also_on_test)
walk_without_purge = partial(_walk_widened, _no_purge)


def walk_in_hindsight(
    panel: Panel, features: FeatureTable, strategy: Strategy, base: BaseParams, windows: list[Fold],
    assumptions: Assumptions, *, choice: Choice,
) -> WalkForward:  # fmt: skip
    """The combination that did best over all of training and testing is used in every split."""
    honest = walk_forward.run(panel, features, strategy, base, windows, assumptions, choice=choice)
    splits = (*honest.splits, honest.next_split)
    means = np.nanmean([[t.mean_r for t in s.trials] for s in splits], axis=0)
    best = splits[-1].trials[int(np.nanargmax(means))]
    params = strategy.params(best.params)
    known = {s.fold.number: replace(s, params=params, params_hash=best.params_hash) for s in splits}
    return walk_forward.run(
        panel, features, strategy, base, windows, assumptions, choice=choice, support=Support(splits=known)
    )


def labels_clipped_at_whole_sample(panel: Panel, features: FeatureTable, records: list[WalkForward]) -> pl.DataFrame:
    """Results clipped at quantiles of all results, later ones included."""
    frame = dataset.build(panel, features, records)
    low, high = (frame.get_column("r_net").quantile(q) for q in (0.05, 0.95))
    return frame.with_columns(pl.col("r_net").clip(low, high))


def _with_card(trained: Trained, **changes: Any) -> Trained:
    card = trained.candidate.logistic
    if card is None:
        return trained
    return replace(trained, candidate=replace(trained.candidate, logistic=replace(card, **changes)))


def _inputs_of(card: Logistic, frame: pl.DataFrame) -> Floats:
    matrix = frame.select(FEATURE_COLUMNS).to_numpy()
    unknown = np.isnan(matrix)
    filled = np.where(unknown, np.array(card.medians), matrix)
    return np.column_stack([filled, unknown[:, list(card.indicators)].astype(np.float64)])


def _fitted(frame: pl.DataFrame, seed: int) -> tuple[Trained, Logistic]:
    trained = train.train(frame, {}, seed=seed)
    card = trained.candidate.logistic
    if card is None:
        msg = "a candidate has its coefficients"
        raise ValueError(msg)
    return trained, card


def imputed_from_all_rows(frame: pl.DataFrame, _params: dict[str, Any], *, seed: int) -> Trained:
    """Medians over every row, the holdout's included."""
    trained, _ = _fitted(frame, seed)
    medians = np.nanmedian(frame.select(FEATURE_COLUMNS).to_numpy(), axis=0)
    return _with_card(trained, medians=tuple(float(m) for m in medians))


def scaled_from_all_rows(frame: pl.DataFrame, _params: dict[str, Any], *, seed: int) -> Trained:
    """Means and spreads over every row, the holdout's included."""
    trained, card = _fitted(frame, seed)
    inputs = _inputs_of(card, frame)
    return _with_card(
        trained,
        means=tuple(float(m) for m in inputs.mean(axis=0)),
        scales=tuple(float(s) if s > 0 else 1.0 for s in inputs.std(axis=0)),
    )


def fitted_on_all_rows(frame: pl.DataFrame, _params: dict[str, Any], *, seed: int) -> Trained:
    """Coefficients from every row, the holdout's included."""
    from sklearn.linear_model import LogisticRegression

    trained, card = _fitted(frame, seed)
    scaled = (_inputs_of(card, frame) - np.array(card.means)) / np.array(card.scales)
    fit = LogisticRegression(C=float(trained.report["strength"]), max_iter=2000).fit(scaled, frame.get_column("y"))
    return _with_card(trained, coefficients=tuple(float(c) for c in fit.coef_[0]), intercept=float(fit.intercept_[0]))


def _sigmoid(card: Logistic, frame: pl.DataFrame, rows: np.ndarray) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    scaled = (_inputs_of(card, frame) - np.array(card.means)) / np.array(card.scales)
    score = scaled @ np.array(card.coefficients) + card.intercept
    fit = LogisticRegression(C=1e6).fit(score[rows, None], frame.get_column("y").to_numpy()[rows])
    return -float(fit.coef_[0, 0]), -float(fit.intercept_[0])


def calibrated_on_holdout(frame: pl.DataFrame, _params: dict[str, Any], *, seed: int) -> Trained:
    """The sigmoid from the rows that are to judge it."""
    trained, card = _fitted(frame, seed)
    cut = train.blocks(frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy())
    return _with_card(trained, sigmoid=_sigmoid(card, frame, np.flatnonzero(cut.holdout)))


def calibrated_on_shuffled_folds(frame: pl.DataFrame, _params: dict[str, Any], *, seed: int) -> Trained:
    """scikit-learn's own way: folds stratified by result and not by time."""
    from sklearn.model_selection import StratifiedKFold

    trained, card = _fitted(frame, seed)
    split = StratifiedKFold(5, shuffle=True, random_state=seed).split(np.zeros(len(frame)), frame.get_column("y"))
    pairs = [_sigmoid(card, frame, rows) for _, rows in split]
    slope, offset = np.mean(pairs, axis=0)
    return _with_card(trained, sigmoid=(float(slope), float(offset)))


def _come(panel: Panel, candidate: Candidate, number: int) -> float:
    bars = panel[candidate.signal.symbol]
    later = bars.session[bars.session <= number + AHEAD_BARS]
    row = len(later) - 1
    return float(bars.close[row] / candidate.signal.reference_close - 1.0)


def scan_keeps_what_rises(panel: Panel, session: Any, **terms: Any) -> scan.Scan:
    """Candidates that fall in the next five sessions are not ranked."""
    found, number = scan.run(panel, session, **terms), panel.calendar.number(session)
    good = [c for c in found.ranked if _come(panel, c, number) >= 0.0]
    return replace(found, ranked=tuple(replace(c, rank=k + 1) for k, c in enumerate(good)))


def scan_told_the_return(panel: Panel, session: Any, **terms: Any) -> scan.Scan:
    """Probabilities lean on the return to come."""
    found, number = scan.run(panel, session, **terms), panel.calendar.number(session)
    told = [
        replace(c, probability=None if c.probability is None else float(np.clip(c.probability + lean, 0.0, 1.0)))
        for c in found.candidates
        for lean in [np.sign(_come(panel, c, number)) * 0.01]
    ]
    return replace(found, candidates=tuple(told))


def gate_told_the_last_volume(panel: Panel, session: int, symbol: str) -> tuple[Any, Any, Any]:
    """The gates hear the dollar volume of the end of the data."""
    tradable, raw_close, _ = stages.gate_facts(panel, session, symbol)
    return tradable, raw_close, order_facts.standing(panel, symbol).adv_usd
