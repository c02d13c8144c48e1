"""Where histories are cut: the ugly places first, the rest at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from kobe.app.leakcheck.stages import Terms
from kobe.app.leakcheck.world import World
from kobe.core.errors import MissingDataError

FEWEST_SESSIONS = 300  # the trend filter needs 200 bars and a first signal 250


@dataclass(frozen=True, slots=True, order=True)
class Cut:
    """A session at whose close the future is cut off, and why there."""

    session: int
    why: str


def chosen(world: World, terms: Terms, count: int, seed: int) -> list[Cut]:
    """Return up to `count` different cuts in order of time.

    Raises:
        MissingDataError: the bars reach over too few sessions.
    """
    first, last = world.span
    if last - first < FEWEST_SESSIONS:
        raise MissingDataError(
            "too little history to cut", seen=f"{last - first + 1} sessions", expected=f"{FEWEST_SESSIONS} or more",
            next_command="kobe data import FILE, or kobe leakcheck --synthetic",
        )  # fmt: skip
    rng = np.random.default_rng([seed, 2])
    drawn = rng.choice(np.arange(first + FEWEST_SESSIONS // 2, last), count, replace=True).tolist()
    found: dict[int, str] = {}
    for session, why in (*_ugly(world, terms, first, last, rng), *((int(n), "at random") for n in drawn)):
        if first <= session < last and len(found) < count:
            found.setdefault(session, why)
    return sorted(Cut(session, why) for session, why in found.items())


def late(cuts: Sequence[Cut], terms: Terms, first: int, last: int) -> frozenset[int]:
    """Return the cuts at which the stages that need years of past are asked: ends of training, and the latest."""
    borders = {f.train_last for f in terms.windows(first, last)[1:]}
    return frozenset({c.session for c in cuts if c.session in borders} | {max(c.session for c in cuts)})


def _ugly(world: World, terms: Terms, first: int, last: int, rng: np.random.Generator) -> Sequence[tuple[int, str]]:
    """Name the awkward sessions, those that catch most first."""
    windows = terms.windows(first, last)
    borders = [windows[-1], windows[len(windows) // 2]] if windows else []
    found = [(f.train_last, f"the last session of training of split {f.number}") for f in borders]
    splits = _numbers(world, world.events.filter(pl.col("kind") == "split"))
    late = splits[splits > first + (last - first) // 2] if len(splits) else splits
    if len(late):
        split = int(rng.choice(late))
        found += [(split - 1, "the eve of a split"), (split, "the day of a split")]
    lives = world.bars.group_by("symbol").agg(first=pl.col("date").min(), last=pl.col("date").max()).sort("symbol")
    listed, gone = (_numbers(world, lives, name) for name in ("first", "last"))
    listed, gone = listed[listed > first], gone[gone < last]
    found += [(int(n) - 1, "the eve of a listing") for n in (rng.choice(listed, 1) if len(listed) else ())]
    found += [(int(n), "the last bar of a symbol") for n in (rng.choice(gone, 1) if len(gone) else ())]
    half = [n for n in range(first + FEWEST_SESSIONS, last) if world.calendar.is_early_close(world.day(n))]
    found += [(int(n), "a half day") for n in (rng.choice(half, 1) if half else ())]
    return [*found, (first + 1, "the second session"), (last - 1, "one session before the end")]


def _numbers(world: World, frame: pl.DataFrame, name: str = "date") -> np.ndarray:
    return np.searchsorted(world.calendar.days, frame.get_column(name).to_physical().to_numpy())
