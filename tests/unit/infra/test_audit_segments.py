"""Closed files of the chain: records go on over the border, a missing file is named, archived ones are stood for."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from kobe.core.errors import IntegrityError
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import REPAIR_KIND, SEGMENT_KIND, AuditChain, default_anchor, read
from kobe.infra.records.audit_verify import parse_head, verify
from kobe.infra.records.signing import FileSigner


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    return FileSigner(tmp_path / "keys", name="audit")


@pytest.fixture
def chain(tmp_path: Path, clock, signer) -> AuditChain:
    """Three files: records 1-5, 6 (segment) to 10, 11 (segment) to 14."""
    made = AuditChain(tmp_path / "audit", clock, "run", signer=signer, every=4)
    for files in range(3):
        for number in range(5 - (files > 0) - (files > 1)):
            clock.advance(seconds=1)
            made.append("decision", {"file": files, "step": number})
        if files < 2:
            made.rotate()
    return made


@pytest.fixture
def folder(chain, tmp_path) -> Path:
    return tmp_path / "audit"


def test_records_count_and_chain_over_the_border_of_files(folder, signer):
    names = sorted(path.name for path in folder.glob("*.jsonl"))
    assert names == ["audit-000001.jsonl", "audit-000002.jsonl", "audit.jsonl", "checkpoints.jsonl"]
    records = list(read(folder))
    assert [record.seq for record in records] == list(range(1, 15))
    assert all(record.prev == before.hash for before, record in pairwise(records))
    report = verify(folder, signer=signer)
    assert (report.ok, report.records, report.files, report.verified_from, report.notes) == (True, 14, 3, 1, ())


def test_each_file_names_the_one_before_it_by_digest_and_a_checkpoint_seals_it(folder):
    first = next(record for record in read(folder) if record.kind == SEGMENT_KIND)
    closed = folder / "audit-000001.jsonl"
    assert first.payload == {
        "number": 2,
        "before": {
            "file": closed.name,
            "bytes": closed.stat().st_size,
            "sha256": hashlib.sha256(closed.read_bytes()).hexdigest(),
        },
    }
    seals = [signed.parse(line).seq for line in (folder / signed.CHECKPOINTS).read_bytes().splitlines(keepends=True)]
    assert {5, 10} <= set(seals)


def test_the_last_records_are_found_over_any_number_of_files(folder):
    for count in range(17):
        assert [record.seq for record in read(folder, last=count)] == list(range(15 - min(count, 14), 15))


def test_a_file_that_holds_nothing_yet_is_not_closed_again(chain, folder):
    assert chain.rotate().name == "audit-000003.jsonl"
    assert chain.rotate() is None
    assert not (folder / "audit-000004.jsonl").exists()


def test_an_empty_chain_has_nothing_to_close(tmp_path, clock, signer):
    assert AuditChain(tmp_path / "none", clock, "run", signer=signer).rotate() is None


@pytest.mark.parametrize("with_key", [True, False])
def test_appends_close_files_by_themselves_beyond_a_size(tmp_path, clock, signer, with_key):
    chain = AuditChain(
        tmp_path / "audit", clock, "run", signer=signer if with_key else None, every=50, segment_bytes=4000
    )
    for number in range(60):
        chain.append("decision", {"step": number, "text": "x" * 100})
    closed = sorted((tmp_path / "audit").glob("audit-*.jsonl"))
    assert len(closed) > 3
    assert all(4000 <= path.stat().st_size < 4600 for path in closed)
    assert [r.payload["step"] for r in read(tmp_path / "audit") if r.kind == "decision"] == list(range(60))
    assert verify(tmp_path / "audit", signer=signer if with_key else None).ok


@pytest.mark.parametrize(
    ("name", "problem", "seq"),
    [("audit-000002.jsonl", "segment_missing", 6), ("audit.jsonl", "truncated", 11)],
)
def test_a_file_that_is_missing_between_others_is_named(folder, signer, name, problem, seq):
    (folder / name).unlink()
    report = verify(folder, signer=signer)
    assert (report.problem, report.first_bad_seq) == (problem, seq)
    assert problem == "truncated" or name in report.detail


def test_without_a_checkpoint_that_stands_for_it_a_missing_first_file_is_damage(folder, signer):
    (folder / "audit-000001.jsonl").unlink()
    points = (folder / signed.CHECKPOINTS).read_bytes().splitlines(keepends=True)
    (folder / signed.CHECKPOINTS).write_bytes(b"".join(p for p in points if b'"seq":5,' not in p))
    report = verify(folder, signer=signer)
    assert (report.problem, report.first_bad_seq) == ("segment_missing", 1)
    assert "audit-000001.jsonl" in report.detail


@pytest.mark.parametrize("archived", [1, 2])
def test_archived_files_are_stood_for_by_a_checkpoint_and_the_report_says_from_where_it_verified(
    chain, folder, tmp_path, signer, archived
):
    for number in range(1, archived + 1):
        (folder / f"audit-00000{number}.jsonl").rename(tmp_path / f"archive-{number}")
    report = verify(folder, signer=signer)
    assert (report.ok, report.records, report.verified_from) == (True, 14, 5 * archived + 1)
    assert report.notes[0].startswith(f"verified from record {5 * archived + 1} on")
    chain.append("decision", {"after": "the archiving"})
    assert chain.checkpoint().seq == 15
    chain.rotate()
    assert (folder / "audit-000003.jsonl").is_file()
    assert verify(folder, signer=signer).ok
    for number in range(1, archived + 1):
        (tmp_path / f"archive-{number}").rename(folder / f"audit-00000{number}.jsonl")
    assert (verify(folder, signer=signer).ok, verify(folder, signer=signer).verified_from) == (True, 1)


def test_when_all_closed_files_are_archived_the_next_number_follows(chain, folder):
    chain.rotate()
    for path in folder.glob("audit-*.jsonl"):
        path.unlink()
    chain.append("decision", {})
    assert chain.rotate().name == "audit-000004.jsonl"
    assert next(iter(read(folder))).kind == "decision" or next(iter(read(folder))).kind == SEGMENT_KIND


def test_a_head_of_an_archived_record_cannot_be_compared_and_that_is_said(folder, signer):
    told = list(read(folder))[2]
    (folder / "audit-000001.jsonl").unlink()
    report = verify(folder, signer=signer, told=parse_head(f"3:{told.hash}"))
    assert (report.problem, report.detail) == ("told_head", "it is in a file that is archived")


@pytest.mark.parametrize("file", ["audit-000001.jsonl", "audit-000002.jsonl", "audit.jsonl"])
def test_a_changed_byte_is_named_in_its_file(folder, signer, file):
    path = folder / file
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"step":2', b'"step":7'))
    report = verify(folder, signer=signer)
    seq = json.loads(next(line for line in content.splitlines() if b'"step":2' in line))["seq"]
    assert (report.problem, report.first_bad_seq) == ("edited", seq)
    assert report.detail.endswith(f"(in {file})")


def test_the_end_of_a_closed_file_cut_off_is_named(folder, signer):
    path = folder / "audit-000001.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert (verify(folder, signer=signer).problem, verify(folder, signer=signer).first_bad_seq) == ("deleted", 5)


def test_a_rotation_that_a_crash_cut_short_is_finished_by_the_next_append(chain, folder, signer):
    (folder / layout.CHAIN).rename(folder / "audit-000003.jsonl")
    assert verify(folder, signer=signer).ok
    assert [record.seq for record in read(folder, last=2)] == [13, 14]
    chain.append("decision", {})
    assert [record.kind for record in read(folder, last=2)] == [SEGMENT_KIND, "decision"]
    assert verify(folder, signer=signer).ok


def test_an_emptied_file_after_closed_ones_takes_no_record(chain, folder):
    (folder / layout.CHAIN).write_bytes(b"")
    with pytest.raises(IntegrityError):
        chain.append("decision", {})
    (folder / layout.CHAIN).unlink()
    with pytest.raises(IntegrityError):
        chain.append("decision", {})


def test_a_torn_line_after_a_border_is_repaired(chain, folder, signer):
    chain.rotate()
    with (folder / layout.CHAIN).open("ab") as file:
        file.write(b'{"seq":16')
    chain.append("decision", {})
    assert [record.kind for record in read(folder, last=3)] == [SEGMENT_KIND, REPAIR_KIND, "decision"]
    assert verify(folder, signer=signer).ok


def test_a_chain_of_the_first_layout_is_closed_and_goes_on(tmp_path, clock, signer):
    plain = AuditChain(tmp_path / "audit", clock, "run")
    plain.append("decision", {})
    made = AuditChain(tmp_path / "audit", clock, "run", signer=signer)
    assert made.rotate().name == "audit-000001.jsonl"
    assert default_anchor(tmp_path / "audit").is_file()
    assert verify(tmp_path / "audit", signer=signer).ok


def test_checkpoints_do_not_begin_anew_while_the_first_records_are_archived(chain, folder, tmp_path, signer):
    (folder / "audit-000001.jsonl").rename(tmp_path / "archive")
    (folder / signed.CHECKPOINTS).unlink()
    before = (folder / layout.CHAIN).read_bytes()
    with pytest.raises(IntegrityError, match="put archived files back"):
        chain.renew("a test")
    assert (folder / layout.CHAIN).read_bytes() == before
    (tmp_path / "archive").rename(folder / "audit-000001.jsonl")
    assert chain.renew("a test").number == 1
    assert verify(folder, signer=signer).ok
