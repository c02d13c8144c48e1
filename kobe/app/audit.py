"""`kobe audit`: the record of every decision and order, verified, shown, proved, exported and rotated."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from kobe.app.context import Context, Paths
from kobe.core.clock import NEW_YORK, Clock
from kobe.core.errors import ExitCode, IntegrityError, SchemaError, UsageError
from kobe.core.ids import canonical_json
from kobe.infra import durable
from kobe.infra.clock import SystemClock
from kobe.infra.records import audit, audit_export, audit_lines, audit_proof
from kobe.infra.records.audit import AuditChain, AuditRecord
from kobe.infra.records.audit_verify import AuditReport, parse_head, verify
from kobe.infra.records.signing import FileSigner
from kobe.reports.document import Document, Section, Table

SHOWN_CHARACTERS = 100
TAIL_RECORDS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest:
    """Which records to show; `last` counts those that fit the rest."""

    last: int = 20
    kind: str | None = None
    since: date | None = None
    contains: str | None = None


def audit_signer(paths: Paths) -> FileSigner:
    """Return the key that signs checkpoints and anchor; made at the first signature."""
    return FileSigner(paths.state / "keys", name="audit")


def audit_chain(paths: Paths, clock: Clock, run_id: str, *, anchor: Path | None = None) -> AuditChain:
    """Return the audit chain of a home, signed; `anchor` puts the anchor's file elsewhere."""
    return AuditChain(paths.audit, clock, run_id, signer=audit_signer(paths), anchor=anchor)


def audit_report(ctx: Context, *, head: str | None = None) -> AuditReport:
    """Verify the audit chain of a home with its key and anchor; `head` is one that a person kept, `SEQ:HASH`."""
    told = None if head is None else parse_head(head)
    anchor = ctx.audit.anchor_file if isinstance(ctx.audit, AuditChain) else None
    return verify(ctx.paths.audit, signer=audit_signer(ctx.paths), anchor=anchor, told=told)


def end_fault(ctx: Context) -> str:
    """Say what is wrong with the end of the chain: it must hang together and reach its head; empty when it does."""
    head = audit_lines.read_head(ctx.paths.audit)
    try:
        tail = list(audit.read(ctx.paths.audit, last=TAIL_RECORDS))
    except IntegrityError as error:
        return error.message
    if any(after.prev != before.hash or after.seq != before.seq + 1 for before, after in pairwise(tail)):
        return "the last records do not follow each other"
    if head is None:
        return "there are records and no head" if tail else ""
    if not tail or tail[-1].seq < head.seq:
        return f"it ends before record {head.seq}, which was acknowledged"
    return "" if all(r.hash == head.hash for r in tail if r.seq == head.seq) else "the head is another record's"


def run_audit_verify(ctx: Context, *, head: str | None = None) -> Document:
    """Walk the chain from its first record to its anchored head."""
    report = audit_report(ctx, head=head)
    if report.ok:
        summary = f"{report.records:,} records, every hash follows; head {report.head_hash[:16]}"
        signed = f"{report.checkpoints:,} checkpoints, the last of record {report.checkpoint_seq:,}"
        lines: tuple[str, ...] = (summary, signed) if report.checkpoints else (summary,)
        if head is not None:
            lines += (f"the head you were told, {head}, is in it",)
    else:
        lines = (f"DAMAGED: {report.problem} at record {report.first_bad_seq}: {report.detail}",)
        if report.problem == "clock_back":
            lines += ('the order of the records is proved all the same; next: kobe audit accept-clock --reason "..."',)
    return Document(
        schema="kobe.audit_verify/1",
        title=f"Audit chain at {ctx.paths.audit}",
        summary=lines,
        banners=report.notes,
        data=asdict(report),
        exit_code=ExitCode.OK if report.ok else ExitCode.INTEGRITY,
    )


