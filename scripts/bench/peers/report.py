"""Readings taken in turns, and the bars they are held against."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .worker import Reading


@dataclass(frozen=True, kw_only=True)
class Median:
    """Medians over the rounds of one call, seconds."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of the last table.

    Attributes:
        name: what is compared.
        ours, theirs: the two figures as text with their units.
        ratio: how many times better or worse, as `required` counts it.
        required: the bound of the design.
        at_least: whether the ratio must reach the bound or stay below it.
        cpu_ratio: the same ratio in processor time, which other work on the machine moves less; None where it says
            nothing.
    """

    name: str
    ours: str
    theirs: str
    ratio: float
    required: float
    at_least: bool = True
    cpu_ratio: float | None = None

    @property
    def met(self) -> bool:
        """Whether the bound holds."""
        return self.ratio >= self.required if self.at_least else self.ratio <= self.required


def in_turns(calls: Mapping[str, Callable[[], Reading]], rounds: int) -> dict[str, Median]:
    """Return medians per call; one call of each in every round, so that a busy moment meets all alike."""
    readings: dict[str, list[Reading]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            readings[name].append(call())
    return {
        name: Median(wall_s=statistics.median(r.wall_s for r in found), cpu_s=statistics.median(r.cpu_s for r in found))
        for name, found in readings.items()
    }


def show(bars: list[Bar]) -> None:
    """Print the table of bars."""
    print(f"\n{'bar':58}{'ours':>16}{'theirs':>16}{'ratio':>9}{'cpu':>8}{'required':>10}  met")
    for bar in bars:
        sign, cpu = ">=" if bar.at_least else "<=", "" if bar.cpu_ratio is None else f"{bar.cpu_ratio:.3g}"
        line = f"{bar.name:58}{bar.ours:>16}{bar.theirs:>16}{bar.ratio:9.3g}{cpu:>8}"
        print(f"{line}{sign:>4}{bar.required:6g}  {'yes' if bar.met else 'NO'}")
