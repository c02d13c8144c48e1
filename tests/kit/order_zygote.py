"""A process that has imported everything once and forks one child for each job, so that a job costs no start.

It reads one job as JSON a line and answers with one line: the signal that killed the child (0: none) and what the
child wrote. `Zygote` starts one and speaks to it. It has no thread of its own and computes nothing in polars, whose
threads would not survive a fork.
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
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from kit.alpaca_desk import AlpacaDesk
from kit.killing import ENVIRONMENT, Countdown

Json = dict[str, Any]
PLACES = (
    "kobe/execution/", "kobe/infra/records/", "kobe/app/desk.py", "kobe/app/books.py", "kobe/app/protect.py",
    "kobe/app/manage_exits.py", "kobe/app/flatten.py", "kobe/app/ladder.py", "kobe/app/start_up.py",
    "kobe/app/reconcile.py", "kobe/app/submit_totd.py", "kobe/app/cash_book.py", "kobe/infra/durable.py",
)  # fmt: skip
MORE_THAN_ANY = 10**9


class Quick(Countdown):
    """The same count; whether a file is one of the places is found out once for each piece of code."""

    def __init__(self, left: int) -> None:
        super().__init__(left, *PLACES)
        self._known: dict[CodeType, bool] = {}

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if code not in self._known:
            self._known[code] = any(place in code.co_filename for place in PLACES)
        return super()._step(frame, event, argument) if self._known[code] else None


@dataclass
class Steps:
    """Counts the named points a child passes; at one of them it dies, or the kill switch is made."""

    job: Json
    home: Path

    def __post_init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        """Pass a point."""
        self.seen[name] += 1
        passed = [name, self.seen[name]]
        if passed == self.job.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if passed == self.job.get("switch_at"):
            (self.home / "state" / "KILL_SWITCH").touch()
            sent = AlpacaDesk(self.job["url"]).call("told", whole=False)["requests"]
            (self.home / "switched").write_text(str(sent))


def run(scene: Any, job: Json) -> Json:
    """Do a job in this process."""
    from kit import order_scene

    from kobe.app import desk, wiring
    from kobe.infra.token_bucket import TokenBucket

    os.environ |= job.get("environment", {})
    steps = Steps(job, Path(job["home"]))
    ordinary, planted = desk.manager, DEFECTS[job.get("defect", "")]
    desk.manager = lambda ctx: planted(replace(ordinary(ctx), checkpoint=steps))

    class Bucket(TokenBucket):
        def take(self, timeout_s: float = 120.0) -> None:
            super().take(timeout_s)
            steps("before_request")

    wiring.TokenBucket = Bucket
    ctx = scene.context(steps.home, job["url"], datetime.fromisoformat(job["at"]))
    lines = job.get("line") or (MORE_THAN_ANY if job.get("count") else 0)
    with Quick(lines) if lines else nullcontext() as counted:
        told = order_scene.perform(scene, ctx, job["deeds"])
    found: Json = {"told": told, "points": dict(steps.seen), "lines": counted.lines if counted else 0}
    if job.get("look"):
        found["look"] = order_scene.look(ctx)
    found["at"] = ctx.clock.now().isoformat()
    return found


# -- defects, to see that the suite finds them -------------------------------------------------------------------


def _sound(oms: Any) -> Any:
    return oms


DEFECTS = {"": _sound}


# -- the process -----------------------------------------------------------------------------------------------------


def _child(scene: Any, job: Json, out: int) -> None:
    try:
        told = run(scene, job)
    except BaseException:  # noqa: BLE001 - whatever it is, the test is to see it
        told = {"fault": traceback.format_exc()}
    with os.fdopen(out, "w") as file:
        file.write(json.dumps(told))
    os._exit(0)


def _fork(scene: Any, job: Json) -> Json:
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        _child(scene, job, its)
    os.close(its)
    with os.fdopen(mine) as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, **(json.loads(told) if told else {})}


def main() -> None:
    """Serve jobs until the input ends."""
    from kit import order_scene

    from kobe.app import wiring

    wiring.xnys = functools.cache(wiring.xnys)  # the same calendar, built once
    scene = order_scene.Scene(order_scene.market())
    warm = json.loads(sys.stdin.readline())
    run(scene, warm)  # in this process: imports and compiled code are there before the first fork
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    print(json.dumps({"threads": len(os.listdir("/proc/self/task"))}), flush=True)  # noqa: T201 - its word
    for line in sys.stdin:
        print(json.dumps(_fork(scene, json.loads(line))), flush=True)  # noqa: T201 - its word


class Zygote:
    """The zygote as its parent sees it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(self, job: Json) -> Json:
        """Let a child do a job and return how it went."""
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote has died"
        return json.loads(answer)


@contextmanager
def zygote(warm: Json) -> Iterator[Zygote]:
    """Start a zygote, which does one job by itself to be warm."""
    environment = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "kit.order_zygote"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        process.stdin.write(json.dumps(warm) + "\n")
        process.stdin.flush()
        began = process.stdout.readline()
        assert began, "the zygote did not begin"
        yield Zygote(process)
        process.stdin.close()


if __name__ == "__main__":
    main()
