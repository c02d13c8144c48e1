"""Backups: whole or not at all, proved by their manifest, restored to the byte, thinned out by age."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT
from kit.state import content_of, make_state

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, RefusedError
from kobe.infra.locks import Lease
from kobe.infra.records import backup, restore
from kobe.infra.records.audit_verify import verify as verify_chain
from kobe.infra.records.backup import MANIFEST, Manifest, Source
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.restore import Target

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    make_state(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def root(state: Path) -> Path:
    return state / "backups"


def create(state: Path, clock: SteppingClock) -> Path:
    return backup.create(Source(state=state), state / "backups", clock.now())


def test_a_backup_holds_the_state_and_nothing_that_passes(state: Path, root: Path, clock: SteppingClock) -> None:
    (state / "models" / ".tmp-123").write_text("half")
    made = create(state, clock)
    assert made == root / "20260102T143000Z"
    manifest = backup.verify(made)
    assert sorted(manifest.files) == [
        "state/audit/HEAD", "state/audit/audit.jsonl", "state/keys/secret.key", "state/kobe.db",
        "state/models/m1/card.json", "state/other.db",
    ]  # fmt: skip
    assert content_of(made / "state") == content_of(state)
    assert manifest.events["state/kobe.db"].number == 30
    assert manifest.chains["state/audit"][0] == 30


def test_keys_stay_as_private_as_they_are(state: Path, root: Path, clock: SteppingClock) -> None:
    made = create(state, clock)
    assert [p.stat().st_mode & 0o777 for p in (root, made)] == [0o700, 0o700]
    assert (made / "state" / "keys").stat().st_mode & 0o777 == 0o700
    assert (made / "state" / "keys" / "secret.key").stat().st_mode & 0o777 == 0o600
    restore.restore(made, Target(state=state), clock, replace=True)
    assert (state / "keys" / "secret.key").stat().st_mode & 0o777 == 0o600


WRITER = """
import sys
from itertools import count
from pathlib import Path
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.ledger import SqlLedger
state = Path(sys.argv[1])
one, other = (SqlLedger(state / name, SystemClock(), busy_timeout_s=30) for name in ("kobe.db", "other.db"))
chain = AuditChain(state / "audit", SystemClock(), "run")
for number in count(1000):
    one.append("things", "a", "more", {"text": "y" * 200}, key=str(number))
    chain.append("more", {"n": number})
    other.append("cash", "a", "more", {}, key=str(number))
    if number == 1000:
        print("going", flush=True)
