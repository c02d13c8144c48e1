"""What happens after a job failed: a class for every bad end, and a rule for every class."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kobe.app.day import runs
from kobe.app.day.runs import Standing
from kobe.core.errors import ConfigError, DataError, ExternalError, IntegrityError, ModelError, UsageError

MINUTE = timedelta(minutes=1)
WAITS = tuple(n * MINUTE for n in (1, 2, 5, 10, 30, 60))
"""Before the first repeat, the second, ...; the last one for all that follow."""


class Failure(StrEnum):
    """Why a run ended badly."""

    UNREACHABLE = "unreachable"
    DATA = "data"
    SETTINGS = "settings"
    FAULT = "fault"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a failure is tried again, and why so often."""

    repeats: int
    reason: str


RULES: dict[Failure, Rule] = {
    Failure.UNREACHABLE: Rule(8, "what did not answer may answer soon"),
    Failure.DATA: Rule(20, "bars arrive late; the last repeat is in the next morning"),
    Failure.SETTINGS: Rule(0, "only a person mends settings and records"),
    Failure.FAULT: Rule(1, "a fault that comes twice is no accident"),
    Failure.TIMED_OUT: Rule(1, "killed; what hung once may have hung on somebody else"),
    Failure.OUT_OF_MEMORY: Rule(0, "killed; it would take as much again"),
    Failure.CRASHED: Rule(2, "its process died, or the machine under it"),
}


def classed(error: Exception) -> Failure:
    """Return the class of what a job raised."""
    if isinstance(error, ExternalError):
        return Failure.UNREACHABLE
    if isinstance(error, DataError | ModelError):
        return Failure.DATA
    if isinstance(error, ConfigError | UsageError | IntegrityError):
        return Failure.SETTINGS
    return Failure.OUT_OF_MEMORY if isinstance(error, MemoryError) else Failure.FAULT


def rule_of(standing: Standing) -> Rule | None:
    """Return the rule for a job that ended badly last, None for one that did not."""
    if not standing.events or standing.events[-1].kind not in runs.BAD_ENDS:
        return None
    return RULES[Failure(standing.events[-1].payload["failure"])]


def is_given_up(standing: Standing) -> bool:
    """Say whether a job failed more often than the rule of its last failure allows."""
    rule = rule_of(standing)
    return rule is not None and len(standing.bad_ends) > rule.repeats


def repeat_at(standing: Standing) -> datetime | None:
    """Return the instant from which a failed job may run again, None for one that may run at once."""
    if rule_of(standing) is None or standing.ended is None:
        return None
    return standing.ended + WAITS[min(len(standing.bad_ends), len(WAITS)) - 1]
