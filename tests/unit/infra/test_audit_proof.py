"""Proofs and exports: somebody without the chain finds out whether a record was in it, and every change to them."""

import copy
import json
from datetime import timedelta
from pathlib import Path

import pytest

from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.infra.records import audit_export, audit_proof
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.audit_export import Span
from kobe.infra.records.signing import FileSigner

RECORDS = 37


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    return FileSigner(tmp_path / "keys", name="audit")


@pytest.fixture
def chain(tmp_path: Path, clock, signer) -> AuditChain:
    """37 records of as many hours, a border after record 12, and a checkpoint over all."""
    made = AuditChain(tmp_path / "audit", clock, "run", signer=signer)
    for number in range(1, RECORDS):
        clock.advance(seconds=3600)
        made.append("decision", {"step": number, "text": "ü"})
        if number == 12:
            made.rotate()
    made.checkpoint()
    return made


@pytest.fixture
def folder(chain, tmp_path) -> Path:
    return tmp_path / "audit"


def proof_of(folder: Path, seq: int, signer: FileSigner) -> dict:
    return json.loads(json.dumps(audit_proof.prove(folder, seq, signer.public_key())))


def test_every_record_is_proved_to_somebody_without_the_chain(folder, signer):
    for seq in range(1, RECORDS + 1):
        checked = audit_proof.check(proof_of(folder, seq, signer), public_key=signer.public_key())
        assert (checked.record.seq, checked.checkpoint.seq) == (seq, RECORDS)


def test_a_proof_is_possible_while_older_files_are_archived(folder, signer):
    (folder / "audit-000001.jsonl").unlink()
    for seq in range(13, RECORDS + 1):
        assert audit_proof.check(proof_of(folder, seq, signer)).record.seq == seq
    with pytest.raises(MissingDataError, match="not here"):
        audit_proof.prove(folder, 12, signer.public_key())


def test_a_record_without_a_checkpoint_says_what_to_do(chain, folder, signer, tmp_path):
    chain.append("decision", {})
    with pytest.raises(MissingDataError, match="kobe audit checkpoint"):
        audit_proof.prove(folder, RECORDS + 1, signer.public_key())
    with pytest.raises(MissingDataError, match="kobe audit checkpoint"):
        audit_proof.prove(tmp_path / "none", 1, "")
    with pytest.raises(UsageError):
        audit_proof.prove(folder, 0, signer.public_key())


def change(proof: dict, *place: str | int, to: object) -> dict:
    made = copy.deepcopy(proof)
    inner = made
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = to
    return made


def test_every_change_to_a_proof_makes_it_void(folder, signer, tmp_path):
    good, other = proof_of(folder, 7, signer), proof_of(folder, 8, signer)
    foreign = FileSigner(tmp_path / "foreign")
    foreign.sign(b"")
    point = good["checkpoint"]
    for bad in (
        change(good, "record", to=good["record"].replace('"step":7', '"step":8')),
        change(good, "record", to=other["record"]),
        change(good, "seq", to=8),
        change(good, "path", to=other["path"]),
        change(good, "path", to=good["path"][1:]),
        change(good, "path", 0, to="00" * 32),
        change(good, "checkpoint", "root", to="00" * 32),
        change(good, "checkpoint", "at", to="2020-01-01T00:00:00.000000Z"),
        change(good, "checkpoint", "signature", to=other["checkpoint"]["signature"][::-1]),
        change(good, "checkpoint", "number", to=point["number"] + 1),
        change(good, "public_key", to=foreign.public_key()),
    ):
        with pytest.raises(IntegrityError, match="void"):
            audit_proof.check(bad)
    with pytest.raises(IntegrityError, match="another key"):
        audit_proof.check(good, public_key=foreign.public_key())