def run_audit_accept_clock(ctx: Context, reason: str) -> Document:
    """Record that a person knows why the clock was set back; later verifications note it and find no damage in it.

    Raises:
        UsageError: no reason was given.
        IntegrityError: something else is wrong with the chain.
    """
    if not reason.strip():
        raise UsageError("a clock that was set back needs a reason", expected="--reason WHY")
    report = audit_report(ctx)
    if report.problem not in {"ok", "clock_back"}:
        raise IntegrityError(
            "the chain is damaged by more than a clock", seen=f"{report.problem} at record {report.first_bad_seq}",
            expected="whole records", next_command="kobe audit verify",
        )  # fmt: skip
    summary = "the clock was never set back since the last word about it: nothing to record"
    if not report.ok:
        ctx.audit.append(audit_lines.CLOCK_ACCEPTED, {"seq": report.first_bad_seq, "reason": reason})
        summary = f"recorded for record {report.first_bad_seq}: {report.detail}"
    return Document(
        schema="kobe.audit_accept_clock/1", title=f"Audit chain at {ctx.paths.audit}", summary=(summary,),
        data={"accepted": not report.ok, "seq": report.first_bad_seq, "reason": reason},
    )  # fmt: skip


def run_audit_show(ctx: Context, request: ShowRequest) -> Document:
    """Show the newest records that fit a request."""
    found = list(_matching(ctx.paths.audit, request))
    rows = tuple((r.seq, r.at[:19].replace("T", " "), r.kind, r.run, _short(r.payload)) for r in found)
    table = Table(columns=("record", "at (UTC)", "kind", "run", "what"), rows=rows)
    return Document(
        schema="kobe.audit_show/1",
        title=f"Audit chain at {ctx.paths.audit}",
        summary=(f"{len(found)} records; head {audit.head_text(ctx.paths.audit)}",),
        sections=(Section(title="", table=table),) if rows else (),
        data={"head": audit.head_text(ctx.paths.audit), "records": [asdict(record) for record in found]},
    )


def run_audit_checkpoint(ctx: Context, *, renew: str | None = None) -> Document:
    """Make a signed checkpoint now; with `renew`, begin a new anchor for the reason given."""
    chain = _chain(ctx)
    made = chain.checkpoint() if renew is None else chain.renew(renew)
    summary = "the chain is empty: nothing to sign yet"
    if made is not None:
        summary = f"checkpoint {made.number} covers records 1 to {made.seq:,}; head {audit.head_text(ctx.paths.audit)}"
    return Document(
        schema="kobe.audit_checkpoint/1",
        title=f"Audit chain at {ctx.paths.audit}",
        summary=(summary,),
        data={"checkpoint": asdict(made) if made else None, "head": audit.head_text(ctx.paths.audit)},
    )


def run_audit_rotate(ctx: Context) -> Document:
    """Close the file that is appended to, sealed by a checkpoint, and begin the next."""
    closed = _chain(ctx).rotate()
    summary = "nothing to close: no record since the file began"
    if closed is not None:
        summary = f"{closed.name} is closed; it may be archived once it is exported or copied"
    return Document(
        schema="kobe.audit_rotate/1",
        title=f"Audit chain at {ctx.paths.audit}",
        summary=(summary,),
        data={"closed": str(closed) if closed else None, "head": audit.head_text(ctx.paths.audit)},
    )


def run_audit_prove(ctx: Context, seq: int, out: Path | None = None) -> Document:
    """Prove that a record is in the chain; the proof is the document's data, and the file's content."""
    signer = audit_signer(ctx.paths)
    public_key = signer.public_key() if signer.public.is_file() else ""  # without one there is no checkpoint either
    proof = audit_proof.prove(ctx.paths.audit, seq, public_key)
    if out is not None:
        _write_new(out, (json.dumps(proof, indent=2) + "\n").encode())
    lines = [
        f"record {seq} is one of the {proof['checkpoint']['seq']:,} under checkpoint {proof['checkpoint']['number']}"
    ]
    lines.append(f"signed by key {proof['public_key']}")
    lines.append(f"written to {out}; kobe audit check {out}" if out else "give --out FILE to hand it to somebody")
    facts = {key: value for key, value in proof.items() if key != "schema"}
    return Document(
        schema=audit_proof.PROOF_SCHEMA, title=f"Proof of record {seq}", summary=tuple(lines), data=facts
    )  # fmt: skip


