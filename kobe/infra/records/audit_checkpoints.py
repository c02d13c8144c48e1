"""Signed checkpoints of the audit chain, and its signed anchor in another folder: how they lie on the disk.

    checkpoints.jsonl   one signed line for each checkpoint: what the chain was, up to a record
    anchors/audit.json  the last acknowledged record and the last checkpoint, written over with each append

A checkpoint says number and hash of a record, the Merkle root over the hashes of all records up to it and that tree's
peaks (audit_tree), and the digest of the checkpoint before it. The signature is over canonical JSON of everything
else, with a first line that says what it is, so that no signature of one kind passes for another.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.records import audit_lines as lines
from kobe.infra.records.audit_tree import Tree

if TYPE_CHECKING:
    from kobe.core.ports import Signer

CHECKPOINTS = "checkpoints.jsonl"
ANCHOR_BYTES = 512
_CHECKPOINT = b"kobe audit checkpoint 1\n"
_ANCHOR = b"kobe audit anchor 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the chain was up to a record.

    Attributes:
        number: from 1, without gaps.
        seq, hash: the last record it covers.
        root: Merkle root over the hashes of the records 1 to `seq`.
        peaks: of that tree, largest first.
        at: when it was made, UTC.
        before: `digest` of the checkpoint before it; zeros for the first.
        signature: 128 hex digits.
    """

    number: int
    seq: int
    hash: str
    root: str
    peaks: tuple[str, ...]
    at: str
    before: str
    signature: str = ""

    @property
    def content(self) -> bytes:
        """What is signed."""
        return _CHECKPOINT + _unsigned(facts(self))

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed."""
        return sha256(self.content).hexdigest()

    @property
    def line(self) -> bytes:
        """Its line in the file."""
        return f"{canonical_json(facts(self))}\n".encode()

    @property
    def head(self) -> lines.Head:
        """The last record it covers."""
        return lines.Head(self.seq, self.hash)

    def tree(self) -> Tree:
        """Return the tree it was made from, to go on with."""
        return Tree(self.seq, [bytes.fromhex(peak) for peak in self.peaks])

    def signed(self, signer: "Signer") -> Self:
        """Return it with a signature."""
        return replace(self, signature=signer.sign(self.content))

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Take it from its JSON.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        made = cls(**{**told, "peaks": tuple(told["peaks"])})
        made.tree()
        if made.number < 1 or made.seq < 1:
            raise ValueError(made.number, made.seq)
        bytes.fromhex(made.signature)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where the chain stood when it was last appended to.

    Attributes:
        seq, hash: the last acknowledged record.
        checkpoints: how many there were.
        checkpoint: `digest` of the last of them; zeros when there was none.
        checkpoint_seq: the last record it covers.
        end: bytes of checkpoints.jsonl up to it.
        at: when this was written, UTC.
        signature: 128 hex digits.
    """

    seq: int
    hash: str
    checkpoints: int = 0
    checkpoint: str = lines.GENESIS
    checkpoint_seq: int = 0
    end: int = 0
    at: str = ""
    signature: str = ""

    @property
    def content(self) -> bytes:
        """What is signed."""
        return _ANCHOR + _unsigned(facts(self))

    @property
    def text(self) -> bytes:
        """What is written."""
        return canonical_json(facts(self)).encode()

    @property
    def head(self) -> lines.Head:
        """The last acknowledged record."""
        return lines.Head(self.seq, self.hash)

    def signed(self, signer: "Signer") -> Self:
        """Return it with a signature."""
        return replace(self, signature=signer.sign(self.content))

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Read an anchor; None when it is none."""
        try:
            made = cls(**json.loads(content))
            bytes.fromhex(made.signature)
            numbers = (made.seq, made.checkpoints, made.checkpoint_seq, made.end)
            sound = all(isinstance(number, int) and number >= 0 for number in numbers)
            return made if sound and made.text == content.rstrip() else None
        except (ValueError, TypeError):
            return None


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (Checkpoint, Anchor)}


def facts(paper: Checkpoint | Anchor) -> dict[str, Any]:
    """Return what it says by name, ready for JSON."""
    return {name: getattr(paper, name) for name in _NAMES[type(paper)]}


def default_anchor(folder: Path) -> Path:
    """Where the anchor of a chain is kept unless somebody says otherwise: beside the chain's folder, not in it."""
    return folder.parent / "anchors" / f"{folder.name}.json"


def parse(line: bytes) -> Checkpoint | None:
    """Read a checkpoint's line; None when it is none, to the byte."""
    try:
        made = Checkpoint.of(json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None
    return made if made.line == line else None


def whole(content: bytes) -> Iterator[bytes]:
    """Split the file's content into whole lines; a torn last one is left out."""
    return (line for line in content.splitlines(keepends=True) if line.endswith(b"\n"))


def read_bytes(path: Path) -> bytes | None:
    """Read a file, None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise durable.fault(error, path) from error


def _unsigned(told: dict[str, Any]) -> bytes:
    del told["signature"]
    return canonical_json(told).encode()
