"""Leases: one process at a time does a named thing, and the system frees the name when that process dies."""

import json
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExternalError, KobeError
from kobe.core.ids import canonical_json
from kobe.infra import durable, file_lock

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Lease:
    """The right to do a named thing, held by one process of this machine.

    The lock is the operating system's on `NAME.lock`, so that it ends with its holder, however that ends.
    `NAME.holder.json` says for people who holds it, and is empty while nobody does; it decides nothing.

    Example:
        with Lease(state / "locks", "scheduler", clock) as lease:
            if lease.took_over: ...
    """

    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        """Nothing is held until `acquire` or the `with` statement.

        Args:
            folder: where lock files live; made when missing.
            name: letters, digits, dot, dash and underscore.
            clock: gives the instant the lease began.

        Raises:
            ConfigError: the name could leave the folder.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError("a lease needs a plain name", seen=repr(name), expected=_NAME.pattern)
        self.took_over: dict[str, Any] | None = None
        """Who held it before and died holding it, or None."""
        self._name = name
        self._clock = clock
        self._path = folder / f"{name}.lock"
        self._holder = folder / f"{name}.holder.json"
        self._give_back: Callable[[], None] | None = None

    def acquire(self, timeout_s: float = 0.0) -> Self:
        """Take the lease, waiting at most so long.

        Raises:
            ExternalError: another process holds it; the message names its process id.
            ConfigError: the folder cannot be written.
        """
        try:
            durable.make_folder(self._path.parent)
            give_back = file_lock.hold(self._path, timeout_s)
        except file_lock.Busy as error:
            raise self._held() from error
        except OSError as error:
            raise durable.fault(error, self._path) from error
        try:
            self.took_over = self._told()
            with suppress(KobeError):  # it decides nothing: a full disk must not keep anybody from an exit
                durable.overwrite(self._holder, self._introduction())
        except BaseException:
            give_back()
            raise
        self._give_back = give_back
        return self

    def release(self) -> None:
        """Give the lease back; without one, nothing happens."""
        if self._give_back is None:
            return
        give_back, self._give_back = self._give_back, None
        try:
            if self._holder.is_file():
                durable.overwrite(self._holder, b"")
        finally:
            give_back()

    def __enter__(self) -> Self:
        return self if self._give_back is not None else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _introduction(self) -> bytes:
        started = self._clock.now().isoformat(timespec="seconds")
        facts = {"host": socket.gethostname(), "name": self._name, "pid": os.getpid(), "started": started}
        return f"{canonical_json(facts)}\n".encode()

    def _told(self) -> dict[str, Any] | None:
        """Read what the last holder left; None when it left properly, an empty table when it is unreadable."""
        try:
            content = self._holder.read_bytes()
            told = json.loads(content) if content else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else None if told is None else {}

    def _held(self) -> ExternalError:
        told = self._told() or {}
        return ExternalError(
            f"another kobe process holds {self._name}",
            seen=f"process {told.get('pid', 'unknown')} since {told.get('started', 'unknown')}",
            next_command="kobe status",
            retryable=True,
        )
