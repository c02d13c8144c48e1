"""What stands beside the chain while it is appended to: its checkpoints and its anchor, signed with the home's key.

Both are looked at before anything is appended: a chain that was cut back, HEAD included, is behind its anchor and
takes no record. An append is acknowledged when the anchor that names it is on the disk.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import IntegrityError
from kobe.infra import durable
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments
from kobe.infra.records.audit_checkpoints import Anchor, Checkpoint
from kobe.infra.records.audit_tree import Tree

if TYPE_CHECKING:
    from kobe.core.ports import Signer

NO_ANCHOR = Anchor(seq=0, hash=lines.GENESIS)


class Witness:
    """Checkpoints and anchor of one chain. Every method wants the chain's lock held."""

    def __init__(self, folder: Path, clock: Clock, signer: "Signer", anchor: Path, every: int) -> None:
        """Nothing is read or made until a method is called.

        Args:
            folder: of the chain.
            clock: gives the instants.
            signer: of this home.
            anchor: the anchor's file.
            every: records from one checkpoint to the next.
        """
        self._folder, self._clock, self._signer = folder, clock, signer
        self._file, self._anchor_file, self._every = folder / signed.CHECKPOINTS, anchor, every
        self._anchor = NO_ANCHOR
        self._content: bytes | None = None  # the anchor's file as this process wrote or checked it last

    def check(self, last: lines.Head, end: int) -> None:
        """Compare the chain with its anchor before anything is appended.

        Args:
            last: the chain's last record.
            end: bytes of the open file up to it.

        Raises:
            IntegrityError: the chain is not what was anchored, or anchor or checkpoints are gone.
        """
        content = signed.read_bytes(self._anchor_file)
        if content is None:
            if self._file.exists():
                raise self._refused("the anchor is gone, though there are checkpoints")
            self._anchor, self._content = NO_ANCHOR, None
            return
        if content != self._content:
            self._anchor = self._checked(content)
            self._content = content
        told = self._anchor
        if told.seq > last.seq:
            raise self._refused(f"it names record {told.seq}, the chain ends with {last.seq}")
        if told.head != last and not self._leads(told.head, last, end):
            raise self._refused(f"the chain has another record {told.seq}")
        try:
            size = self._file.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < told.end:
            raise self._refused(f"{self._file.name} is shorter than it was")
        if size > told.end:
            self._catch_up(last)

    def due(self, last: lines.Head) -> bool:
        """Whether a checkpoint is wanted; the first one as soon as there is a record."""
        told = self._anchor
        return last.seq > 0 and (not told.checkpoints or last.seq - told.checkpoint_seq >= self._every)

    def anchor(self, last: lines.Head) -> None:
        """Name the last record in the anchor, durably."""
        self._write(replace(self._anchor, seq=last.seq, hash=last.hash))

    def checkpoint(self, last: lines.Head) -> Checkpoint:
        """Make a checkpoint of the whole chain and anchor it; one that is there already is not made again.

        Raises:
            IntegrityError: the last checkpoint is none of this chain, or the first records are not here.
        """
        before, end = self._last()
        if self._content is None:  # a checkpoint without an anchor would look as if somebody had taken that away
            self.anchor(last)
        made = before
        if before is None or before.seq != last.seq:
            made = self._made(before, last)
            with self._file.open("r+b" if self._file.exists() else "x+b", buffering=0) as file:
                file.truncate(end)
                file.seek(end)
                durable.write_all(file.fileno(), made.line)
                durable.sync(file.fileno())
            durable.sync_folder(self._folder)
            end += len(made.line)
        assert made is not None
        self._write(_with_checkpoint(replace(self._anchor, seq=last.seq, hash=last.hash), made, end))
        return made

    def unsound(self, last: lines.Head) -> list[Path]:
        """Return which of the two files cannot be gone on with: the anchor always, the checkpoints when they lie.

        Raises:
            IntegrityError: checkpoints must begin anew, and the chain's first records are not here.
        """
        found = [self._anchor_file] if self._anchor_file.exists() else []
        with suppress(IntegrityError):
            self._anchor = NO_ANCHOR
            before, _ = self._last()
            if before is not None and self._leads(before.head, last, None):
                return found
        if not self._leads(lines.NO_RECORD, last, None):
            raise self._refused("its first records are not here; put archived files back first")
        return [self._file, *found] if self._file.exists() else found

    def forget(self) -> None:
        """Begin anew: what was there has been set aside."""
        self._anchor, self._content = NO_ANCHOR, None

    def _catch_up(self, last: lines.Head) -> None:
        """Anchor a checkpoint that a crash left without its anchor, so that there is never more than one of them."""
        point, end = self._last()
        if point is None or point.number == self._anchor.checkpoints:
            return
        if point.seq > last.seq:
            raise self._refused(f"checkpoint {point.number} names record {point.seq}, the chain ends with {last.seq}")
        self._write(_with_checkpoint(self._anchor, point, end))

    def _made(self, before: Checkpoint | None, last: lines.Head) -> Checkpoint:
        tree = before.tree() if before else Tree()
        start = before.head if before else lines.NO_RECORD
        with segments.parts(self._folder) as files:
            hashes = segments.hashes_after(files, start, last)
        if hashes is None:
            raise self._refused(f"the records after {start.seq} do not lead from its last checkpoint to its end")
        tree.extend(hashes)
        made = Checkpoint(
            number=before.number + 1 if before else 1, seq=last.seq, hash=last.hash, root=tree.root().hex(),
            peaks=tuple(peak.hex() for peak in tree.peaks), at=lines.instant(self._clock.now()),
            before=before.digest if before else lines.GENESIS,
        )  # fmt: skip
        return made.signed(self._signer)

    def _last(self) -> tuple[Checkpoint | None, int]:
        """Return the last checkpoint and the offset after it; what a crash left of another is not one."""
        if not self._file.exists():
            return None, 0
        with self._file.open("rb") as file:
            tail = lines.read_tail(file, file.seek(0, 2))
        if not tail.line:
            return None, 0
        found, told = signed.parse(tail.line), self._anchor
        if found is None or not self._signer.verify(found.content, found.signature):
            raise self._refused("the last checkpoint is none, or another key signed it")
        if found.number < told.checkpoints or (found.number == told.checkpoints and found.digest != told.checkpoint):
            raise self._refused(f"the last checkpoint is not number {told.checkpoints}, which was anchored")
        return found, tail.end

    def _checked(self, content: bytes) -> Anchor:
        told = Anchor.parse(content)
        if told is None or not self._signer.verify(told.content, told.signature):
            raise self._refused("it is none, or another key signed it")
        return told

    def _leads(self, start: lines.Head, last: lines.Head, end: int | None) -> bool:
        with segments.parts(self._folder) as files:
            return segments.hashes_after(files, start, last, end) is not None

    def _write(self, told: Anchor) -> None:
        told = replace(told, at=lines.instant(self._clock.now())).signed(self._signer)
        self._content = told.text.ljust(signed.ANCHOR_BYTES - 1) + b"\n"
        lines.write_over(self._anchor_file, self._content, wait=True)
        self._anchor = told

    def _refused(self, seen: str) -> IntegrityError:
        return lines.damaged(self._folder, f"{self._anchor_file}: {seen}")


def _with_checkpoint(anchor: Anchor, point: Checkpoint, end: int) -> Anchor:
    return replace(
        anchor, checkpoints=point.number, checkpoint=point.digest, checkpoint_seq=point.seq, end=end
    )  # fmt: skip


def aside(path: Path) -> Path:
    """Return the first free name for a file that is set aside."""
    number = 1
    while (found := path.with_name(f"{path.stem}-aside-{number}{path.suffix}")).exists():
        number += 1
    return found


def facts(paths: list[Path]) -> list[dict[str, Any]]:
    """Return what files that are set aside hold, by digest."""
    return [segments.measured(path) for path in paths]
