"""Search for parameters or rules inside a train window, and the honest record of everything that was tried.

A search sees genomes and their train fitness, nothing else: no test window, no bars. Every genome evaluated, those of
the plateau check included, is one counted trial, however it came up and however bad it was (DOMAIN 2.9, 9); the same
genome is never evaluated or counted twice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from kobe.backtest.engine import Assumptions
from kobe.backtest.fitness import Fitness, Training, fitness
from kobe.core.errors import UsageError
from kobe.core.expressions import size
from kobe.learning.spaces import Axis, Choice, Genome, Space, genome, nearby, points, steps_of
from kobe.strategies import STRATEGIES, rule
from kobe.strategies.spec import BaseParams, Strategy

RULE = rule.NAME
MOST_TRIALS = 20_000  # of one search; more tells less: the expected best of noise only grows
MOST_GRID = 10_000

Evaluate: TypeAlias = Callable[[Sequence[Genome]], Sequence[Fitness]]
"""Judges genomes, one fitness each in their order; a compute backend may share them out."""
Neighbours: TypeAlias = Callable[[Genome], list[Genome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What keeps a search from believing its luck.

    Attributes:
        complexity_penalty: taken from t per node of a rule.
        plateau: share of the best score the neighbours' median must reach.
        reach: how far each gene is moved for that, as a share of its value.
    """

    complexity_penalty: float = 0.02
    plateau: float = 0.8
    reach: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One genome with its fitness, in the order of evaluation; `step` says what asked for it."""

    number: int
    step: str
    genome: Genome
    fitness: Fitness
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """Whether the best genome stands among equals: the median score of its neighbours against its own."""

    passed: bool
    best: float
    median: float
    neighbours: int
    why: str


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Everything a search did.

    Attributes:
        trials: every genome evaluated, in order; their number deflates whatever is claimed of the best one.
        best: the highest score, or None when no genome had enough trades.
        plateau: the verdict on it.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    plateau: Plateau | None

    @property
    def chosen(self) -> Genome | None:
        """The best genome where it stands on a plateau; None means: keep the defaults."""
        return self.best.genome if self.best is not None and self.plateau is not None and self.plateau.passed else None

    @property
    def front(self) -> tuple[Trial, ...]:
        """Trials no other beats in both t and mean R, best t first."""
        ranked = sorted((t for t in self.trials if not math.isnan(t.fitness.t)), key=lambda t: -t.fitness.t)
        found: list[Trial] = []
        for trial in ranked:
            if not found or trial.fitness.mean_r > found[-1].fitness.mean_r:
                found.append(trial)
        return tuple(found)


class TrialLog:
    """Asks for the fitness of genomes, each once, and keeps them in order."""

    def __init__(self, evaluate: Evaluate, guards: Guards) -> None:
        self.trials: list[Trial] = []
        self._evaluate = evaluate
        self._guards = guards
        self._known: dict[str, Trial] = {}

    def knows(self, candidate: Genome) -> bool:
        """Say whether a genome was evaluated before."""
        return candidate.digest in self._known

    def ask(self, genomes: Sequence[Genome], step: str) -> list[Trial]:
        """Return the trial of each genome; only those never seen before are evaluated and counted.

        Raises:
            ValueError: the evaluation did not answer each genome.
        """
        fresh = list({g.digest: g for g in genomes if g.digest not in self._known}.values())
        answers = list(self._evaluate(fresh)) if fresh else []
        if len(answers) != len(fresh):
            msg = f"{len(fresh)} genomes were asked for and {len(answers)} answered"
            raise ValueError(msg)
        for candidate, answer in zip(fresh, answers, strict=True):
            score = answer.t - self._guards.complexity_penalty * answer.complexity
            trial = Trial(number=len(self.trials) + 1, step=step, genome=candidate, fitness=answer, score=score)
            self.trials.append(trial)
            self._known[candidate.digest] = trial
        return [self._known[g.digest] for g in genomes]

    def conclude(self, neighbours: Neighbours) -> SearchResult:
        """Name the best trial and judge its plateau, which may take some more trials."""
        scored = ranked(self.trials)
        best = scored[0] if scored and not math.isnan(scored[0].score) else None
        verdict = None if best is None else self._plateau(best, neighbours)
        return SearchResult(trials=tuple(self.trials), best=best, plateau=verdict)

    def _plateau(self, best: Trial, neighbours: Neighbours) -> Plateau:
        around = self.ask(neighbours(best.genome), "plateau") if best.score > 0 else []
        # a neighbour with too few trades made no money that anyone could show
        median = float(np.median([0.0 if math.isnan(t.score) else t.score for t in around])) if around else best.score
        passed = best.score > 0 and median >= self._guards.plateau * best.score
        why = f"neighbours' median {median:.2f} against {best.score:.2f}"
        if best.score <= 0:
            why = f"no genome made money in training: best score {best.score:.2f}"
        elif not around:
            why = "there is nothing to turn"
        return Plateau(passed=passed, best=best.score, median=median, neighbours=len(around), why=why)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Order trials by score, best first, those without one last; equal scores by their order of evaluation."""
    return sorted(trials, key=lambda t: (math.isnan(t.score), -t.score if not math.isnan(t.score) else 0.0, t.number))


