"""Processes one starts, watches and ends together with everything they started."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def start_group(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a process as the head of a group of its own; what it says to people goes where ours goes.

    Args:
        arguments: the program and what it is given; never a secret, for everybody can read it.
    """
    return subprocess.Popen(  # noqa: S603 - the caller's own command
        list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )


def end_group(process: "subprocess.Popen[bytes]", *, wait_s: float) -> None:
    """Ask a process and all it started to end, wait, then kill them; it returns when the process is gone.

    Args:
        process: made by `start_group`.
        wait_s: seconds between asking and killing.
    """
    if wait_s > 0:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)  # the group outlives its head, and so do those it started


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
