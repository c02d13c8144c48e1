"""The command line without its start: a process that has imported kobe once and forks one child for each command.

It reads a job as JSON a line and answers with the child's exit code; what the child wrote is in the job's files. With
an instant the command is told `--as-of`, if it knows the option.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kit.killing import ENVIRONMENT

IMPORTED = (
    "kobe.interfaces.cli.main", "kobe.app.wiring", "kobe.app.jobs", "kobe.app.output", "kobe.app.doctor.checks",
    "kobe.app.watching.alerts", "kobe.app.status", "kobe.app.scan_picture", "kobe.app.warm", "kobe.app.broker",
    "kit.alpaca_client", "kobe.execution.brokers.alpaca", "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cloudpickle", "rich.console", "rich.table", "kobe.app.notify_commands",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a command left, and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Everything it said, with blanks as one space: tables and long lines are wrapped."""
        return " ".join((self.out + " " + self.err).split())


@dataclass
class Door:
    """Speaks to the process.

    Attributes:
        process: the one that forks.
        folder: for what children write.
        unset: variables of the tests that no child has.
        given: variables all children have.
    """

    process: "subprocess.Popen[str]"
    folder: Path
    unset: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    _made: int = field(default=0)

    def kobe(
        self, home: Path, *words: str, at: datetime | None = None, most_bytes: int | None = None,
        env: Mapping[str, str] | None = None, cwd: Path | None = None,
    ) -> Done:  # fmt: skip
        """Run a command in a home.

        Args:
            home: the home.
            words: what follows `kobe`.
            at: the pretended time, where the command knows one.
            most_bytes: no file may grow beyond that, as on a full disk.
            env: more variables.
            cwd: the folder it is called from.
        """
        self._made += 1
        out, err = (str(self.folder / f"{self._made}.{name}") for name in ("out", "err"))
        usual = {k: v for k, v in os.environ.items() if k not in self.unset} | self.given
        job = {"words": ["--home", str(home), *words], "at": at and at.isoformat(), "out": out, "err": err,
               "most_bytes": most_bytes, "env": usual | dict(env or {}), "cwd": str(cwd or Path.cwd())}  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = json.loads(self.process.stdout.readline())
        return Done(code, Path(out).read_text(encoding="utf-8"), Path(err).read_text(encoding="utf-8"))


@contextmanager
def door(*unset: str, **given: str) -> Iterator[Door]:
    """Start the process; it ends with the context."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "kit.door"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, env=ENVIRONMENT, text=True) as process,
    ):
        yield Door(process, Path(folder), unset, given)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@functools.cache
def shared() -> Door:
    """Return the door of all tests in this process; it is closed when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(door())


def knows_as_of(words: Sequence[str]) -> bool:
    """Say whether the command in some words takes `--as-of`."""
    import typer

    from kobe.interfaces.cli.main import app

    command: Any = typer.main.get_command(app)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
    if command.name == "run" and "jobs" not in words and "--once" not in words:
        return False
    return any("--as-of" in option.opts for option in command.params)


def _child(job: dict[str, Any]) -> int:
    """Be the command; returns its exit code."""
    from kobe.interfaces.cli.main import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the next job is not for it to read
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ |= job["env"]
    os.chdir(job["cwd"])
    words = job["words"]
    if job["at"] and knows_as_of(words):
        words = [*words, "--as-of", job["at"]]
    if job["most_bytes"] is not None:
        import resource  # Windows has none, and imports this file too

        resource.setrlimit(resource.RLIMIT_FSIZE, (job["most_bytes"], job["most_bytes"]))
    sys.argv = ["kobe", *words]
    try:
        main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


def main() -> None:
    """Fork for each job until the input ends."""
    for name in IMPORTED:  # so that no child has to
        importlib.import_module(name)

    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = _child(json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(code), flush=True)  # noqa: T201 - its only word


if __name__ == "__main__":
    main()
