"""Records of job runs in the ledger: what ran for which session, how it ended, and whether it is settled."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime

from kobe.core.clock import from_ns, to_ns
from kobe.core.ports import Event, Ledger
from kobe.core.types import JobRecord

STREAM, BEGUN = "jobs", "job_sessions"
STARTED = "started"
DONE, FAILED, MISSED = "done", "failed", "missed"
UNFINISHED = "unfinished"
"""It ran, and something it must do is left: it is run again."""
TIMED_OUT, OUT_OF_MEMORY, CRASHED = "timed_out", "out_of_memory", "crashed"
GIVEN_UP = "given_up"
"""It failed as often as the rule allows: a person decides."""
SETTLED = (DONE, MISSED, GIVEN_UP)
BAD_ENDS = (FAILED, TIMED_OUT, OUT_OF_MEMORY, CRASHED)
LOOKED_BACK = 5
_YEARS_BACK = 2
_begun_in: dict[int, tuple[Event, list[date]]] = {}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands in a session: every event of it, oldest first."""

    events: tuple[Event, ...]

    def at(self, now: datetime) -> "Standing":
        """Where it stands for a clock that says so: a miss written by a clock that was ahead is none yet."""
        now_ns = to_ns(now)
        return Standing(
            tuple(e for e in self.events if e.kind != MISSED or e.payload["finished_ns"] <= now_ns)
        )  # fmt: skip

    @property
    def is_settled(self) -> bool:
        """Whether it was done, declared missed or given up."""
        return any(e.kind in SETTLED for e in self.events)

    @property
    def is_done(self) -> bool:
        """Whether it was done."""
        return any(e.kind == DONE for e in self.events)

    @property
    def is_open(self) -> bool:
        """Whether it has begun and nobody wrote how it ended: it runs, or its process died."""
        return bool(self.events) and self.events[-1].kind == STARTED

    @property
    def bad_ends(self) -> tuple[Event, ...]:
        """How it failed so far."""
        return tuple(e for e in self.events if e.kind in BAD_ENDS)

    @property
    def ended(self) -> datetime | None:
        """When it was written last, None when it never was."""
        return from_ns(self.events[-1].at_ns) if self.events else None


def standing(ledger: Ledger, job: str, session: date) -> Standing:
    """Return where a job stands in a session."""
    return Standing(tuple(e for e in ledger.events(STREAM, entity=str(session)) if e.payload["job"] == job))


def standings(ledger: Ledger, session: date) -> dict[str, Standing]:
    """Return where every job that has begun or was missed stands in a session."""
    events = ledger.events(STREAM, entity=str(session))
    names = dict.fromkeys(e.payload["job"] for e in events)
    return {name: Standing(tuple(e for e in events if e.payload["job"] == name)) for name in names}


def start(ledger: Ledger, job: str, session: date, run_id: str, at: datetime) -> None:
    """Write that a run begins, before it has any effect."""
    _append(ledger, job, session, STARTED, {"run": run_id, "started_ns": to_ns(at)})


def write(ledger: Ledger, record: JobRecord, failure: str = "") -> None:
    """Append how a run ended, with the class of its failure where it failed."""
    payload = {
        "run": record.run_id, "status": record.status, "started_ns": to_ns(record.started),
        "finished_ns": to_ns(record.finished), "detail": record.detail, "outputs": record.outputs, "failure": failure,
    }  # fmt: skip
    _append(ledger, record.job, record.session, record.status, payload)


def _append(ledger: Ledger, job: str, session: date, kind: str, payload: dict[str, object]) -> None:
    told = {"job": job, "session": str(session), **payload}
    with ledger.exclusive():
        ledger.append(BEGUN, str(session.year), "begun", {"session": str(session)}, key=str(session))
        number = len(standing(ledger, job, session).events) + 1
        ledger.append(STREAM, str(session), kind, told, key=f"{session}:{job}:{number}")


def begun(ledger: Ledger, day: date) -> list[date]:
    """Return the sessions before a date in which anything was recorded, oldest first; of the last two years."""
    found = [told for year in _years(day) for told in _of_year(ledger, year)]
    return found[: bisect_left(found, day)]


def has_begun(ledger: Ledger, day: date) -> bool:
    """Say whether anything was recorded in a session before a date, of the last two years."""
    return any(told[0] < day for year in _years(day) if (told := _of_year(ledger, year)))


def _years(day: date) -> range:
    return range(day.year - _YEARS_BACK + 1, day.year + 1)


def _of_year(ledger: Ledger, year: int) -> list[date]:
    """Return the sessions of a year in which anything was recorded, in order; told anew only when there are more."""
    events = ledger.events(BEGUN, entity=str(year))
    if not events:
        return []
    last, told = _begun_in.get(year, (None, []))
    if last is not events[-1] or len(told) != len(events):
        told = sorted(date.fromisoformat(e.payload["session"]) for e in events)
        _begun_in[year] = events[-1], told
    return told


def last_runs(ledger: Ledger, day: date) -> list[tuple[str, str, str, str]]:
    """Return (job, session, status, detail) of each job's latest run up to a date, oldest first.

    Only the last few sessions with any run are looked at, so that it costs the same after ten years.
    """
    latest: dict[str, Event] = {}
    for session in [*begun(ledger, day)[-LOOKED_BACK:], day]:
        latest |= {e.payload["job"]: e for e in ledger.events(STREAM, entity=str(session)) if e.kind != STARTED}
    ordered = sorted(latest.values(), key=lambda e: e.sequence)
    return [(e.payload["job"], e.payload["session"], e.kind, e.payload["detail"]) for e in ordered]


def given_up(ledger: Ledger, day: date) -> list[str]:
    """Return the jobs that were given up in the last sessions with a run and have not been done since."""
    lost: dict[str, bool] = {}
    for session in [*begun(ledger, day)[-LOOKED_BACK:], day]:
        for event in ledger.events(STREAM, entity=str(session)):
            if event.kind in (GIVEN_UP, DONE):
                lost[event.payload["job"]] = event.kind == GIVEN_UP
    return [name for name, is_lost in lost.items() if is_lost]


def history(ledger: Ledger) -> list[JobRecord]:
    """Return every run that ended, oldest first."""
    return [record_of(e) for e in ledger.events(STREAM) if e.kind != STARTED]


def of_session(ledger: Ledger, session: date) -> list[JobRecord]:
    """Return the ended runs of one session, oldest first."""
    return [record_of(e) for e in ledger.events(STREAM, entity=str(session)) if e.kind != STARTED]


def record_of(event: Event) -> JobRecord:
    """Return the record an event holds."""
    told = event.payload
    return JobRecord(
        job=told["job"], session=date.fromisoformat(told["session"]), run_id=told["run"], status=event.kind,
        started=from_ns(told["started_ns"]), finished=from_ns(told["finished_ns"]), outputs=told["outputs"],
        detail=told["detail"],
    )  # fmt: skip
