"""A process that has imported kobe once and forks one child for each command, so that a command costs no start.

It reads one job as JSON a line: words of the command line, and before which line of which files the child dies. It
answers with how the child ended and how many such lines it executed. It computes nothing itself: no thread of a
library is there to be lost in a fork.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from kit.killing import ENVIRONMENT, Countdown

Json = dict[str, Any]
PLACES = {
    "anywhere": ("/kobe/",),
    "writing": ("/kobe/infra/", "/kobe/app/day/", "/kobe/app/report_files", "/kobe/app/scan_files", "/kobe/execution/",
                "/kobe/learning/registry", "/kobe/learning/experiments", "/kobe/data/store", "/kobe/data/ingest"),
}  # fmt: skip
"""Where lines are counted: in all of kobe, or where something is written down."""


class Quick(Countdown):
    """The same count; whether a file is one of the places is found out once for each piece of code."""

    def __init__(self, left: int, *places: str) -> None:
        super().__init__(left, *places)
        self._known: dict[CodeType, bool] = {}

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code not in self._known:
            self._known[code] = any(place in code.co_filename for place in self._places)
        return self._line if self._known[code] else None

    def _line(self, _: FrameType, event: str, __: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def _child(job: Json, out: int) -> None:
    from kobe.interfaces.cli import main as cli

    sys.argv = ["kobe", *job["words"]]
    os.environ |= job.get("environment", {})
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    told: Json = {"code": 0}
    counted = Quick(job["line"], *PLACES[job["where"]]) if "line" in job else None
    try:
        if counted is None:
            cli.main()
        else:
            with counted:
                cli.main()
    except SystemExit as end:
        told["code"] = end.code or 0
    told["lines"] = counted.lines if counted else 0
    os.write(out, json.dumps(told).encode())
    os._exit(0)


def _fork(job: Json) -> Json:
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        _child(job, its)
    os.close(its)
    with os.fdopen(mine) as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, **(json.loads(told) if told else {})}


def main() -> None:
    """Do jobs until the input ends."""
    import numba

    import kobe.app.day.perform
    import kobe.app.doctor.checks
    import kobe.app.drift
    import kobe.app.fetch_bars
    import kobe.app.promote
    import kobe.app.research_screen
    import kobe.app.status
    import kobe.app.train_meta
    import kobe.app.walk_forward
    import kobe.interfaces.cli.main  # noqa: F401 - imported for its children

    numba.njit(lambda: 1)()  # half a second of its own tables, made before there are children
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    _say({"ready": True})
    for line in sys.stdin:
        _say(_fork(json.loads(line)))


def _say(told: Json) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class Zygote:
    """Such a process as its parent sees it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(self, *words: str, **job: Any) -> Json:
        """Run a command; returns the signal that killed it (0: none), its exit code and the lines it executed."""
        self._process.stdin.write(json.dumps({"words": words, **job}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def zygote() -> Iterator[Zygote]:
    """Start a process that runs commands."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "kit.job_zygote"]
    pipe = subprocess.PIPE
    environment = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        assert json.loads(process.stdout.readline()) == {"ready": True}
        try:
            yield Zygote(process)
        finally:
            process.stdin.close()


if __name__ == "__main__":
    main()
