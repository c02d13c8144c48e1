"""Whether an audit chain is what was written, and if not, which record is wrong and how.

The walk compares bytes: each line must begin with its number and the hash before it and end with its own hash.
Only when a line fails is the rest of the file looked at to name what happened. Someone who rewrites every line
after a change and HEAD as well is not found here; that is what checkpoints kept elsewhere are for.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from kobe.infra import durable
from kobe.infra.records import audit_lines as lines

Problem = Literal["ok", "edited", "inserted", "deleted", "reordered", "truncated", "torn", "clock_back", "missing_head"]
# Time servers step clocks by fractions of a second; a clock set back to hide a decision moves by more.
CLOCK_TOLERANCE = timedelta(seconds=1)
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a verification found.

    `records` counts the lines that verified from the start and `head_hash` is the hash of the last of them.
    `first_bad_seq` is the number the first wrong record should have, which is also its line in the file.
    """

    records: int
    head_hash: str
    ok: bool
    problem: Problem
    first_bad_seq: int | None = None
    detail: str = ""


class _Finding(NamedTuple):
    problem: Problem
    seq: int
    detail: str


class _Claim(NamedTuple):
    """What a line says of itself: whether it is whole, whether its hash fits, its number and the hash before it."""

    whole: bool
    sealed: bool
    seq: int
    prev: bytes


@dataclass(slots=True)
class _Walk:
    """How far the walk came; `bad` is the first line that does not fit, with all that follow it."""

    records: int = 0
    before: bytes = b""
    last: bytes = lines.GENESIS.encode()
    at_head: bytes = b""
    back: _Finding | None = None
    bad: list[_Claim] = field(default_factory=list)


def verify(folder: Path) -> AuditReport:
    """Verify every record of the chain in a folder.

    Appends may go on meanwhile: what was there when the verification began is verified.

    Returns:
        The report; a missing or empty chain is sound and has no records.

    Raises:
        ConfigError: the folder cannot be read.
    """
    try:
        head, size = _snapshot(folder)
    except OSError as error:
        raise durable.fault(error, folder) from error
    return verify_part(folder, head, size)


def verify_part(folder: Path, head: lines.Head | None, size: int) -> AuditReport:
    """Verify the first `size` bytes of a chain against a HEAD, without asking for the appenders' lock."""
    path = folder / lines.CHAIN
    walk = _Walk()
    if size:
        try:
            with path.open("rb", buffering=_READ_BYTES) as file:
                walk = _walk(file, size, head.seq if head else 0)
        except OSError as error:
            raise durable.fault(error, path) from error
    finding = _damage(walk, head, empty=not size) or walk.back
    return AuditReport(
        records=walk.records,
        head_hash=walk.last.decode(),
        ok=finding is None,
        problem=finding.problem if finding else "ok",
        first_bad_seq=finding.seq if finding else None,
        detail=finding.detail if finding else "",
    )


def _snapshot(folder: Path) -> tuple[lines.Head | None, int]:
    """HEAD and the size of the chain as they were at one instant between two appends."""
    path = folder / lines.CHAIN
    with _quiet(folder):
        head = lines.read_head(folder)
        return head, path.stat().st_size if path.exists() else 0


def _quiet(folder: Path) -> AbstractContextManager[None]:
    """Hold the appenders' lock for an instant, where there is one; a copy on read-only media has no appenders."""
    try:
        with (folder / lines.LOCK).open("r+b"):
            return lines.locked(folder)
    except OSError:
        return nullcontext()


