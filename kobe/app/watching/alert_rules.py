"""What is wrong by some facts: one small function for each alert. None: these facts do not tell."""

from collections.abc import Callable
from typing import NamedTuple

from kobe.app.day import runs
from kobe.app.watching.anomalies import HELD
from kobe.app.watching.watch_facts import Facts
from kobe.core.types import Mode
from kobe.learning.drift_states import MEANING, Level
from kobe.risk import breakers

MB = 2**20
SHOWN = 3
CLOCK_CODE = "clock_skew"
BACK_S = 2.0


class Finding(NamedTuple):
    """One thing that is wrong: which one, and in words."""

    subject: str
    words: str


Condition = Callable[[Facts], tuple[Finding, ...] | None]


def _one(words: str, *, wrong: bool) -> tuple[Finding, ...]:
    return (Finding("", words),) if wrong else ()


def audit_damaged(facts: Facts) -> tuple[Finding, ...]:
    """The end of the chain."""
    return _one(f"the audit chain is damaged: {facts.audit_fault}", wrong=bool(facts.audit_fault))


def kill_switch(facts: Facts) -> tuple[Finding, ...]:
    """The switch, or a doubt about it."""
    return _one(f"the kill switch is on: {facts.kill_reason}", wrong=facts.kill_reason is not None)


def halted(facts: Facts) -> tuple[Finding, ...]:
    """Mode HALT."""
    return _one(f"mode HALT: {facts.mode.why}", wrong=facts.mode.mode is Mode.HALT)


def worse_mode(facts: Facts) -> tuple[Finding, ...]:
    """A mode between NORMAL and HALT; each of them is an alert of its own."""
    state = facts.mode
    if not Mode.NORMAL < state.mode < Mode.HALT:
        return ()
    return (Finding(state.mode.name, f"mode {state.mode.name}: {state.why}"),)


def unprotected(facts: Facts) -> tuple[Finding, ...]:
    """Positions that lie without their stop for longer than placing one takes."""
    bound = facts.bounds.unprotected_s
    naked = {s: at for s, at in facts.books.unprotected if (facts.now - at).total_seconds() >= bound}
    return tuple(Finding(s, f"{s} lies without a protective order") for s in naked)


def exit_overdue(facts: Facts) -> tuple[Finding, ...]:
    """Positions that should be gone."""
    return tuple(Finding(s, f"{s} should have been closed in {day}") for s, day in facts.books.overstayed)


def order_unknown(facts: Facts) -> tuple[Finding, ...]:
    """Orders whose end nobody knows."""
    old = [
        (n, w) for n, w, at in facts.books.unclear if (facts.now - at).total_seconds() >= facts.bounds.order_unknown_s
    ]
    return tuple(Finding(name, f"order {name} is {word}") for name, word in old)


def books_differ(facts: Facts) -> tuple[Finding, ...]:
    """What the last comparison with the broker left."""
    told = [r.reason for r in facts.mode.reasons if r.source == "reconcile"]
    return _one(f"the books differ from the broker's: {'; '.join(told)}", wrong=bool(told))


def runner_silent(facts: Facts) -> tuple[Finding, ...]:
    """A runner that neither beats nor said goodbye; without one, the lateness of jobs tells."""
    age = facts.beat_age_s or 0.0
    doing = f", at {facts.beat.job}" if facts.beat is not None and facts.beat.job else ""
    return _one(f"the runner is silent for {age:.0f} s{doing}", wrong=facts.is_silent)


def clock_back(facts: Facts) -> tuple[Finding, ...]:
    """Records from the future, or an opening refused because the broker's clock differs."""
    if facts.back_s > BACK_S:
        return _one(f"the newest record is {facts.back_s:.0f} s in the future: the clock was set back", wrong=True)
    skewed = sum(n for (_, code), n in facts.refusals.items() if code == CLOCK_CODE)
    return _one("openings were refused today: our clock differs from the broker's", wrong=skewed > 0)


def disk_low(facts: Facts) -> tuple[Finding, ...]:
    """Space for records."""
    free_mb = facts.disk_free_bytes / MB
    return _one(f"the disk has {free_mb:.0f} MiB left", wrong=free_mb < facts.bounds.least_disk_mb)


