"""Named blobs that appear whole: a folder of this machine, or any object store fsspec knows, behind one port."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kobe.core.errors import ConfigError, ExternalError
from kobe.infra import durable


class Blobs(Protocol):
    """A flat place for named blobs. A write replaces the whole blob or nothing."""

    @property
    def place(self) -> str:
        """Where this is, for messages; never holds a secret."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a blob's content, or None when there is none of that name."""
        ...

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Return what changes with a blob's content and costs less than reading it; None where nothing does."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Make this the content of a blob, durably."""
        ...

    def names(self) -> list[str]:
        """Return the names of all blobs, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove a blob; one that is not there is no fault."""
        ...


@dataclass(frozen=True, slots=True)
class FolderBlobs:
    """Blobs as files of one folder, on the disk before `write` returns."""

    folder: Path

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise durable.fault(error, self.folder / name) from error

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Return which file it is, its size and when it was written: a write puts another file in its place."""
        try:
            found = os.stat(f"{self.folder}/{name}")  # noqa: PTH116 - asked for hundreds of times a day
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def write(self, name: str, content: bytes) -> None:
        """Write by rename."""
        durable.write_whole(self.folder / name, content)

    def names(self) -> list[str]:
        """Return the plain files of the folder, those being written left out."""
        try:
            found = [p.name for p in self.folder.iterdir() if p.is_file()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise durable.fault(error, self.folder) from error
        return sorted(n for n in found if not n.startswith(durable.TEMPORARY_PREFIX))

    def delete(self, name: str) -> None:
        """Remove a file."""
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise durable.fault(error, self.folder / name) from error


@dataclass(frozen=True, slots=True)
class ObjectBlobs:
    """Blobs under an fsspec URL (`s3://bucket/prefix`, `file:///...`); a put is atomic there.

    Attributes:
        url: where; the protocol's driver must be installed (extra `objects` for S3).
        options: what the driver is given, such as endpoint and keys; never shown.
    """

    url: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    def _system(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self.url, **self.options)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                "the object store's driver is not there",
                seen=str(error).splitlines()[0][:160],
                expected="a protocol fsspec knows; for S3 the extra `objects`",
            ) from error
        return system, str(root).rstrip("/")

    def read(self, name: str) -> bytes | None:
        """Return an object's content, or None."""
        system, root = self._system()
        try:
            system.invalidate_cache()
            return bytes(system.cat_file(f"{root}/{name}"))
        except FileNotFoundError:
            return None
        except _faults() as error:
            raise self._fault(error) from error

    def stamp(self, name: str) -> tuple[int, ...] | None:  # noqa: ARG002 - asking costs as much as reading
        """Return None: an object store is read each time."""
        return None

    def write(self, name: str, content: bytes) -> None:
        """Put an object; on a local `file://` URL through the durable writer, which a plain put is not."""
        system, root = self._system()
        if "file" in _protocols(system):
            durable.write_whole(Path(root) / name, content)
            return
        try:
            system.pipe_file(f"{root}/{name}", content)
        except _faults() as error:
            raise self._fault(error) from error

    def names(self) -> list[str]:
        """Return the objects directly under the URL."""
        system, root = self._system()
        try:
            system.invalidate_cache()
            found = system.ls(root, detail=True)
        except FileNotFoundError:
            return []
        except _faults() as error:
            raise self._fault(error) from error
        plain = (str(entry["name"]).rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")
        return sorted(n for n in plain if n and not n.startswith(durable.TEMPORARY_PREFIX))

    def delete(self, name: str) -> None:
        """Remove an object."""
        system, root = self._system()
        try:
            system.rm_file(f"{root}/{name}")
        except FileNotFoundError:
            return
        except _faults() as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> ExternalError:
        seen = f"{self.url}: {type(error).__name__}"
        return ExternalError("the object store did not answer", seen=seen, next_command="kobe doctor", retryable=True)


def _faults() -> tuple[type[Exception], ...]:
    """Return what a driver raises; S3's speaks in exceptions of its own, known once it is loaded."""
    driver = sys.modules.get("botocore.exceptions")
    return (OSError,) if driver is None else (OSError, driver.BotoCoreError, driver.ClientError)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
