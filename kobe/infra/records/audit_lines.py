"""How the audit chain lies on the disk: its lines, its HEAD and its tail.

    audit.jsonl          {"seq":1,"prev":"<64 zeros>","at":"...Z","run":"...","kind":"...","payload":{...},"hash":"..."}
    HEAD                 {"hash":"...","seq":1}     the last acknowledged record, written over after each append
    audit.lock           held while appending
    audit-000001.jsonl   a closed part of the chain (audit_segments)
    checkpoints.jsonl    signed checkpoints (audit_checkpoints)

The hash is the SHA-256 of the line's bytes before `,"hash":`. The fields stand in this order and `seq`, `prev` and
`at` have known places, so that a verifier compares bytes and parses nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kobe.core.clock import as_utc
from kobe.core.errors import ExternalError, IntegrityError
from kobe.core.ids import canonical_json
from kobe.infra import durable, file_lock

CHAIN = "audit.jsonl"
HEAD = "HEAD"
LOCK = "audit.lock"
HEAD_BYTES = 128
GENESIS = "0" * 64
AT_LENGTH = len("2026-01-02T03:04:05.000006Z")
SUFFIX_LENGTH = len(',"hash":"') + len(GENESIS) + len('"}\n')
CLOCK_ACCEPTED = "clock_accepted"
"""Kind of the record by which a person takes note that the clock was set back before it."""
VERIFY_COMMAND = "kobe audit verify"
PLACE = re.compile(rb'\{"seq":(\d+),"prev":"([0-9a-f]{64})"')
_BLOCK_BYTES = 1 << 16
_LINE_BYTES = 1 << 13  # most lines are shorter
# canonical_json with the encoder made once: a group of records is mostly this
_SAY = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode
_LOCK_TIMEOUT_S = 30.0


class Head(NamedTuple):
    """The last acknowledged record."""

    seq: int
    hash: str


NO_RECORD = Head(0, GENESIS)


class Tail(NamedTuple):
    """The end of a chain: its last whole line, the offset after that line, and torn bytes that follow."""

    line: bytes
    end: int
    torn: bytes


NO_TAIL = Tail(b"", 0, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of the chain, parsed."""

    seq: int
    prev: str
    at: str
    run: str
    kind: str
    payload: dict[str, Any]
    hash: str


def encode(payload: dict[str, Any]) -> bytes:
    """Say a payload in canonical JSON.

    Raises:
        ValueError, TypeError: it cannot be said.
    """
    return _SAY(payload).encode()


def instant(at: datetime) -> str:
    """Say an instant as records do, UTC to the microsecond."""
    return as_utc(at).isoformat(timespec="microseconds").replace("+00:00", "Z")


