"""Genetic search: tournaments, crossover, Gaussian mutation, elites, and no genome ever judged twice (DOMAIN 9)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from kobe.core.errors import ConfigError
from kobe.core.ports import Progress
from kobe.learning.search import MOST_TRIALS, Evaluate, Guards, SearchResult, Trial, TrialLog, neighbours_in, ranked
from kobe.learning.spaces import Genome, Space, Value, drawn, genome, jittered

ATTEMPTS = 30  # at a child never seen before; a small space runs out of them


class Breeder(Protocol):
    """Makes genomes of one kind; `kobe.learning.rule_genes` has the one for rules."""

    def random(self, rng: np.random.Generator) -> Genome:
        """Draw a genome."""
        ...

    def cross(self, rng: np.random.Generator, one: Genome, two: Genome) -> Genome:
        """Make a child that takes each part from either parent."""
        ...

    def mutate(self, rng: np.random.Generator, parent: Genome) -> Genome:
        """Change a genome a little."""
        ...

    def neighbours(self, centre: Genome) -> list[Genome]:
        """Return what the plateau of a genome is judged by."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """How a population evolves.

    Attributes:
        population: genomes alive at once.
        generations: rounds, the first being drawn.
        tournament: how many draw lots to be a parent; the best of them is.
        elite: best genomes that live on unchanged.
        crossover: share of children with two parents.
        seed: the same seed gives the same search.
        guards: what keeps it from believing its luck.

    Raises:
        ConfigError: a value is out of bounds, or the trials could become too many.
    """

    population: int = 40
    generations: int = 12
    tournament: int = 3
    elite: int = 2
    crossover: float = 0.8
    seed: int = 81
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        bounds = (
            ("population", self.population, 4, 500),
            ("generations", self.generations, 1, 200),
            ("tournament", self.tournament, 2, self.population),
            ("elite", self.elite, 1, self.population // 2),
            ("crossover", self.crossover, 0.0, 1.0),
            ("population times generations", self.population * self.generations, 1, MOST_TRIALS),
        )
        for name, value, low, high in bounds:
            if not low <= value <= high:
                raise ConfigError(
                    f"{name} of a genetic search is out of bounds", seen=value, expected=f"{low} to {high}"
                )


def evolve(
    breeder: Breeder, evaluate: Evaluate, settings: Evolution, *, progress: Progress | None = None
) -> SearchResult:
    """Evolve genomes by their train fitness and judge the best one's plateau.

    Each generation is asked for in one call of `evaluate`. The search ends early when nothing new can be bred.

    Args:
        breeder: makes the genomes.
        evaluate: their train fitness.
        settings: how the population evolves.
        progress: called after each generation.
    """
    rng = np.random.default_rng(settings.seed)
    log = TrialLog(evaluate, settings.guards)
    brood = _immigrants(breeder, rng, log, settings.population)
    parents: list[Trial] = []
    for generation in range(settings.generations):
        if not brood:
            break
        born = log.ask(brood, f"generation {generation + 1}")
        parents = ranked([*parents[: settings.elite], *born])
        if progress:
            progress(generation + 1, settings.generations, "generation")
        if generation + 1 < settings.generations:
            brood = _brood(breeder, rng, log, parents, settings)
    return log.conclude(breeder.neighbours)


def _immigrants(breeder: Breeder, rng: np.random.Generator, log: TrialLog, count: int) -> list[Genome]:
    """Draw distinct genomes never seen before; fewer than asked for where a space is small."""
    found: dict[str, Genome] = {}
    for _ in range(count * ATTEMPTS):
        if len(found) == count:
            break
        candidate = breeder.random(rng)
        if not log.knows(candidate):
            found.setdefault(candidate.digest, candidate)
    return list(found.values())


def _brood(
    breeder: Breeder, rng: np.random.Generator, log: TrialLog, parents: Sequence[Trial], settings: Evolution
) -> list[Genome]:
    """Breed the next generation besides the elites; where children are only clones, strangers are drawn."""
    wanted = settings.population - settings.elite
    found: dict[str, Genome] = {}
    for _ in range(wanted * ATTEMPTS):
        if len(found) == wanted:
            return list(found.values())
        child = _tournament(rng, parents, settings.tournament)
        if rng.random() < settings.crossover:
            child = breeder.cross(rng, child, _tournament(rng, parents, settings.tournament))
        child = breeder.mutate(rng, child)
        if not log.knows(child):
            found.setdefault(child.digest, child)
    strangers = _immigrants(breeder, rng, log, wanted - len(found))
    return list({g.digest: g for g in (*found.values(), *strangers)}.values())


def _tournament(rng: np.random.Generator, parents: Sequence[Trial], size: int) -> Genome:
    """Return the best of some drawn at random; parents come best first."""
    return parents[int(rng.integers(len(parents), size=size).min())].genome


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterBreeder:
    """Breeds parameters of a strategy within a space.

    Attributes:
        kind: the strategy's id.
        space: what may be turned.
        rate: share of genes a mutation moves; at least one is.
        scale: standard deviation of such a move as a share of the axis's width.
        reach: how far the plateau is looked at.
    """

    kind: str
    space: Space
    rate: float = 0.25
    scale: float = 0.15
    reach: float = 0.1

    def random(self, rng: np.random.Generator) -> Genome:
        """Draw every gene from its whole axis."""
        return genome(self.kind, {name: drawn(self.space[name], rng) for name in sorted(self.space)}, self.space)

    def cross(self, rng: np.random.Generator, one: Genome, two: Genome) -> Genome:
        """Take each gene from either parent with equal chance."""
        first, second = one.values, two.values
        values: dict[str, Value] = {n: (first if rng.random() < 0.5 else second)[n] for n in sorted(self.space)}
        return genome(self.kind, values, self.space)

    def mutate(self, rng: np.random.Generator, parent: Genome) -> Genome:
        """Move some genes by Gaussian steps within their bounds."""
        names = sorted(self.space)
        struck = rng.random(len(names)) < self.rate
        struck[rng.integers(len(names))] = True
        values = parent.values
        for name, is_struck in zip(names, struck, strict=True):
            if is_struck:
                values[name] = jittered(self.space[name], values[name], rng, self.scale)
        return genome(self.kind, values, self.space)

    def neighbours(self, centre: Genome) -> list[Genome]:
        """Move each gene down and up by a share of its value."""
        return neighbours_in(self.space, self.reach)(centre)
