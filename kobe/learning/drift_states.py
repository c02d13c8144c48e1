"""The levels of a strategy's drift, and how it moves between them: a fold over what each session's judgement said."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

DWELL_SESSIONS = 5


class Level(IntEnum):
    """What drift makes of a strategy, from the best to the worst."""

    NORMAL = 0
    WATCH = 1
    HALF_SIZE = 2
    STAND_DOWN = 3


MEANING = {
    Level.NORMAL: "trades as usual",
    Level.WATCH: "trades as usual; a person should look",
    Level.HALF_SIZE: "opens at half the order cap",
    Level.STAND_DOWN: "opens nothing; open positions are managed as before",
}
ENTER = {Level.WATCH: 0.05, Level.HALF_SIZE: 0.005, Level.STAND_DOWN: 0.001}
"""The adjusted p at or below which a level is entered from the one before it."""
LEAVE = {Level.WATCH: 0.20, Level.HALF_SIZE: 0.10, Level.STAND_DOWN: 0.05}
"""The adjusted p above which a level is left for the one before it: ten times and more what led into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one session's judgement comes down to.

    `money` and `signs` are the least adjusted p of each family; NaN where there was no test, which leads nowhere.
    """

    session: int
    enough: bool
    full: bool
    money: float
    signs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A level and the session number since which it holds."""

    level: Level = Level.NORMAL
    since: int = 0


def step(before: Standing, seen: Evidence) -> Standing:
    """Return where a strategy stands after one more judgement: one level at a time, each held for five sessions.

    Worse needs an adjusted p at or below `ENTER` of the next level, better one above `LEAVE` of the present level and
    a full window; in between, and with too few signals, nothing changes.
    """
    if not seen.enough or seen.session - before.since < DWELL_SESSIONS:
        return before
    now = before.level
    if now < Level.STAND_DOWN and _weight(Level(now + 1), seen) <= ENTER[Level(now + 1)]:
        return Standing(level=Level(now + 1), since=seen.session)
    if now > Level.NORMAL and seen.full and _weight(now, seen) > LEAVE[now]:
        return Standing(level=Level(now - 1), since=seen.session)
    return before


def _weight(level: Level, seen: Evidence) -> float:
    """The p that decides about a level: signs lead to WATCH and no further."""
    known = [p for p in (seen.money, *((seen.signs,) if level is Level.WATCH else ())) if not math.isnan(p)]
    return min(known, default=math.nan)


def fold(seen: Iterable[Evidence], start: Standing | None = None) -> Standing:
    """Return where a strategy stands after judgements in the order of their sessions."""
    standing = start or Standing()
    for evidence in seen:
        standing = step(standing, evidence)
    return standing
