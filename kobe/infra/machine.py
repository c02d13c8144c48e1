"""What the machine says of itself: the file system below a path, and whether its clock is kept right."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

NETWORK = frozenset({
    "afs", "ceph", "cifs", "davfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
})  # fmt: skip
"""Kinds whose locks and shared memory do not hold between machines."""
SHARED = frozenset({"9p", "drvfs", "fuse.vmhgfs-fuse", "prl_fs", "vboxsf", "virtiofs"})
"""Kinds that bring a folder of the host into a virtual machine or a container."""
MOUNTS = Path("/proc/self/mounts")
_NOT_SYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_ROOM_FOR_TIMEX = 512


@dataclass(frozen=True, slots=True)
class Mount:
    """Where something is mounted, and the kind of file system."""

    place: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether another machine keeps the files."""
        return self.kind in NETWORK

    @property
    def is_shared(self) -> bool:
        """Whether the host of this virtual machine keeps the files."""
        return self.kind in SHARED


def mount_of(path: Path, table: str | None = None) -> Mount | None:
    """Return the mount a path lies on, or None where the system does not tell.

    Args:
        path: absolute; it need not exist.
        table: the lines of /proc/self/mounts; None reads them.
    """
    if str(path).startswith("\\\\"):
        return Mount(path.anchor, "smbfs")
    if table is None:
        try:
            table = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    found: Mount | None = None
    for line in table.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = _plain(words[1])
        if path.is_relative_to(place) and (found is None or len(place) >= len(found.place)):
            found = Mount(place, words[2])  # of two at one place, the later one hides the earlier
    return found


def clock_is_kept() -> bool | None:
    """Say whether the system keeps its clock right by itself (NTP), or None where it does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_ROOM_FOR_TIMEX))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _NOT_SYNCHRONISED


def mode_of(path: Path) -> int | None:
    """Return the permission bits of a path, None where there is nothing or the system has no such bits."""
    if os.name == "nt":
        return None
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return None


def _plain(word: str) -> str:
    """Undo the octal escapes of the mount table."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, letter)
    return word
