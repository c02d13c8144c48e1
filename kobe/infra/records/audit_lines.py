"""How the audit chain lies on the disk: its lines, its HEAD and its tail.

    audit.jsonl   {"seq":1,"prev":"<64 zeros>","at":"...Z","run":"...","kind":"...","payload":{...},"hash":"..."}
    HEAD          {"hash":"...","seq":1}     the last acknowledged record, replaced by rename after each append
    audit.lock    held while appending

The hash is the SHA-256 of the line's bytes before `,"hash":`. The fields stand in this order and `seq`, `prev` and
`at` have known places, so that a verifier compares bytes and parses nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kobe.core.clock import as_utc
from kobe.core.errors import ExternalError, IntegrityError
from kobe.core.ids import canonical_json
from kobe.infra import durable

CHAIN = "audit.jsonl"
HEAD = "HEAD"
LOCK = "audit.lock"
GENESIS = "0" * 64
AT_LENGTH = len("2026-01-02T03:04:05.000006Z")
SUFFIX_LENGTH = len(',"hash":"') + len(GENESIS) + len('"}\n')
VERIFY_COMMAND = "kobe audit verify"
PLACE = re.compile(rb'\{"seq":(\d+),"prev":"([0-9a-f]{64})"')
_BLOCK_BYTES = 1 << 16
_LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.002


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
    return canonical_json(payload).encode()


def body(*, at: datetime, run: str, kind: str, said: bytes) -> bytes:
    """Build the part of a line that does not depend on its place in the chain."""
    instant = as_utc(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
    names = f'"at":"{instant}","run":{canonical_json(run)},"kind":{canonical_json(kind)}'
    return b'%s,"payload":%s' % (names.encode(), said)


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


def follows(line: bytes, previous: Head) -> bool:
    """Whether a line says that it comes right after a record."""
    return line.startswith(b'{"seq":%d,"prev":"%s",' % (previous.seq + 1, previous.hash.encode()))


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
    try:
        told = json.loads((folder / HEAD).read_bytes())
        return Head(int(told["seq"]), str(told["hash"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise durable.fault(error, folder / HEAD) from error
    except (ValueError, TypeError, KeyError):
        return None


def write_head(folder: Path, head: Head) -> None:
    """Replace HEAD. A power cut may bring the one before it back; the chain may be ahead of HEAD, never behind."""
    content = canonical_json({"seq": head.seq, "hash": head.hash})
    durable.write_whole(folder / HEAD, f"{content}\n".encode(), sync_name=False)


def read_tail(file: BinaryIO, size: int) -> Tail:
    """Find the last whole line among the first `size` bytes, reading from the end backwards."""
    reach = _BLOCK_BYTES
    while True:
        start = max(0, size - reach)
        file.seek(start)
        block = file.read(size - start)
        end = block.rfind(b"\n") + 1
        begin = block.rfind(b"\n", 0, max(end - 1, 0)) + 1
        if begin or not start:
            return Tail(block[begin:end], start + end, block[end:])
        reach *= 4


def start_of_last(file: BinaryIO, size: int, count: int) -> int:
    """Offset at which the last `count` whole lines among the first `size` bytes begin."""
    offset = read_tail(file, size).end
    breaks = count + 1  # the first line wanted begins after one more line break than there are lines
    while offset:
        start = max(0, offset - _BLOCK_BYTES)
        file.seek(start)
        at = offset - start
        block = file.read(at)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            breaks -= 1
            if not breaks:
                return start + at + 1
        offset = start
    return 0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process from appending.

    Raises:
        ExternalError: another process kept the lock for longer than an append can take.
        OSError: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=_LOCK_TIMEOUT_S, poll_interval=_LOCK_POLL_S, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ExternalError(
            "another kobe process holds the audit chain",
            seen=f"{folder / LOCK} held for {_LOCK_TIMEOUT_S:.0f} s",
            next_command="kobe status",
            retryable=True,
        ) from error
    try:
        yield
    finally:
        lock.release()