def run_audit_export(ctx: Context, out: Path, *, since: date | None = None, until: date | None = None) -> Document:
    """Copy the records of some New York dates, both included, with a signed manifest and a checkpoint over them."""
    span = audit_export.Span(since=_begin_of(since), until=_begin_of(until + timedelta(days=1)) if until else None)
    signer = audit_signer(ctx.paths)
    audit_export.refuse_existing(out)
    _chain(ctx).checkpoint()
    public_key = signer.public_key() if signer.public.is_file() else ""  # an empty chain has no key yet
    made = audit_export.export(ctx.paths.audit, out, span, at=SystemClock().now(), signer=signer, public_key=public_key)
    text = f"{made['records']:,} records, {made['first']} to {made['last']}, in {out}"
    return Document(
        schema=audit_export.MANIFEST_SCHEMA,
        title=f"Export of the audit chain at {ctx.paths.audit}",
        summary=(text, f"manifest in {audit_export.manifest_of(out)}"),
        data={key: value for key, value in made.items() if key != "schema"},
    )


def run_audit_check(file: Path, *, key: str | None = None) -> Document:
    """Check a proof, or the manifest of an export and its file, without any home or chain.

    Args:
        file: what `prove` or `export` wrote.
        key: the public key it must be signed with, or a file that holds it.
    """
    wanted = Path(key).read_text("ascii") if key is not None and Path(key).is_file() else key
    told = _read_json(file)
    if told.get("schema") == audit_export.MANIFEST_SCHEMA:
        name = Path(str(told.get("file", ""))).name
        count = audit_export.check(told, file.parent / name, public_key=wanted)
        summary, signed_with = f"{count:,} records are what was exported", str(told["public_key"])
        facts: dict[str, Any] = {"records": count, "first": told["first"], "last": told["last"]}
        signed = bool(told["signature"])
    else:
        proved = audit_proof.check(told, public_key=wanted)
        record, point = proved.record, proved.checkpoint
        summary = f"record {record.seq} ({record.kind}, {record.at}) is under checkpoint {point.number} of {point.at}"
        facts, signed_with, signed = {"record": asdict(record), "checkpoint": asdict(point)}, proved.public_key, True
    trust = "it is the key you gave" if key else "it proves as much as you know this key to be the right one"
    return Document(
        schema="kobe.audit_check/1",
        title=f"Check of {file}",
        summary=(summary, f"signed by key {signed_with}: {trust}" if signed else "it has no signature"),
        data={"ok": True, **facts, "public_key": signed_with, "key_given": key is not None},
    )


def _chain(ctx: Context) -> AuditChain:
    """Return the chain the context appends to, or a signed one of the same folder where that has no key."""
    mine = ctx.audit
    if isinstance(mine, AuditChain) and mine.is_signed:
        return mine
    return audit_chain(ctx.paths, SystemClock(), ctx.run_id)


def _matching(folder: Path, request: ShowRequest) -> Iterator[AuditRecord]:
    if request.kind is None and request.since is None and request.contains is None:
        return audit.read(folder, last=request.last)
    since = _begin_of(request.since)
    text = "" if since is None else audit_lines.instant(since)
    needle = (request.contains or "").lower()

    def fits(record: AuditRecord) -> bool:
        if request.kind is not None and record.kind != request.kind:
            return False
        return record.at >= text and needle in canonical_json(record.payload).lower()

    return iter(deque(filter(fits, audit.read(folder)), maxlen=request.last))


def _begin_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), NEW_YORK)


def _short(payload: dict[str, Any]) -> str:
    text = canonical_json(payload)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _write_new(path: Path, content: bytes) -> None:
    if path.exists():
        raise UsageError("a proof does not overwrite", seen=path, expected="a name that is not in use")
    durable.write_whole(path, content)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_bytes())
    except OSError as error:
        raise durable.fault(error, file) from error
    except ValueError as error:
        raise SchemaError("this is no proof and no manifest", seen=file) from error
    if not isinstance(told, dict):
        raise SchemaError("this is no proof and no manifest", seen=file)
    return told
