"""Days the runner lives through in no time: a stepping clock, the real `tick` and `run_job`, work that only notes."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kobe.app import wiring
from kobe.app.context import Context
from kobe.app.day import perform, runs, tick
from kobe.app.jobs import Job
from kobe.core.clock import to_ns
from kobe.core.messages import Silence
from kobe.core.ports import Event
from kobe.execution.order import OrderFold
from kobe.interfaces.scheduler.timetable import wake_ups
from kobe.reports.document import Document

EVERYTHING = "[schedule]\nfetch = true\nresearch = true\n[meta]\nweekly = true\n"


class Killed(BaseException):
    """The runner's process ends here."""


@dataclass
class HandClock:
    """A clock set by hand that passes for the host's: with a `SteppingClock` jobs of the machine are left out."""

    instant: datetime

    def now(self) -> datetime:
        """Return what it was set to."""
        return self.instant

    def set(self, instant: datetime) -> None:
        """Set it."""
        self.instant = instant

    def advance(self, *, seconds: float) -> None:
        """Move it forward."""
        self.instant += timedelta(seconds=seconds)


class MemoryLedger:
    """The ledger's promises without a disk: append-only, a key only once, payloads as JSON gives them back."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self._all: list[Event] = []
        self._streams: dict[str, list[Event]] = {}
        self._entities: dict[tuple[str, str], list[Event]] = {}
        self._keys: set[tuple[str, str]] = set()

    def append(self, stream: str, entity: str, kind: str, payload: dict[str, Any], *, key: str) -> bool:
        """Append an event unless its key was used."""
        if (stream, key) in self._keys:
            return False
        event = Event(sequence=len(self._all) + 1, stream=stream, entity=entity, kind=kind,
                      at_ns=to_ns(self._clock.now()), payload=json.loads(json.dumps(payload)))  # fmt: skip
        self._keys.add((stream, key))
        self._all.append(event)
        self._streams.setdefault(stream, []).append(event)
        self._entities.setdefault((stream, entity), []).append(event)
        return True

    def events(self, stream: str, *, entity: str | None = None, after: int = 0) -> list[Event]:
        """Return the events of a stream or of an entity in it."""
        found = self._streams.get(stream, []) if entity is None else self._entities.get((stream, entity), [])
        return [e for e in found if e.sequence > after]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else is there."""
        yield


class Unheard:
    """An audit chain that keeps nothing."""

    def append(self, kind: str, payload: dict[str, Any]) -> str:
        """Forget a record."""
        return ""


def new_home(folder: Path, closures: Sequence[date] = ()) -> Path:
    """Make a home in which every job of the table is due at its time."""
    settings = folder / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    closed = ", ".join(f'"{day}"' for day in closures)
    settings.write_text(f"{EVERYTHING}[calendar]\nextra_closures = [{closed}]\n", encoding="utf-8")
    return folder


def context(home: Path, instant: datetime, *, memory: bool) -> Context:
    """Return the context of a home at an instant; it says that there are bars."""
    clock = HandClock(instant)
    ctx = replace(wiring.build(home, clock=clock), store=SimpleNamespace(held=lambda: "bars"), notifier=Silence())
    if not memory:
        return ctx
    ledger = MemoryLedger(clock)
    return replace(ctx, ledger=ledger, fold=OrderFold(ledger), audit=Unheard())


@dataclass
class PretendRunner:
    """Wakes as the runner does: at its start, at the slots the timetable gives it, and when a round asks for it.

    Attributes:
        ctx: made by `context`.
        work: what a job does instead; by default nothing goes wrong.
        began: what began, in order: job, session, instant.
        rounds: the instants of the rounds.
        fell: the instants at which the process was killed in the middle of a job.
    """

    ctx: Context
    work: Callable[[str, date], None] = lambda _job, _session: None
    began: list[tuple[str, date, datetime]] = field(default_factory=list)
    rounds: list[datetime] = field(default_factory=list)
    fell: list[datetime] = field(default_factory=list)
    _wakes: set[datetime] = field(default_factory=set)

    def start(self) -> bool:
        """Begin as a new process: what was planned is forgotten. False when it was killed at once."""
        self._wakes = set()
        return self._round()

    def live_until(self, end: datetime) -> bool:
        """Wake at everything planned up to an instant, which is then now; False when it was killed on the way."""
        while coming := [wake for wake in self._wakes if wake <= end]:
            self.ctx.clock.set(max(min(coming), self.ctx.clock.now()))
            if not self._round():
                return False
        self.ctx.clock.set(end)
        return True

    def set_clock(self, instant: datetime) -> bool:
        """Somebody sets the clock, and the runner notices."""
        self.ctx.clock.set(instant)
        return self._round()

    def standing(self, job: str, session: date) -> runs.Standing:
        """Return where a job stands."""
        return runs.standing(self.ctx.ledger, job, session)

    def _round(self) -> bool:
        now = self.ctx.clock.now()
        self.rounds.append(now)
        try:
            while tick.tick(self.ctx, self._do):  # as the runner: until a look finds nothing
                pass
        except Killed:
            self.fell.append(now)
            return False
        again = tick.again_at(self.ctx)
        coming = wake_ups(self.ctx.calendar, self.ctx.today, now)
        self._wakes = {w for w in self._wakes if w > now} | set(coming) | ({again} if again else set())
        return True

    def _do(self, ctx: Context, job: Job, session: date, *, again: bool = False) -> Document | None:
        def run(ctx: Context, session: date) -> Document:
            self.began.append((job.name, session, ctx.clock.now()))
            self.work(job.name, session)
            return Document(schema="kobe.test/1", title=job.name)

        return perform.run_job(ctx, replace(job, run=run), session, again=again)