def memory_high(facts: Facts) -> tuple[Finding, ...] | None:
    """Memory of the runner."""
    if "runner" not in facts.memory_bytes:
        return None
    used = facts.memory_bytes["runner"] / MB
    return _one(f"the runner takes {used:.0f} MiB", wrong=used > facts.bounds.most_memory_mb)


def breaker_open(facts: Facts) -> tuple[Finding, ...]:
    """Breakers that refuse openings."""
    return tuple(Finding(n, f"breaker {n}: {why}") for n, why in breakers.refusals(facts.breakers).items())


def data_stale(facts: Facts) -> tuple[Finding, ...] | None:
    """Bars that are due."""
    if facts.bars is None:
        return None
    said = f"the newest bar is of {facts.bars.newest}, {facts.bars.behind} sessions behind what is due"
    return _one(said, wrong=facts.bars.behind > 0)


def source_old(facts: Facts) -> tuple[Finding, ...] | None:
    """Tables beside the bars."""
    if facts.odd is None:
        return None
    return tuple(Finding(s.name, f"{s.name}: last delivery {s.age} ago") for s in facts.sources
                 if s.is_old and s.name != "bars")  # fmt: skip


def job_failed(facts: Facts) -> tuple[Finding, ...]:
    """Jobs whose last run ended badly."""
    bad = [j for j in facts.jobs if j.status in runs.BAD_ENDS]
    return tuple(Finding(j.name, f"{j.name} of {j.session} {_plain(j.status)}: {j.detail}") for j in bad)


def job_missed(facts: Facts) -> tuple[Finding, ...]:
    """Jobs nobody tries any more in the session they belong to."""
    bad = [j for j in facts.jobs if j.status in (runs.MISSED, runs.GIVEN_UP)]
    return tuple(Finding(j.name, f"{j.name} of {j.session} {_plain(j.status)}: {j.detail}") for j in bad)


def job_late(facts: Facts) -> tuple[Finding, ...]:
    """Jobs that have not begun: nothing runs them, or what runs is stuck. One alert for a session."""
    late: dict[str, list[str]] = {}
    for job in facts.jobs:
        if job.overdue is not None and (job.late_s or 0.0) >= facts.bounds.job_late_s:
            late.setdefault(str(job.overdue), []).append(job.name)
    return tuple(Finding(day, f"not begun in {day}: {_listed(names)}") for day, names in sorted(late.items()))


def model_missing(facts: Facts) -> tuple[Finding, ...]:
    """No champion."""
    return _one("no model was promoted: nothing is opened", wrong=facts.model_id is None)


def model_refused(facts: Facts) -> tuple[Finding, ...]:
    """A champion whose card cannot be believed."""
    return _one(f"the model is refused: {facts.model_fault}", wrong=bool(facts.model_fault))


def drift(facts: Facts) -> tuple[Finding, ...]:
    """Strategies that are not trusted as usual; each level is an alert of its own."""
    bad = [(name, Level[level]) for name, level in facts.drift.items() if level != Level.NORMAL.name]
    return tuple(Finding(f"{n}:{level.name}", f"{n} is at {level.name}: {MEANING[level]}") for n, level in bad)


def calibration_drift(facts: Facts) -> tuple[Finding, ...]:
    """Probabilities that do not come true as often as they say."""
    return tuple(Finding(n, f"{n}: the model's probabilities are off") for n in facts.calibration)


def dead_letters(facts: Facts) -> tuple[Finding, ...] | None:
    """Messages that were given up."""
    if facts.dead is None:
        return None
    return _one(f"{facts.dead} messages were given up", wrong=facts.dead > 0)


def odd_held(facts: Facts) -> tuple[Finding, ...] | None:
    """Odd values of what is held."""
    return _odd(facts, held=True)


def odd_watched(facts: Facts) -> tuple[Finding, ...] | None:
    """Odd values of picks and the market."""
    return _odd(facts, held=False)


def _odd(facts: Facts, *, held: bool) -> tuple[Finding, ...] | None:
    if facts.odd is None:
        return None
    mine = [r for r in facts.odd if (facts.why.get(r.symbol) == HELD) is held]
    return tuple(Finding(f"{r.symbol}:{r.measure}", r.words) for r in mine)


def _plain(status: str) -> str:
    return status.replace("_", " ")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
