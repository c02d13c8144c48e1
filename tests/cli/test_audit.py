"""`kobe audit` as a person and as a program meets it."""

import json
from pathlib import Path

import pytest
from kit.command import kobe, one_line

from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain, head_text
from kobe.infra.records.signing import FileSigner


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose chain holds six records, signed."""
    signer = FileSigner(tmp_path / "state" / "keys", name="audit")
    chain = AuditChain(tmp_path / "state" / "audit", SystemClock(), "run-1", signer=signer)
    chain.append_many([("decision", {"symbol": symbol}) for symbol in ("AAA", "BBB", "CCC")])
    chain.append_many([("order", {"symbol": symbol}) for symbol in ("AAA", "BBB", "[red]CCC")])
    return tmp_path


def told(home: Path, *words: str, code: int = 0) -> dict:
    done = kobe(home, "audit", *words, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_verify_says_what_it_found_for_people_and_programs(home):
    facts = told(home, "verify")
    assert facts["schema"] == "kobe.audit_verify/1"
    assert (facts["ok"], facts["records"], facts["checkpoints"], facts["anchored_seq"]) == (True, 6, 1, 6)
    kept = head_text(home / "state" / "audit")
    done = kobe(home, "audit", "verify", "--head", kept)
    assert (done.returncode, f"the head you were told, {kept}, is in it" in done.stdout) == (0, True)
    assert told(home, "verify", "--head", f"6:{'0' * 16}", code=8)["problem"] == "told_head"
    one_line(kobe(home, "audit", "verify", "--head", "six"), 2, "no head", "such as")


def test_a_chain_cut_back_with_its_head_leaves_with_eight(home):
    folder = home / "state" / "audit"
    lines = (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "audit.jsonl").write_bytes(b"".join(lines[:4]))
    (folder / "HEAD").write_text(json.dumps({"seq": 4, "hash": json.loads(lines[3])["hash"]}))
    done = kobe(home, "audit", "verify")
    assert (done.returncode, "DAMAGED: rolled_back at record 5" in done.stdout) == (8, True)
    one_line(kobe(home, "audit", "checkpoint"), 8, "nothing was appended", "kobe audit verify")
    assert told(home, "checkpoint", "--renew", "a test")["checkpoint"]["seq"] == 5
    assert told(home, "show", "--last", "1")["records"][0]["payload"]["reason"] == "a test"


def test_show_finds_records_by_kind_date_and_text(home):
    everything = told(home, "show")
    assert [record["seq"] for record in everything["records"]] == [1, 2, 3, 4, 5, 6]
    day = everything["records"][0]["at"][:10]
    assert [r["seq"] for r in told(home, "show", "--kind", "order", "--last", "2")["records"]] == [5, 6]
    assert [r["seq"] for r in told(home, "show", "--contains", "aaa")["records"]] == [1, 4]
    assert told(home, "show", "--since", "2199-01-01")["records"] == []
    assert len(told(home, "show", "--since", "2001-01-01")["records"]) == 6
    page = kobe(home, "audit", "show").stdout
    assert (day in page, "[red]CCC" in page) == (True, True)


def test_a_proof_is_checked_without_any_home(home, tmp_path):
    proof, key = tmp_path / "proof.json", home / "state" / "keys" / "audit.pub"
    one_line(kobe(home, "audit", "prove", "4"), 4, "no checkpoint covers record 4", "kobe audit checkpoint")
    assert told(home, "checkpoint")["checkpoint"]["seq"] == 6
    assert kobe(home, "audit", "prove", "4", "--out", str(proof)).returncode == 0
    one_line(kobe(home, "audit", "prove", "4", "--out", str(proof)), 2, "does not overwrite")
    assert told(home, "prove", "4")["record"] == json.loads(proof.read_text())["record"]
    nowhere = tmp_path / "nowhere"
    facts = told(nowhere, "check", str(proof), "--key", str(key))
    assert (facts["ok"], facts["record"]["payload"], facts["key_given"]) == (True, {"symbol": "AAA"}, True)
    assert not nowhere.exists()
    proof.write_text(proof.read_text().replace("AAA", "BBB"))
    one_line(kobe(nowhere, "audit", "check", str(proof)), 8, "the proof is void")
    one_line(kobe(nowhere, "audit", "check", str(key)), 4, "no proof")
    one_line(kobe(nowhere, "audit", "check", str(nowhere)), 3, "cannot be used")


def test_an_export_has_a_manifest_that_is_checked_without_any_home(home, tmp_path):
    out = tmp_path / "out.jsonl"
    made = told(home, "export", "--out", str(out), "--since", "2001-01-01", "--until", "2199-01-01")
    assert (made["records"], made["checkpoint"]["seq"], made["head"]["seq"]) == (6, 6, 6)
    assert told(home, "check", f"{out}.manifest.json")["records"] == 6
    one_line(kobe(home, "audit", "export", "--out", str(out)), 2, "does not overwrite")
    out.write_bytes(out.read_bytes().replace(b"AAA", b"BBB"))
    one_line(kobe(home, "audit", "check", f"{out}.manifest.json"), 8, "not what was written")
    other = tmp_path / "none.jsonl"
    one_line(kobe(home, "audit", "export", "--out", str(other), "--since", "2199-01-01"), 4, "no record")
    assert not other.exists()


def test_a_file_that_was_closed_may_be_archived(home):
    closed = Path(told(home, "rotate")["closed"])
    assert closed.name == "audit-000001.jsonl"
    assert told(home, "rotate")["closed"] is None
    closed.rename(home / "archive.jsonl")
    facts = told(home, "verify")
    assert (facts["ok"], facts["verified_from"]) == (True, 7)
    assert "verified from record 7 on" in kobe(home, "audit", "verify").stdout


def test_an_empty_home_has_nothing_to_show_sign_or_close(tmp_path):
    assert told(tmp_path, "show")["records"] == []
    assert told(tmp_path, "checkpoint")["checkpoint"] is None
    assert told(tmp_path, "rotate")["closed"] is None
    assert not (tmp_path / "state" / "keys").exists()
    one_line(kobe(tmp_path, "audit", "export", "--out", str(tmp_path / "x.jsonl")), 4, "no record")
