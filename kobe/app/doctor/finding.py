"""What a check of the doctor finds, and what the checks share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from kobe.app.context import Context
from kobe.app.day import runs
from kobe.core.clock import SteppingClock
from kobe.core.errors import ExitCode, KobeError, MissingDataError


class Level(StrEnum):
    """How much a finding matters: a warning alone leaves the exit code at 0."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen, with the command that mends it."""

    level: Level
    seen: str
    remedy: str = ""
    code: ExitCode = ExitCode.OK


Check = Callable[[Context], list[Finding]]


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that can be put right without asking; `act` returns nothing and raises what it cannot do."""

    what: str
    act: Callable[[], object]


def ok(seen: str) -> Finding:
    """Return what is as it must be."""
    return Finding(Level.OK, seen)


def warn(seen: str, remedy: str = "") -> Finding:
    """Return what works and could be better, or is not set up yet."""
    return Finding(Level.WARN, seen, remedy)


def fail(seen: str, remedy: str, code: ExitCode) -> Finding:
    """Return what must be mended before this home may run."""
    return Finding(Level.FAIL, seen, remedy, code)


def of_error(error: KobeError) -> Finding:
    """Return a fault as a finding."""
    told = [str(part) for part in (error.what, error.seen) if part is not None]
    return fail(": ".join(told), error.next_command or "kobe --debug doctor", error.exit_code)


def is_pretended(ctx: Context) -> bool:
    """Say whether the time is one of the past: what compares records with the host's clock has no meaning then."""
    return isinstance(ctx.clock, SteppingClock)


def has_run(ctx: Context) -> bool:
    """Say whether any job of the timetable ever ran here: what is missing is then missed."""
    return bool(runs.begun(ctx.ledger, ctx.today + timedelta(days=1)))


def is_new(ctx: Context) -> bool:
    """Say whether nothing was done in this home yet: no job and no bars."""
    if has_run(ctx):
        return False
    try:
        ctx.store.manifest()
    except MissingDataError:
        return True
    except KobeError:
        return False
    return False
