"""The hash-chained record of what was decided and done: appended, verified, never rewritten.

A record counts once `append` returns: its line is on the disk, HEAD names it, and with a signer the signed anchor
names it too. A crash before that leaves whole lines without their HEAD, which are kept, and at most one torn line,
which the next append moves to `torn-SEQ-N.txt` and records as `audit_repair`. Anything else at the end of the chain is
damage and stops every append; so does a chain that is behind its anchor.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError
from kobe.infra import durable
from kobe.infra.records import audit_lines as lines
from kobe.infra.records import audit_recovery as recovery
from kobe.infra.records import audit_segments as segments
from kobe.infra.records import audit_witness as witnesses
from kobe.infra.records.audit_checkpoints import Checkpoint, default_anchor
from kobe.infra.records.audit_lines import AuditRecord
from kobe.infra.records.audit_segments import SEGMENT_KIND
from kobe.infra.records.audit_verify import AuditReport, verify

if TYPE_CHECKING:
    from kobe.core.ports import Signer

__all__ = [
    "EVERY", "RENEWAL_KIND", "REPAIR_KIND", "SEGMENT_BYTES", "SEGMENT_KIND", "AuditChain", "AuditRecord", "AuditReport",
    "Checkpoint", "default_anchor", "head_text", "read", "verify",
]  # fmt: skip

REPAIR_KIND = "audit_repair"
RENEWAL_KIND = "audit_renewed"
EVERY = 1000
SEGMENT_BYTES = 64 << 20
SHOWN_DIGITS = 16

_Said = Sequence[tuple[str, bytes]]


class AuditChain:
    """The audit chain of one folder. Many processes may append to it; each append reads the tail only."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        run_id: str,
        *,
        signer: "Signer | None" = None,
        anchor: Path | None = None,
        every: int = EVERY,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Nothing is read or made until the first append.

        Args:
            folder: where `audit.jsonl` and `HEAD` live.
            clock: gives each record its instant.
            run_id: written into each record.
            signer: signs checkpoints and anchor; without one there are none.
            anchor: the anchor's file, best on another disk; None: `anchors/NAME.json` beside the folder NAME.
            every: records from one checkpoint to the next.
            segment_bytes: a file that has grown beyond this is closed before the next append.
        """
        self._folder = folder
        self._path = folder / lines.CHAIN
        self._clock = clock
        self._run = run_id
        self._segment_bytes = segment_bytes
        self.anchor_file = anchor or default_anchor(folder)
        self.is_signed = signer is not None
        self._witness = witnesses.Witness(folder, clock, signer, self.anchor_file, every) if signer else None

    def append(self, kind: str, payload: dict[str, Any]) -> str:
        """Append one record durably.

        Args:
            kind: what happened, such as `decision`.
            payload: JSON-ready facts.

        Returns:
            The record's hash, 64 hex digits.

        Raises:
            IntegrityError: the chain does not end as HEAD and anchor say; nothing was written.
            ConfigError: the folder cannot be written.
            ExternalError: the disk is full, or another process holds the chain.
            ValueError, TypeError: the payload cannot be said in JSON.
        """
        return self.append_many([(kind, payload)])[0]

    def append_many(self, records: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Append records with one write and one wait for the disk; they are acknowledged together.

        A crash before that leaves all of them or the first so many, never a gap.

        Args:
            records: (kind, payload) in their order; none is no append.

        Returns:
            Their hashes, 64 hex digits each.

        Raises:
            IntegrityError, ConfigError, ExternalError, ValueError, TypeError: as `append`.
        """
        said = [(kind, lines.encode(payload)) for kind, payload in records]  # it may be impossible: before all else
        if not said:
            return []
        with self._held():
            last = self._settle()
            if last.seq and self._path.stat().st_size >= self._segment_bytes:
                last = self._rotate(last)
            elif self._witness and self._witness.due(last):
                self._witness.checkpoint(last)
            return [head.hash for head in self._write(last, said)]

    def checkpoint(self) -> Checkpoint | None:
        """Make a signed checkpoint now; None for an empty chain.

        Raises:
            ConfigError: there is no signer.
            IntegrityError, ExternalError: as `append`.
        """
        witness = self._needed()
        with self._held():
            last = self._settle()
            return witness.checkpoint(last) if last.seq else None

    def anchor(self) -> lines.Head:
        """Bring the anchor up to the chain's end now, and return that; every append does so by itself.

        Raises:
            ConfigError: there is no signer.
            IntegrityError, ExternalError: as `append`.
        """
        witness = self._needed()
        with self._held():
            last = self._settle()
            witness.anchor(last)
            return last

    def rotate(self) -> Path | None:
        """Close the file that is appended to and begin the next; None when it holds nothing yet.

        Raises:
            IntegrityError, ConfigError, ExternalError: as `append`.
        """
        with self._held():
            last = self._settle()
            with segments.parts(self._folder) as files:
                first = segments.first_line(files[-1])
            if not last.seq or (lines.place(first) == last and segments.segment_of(first) is not None):
                return None
            self._rotate(last)
            return segments.sealed(self._folder)[-1].path

    def renew(self, reason: str) -> Checkpoint | None:
        """Begin a new anchor where the old one is lost or the chain is behind it, on somebody's word.

        The reason is recorded in the chain with the digests of what is set aside: the anchor, and the checkpoints if
        they are not of this chain. A chain that does not fit its HEAD is not renewed.

        Raises:
            ConfigError: there is no signer.
            IntegrityError, ExternalError: as `append`.
        """
        witness = self._needed()
        with self._held():
            last = self._settle(trusting=True)
            unsound = witness.unsound(last)
            said = lines.encode({"reason": reason, "set_aside": witnesses.facts(unsound)})
            last = self._put(last, [(RENEWAL_KIND, said)])[-1]
            for path in unsound:
                path.rename(witnesses.aside(path))
                durable.sync_folder(path.parent)
            witness.forget()
            return witness.checkpoint(last)

    def _needed(self) -> witnesses.Witness:
        if self._witness is None:
            raise ConfigError("the audit chain has no key to sign with", seen=self._folder, expected="a signer")
        return self._witness

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the chain's lock, and say what the system refuses as one of our errors."""
        try:
            durable.make_folder(self._folder)
            with lines.locked(self._folder):
                yield
        except OSError as error:
            path = error.filename if isinstance(error.filename, str) else self._path
            raise durable.fault(error, Path(path)) from error

    def _settle(self, *, trusting: bool = False) -> lines.Head:
        """Make the chain end with a sound record that HEAD names, and return that record's place.

        Args:
            trusting: do not ask the anchor, and leave it as it is.
        """
        with segments.parts(self._folder) as files:
            tail, before = recovery.ends(files)
            if tail == lines.NO_TAIL:
                self._begin()
            last = recovery.checked(self._folder, files, tail, before)
            if self._witness and not trusting:
                self._witness.check(last, tail.end)
            cut_short = bool(files) and files[-1].handle is None  # a crash closed the file and began no other
        if tail.torn:
            self._cut(last, tail)
        if cut_short:
            last = self._open_segment(last)
        torn = recovery.torn_files(self._folder, last.seq + 1)
        if not torn:
            return last
        said = [(REPAIR_KIND, lines.encode({"torn": [segments.measured(path) for path in torn]}))]
        return (self._put if trusting else self._write)(last, said)[-1]

    def _begin(self) -> None:
        """Give an empty chain its HEAD first: from then on a chain without HEAD is a damaged one."""
        head = lines.read_head(self._folder)
        if head is None:
            lines.write_head(self._folder, lines.NO_RECORD)
        elif head.seq:
            raise lines.damaged(self._folder, f"{lines.HEAD} names record {head.seq}, the chain is empty")
        self._path.touch()
        durable.sync_folder(self._folder)

    def _cut(self, last: lines.Head, tail: lines.Tail) -> None:
        """Set a torn line aside before it is cut off."""
        recovery.set_aside(self._folder, last.seq + 1, tail.torn)
        with self._path.open("r+b", buffering=0) as file:
            file.truncate(tail.end)
            durable.sync(file.fileno())

    def _rotate(self, last: lines.Head) -> lines.Head:
        """Close the file with a checkpoint and begin the next one; a crash in between is finished by `_settle`."""
        if self._witness:
            self._witness.checkpoint(last)
        with segments.parts(self._folder) as files:
            closed = segments.path_of(self._folder, segments.number_of(files))
        if closed.exists():
            raise lines.damaged(self._folder, f"{closed.name} is there already")
        self._path.rename(closed)
        durable.sync_folder(self._folder)
        return self._open_segment(last)

    def _open_segment(self, last: lines.Head) -> lines.Head:
        """Begin the next file with a record that names the one before; it appears whole."""
        before = segments.sealed(self._folder)[-1]
        payload = {"number": (before.number or 0) + 1, "before": segments.measured(before.path)}
        content, heads = self._lines(last, [(SEGMENT_KIND, lines.encode(payload))])
        durable.write_whole(self._path, content)
        lines.write_head(self._folder, heads[-1])
        if self._witness:
            self._witness.anchor(heads[-1])
        return heads[-1]

    def _write(self, last: lines.Head, said: _Said) -> list[lines.Head]:
        heads = self._put(last, said)
        if self._witness:
            self._witness.anchor(heads[-1])
        return heads

    def _put(self, last: lines.Head, said: _Said) -> list[lines.Head]:
        """Put records at the end of the chain, durably; HEAD follows, the anchor does not."""
        content, heads = self._lines(last, said)
        with self._path.open("ab", buffering=0) as file:
            end = file.seek(0, 2)
            try:
                durable.write_all(file.fileno(), content)
                durable.sync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(end)
                raise
        lines.write_head(self._folder, heads[-1])
        return heads

    def _lines(self, last: lines.Head, said: _Said) -> tuple[bytes, list[lines.Head]]:
        content, heads = [], []
        digest = last.hash
        for seq, body in enumerate(lines.bodies(self._clock.now(), self._run, said), last.seq + 1):
            line, digest = lines.seal(seq, digest, body)
            content.append(line)
            heads.append(lines.Head(seq, digest))
        return b"".join(content), heads


def read(folder: Path, *, last: int | None = None, kind: str = "") -> Iterator[AuditRecord]:
    """Read records, oldest first; a torn last line is left out.

    Args:
        folder: where the chain lives; a missing chain has no records.
        last: only so many from the end, found without reading the rest.
        kind: only those of a kind among them; the others are not looked into.

    Raises:
        IntegrityError: a line cannot be read.
        ConfigError: the folder cannot be read.
    """
    try:
        with segments.parts(folder) as files:
            wanted = segments.all_lines(files) if last is None else segments.tail_lines(files, last)
            yield from (lines.parse(line) for line in wanted if not kind or lines.is_of_kind(line, kind))
    except OSError as error:
        raise durable.fault(error, folder) from error


def head_text(folder: Path) -> str:
    """Return the head of the chain in short, `SEQ:HASH` with 16 digits, for a person to keep elsewhere; empty: 0:0.

    `kobe audit verify --head` compares the chain with it.
    """
    head = lines.read_head(folder) or lines.NO_RECORD
    return f"{head.seq}:{head.hash[:SHOWN_DIGITS]}"