def _walk(file: BinaryIO, size: int, head_seq: int) -> _Walk:
    """Walk the first `size` bytes up to the first line that does not fit its place."""
    walk = _Walk()
    sha256, cut, at_length = hashlib.sha256, -lines.SUFFIX_LENGTH, lines.AT_LENGTH
    records, before, last, latest, rest = 0, b"", walk.last, b"", size
    for line in file:
        seq = records + 1
        digest = sha256(line[:cut]).hexdigest().encode()
        prefix = b'{"seq":%d,"prev":"%s","at":"' % (seq, last)
        if line[cut:] != b',"hash":"%s"}\n' % digest or not line.startswith(prefix):
            walk.bad = [_claim(line), *_claims(file, rest - len(line))]
            break
        at = line[len(prefix) : len(prefix) + at_length]
        if at >= latest:
            latest = at
        elif walk.back is None:
            walk.back = _clock_back(seq, latest.decode(), at.decode())
        records, before, last = seq, last, digest
        if seq == head_seq:
            walk.at_head = digest
        rest -= len(line)
        if rest <= 0:
            break
    walk.records, walk.before, walk.last = records, before, last
    return walk


def _claims(file: Iterable[bytes], size: int) -> Iterator[_Claim]:
    for line in file:
        if size <= 0:
            return
        size -= len(line)
        yield _claim(line)


def _claim(line: bytes) -> _Claim:
    told = lines.PLACE.match(line)
    return _Claim(
        whole=line.endswith(b"\n"),
        sealed=told is not None and lines.is_sealed(line),
        seq=int(told[1]) if told else 0,
        prev=told[2] if told else b"",
    )


def _clock_back(seq: int, latest: str, at: str) -> _Finding | None:
    try:
        step = datetime.fromisoformat(latest) - datetime.fromisoformat(at)
    except ValueError:
        return _Finding("clock_back", seq, f"written at {at!r}, which is no instant")
    if step <= CLOCK_TOLERANCE:
        return None
    return _Finding("clock_back", seq, f"written at {at}, after a record of {latest}")


def _damage(walk: _Walk, head: lines.Head | None, *, empty: bool) -> _Finding | None:
    """Name the first damage: in the lines, or between the lines and HEAD."""
    if walk.bad:
        return _name(walk, head)
    if head is None:
        detail = f"{lines.HEAD} is missing or unreadable: a cut tail would not be seen"
        return None if empty else _Finding("missing_head", walk.records, detail)
    if head.seq > walk.records:
        return _Finding("truncated", walk.records + 1, f"{lines.HEAD} names record {head.seq}")
    if head.seq and walk.at_head != head.hash.encode():
        return _Finding("edited", head.seq, f"{lines.HEAD} holds another hash for it")
    return None


def _name(walk: _Walk, head: lines.Head | None) -> _Finding:
    """Say what happened where the first line does not fit its place."""
    first, rest, due = walk.bad[0], walk.bad[1:], walk.records + 1
    resumes = bool(rest) and rest[0].sealed and (rest[0].seq, rest[0].prev) == (due, walk.last)
    if not first.sealed:
        if resumes:
            return _Finding("inserted", due, "a line that is no record stands before it")
        return _Finding("edited", due, "its bytes do not give its hash") if rest else _name_last(first, due, head)
    if first.seq == due:
        return _Finding("edited", max(walk.records, 1), f"record {due} was chained to another hash")
    if first.seq < due:
        twin = first.seq == walk.records and first.prev == walk.before
        seq = walk.records if twin else due
        return _Finding("inserted", seq, f"two lines are record {first.seq}")
    later = {claim.seq for claim in rest}
    if due not in later:
        return _Finding("deleted", due, f"record {first.seq} stands in its place")
    if resumes and (first.seq in later or first.seq > due + len(rest)):
        return _Finding("inserted", due, f"a line that says it is record {first.seq} stands before it")
    return _Finding("reordered", due, f"record {first.seq} stands in its place")


def _name_last(last: _Claim, due: int, head: lines.Head | None) -> _Finding:
    """Tell a write that a crash cut short from an acknowledged record that was damaged."""
    if head is not None and head.seq < due:
        return _Finding("torn", due, "a crash cut its write short; the next append repairs it")
    if not last.whole:
        return _Finding("truncated", due, "it is cut short after it was acknowledged")
    return _Finding("edited", due, "its bytes do not give its hash")
