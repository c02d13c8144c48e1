"""How one task travels to a worker, what the worker does with it, and how the answer comes back.

A task never carries an array of the shared ones, only digests. What is unpickled here was pickled by the same user's
kobe and came over a pipe or an authenticated connection.
"""

import importlib
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kobe.core.errors import ConfigError, ExternalError, KobeError
from kobe.core.ports import Arrays, Shared
from kobe.infra.compute.shared import SharedArrays

TASK_BYTES = 100_000  # the largest task; anything bulkier is shared
DEATHS = 3  # workers one task may take with it
_RUNTIME = ("numpy", "numba", "scipy", "polars", "scikit-learn")  # what digits depend on
_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError, RecursionError)
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Header:
    """What all tasks of one map have in common.

    Attributes:
        module, function: where the function is.
        arrays, shared: the store, and what to open from it by name.
        runtime: versions the digits depend on; a worker with others refuses.
    """

    module: str
    function: str
    arrays: SharedArrays
    shared: dict[str, Shared]
    runtime: dict[str, str]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One map, packed: the header once, each task by itself."""

    label: str
    header: bytes
    tasks: tuple[bytes, ...]

    def named(self, index: int) -> str:
        """Say which task this is."""
        text = repr(pickle.loads(self.tasks[index]))  # noqa: S301 - packed by `pack` in this process
        return f"task {index} of {len(self.tasks)} of {self.label}: {text[:120]}"


def pack(
    function: Callable[..., Any], tasks: Sequence[Any], shared: Mapping[str, Shared] | None, arrays: SharedArrays
) -> Parcel:
    """Make tasks ready to travel; every backend does, so that none takes what another refuses.

    Raises:
        KobeError: the function is not importable by name, or a task is too big or cannot be pickled.
    """
    module, name = importable(function)
    header = Header(module, name, arrays, dict(shared or {}), runtime())
    packed = tuple(_packed(i, task) for i, task in enumerate(tasks))
    return Parcel(f"{module}.{name}", pickle.dumps(header), packed)


def importable(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a function's module and name.

    Raises:
        KobeError: another process could not import it.
    """
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    found = getattr(sys.modules.get(module), name, None)
    if module == "__main__" or found is not function:
        raise KobeError(
            "work for other processes must be a function of a module", seen=f"{module}.{name}" if name else function,
            expected="a def at the top level of a module that can be imported",
        )  # fmt: skip
    return module, name


@lru_cache(maxsize=1)
def runtime() -> dict[str, str]:
    """Return the versions of what digits depend on."""
    from importlib.metadata import version

    from kobe import __version__

    return {"kobe": __version__, **{name: version(name) for name in _RUNTIME}}


def answer(header: bytes, task: bytes) -> bytes:
    """Do one task, in a worker.

    Returns:
        (True, result) or (False, what the function raised), pickled.
    """
    try:
        function, arrays = _prepared(header)
        _one_numba_thread()
        result = function(pickle.loads(task), arrays)  # noqa: S301 - see the module's first lines
        return _dumped(result)
    except Exception as error:  # noqa: BLE001 - a worker sends home whatever happened; there it is raised
        return _failed(error)


def result_of(answered: bytes) -> Any:
    """Return the result of an answer.

    Raises:
        Exception: what the function raised, with the worker's traceback as a note.
    """
    good, value = pickle.loads(answered)  # noqa: S301 - see the module's first lines
    if not good:
        raise value
    return value


def check_travels(result: Any) -> None:
    """Refuse a result that could not come back from a worker; arrays are not copied for it.

    Raises:
        KobeError: it cannot be pickled.
    """
    try:
        pickle.dumps(result, protocol=5, buffer_callback=lambda _: None)
    except _UNPICKLABLE as error:
        raise _no_traveller(result, error) from error


def killer(parcel: Parcel, index: int, how: str) -> ExternalError:
    """Say that a task takes its workers with it."""
    return ExternalError(
        f"a task killed its worker {DEATHS} times", seen=f"{parcel.named(index)} ({how})",
        expected="enough memory for one task on each worker, and no crash in it",
        next_command="the same command with --backend serial",
    )  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP use one thread: how they split a sum decides its last digits.

    Libraries loaded meanwhile read the environment; those loaded already are told.
    """
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _packed(index: int, task: Any) -> bytes:
    try:
        content = pickle.dumps(task, protocol=5)
    except _UNPICKLABLE as error:
        raise KobeError("a task cannot travel between processes", seen=f"task {index}: {error}") from error
    if len(content) > TASK_BYTES:
        raise KobeError(
            "a task is too big to travel", seen=f"task {index}: {len(content)} bytes",
            expected=f"at most {TASK_BYTES}; bulky arrays go into `shared`",
        )  # fmt: skip
    return content


@lru_cache(maxsize=8)
def _prepared(header: bytes) -> tuple[Callable[[Any, Arrays], Any], Arrays]:
    """Import the function and open its arrays, once for all tasks of a map."""
    told: Header = pickle.loads(header)  # noqa: S301 - see the module's first lines
    ours = runtime()
    if told.runtime != ours:
        differ = [f"{k} {ours.get(k)} instead of {v}" for k, v in told.runtime.items() if ours.get(k) != v]
        raise ConfigError(
            "a worker runs other versions than this process", seen=", ".join(differ),
            expected="the same locked set on every machine; digits would differ",
        )  # fmt: skip
    try:
        function = getattr(importlib.import_module(told.module), told.function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            "a worker does not have the function", seen=f"{told.module}.{told.function}: {error}",
            expected="the same kobe on every machine",
        ) from error  # fmt: skip
    _keep_to_one_thread()
    return function, told.arrays.open_all(told.shared)


def _keep_to_one_thread() -> None:
    """What `one_thread` does for a while, for good: a worker does nothing else."""
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(_THREADS, "1"))
    threadpool_limits(limits=1)


def _one_numba_thread() -> None:
    """Compiled loops of a worker use its own core; the other cores have workers of their own."""
    numba = sys.modules.get("numba")
    if numba is None:
        os.environ["NUMBA_NUM_THREADS"] = "1"
    else:
        numba.set_num_threads(1)  # of this thread; a worker may use several, one after the other


def _dumped(result: Any) -> bytes:
    try:
        return pickle.dumps((True, result), protocol=5)
    except _UNPICKLABLE as error:
        raise _no_traveller(result, error) from error


def _no_traveller(result: Any, error: Exception) -> KobeError:
    return KobeError(
        "a result cannot travel between processes", seen=f"{type(result).__qualname__}: {error}",
        expected="numbers, strings, arrays, and plain classes of them",
    )  # fmt: skip


def _failed(error: Exception) -> bytes:
    """Pickle an exception so that it surely can be unpickled; the traceback goes along as a note."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        content = pickle.dumps((False, error), protocol=5)
        pickle.loads(content)  # noqa: S301 - made one line above
    except Exception:  # noqa: BLE001 - an exception's own pickling may raise anything
        content = pickle.dumps((False, _plain(error)), protocol=5)
    return content


def _plain(error: Exception) -> Exception:
    """Return what can be said of an exception that cannot travel; the facts of ours as text."""
    plain: Exception = KobeError("a task failed", seen=f"{type(error).__qualname__}: {error}")
    if isinstance(error, KobeError):
        plain = type(error)(
            error.what, seen=str(error.seen), expected=str(error.expected), next_command=error.next_command
        )
    for note in error.__notes__:
        plain.add_note(note)
    return plain
