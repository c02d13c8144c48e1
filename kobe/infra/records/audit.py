"""The hash-chained record of what was decided and done: appended, verified, never rewritten.

A record counts once `append` returns: its line is on the disk and HEAD names it. A crash before that leaves at most
one line without its HEAD, which is kept, or one torn line, which the next append moves to `torn-SEQ-N.txt` and
records as `audit_repair`. Anything else at the end of the chain is damage and stops every append.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path
from typing import Any, BinaryIO

from kobe.core.clock import Clock
from kobe.core.errors import IntegrityError
from kobe.infra import durable
from kobe.infra.records import audit_lines as lines
from kobe.infra.records.audit_lines import AuditRecord
from kobe.infra.records.audit_verify import AuditReport, verify, verify_part

__all__ = ["REPAIR_KIND", "AuditChain", "AuditRecord", "AuditReport", "read", "verify"]

REPAIR_KIND = "audit_repair"


class AuditChain:
    """The audit chain of one folder. Many processes may append to it; each append reads the tail only."""

    def __init__(self, folder: Path, clock: Clock, run_id: str) -> None:
        """Nothing is read or made until the first append.

        Args:
            folder: where `audit.jsonl` and `HEAD` live.
            clock: gives each record its instant.
            run_id: written into each record.
        """
        self._folder = folder
        self._clock = clock
        self._run = run_id

    def append(self, kind: str, payload: dict[str, Any]) -> str:
        """Append one record durably.

        Args:
            kind: what happened, such as `decision`.
            payload: JSON-ready facts.

        Returns:
            The record's hash, 64 hex digits.

        Raises:
            IntegrityError: the chain does not end as HEAD says; nothing was written.
            ConfigError: the folder cannot be written.
            ExternalError: the disk is full, or another process holds the chain.
            ValueError, TypeError: the payload cannot be said in JSON.
        """
        said = lines.encode(payload)  # before anything is touched: it may be impossible
        path = self._folder / lines.CHAIN
        try:
            durable.make_folder(self._folder)
            with lines.locked(self._folder):
                self._begin(path)
                with path.open("a+b", buffering=0) as file:
                    last = self._recover(file)
                    return self._write(file, last, kind, said).hash
        except OSError as error:
            raise durable.fault(error, path) from error

    def _begin(self, path: Path) -> None:
        """Give an empty chain its HEAD first: from then on a chain without HEAD is a damaged one."""
        if path.exists() and path.stat().st_size:
            return
        head = lines.read_head(self._folder)
        if head is None:
            lines.write_head(self._folder, lines.NO_RECORD)
        elif head.seq:
            raise _damaged(self._folder, f"{lines.HEAD} names record {head.seq}, the chain is empty")
        path.touch()
        durable.sync_folder(self._folder)

    def _recover(self, file: BinaryIO) -> lines.Head:
        """Make the chain end with a sound record that HEAD names, and return that record's place."""
        tail = lines.read_tail(file, file.seek(0, 2))
        before = lines.read_tail(file, tail.end - len(tail.line))
        if tail.line and not lines.is_sealed(tail.line):  # a torn write may have got as far as its line break
            tail = lines.Tail(before.line, before.end, tail.line + tail.torn)
            before = lines.read_tail(file, tail.end - len(tail.line))
        last = _checked(self._folder, tail, before.line)
        if tail.torn:
            _set_aside(self._folder, last.seq + 1, tail.torn)
            file.truncate(tail.end)
            durable.sync(file.fileno())
        return self._record_repair(file, last)

    def _record_repair(self, file: BinaryIO, last: lines.Head) -> lines.Head:
        """Record what was set aside in the place of the next record, even if a crash came in between."""
        paths = _torn_files(self._folder, last.seq + 1)
        if not paths:
            return last
        torn = [{"file": path.name, **_measured(path.read_bytes())} for path in paths]
        return self._write(file, last, REPAIR_KIND, lines.encode({"torn": torn}))

    def _write(self, file: BinaryIO, last: lines.Head, kind: str, said: bytes) -> lines.Head:
        body = lines.body(at=self._clock.now(), run=self._run, kind=kind, said=said)
        line, digest = lines.seal(last.seq + 1, last.hash, body)
        end = file.seek(0, 2)
        try:
            durable.write_all(file.fileno(), line)
            durable.sync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise
        head = lines.Head(last.seq + 1, digest)
        lines.write_head(self._folder, head)
        return head


def read(folder: Path, *, last: int | None = None) -> Iterator[AuditRecord]:
    """Read records, oldest first; a torn last line is left out.

    Args:
        folder: where the chain lives; a missing chain has no records.
        last: only so many from the end, found without reading the rest.

    Raises:
        IntegrityError: a line cannot be read.
        ConfigError: the folder cannot be read.
    """
    path = folder / lines.CHAIN
    try:
        with path.open("rb") as file:
            if last is not None:
                file.seek(lines.start_of_last(file, file.seek(0, 2), last))
            for line in file:
                if line.endswith(b"\n"):
                    yield lines.parse(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise durable.fault(error, path) from error


def _checked(folder: Path, tail: lines.Tail, before: bytes) -> lines.Head:
    """Compare the last two records with each other and with HEAD; bring HEAD up where a crash left it behind.

    Raises:
        IntegrityError: they contradict each other.
    """
    last, previous = lines.place(tail.line), lines.place(before)
    if last is None or previous is None:
        raise _damaged(folder, "the last records do not give their hashes")
    if tail.line and not lines.follows(tail.line, previous):
        raise _damaged(folder, f"its last record, {last.seq}, does not follow the one before it, {previous.seq}")
    head = lines.read_head(folder)
    if head == last:
        return last
    if head is None:
        raise _damaged(folder, f"{lines.HEAD} is missing or unreadable")
    if head.seq >= last.seq:
        raise _damaged(folder, f"{lines.HEAD} names record {head.seq}, the chain ends with {last.seq}")
    # One record is what a crash leaves. A power cut may leave more, as HEAD is renamed without waiting for the disk:
    # then only the whole chain can tell a late HEAD from a foreign one.
    if head != previous:
        report = verify_part(folder, head, tail.end)
        if report.problem not in {"ok", "clock_back"}:
            raise _damaged(folder, f"record {report.first_bad_seq} is {report.problem}: {report.detail}")
    lines.write_head(folder, last)
    return last


def _damaged(folder: Path, seen: str) -> IntegrityError:
    return IntegrityError(
        "the audit chain is damaged; nothing was appended",
        seen=f"{folder / lines.CHAIN}: {seen}",
        next_command=lines.VERIFY_COMMAND,
    )


def _torn_files(folder: Path, seq: int) -> list[Path]:
    """What was set aside from the place of record `seq`, in the order it was torn."""
    names = (folder / f"torn-{seq}-{number}.txt" for number in count(1))
    return list(takewhile(Path.exists, names))


def _set_aside(folder: Path, seq: int, torn: bytes) -> None:
    """Keep torn bytes in a file of their own; a crash between this and the cut repeats it without a second copy."""
    before = _torn_files(folder, seq)
    if not before or before[-1].read_bytes() != torn:
        durable.write_whole(folder / f"torn-{seq}-{len(before) + 1}.txt", torn)


def _measured(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
