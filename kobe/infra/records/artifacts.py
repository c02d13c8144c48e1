"""Files that appear whole or not at all, named by the digest of their content."""

import hashlib
import json
from pathlib import Path
from typing import Any

from kobe.infra import durable


class FileArtifacts:
    """Artifacts on the file system. Writing what is already there changes nothing, not even the time stamp."""

    def write(self, path: Path, content: bytes, *, wait: bool = True) -> str:
        """Write a file by rename and return the SHA-256 of its content.

        Args:
            path: where the file appears; missing folders are made.
            content: all of its bytes.
            wait: until it is on the disk; False for files that can be made again and whose digest a manifest holds.

        Returns:
            64 hex digits.

        Raises:
            ConfigError: the folder cannot be written.
            ExternalError: the disk is full or did not answer.
        """
        if not _holds(path, content):
            durable.write_whole(path, content, sync_name=wait, sync_content=wait)
        return hashlib.sha256(content).hexdigest()

    def sweep(self, folder: Path) -> list[Path]:
        """Remove what crashed writers left below a folder and return it; files being written stay."""
        return durable.sweep(folder)


def write_json(path: Path, value: Any) -> str:
    """Write a value as JSON a person can read: sorted keys, two spaces, one line break at the end.

    Returns:
        The SHA-256 of the file.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    return FileArtifacts().write(path, f"{text}\n".encode())


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in blocks, as 64 hex digits.

    Raises:
        ConfigError: the file is missing or may not be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise durable.fault(error, path) from error


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file already has exactly this content; what cannot be read does not."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
