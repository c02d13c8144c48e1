"""Workers of a dask cluster: one on this machine for its own purposes, or many behind a scheduler's address."""

import contextlib
import logging
import math
import os
import queue
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from kobe.core.errors import ConfigError, ExternalError
from kobe.core.ports import Arrays, Progress, ResultT, Shared, TaskT
from kobe.infra.compute import work
from kobe.infra.compute.kit import ComputeKit

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_ANSWER_S = 8.0  # for a scheduler and its first worker to be there
_TICK_S = 5.0
_LONELY_TICKS = 12  # a minute without any worker
_LOCAL = {
    "distributed.scheduler.allowed-failures": work.DEATHS - 1,
    # without a dashboard dask still serves HTTP, on port 8787 unless told otherwise: a free port, and no page on it
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,  # it samples a hundred times a second what nobody looks at
    "distributed.admin.system-monitor.gil.enabled": False,
}
_WIDTH_S = 1.0  # between two questions how many workers there are


class DaskCompute:
    """Workers have one task at a time, so that one that kills is told from one that waited beside it.

    A task costs some milliseconds of talk: give it a tenth of a second of work or more.
    """

    name = "dask"

    def __init__(self, kit: ComputeKit) -> None:
        """Nothing is started before the first map.

        Raises:
            ConfigError: the scheduler's address cannot be one.
        """
        if kit.scheduler and not ADDRESS.fullmatch(kit.scheduler):
            raise ConfigError(
                "a scheduler has an address with a port", seen=kit.scheduler, expected="such as tcp://10.0.0.5:8786"
            )
        self._kit = kit
        self._arrays = kit.arrays.elsewhere() if kit.scheduler else kit.arrays.here()
        self._count = kit.workers or os.cpu_count() or 1
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None

    def share(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Shared]:
        """Write arrays where the workers find them; with a scheduler and `compute.arrays_url`, there too."""
        store = self._kit.arrays if self._kit.scheduler else self._arrays
        return {name: store.put(array) for name, array in arrays.items()}

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
        if not parcel.tasks:
            return []
        client = self._connected()
        work_round = _Round(parcel, client, self._heal, self._kit.scheduler, progress)
        try:
            return work_round.run()
        finally:
            if work_round.unfinished:  # a failure or Ctrl-C came between; a worker cannot be stopped in a task
                self.close()

    def close(self) -> None:
        """Leave the scheduler; end the workers if they are ours."""
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        for part in (client, cluster):
            if part is not None:
                with contextlib.suppress(OSError, TimeoutError):
                    part.close(timeout=_TICK_S)

    def _connected(self) -> "Client":
        if self._client is not None and self._client.status != "running":  # lost while nothing was asked of it
            self.close()
        if self._client is None:
            self._client = self._remote() if self._kit.scheduler else self._local()
        return self._client

    def _heal(self) -> None:
        """Bring back workers of this machine that died while they started: dask drops those for good."""
        if self._cluster is not None:
            self._cluster.scale(self._count)  # type: ignore[no-untyped-call]

    def _local(self) -> "Client":
        distributed = _library()
        import dask

        with dask.config.set(_LOCAL):
            self._cluster = distributed.LocalCluster(
                n_workers=self._count, threads_per_worker=1, processes=True,
                host="127.0.0.1", scheduler_port=0, dashboard_address="127.0.0.1:0", worker_dashboard_address=None,
                scheduler_kwargs={"dashboard": False}, silence_logs=logging.CRITICAL, security=True, memory_limit=0,
            )  # fmt: skip
        client: Client = distributed.Client(self._cluster, set_as_default=False)
        return client

    def _remote(self) -> "Client":
        distributed = _library()
        address = self._kit.scheduler
        try:
            client: Client = distributed.Client(address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise ExternalError(
                "the dask scheduler does not answer", seen=f"{address}: {type(error).__name__}",
                expected="a scheduler there, of the same dask and TLS settings",
                next_command=f"dask scheduler --port {address.rpartition(':')[2]} (docs/scale.md)", retryable=True,
            ) from error  # fmt: skip
        try:
            client.wait_for_workers(1, timeout=_ANSWER_S)
        except TimeoutError as error:
            client.close()  # type: ignore[no-untyped-call]
            raise _lonely(address) from error
        return client


class _Round:
    """One map: as many tasks under way as there are workers, answers taken as they come."""

    def __init__(
        self,
        parcel: work.Parcel,
        client: "Client",
        heal: Callable[[], None],
        address: str,
        progress: Progress | None,
    ) -> None:
        self._parcel, self._client, self._address, self._progress = parcel, client, address, progress
        self._heal = heal
        self._name = f"kobe-{secrets.token_hex(8)}"  # keys are new each time: nothing is answered from memory
        self._next = 0
        self._width, self._asked = 1, -math.inf
        self._limit = len(parcel.tasks)  # tasks from here on need not be done: an earlier one failed
        self._failure: Exception | None = None
        self._results: dict[int, Any] = {}
        self._away: dict[Future[bytes], int] = {}
        self._done: queue.SimpleQueue[Future[bytes]] = queue.SimpleQueue()

    def run(self) -> list[Any]:
        """Work until every answer is there; of several failures the first in the order of the tasks is raised."""
        try:
            self._send()
            while any(index < self._limit for index in self._away.values()):
                future = self._finished()
                self._take(self._away.pop(future), future)
                self._send()
        finally:
            for future in self._away:
                future.cancel()  # type: ignore[no-untyped-call]  # those not begun never will be
        if self._failure is not None:
            raise self._failure
        return [self._results[i] for i in range(len(self._results))]

    @property
    def unfinished(self) -> bool:
        """Whether tasks are under way that nobody waits for any more."""
        return bool(self._away)

    def _send(self) -> None:
        """Have as many tasks under way as the cluster has threads; workers may come and go meanwhile."""
        if time.monotonic() - self._asked >= _WIDTH_S:
            self._width, self._asked = max(1, self._threads()), time.monotonic()
        while len(self._away) < self._width and self._next < self._limit:
            key, task = f"{self._name}-{self._next}", self._parcel.tasks[self._next]
            future = self._client.submit(work.answer, self._parcel.header, task, key=key, pure=False)
            self._away[future] = self._next
            self._next += 1
            future.add_done_callback(self._done.put)  # type: ignore[no-untyped-call]

    def _threads(self) -> int:
        """Ask how many tasks the cluster can do at once.

        Raises:
            ExternalError: the scheduler went away.
        """
        self._heal()
        try:
            return sum(self._client.nthreads().values())  # type: ignore[no-untyped-call]
        except OSError as error:
            raise self._gone() from error

    def _finished(self) -> "Future[bytes]":
        """Wait for a task that is finished, or given up by the scheduler.

        Raises:
            ExternalError: for a minute there was no worker.
        """
        lonely = 0
        while lonely < _LONELY_TICKS:
            try:
                return self._done.get(timeout=_TICK_S)
            except queue.Empty:
                lonely = 0 if self._threads() else lonely + 1
        raise _lonely(self._address)

    def _take(self, index: int, future: "Future[bytes]") -> None:
        """Keep what a task returned, or its failure if no earlier task has one.

        Raises:
            ExternalError: the scheduler went away.
        """
        import distributed

        try:
            self._results[index] = work.result_of(future.result())
        except CancelledError as error:
            raise self._gone() from error
        except distributed.KilledWorker as error:
            self._fail(index, work.killer(self._parcel, index, f"dask gave it up after {error.allowed_failures + 1}"))
        except Exception as error:  # noqa: BLE001 - raised by `run`, once no earlier task can fail
            self._fail(index, error)
        else:
            if self._progress is not None:
                self._progress(len(self._results), len(self._parcel.tasks), self._parcel.label)

    def _gone(self) -> ExternalError:
        return ExternalError(
            "the dask scheduler went away", seen=self._address or "the cluster of this machine",
            expected="to be there until the work is done", next_command="the same command again", retryable=True,
        )  # fmt: skip

    def _fail(self, index: int, error: Exception) -> None:
        if index < self._limit:
            self._limit, self._failure = index, error


def _library() -> Any:
    """Import dask's scheduler and workers (0.5 s), and keep their log lines from a person's screen.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        import cryptography  # noqa: F401 - the local cluster speaks TLS with certificates made for the run
        import distributed
    except ImportError as error:
        raise ConfigError(
            "dask is not installed", seen=str(error), expected="the extra `scale`",
            next_command="pip install 'kobe[scale]'",
        ) from error  # fmt: skip
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


def _lonely(address: str) -> ExternalError:
    return ExternalError(
        "the dask scheduler has no worker", seen=address or "the cluster of this machine", expected="at least one",
        next_command=f"dask worker {address} --nthreads 1 (docs/scale.md)" if address else "--backend processes",
        retryable=True,
    )  # fmt: skip