@pytest.mark.parametrize("told", [{}, {"record": 1}, {"record": "x", "seq": 1, "path": [], "checkpoint": {}}])
def test_what_is_no_proof_is_said_to_be_none(told):
    with pytest.raises(SchemaError, match="no proof"):
        audit_proof.check(told)


def test_a_chain_that_is_not_what_its_checkpoint_says_proves_nothing(folder, signer):
    path = folder / layout.CHAIN
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0][:-5] + b"00" + lines[0][-3:], *lines[1:]]))
    with pytest.raises(IntegrityError, match="kobe audit verify"):
        audit_proof.prove(folder, 20, signer.public_key())


def test_an_export_holds_the_bytes_of_the_chain_and_its_manifest_proves_them(folder, signer, clock, tmp_path):
    out = tmp_path / "out" / "all.jsonl"
    told = audit_export.export(folder, out, Span(), at=clock.now(), signer=signer, public_key=signer.public_key())
    whole = (folder / "audit-000001.jsonl").read_bytes() + (folder / layout.CHAIN).read_bytes()
    assert out.read_bytes() == whole
    assert json.loads(audit_export.manifest_of(out).read_bytes()) == json.loads(json.dumps(told))
    assert (told["records"], told["first"], told["last"], told["head"]["seq"]) == (RECORDS, 1, RECORDS, RECORDS)
    assert told["checkpoint"]["seq"] == RECORDS
    assert audit_export.check(told, out, public_key=signer.public_key()) == RECORDS


def test_an_export_of_some_hours_holds_the_records_in_between_without_gaps(folder, signer, clock, tmp_path):
    out = tmp_path / "some.jsonl"
    begin = clock.now() - timedelta(hours=10)
    told = audit_export.export(folder, out, Span(since=begin, until=begin + timedelta(hours=3)), at=clock.now())
    assert (told["records"], told["signature"]) == (3, "")
    assert audit_export.check(told, out) == 3
    with pytest.raises(IntegrityError, match="another key signed it, or none"):
        audit_export.check(told, out, public_key="00" * 32)


def test_an_export_does_not_overwrite_and_one_of_nothing_leaves_nothing(folder, clock, tmp_path):
    out = tmp_path / "out.jsonl"
    with pytest.raises(MissingDataError, match="no record"):
        audit_export.export(folder, out, Span(since=clock.now() + timedelta(days=1)), at=clock.now())
    with pytest.raises(MissingDataError, match="no record"):
        audit_export.export(tmp_path / "none", out, Span(), at=clock.now())
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(UsageError, match="overwrite"):
        audit_export.export(folder, out, Span(), at=clock.now())
    assert out.read_text() == "mine"


def test_every_change_to_an_export_is_found(folder, signer, clock, tmp_path):
    out = tmp_path / "out.jsonl"
    told = audit_export.export(folder, out, Span(), at=clock.now(), signer=signer, public_key=signer.public_key())
    content = out.read_bytes()
    for bad in (content[:-1], content.replace(b'"step":7', b'"step":8'), content + content[-300:]):
        out.write_bytes(bad)
        with pytest.raises(IntegrityError, match="SHA-256"):
            audit_export.check(told, out)
    out.write_bytes(content)
    for name, value in (("records", 3), ("first", 2), ("sha256", "0" * 64), ("at", "2020"), ("signature", "0" * 128)):
        with pytest.raises(IntegrityError):
            audit_export.check({**told, name: value}, out)
    with pytest.raises(SchemaError):
        audit_export.check({"file": "x"}, out)


def test_a_key_has_a_name_and_one_pair_for_each_name(tmp_path):
    models, audit = FileSigner(tmp_path), FileSigner(tmp_path, name="audit")
    signature = audit.sign(b"content")
    models.sign(b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.key", "audit.pub", "models.key", "models.pub"]
    assert audit.verify(b"content", signature)
    assert not models.verify(b"content", signature)
    assert not audit.verify(b"content", "no hex")
    assert FileSigner(tmp_path, name="audit").sign(b"content") == signature
