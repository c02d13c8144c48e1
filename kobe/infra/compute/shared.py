"""Bulky arrays by the digest of their content: written once, memory-mapped by every worker, never shipped in a task."""

import hashlib
import io
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.errors import ConfigError, DataError, IntegrityError
from kobe.core.ports import Shared
from kobe.infra import durable
from kobe.infra.blobs import ObjectBlobs

KEEP_S = 7 * 86_400  # an array nobody opened for so long before the newest was written is removed
_OPEN_ARRAYS = 256  # mapped at once in one process


@dataclass(frozen=True, slots=True)
class SharedArrays:
    """A store of arrays named by digest; small and picklable, so that it travels with the work.

    Attributes:
        folder: of .npy files on this machine, which may be deleted at any time; None for the user's cache folder of
            whatever machine this is opened on.
        url: an object store behind it, for workers that do not see the folder; empty for none.
    """

    folder: Path | None
    url: str = ""

    def here(self) -> "SharedArrays":
        """Return the same store for workers of this machine, which need no object store."""
        return replace(self, url="")

    def elsewhere(self) -> "SharedArrays":
        """Return the store as workers of other machines see it: by its URL where it has one."""
        return replace(self, folder=None) if self.url else self

    def put(self, array: npt.NDArray[Any]) -> Shared:
        """Make an array available under its digest.

        Args:
            array: any shape, of numbers, truth values, fixed strings or dates; NaN payloads are kept bit for bit.

        Raises:
            DataError: it holds Python objects.
            ConfigError: the folder cannot be written.
            ExternalError: the disk is full, or the object store did not answer.
        """
        content = npy(array)
        shared = describe(array, content)
        name = f"{shared.digest}.npy"
        path = self._folder() / name
        if not _holds(path, shared.digest):
            durable.write_whole(path, content)
            _forget_old(path)
        if self.url:
            store = ObjectBlobs(self.url)
            if name not in store.names():
                store.write(name, bytes(content))
        return shared

    def open(self, shared: Shared) -> npt.NDArray[Any]:
        """Map an array into memory, read-only; its digest is verified once in a process.

        Raises:
            ConfigError: it is neither on this machine nor in the object store.
            IntegrityError: the content is not what its name says.
            ExternalError: the object store did not answer.
        """
        return _opened(self._folder(), self.url, shared.digest)

    def open_all(self, shared: Mapping[str, Shared]) -> dict[str, npt.NDArray[Any]]:
        """Map several arrays by name."""
        return {name: self.open(one) for name, one in shared.items()}

    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        import platformdirs

        return Path(platformdirs.user_cache_dir("kobe", appauthor=False)) / "compute"


def npy(array: npt.NDArray[Any]) -> memoryview:
    """Return an array as the bytes of an .npy file, always in C order and format 1.0.

    Raises:
        DataError: it holds Python objects, which only pickle could carry.
    """
    if array.dtype.hasobject:
        raise DataError("an array of Python objects cannot be shared", seen=array.dtype, expected="numbers or strings")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    return buffer.getbuffer()


def describe(array: npt.NDArray[Any], content: memoryview) -> Shared:
    """Return an array's name and shape."""
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    return Shared(digest=digest, shape=array.shape, dtype=array.dtype.str)


@lru_cache(maxsize=_OPEN_ARRAYS)
def _opened(folder: Path, url: str, digest: str) -> npt.NDArray[Any]:
    path = folder / f"{digest}.npy"
    if not _holds(path, digest):
        _fetch(path, url, digest)
    with suppress(OSError):
        path.touch()  # in use; another machine's read-only folder keeps its own times
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # nothing to map in an array without elements
        mapped = np.load(path, allow_pickle=False)
        mapped.flags.writeable = False
    plain: npt.NDArray[Any] = np.asarray(mapped)
    return plain


def _fetch(path: Path, url: str, digest: str) -> None:
    """Bring an array from the object store to this machine."""
    if not url and path.is_file():
        raise IntegrityError("a shared array is damaged", seen=path.name, expected="the content of its digest")
    content = ObjectBlobs(url).read(path.name) if url else None
    if content is None:
        raise ConfigError(
            "a shared array is not where this worker looks", seen=url or path,
            expected="a folder all workers see, or compute.arrays_url", next_command="kobe config show",
        )  # fmt: skip
    if hashlib.blake2b(content, digest_size=32).hexdigest() != digest:
        raise IntegrityError("a shared array is damaged in the object store", seen=f"{url}/{path.name}")
    durable.write_whole(path, content)


def _holds(path: Path, digest: str) -> bool:
    """Whether a file is there with exactly this content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest() == digest
    except FileNotFoundError:
        return False
    except OSError as error:
        raise durable.fault(error, path) from error


def _forget_old(newest: Path) -> None:
    """Remove arrays nobody opened for a week; a running worker keeps what it has mapped."""
    if sys.platform == "win32":  # a mapped file cannot be removed there
        return
    durable.sweep(newest.parent)
    with suppress(OSError):
        oldest = newest.stat().st_mtime - KEEP_S
        for path in newest.parent.glob("*.npy"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
