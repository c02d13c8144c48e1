"""Records copied out of the chain into one file, with a signed manifest that somebody without the chain can check."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_segments as segments
from kobe.infra.records.audit_proof import checkpoints_of
from kobe.infra.records.signing import signed_by

if TYPE_CHECKING:
    from kobe.core.ports import Signer

MANIFEST_SCHEMA = "kobe.audit_export/1"
_MANIFEST = b"kobe audit export 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Instants from `since` on and before `until`; None has no bound."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, line: bytes) -> bool:
        """Whether a record was written within."""
        at = lines.parse(line).at
        early = self.since is not None and at < lines.instant(self.since)
        return not early and (self.until is None or at < lines.instant(self.until))


def manifest_of(out: Path) -> Path:
    """Where the manifest of an exported file is."""
    return out.with_name(f"{out.name}.manifest.json")


def refuse_existing(out: Path) -> None:
    """Refuse to overwrite an export.

    Raises:
        UsageError: the file or its manifest is there.
    """
    for path in (out, manifest_of(out)):
        if path.exists():
            raise UsageError("an export does not overwrite", seen=path, expected="a name that is not in use")


def export(
    folder: Path, out: Path, span: Span, *, at: datetime, signer: "Signer | None" = None, public_key: str = ""
) -> dict[str, Any]:
    """Copy records, byte for byte, and write the manifest when they are on the disk.

    From the first record within the span to the last one, without gaps, so that every copied record chains to the
    one before it.

    Args:
        folder: where the chain lives.
        out: a file that does not exist yet.
        span: of the records' instants.
        at: now.
        signer: signs the manifest; None: it has no signature.
        public_key: of the signer.

    Returns:
        The manifest.

    Raises:
        UsageError: one of the two files is there already.
        MissingDataError: no record is within the span.
    """
    refuse_existing(out)
    try:
        bounds = _bounds(folder, span)
        if bounds is None:
            raise MissingDataError("no record is within these dates", next_command="kobe audit show")
        facts = _copy(folder, out, *bounds)
    except OSError as error:
        raise durable.fault(error, out) from error
    head, points = lines.read_head(folder) or lines.NO_RECORD, checkpoints_of(folder)
    told = {
        "schema": MANIFEST_SCHEMA, "file": out.name, **facts, "head": head._asdict(), "at": lines.instant(at),
        "checkpoint": signed.facts(points[-1]) if points else None, "public_key": public_key, "signature": "",
    }  # fmt: skip
    if signer is not None:
        told["signature"] = signer.sign(_content(told))
    durable.write_whole(manifest_of(out), (json.dumps(told, indent=2, sort_keys=True) + "\n").encode())
    return told


def check(told: dict[str, Any], file: Path, *, public_key: str | None = None) -> int:
    """Check an exported file against its manifest, and its records against each other.

    Returns:
        How many records it holds.

    Raises:
        SchemaError: the manifest is none.
        IntegrityError: the file is not what was exported.
        ConfigError: it cannot be read.
    """
    try:
        key, signature = str(told["public_key"]), str(told["signature"])
        if signature and not signed_by(key, _content(told), signature):
            raise _void("the signature is not of this manifest and key", signature[:16])
        at, count, digest = (
            lines.Head(int(told["first"]) - 1, str(told["before"])),
            int(told["records"]),
            told["sha256"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError("this is no manifest of an export", seen=repr(error), expected=MANIFEST_SCHEMA) from error
    if public_key is not None and (not signature or key != public_key.strip().lower()):
        raise _void("another key signed it, or none", key[:16])
    try:
        with file.open("rb") as copied:
            if hashlib.file_digest(copied, "sha256").hexdigest() != digest:
                raise _void("the file's SHA-256 is another", file)
            copied.seek(0)
            found = _follow(copied, at)
    except OSError as error:
        raise durable.fault(error, file) from error
    if found != count:
        raise _void("it holds another number of records", found)
    return found


def _follow(file: BinaryIO, at: lines.Head) -> int:
    found = 0
    for line in file:
        place = lines.place(line)
        if place is None or not lines.follows(line, at):
            raise _void(f"record {at.seq + 1} is not what was written", line[:80])
        at, found = place, found + 1
    return found


def _bounds(folder: Path, span: Span) -> tuple[int, int] | None:
    """Return the places of the first and the last line within a span, counted from 0."""
    if span == Span():
        return (0, -1) if lines.read_head(folder) not in {None, lines.NO_RECORD} else None
    first = last = None
    for place, line in enumerate(_lines(folder)):
        if span.holds(line):
            first, last = place if first is None else first, place
    return None if first is None or last is None else (first, last)


def _copy(folder: Path, out: Path, first: int, last: int) -> dict[str, Any]:
    """Copy lines; a file that could not be finished is removed."""
    digest, records, begin, end = hashlib.sha256(), 0, b"", b""
    durable.make_folder(out.parent)
    with out.open("xb") as file:
        try:
            for place, line in enumerate(_lines(folder)):
                if place < first:
                    continue
                if 0 <= last < place:
                    break
                begin, end, records = begin or line, line, records + 1
                digest.update(line)
                file.write(line)
            file.flush()
            durable.sync(file.fileno())
        except BaseException:
            out.unlink()
            raise
    before, until = lines.claimed(begin), lines.place(end)
    if before is None or until is None:
        raise IntegrityError("the chain cannot be read", seen=begin[:80], next_command=lines.VERIFY_COMMAND)
    return {
        "records": records, "first": before.seq + 1, "last": until.seq, "before": before.hash, "hash": until.hash,
        "sha256": digest.hexdigest(),
    }  # fmt: skip


def _lines(folder: Path) -> Iterator[bytes]:
    with segments.parts(folder) as files:
        yield from segments.all_lines(files)


def _content(told: dict[str, Any]) -> bytes:
    return _MANIFEST + canonical_json({**told, "signature": ""}).encode()


def _void(what: str, seen: object) -> IntegrityError:
    return IntegrityError(f"the export is not what was written: {what}", seen=seen)
