"""A proof that one record is in the chain, which somebody without the chain can check.

It holds the record's line, the Merkle path from its hash to the root of a checkpoint, that checkpoint with its
signature, and the public key. It proves as much as the reader knows that the key is this home's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.infra import durable
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments
from kobe.infra.records import audit_tree as trees
from kobe.infra.records.audit_checkpoints import Checkpoint
from kobe.infra.records.audit_lines import AuditRecord
from kobe.infra.records.audit_tree import Tree
from kobe.infra.records.signing import signed_by

PROOF_SCHEMA = "kobe.audit_proof/1"
_CHECKPOINT_COMMAND = "kobe audit checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a proof proves: this record was in the chain when the checkpoint was made, says the owner of the key."""

    record: AuditRecord
    checkpoint: Checkpoint
    public_key: str


def prove(folder: Path, seq: int, public_key: str) -> dict[str, Any]:
    """Build the proof of one record from the newest checkpoint.

    Args:
        folder: where the chain lives.
        seq: of the record.
        public_key: of the key that signed the checkpoints, 64 hex digits.

    Returns:
        JSON-ready facts.

    Raises:
        MissingDataError: there is no such record here, or no checkpoint covers it.
        IntegrityError: the chain is not what the checkpoint says.
    """
    points = checkpoints_of(folder)
    if seq < 1:
        raise UsageError("records count from 1", seen=seq)
    if not points or points[-1].seq < seq:
        raise MissingDataError(f"no checkpoint covers record {seq}", next_command=_CHECKPOINT_COMMAND)
    point = points[-1]
    try:
        line, start, hashes = _covered(folder, seq, points)
    except OSError as error:
        raise durable.fault(error, folder) from error
    root_of = trees.root_of_part(start.size, start, hashes)
    path = trees.path(seq - 1, point.seq, root_of)
    made = {
        "schema": PROOF_SCHEMA, "seq": seq, "record": line.decode().rstrip("\n"), "path": [one.hex() for one in path],
        "checkpoint": signed.facts(point), "public_key": public_key,
    }  # fmt: skip
    try:
        check(json.loads(json.dumps(made)))
    except IntegrityError as error:
        raise IntegrityError(
            "the chain is not what its last checkpoint says", seen=error.seen, next_command=lines.VERIFY_COMMAND
        ) from error
    return made


def check(told: dict[str, Any], *, public_key: str | None = None) -> Checked:
    """Check a proof, without the chain.

    Args:
        told: what `prove` returned.
        public_key: the key it must be signed with, 64 hex digits; None: the one the proof brings.

    Raises:
        SchemaError: it is no proof.
        IntegrityError: it proves nothing.
    """
    try:
        line = f"{told['record']}\n".encode()
        point, key = Checkpoint.of(told["checkpoint"]), str(told["public_key"])
        seq, path = int(told["seq"]), [bytes.fromhex(one) for one in told["path"]]
        signature_fits = signed_by(key, point.content, point.signature)
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError("this is no proof", seen=repr(error), expected=PROOF_SCHEMA) from error
    if public_key is not None and key != public_key.strip().lower():
        raise _void("another key signed it", f"{key[:16]}..., expected {public_key[:16]}...")
    place = lines.place(line)
    if place is None or place.seq != seq:
        raise _void("the record's bytes do not give its hash", line[:80])
    top = trees.root_from(bytes.fromhex(place.hash), seq - 1, point.seq, path)
    if top is None or top.hex() != point.root:
        raise _void("the path does not lead from the record to the checkpoint's root", point.root)
    if not signature_fits:
        raise _void("the signature is not of this checkpoint and key", point.signature[:16])
    return Checked(record=lines.parse(line), checkpoint=point, public_key=key)


def checkpoints_of(folder: Path) -> list[Checkpoint]:
    """Read the checkpoints of a chain, up to the first line that is none."""
    found = []
    for line in signed.whole(signed.read_bytes(folder / signed.CHECKPOINTS) or b""):
        point = signed.parse(line)
        if point is None:
            break
        found.append(point)
    return found


def _covered(folder: Path, seq: int, points: list[Checkpoint]) -> tuple[bytes, Tree, list[bytes]]:
    """Return the record's line, the tree before the first file that is here, and the hashes from there on."""
    wanted, hashes = b"", []
    with segments.parts(folder) as files:
        before = lines.claimed(segments.first_line(files[0])) if files else None
        if before is None or seq <= before.seq:
            raise MissingDataError(f"record {seq} is not here", next_command="kobe audit show")
        start = next((point.tree() for point in points if point.head == before), Tree())
        for number, line in enumerate(segments.all_lines(files), start.size + 1):
            if number > points[-1].seq:
                break
            if number == seq:
                wanted = line
            hashes.append(lines.told_hash(line))  # what it is not, the root will not be either
    if not wanted:
        raise MissingDataError(f"record {seq} is not here", next_command="kobe audit show")
    return wanted, start, hashes


def _void(what: str, seen: object) -> IntegrityError:
    return IntegrityError(f"the proof is void: {what}", seen=seen)
