"""Files that survive a crash: whole content by rename, on the disk before the call returns, clear faults.

Every writer of the room goes through here, so that a full disk or an unwritable folder is answered once.
"""

import errno
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from kobe.core.errors import ConfigError, ExternalError, KobeError

TEMPORARY_PREFIX = ".tmp-"
Content = bytes | memoryview | Callable[[BinaryIO], object]
"""All bytes of a file, or what writes them into it where they are too many to be held once more."""
_DOCTOR = "kobe doctor"
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_DENIED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
}  # fmt: skip


def fault(error: OSError, path: Path) -> KobeError:
    """Say what the operating system refused, as one of our errors.

    Args:
        error: what was raised.
        path: the file or folder that was being read or written.
    """
    seen = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return ExternalError("the disk is full", seen=seen, next_command=_DOCTOR, retryable=True)
    if error.errno in _DENIED:
        return ConfigError(
            "a file cannot be used", seen=seen, expected="a folder this user may write", next_command=_DOCTOR
        )
    return ExternalError("the disk did not answer", seen=seen, next_command=_DOCTOR)


_not_waiting = threading.Event()


@contextmanager
def not_waiting() -> Iterator[None]:
    """Let this process wait for the disk once, at the end of the block, and not at every record inside.

    Only for records that can be made anew, such as a simulation's: a kill loses nothing, a power cut may tear them.
    """
    _not_waiting.set()
    try:
        yield
    finally:
        _not_waiting.clear()
        if hasattr(os, "sync"):  # Windows has none, and writes out by itself within seconds
            os.sync()


def waits() -> bool:
    """Whether a record counts only once it is on the disk: always but inside `not_waiting`."""
    return not _not_waiting.is_set()


def sync(descriptor: int, *, size_stays: bool = False) -> None:
    """Wait until an open file's content is on the disk itself.

    Args:
        descriptor: of the file.
        size_stays: content was written over in place, so that its size need not be waited for.
    """
    if not waits():
        return
    if size_stays and sys.platform == "linux":
        os.fdatasync(descriptor)
    elif sys.platform == "darwin":  # plain fsync leaves the content in the drive's cache there
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk (Windows has no such call and needs none)."""
    if sys.platform == "win32" or not waits():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_whole(path: Path, content: Content, *, sync_name: bool = True, sync_content: bool = True) -> None:
    """Write a file so that a reader or a crash sees the old content or the new, never a mixture.

    Args:
        path: where the file appears; missing folders are made.
        content: all of its bytes, or what writes them.
        sync_name: wait for the rename too; without it a power cut may bring the old content back, whole.
        sync_content: wait for the content; without it a power cut may leave a torn file. For files whose digest a
            durable manifest holds and that can be made again.

    Raises:
        ConfigError: the folder cannot be written.
        ExternalError: the disk is full or did not answer.
    """
    try:
        make_folder(path.parent)
        _write_and_rename(path, content, wait=sync_content)
        if sync_name:
            sync_folder(path.parent)
    except OSError as error:
        raise fault(error, path) from error


def overwrite(path: Path, content: bytes) -> None:
    """Write a small file over in place and wait for nothing: for what only tells people something.

    Raises:
        ConfigError: the file cannot be written.
        ExternalError: the disk is full or did not answer.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            write_all(descriptor, content)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise fault(error, path) from error


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Hand every byte to the operating system; one call may take only a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files that crashed writers left below a folder; those of living writers stay.

    Returns:
        What was removed.
    """
    removed = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if name.startswith(TEMPORARY_PREFIX) and _remove_if_abandoned(path):
                removed.append(path)
    return sorted(removed)


def _write_and_rename(path: Path, content: Content, *, wait: bool) -> None:
    descriptor, temporary = _open_temporary(path.parent)
    try:
        try:
            if callable(content):
                with os.fdopen(descriptor, "wb", closefd=False) as file:
                    content(file)
            else:
                write_all(descriptor, content)
            if wait:
                sync(descriptor)
            if sys.platform != "win32":
                temporary.replace(path)  # while the file is open it is locked, so no sweep can take it
        finally:
            os.close(descriptor)
        if sys.platform == "win32":
            temporary.replace(path)  # an open file cannot be renamed there
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _open_temporary(folder: Path) -> tuple[int, Path]:
    """Open a new file under a name nobody has, locked as ours where the system can."""
    while True:
        temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if not _locked(descriptor, wait=True) or os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # a sweep took it between the open and the lock


def _locked(descriptor: int, *, wait: bool) -> bool:
    """Take a file's lock; False where somebody has it and we do not wait, or the system has none."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_if_abandoned(path: Path) -> bool:
    try:
        if sys.platform == "win32":
            path.unlink()  # refused while the writer has it open
            return True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            abandoned = _locked(descriptor, wait=False)
            if abandoned:
                path.unlink()
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return abandoned
