"""What a search may turn, and how far: axes with bounds, and the genome, a point among them with one name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kobe.core.errors import ConfigError
from kobe.core.ids import short_digest

Value: TypeAlias = float | int | str
SAME_DIGITS = 6  # of a real without step: values that agree in these are one genome


def _check_bounds(low: float, high: float, step: float) -> None:
    if not low < high or step <= 0:
        raise ConfigError("an axis needs low < high and a positive step", seen=f"{low} to {high} by {step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A number between two bounds, both included; in steps from the lower one, or anywhere."""

    low: float
    high: float
    step: float | None = None

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, 1.0 if self.step is None else self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number between two bounds, both included."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.step)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some names; they have no order, so a plateau does not reach across them."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values) or not self.values:
            raise ConfigError("an axis needs distinct values", seen=self.values)


Axis: TypeAlias = Real | Whole | Choice
Space: TypeAlias = Mapping[str, Axis]

SPACES: dict[str, dict[str, Axis]] = {
    "ibs_rsi": {
        "ibs_max": Real(low=0.05, high=0.40, step=0.01),
        "rsi_bars": Whole(low=2, high=5),
        "rsi_max": Real(low=2.0, high=30.0, step=0.5),
        "exit_rule": Choice(("rsi", "sma5", "ibs")),
        "sma_bars": Whole(low=50, high=250, step=10),
        "stop_atr": Real(low=1.0, high=4.0, step=0.25),
        "hold_bars": Whole(low=2, high=8),
    },
    "turtle_soup": {
        "lookback_bars": Whole(low=10, high=60),
        "min_age_bars": Whole(low=2, high=10),
        "min_depth_atr": Real(low=0.0, high=0.5, step=0.05),
        "max_depth_atr": Real(low=0.75, high=4.0, step=0.25),
        "stop_mode": Choice(("atr", "sweep")),
        "sweep_pad_atr": Real(low=0.0, high=1.0, step=0.1),
        "target_r": Real(low=0.5, high=3.0, step=0.25),
        "sma_bars": Whole(low=50, high=250, step=10),
        "stop_atr": Real(low=1.0, high=4.0, step=0.25),
        "hold_bars": Whole(low=2, high=8),
    },
}


@dataclass(frozen=True, slots=True)
class Genome:
    """One thing a search can try: the strategy's id, or `rule`, and its values by name, names ascending."""

    kind: str
    genes: tuple[tuple[str, Value], ...]

    @property
    def values(self) -> dict[str, Value]:
        """The values by name."""
        return dict(self.genes)

    @property
    def digest(self) -> str:
        """Canonical hash; genomes that mean the same have the same one, and count as one trial."""
        return short_digest([self.kind, self.genes])


def genome(kind: str, values: Mapping[str, Value], space: Space) -> Genome:
    """Return the genome nearest to some values inside a space.

    Raises:
        ConfigError: the names are not those of the space.
    """
    if set(values) != set(space):
        raise ConfigError(
            f"genes of {kind} do not fit its space", seen=", ".join(sorted(values)), expected=", ".join(sorted(space))
        )
    return Genome(kind, tuple((name, snap(space[name], values[name])) for name in sorted(space)))


def snap(axis: Axis, value: Value) -> Value:
    """Return the axis's value nearest to one; what is out of bounds comes to the bound.

    Raises:
        ConfigError: a name that is no choice, or a name where a number belongs.
    """
    if isinstance(axis, Choice) and value in axis.values:
        return value
    if isinstance(axis, Choice) or isinstance(value, str):
        expected = axis.values if isinstance(axis, Choice) else f"{axis.low} to {axis.high}"
        raise ConfigError("a value does not fit its axis", seen=value, expected=expected)
    within = min(max(value, axis.low), axis.high)
    if axis.step is None:
        return float(f"{within:.{SAME_DIGITS}g}")
    steps = min(round((within - axis.low) / axis.step), steps_of(axis) - 1)
    landed = axis.low + steps * axis.step
    return int(landed) if isinstance(axis, Whole) else float(f"{landed:.10g}")


def steps_of(axis: Real | Whole) -> int:
    """Count the values of a stepped axis, the lower bound included.

    Raises:
        ConfigError: the axis has no step.
    """
    if axis.step is None:
        raise ConfigError("an axis without a step has no grid", seen=f"{axis.low} to {axis.high}", expected="a step")
    return int((axis.high - axis.low) / axis.step + 1e-9) + 1


def points(axis: Axis) -> tuple[Value, ...]:
    """Return every value of an axis, ascending.

    Raises:
        ConfigError: the axis has no step.
    """
    if isinstance(axis, Choice):
        return axis.values
    step = axis.step or 0
    return tuple(snap(axis, axis.low + k * step) for k in range(steps_of(axis)))


def drawn(axis: Axis, rng: np.random.Generator) -> Value:
    """Draw a value, every one as likely."""
    if isinstance(axis, Choice):
        return axis.values[int(rng.integers(len(axis.values)))]
    if axis.step is None:
        return snap(axis, float(rng.uniform(axis.low, axis.high)))
    return snap(axis, axis.low + int(rng.integers(steps_of(axis))) * axis.step)


def jittered(axis: Axis, value: Value, rng: np.random.Generator, scale: float) -> Value:
    """Move a value by a Gaussian step of `scale` times the axis's width, within bounds; a choice is drawn anew."""
    if isinstance(axis, Choice) or isinstance(value, str):
        return drawn(axis, rng)
    return snap(axis, value + float(rng.normal(0.0, scale * (axis.high - axis.low))))


def nearby(axis: Axis, value: Value, share: float) -> list[Value]:
    """Return the values a share of the value below and above, at least one step away; none across a choice.

    A value of 0 moves by the share of the axis's width. What falls out of bounds comes to the bound, or is left out
    where the value stands on it.
    """
    if isinstance(axis, Choice) or isinstance(value, str):
        return []
    reach = share * (abs(value) or axis.high - axis.low)
    reach = max(reach, axis.step or 0.0)
    moved = [snap(axis, value - reach), snap(axis, value + reach)]
    return [m for m in moved if m != value]
