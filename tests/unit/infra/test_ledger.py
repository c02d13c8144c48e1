"""The event ledger: durable, append-only, idempotent, exclusive, and clear about what is wrong with its file."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kobe.core.clock import SteppingClock, to_ns
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, KobeError
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.ledger_schema import VERSION

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "kobe.db"


@pytest.fixture
def ledger(path: Path, clock: SteppingClock) -> Iterator[SqlLedger]:
    with closing(SqlLedger(path, clock, busy_timeout_s=0.05)) as ledger:
        yield ledger


def kinds(ledger: SqlLedger, stream: str = "things") -> list[str]:
    return [event.kind for event in ledger.events(stream)]


def test_events_come_back_as_they_were_appended(ledger: SqlLedger, clock: SteppingClock) -> None:
    assert ledger.append("things", "b", "made", {"price": "1.10", "n": 2**70, "who": "Zoë"}, key="b-1")
    clock.set(datetime(2026, 1, 2, 14, 30, 0, 123456, tzinfo=UTC))
    assert ledger.append("things", "a", "moved", {}, key="a-1")
    assert ledger.append("others", "a", "made", {}, key="a-1")
    first, second = ledger.events("things")
    assert (first.sequence, first.entity, first.payload) == (1, "b", {"price": "1.10", "n": 2**70, "who": "Zoë"})
    assert (second.sequence, second.kind, second.at_ns) == (2, "moved", to_ns(clock.now()))
    assert [e.entity for e in ledger.events("things", entity="b")] == ["b"]


def test_a_key_used_before_is_the_same_event_without_effect(ledger: SqlLedger) -> None:
    assert ledger.append("things", "a", "made", {"x": 1, "y": 2}, key="k")
    assert not ledger.append("things", "a", "made", {"y": 2, "x": 1}, key="k")
    assert ledger.append("things", "a", "moved", {}, key="l")
    assert [e.sequence for e in ledger.events("things")] == [1, 2]


@pytest.mark.parametrize("other", [("b", "made", {}), ("a", "moved", {}), ("a", "made", {"x": 1})])
def test_a_key_given_to_another_event_is_an_integrity_fault(ledger: SqlLedger, other: tuple[str, str, dict]) -> None:
    ledger.append("things", "a", "made", {}, key="k")
    with pytest.raises(IntegrityError, match="one key was given to two different events"):
        ledger.append("things", *other, key="k")
    assert kinds(ledger) == ["made"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = '{}'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events VALUES (1, 's', 'e', 'k', 0, '{}', 'new')",
        "REPLACE INTO events (stream, entity, kind, at_ns, payload, key) VALUES ('things', 'e', 'k', 0, '{}', 'k')",
    ],
)
def test_no_program_can_rewrite_history_through_the_file(ledger: SqlLedger, path: Path, statement: str) -> None:
    ledger.append("things", "a", "made", {"x": 1}, key="k")
    with closing(sqlite3.connect(path)) as foreign, pytest.raises(sqlite3.IntegrityError, match="events_never"):
        foreign.execute(statement)
    assert [e.payload for e in ledger.events("things")] == [{"x": 1}]


def test_a_transaction_keeps_all_or_nothing(ledger: SqlLedger, path: Path, clock: SteppingClock) -> None:
    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="1")
        assert kinds(ledger) == ["made"]
        with closing(SqlLedger(path, clock, read_only=True)) as other:
            assert kinds(other) == []
    with pytest.raises(ZeroDivisionError), ledger.exclusive():
        _ = ledger.append("things", "a", "moved", {}, key="2") / 0
    assert kinds(ledger) == ["made"]
    ledger.append("things", "a", "moved", {}, key="2")
    assert kinds(ledger) == ["made", "moved"]


def test_a_failed_append_spoils_its_transaction_even_if_caught(ledger: SqlLedger) -> None:
    ledger.append("things", "a", "made", {}, key="1")

    def swallowing() -> None:
        with ledger.exclusive():
            ledger.append("things", "a", "moved", {}, key="2")
            for key in ("1", "3"):
                with pytest.raises(IntegrityError):
                    ledger.append("things", "a", "other", {}, key=key)

    with pytest.raises(IntegrityError):
        swallowing()
    assert kinds(ledger) == ["made"]


def test_a_transaction_inside_another_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(KobeError, match="inside another"), ledger.exclusive(), ledger.exclusive():
        pass
    assert ledger.append("things", "a", "made", {}, key="1")


def test_a_transaction_belongs_to_its_thread(ledger: SqlLedger) -> None:
    seen: list[object] = []

    def elsewhere() -> None:
        seen.append(kinds(ledger))
        with pytest.raises(ExternalError):
            ledger.append("things", "a", "other", {}, key="2")

    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="1")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert (seen, kinds(ledger)) == ([[]], ["made"])


def test_a_payload_that_json_cannot_say_leaves_no_trace(ledger: SqlLedger, path: Path) -> None:
    for payload in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            ledger.append("things", "a", "made", payload, key="1")
    assert not path.exists()


def test_a_locked_ledger_names_the_other_process_as_cause(ledger: SqlLedger, path: Path) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ExternalError, match="another kobe process holds the ledger") as raised:
            ledger.append("things", "a", "moved", {}, key="2")
        assert raised.value.retryable
        assert raised.value.next_command == "kobe status"
        assert kinds(ledger) == ["made"]
    assert ledger.append("things", "a", "moved", {}, key="2")


def test_what_is_not_a_ledger_is_an_integrity_fault(path: Path, clock: SteppingClock) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, whatever its name says" * 200)
    for read_only in (False, True):
        with closing(SqlLedger(path, clock, read_only=read_only)) as ledger, pytest.raises(IntegrityError):
            ledger.events("things")


def test_damaged_pages_are_an_integrity_fault(ledger: SqlLedger, path: Path) -> None:
    for number in range(200):
        ledger.append("things", "a", "made", {"text": "x" * 100}, key=str(number))
    ledger.check()
    ledger.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(IntegrityError, match="kobe doctor"):
        ledger.events("things")
    with pytest.raises(IntegrityError):
        ledger.check()


def test_a_ledger_without_its_guards_is_an_integrity_fault(ledger: SqlLedger, path: Path) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    ledger.close()
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("DROP TRIGGER events_never_leave")
    with pytest.raises(IntegrityError, match="without events_never_leave"):
        ledger.events("things")


def test_a_foreign_database_is_left_as_it_is(path: Path, clock: SteppingClock) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with closing(SqlLedger(path, clock)) as ledger, pytest.raises(ConfigError, match="another program"):
        ledger.append("things", "a", "made", {}, key="1")
    assert path.read_bytes() == before


def test_a_newer_or_foreign_database_is_a_matter_of_configuration(ledger: SqlLedger, path: Path) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    ledger.close()
    for version, message in ((VERSION + 1, "newer kobe"), (0, "another program")):
        with closing(sqlite3.connect(path)) as foreign:
            foreign.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(ConfigError, match=message):
            ledger.append("things", "a", "moved", {}, key="2")


def test_a_reader_makes_nothing_and_writes_nothing(path: Path, clock: SteppingClock) -> None:
    with closing(SqlLedger(path, clock, read_only=True)) as reader:
        assert reader.events("things") == []
        assert not path.parent.exists()
        path.parent.mkdir()
        path.touch()
        assert reader.events("things") == []
        with closing(SqlLedger(f"sqlite:///{path}", clock)) as writer:
            writer.append("things", "a", "made", {}, key="1")
            assert kinds(reader) == ["made"]
        with pytest.raises(ConfigError, match="reading only"):
            reader.append("things", "a", "moved", {}, key="2")


def test_only_addresses_of_sqlite_are_taken_and_no_password_is_repeated(clock: SteppingClock) -> None:
    with pytest.raises(ConfigError) as raised:
        SqlLedger("postgresql://kobe:hunter2@host/db", clock)
    assert "hunter2" not in raised.value.message


def test_an_unwritable_folder_is_a_matter_of_configuration(unwritable: Path, clock: SteppingClock) -> None:
    for path in (unwritable / "kobe.db", unwritable / "state" / "kobe.db"):
        with closing(SqlLedger(path, clock)) as ledger, pytest.raises(ConfigError, match="kobe doctor"):
            ledger.append("things", "a", "made", {}, key="1")


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_there(
    ledger: SqlLedger, path: Path, full_disk: Callable
) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    size = path.with_name("kobe.db-wal").stat().st_size
    with full_disk(size + 100), pytest.raises(ExternalError, match="kobe doctor"):
        ledger.append("things", "a", "moved", {"x": "y" * 9000}, key="2")
    assert kinds(ledger) == ["made"]
    assert ledger.append("things", "a", "moved", {}, key="2")


STARTER = """
import sys
from contextlib import closing
from pathlib import Path
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger
assert "sqlalchemy" not in sys.modules, "the ledger's module must be cheap to import"
import sqlalchemy
print("ready", flush=True)
sys.stdin.readline()
with closing(SqlLedger(Path(sys.argv[1]), SystemClock())) as ledger:
    for number in range(50):
        ledger.append("things", sys.argv[2], "made", {}, key=f"{sys.argv[2]}-{number}")
        ledger.append("things", "shared", "made", {}, key=f"shared-{number}")
"""


def test_processes_that_start_together_share_one_new_ledger(ledger: SqlLedger, path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": REPOSITORY, "text": True}
    starters = [subprocess.Popen([sys.executable, "-c", STARTER, str(path), name], **pipes) for name in "abc"]
    assert [p.stdout.readline() for p in starters] == ["ready\n"] * 3
    for process in starters:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in starters:
        process.communicate()
    assert [p.returncode for p in starters] == [0, 0, 0]
    assert len(ledger.events("things")) == 200
    assert len(ledger.events("things", entity="shared")) == 50
