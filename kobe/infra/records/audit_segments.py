"""The files of a chain: closed parts by number, then `audit.jsonl`, which is appended to.

A part is closed by renaming `audit.jsonl`; the next one begins with a record of kind `audit_segment` that says its
number and the digest of the file before it. The records go on counting and chaining over the border.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from kobe.core.errors import IntegrityError
from kobe.infra.records import audit_lines as lines

SEGMENT_KIND = "audit_segment"
_NAME = re.compile(r"audit-(\d{6,})\.jsonl")
_READ_BYTES = 1 << 20
_FIRST_BYTES = 1 << 15


class Part(NamedTuple):
    """One file of a chain; the open one is held by its handle, so that a rotation meanwhile takes nothing away."""

    path: Path
    number: int | None
    handle: BinaryIO | None = None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it, at its beginning."""
        if self.handle is not None:
            self.handle.seek(0)
            yield self.handle
            return
        with self.path.open("rb", buffering=_READ_BYTES) as file:
            yield file

    def size(self) -> int:
        """Return its bytes now."""
        return os.fstat(self.handle.fileno()).st_size if self.handle is not None else self.path.stat().st_size


def path_of(folder: Path, number: int) -> Path:
    """Where a closed part is kept."""
    return folder / f"audit-{number:06d}.jsonl"


def sealed(folder: Path) -> list[Part]:
    """Return the closed parts that are here, in their order."""
    if not folder.is_dir():
        return []
    found = [(int(told[1]), path) for path in folder.iterdir() if (told := _NAME.fullmatch(path.name))]
    return [Part(path, number) for number, path in sorted(found)]


@contextmanager
def parts(folder: Path) -> Iterator[list[Part]]:
    """Hold all files of the chain, oldest first, as they are now; there may be none."""
    try:
        active = (folder / lines.CHAIN).open("rb", buffering=_READ_BYTES)
    except FileNotFoundError:
        yield sealed(folder)
        return
    with active:
        closed = sealed(folder)
        if closed and os.path.samestat(closed[-1].path.stat(), os.fstat(active.fileno())):
            closed.pop()  # it was closed between the two lines before this
        yield [*closed, Part(folder / lines.CHAIN, None, active)]


def tail_lines(files: list[Part], count: int, end: int | None = None) -> Iterator[bytes]:
    """Read the last `count` whole lines of the chain, without reading what is before them.

    Args:
        files: of the chain, oldest first.
        count: fewer come where the chain has fewer.
        end: bytes of the last file that count; None: all.
    """
    wanted = []
    for at, part in enumerate(reversed(files)):
        with part.opened() as file:
            size = end if end is not None and not at else part.size()
            offset, found = lines.start_of_last(file, size, count)
        wanted.append((part, offset, size))
        count -= found
        if not count:
            break
    for part, offset, size in reversed(wanted):
        with part.opened() as file:
            file.seek(offset)
            yield from whole_lines(file, size - offset)


def lines_of_kind(file: BinaryIO, size: int, kind: str, first: int = 0) -> Iterator[bytes]:
    """Find the whole lines of a kind from byte `first` to `size`, the last one first; a torn last line is left out."""
    needle = b',"kind":"%s",' % kind.encode()
    for block in _blocks_from_the_end(file, size, first):
        end = len(block)
        while (at := block.rfind(needle, 0, end)) >= 0:
            start = block.rfind(b"\n", 0, at) + 1
            line = block[start : block.find(b"\n", at) + 1]
            if lines.is_of_kind(line, kind):
                yield line
            end = start


def _blocks_from_the_end(file: BinaryIO, size: int, first: int) -> Iterator[bytes]:
    """Read whole lines in blocks, the last block first: most of what is looked for is near the end."""
    begin, rest, is_last, length = size, b"", True, _FIRST_BYTES
    while begin > first:
        end, begin = begin, max(begin - length, first)
        length = min(2 * length, _READ_BYTES)
        file.seek(begin)
        block = file.read(end - begin) + rest
        if is_last and (whole := block.rfind(b"\n") + 1):
            block, is_last = block[:whole], False
        cut = block.find(b"\n") + 1 if begin > first else 0
        if is_last or (begin > first and not cut):
            rest = block  # one line longer than a block
            continue
        rest = block[:cut]
        yield block[cut:]


def all_lines(files: list[Part]) -> Iterator[bytes]:
    """Read every whole line of the chain."""
    for part in files:
        with part.opened() as file:
            yield from whole_lines(file, part.size())


def whole_lines(file: BinaryIO, left: int) -> Iterator[bytes]:
    """Read lines up to so many bytes from here; a torn last line is left out."""
    for line in file:
        left -= len(line)
        if left < 0 or not line.endswith(b"\n"):
            return
        yield line
        if not left:
            return


def hashes_after(files: list[Part], start: lines.Head, last: lines.Head, end: int | None = None) -> list[bytes] | None:
    """Return the hashes of the records after `start` up to `last`, 32 bytes each.

    Returns:
        None when the records do not lead from the one to the other.
    """
    if last.seq < start.seq:
        return None
    found: list[bytes] = []
    before = start.hash.encode()
    for seq, line in enumerate(tail_lines(files, last.seq - start.seq, end), start.seq + 1):
        raw = lines.chained(line, seq, before)
        if raw is None:
            return None
        before = raw.hex().encode()
        found.append(raw)
    return found if len(found) == last.seq - start.seq and before == last.hash.encode() else None


def number_of(files: list[Part]) -> int:
    """Return the number of the part that is appended to."""
    told = segment_of(first_line(files[-1]))
    if told is not None:
        return told
    return 1 + max((part.number or 0 for part in files), default=0)


def first_line(part: Part) -> bytes:
    """Return a part's first line."""
    with part.opened() as file:
        return file.readline()


def segment_of(line: bytes) -> int | None:
    """Return the number a part gives itself in its first line, None when that is another record."""
    try:
        record = lines.parse(line)
        return int(record.payload["number"]) if record.kind == SEGMENT_KIND else None
    except (IntegrityError, KeyError, TypeError, ValueError):
        return None


def measured(path: Path) -> dict[str, str | int]:
    """Return name, size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}
