"""Checkpoints and anchor: every way of damaging a chain together with its HEAD, or the evidence itself, is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, IntegrityError, UsageError
from kobe.infra.records import audit_checkpoints as signed
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import RENEWAL_KIND, AuditChain, default_anchor, head_text, read
from kobe.infra.records.audit_checkpoints import Anchor
from kobe.infra.records.audit_verify import AuditReport, parse_head, verify
from kobe.infra.records.signing import FileSigner

RECORDS, EVERY = 34, 10  # checkpoints of records 1, 11, 21 and 31


class Home:
    """A chain of 34 records with four checkpoints and an anchor, and what its key says."""

    def __init__(self, place: Path, clock: SteppingClock) -> None:
        self.place, self.clock = place, clock
        self.folder, self.signer = place / "audit", FileSigner(place / "keys", name="audit")
        self.anchor, self.points = default_anchor(self.folder), self.folder / signed.CHECKPOINTS
        self.chain = self.again()

    def again(self, run: str = "run-1", **given: object) -> AuditChain:
        return AuditChain(self.folder, self.clock, run, **{"signer": self.signer, "every": EVERY, **given})

    def grow(self, count: int) -> None:
        for number in range(count):
            self.clock.advance(seconds=1)
            self.chain.append("decision", {"step": number})

    def report(self, head: str | None = None) -> AuditReport:
        return verify(self.folder, signer=self.signer, told=parse_head(head) if head else None)

    def lines(self) -> list[bytes]:
        return (self.folder / layout.CHAIN).read_bytes().splitlines(keepends=True)

    def put(self, lines: list[bytes]) -> None:
        """Write the chain and a HEAD that fits it."""
        (self.folder / layout.CHAIN).write_bytes(b"".join(lines))
        layout.write_head(self.folder, layout.place(lines[-1]))

    def checkpoint_lines(self) -> list[bytes]:
        return self.points.read_bytes().splitlines(keepends=True)


@pytest.fixture
def home(tmp_path: Path, clock: SteppingClock) -> Home:
    made = Home(tmp_path, clock)
    made.grow(RECORDS)
    return made


def rewritten(lines: list[bytes], at: int) -> list[bytes]:
    """The chain with another payload in one record and every hash after it computed anew."""
    made, place = [], layout.NO_RECORD
    for number, line in enumerate(lines):
        body = line.split(b',"at"', 1)[1][: -layout.SUFFIX_LENGTH]
        body = body.replace(b'"step":', b'"Step":') if number == at else body
        sealed, digest = layout.seal(place.seq + 1, place.hash, b'"at"' + body)
        place = layout.Head(place.seq + 1, digest)
        made.append(sealed)
    return made


def test_a_checkpoint_is_made_at_the_first_chance_then_every_so_many_records(home):
    points = [signed.parse(line) for line in home.checkpoint_lines()]
    assert [(point.number, point.seq) for point in points] == [(1, 1), (2, 11), (3, 21), (4, 31)]
    report = home.report()
    assert (report.ok, report.checkpoints, report.checkpoint_seq, report.anchored_seq) == (True, 4, 31, RECORDS)
    assert report.notes == ()


def test_a_checkpoint_on_demand_covers_everything_and_is_not_made_twice(home):
    made = home.chain.checkpoint()
    assert (made.number, made.seq) == (5, RECORDS)
    assert home.again().checkpoint() == made
    assert len(home.checkpoint_lines()) == 5
    assert home.report().ok


def test_a_chain_without_checkpoints_and_anchor_verifies_and_says_that_it_has_none(tmp_path, clock):
    AuditChain(tmp_path / "audit", clock, "run").append("decision", {})
    report = verify(tmp_path / "audit")
    assert report.ok
    assert [note.partition(":")[0] for note in report.notes] == ["there is no checkpoint", "there is no anchor"]


def test_an_old_chain_is_signed_whole_with_the_next_append(tmp_path, clock):
    plain = AuditChain(tmp_path / "audit", clock, "run")
    plain.append_many([("decision", {"step": number}) for number in range(25)])
    (tmp_path / "audit" / layout.HEAD).write_text(json.dumps(layout.read_head(tmp_path / "audit")._asdict()))
    made = Home(tmp_path, clock)
    made.grow(1)
    report = made.report()
    assert (report.ok, report.checkpoint_seq, report.anchored_seq) == (True, 25, 26)


def rewrite_whole(home: Home) -> None:
    home.put(rewritten(home.lines(), 4))


def rewrite_after_the_last_checkpoint(home: Home) -> None:
    home.put(rewritten(home.lines(), 32))


def cut_tail_and_head(home: Home) -> None:
    home.put(home.lines()[:-2])
    (home.folder / layout.LOCK).unlink()


def cut_tail_head_and_checkpoints(home: Home) -> None:
    home.put(home.lines()[:15])
    home.points.write_bytes(b"".join(home.checkpoint_lines()[:2]))
    (home.folder / layout.LOCK).unlink()


def cut_everything_and_forge_the_anchor(home: Home) -> None:
    cut_tail_head_and_checkpoints(home)
    told = json.loads(home.anchor.read_bytes())
    last, point = layout.read_head(home.folder), signed.parse(home.checkpoint_lines()[-1])
    told |= {"seq": last.seq, "hash": last.hash, "checkpoints": 2, "checkpoint": point.digest, "checkpoint_seq": 11}
    home.anchor.write_bytes(Anchor(**{**told, "end": home.points.stat().st_size}).text)


def swap_two_signatures(home: Home) -> None:
    points = [json.loads(line) for line in home.checkpoint_lines()]
    points[1]["signature"], points[2]["signature"] = points[2]["signature"], points[1]["signature"]
    home.points.write_bytes(b"".join(signed.Checkpoint.of(point).line for point in points))


def sign_with_a_foreign_key(home: Home) -> None:
    foreign = FileSigner(home.place / "foreign", name="audit")
    points = [signed.parse(line).signed(foreign) for line in home.checkpoint_lines()]
    home.points.write_bytes(b"".join(point.line for point in points))


def rewrite_and_sign_with_a_foreign_key(home: Home) -> None:
    foreign = FileSigner(home.place / "foreign", name="audit")
    lines = home.lines()
    shutil.rmtree(home.folder)
    home.anchor.unlink()
    other = home.again(signer=foreign)
    other.append_many([("decision", {"step": number}) for number in range(len(lines))])
    other.checkpoint()


def change_a_checkpoint(home: Home) -> None:
    home.points.write_bytes(home.points.read_bytes().replace(b'"seq":21', b'"seq":22'))


def spoil_a_checkpoint(home: Home) -> None:
    home.points.write_bytes(home.points.read_bytes().replace(b'"number":3,', b'"number": 3,'))


def take_a_checkpoint_out(home: Home) -> None:
    lines = home.checkpoint_lines()
    home.points.write_bytes(b"".join([*lines[:1], *lines[2:]]))


def take_the_newest_checkpoint_away(home: Home) -> None:
    home.points.write_bytes(b"".join(home.checkpoint_lines()[:-1]))


def change_the_anchor(home: Home) -> None:
    home.anchor.write_bytes(home.anchor.read_bytes().replace(b'"seq":34', b'"seq":33'))


def put_the_key_away(home: Home) -> None:
    home.signer.public.unlink()


DAMAGES: dict[Callable[[Home], object], tuple[str, int]] = {
    rewrite_whole: ("checkpoint", 2),
    rewrite_after_the_last_checkpoint: ("anchor", 34),
    cut_tail_and_head: ("rolled_back", 33),
    cut_tail_head_and_checkpoints: ("checkpoints_missing", 15),
    cut_everything_and_forge_the_anchor: ("anchor_altered", 15),
    swap_two_signatures: ("signature", 2),
    sign_with_a_foreign_key: ("signature", 1),
    rewrite_and_sign_with_a_foreign_key: ("anchor_altered", 34),
    change_a_checkpoint: ("signature", 12),
    spoil_a_checkpoint: ("checkpoint_altered", 12),
    take_a_checkpoint_out: ("checkpoint_altered", 2),
    take_the_newest_checkpoint_away: ("checkpoints_missing", 34),
    lambda home: home.points.unlink(): ("checkpoints_missing", 1),
    change_the_anchor: ("anchor_altered", 34),
    lambda home: home.anchor.write_bytes(b"hello"): ("anchor_altered", 34),
    lambda home: home.anchor.unlink(): ("anchor_missing", 34),
    put_the_key_away: ("key_missing", 34),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_behind_a_fitting_head_is_named(home, damage):
    problem, seq = DAMAGES[damage]
    damage(home)
    report = home.report()
    assert (report.ok, report.problem, report.first_bad_seq) == (False, problem, seq), report.detail


@pytest.mark.parametrize(
    "damage",
    [cut_tail_and_head, cut_tail_head_and_checkpoints, cut_everything_and_forge_the_anchor, change_the_anchor,
     rewrite_after_the_last_checkpoint, take_the_newest_checkpoint_away, lambda home: home.points.unlink(),
     lambda home: home.anchor.unlink()],
)  # fmt: skip
def test_nothing_is_appended_where_the_anchor_does_not_fit(home, damage):
    damage(home)
    before = {path: path.read_bytes() for path in home.place.rglob("*") if path.is_file()}
    with pytest.raises(IntegrityError, match="kobe audit verify"):
        home.again("run-2").append("decision", {})
    with pytest.raises(IntegrityError):
        home.chain.append("decision", {})
    after = {path: path.read_bytes() for path in home.place.rglob("*") if path.is_file()}
    after.pop(home.folder / layout.LOCK)
    before.pop(home.folder / layout.LOCK, None)
    assert after == before


def test_an_anchor_behind_the_chain_is_named_and_brought_up_by_the_next_append(home):
    earlier = home.anchor.read_bytes()
    home.grow(2)
    home.anchor.write_bytes(earlier)
    report = home.report()
    assert report.ok
    assert report.notes[0].startswith("the anchor names record 34, 2 before the last")
    home.again("run-2").append("decision", {})
    assert home.report().notes == ()


def test_an_anchor_from_before_the_last_checkpoints_was_put_back(home):
    earlier = home.anchor.read_bytes()
    home.grow(EVERY * 2)
    home.anchor.write_bytes(earlier)
    assert (home.report().problem, home.report().first_bad_seq) == ("anchor_behind", 35)


def test_an_anchor_ahead_of_the_chain_is_a_chain_cut_back(home):
    copy = home.place / "copy"
    shutil.copytree(home.folder, copy)
    home.grow(3)
    shutil.rmtree(home.folder)
    copy.rename(home.folder)
    assert (home.report().problem, home.report().first_bad_seq) == ("rolled_back", RECORDS + 1)


def test_a_head_that_a_person_kept_finds_what_the_key_could_hide(home):
    kept = head_text(home.folder)
    seq, digest = kept.split(":")
    assert (int(seq), len(digest)) == (RECORDS, 16)
    home.grow(5)
    assert home.report(kept).ok
    assert home.report(f"{RECORDS}:{home.lines()[RECORDS - 1][-67:-3].decode()}").ok
    assert home.report(f"{RECORDS}:{'0' * 16}").problem == "told_head"
    lines = home.lines()
    shutil.rmtree(home.folder)
    shutil.rmtree(home.anchor.parent)
    home.chain = home.again()  # the whole home made anew by somebody with its key
    home.grow(len(lines) - 10)
    assert home.report().ok
    assert (home.report(kept).problem, home.report(kept).first_bad_seq) == ("rolled_back", 30)


@pytest.mark.parametrize("text", ["", "812", "812:xyz", "812:0f3a", ":0f3a5b7c9d1e2f40", "-1:0f3a5b7c9d1e2f40"])
def test_what_is_no_head_is_refused_by_its_words(text):
    with pytest.raises(UsageError, match="no head"):
        parse_head(text)


def test_without_a_key_the_signatures_are_not_checked_and_the_report_says_so(home):
    report = verify(home.folder)
    assert report.ok
    assert report.notes == ("signatures were not checked: no key was given",)


def test_the_anchor_may_stand_on_another_disk(tmp_path, clock):
    home = Home(tmp_path, clock)
    home.chain = home.again(anchor=tmp_path / "other" / "disk" / "head.json")
    home.grow(3)
    assert home.report().problem == "anchor_missing"
    assert verify(home.folder, signer=home.signer, anchor=home.chain.anchor_file).ok
    assert not home.anchor.exists()


def test_a_process_without_the_key_leaves_the_anchor_behind_and_the_next_one_brings_it_up(home):
    home.again("plain", signer=None).append_many([("decision", {})] * 3)
    assert home.report().ok
    home.grow(1)
    assert (home.report().ok, home.report().anchored_seq) == (True, RECORDS + 4)


def test_a_torn_checkpoint_is_no_damage_and_the_next_one_replaces_it(home):
    with home.points.open("ab") as file:
        file.write(b'{"at":"2026')
    assert home.report().ok
    assert "cut the last checkpoint short" in home.report().notes[0]
    home.chain.checkpoint()
    assert (home.report().ok, home.report().notes, home.report().checkpoints) == (True, (), 5)


def test_a_checkpoint_that_a_crash_left_without_its_anchor_is_kept(home):
    earlier = home.anchor.read_bytes()
    made = home.chain.checkpoint()
    home.anchor.write_bytes(earlier)
    assert home.report().ok
    assert home.again("run-2").checkpoint() == made


def test_a_lost_anchor_is_renewed_on_somebody_s_word_which_is_recorded(home):
    home.anchor.unlink()
    home.again("run-2").renew("the disk of the anchor died")
    assert home.report().ok
    last = list(read(home.folder))[-1]
    assert (last.kind, last.payload) == (RENEWAL_KIND, {"reason": "the disk of the anchor died", "set_aside": []})
    assert home.report().checkpoints == 5


def test_a_chain_restored_from_a_backup_is_renewed_and_what_it_contradicts_is_set_aside(home):
    cut_tail_head_and_checkpoints(home)
    home.points.write_bytes(b"")
    kept = home.anchor.read_bytes()
    home.again("run-2").renew("restored from the backup of Friday")
    assert home.report().ok
    (facts,) = [each for each in list(read(home.folder))[-1].payload["set_aside"] if each["file"] == "audit.json"]
    assert home.anchor.with_name("audit-aside-1.json").read_bytes() == kept
    assert facts["bytes"] == len(kept)
    home.chain = home.again()
    home.grow(20)
    assert home.report().ok


def test_checkpoints_of_another_chain_are_set_aside_by_a_renewal(home):
    rewrite_whole(home)
    home.again("run-2").renew("a test")
    assert (home.folder / "checkpoints-aside-1.jsonl").exists()
    assert (home.report().ok, home.report().checkpoints) == (True, 1)


def test_without_a_signer_there_is_nothing_to_sign_with(home):
    plain = home.again(signer=None)
    for sign in (plain.checkpoint, plain.anchor, lambda: plain.renew("x")):
        with pytest.raises(ConfigError, match="no key"):
            sign()


def test_the_anchor_on_demand_names_the_last_record(home):
    home.again("plain", signer=None).append("decision", {})
    assert home.chain.anchor() == layout.read_head(home.folder)
    assert home.report().notes == ()


def test_an_empty_chain_has_no_checkpoint(tmp_path, clock):
    home = Home(tmp_path, clock)
    assert home.chain.checkpoint() is None
    assert home.report().ok


def test_a_clock_set_back_is_named_beside_sound_checkpoints(home):
    home.clock.advance(seconds=-7200)
    home.chain.append("decision", {})
    home.chain.checkpoint()
    assert (home.report().problem, home.report().first_bad_seq) == ("clock_back", RECORDS + 1)


def test_many_records_are_appended_with_their_hashes_in_their_order(home):
    told = home.chain.append_many([("order", {"n": number}) for number in range(2500)])
    assert [record.hash for record in read(home.folder, last=2500)] == told
    assert home.chain.append_many([]) == []
    assert home.report().ok
    with pytest.raises(ValueError, match="JSON"):
        home.chain.append_many([("order", {}), ("order", {"x": float("nan")})])
    assert home.report().records == RECORDS + 2500
