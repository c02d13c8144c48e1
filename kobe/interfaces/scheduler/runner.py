"""`kobe run`: the New York day, session after session, until it is told to stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kobe.app.context import Context
from kobe.app.day.job_process import starter, write_settings
from kobe.app.day.jobs_report import run_jobs_list
from kobe.app.day.perform import tell
from kobe.app.day.reload import tightened
from kobe.app.day.runner_once import look_after, next_instant, next_slot, runner_lease
from kobe.app.day.supervise import Supervisor
from kobe.app.day.tick import again_at, tick
from kobe.app.day.watchman import ClockWatch, Signs
from kobe.app.day.welcome import run_welcome
from kobe.app.output import Document, print_document
from kobe.app.settings import Settings
from kobe.app.watching import heartbeat
from kobe.core.clock import NEW_YORK
from kobe.core.errors import ExitCode, ExternalError, KobeError
from kobe.core.messages import Message, Severity
from kobe.interfaces.scheduler import systemd
from kobe.interfaces.scheduler.signals import answer
from kobe.interfaces.scheduler.timetable import wake_ups

NEVER_LATE = None  # lateness is judged per job in `tick`, not by the scheduler
STANDBY_POLL_S = 1.0
AFTER_A_FAULT = timedelta(minutes=1)


class Runner:
    """Holds the runner's lease, wakes at the slots of the timetable and has each job done in a process of its own.

    One thread works (`_round`), one gives the heartbeat (`_beat`), one sends messages (`_deliver`).
    """

    def __init__(self, ctx: Context, read_settings: Callable[[], Settings], *, live: bool) -> None:
        """Nothing runs before `run`."""
        from apscheduler.schedulers.background import BackgroundScheduler

        self._ctx = ctx
        self._live = live
        self._read_settings = read_settings
        self._scheduler: Any = BackgroundScheduler(timezone=NEW_YORK)
        self._working = threading.Lock()
        self._signs = Signs()
        self._clock = ClockWatch(ctx.clock.now(), time.monotonic())
        self._started = ctx.clock.now()
        self._fatal: list[BaseException] = []
        self._code = ExitCode.TERMINATED
        self._ended = threading.Event()
        self._supervisor = Supervisor(
            start=_not_begun, stop_grace_s=ctx.settings.schedule.stop_grace_s,
            beat=lambda job: self._signs.sign(job, time.monotonic()),
        )  # fmt: skip

    def run(self, *, standby: bool) -> Document:
        """Work until told to stop.

        Args:
            standby: wait for the lease while another runner holds it, and take over when that one is gone.

        Raises:
            IntegrityError: records are damaged; the runner stops rather than decide on top of them.
            ExternalError: another runner holds the lease.
        """
        answers: dict[int, Callable[[], None]] = {signal.SIGTERM: self._stop, signal.SIGINT: self._interrupt}
        if hasattr(signal, "SIGHUP"):
            answers[signal.SIGHUP] = self._begin_reload
        self._signals = answer(answers)
        lease = runner_lease(self._ctx)
        if not self._acquire(lease, standby=standby):
            return self._stopped()
        try:
            self._begin(lease.took_over)
            self._scheduler.start()
            self._ended.wait()
            with self._working:  # what runs ends first; nothing is put into the scheduler after that
                self._scheduler.shutdown(wait=False)
        finally:
            heartbeat.end(self._ctx)
            lease.release()
        if self._fatal:
            raise self._fatal[0]
        return self._stopped()

    def _acquire(self, lease: Any, *, standby: bool) -> bool:
        """Take the lease; False when it was told to stop while it waited."""
        if not standby:
            lease.acquire()
            return True
        systemd.notify("READY=1\nSTATUS=standing by")
        sys.stderr.write("standing by until the runner that works is gone\n")
        while not self._supervisor.stopping.is_set():
            systemd.notify("WATCHDOG=1")
            with suppress(ExternalError):
                lease.acquire(STANDBY_POLL_S)
                return True
        return False

    def _begin(self, before: dict[str, Any] | None) -> None:
        """Say that the runner works now and from whom it took over, and fill the scheduler."""
        self._started = self._ctx.clock.now()
        self._supervisor.start = starter(self._ctx, live=self._live)  # the settings in force are the lease holder's
        self._ctx.audit.append("runner_started", {"pid": os.getpid(), "took_over": before})
        if before is not None:
            words = f"process {before.get('pid')} held the lease since {before.get('started')} and is gone"
            self._tell("runner_takeover", Severity.WARNING, "the runner was taken over", words)
        for page in (run_welcome(self._ctx), run_jobs_list(self._ctx)):
            print_document(page)
        every = self._ctx.settings.schedule.heartbeat_s
        for work, seconds, name in ((self._beat, every, "beat"), (self._deliver, every, "deliver")):
            self._scheduler.add_job(work, "interval", seconds=seconds, id=name, max_instances=1, coalesce=True,
                                    misfire_grace_time=NEVER_LATE)  # fmt: skip
        self._soon(self._beat, "first beat")
        self._soon(self._round, "start")
        systemd.notify("READY=1\nSTATUS=running")

    def _stop(self) -> None:
        """Begin nothing any more; what runs gets its grace."""
        systemd.notify("STOPPING=1")
        if self._signs.job:
            sys.stderr.write(f"stopping: {self._signs.job} gets {self._supervisor.stop_grace_s:.0f} s to end\n")
        self._supervisor.stopping.set()
        self._ended.set()

    def _interrupt(self) -> None:
        self._code = ExitCode.INTERRUPTED
        self._stop()

    def _stopped(self) -> Document:
        return Document(schema="kobe.run/1", title="Runner stopped", exit_code=self._code)

    def _begin_reload(self) -> None:
        """Read the settings anew beside everything else: it waits for the job that runs, and a stop does not."""
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _soon(self, work: Callable[[], None], name: str) -> None:
        self._scheduler.add_job(work, "date", id=name, replace_existing=True, misfire_grace_time=NEVER_LATE)

    def _round(self) -> None:
        """Do what is due, unless that is being done already; then know when to look again."""
        if not self._working.acquire(blocking=False):
            return
        again: datetime | None = self._ctx.clock.now() + AFTER_A_FAULT
        try:
            self._signs.begin(time.monotonic())
            while (done := tick(self._ctx, self._supervisor)) and not self._supervisor.stopping.is_set():
                _say(done)  # a slot that came meanwhile is in the next look
            look_after(self._ctx)
            again = again_at(self._ctx)
        except KobeError as error:
            self._fault(error)
        except BaseException as error:  # a fault of ours ends the runner with it, so that its keeper restarts it
            self._end_with(error)
            raise
        finally:
            self._signs.end()
            try:
                if not self._supervisor.stopping.is_set():
                    self._refill(again)
                    sys.stderr.write(f"next: {next_instant(self._ctx)}\n")
            finally:
                self._working.release()

    def _fault(self, error: KobeError) -> None:
        """A round that failed is said and comes again; damaged records end the runner."""
        sys.stderr.write(f"error: {error.message}\n")
        if error.exit_code is ExitCode.INTEGRITY:
            self._tell("records_damaged", Severity.URGENT, "the runner stopped: records are damaged", error.message)
            self._end_with(error)
            return
        self._tell("runner_fault", Severity.WARNING, "a round of the runner failed", error.message)

    def _end_with(self, error: BaseException) -> None:
        self._fatal.append(error)
        self._stop()

    def _refill(self, again: datetime | None) -> None:
        """Keep the coming sessions' slots in the scheduler; a slot already there is replaced by itself."""
        coming = wake_ups(self._ctx.calendar, self._ctx.today, self._ctx.clock.now())
        for instant in (*coming, *([] if again is None else [again])):
            self._scheduler.add_job(
                self._round, "date", run_date=instant, id=instant.isoformat(), replace_existing=True,
                misfire_grace_time=NEVER_LATE, coalesce=True, max_instances=2,
            )  # fmt: skip

    def _beat(self) -> None:
        """Give the heartbeat while the working thread waits or moves, and notice a clock that was set."""
        steady = time.monotonic()
        if self._signs.is_alive(steady):
            systemd.notify("WATCHDOG=1")  # a disk that takes no heartbeat is no reason to end what sends the exits
            with suppress(KobeError):
                heartbeat.beat(self._ctx, self._started, next_slot(self._ctx), self._signs.job)
        jump = self._clock.jump_s(self._ctx.clock.now(), steady)
        if jump:
            words = f"the clock went {'ahead' if jump > 0 else 'back'} by {abs(jump):.0f} s, or the machine slept"
            self._ctx.audit.append("clock_jump", {"seconds": round(jump, 3)})
            self._tell("clock_jump", Severity.WARNING, words, "what was due meanwhile is made up for or missed by rule")
            self._soon(self._round, "after a jump")

    def _deliver(self) -> None:
        try:
            self._ctx.notifier.deliver()
        except KobeError as error:
            sys.stderr.write(f"messages: {error.message}\n")

    def _reload(self) -> None:
        """Read the settings anew and take what is not looser."""
        try:
            with self._working:  # never under a job that begins
                taken, changed, refused = tightened(self._ctx.settings, self._read_settings())
                self._ctx = replace(self._ctx, settings=taken)
                write_settings(self._ctx)
            self._ctx.audit.append("settings_reloaded", {"changed": changed, "refused": refused})
        except (KobeError, ValueError) as error:
            sys.stderr.write(f"settings not read anew: {error.message if isinstance(error, KobeError) else error}\n")
            return
        sys.stderr.write(f"settings read anew: {'; '.join(changed) or 'nothing changed'}\n")
        if refused:
            sys.stderr.write(f"not taken until a restart: {'; '.join(refused)}\n")

    def _tell(self, kind: str, severity: Severity, title: str, words: str) -> None:
        key = f"{kind}:{self._ctx.clock.now():%Y-%m-%dT%H:%M}"
        tell(self._ctx, [Message(key=key, kind=kind, severity=severity, title=title, lines=(words,))])


def run_forever(ctx: Context, read_settings: Callable[[], Settings], *, live: bool, standby: bool) -> Document:
    """Run the New York day until told to stop."""
    return Runner(ctx, read_settings, live=live).run(standby=standby)


def _not_begun(*_: Any) -> Any:
    raise KobeError("a runner starts no job before it holds its lease")


def _say(done: list[tuple[str, Document]]) -> None:
    for name, document in done:
        sys.stderr.write(f"{name}: {document.summary[0] if document.summary else document.title}\n")
