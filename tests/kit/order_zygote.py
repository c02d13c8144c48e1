"""A process that has imported everything once and forks one child for each job, so that a job costs no start.

It reads one job as JSON a line and answers with one line: the signal that killed the child (0: none) and what the
child wrote. `Zygote` starts one and speaks to it. It has no Python thread but its own and computes nothing in polars,
whose workers would not survive a fork; what polars starts when it is imported are housekeepers of its memory, asleep.
"""

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from kit import order_scene
from kit.killing import ENVIRONMENT, Countdown
from kit.order_server import Shelf

Json = dict[str, Any]
PLACES = (
    "kobe/execution/", "kobe/infra/records/", "kobe/app/desk.py", "kobe/app/books.py", "kobe/app/protect.py",
    "kobe/app/manage_exits.py", "kobe/app/flatten.py", "kobe/app/ladder.py", "kobe/app/start_up.py",
    "kobe/app/reconcile.py", "kobe/app/submit_totd.py", "kobe/app/cash_book.py", "kobe/infra/durable.py",
)  # fmt: skip
MORE_THAN_ANY = 10**9
SCENES: dict[str, Callable[[], Any]] = {
    "made": lambda: order_scene.Made(order_scene.market()),
    "real": order_scene.Real,
}


class Quick(Countdown):
    """The same count; whether a file is one of the places is found out once for each piece of code."""

    def __init__(self, left: int) -> None:
        super().__init__(left, *PLACES)
        self._known: dict[CodeType, bool] = {}

    def _step(self, frame: FrameType, _: str, __: object) -> Any:
        code = frame.f_code
        if code not in self._known:
            self._known[code] = any(place in code.co_filename for place in PLACES)
        return self._line if self._known[code] else None

    def _line(self, _: FrameType, event: str, __: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


@dataclass
class Steps:
    """Counts the named points a child passes; at one of them it dies, or the kill switch is made."""

    job: Json
    home: Path

    def __post_init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.door: Any = None

    def __call__(self, name: str) -> None:
        """Pass a point."""
        self.seen[name] += 1
        passed = [name, self.seen[name]]
        if passed == self.job.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if passed == self.job.get("switch_at"):
            (self.home / "state" / "KILL_SWITCH").touch()
            sent = Shelf(self.job["url"]).so_far()["requests"]
            (self.home / "switched").write_text(str(sent))


class Runner:
    """Does jobs in this process: counts their steps, and dies where a job says so."""

    def __init__(self, scene: Any) -> None:
        from kobe.app import desk

        self.scene = scene
        self._manager = desk.manager

    def run(self, job: Json) -> Json:
        """Do a job; returns how each deed went, the points and lines passed, and what was to be looked at.

        A job `first` is done before it, on a context of its own; then nothing goes wrong any more at the server.
        """
        if job.get("first"):
            first = self.run(job["first"])
            Shelf(job["url"]).clear_faults()
            return {**self.run({**job, "first": None}), "first": first}
        os.environ |= job.get("environment", {})
        steps = Steps(job, Path(job["home"]))
        self._instrument(steps)
        ctx = self.scene.context(steps.home, job["url"], datetime.fromisoformat(job["at"]))
        steps.door = ctx.broker.door
        lines = job.get("line") or (MORE_THAN_ANY if job.get("count") else 0)
        with Quick(lines) if lines else nullcontext() as counted:
            told = order_scene.perform(self.scene, ctx, job["deeds"])
        found: Json = {"told": told, "points": dict(steps.seen), "lines": counted.lines if counted else 0}
        if job.get("look"):
            found["look"] = order_scene.look(ctx, job.get("later"))
        ctx.ledger.close()
        return found

    def _instrument(self, steps: Steps) -> None:
        """Let the order manager pass its checkpoints by name, and requests to the broker as well.

        Each is a `before_request`, and one that sends or moves an order a `before_order`: past everything but the last
        look at the kill switch.
        """
        from kobe.app import broker_wiring, desk

        class Bucket:
            """In place of the request budget, which has tests of its own."""

            def __init__(self, *_: Any, **__: Any) -> None:
                pass

            def take(self) -> None:
                steps("before_request")
                if steps.door is not None and steps.door.guard is not None:
                    steps("before_order")

        broker_wiring.TokenBucket = Bucket
        desk.manager = lambda ctx: replace(self._manager(ctx), checkpoint=steps)


# -- the process -----------------------------------------------------------------------------------------------------


def _child(runner: Runner, job: Json, out: int) -> None:
    try:
        told = runner.run(job)
    except BaseException:  # noqa: BLE001 - whatever it is, the test is to see it
        told = {"fault": traceback.format_exc()}
    with os.fdopen(out, "w") as file:
        file.write(json.dumps(told))
    os._exit(0)


def _fork(runner: Runner, job: Json) -> Json:
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        _child(runner, job, its)
    os.close(its)
    with os.fdopen(mine) as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, **(json.loads(told) if told else {})}


def main() -> None:
    """Do jobs until the input ends: each in a child, or with the word `alone` all in this process."""
    from kobe.app import wiring

    wiring.xnys = functools.cache(wiring.xnys)  # the same calendar, built once
    runner = Runner(SCENES[sys.argv[1]]())
    runner.run(json.loads(sys.stdin.readline()))  # in this process: what it imports and compiles is there from now on
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    _say({"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        _say(runner.run(job) if "alone" in sys.argv else _fork(runner, job))


def _say(told: Json) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class Zygote:
    """Such a process as its parent sees it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(self, job: Json) -> Json:
        """Let it do a job and return how it went."""
        self.begin(job)
        told = self.end()
        assert told is not None, "the process has died"
        return told

    def begin(self, job: Json) -> None:
        """Give it a job."""
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self) -> Json | None:
        """Return how its job went; None when it died over it."""
        answer = self._process.stdout.readline()
        return json.loads(answer) if answer else None


@contextmanager
def zygote(warm: Json, *, scene: str = "made", alone: bool = False) -> Iterator[Zygote]:
    """Start a process that does jobs; it does the first by itself to be warm."""
    environment = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "kit.order_zygote", scene]
    pipe = subprocess.PIPE
    command += ["alone"] if alone else []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        made = Zygote(process)
        try:
            assert made.run(warm) == {"ready": True}
            yield made
        finally:
            process.kill() if alone else process.stdin.close()


if __name__ == "__main__":
    main()
