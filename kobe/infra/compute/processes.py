"""Workers as processes of this machine; a worker that dies costs its task again and nothing else."""

import heapq
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from kobe.core.ports import Arrays, Progress, ResultT, Shared, TaskT
from kobe.infra.compute import work
from kobe.infra.compute.kit import ComputeKit

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

_JOIN_S = 5.0


class ProcessCompute:
    """Spawned processes, one task each at a time; they stay for the next map and end with this process."""

    name = "processes"

    def __init__(self, kit: ComputeKit) -> None:
        self._arrays = kit.arrays.here()
        self._count = kit.workers or os.cpu_count() or 1
        self._workers: list[_Worker] = []

    def share(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Shared]:
        """Write arrays where the workers map them."""
        return {name: self._arrays.put(array) for name, array in arrays.items()}

    def map(
        self,
        function: Callable[[TaskT, Arrays], ResultT],
        tasks: Sequence[TaskT],
        *,
        shared: Mapping[str, Shared] | None = None,
        progress: Progress | None = None,
    ) -> list[ResultT]:
        """Return the function's results in the order of the tasks; see `core.ports.Compute`."""
        parcel = work.pack(function, tasks, shared, self._arrays)
        try:
            while len(self._workers) < min(self._count, len(tasks)):
                self._workers.append(_started())
            return _Round(parcel, self._workers, progress).run()
        finally:
            if any(worker.index is not None for worker in self._workers):  # a failure or Ctrl-C came between
                self.close()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.ended()
        self._workers.clear()


@dataclass(slots=True, eq=False)
class _Worker:
    process: "SpawnProcess"
    pipe: "Connection"
    index: int | None = None  # of the task it is at

    def ended(self) -> str:
        """Wait for the process's end and say what it was."""
        self.pipe.close()
        self.process.join(_JOIN_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class _Round:
    """One map: what is left to do, who is at it, what came back."""

    def __init__(self, parcel: work.Parcel, workers: list[_Worker], progress: Progress | None) -> None:
        self._parcel, self._workers, self._progress = parcel, workers, progress
        self._waiting = list(range(len(parcel.tasks)))  # a heap: a lost task goes first again
        self._limit = len(parcel.tasks)  # tasks from here on need not be done: an earlier one failed
        self._failure: Exception | None = None
        self._results: dict[int, Any] = {}
        self._deaths: dict[int, int] = {}

    def run(self) -> list[Any]:
        """Work until every answer is there; of several failures the first in the order of the tasks is raised."""
        while self._undone():
            for worker in [w for w in self._workers if w.index is None]:
                self._hand_out(worker)
            self._listen()
        if self._failure is not None:
            raise self._failure
        return [self._results[i] for i in range(len(self._results))]

    def _undone(self) -> bool:
        at_work = any(w.index is not None and w.index < self._limit for w in self._workers)
        return at_work or (bool(self._waiting) and self._waiting[0] < self._limit)

    def _hand_out(self, worker: _Worker) -> None:
        if not self._waiting or self._waiting[0] >= self._limit:
            return
        worker.index = heapq.heappop(self._waiting)
        try:
            worker.pipe.send((self._parcel.header, self._parcel.tasks[worker.index]))
        except OSError:  # it died while it was idle: not the task's doing
            heapq.heappush(self._waiting, worker.index)
            self._replace(worker)

    def _listen(self) -> None:
        """Wait until a worker speaks or dies."""
        from multiprocessing.connection import wait

        busy = [w for w in self._workers if w.index is not None]
        ready = wait([w.pipe for w in busy]) if busy else []
        for worker in [w for w in busy if w.pipe in ready]:
            index = worker.index or 0
            try:
                answered = worker.pipe.recv_bytes()
            except (EOFError, OSError):
                self._lost(index, self._replace(worker))
            else:
                worker.index = None
                self._take(index, answered)

    def _take(self, index: int, answered: bytes) -> None:
        try:
            self._results[index] = work.result_of(answered)
        except Exception as error:  # noqa: BLE001 - raised by `run`, once no earlier task can fail
            self._fail(index, error)
        else:
            if self._progress is not None:
                self._progress(len(self._results), len(self._parcel.tasks), self._parcel.label)

    def _lost(self, index: int, how: str) -> None:
        """Do a task again whose worker died, unless it is the task that kills."""
        self._deaths[index] = self._deaths.get(index, 0) + 1
        if self._deaths[index] >= work.DEATHS:
            self._fail(index, work.killer(self._parcel, index, how))
        else:
            heapq.heappush(self._waiting, index)

    def _fail(self, index: int, error: Exception) -> None:
        if index < self._limit:
            self._limit, self._failure = index, error

    def _replace(self, worker: _Worker) -> str:
        """Put a fresh worker in a dead one's place and say how the other ended."""
        self._workers[self._workers.index(worker)] = _started()
        return worker.ended()


def _started() -> _Worker:
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # a fork would inherit locks of polars' threads, held for ever
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), name="kobe-worker", daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: "Connection") -> None:
    """Answer tasks until the other end is gone; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            header, task = pipe.recv()
            pipe.send_bytes(work.answer(header, task))


def _end_with_parent() -> None:
    """Leave in the middle of a task when nobody is left to take its answer."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