def bodies(at: datetime, run: str, said: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Build the parts of lines that do not depend on their place in the chain, from (kind, encoded payload)."""
    start = f'"at":"{instant(at)}","run":{canonical_json(run)},"kind":'
    kinds: dict[str, bytes] = {}
    for kind, payload in said:
        if kind not in kinds:
            kinds[kind] = f'{start}{canonical_json(kind)},"payload":'.encode()
        yield kinds[kind] + payload


def seal(seq: int, prev: str, content: bytes) -> tuple[bytes, str]:
    """Put a body at its place in the chain: the whole line and its hash."""
    text = b'{"seq":%d,"prev":"%s",%s' % (seq, prev.encode(), content)
    digest = hashlib.sha256(text).hexdigest()
    return b'%s,"hash":"%s"}\n' % (text, digest.encode()), digest


def is_sealed(line: bytes) -> bool:
    """Whether a line ends with the hash of its own bytes; says nothing about its place."""
    digest = hashlib.sha256(line[:-SUFFIX_LENGTH]).hexdigest()
    return line[-SUFFIX_LENGTH:] == b',"hash":"%s"}\n' % digest.encode()


def place(line: bytes) -> Head | None:
    """Number and hash of a line; an empty one stands for the beginning of the chain, None for no sound line."""
    told = PLACE.match(line)
    if told and is_sealed(line):
        return Head(int(told[1]), line[-SUFFIX_LENGTH:-3].decode().removeprefix(',"hash":"'))
    return None if line else NO_RECORD


def is_of_kind(line: bytes, kind: str) -> bool:
    """Whether a line is a record of a kind: what is before the first `"kind":` are numbers, hashes and a run's name."""
    at = line.find(b',"kind":')
    return at >= 0 and line.startswith(b',"kind":"%s",' % kind.encode(), at)


def claimed(line: bytes) -> Head | None:
    """Return the record that a line says it follows; None when it says nothing."""
    told = PLACE.match(line)
    return Head(int(told[1]) - 1, told[2].decode()) if told else None


def follows(line: bytes, previous: Head) -> bool:
    """Whether a line says that it comes right after a record."""
    return line.startswith(b'{"seq":%d,"prev":"%s",' % (previous.seq + 1, previous.hash.encode()))


def chained(line: bytes, seq: int, last: bytes) -> bytes | None:
    """Return the hash of a line, 32 bytes, when it is record `seq` and follows the hash `last`; else None."""
    raw = hashlib.sha256(line[:-SUFFIX_LENGTH]).digest()
    placed = line.startswith(b'{"seq":%d,"prev":"%s",' % (seq, last))
    return raw if placed and line.endswith(b',"hash":"' + raw.hex().encode() + b'"}\n') else None


def told_hash(line: bytes) -> bytes:
    """Return the hash that a line ends with, unchecked, 32 bytes; zeros for none."""
    try:
        return bytes.fromhex(line[-len(GENESIS) - 3 : -3].decode()).rjust(32, b"\0")
    except ValueError:
        return bytes(32)


def parse(line: bytes) -> AuditRecord:
    """Read one line.

    Raises:
        IntegrityError: it is not a line of an audit chain.
    """
    try:
        return AuditRecord(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            "a line of the audit chain cannot be read", seen=repr(line[:80]), next_command=VERIFY_COMMAND
        ) from error


def read_head(folder: Path) -> Head | None:
    """Read which record was acknowledged last; None when HEAD is missing or is not a HEAD."""
    path = folder / HEAD
    try:
        with path.open("rb", buffering=0) as file:
            content, before = file.read(), b""
            while content != before:  # it is written over in place: two equal readings are no mixture
                file.seek(0)
                content, before = file.read(), content
        told = json.loads(content)
        return Head(int(told["seq"]), str(told["hash"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise durable.fault(error, path) from error
    except (ValueError, TypeError, KeyError):
        return None


def write_head(folder: Path, head: Head) -> None:
    """Write HEAD over. A power cut may bring an earlier one back; the chain may be ahead of HEAD, never behind."""
    content = canonical_json({"seq": head.seq, "hash": head.hash}).encode()
    write_over(folder / HEAD, content.ljust(HEAD_BYTES - 1) + b"\n", wait=False)


def write_over(path: Path, content: bytes, *, wait: bool) -> None:
    """Write a small file over in place with content of the same size.

    A file of another size, or none, is made anew by rename and is then on the disk.

    Args:
        path: the file.
        content: at most 512 bytes, which one sector holds: the disk takes the old content or the new.
        wait: until it is on the disk.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        durable.write_whole(path, content)
        return
    try:
        same = os.fstat(descriptor).st_size == len(content)
        if same:
            durable.write_all(descriptor, content)
            if wait:
                durable.sync(descriptor, size_stays=True)
    finally:
        os.close(descriptor)
    if not same:
        durable.write_whole(path, content)


def read_tail(file: BinaryIO, size: int) -> Tail:
    """Find the last whole line among the first `size` bytes, reading from the end backwards."""
    reach = _LINE_BYTES
    while True:
        start = max(0, size - reach)
        file.seek(start)
        block = file.read(size - start)
        end = block.rfind(b"\n") + 1
        begin = block.rfind(b"\n", 0, max(end - 1, 0)) + 1
        if begin or not start:
            return Tail(block[begin:end], start + end, block[end:])
        reach *= 4


def start_of_last(file: BinaryIO, size: int, count: int) -> tuple[int, int]:
    """Find the last `count` whole lines among the first `size` bytes: where they begin, and how many there are."""
    offset = read_tail(file, size).end
    if not count or not offset:
        return offset, 0
    breaks = -1  # the break that ends the last line begins no line of ours
    while offset:
        start = max(0, offset - _BLOCK_BYTES)
        file.seek(start)
        at = offset - start
        block = file.read(at)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            breaks += 1
            if breaks == count:
                return start + at + 1, count
        offset = start
    return 0, breaks + 1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process and thread from appending.

    Raises:
        ExternalError: another process kept the lock for longer than an append can take.
        OSError: the lock file cannot be opened.
    """
    try:
        with file_lock.held(folder / LOCK, _LOCK_TIMEOUT_S):
            yield
    except file_lock.Busy as error:
        raise _held(folder / LOCK) from error


def _held(path: Path) -> ExternalError:
    return ExternalError(
        "another kobe process holds the audit chain",
        seen=f"{path} held for {_LOCK_TIMEOUT_S:.0f} s",
        next_command="kobe status",
        retryable=True,
    )


def damaged(folder: Path, seen: str) -> IntegrityError:
    """Say that nothing was appended because of what was seen."""
    return IntegrityError(
        "the audit chain is damaged; nothing was appended", seen=f"{folder / CHAIN}: {seen}",
        next_command=VERIFY_COMMAND,
    )  # fmt: skip
