"""The newest records of a kind: found from the end of the chain, and not parsed again by the same process.

A chain only grows. What was found of a kind is remembered with the place in the file up to which it was looked for;
the next look reads what was appended since, then tells what it remembers, and only then reads what lies before.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kobe.infra import durable
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments
from kobe.infra.records.audit_lines import AuditRecord

REMEMBERED = 256  # records of a kind


class _Seen(NamedTuple):
    """The newest records of a kind, newest first, up to a place in a file; whether there are no others."""

    file: tuple[int, int]
    end: int
    changed_ns: int
    records: tuple[AuditRecord, ...]
    is_all: bool


_seen: dict[tuple[Path, str], _Seen] = {}


def newest(folder: Path, kind: str) -> Iterator[AuditRecord]:
    """Read the records of a kind, newest first; what is not asked for is not read, and other records are not parsed.

    Raises:
        IntegrityError: a line cannot be read.
        ConfigError: the folder cannot be read.
    """
    try:
        with segments.parts(folder) as files:
            known = _brought_up(files, kind, _seen.pop((folder, kind), None)) if files else None
            if known is None:
                yield from _looked_for(folder, files, kind)
                return
            _seen[folder, kind] = known
            yield from known.records
            if not known.is_all:
                yield from islice(_looked_for(folder, files, kind), len(known.records), None)
    except OSError as error:
        raise durable.fault(error, folder) from error


def _looked_for(folder: Path, files: list[segments.Part], kind: str) -> Iterator[AuditRecord]:
    """Read the whole chain from its end, and remember what was asked for."""
    place, found, is_all = _place(files[-1]) if files else None, list[AuditRecord](), False
    try:
        for part in reversed(files):
            end = place[1] if place is not None and part is files[-1] else part.size()
            for record in _between(part, 0, end, kind):
                found.append(record)
                yield record
        is_all = len(found) <= REMEMBERED
    finally:
        if place is not None:
            _seen[folder, kind] = _Seen(*place, tuple(found[:REMEMBERED]), is_all)


def _brought_up(files: list[segments.Part], kind: str, seen: _Seen | None) -> _Seen | None:
    """Add what was appended since; None where nothing is remembered, or of another file than one of these."""
    place = None if seen is None else _place(files[-1])
    if seen is None or place is None:
        return None
    fresh = list[AuditRecord]()
    for part in reversed(files):
        file, end, changed_ns = place if part is files[-1] else _stood(part)
        if file != seen.file:
            fresh += _between(part, 0, end, kind)
        elif end < seen.end or (end == seen.end and changed_ns != seen.changed_ns):
            return None  # not the file it was
        else:
            fresh += _between(part, seen.end, end, kind)
            records = (*fresh, *seen.records)
            return _Seen(*place, records[:REMEMBERED], seen.is_all and len(records) <= REMEMBERED)
    return None


def _between(part: segments.Part, begin: int, end: int, kind: str) -> Iterator[AuditRecord]:
    with part.opened() as file:
        yield from (lines.parse(line) for line in segments.lines_of_kind(file, end, kind, begin))


def _place(part: segments.Part) -> tuple[tuple[int, int], int, int] | None:
    """Return which file it is, where it ends and when it was changed; None where its last line is torn or missing."""
    told = _stood(part)
    with part.opened() as file:
        file.seek(max(told[1] - 1, 0))
        return told if file.read(1) == b"\n" else None


def _stood(part: segments.Part) -> tuple[tuple[int, int], int, int]:
    found = part.path.stat() if part.handle is None else os.fstat(part.handle.fileno())
    return (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns
