"""Two ends of a pipe: a side that waits in a process of its own, and whoever asks it to run and to time a task."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Call = Callable[[], dict[str, Any]]
Task = Callable[..., Call]
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One timed call: wall and processor seconds of the whole process, and what the task told."""

    wall_s: float
    cpu_s: float
    facts: dict[str, Any]


def serve(tasks: Mapping[str, Task]) -> None:
    """Answer requests line by line until the input ends; a task is prepared and run once before its first timing."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    prepared: dict[str, Call] = {}
    for line in sys.stdin:
        if line not in prepared:
            asked = json.loads(line)
            prepared[line] = tasks[asked.pop("task")](**asked)
            prepared[line]()
        started, used = time.perf_counter(), time.process_time()
        facts = prepared[line]()
        reading = Reading(wall_s=time.perf_counter() - started, cpu_s=time.process_time() - used, facts=facts)
        answers.write(json.dumps(reading.__dict__) + "\n")


class Side:
    """A worker process; use it as a context."""

    def __init__(self, python: Path | str, module: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", f"scripts.bench.peers.{module}"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def run(self, task: str, **arguments: Any) -> Reading:
        """Run a task once, warm, and return its times.

        Raises:
            SystemExit: the side died; its own words are on the error stream.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("a side has no pipe")
        self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the side that ran {task} died; see above")
        return Reading(**json.loads(answer))
