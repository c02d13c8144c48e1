"""Records of job runs in the ledger: what ran for which session, and how it ended."""

from datetime import date

from kobe.core.clock import from_ns, to_ns
from kobe.core.ports import Event, Ledger
from kobe.core.types import JobRecord

STREAM = "jobs"
DONE, FAILED, MISSED = "done", "failed", "missed"
UNFINISHED = "unfinished"
"""It ran, and something it must do is left: it is run again."""


def write(ledger: Ledger, record: JobRecord) -> None:
    """Append one run."""
    entity = f"{record.session}:{record.job}"
    count = len(ledger.events(STREAM, entity=entity))
    payload = {
        "job": record.job, "session": str(record.session), "run": record.run_id, "status": record.status,
        "started_ns": to_ns(record.started), "finished_ns": to_ns(record.finished), "detail": record.detail,
        "outputs": record.outputs,
    }  # fmt: skip
    ledger.append(STREAM, entity, record.status, payload, key=f"{entity}:{count + 1}")


def is_settled(ledger: Ledger, job: str, session: date) -> bool:
    """Whether a job was done, or declared missed, for a session."""
    return any(e.kind in (DONE, MISSED) for e in ledger.events(STREAM, entity=f"{session}:{job}"))


def any_before(ledger: Ledger, day: date) -> bool:
    """Whether any job was recorded for a session before a date: this home has been running."""
    return any(date.fromisoformat(e.payload["session"]) < day for e in ledger.events(STREAM))


def last_runs(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """Return (job, session, status, detail) of each job's latest run, oldest first."""
    latest: dict[str, Event] = {}
    for event in ledger.events(STREAM):
        latest.pop(event.payload["job"], None)
        latest[event.payload["job"]] = event
    return [(e.payload["job"], e.payload["session"], e.kind, e.payload["detail"]) for e in latest.values()]


def history(ledger: Ledger) -> list[JobRecord]:
    """Return every run, oldest first."""
    return [
        JobRecord(
            job=e.payload["job"], session=date.fromisoformat(e.payload["session"]), run_id=e.payload["run"],
            status=e.kind, started=from_ns(e.payload["started_ns"]), finished=from_ns(e.payload["finished_ns"]),
            outputs=e.payload["outputs"], detail=e.payload["detail"],
        )
        for e in ledger.events(STREAM)
    ]  # fmt: skip
