"""Processes one starts, watches and ends together with everything they started."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


class Running(Protocol):
    """A process that was started: what `subprocess.Popen` offers of it."""

    @property
    def pid(self) -> int:
        """Its number, and that of the group it heads."""
        ...

    @property
    def returncode(self) -> int | None:
        """How it ended, negative for a signal; None before anybody looked."""
        ...

    def poll(self) -> int | None:
        """Look whether it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most so long."""
        ...


_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Forked:
    """A process that a fork server made."""

    def __init__(self, process: "BaseProcess") -> None:
        """Take a process that was started."""
        self._process = process
        self.pid = process.pid or 0

    @property
    def returncode(self) -> int | None:
        """How it ended, negative for a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Look whether it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode


class ForkServer:
    """Starts processes in a few milliseconds: one that has loaded everything makes copies of itself.

    It ends with the process that uses it; what it started goes on.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        """Nothing is started before the first use.

        Args:
            preload: modules that every process will need; loading them must start no thread.
        """
        self._preload = list(preload)
        self._context: Any = None

    def warm(self) -> None:
        """Let the server load what it will need, beside what the caller does meanwhile."""
        from multiprocessing import forkserver

        self._made()
        forkserver.ensure_running()

    def _made(self) -> Any:
        import multiprocessing

        if self._context is None:
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(self._preload)
        return self._context

    def start(self, work: Callable[..., None], *arguments: object) -> Running:
        """Run a function of an importable module as the head of a process group of its own."""
        process = self._made().Process(target=_as_head, args=(work, *arguments), name=work.__name__)
        process.start()
        return Forked(process)


def can_fork() -> bool:
    """Say whether this system has fork servers."""
    import multiprocessing

    return "forkserver" in multiprocessing.get_all_start_methods()


def _as_head(work: Callable[..., None], *arguments: object) -> None:
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what it says to people goes where ours goes; there are no programs to say anything to
    os.close(silence)
    work(*arguments)


def start_group(arguments: Sequence[str]) -> Running:
    """Start a process as the head of a group of its own; what it says to people goes where ours goes.

    Args:
        arguments: the program and what it is given; never a secret, for everybody can read it.
    """
    return subprocess.Popen(  # noqa: S603 - the caller's own command
        list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )


def end_group(process: Running, *, wait_s: float) -> None:
    """Ask a process and all it started to end, wait, then kill them; it returns when the process is gone.

    Args:
        process: the head of a group.
        wait_s: seconds between asking and killing.
    """
    if wait_s > 0:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: Running, number: int) -> None:
    if sys.platform == "win32":
        with suppress(OSError):
            os.kill(process.pid, number)
        return
    try:
        os.killpg(process.pid, number)  # the group outlives its head, and so do those it started
    except ProcessLookupError:  # it heads no group yet
        with suppress(OSError):
            os.kill(process.pid, number)
    except PermissionError:
        return


def group_memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants; 0 where the system does not tell."""
    total, left = 0, [pid]
    while left:
        one = left.pop()
        with suppress(OSError, ValueError, IndexError):
            total += int((_PROC / str(one) / "statm").read_bytes().split()[1]) * _PAGE
            for task in (_PROC / str(one) / "task").iterdir():
                left += [int(child) for child in (task / "children").read_bytes().split()]
    return total
