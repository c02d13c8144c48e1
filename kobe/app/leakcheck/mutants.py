"""Planted leaks: each replaces one part of the pipeline, and a check that does not catch it proves nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kobe.app.leakcheck import planted
from kobe.app.leakcheck.stages import Pipeline


@dataclass(frozen=True, slots=True)
class Mutant:
    """A leak for people, and the pipeline with it."""

    meaning: str
    plant: Callable[[Pipeline], Pipeline]


def _indicator(name: str, compute: planted.Column, meaning: str) -> Mutant:
    return Mutant(meaning, lambda p: replace(p, table=planted.table_with(**{name: compute})))


def _input(name: str, compute: planted.Input, meaning: str) -> Mutant:
    return Mutant(meaning, lambda p: replace(p, table=planted.table_with_inputs(**{name: compute})))


def _signal(change: planted.Change, meaning: str) -> Mutant:
    return Mutant(meaning, lambda p: replace(p, strategies=planted.strategies_with(p.strategies, change)))


MUTANTS: dict[str, Mutant] = {
    "ibs_of_tomorrow": _indicator("ibs", planted.ibs_of_tomorrow, "IBS with tomorrow's close"),
    "centred_average": _indicator("sma", planted.centred_average, "moving average in the middle of its window"),
    "prior_low_with_tomorrow": _indicator(
        "prior_low", planted.prior_low_with_tomorrow, "the window of the prior low includes t + 1"
    ),
    "rsi_rank_in_whole_sample": _indicator(
        "rsi", planted.rsi_rank_in_whole_sample, "RSI as a percentile of the whole sample"
    ),
    "dollars_with_later_splits": _indicator(
        "adv_usd", planted.dollars_with_later_splits, "dollar volume from shares that later splits multiplied"
    ),
    "volatility_rank_in_whole_sample": _input(
        "volatility_rank", planted.volatility_rank_in_whole_sample, "volatility percentile over the whole sample"
    ),
    "volume_score_of_whole_sample": _input(
        "volume_z", planted.volume_score_of_whole_sample, "z-score with the whole sample's mean and spread"
    ),
    "volume_score_after_splits": _input(
        "volume_z", planted.volume_score_after_splits, "1 + shares that later splits multiplied, in a logarithm"
    ),
    "breadth_of_survivors": _input("breadth", planted.breadth_of_survivors, "breadth over symbols alive at the end"),
    "return_to_come": _input("return_5", planted.return_to_come, "the target under an input's name"),
    "gap_of_tomorrow": _input("gap_atr", planted.gap_of_tomorrow, "the gap of the open that fills the order"),
    "market_one_session_late": _input(
        "market_return_5", planted.market_one_session_late, "the market's bar of the session after"
    ),
    "signals_open_higher": _signal(planted.only_those_that_open_higher, "a signal at t asks for the open of t + 1"),
    "exits_of_tomorrow": _signal(planted.exits_of_tomorrow, "the exit rule is shifted the wrong way"),
    "price_gate_on_adjusted": _signal(planted.price_gate_on_adjusted, "the least price is asked of adjusted prices"),
    "total_return_prices": Mutant(
        "prices lowered by later dividends", lambda p: replace(p, adjust=planted.total_return_prices)
    ),
    "holds_placed_early": Mutant(
        "a hold begins before its odd bar", lambda p: replace(p, holds=planted.holds_placed_early)
    ),
    "members_of_today": Mutant(
        "the last session's members for all dates", lambda p: replace(p, members=planted.members_of_today)
    ),
    "members_counted_later": Mutant(
        "the universe's size counts symbols yet to list", lambda p: replace(p, members=planted.members_counted_later)
    ),
    "without_the_doomed": Mutant(
        "symbols that will be delisted are left out", lambda p: replace(p, mask=planted.without_the_doomed)
    ),
    "labels_beyond_the_exit": Mutant(
        "a label reads prices after its exit", lambda p: replace(p, evaluate=planted.labels_beyond_the_exit)
    ),
    "trained_on_test": Mutant(
        "parameters chosen on training and test", lambda p: replace(p, walk=planted.walk_trained_on_test)
    ),
    "no_purge": Mutant("training labels reach into the test", lambda p: replace(p, walk=planted.walk_without_purge)),
    "hindsight": Mutant(
        "every split uses what was best over all", lambda p: replace(p, walk=planted.walk_in_hindsight)
    ),
    "labels_clipped": Mutant(
        "labels clipped at quantiles of all labels",
        lambda p: replace(p, dataset=planted.labels_clipped_at_whole_sample),
    ),
    "imputed_from_all_rows": Mutant(
        "imputer fitted on all rows", lambda p: replace(p, train=planted.imputed_from_all_rows)
    ),
    "scaled_from_all_rows": Mutant(
        "scaler fitted on all rows", lambda p: replace(p, train=planted.scaled_from_all_rows)
    ),
    "fitted_on_all_rows": Mutant(
        "coefficients fitted on all rows", lambda p: replace(p, train=planted.fitted_on_all_rows)
    ),
    "calibrated_on_holdout": Mutant(
        "calibrated on the rows that judge it", lambda p: replace(p, train=planted.calibrated_on_holdout)
    ),
    "calibrated_on_shuffled_folds": Mutant(
        "calibrated on shuffled, stratified folds", lambda p: replace(p, train=planted.calibrated_on_shuffled_folds)
    ),
    "scan_keeps_what_rises": Mutant(
        "ranking leaves out what falls next", lambda p: replace(p, scan=planted.scan_keeps_what_rises)
    ),
    "scan_told_the_return": Mutant(
        "the probability leans on the return to come", lambda p: replace(p, scan=planted.scan_told_the_return)
    ),
    "gate_told_the_last_volume": Mutant(
        "a gate hears the last dollar volume of all", lambda p: replace(p, standing=planted.gate_told_the_last_volume)
    ),
}
