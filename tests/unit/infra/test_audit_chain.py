"""The audit chain: what it promises, and every way of damaging it, each named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, IntegrityError
from kobe.infra.records import audit_lines as layout
from kobe.infra.records import audit_segments as segments
from kobe.infra.records.audit import REPAIR_KIND, AuditChain, read, verify
from kobe.infra.records.audit_newest import newest

REPOSITORY = Path(__file__).parents[3]
RECORDS = 7

Lines = list[bytes]


def fabricated(lines: Lines, at: int) -> bytes:
    """A line with a right hash at a place of the chain, as someone who knows the layout would write it."""
    place = json.loads(lines[at])
    told = layout.encode({"amount": 1_000_000})
    body = lines[at].split(b'","at"', 1)[1].split(b',"payload"', 1)[0]
    return layout.seal(place["seq"], place["prev"], b'"at"%s,"payload":%s' % (body, told))[0]


def replaced(lines: Lines, at: int, line: bytes) -> Lines:
    return [*lines[:at], line, *lines[at + 1 :]]


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], str, int]] = {
    "one byte of a payload": (lambda a: replaced(a, 3, a[3].replace(b"step", b"Step")), "edited", 4),
    "one byte of a hash": (lambda a: replaced(a, 3, a[3][:-4] + b"00" + a[3][-2:]), "edited", 4),
    "a payload and its hash": (lambda a: replaced(a, 3, fabricated(a, 3)), "edited", 4),
    "the last payload and its hash": (lambda a: replaced(a, 6, fabricated(a, 6)), "edited", 7),
    "the first payload and its hash": (lambda a: replaced(a, 0, fabricated(a, 0)), "edited", 1),
    "one byte of the last line": (lambda a: replaced(a, 6, a[6].replace(b"step", b"Step")), "edited", 7),
    "two lines made one": (lambda a: replaced(a, 3, a[3][:-1]), "edited", 4),
    "a foreign line in the middle": (lambda a: [*a[:3], b"hello\n", *a[3:]], "inserted", 4),
    "an empty line in the middle": (lambda a: [*a[:3], b"\n", *a[3:]], "inserted", 4),
    "a copy of an earlier line": (lambda a: [*a[:5], a[1], *a[5:]], "inserted", 6),
    "a copy of a later line": (lambda a: [*a[:3], a[5], *a[3:]], "inserted", 4),
    "a fabricated line": (lambda a: [*a[:3], fabricated(a, 3), *a[3:]], "inserted", 4),
    "a line of the middle": (lambda a: [*a[:3], *a[4:]], "deleted", 4),
    "three lines of the middle": (lambda a: [*a[:2], *a[5:]], "deleted", 3),
    "the first line": (lambda a: a[1:], "deleted", 1),
    "two neighbours swapped": (lambda a: [*a[:3], a[4], a[3], *a[5:]], "reordered", 4),
    "the last two swapped": (lambda a: [*a[:5], a[6], a[5]], "reordered", 6),
    "an early line moved to the end": (lambda a: [*a[:2], *a[3:], a[2]], "reordered", 3),
    "a late line moved to the front": (lambda a: [a[4], *a[:4], *a[5:]], "reordered", 1),
    "all reversed": (lambda a: a[::-1], "reordered", 1),
    "the last line": (lambda a: a[:-1], "truncated", 7),
    "the last three lines": (lambda a: a[:-3], "truncated", 5),
    "every line": (lambda _: [], "truncated", 1),
    "half of the last line": (lambda a: replaced(a, 6, a[6][:90]), "truncated", 7),
}


@pytest.fixture
def folder(tmp_path: Path, clock: SteppingClock) -> Path:
    chain = AuditChain(tmp_path / "audit", clock, "run-1")
    for number in range(1, RECORDS + 1):
        clock.advance(seconds=1)
        chain.append("decision", {"step": number, "why": 'quotes ", breaks \n and ,"hash":" stay inside'})
    return tmp_path / "audit"


def torn(folder: Path, content: bytes) -> None:
    with (folder / layout.CHAIN).open("ab") as file:
        file.write(content)


def test_a_chain_gives_back_what_was_appended_and_verifies(folder: Path) -> None:
    records = list(read(folder))
    report = verify(folder)
    assert [(r.seq, r.run, r.kind, r.payload["step"]) for r in records] == [
        (n, "run-1", "decision", n) for n in range(1, RECORDS + 1)
    ]
    assert (report.ok, report.problem, report.records) == (True, "ok", RECORDS)
    assert report.head_hash == records[-1].hash
    assert records[0].at == "2026-01-02T14:30:01.000000Z"


def test_the_last_records_are_read_without_the_others(folder: Path) -> None:
    torn(folder, b'{"seq":8')
    for count in range(RECORDS + 3):
        wanted = list(range(1, RECORDS + 1))[max(0, RECORDS - count) :] if count else []
        assert [r.seq for r in read(folder, last=count)] == wanted


@pytest.mark.parametrize("block", [7, 300, 1 << 20])
def test_records_of_a_kind_are_found_newest_first_over_segments_blocks_and_torn_ends(
    folder: Path, clock: SteppingClock, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_READ_BYTES", block)
    monkeypatch.setattr(segments, "_FIRST_BYTES", min(block, segments._FIRST_BYTES))
    chain = AuditChain(folder, clock, "run-2", segment_bytes=2000)
    for n in range(30):
        chain.append(
            "order" if n % 3 else "drift", {"n": n, "text": ',"kind":"drift",', "x": {"a": 1, "kind": "drift", "z": 2}}
        )
    torn(folder, b'{"seq":99,"prev":"x","kind":"drift",')
    every = list(read(folder))
    for kind in ("drift", "order", "decision", "none"):
        assert list(newest(folder, kind)) == [r for r in reversed(every) if r.kind == kind]
    assert len(list(folder.glob("audit-*.jsonl"))) > 2
    assert list(newest(folder / "none", "drift")) == []


def test_a_missing_or_empty_chain_is_sound_and_nothing_is_made(tmp_path: Path) -> None:
    report = verify(tmp_path / "none")
    assert (report.ok, report.records, report.head_hash) == (True, 0, layout.GENESIS)
    assert list(read(tmp_path / "none")) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", TAMPERINGS)
def test_every_tampering_is_named_at_its_record(folder: Path, what: str) -> None:
    tamper, problem, seq = TAMPERINGS[what]
    path = folder / layout.CHAIN
    path.write_bytes(b"".join(tamper(path.read_bytes().splitlines(keepends=True))))
    report = verify(folder)
    assert (report.ok, report.problem, report.first_bad_seq) == (False, problem, seq), report.detail


def test_a_missing_or_unreadable_head_is_named(folder: Path) -> None:
    for damage in (b"", b"[]", b'{"seq":"x"}'):
        (folder / layout.HEAD).write_bytes(damage)
        assert verify(folder).problem == "missing_head"
    (folder / layout.HEAD).unlink()
    assert (verify(folder).problem, verify(folder).first_bad_seq) == ("missing_head", RECORDS)


def test_a_clock_set_back_is_named_but_does_not_hide_damage(folder: Path, clock: SteppingClock) -> None:
    clock.advance(seconds=-3600)
    AuditChain(folder, clock, "run-2").append("decision", {})
    report = verify(folder)
    assert (report.problem, report.first_bad_seq, report.records) == ("clock_back", RECORDS + 1, RECORDS + 1)
    AuditChain(folder, clock, "run-2").append("decision", {"the chain": "still takes records"})
    (folder / layout.CHAIN).write_bytes(b"".join((folder / layout.CHAIN).read_bytes().splitlines(keepends=True)[:-1]))
    assert verify(folder).problem == "truncated"


def test_a_clock_set_back_that_a_person_took_note_of_is_a_note_until_the_next_one(folder: Path, clock: SteppingClock):
    chain = AuditChain(folder, clock, "run-2")
    clock.advance(seconds=-3600)
    chain.append("decision", {"said": ',"kind":"clock_accepted",'})
    assert verify(folder).problem == "clock_back"
    chain.append(layout.CLOCK_ACCEPTED, {"seq": RECORDS + 1, "reason": "the time server stepped"})
    clock.advance(seconds=1)
    chain.append("decision", {})
    report = verify(folder)
    assert (report.ok, report.records) == (True, RECORDS + 3)
    assert [note for note in report.notes if f"set back at record {RECORDS + 1}" in note]
    clock.advance(seconds=-60)
    chain.append("decision", {})
    assert (verify(folder).problem, verify(folder).first_bad_seq) == ("clock_back", RECORDS + 4)


def test_a_step_of_the_time_server_is_no_alarm(folder: Path, clock: SteppingClock) -> None:
    clock.set(clock.now() - timedelta(milliseconds=900))
    AuditChain(folder, clock, "run-2").append("decision", {})
    assert verify(folder).ok


@pytest.mark.parametrize(
    "damage",
    [
        lambda a: a[:-1],
        lambda a: a[:-2],
        lambda _: [],
        lambda a: replaced(a, 6, a[6][:90]),
        lambda a: replaced(a, 6, a[6].replace(b"step", b"Step")),
        lambda a: replaced(a, 6, fabricated(a, 6)),
        lambda a: [*a, a[6]],
        lambda a: [*a, b"hello\n", b"hello\n"],
    ],
)
def test_nothing_is_appended_to_a_damaged_tail(folder: Path, clock: SteppingClock, damage: object) -> None:
    path = folder / layout.CHAIN
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))  # type: ignore[operator]
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(IntegrityError) as raised:
        AuditChain(folder, clock, "run-2").append("decision", {})
    assert raised.value.next_command == "kobe audit verify"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_nothing_is_appended_without_head_or_without_chain(folder: Path, clock: SteppingClock) -> None:
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    (folder / layout.HEAD).unlink()
    (copy / layout.CHAIN).unlink()
    for place in (folder, copy):
        with pytest.raises(IntegrityError):
            AuditChain(place, clock, "run-2").append("decision", {})
    assert verify(copy).problem == "truncated"


@pytest.mark.parametrize("content", [b"{", b'{"seq":8,"prev":"', b"\x00" * 5000, b"garbage\n", b"x" * 200_000])
def test_a_torn_line_is_named_kept_and_repaired_visibly(folder: Path, clock: SteppingClock, content: bytes) -> None:
    torn(folder, content)
    assert (verify(folder).problem, verify(folder).first_bad_seq) == ("torn", RECORDS + 1)
    AuditChain(folder, clock, "run-2").append("decision", {"after": "the crash"})
    repair, after = list(read(folder))[-2:]
    assert (repair.seq, repair.kind, after.payload) == (RECORDS + 1, REPAIR_KIND, {"after": "the crash"})
    assert repair.payload["torn"][0]["bytes"] == len(content)
    assert (folder / repair.payload["torn"][0]["file"]).read_bytes() == content
    assert verify(folder).ok


def test_a_crash_within_the_repair_keeps_every_torn_byte(folder: Path, clock: SteppingClock) -> None:
    (folder / "torn-8-1.txt").write_bytes(b"cut before")  # set aside, cut off, and then killed
    torn(folder, b'{"seq":8,"half of the repair record')
    AuditChain(folder, clock, "run-2").append("decision", {})
    repair = list(read(folder))[RECORDS]
    assert [t["file"] for t in repair.payload["torn"]] == ["torn-8-1.txt", "torn-8-2.txt"]
    torn(folder, b"again")
    AuditChain(folder, clock, "run-3").append("decision", {})
    assert [r.kind for r in read(folder)][RECORDS:] == [REPAIR_KIND, "decision", REPAIR_KIND, "decision"]


def test_a_chain_ahead_of_head_goes_on(folder: Path, clock: SteppingClock) -> None:
    chain = AuditChain(folder, clock, "run-2")
    for missed in (1, 3):
        late = (folder / layout.HEAD).read_bytes()
        for _ in range(missed):
            chain.append("decision", {})
        (folder / layout.HEAD).write_bytes(late)
        assert verify(folder).ok
        chain.append("decision", {})
        assert verify(folder).ok
    assert verify(folder).records == RECORDS + 6


def test_a_late_head_of_another_chain_stops_the_append(folder: Path, clock: SteppingClock) -> None:
    for seq in (RECORDS - 1, RECORDS - 3):
        (folder / layout.HEAD).write_bytes(b'{"hash":"%s","seq":%d}' % (b"a" * 64, seq))
        assert (verify(folder).problem, verify(folder).first_bad_seq) == ("edited", seq)
        with pytest.raises(IntegrityError):
            AuditChain(folder, clock, "run-2").append("decision", {})


def test_a_payload_that_json_cannot_say_leaves_no_trace(tmp_path: Path, clock: SteppingClock) -> None:
    chain = AuditChain(tmp_path / "audit", clock, "run-1")
    for payload in ({"x": float("nan")}, {"x": object()}, {"x": "\ud800"}):
        with pytest.raises((ValueError, TypeError)):
            chain.append("decision", payload)
    assert not (tmp_path / "audit").exists()


def test_a_full_disk_is_one_clear_error_and_the_chain_stays_sound(
    folder: Path, clock: SteppingClock, full_disk: Callable
) -> None:
    chain = AuditChain(folder, clock, "run-2")
    with full_disk((folder / layout.CHAIN).stat().st_size + 50), pytest.raises(ExternalError, match="disk is full"):
        chain.append("decision", {})
    assert verify(folder).ok
    chain.append("decision", {})
    assert (verify(folder).ok, verify(folder).records) == (True, RECORDS + 1)


def test_an_unwritable_folder_is_a_matter_of_configuration(clock: SteppingClock, unwritable: Path) -> None:
    with pytest.raises(ConfigError, match="kobe doctor"):
        AuditChain(unwritable / "audit", clock, "run-1").append("decision", {})


APPENDER = """
import sys
from pathlib import Path
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
chain = AuditChain(Path(sys.argv[1]), SystemClock(), sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(200):
    chain.append("work", {"n": number})
"""


def test_two_processes_append_to_one_chain(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPENDER, str(tmp_path / "audit")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": REPOSITORY, "text": True}
    with subprocess.Popen([*command, "a"], **pipes) as a, subprocess.Popen([*command, "b"], **pipes) as b:
        assert [p.stdout.readline() for p in (a, b)] == ["ready\n"] * 2
        for process in (a, b):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [p.wait() for p in (a, b)] == [0, 0]
    assert (verify(tmp_path / "audit").ok, verify(tmp_path / "audit").records) == (True, 400)
    told = [(r.run, r.payload["n"]) for r in read(tmp_path / "audit")]
    for run in ("a", "b"):
        assert [n for r, n in told if r == run] == list(range(200))
