"""Whether an audit chain is what was written, and if not, which record is wrong and how.

Three things are compared: the lines with each other and with HEAD (audit_walk), the lines with the signed checkpoints
and with the signed anchor (audit_evidence), and where a person kept a head, the lines with that. Someone who rewrites
every line after a change and HEAD as well is found by the second, without the home's key; with the key, by the third.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kobe.core.errors import UsageError
from kobe.infra import durable
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments
from kobe.infra.records.audit_evidence import Evidence
from kobe.infra.records.audit_segments import Part
from kobe.infra.records.audit_tree import Tree
from kobe.infra.records.audit_walk import Finding, Problem, Walk, damage, walk

if TYPE_CHECKING:
    from kobe.core.ports import Signer

_HEAD_TEXT = re.compile(r"(\d+):([0-9a-f]{16,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a verification found.

    Attributes:
        records: number of the last record that verified.
        head_hash: its hash.
        ok: nothing is damaged.
        problem: the first damage, one word.
        first_bad_seq: the number the first wrong record should have.
        detail: the damage in words.
        verified_from: the first record that was looked at; more than 1 when older files are archived.
        files: of the chain that are here.
        checkpoints: that are there; all of them are sound when `ok`.
        checkpoint_seq: the last record they cover.
        anchored_seq: the record that the anchor names, None without an anchor.
        notes: what is no damage but should be known.
    """

    records: int
    head_hash: str
    ok: bool
    problem: Problem
    first_bad_seq: int | None = None
    detail: str = ""
    verified_from: int = 1
    files: int = 0
    checkpoints: int = 0
    checkpoint_seq: int = 0
    anchored_seq: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """Everything as it was at one instant between two appends."""

    head: lines.Head | None
    files: list[tuple[Part, int]]
    evidence: Evidence


def verify(
    folder: Path, *, signer: "Signer | None" = None, anchor: Path | None = None, told: lines.Head | None = None
) -> AuditReport:
    """Verify every record of the chain in a folder, and its checkpoints and anchor.

    Appends may go on meanwhile: what was there when the verification began is verified.

    Args:
        folder: where the chain lives.
        signer: checks signatures; None: they are compared with the chain, but not checked.
        anchor: the anchor's file; None: where it is by default.
        told: a head that somebody kept, its hash whole or its first digits (`parse_head`).

    Returns:
        The report; a missing or empty chain is sound and has no records.

    Raises:
        ConfigError: the folder cannot be read.
    """
    try:
        with _snapshot(folder, signer, anchor or signed.default_anchor(folder)) as seen:
            return _report(seen, told)
    except OSError as error:
        raise durable.fault(error, folder) from error


def parse_head(text: str) -> lines.Head:
    """Read a head as a person kept it, `SEQ:HASH` with 16 to 64 digits.

    Raises:
        UsageError: it is none.
    """
    found = _HEAD_TEXT.fullmatch(text.strip())
    if found is None:
        raise UsageError("this is no head of an audit chain", seen=text, expected="such as 812:0f3a5b7c9d1e2f40")
    return lines.Head(int(found[1]), found[2])


@contextmanager
def _snapshot(folder: Path, signer: "Signer | None", anchor: Path) -> Iterator[_Snapshot]:
    with ExitStack() as held:
        with _quiet(folder):
            files = held.enter_context(segments.parts(folder))
            head = lines.read_head(folder)
            sizes = [(part, part.size()) for part in files]
            contents = signed.read_bytes(folder / signed.CHECKPOINTS), signed.read_bytes(anchor)
        yield _Snapshot(head=head, files=sizes, evidence=Evidence(*contents, signer))


def _quiet(folder: Path) -> AbstractContextManager[None]:
    """Hold the appenders' lock for an instant, where there is one; a copy on read-only media has no appenders."""
    try:
        with (folder / lines.LOCK).open("r+b"):
            return lines.locked(folder)
    except OSError:
        return nullcontext()


def _report(seen: _Snapshot, told: lines.Head | None) -> AuditReport:
    start, tree, notes = _start(seen)
    wanted = {head.seq for head in (seen.head, told) if head is not None} | seen.evidence.wanted
    done = walk(seen.files, start, tree, wanted)
    empty = not any(size for _, size in seen.files)
    finding = (
        _border(damage(done, seen.head, empty=empty), seen.files)
        or seen.evidence.finding(done)
        or _told(done, told, start)
        or done.back
    )
    return AuditReport(
        records=done.records,
        head_hash=done.last.decode(),
        ok=finding is None,
        problem=finding.problem if finding else "ok",
        first_bad_seq=finding.seq if finding else None,
        detail=finding.detail + (f" (in {done.file})" if done.bad else "") if finding else "",
        verified_from=start.seq + 1,
        files=len(seen.files),
        checkpoints=len(seen.evidence.checkpoints),
        checkpoint_seq=max((point.seq for point in seen.evidence.checkpoints), default=0),
        anchored_seq=seen.evidence.anchor.seq if seen.evidence.anchor else None,
        notes=(*notes, *_accepted(done), *seen.evidence.notes(done)) if done.records else (),
    )


def _accepted(done: Walk) -> Iterator[str]:
    for step in done.accepted:
        yield f"the clock was set back at record {step.seq} ({step.detail}); a person took note of it"


def _start(seen: _Snapshot) -> tuple[lines.Head, Tree | None, tuple[str, ...]]:
    """Where the walk begins: at the first record, or at the checkpoint that closed what is archived."""
    tree = Tree() if seen.evidence.checkpoints else None
    first = segments.first_line(seen.files[0][0]) if seen.files else b""
    before = lines.claimed(first)
    number = segments.segment_of(first)
    if before is None or not before.seq or number is None or number < 2:
        return lines.NO_RECORD, tree, ()
    for point in seen.evidence.checkpoints:
        if point.head == before and seen.evidence.may_stand(point):
            note = (
                f"verified from record {point.seq + 1} on: the files before {segments.path_of(Path(), number)} are not "
                f"here; checkpoint {point.number} stands for records 1 to {point.seq}"
            )
            return before, point.tree(), (note,)
    return lines.NO_RECORD, tree, ()


def _border(finding: Finding | None, files: list[tuple[Part, int]]) -> Finding | None:
    """Say that a file is missing where one number is."""
    if finding is None or finding.problem not in {"deleted", "truncated"}:
        return finding
    numbers = [part.number or segments.segment_of(segments.first_line(part)) or 0 for part, _ in files]
    due = 1
    for (part, _), number in zip(files, numbers, strict=True):
        begins = lines.claimed(segments.first_line(part))
        if number > due and begins is not None and begins.seq >= finding.seq:
            names = ", ".join(segments.path_of(Path(), missing).name for missing in range(due, number)[:3])
            return Finding("segment_missing", finding.seq, f"{names} is not here; {finding.detail}")
        due = max(due, number) + 1
    return finding


def _told(done: Walk, told: lines.Head | None, start: lines.Head) -> Finding | None:
    if told is None or not told.seq:
        return None
    if told.seq > done.records:
        return Finding("rolled_back", done.records + 1, f"you were told of record {told.seq}")
    if told.seq < start.seq:
        return Finding("told_head", told.seq, "it is in a file that is archived")
    seen = done.hashes[told.seq]
    if seen.startswith(told.hash):
        return None
    return Finding("told_head", told.seq, f"you were told {told.hash[:16]}, the chain has {seen[:16]}")
