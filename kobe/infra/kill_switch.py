"""The file that stops everything from leaving: its presence blocks, and so does every doubt about it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kobe.core.errors import ConfigError
from kobe.infra import durable

_READ_BYTES = 4096
_SHOWN_CHARACTERS = 200


class FileKillSwitch:
    """A path whose presence, as whatever kind of thing, blocks. Nothing is cached: each question looks anew."""

    def __init__(self, path: Path) -> None:
        """Only remember the path, such as `state/KILL_SWITCH`."""
        self._path = path
        self._closing_may_pass = False

    def blocks(self, *, closing: bool) -> str | None:
        """Return why something is blocked now, or None; inside `letting_close` what closes is not."""
        return None if closing and self._closing_may_pass else self.reason()

    @contextmanager
    def letting_close(self) -> Iterator[None]:
        """Let what closes through in this process, whatever the switch says; the caller records that it asked."""
        self._closing_may_pass = True
        try:
            yield
        finally:
            self._closing_may_pass = False

    def reason(self) -> str | None:
        """Return why everything is blocked, or None.

        A missing folder blocks too: a disk that is gone may have held the switch.
        """
        try:
            os.lstat(self._path)
        except FileNotFoundError:
            return self._folder_doubt()
        except OSError as error:
            return f"the kill switch cannot be looked at ({self._path}: {error.strerror or error})"
        return self._text() or f"{self._path} is present"

    def engage(self, reason: str) -> None:
        """Block from now on, durably. The reason of a switch that is already there stays.

        The name comes first and blocks by itself: a disk too full for the reason still gets the switch.

        Raises:
            ConfigError: the folder cannot be written.
            ExternalError: the disk did not answer.
        """
        text = " ".join(reason.split()) or "no reason given"
        try:
            durable.make_folder(self._path.parent)
            with suppress(FileExistsError):
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                try:
                    _try_to_say(descriptor, text)
                finally:
                    os.close(descriptor)
            durable.sync_folder(self._path.parent)
        except OSError as error:
            raise durable.fault(error, self._path) from error

    def release(self) -> None:
        """Stop blocking, durably; without a switch, nothing happens.

        Raises:
            ConfigError: the switch is a folder with content, which is for a person to remove.
        """
        try:
            try:
                kind = os.lstat(self._path).st_mode
            except FileNotFoundError:
                return
            self._path.rmdir() if stat.S_ISDIR(kind) else self._path.unlink()
            durable.sync_folder(self._path.parent)
        except OSError as error:
            raise ConfigError(
                "the kill switch could not be removed",
                seen=f"{self._path}: {error.strerror or error}",
                expected="a file or an empty folder that this user may remove",
            ) from error

    def _folder_doubt(self) -> str | None:
        folder = self._path.parent
        try:
            if stat.S_ISDIR(folder.stat().st_mode):
                return None
        except OSError as error:
            return f"the folder of the kill switch cannot be looked at ({folder}: {error.strerror or error})"
        return f"the folder of the kill switch is not a folder ({folder})"

    def _text(self) -> str:
        """First line of the file as one short printable line; empty where there is none to read."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not hang us
            try:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                content = os.read(descriptor, _READ_BYTES) if regular else b""
            finally:
                os.close(descriptor)
        except OSError:
            return ""
        first = content.decode("utf-8-sig", errors="replace").strip().partition("\n")[0]
        return "".join(c for c in first if c.isprintable()).strip()[:_SHOWN_CHARACTERS]


def _try_to_say(descriptor: int, text: str) -> None:
    """Write the reason if the disk takes it."""
    with suppress(OSError):
        durable.write_all(descriptor, f"{text}\n".encode(errors="replace"))
        durable.sync(descriptor)
