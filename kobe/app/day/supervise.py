"""A job in a process of its own: bounded in time and memory, and its end on record however it ended."""

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date

from kobe.app.context import Context
from kobe.app.day import perform, runs
from kobe.app.day.job_process import Starter
from kobe.app.jobs import Job
from kobe.core.errors import ExitCode, ExternalError, IntegrityError
from kobe.infra.processes import Running, end_group, group_memory_bytes
from kobe.reports.document import Document

POLL_S, MEMORY_EVERY_S = 0.05, 0.5
LEASE_WAIT_S = 5.0
SLOW_S = 2.0
MIB = 2**20


@dataclass(slots=True)
class Supervisor:
    """Runs each job in a process of its own and kills what takes too long or too much.

    Attributes:
        start: starts a job's process.
        stopping: set when the runner is asked to stop.
        stop_grace_s: how long a job may go on then.
        beat: called while a job runs with its name.
    """

    start: Starter
    stopping: threading.Event = field(default_factory=threading.Event)
    stop_grace_s: float = 30.0
    beat: Callable[[str], None] = lambda _job: None

    def __call__(self, ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
        """Run a job; None when it was settled or another process is at it, or the runner is stopping.

        Raises:
            IntegrityError: the job found damaged records.
        """
        if self.stopping.is_set():
            return None
        before = len(runs.standing(ctx.ledger, job.name, session).events)
        process = self.start(job, session, again)
        try:
            killed = self._watch(job, process)
        except BaseException:
            end_group(process, wait_s=0.0)
            raise
        known, code = runs.standing(ctx.ledger, job.name, session), process.wait()
        if code == ExitCode.INTEGRITY and not killed and (job.critical or known.is_open):
            raise IntegrityError(f"{job.name} of {session} found damaged records", next_command="kobe audit verify")
        if known.is_open:
            return self._lost(ctx, job, session, code, killed)
        if len(known.events) == before:
            return None if code == ExitCode.OK else self._never_began(ctx, job, session, code, killed)
        return _told(job, session, known.events[-1].payload["detail"], code)

    def _watch(self, job: Job, process: Running) -> str:
        """Wait for a process and return the status of a kill, empty when it ended by itself."""
        begun = looked = beaten = time.monotonic()
        stop_at: float | None = None
        while process.poll() is None:
            now = time.monotonic()
            if now - begun > job.timeout.total_seconds():
                return self._kill(process, runs.TIMED_OUT)
            if now - looked >= MEMORY_EVERY_S:
                looked = now
                if group_memory_bytes(process.pid) > job.memory_mb * MIB:
                    return self._kill(process, runs.OUT_OF_MEMORY)
            if self.stopping.is_set():
                stop_at = stop_at or now + self.stop_grace_s
                if now >= stop_at:
                    return self._kill(process, runs.CRASHED)
            if now - beaten >= SLOW_S:
                beaten = now
                self.beat(job.name)
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
        return ""

    @staticmethod
    def _kill(process: Running, status: str) -> str:
        end_group(process, wait_s=SLOW_S)
        return status

    def _lost(self, ctx: Context, job: Job, session: date, code: int, killed: str) -> Document | None:
        """Record the end of a run whose process did not; None where another process took it over already."""
        try:
            with perform.lease(ctx, job).acquire(LEASE_WAIT_S):
                return perform.end_badly(ctx, job, session, killed or runs.CRASHED, _words(job, code, killed))
        except ExternalError:
            return None

    def _never_began(self, ctx: Context, job: Job, session: date, code: int, killed: str) -> Document | None:
        """Record that a job could not even begin: settings, permissions, a missing program."""
        if perform.is_running(ctx, job):
            return None
        with perform.lease(ctx, job).acquire(LEASE_WAIT_S):
            runs.start(ctx.ledger, job.name, session, ctx.run_id, ctx.clock.now())
            words = f"{_words(job, code, killed)} before it began; see the runner's log"
            return perform.end_badly(ctx, job, session, killed or runs.CRASHED, words)


def _words(job: Job, code: int, killed: str) -> str:
    """Say how a process ended."""
    return {
        runs.TIMED_OUT: f"killed after {job.timeout}",
        runs.OUT_OF_MEMORY: f"killed above {job.memory_mb} MiB",
        runs.CRASHED: "stopped with the runner",
    }.get(killed, f"its process ended with {code}")


def _told(job: Job, session: date, detail: str, code: int) -> Document:
    known = code in set(ExitCode)
    return Document(
        schema="kobe.job/1", title=f"{job.name} of {session}", summary=(detail,),
        data={"job": job.name, "session": str(session)}, exit_code=ExitCode(code) if known else ExitCode.FAULT,
    )  # fmt: skip
