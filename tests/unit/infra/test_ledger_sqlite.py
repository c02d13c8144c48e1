"""The ledger's file: what is not one, what is damaged, what cannot be written, what was put in its place."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kit.ledger import foreign

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, IntegrityError
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.ledger_schema import VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "kobe.db"


@pytest.fixture
def ledger(path: Path, clock: SteppingClock) -> Iterator[SqlLedger]:
    with closing(SqlLedger(path, clock, busy_timeout_s=0.05)) as ledger:
        yield ledger


def kinds(ledger: SqlLedger) -> list[str]:
    return [event.kind for event in ledger.events("things")]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO events VALUES (1, 's', 'e', 'k', 0, '{}', 'new')",
        "REPLACE INTO events (stream, entity, kind, at_ns, payload, key) VALUES ('things', 'e', 'k', 0, '{}', 'k')",
    ],
)
def test_no_program_can_replace_an_event(ledger: SqlLedger, path: Path, statement: str) -> None:
    ledger.append("things", "a", "made", {"x": 1}, key="k")
    with pytest.raises(sqlite3.IntegrityError, match="events_never"):
        foreign(str(path), statement)
    assert [e.payload for e in ledger.events("things")] == [{"x": 1}]


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


def test_a_foreign_database_is_left_as_it_is(path: Path, clock: SteppingClock) -> None:
    foreign(str(path), "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with closing(SqlLedger(path, clock)) as ledger, pytest.raises(ConfigError, match="another program"):
        ledger.append("things", "a", "made", {}, key="1")
    assert path.read_bytes() == before


def test_a_newer_or_foreign_database_is_a_matter_of_configuration(ledger: SqlLedger, path: Path) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    ledger.close()
    for version, message in ((VERSION + 1, "newer kobe"), (0, "another program")):
        foreign(str(path), f"PRAGMA user_version = {version}")
        with pytest.raises(ConfigError, match=message):
            ledger.append("things", "a", "moved", {}, key="2")


def test_a_ledger_made_by_an_earlier_kobe_is_read_and_gets_its_new_index_when_written(
    ledger: SqlLedger, path: Path, clock: SteppingClock
) -> None:
    foreign(
        str(path),
        """CREATE TABLE events (sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL,
            entity TEXT NOT NULL, kind TEXT NOT NULL, at_ns BIGINT NOT NULL, payload TEXT NOT NULL,
            key TEXT NOT NULL, UNIQUE (stream, key))""",
        "CREATE INDEX events_of_entity ON events (stream, entity)",
        *(f"CREATE TRIGGER {name} BEFORE {deed} ON events WHEN 1 BEGIN SELECT RAISE(ABORT, '{name}'); END"
          for name, deed in (("events_never_change", "UPDATE"), ("events_never_leave", "DELETE"))),
        "CREATE TRIGGER events_never_replaced BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE"
        " sequence = NEW.sequence) BEGIN SELECT RAISE(ABORT, 'events_never_replaced'); END",
        "INSERT INTO events (stream, entity, kind, at_ns, payload, key) VALUES ('things', 'a', 'made', 0, '{}', '1')",
        "PRAGMA user_version = 1",
    )  # fmt: skip
    with closing(SqlLedger(path, clock, read_only=True)) as reader:
        assert kinds(reader) == ["made"]
    assert ledger.append("things", "a", "moved", {}, key="2")
    assert [e.sequence for e in ledger.events("things")] == [1, 2]
    plan = foreign(
        str(path), "EXPLAIN QUERY PLAN SELECT * FROM events WHERE stream = 's' AND sequence > 9 ORDER BY sequence"
    )
    assert [row[-1] for row in plan] == ["SEARCH events USING INDEX events_of_stream (stream=? AND sequence>?)"]


def test_a_file_put_in_the_ledgers_place_is_read_and_written_from_then_on(
    ledger: SqlLedger, path: Path, clock: SteppingClock
) -> None:
    ledger.append("things", "a", "old", {}, key="1")
    assert kinds(ledger) == ["old"]
    other = path.with_name("other.db")
    with closing(SqlLedger(other, clock)) as writer:
        writer.append("things", "a", "new", {}, key="1")
    path.with_name("kobe.db-wal").unlink()
    aside = path.rename(path.with_name("aside.db"))
    other.rename(path)
    assert kinds(ledger) == ["new"]
    assert ledger.append("things", "a", "more", {}, key="2")
    assert kinds(ledger) == ["new", "more"]
    assert b"more" not in aside.read_bytes()


def test_a_blank_file_is_an_empty_ledger(path: Path, clock: SteppingClock) -> None:
    path.parent.mkdir()
    path.touch()
    with closing(SqlLedger(path, clock, read_only=True)) as reader:
        assert reader.events("things") == []
        with closing(SqlLedger(f"sqlite:///{path}", clock)) as writer:
            writer.append("things", "a", "made", {}, key="1")
            assert kinds(reader) == ["made"]


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
