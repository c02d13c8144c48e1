"""What an append finds at the end of a chain: its last records, what a crash left of one, and whether HEAD agrees."""

from itertools import count, takewhile
from pathlib import Path

from kobe.infra import durable
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments


def ends(files: list[segments.Part]) -> tuple[lines.Tail, bytes]:
    """Find the last record of the chain, with what is torn after it, and the record before it."""
    tail, before = lines.NO_TAIL, b""
    if files and files[-1].handle is not None:
        with files[-1].opened() as file:
            tail = lines.read_tail(file, files[-1].size())
            before = lines.read_tail(file, tail.end - len(tail.line)).line
            if tail.line and not lines.is_sealed(tail.line):  # a torn write may have got as far as its line break
                tail = lines.Tail(before, tail.end - len(tail.line), tail.line + tail.torn)
                before = lines.read_tail(file, tail.end - len(tail.line)).line
    closed = [part for part in files if part.handle is None]
    if closed and not before:
        others = [b"", b"", *segments.tail_lines(closed, 2)]
        if tail.line:
            before = others[-1]
        else:
            tail, before = lines.Tail(others[-1], tail.end, tail.torn), others[-2]
    return tail, before


def checked(folder: Path, files: list[segments.Part], tail: lines.Tail, before: bytes) -> lines.Head:
    """Compare the last two records with each other and with HEAD; bring HEAD up where a crash left it behind.

    Raises:
        IntegrityError: they contradict each other.
    """
    last, previous = lines.place(tail.line), lines.place(before)
    if not before and segments.segment_of(tail.line) is not None:  # all files before this one are archived
        previous = lines.claimed(tail.line)
    if last is None or previous is None:
        raise lines.damaged(folder, "the last records do not give their hashes")
    if tail.line and not lines.follows(tail.line, previous):
        raise lines.damaged(folder, f"its last record, {last.seq}, does not follow the one before it, {previous.seq}")
    head = lines.read_head(folder)
    if head == last:
        return last
    if head is None:
        raise lines.damaged(folder, f"{lines.HEAD} is missing or unreadable")
    if head.seq >= last.seq:
        raise lines.damaged(folder, f"{lines.HEAD} names record {head.seq}, the chain ends with {last.seq}")
    # What was appended together is what a crash leaves. A power cut may leave more, as HEAD does not wait for the
    # disk: only the records in between can tell a late HEAD from a foreign one.
    if head != previous and segments.hashes_after(files, head, last, tail.end) is None:
        raise lines.damaged(folder, f"{lines.HEAD} names a record {head.seq} that the chain does not go on from")
    lines.write_head(folder, last)
    return last


def torn_files(folder: Path, seq: int) -> list[Path]:
    """What was set aside from the place of record `seq`, in the order it was torn."""
    names = (folder / f"torn-{seq}-{number}.txt" for number in count(1))
    return list(takewhile(Path.exists, names))


def set_aside(folder: Path, seq: int, torn: bytes) -> None:
    """Keep torn bytes in a file of their own; a crash between this and the cut repeats it without a second copy."""
    before = torn_files(folder, seq)
    if not before or before[-1].read_bytes() != torn:
        durable.write_whole(folder / f"torn-{seq}-{len(before) + 1}.txt", torn)
