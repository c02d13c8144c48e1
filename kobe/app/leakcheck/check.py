"""Run the probes over the cuts: the honest pipeline, and every mutant until something catches it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kobe.app.leakcheck import cuts
from kobe.app.leakcheck.cells import Alarm, Case, Comparison, compare
from kobe.app.leakcheck.cuts import Cut
from kobe.app.leakcheck.lab import Lab, Probe
from kobe.app.leakcheck.mutants import Mutant
from kobe.app.leakcheck.stages import Pipeline, Stages, Terms
from kobe.app.leakcheck.world import World
from kobe.core.ports import Progress


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one probe found over all cuts."""

    probe: str
    meaning: str
    cuts: int
    tests: int
    cells: int
    rounded: int
    differing: int
    alarms: tuple[Alarm, ...]

    @property
    def verdict(self) -> str:
        """`clean`, `LEAK`, or that there was nothing to look at, which is no evidence."""
        if self.differing:
            return "LEAK"
        return "clean" if self.cells else "nothing to compare"


@dataclass(frozen=True, kw_only=True)
class Catch:
    """What became of one mutant; without an alarm it was missed."""

    mutant: str
    meaning: str
    stage: str
    alarm: Alarm | None
    differing: int


def laboratory(world: World, terms: Terms, places: Sequence[Cut], seed: int, pipeline: Pipeline | None = None) -> Lab:
    """Set a world up for probing, with the honest pipeline unless another is given."""
    late = cuts.late(places, terms, *world.span)
    return Lab(whole=Stages(world=world, pipeline=pipeline or Pipeline(), terms=terms), seed=seed, late=late)


def comparisons(lab: Lab, name: str, probe: Probe, session: int) -> Iterator[Comparison]:
    """Ask one probe at one cut, test by test."""
    if probe.late and session not in lab.late:
        return
    rescaled = lab.whole.world.splits_after(session)
    for test, whole, known in probe.pairs(lab, session):
        yield compare(Case(probe=name, test=test, cut=session, rescaled=rescaled), whole, known)


def run_probes(
    lab: Lab, probes: Mapping[str, Probe], places: Sequence[Cut], progress: Progress | None = None
) -> list[Finding]:
    """Ask every probe at every cut; what was made for a cut is dropped after it."""
    told: dict[str, list[list[Comparison]]] = {name: [] for name in probes}
    for k, place in enumerate(places):
        for name, probe in probes.items():
            told[name].append(list(comparisons(lab, name, probe, place.session)))
        lab.forget(place.session)
        if progress:
            progress(k + 1, len(places), "cuts")
    return [_finding(name, probes[name].meaning, per_cut) for name, per_cut in told.items()]


def _finding(name: str, meaning: str, per_cut: list[list[Comparison]]) -> Finding:
    every = [c for found in per_cut for c in found]
    return Finding(
        probe=name,
        meaning=meaning,
        cuts=sum(any(c.cells for c in found) for found in per_cut),
        tests=len(every),
        cells=sum(c.cells for c in every),
        rounded=sum(c.rounded for c in every),
        differing=sum(c.differing for c in every),
        alarms=tuple(a for c in every for a in c.alarms),
    )


def run_mutants(
    lab: Lab,
    mutants: Mapping[str, Mutant],
    probes: Mapping[str, Probe],
    places: Sequence[Cut],
    progress: Progress | None = None,
) -> list[Catch]:
    """Plant each leak and ask the probes that run its part, the latest cut first, until one raises an alarm."""
    honest = lab.whole.pipeline
    labs = {name: lab.through(mutant.plant(honest)) for name, mutant in mutants.items()}
    caught: dict[str, Comparison] = {}
    for k, place in enumerate(sorted(places, reverse=True)):
        for name in [n for n in mutants if n not in caught]:
            stage = labs[name].whole.pipeline.replaced(honest)
            mine = {p: probe for p, probe in probes.items() if stage in probe.rests_on}
            first = next((c for c in _all(labs[name], mine, place.session) if c.differing), None)
            if first is not None:
                caught[name] = first
        lab.forget(place.session)
        if progress:
            progress(k + 1, len(places), "mutants")
    return [
        Catch(
            mutant=name,
            meaning=mutant.meaning,
            stage=labs[name].whole.pipeline.replaced(honest),
            alarm=caught[name].alarms[0] if name in caught else None,
            differing=caught[name].differing if name in caught else 0,
        )
        for name, mutant in mutants.items()
    ]


def _all(lab: Lab, probes: Mapping[str, Probe], session: int) -> Iterator[Comparison]:
    for name, probe in probes.items():
        yield from comparisons(lab, name, probe, session)