def neighbours_in(space: Space, reach: float) -> Neighbours:
    """Return the function that moves each gene of a genome down and up by a share of its value, one at a time."""

    def around(centre: Genome) -> list[Genome]:
        values = centre.values
        moved = [
            genome(centre.kind, {**values, name: other}, space)
            for name in sorted(space)
            for other in nearby(space[name], values[name], reach)
        ]
        return list({g.digest: g for g in moved}.values())

    return around


def resolve(candidate: Genome, base: BaseParams) -> tuple[Strategy, BaseParams, int]:
    """Return what a genome stands for: strategy, parameters, complexity.

    Args:
        candidate: of a strategy in STRATEGIES, or a rule.
        base: values of everything the genome does not say.
    """
    if candidate.kind != RULE:
        strategy = STRATEGIES[candidate.kind]
        return strategy, strategy.params({**asdict(base), **candidate.values}), 0
    frame: dict[str, Any] = {f.name: getattr(base, f.name) for f in fields(BaseParams)}
    params = rule.RuleParams(**(frame | candidate.values))
    written = [source for source in (params.entry, params.exit) if source]
    return rule.strategy(params), params, sum(size(rule.read_rule(source)) for source in written)


def judge(window: Training, base: BaseParams, assumptions: Assumptions, candidate: Genome) -> Fitness:
    """Return the train fitness of one genome; every argument can be sent to another process."""
    strategy, params, complexity = resolve(candidate, base)
    return fitness(window, strategy, params, assumptions, complexity=complexity)


def grid_size(space: Space) -> int:
    """Count the points of a grid without making them.

    Raises:
        ConfigError: an axis has no step.
    """
    return math.prod(len(a.values) if isinstance(a, Choice) else steps_of(a) for a in space.values())


def check_grid(space: Space, *, seconds_per_trial: float, most: int = MOST_GRID) -> int:
    """Return the size of a grid.

    Raises:
        UsageError: it is larger than `most`; the message estimates the time it would have taken.
    """
    trials = grid_size(space)
    if trials > most:
        hours = trials * seconds_per_trial / 3600.0
        raise UsageError(
            "this grid is too large to search",
            seen=f"{trials:,} trials, about {hours:,.1f} hours at {seconds_per_trial:g} s each",
            expected=f"at most {most:,}: fewer axes, longer steps, or a genetic search",
        )
    return trials


def grid(
    kind: str,
    space: Space,
    evaluate: Evaluate,
    *,
    seconds_per_trial: float,
    most: int = MOST_GRID,
    guards: Guards | None = None,
) -> SearchResult:
    """Try every point of a space; refused above `most` before anything is evaluated (see `check_grid`)."""
    check_grid(space, seconds_per_trial=seconds_per_trial, most=most)
    guards = guards or Guards()
    log = TrialLog(evaluate, guards)
    names = sorted(space)
    axes: list[Axis] = [space[name] for name in names]
    every = [genome(kind, dict(zip(names, v, strict=True)), space) for v in product(*(points(a) for a in axes))]
    log.ask(every, "grid")
    return log.conclude(neighbours_in(space, guards.reach))
