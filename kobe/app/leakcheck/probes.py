"""What is compared: each stage of the pipeline, read from all of history and from what was known.

A probe says what its stage told up to a session. It is asked of three worlds: all of history, the world cut at the
session, and a world with the same past and another future; the three answers must be one, to the bit.
"""

from kobe.app.leakcheck import learned, numbers, scanned
from kobe.app.leakcheck.lab import Probe, observed
from kobe.app.leakcheck.stages import BARS, EVIDENCE, NUMBERS

OUTCOMES = (*NUMBERS, "strategies", "evaluate")
PROBES: dict[str, Probe] = {
    "adjustment": Probe(
        meaning="tape prices, dollars and moves, whatever split or dividend comes later",
        rests_on=("holds", "adjust"),
        pairs=observed(numbers.adjusted),
    ),
    "holds": Probe(
        meaning="who was on hold, since when and until when", rests_on=("holds",), pairs=observed(numbers.held)
    ),
    "universe": Probe(meaning="who was a member and tradable", rests_on=BARS, pairs=observed(numbers.members)),
    "indicators": Probe(meaning="every indicator at every bar", rests_on=NUMBERS, pairs=observed(numbers.indicators)),
    "inputs": Probe(
        meaning="every input of the model at the newest bars", rests_on=(*NUMBERS, "inputs"),
        pairs=observed(numbers.inputs),
    ),
    "signals": Probe(
        meaning="every signal, long and short, and every exit", rests_on=(*NUMBERS, "strategies"),
        pairs=observed(numbers.signals),
    ),
    "outcomes": Probe(meaning="every trade that had ended", rests_on=OUTCOMES, pairs=observed(numbers.outcomes)),
    "scan": Probe(
        meaning="candidates, probabilities, ranks, picks and the trade of the day",
        rests_on=(*BARS, "scan"), pairs=observed(scanned.scan),
    ),
    "gate_inputs": Probe(
        meaning="raw close, dollar volume and tradability a gate is told", rests_on=(*BARS, "standing"),
        pairs=observed(scanned.gate_inputs),
    ),
    "choices": Probe(
        meaning="parameters and trials of every split whose training had ended", rests_on=EVIDENCE,
        pairs=observed(learned.choices), late=True,
    ),
    "out_of_sample": Probe(
        meaning="out-of-sample trades of every split whose test had ended", rests_on=EVIDENCE,
        pairs=observed(learned.out_of_sample), late=True,
    ),
    "dataset": Probe(
        meaning="rows of the data set whose label and split had ended", rests_on=(*EVIDENCE, "dataset"),
        pairs=observed(learned.rows), late=True,
    ),
    "fit": Probe(
        meaning="imputer, scaler and coefficients without the rows after the fit, the sigmoid without the holdout",
        rests_on=(*EVIDENCE, "dataset", "train"), pairs=learned.blocks_apart, late=True,
    ),
    "model": Probe(
        meaning="the model trained on evidence up to then", rests_on=(*EVIDENCE, "dataset", "train"),
        pairs=observed(learned.model), late=True,
    ),
}  # fmt: skip
