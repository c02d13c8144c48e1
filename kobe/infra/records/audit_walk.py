"""The walk over every line of a chain, and the name of what is wrong where a line does not fit its place.

The walk compares bytes: each line must begin with its number and the hash before it and end with its own hash.
Only when a line fails is the rest of the chain looked at to name what happened.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import BinaryIO, Literal, NamedTuple

from kobe.infra.records import audit_lines as lines
from kobe.infra.records.audit_segments import Part
from kobe.infra.records.audit_tree import Tree

Problem = Literal[
    "ok", "edited", "inserted", "deleted", "reordered", "truncated", "torn", "clock_back", "missing_head",
    "segment_missing", "checkpoint", "checkpoint_altered", "checkpoints_missing", "signature", "key_missing",
    "rolled_back", "anchor", "anchor_altered", "anchor_missing", "anchor_behind", "told_head",
]  # fmt: skip
# Time servers step clocks by fractions of a second; a clock set back to hide a decision moves by more.
CLOCK_TOLERANCE = timedelta(seconds=1)
_BATCH_BYTES = 1 << 18


class Finding(NamedTuple):
    """What is wrong, from which record on, in words."""

    problem: Problem
    seq: int
    detail: str


class Claim(NamedTuple):
    """What a line says of itself: whether it is whole, whether its hash fits, its number and the hash before it."""

    whole: bool
    sealed: bool
    seq: int
    prev: bytes


@dataclass(slots=True)
class Walk:
    """How far the walk came; `bad` is the first line that does not fit, with all that follow it.

    Attributes:
        records: number of the last record that fits its place.
        last, before: its hash, and that of the record before it.
        hashes: of the records that were asked for, as far as they are there.
        trees: roots and peaks over all records up to those that were asked for.
        back: the first record whose instant is before that of an earlier one, since a person last took note of such.
        accepted: those of which a person took note, by a record behind them.
        file: name of the file that `bad` begins in.
    """

    records: int = 0
    before: bytes = b""
    last: bytes = lines.GENESIS.encode()
    latest: bytes = b""
    hashes: dict[int, str] = field(default_factory=dict)
    trees: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    back: Finding | None = None
    accepted: list[Finding] = field(default_factory=list)
    bad: list[Claim] = field(default_factory=list)
    file: str = ""


def walk(files: list[tuple[Part, int]], start: lines.Head, tree: Tree | None, wanted: set[int]) -> Walk:
    """Walk all files up to the first line that does not fit its place.

    Args:
        files: of the chain with the bytes that count, oldest first.
        start: the record before the first line.
        tree: over the records up to `start`; None: no roots are asked for.
        wanted: numbers of the records whose hashes, and roots where there is a tree, are asked for.
    """
    done = Walk(records=start.seq, last=start.hash.encode())
    if start.seq in wanted:
        done.hashes[start.seq] = start.hash
        if tree is not None:
            _mark(done, tree, start.seq)
    for part, size in files:
        with part.opened() as file:
            for batch in _batches(file, size):
                if done.bad:
                    done.bad += map(_claim, batch)
                elif _walk_batch(batch, done, tree, wanted):
                    done.file = part.path.name
    return done


def _batches(file: BinaryIO, size: int) -> Iterator[list[bytes]]:
    """Read the lines among the first `size` bytes, some thousands at a time."""
    while size > 0 and (batch := file.readlines(_BATCH_BYTES)):
        size -= sum(map(len, batch))
        while size < 0 and size + len(batch[-1]) <= 0:  # appended since
            size += len(batch.pop())
        yield batch


def _walk_batch(batch: list[bytes], done: Walk, tree: Tree | None, wanted: set[int]) -> bool:
    """Walk some lines, and say whether one does not fit; these two loops are what verification costs."""
    cut, at_length = -lines.SUFFIX_LENGTH, lines.AT_LENGTH
    digests = [sha256(line[:cut]).digest() for line in batch]
    first, last, latest, marked = done.records + 1, done.last, done.latest, 0
    for place, (line, raw) in enumerate(zip(batch, digests, strict=True)):
        prefix = b'{"seq":%d,"prev":"%s","at":"' % (first + place, last)
        digest = raw.hex().encode()
        if not (line.startswith(prefix) and line.endswith(b',"hash":"' + digest + b'"}\n')):
            done.bad = [_claim(other) for other in batch[place:]]
            del digests[place:]
            break
        done.before, last = last, digest
        at = line[len(prefix) : len(prefix) + at_length]
        if at >= latest:
            latest = at
        elif done.back is None:
            done.back = _clock_back(first + place, latest.decode(), at.decode())
        if done.back is not None and lines.is_of_kind(line, lines.CLOCK_ACCEPTED):
            done.accepted.append(done.back)
            done.back, latest = None, at
        if first + place in wanted:
            done.hashes[first + place] = digest.decode()
            if tree is not None:
                tree.extend(digests[marked : place + 1])
                marked = place + 1
                _mark(done, tree, first + place)
    if tree is not None:
        tree.extend(digests[marked:])
    done.records, done.last, done.latest = done.records + len(digests), last, latest
    return bool(done.bad)


def _mark(done: Walk, tree: Tree, seq: int) -> None:
    done.trees[seq] = tree.root().hex(), tuple(peak.hex() for peak in tree.peaks)


def _claim(line: bytes) -> Claim:
    told = lines.PLACE.match(line)
    return Claim(
        whole=line.endswith(b"\n"),
        sealed=told is not None and lines.is_sealed(line),
        seq=int(told[1]) if told else 0,
        prev=told[2] if told else b"",
    )


def _clock_back(seq: int, latest: str, at: str) -> Finding | None:
    try:
        step = datetime.fromisoformat(latest) - datetime.fromisoformat(at)
    except ValueError:
        return Finding("clock_back", seq, f"written at {at!r}, which is no instant")
    if step <= CLOCK_TOLERANCE:
        return None
    return Finding("clock_back", seq, f"written at {at}, after a record of {latest}")


def damage(done: Walk, head: lines.Head | None, *, empty: bool) -> Finding | None:
    """Name the first damage: in the lines, or between the lines and HEAD."""
    if done.bad:
        return _name(done, head)
    if head is None:
        detail = f"{lines.HEAD} is missing or unreadable: a cut tail would not be seen"
        return None if empty else Finding("missing_head", done.records, detail)
    if head.seq > done.records:
        return Finding("truncated", done.records + 1, f"{lines.HEAD} names record {head.seq}")
    if head.seq and done.hashes.get(head.seq) != head.hash:
        return Finding("edited", head.seq, f"{lines.HEAD} holds another hash for it")
    return None


def _name(done: Walk, head: lines.Head | None) -> Finding:
    """Say what happened where the first line does not fit its place."""
    first, rest, due = done.bad[0], done.bad[1:], done.records + 1
    resumes = bool(rest) and rest[0].sealed and (rest[0].seq, rest[0].prev) == (due, done.last)
    if not first.sealed:
        if resumes:
            return Finding("inserted", due, "a line that is no record stands before it")
        return Finding("edited", due, "its bytes do not give its hash") if rest else _name_last(first, due, head)
    if first.seq == due:
        return Finding("edited", max(done.records, 1), f"record {due} was chained to another hash")
    if first.seq < due:
        twin = first.seq == done.records and first.prev == done.before
        seq = done.records if twin else due
        return Finding("inserted", seq, f"two lines are record {first.seq}")
    later = {claim.seq for claim in rest}
    if due not in later:
        return Finding("deleted", due, f"record {first.seq} stands in its place")
    if resumes and (first.seq in later or first.seq > due + len(rest)):
        return Finding("inserted", due, f"a line that says it is record {first.seq} stands before it")
    return Finding("reordered", due, f"record {first.seq} stands in its place")


def _name_last(last: Claim, due: int, head: lines.Head | None) -> Finding:
    """Tell a write that a crash cut short from an acknowledged record that was damaged."""
    if head is not None and head.seq < due:
        return Finding("torn", due, "a crash cut its write short; the next append repairs it")
    if not last.whole:
        return Finding("truncated", due, "it is cut short after it was acknowledged")
    return Finding("edited", due, "its bytes do not give its hash")
