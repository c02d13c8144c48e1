"""Work for the compute backends: plain functions another process can import, some of them hostile."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kobe.core.errors import ExternalError, MissingDataError


@dataclass(frozen=True)
class Pair:
    low: float
    high: float


def square(task, arrays):
    return task * task


def reductions(task, arrays):
    """Sums whose last digits depend on the order of adding, over a slice of the shared array."""
    first, last = task
    part = arrays["walk"][first:last]
    low, high = np.quantile(part, [0.1, 0.9])
    moments = np.array([part.sum(), part.mean(), part.std(), np.dot(part, part), np.log(np.abs(part)).sum()])
    return moments, Pair(float(low), float(high))


def products(task, arrays):
    """Linear algebra, whose threads split sums by the number of cores."""
    matrix = arrays["matrix"][:, task:]
    return matrix.T @ matrix, np.linalg.svd(matrix, compute_uv=False), float(matrix[:, 0] @ matrix[:, -1])


def own_pid(task, arrays):
    return os.getpid()


def threads(task, arrays):
    import numba
    from threadpoolctl import threadpool_info

    return numba.get_num_threads(), [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def written(task, arrays):
    arrays["walk"][0] = 1.0


def fails(task, arrays):
    """Raise on the numbers of the task; a later one fails sooner than an earlier one."""
    if task == "three":
        raise MissingDataError("no such thing", seen=task, expected=Path("four"), next_command="kobe doctor")
    if task == "four":
        raise ExternalError("gone", seen=4, retryable=True)
    if task == "value":
        raise ValueError("plain")
    if task == "odd":
        raise OddError(1, 2)
    if task == "odd facts":
        raise MissingDataError("odd facts", seen=lambda: None)
    return task


class OddError(Exception):
    """Pickles, and cannot be unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def unpicklable(task, arrays):
    return lambda: task


def results(task, arrays):
    """Return one of many kinds of values."""
    return {
        "none": None, "set": {1, 2}, "bytes": b"\x00", "scalar": np.float32(0.1), "nan": np.array([np.nan, -0.0]),
        "nested": {"a": [Pair(1.0, 2.0), (3,)]}, "empty": np.empty((0, 3)), "error": ValueError("a value"),
    }[task]  # fmt: skip


def killed_once(task, arrays):
    """Kill the worker in the middle of a task, the first time it is tried."""
    folder, number = task
    with Path(folder, f"tries-{number}").open("a") as file:
        file.write("x")
    marker = Path(folder, "killed")
    if number % 4 == 1 and not (marker.with_suffix(f".{number}")).exists():
        marker.with_suffix(f".{number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(arrays["walk"][number:].sum())


def kills(task, arrays):
    """Kill every worker that tries the third task."""
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def slow_sum(task, arrays):
    """A few tenths of a second of adding in an order of its own."""
    rng = np.random.default_rng(task)
    total = 0.0
    for _ in range(60):
        total += float(arrays["walk"][rng.permutation(len(arrays["walk"]))].cumsum()[-1])
    return total


def rests(task, arrays):
    """Say who works, then wait for longer than any test."""
    import time

    Path(task[0], str(os.getpid())).touch()
    time.sleep(600)


def fails_in_turn(task, arrays):
    """Raise after the task it waits for has raised."""
    folder, number, wait_for = task
    if wait_for is not None:
        until(Path(folder, str(wait_for)))
    Path(folder, str(number)).touch()
    raise ValueError(number)


def until(path):
    """Wait until a file is there; half a minute at most."""
    import time

    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def grown(task, arrays):
    """Change the task itself."""
    task.append(0)
    return task


def first_returns(task, arrays):
    """Return the first task; the others take longer than any test."""
    import time

    if task:
        time.sleep(600)
    return task
