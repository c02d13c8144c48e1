"""Optuna's samplers behind the same door: TPE for one aim, NSGA-II for t and mean R together.

Optuna is part of the extra `research`. Studies live in memory, are seeded, and say nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kobe.core.errors import ConfigError
from kobe.learning.search import MOST_TRIALS, RULE, Evaluate, Guards, SearchResult, Trial, TrialLog, neighbours_in
from kobe.learning.spaces import Axis, Choice, Genome, Real, Space, Value, genome, points

if TYPE_CHECKING:
    import optuna

PATIENCE = 4  # asks per trial: a sampler that only repeats itself in a small space is stopped


def tpe(
    kind: str, space: Space, evaluate: Evaluate, *, trials: int, seed: int, batch: int = 1, guards: Guards | None = None
) -> SearchResult:
    """Search by a tree-structured Parzen estimator for the highest score (Bergstra et al. 2011).

    Args:
        kind: strategy id; rules have no space.
        space: what may be turned.
        evaluate: train fitness.
        trials: distinct genomes to evaluate, those of the plateau check besides.
        seed: the same seed gives the same search.
        batch: genomes asked for at once; more can be shared out but learn less from each other.
        guards: what keeps it from believing its luck.

    Raises:
        ConfigError: Optuna is not installed, or a bound is passed.
    """
    optuna = _optuna()
    sampler = optuna.samplers.TPESampler(seed=seed)
    return _search(kind, space, evaluate, sampler, 1, lambda t: [t.score], trials, batch, guards)


def nsga2(
    kind: str,
    space: Space,
    evaluate: Evaluate,
    *,
    trials: int,
    seed: int,
    population: int = 24,
    guards: Guards | None = None,
) -> SearchResult:
    """Search by NSGA-II (Deb et al. 2002) for genomes no other beats in both t and mean R; see `tpe`.

    A high t may be many small gains and a high mean R a few lucky ones; `SearchResult.front` shows what one costs
    the other. `best` is the front's highest score.

    Raises:
        ConfigError: Optuna is not installed, or a bound is passed.
    """
    optuna = _optuna()
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
    return _search(kind, space, evaluate, sampler, 2, lambda t: [t.score, t.fitness.mean_r], trials, population, guards)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as fault:
        raise ConfigError(
            "this search needs Optuna, which is not installed", seen=str(fault), expected="the extra research",
            next_command="pip install 'kobe[research]'",
        ) from fault  # fmt: skip
    return optuna


def _search(
    kind: str,
    space: Space,
    evaluate: Evaluate,
    sampler: "optuna.samplers.BaseSampler",
    aims: int,
    aim: Callable[[Trial], list[float]],
    trials: int,
    batch: int,
    guards: Guards | None,
) -> SearchResult:
    if kind == RULE or not 1 <= trials <= MOST_TRIALS:
        raise ConfigError(
            "this search is out of bounds", seen=f"{trials} trials of {kind}",
            expected=f"1 to {MOST_TRIALS} trials of a strategy's parameters; rules take the genetic search",
        )  # fmt: skip
    import optuna

    guards = guards or Guards()
    log = TrialLog(evaluate, guards)
    axes = {name: _distribution(space[name]) for name in sorted(space)}
    with _silenced():
        study = optuna.create_study(sampler=sampler, directions=["maximize"] * aims)
        for _ in range(trials * PATIENCE):
            if len(log.trials) >= trials:
                break
            asked = [study.ask(axes) for _ in range(min(batch, trials - len(log.trials)))]
            answers = log.ask([_genome(kind, space, a.params) for a in asked], "sampler")
            for one, trial in zip(asked, answers, strict=True):
                _tell(study, one, aim(trial))
    return log.conclude(neighbours_in(space, guards.reach))


def _tell(study: "optuna.Study", asked: "optuna.Trial", values: list[float]) -> None:
    from optuna.trial import TrialState

    if any(v != v for v in values):  # noqa: PLR0124 - NaN: too few trades to say anything
        study.tell(asked, state=TrialState.FAIL)
    else:
        study.tell(asked, values)


def _distribution(axis: Axis) -> "optuna.distributions.BaseDistribution":
    """Stepped axes are places on their grid, so that Optuna's values and ours are the same."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if isinstance(axis, Real) and axis.step is None:
        return FloatDistribution(axis.low, axis.high)
    return IntDistribution(0, len(points(axis)) - 1)


def _genome(kind: str, space: Space, told: dict[str, Any]) -> Genome:
    values: dict[str, Value] = {}
    for name, axis in space.items():
        stepped = not isinstance(axis, Choice) and axis.step is not None
        values[name] = points(axis)[int(told[name])] if stepped else told[name]
    return genome(kind, values, space)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Optuna's log from the terminal while it works, and leave its level as it was."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