"""


@pytest.fixture
def writer(state: Path) -> Iterator[None]:
    """Another process that appends to everything, in this order: one ledger, the chain, the other ledger."""
    command = [sys.executable, "-c", WRITER, str(state)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "going\n"
        yield
        assert process.poll() is None, "the writer must have gone on"
    finally:
        process.kill()
        process.communicate()


def test_a_backup_is_of_one_instant_while_another_process_writes(
    state: Path, clock: SteppingClock, writer: None
) -> None:
    for _ in range(5):
        clock.advance(seconds=1)
        manifest = backup.verify(create(state, clock))
        first, chain = manifest.events["state/kobe.db"].number - 30, manifest.chains["state/audit"][0] - 30
        second = manifest.events["state/other.db"].number - 1
        assert first >= chain >= second >= first - 1
    assert first > 1


def damage_edited(made: Path) -> str:
    path = made / "state" / "kobe.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "state/kobe.db"


def damage_cut(made: Path) -> str:
    path = made / "state" / "audit" / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    return "state/audit/audit.jsonl"


def damage_missing(made: Path) -> str:
    (made / "state" / "models" / "m1" / "card.json").unlink()
    return "state/models/m1/card.json"


def damage_added(made: Path) -> str:
    (made / "state" / "models" / "more.json").write_text("{}")
    return "state/models/more.json"


def damage_manifest(made: Path) -> str:
    told = json.loads((made / MANIFEST).read_text())
    told["files"]["state/kobe.db"]["bytes"] += 1
    (made / MANIFEST).write_text(json.dumps(told))
    return MANIFEST


def damage_cut_manifest(made: Path) -> str:
    (made / MANIFEST).write_text('{"schema": "kobe.backup/1", "files"')
    return MANIFEST


DAMAGES = [damage_edited, damage_cut, damage_missing, damage_added, damage_manifest, damage_cut_manifest]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_backup_is_refused_by_the_name_of_its_file(state: Path, clock: SteppingClock, damage) -> None:
    made, before = create(state, clock), content_of(state)
    name = damage(made)
    with pytest.raises(IntegrityError, match=name):
        backup.verify(made)
    with pytest.raises(IntegrityError, match=name):
        restore.restore(made, Target(state=state), clock, replace=True)
    assert content_of(state) == before
    assert not list(state.parent.glob("state.*"))


def test_a_manifest_that_agrees_with_damaged_records_does_not_help(state: Path, clock: SteppingClock) -> None:
    made = create(state, clock)
    manifest = Manifest.read(made)
    chain = made / "state" / "audit" / "audit.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b'"n":7}', b'"n":8}'))
    sound = backup.Copied(chain.stat().st_size, backup.artifacts.sha256_file(chain))
    told = Manifest(
        made=manifest.made, files={**manifest.files, "state/audit/audit.jsonl": sound}, events=manifest.events,
        chains=manifest.chains,
    ).told()  # fmt: skip
    (made / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(IntegrityError, match="record 8"):
        backup.verify(made)


def test_a_damaged_state_is_not_backed_up(state: Path, root: Path, clock: SteppingClock) -> None:
    chain = state / "audit" / "audit.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b'"n":7}', b'"n":8}'))
    with pytest.raises(IntegrityError, match="record 8"):
        create(state, clock)
    assert list(root.iterdir()) == []


def test_what_is_no_backup_is_said_to_be_none(tmp_path: Path, clock: SteppingClock) -> None:
    with pytest.raises(ConfigError, match="this is no backup"):
        backup.verify(tmp_path)
    with pytest.raises(ConfigError, match="nothing to back up"):
        create(tmp_path / "nowhere", clock)


def test_a_restore_into_a_fresh_home_gives_every_event_and_record_back(
    state: Path, clock: SteppingClock, tmp_path: Path
) -> None:
    made, fresh = create(state, clock), tmp_path / "fresh" / "state"
    done = restore.restore(made, Target(state=fresh), clock, replace=False)
    assert content_of(fresh) == content_of(state)
    assert (done.aside, done.stayed, len(done.compared)) == (None, False, 6)
    assert (fresh / "kobe.db").read_bytes() == (made / "state" / "kobe.db").read_bytes()
    assert verify_chain(fresh / "audit").ok
    with closing(SqlLedger(fresh / "kobe.db", clock)) as ledger:
        assert not ledger.append("things", "e0", "made", {"n": 0, "text": "x" * 300}, key="0")
    assert not restore.unfinished(fresh)


def test_a_state_is_not_written_over_unless_that_is_said(state: Path, root: Path, clock: SteppingClock) -> None:
    made = create(state, clock)
    old = content_of(state)
    with closing(SqlLedger(state / "kobe.db", clock)) as ledger:
        ledger.append("things", "a", "later", {}, key="later")
        later = content_of(state)
        with pytest.raises(RefusedError, match="--replace"):
            restore.restore(made, Target(state=state), clock, replace=False)
        assert content_of(state) == later
        done = restore.restore(made, Target(state=state), clock, replace=True)
        assert content_of(state) == old
        assert content_of(done.aside) == later
        assert ledger.append("things", "a", "anew", {}, key="later"), "an open ledger goes on in the restored file"
    assert content_of(done.aside) == later
    assert [p.name for p in backup.found(root)] == [made.name], "backups stay with the living state"
    assert backup.verify(root / made.name)


def test_a_second_restore_keeps_both_states_that_were_replaced(state: Path, clock: SteppingClock) -> None:
    made = create(state, clock)
    asides = [restore.restore(made, Target(state=state), clock, replace=True).aside for _ in range(2)]
    assert len({*asides}) == 2
    assert all(content_of(aside) == content_of(state) for aside in asides)


def test_what_forbids_stays_through_a_restore(state: Path, clock: SteppingClock) -> None:
    made = create(state, clock)
    (state / "KILL_SWITCH").write_text("odd prices")
    assert restore.restore(made, Target(state=state), clock, replace=True).stayed
    assert (state / "KILL_SWITCH").read_text() == "odd prices"


def test_a_process_at_work_refuses_a_restore(state: Path, clock: SteppingClock) -> None:
    made, before = create(state, clock), content_of(state)
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(state / "locks" / "runner.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(ExternalError, match="another kobe process holds runner"):
            restore.restore(made, Target(state=state), clock, replace=True)
        process.stdin.close()
    assert content_of(state) == before
    restore.restore(made, Target(state=state), clock, replace=True)
    with Lease(state / "locks", "runner", clock):
        pass


def test_where_folders_cannot_be_exchanged_two_renames_do(
    state: Path, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "_exchange", lambda one, other: False)
    made, before = create(state, clock), content_of(state)
    done = restore.restore(made, Target(state=state), clock, replace=True)
    assert content_of(state) == content_of(done.aside) == before
    assert backup.verify(state / "backups" / made.name)
    assert not restore.unfinished(state)


def test_a_restore_cut_short_between_two_renames_is_finished(
    state: Path, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, before = create(state, clock), content_of(state)

    def cut(staged: Path, living: Path, aside: Path) -> None:
        living.rename(aside)
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "_swap", cut)
    with pytest.raises(KeyboardInterrupt):
        restore.restore(made, Target(state=state), clock, replace=True)
    assert restore.unfinished(state)
    assert not state.exists()
    aside = restore.settle(state)
    assert content_of(state) == content_of(aside) == before
    assert backup.verify(state / "backups" / made.name)
    assert not restore.unfinished(state)


def test_a_server_s_events_go_into_a_backup_and_back_into_an_empty_ledger_only(
    state: Path, clock: SteppingClock, postgres_url: str, postgres_cluster, tmp_path: Path
) -> None:
    (state / "kobe.db").unlink()
    with (
        closing(SqlLedger(postgres_url, clock)) as source,
        closing(SqlLedger(postgres_cluster.fresh(), clock)) as empty,
    ):
        for number in range(40):
            source.append("things", f"e{number % 3}", "made", {"n": number}, key=str(number))
        made = backup.create(Source(state=state, ledger=source), tmp_path / "kept", clock.now())
        assert backup.verify(made).events["ledger.jsonl"].number == 40
        for _ in range(2):  # once more is the same
            restore.restore(made, Target(state=tmp_path / "home" / "state", ledger=empty), clock, replace=True)
        assert list(empty.copy_out()) == list(source.copy_out())
        empty.append("things", "a", "more", {}, key="more")
        with pytest.raises(ConfigError, match="empty ledger only"):
            restore.restore(made, Target(state=tmp_path / "home" / "state", ledger=empty), clock, replace=True)


def test_a_ledger_moves_between_file_and_server_by_backup_and_restore(
    state: Path, clock: SteppingClock, postgres_url: str, tmp_path: Path
) -> None:
    made, there = create(state, clock), tmp_path / "there" / "state"
    with closing(SqlLedger(postgres_url, clock)) as server, closing(SqlLedger(state / "kobe.db", clock)) as file:
        restore.restore(made, Target(state=there, ledger=server), clock, replace=False)
        assert list(server.copy_out()) == list(file.copy_out())
        (there / "kobe.db").unlink()
        clock.advance(seconds=1)
        again = backup.create(Source(state=there, ledger=server), there / "backups", clock.now())
        back = tmp_path / "back" / "state"
        restore.restore(again, Target(state=back), clock, replace=False)
        assert content_of(back) == content_of(state)


def test_old_backups_go_except_a_day_s_newest_and_a_month_s(tmp_path: Path) -> None:
    start = datetime(2026, 6, 30, 12, tzinfo=UTC)
    for day in range(420):
        for hour in (0, 6):
            instant = start - timedelta(days=day, hours=hour)
            (tmp_path / f"{instant:%Y%m%dT%H%M%SZ}").mkdir()
    (tmp_path / "mine").mkdir()
    going = backup.too_old(backup.found(tmp_path), 14)
    kept = [p.name for p in backup.found(tmp_path) if p not in going]
    assert kept[:14] == [f"{start - timedelta(days=day):%Y%m%dT120000Z}" for day in range(14)]
    assert kept[14:] == [
        "20260531T120000Z", "20260430T120000Z", "20260331T120000Z", "20260228T120000Z", "20260131T120000Z",
        "20251231T120000Z", "20251130T120000Z", "20251031T120000Z", "20250930T120000Z", "20250831T120000Z",
        "20250731T120000Z",
    ]  # fmt: skip
    backup.remove(going[0])
    assert not going[0].exists()
    assert (tmp_path / "mine").is_dir()


def test_a_full_disk_leaves_no_backup_and_no_trace(state: Path, root: Path, clock: SteppingClock, full_disk) -> None:
    with full_disk(20_000), pytest.raises(ExternalError):
        create(state, clock)
    assert backup.found(root) == []
    assert list(root.iterdir()) == []
    assert create(state, clock)


def test_what_a_killed_backup_left_is_removed_by_the_next(state: Path, root: Path, clock: SteppingClock) -> None:
    shutil.copytree(create(state, clock), root / ".tmp-killed")
    assert [p.name for p in backup.found(root)] == ["20260102T143000Z"]
    create(state, clock)
    assert sorted(p.name for p in root.iterdir()) == ["20260102T143000Z", "20260102T143001Z"]
