"""What the signed checkpoints and the signed anchor say of a chain that was walked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kobe.core.errors import IntegrityError
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as lines
from kobe.infra.records.audit_checkpoints import Anchor, Checkpoint
from kobe.infra.records.audit_walk import Finding, Walk

if TYPE_CHECKING:
    from kobe.core.ports import Signer


@dataclass
class Evidence:
    """Checkpoints and anchor as they were at one instant.

    Attributes:
        checkpoints_text: content of checkpoints.jsonl, None when there is no such file.
        anchor_text: content of the anchor's file, None when there is none.
        signer: checks signatures; None: they are not checked.
        checkpoints: the checkpoints up to the first line that is none.
        anchor: the anchor, when it can be read.
    """

    checkpoints_text: bytes | None
    anchor_text: bytes | None
    signer: "Signer | None"
    checkpoints: list[Checkpoint] = field(default_factory=list)
    anchor: Anchor | None = None
    _unread: int | None = None  # number of the first line that is no checkpoint, or not the next one

    def __post_init__(self) -> None:
        """Read both."""
        before = lines.GENESIS
        for number, line in enumerate(signed.whole(self.checkpoints_text or b""), 1):
            point = signed.parse(line)
            late = self.checkpoints[-1].seq if self.checkpoints else 0
            if point is None or point.number != number or point.before != before or point.seq <= late:
                self._unread = number
                break
            self.checkpoints.append(point)
            before = point.digest
        if self.anchor_text is not None:
            self.anchor = Anchor.parse(self.anchor_text)

    @property
    def wanted(self) -> set[int]:
        """Numbers of the records that are spoken of."""
        return {point.seq for point in self.checkpoints} | ({self.anchor.seq} if self.anchor else set())

    def is_signed(self, paper: Checkpoint | Anchor) -> bool:
        """Whether this home's key signed it; true when nobody can tell."""
        return self.signer is None or self.signer.verify(paper.content, paper.signature)

    def may_stand(self, point: Checkpoint) -> bool:
        """Whether a checkpoint may stand for what it covers; a missing key is a finding of its own."""
        try:
            return self.is_signed(point)
        except IntegrityError:
            return True

    def finding(self, done: Walk) -> Finding | None:
        """Name the first thing that speaks against the chain, or against the evidence itself."""
        try:
            return self._anchor_itself(done) or self._each_checkpoint(done) or self._anchored(done)
        except IntegrityError as error:
            return Finding("key_missing", max(done.records, 1), f"no signature can be checked: {error.seen}")

    def notes(self, done: Walk) -> tuple[str, ...]:
        """Say what is no damage but should be known."""
        found = []
        if not self.checkpoints:
            found.append("there is no checkpoint: a chain rewritten whole would not be found")
        if self.anchor is None:
            found.append("there is no anchor: a chain cut back together with HEAD would not be found")
        elif self.anchor.seq < done.records:
            behind = f"the anchor names record {self.anchor.seq}, {done.records - self.anchor.seq} before the last"
            found.append(f"{behind}: a crash, a process that has no key, or an older anchor put back")
        if (self.checkpoints or self.anchor) and self.signer is None:
            found.append("signatures were not checked: no key was given")
        if (self.checkpoints_text or b"").rpartition(b"\n")[2]:
            found.append("a crash cut the last checkpoint short; the next one replaces it")
        return tuple(found)

    def _anchor_itself(self, done: Walk) -> Finding | None:
        last = max(done.records, 1)
        if self.anchor_text is None:
            if self.checkpoints_text is None:
                return None
            return Finding("anchor_missing", last, "there are checkpoints and no anchor: a cut tail would not be seen")
        if self.anchor is None:
            return Finding("anchor_altered", last, "the anchor cannot be read")
        if not self.is_signed(self.anchor):
            return Finding("anchor_altered", last, "the anchor was changed, or another key signed it")
        if self.anchor.checkpoints and self.checkpoints_text is None:
            return Finding(
                "checkpoints_missing", 1, f"{signed.CHECKPOINTS} is gone, {self.anchor.checkpoints} were made"
            )
        return None

    def _each_checkpoint(self, done: Walk) -> Finding | None:
        covered = 0
        for point in self.checkpoints:
            name = f"checkpoint {point.number}"
            if not self.is_signed(point):
                return Finding("signature", covered + 1, f"{name} was changed, or another key signed it")
            if point.seq > done.records:
                return Finding("rolled_back", done.records + 1, f"{name} names record {point.seq}")
            if point.seq in done.hashes:  # else it is about records that are archived
                if done.hashes[point.seq] != point.hash:
                    return Finding("checkpoint", covered + 1, f"{name} holds another hash for record {point.seq}")
                if done.trees[point.seq] != (point.root, point.peaks):
                    return Finding(
                        "checkpoint", covered + 1, f"{name} holds another root over records 1 to {point.seq}"
                    )
            covered = point.seq
        if self._unread is not None:
            return Finding("checkpoint_altered", covered + 1, f"line {self._unread} is not checkpoint {self._unread}")
        return None

    def _anchored(self, done: Walk) -> Finding | None:
        told, here = self.anchor, len(self.checkpoints)
        if told is None:
            return None
        if told.checkpoints > here:
            return Finding(
                "checkpoints_missing", done.records, f"{told.checkpoints} checkpoints were made, {here} are here"
            )
        if told.checkpoints and self.checkpoints[told.checkpoints - 1].digest != told.checkpoint:
            return Finding("checkpoint_altered", done.records, f"checkpoint {told.checkpoints} is not the anchored one")
        if told.seq > done.records:
            return Finding("rolled_back", done.records + 1, f"the anchor names record {told.seq}")
        if done.hashes.get(told.seq, told.hash) != told.hash:
            return Finding("anchor", told.seq, "the anchor holds another hash for it")
        if told.checkpoints < here - 1:
            detail = f"the anchor knows {told.checkpoints} of {here} checkpoints: an older one was put back"
            return Finding("anchor_behind", told.seq + 1, detail)
        return None
