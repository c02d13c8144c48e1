"""The event ledger on every database it speaks: durable, append-only, idempotent, exclusive, clear about faults."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kit.ledger import foreign

from kobe.core.clock import SteppingClock, to_ns
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, KobeError
from kobe.infra.records.ledger import DATABASES, SqlLedger
from kobe.infra.records.ledger_schema import COLUMNS

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made and is not yet."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "kobe.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(address: str, clock: SteppingClock) -> Iterator[SqlLedger]:
    with closing(SqlLedger(address, clock, busy_timeout_s=0.05)) as ledger:
        yield ledger


def kinds(ledger: SqlLedger, stream: str = "things") -> list[str]:
    return [event.kind for event in ledger.events(stream)]


def test_every_database_in_the_table_passes_this_suite():
    assert set(DATABASES) == {"sqlite", "postgresql", "postgres"}


def test_events_come_back_as_they_were_appended(ledger: SqlLedger, clock: SteppingClock) -> None:
    assert ledger.append("things", "b", "made", {"price": "1.10", "n": 2**70, "who": "Zoë 100% :x"}, key="b-1")
    clock.set(datetime(2026, 1, 2, 14, 30, 0, 123456, tzinfo=UTC))
    assert ledger.append("things", "a", "moved", {}, key="a-1")
    assert ledger.append("others", "a", "made", {}, key="a-1")
    first, second = ledger.events("things")
    assert (first.sequence, first.entity) == (1, "b")
    assert first.payload == {"price": "1.10", "n": 2**70, "who": "Zoë 100% :x"}
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


def test_a_fold_goes_on_after_the_last_event_it_saw(ledger: SqlLedger) -> None:
    for number in range(6):
        ledger.append("things", "ab"[number % 2], "made", {}, key=str(number))
    ledger.append("others", "a", "made", {}, key="0")
    for _ in ("read from the database", "and once all of it is carried"):
        assert [e.sequence for e in ledger.events("things", after=4)] == [5, 6]
        assert [e.sequence for e in ledger.events("things", entity="a", after=1)] == [3, 5]
        assert ledger.events("things", after=6) == ledger.events("things", after=2**62) == []
        assert len(ledger.events("things")) == 6
        assert len(ledger.events("things", entity="a")) == 3
    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="6")
        assert [e.sequence for e in ledger.events("things", after=6)] == [8]


def test_numbers_have_no_gap_even_where_a_transaction_was_undone(ledger: SqlLedger) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    with pytest.raises(ZeroDivisionError), ledger.exclusive():
        _ = ledger.append("things", "a", "moved", {}, key="2") / 0
    ledger.append("things", "a", "moved", {}, key="2")
    assert [e.sequence for e in ledger.events("things")] == [1, 2]
    ledger.check()


@pytest.mark.parametrize("statement", ["UPDATE events SET payload = '{}'", "DELETE FROM events"])
def test_no_program_can_rewrite_history(ledger: SqlLedger, address: str, statement: str) -> None:
    ledger.append("things", "a", "made", {"x": 1}, key="k")
    with pytest.raises(Exception, match="events_never"):
        foreign(address, statement)
    assert [e.payload for e in ledger.events("things")] == [{"x": 1}]


def test_a_transaction_keeps_all_or_nothing(ledger: SqlLedger, address: str, clock: SteppingClock) -> None:
    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="1")
        assert kinds(ledger) == ["made"]
        with closing(SqlLedger(address, clock, read_only=True)) as other:
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
        seen.append("refused")

    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="1")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert (seen, kinds(ledger)) == ([[], "refused"], ["made"])


def test_threads_that_append_and_read_at_once_lose_nothing(address: str, clock: SteppingClock) -> None:
    faults: list[BaseException] = []
    with closing(SqlLedger(address, clock, busy_timeout_s=30)) as ledger:

        def busy(name: str) -> None:
            try:
                for number in range(25):
                    ledger.append("things", name, "made", {}, key=f"{name}-{number}")
                    assert len(ledger.events("things", entity=name)) == number + 1
            except BaseException as error:  # noqa: BLE001 - a thread's failure is this test's
                faults.append(error)

        threads = [threading.Thread(target=busy, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        assert [e.sequence for e in ledger.events("things")] == list(range(1, 101))


def test_a_ledger_that_is_just_being_made_is_never_taken_for_another_programs(
    tmp_path: Path, clock: SteppingClock
) -> None:
    """Readers and writers meet at a file's first moment, forty times."""
    faults: list[BaseException] = []
    for turn in range(40):
        with closing(SqlLedger(str(tmp_path / f"{turn}.db"), clock, busy_timeout_s=30)) as ledger:
            together = threading.Barrier(8)

            def first(name: int, ledger: SqlLedger = ledger, together: threading.Barrier = together) -> None:
                try:
                    together.wait()
                    if name % 2:
                        ledger.append("things", str(name), "made", {}, key=str(name))
                    ledger.events("things")
                except BaseException as error:  # noqa: BLE001 - a thread's failure is this test's
                    faults.append(error)

            threads = [threading.Thread(target=first, args=(name,)) for name in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(ledger.events("things")) == 4
    assert not faults


def test_what_cannot_be_said_leaves_no_trace(ledger: SqlLedger, address: str, clock: SteppingClock) -> None:
    for payload in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            ledger.append("things", "a", "made", payload, key="1")
    with pytest.raises(ValueError, match="NUL"):
        ledger.append("things", "a\0", "made", {}, key="1")
    with closing(SqlLedger(address, clock, read_only=True)) as reader:
        assert reader.events("things") == []
    assert "://" in address or not Path(address).exists()


def test_a_ledger_without_its_guards_is_an_integrity_fault(ledger: SqlLedger, address: str) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    ledger.close()
    on_table = " ON events" if "://" in address else ""
    foreign(address, f"DROP TRIGGER events_never_leave{on_table}")
    with pytest.raises(IntegrityError, match="without events_never_leave"):
        ledger.events("things")
    with pytest.raises(IntegrityError, match="without events_never_leave"):
        ledger.append("things", "a", "moved", {}, key="2")


def test_an_event_gone_from_the_middle_is_found(ledger: SqlLedger, address: str) -> None:
    for key in "123":
        ledger.append("things", "a", "made", {}, key=key)
    on_table = " ON events" if "://" in address else ""
    foreign(address, f"DROP TRIGGER events_never_leave{on_table}", "DELETE FROM events WHERE sequence = 2")
    with pytest.raises(IntegrityError):
        ledger.check()


def test_a_payload_that_is_not_json_is_an_integrity_fault(ledger: SqlLedger, address: str) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    foreign(address, "INSERT INTO events VALUES (2, 'things', 'a', 'made', 0, '{', '2')")
    with pytest.raises(IntegrityError, match="event 2 is not JSON"):
        ledger.events("things")


def test_the_table_of_another_program_is_left_as_it_is(address: str, clock: SteppingClock) -> None:
    foreign(address, "CREATE TABLE events (x INTEGER)", "INSERT INTO events VALUES (7)")
    with closing(SqlLedger(address, clock)) as ledger:
        with pytest.raises(ConfigError, match="another program"):
            ledger.append("things", "a", "made", {}, key="1")
        with pytest.raises(ConfigError, match="another program"):
            ledger.events("things")
    assert foreign(address, "SELECT * FROM events") == [(7,)]


def test_a_reader_makes_nothing_and_writes_nothing(address: str, clock: SteppingClock) -> None:
    with closing(SqlLedger(address, clock, read_only=True)) as reader:
        assert reader.events("things") == []
        reader.check()
        assert "://" in address or not Path(address).parent.exists()
        with closing(SqlLedger(address, clock)) as writer:
            assert writer.events("things") == []
            writer.append("things", "a", "made", {}, key="1")
            assert kinds(reader) == ["made"]
            reader.check()
        with pytest.raises(ConfigError, match="reading only"):
            reader.append("things", "a", "moved", {}, key="2")


def test_a_copy_holds_every_event_with_number_and_instant(
    ledger: SqlLedger, address: str, clock: SteppingClock, tmp_path: Path
) -> None:
    for number in range(5):
        clock.advance(seconds=1)
        ledger.append("st"[number % 2], "a", "made", {"n": number}, key=str(number))
    rows = list(ledger.copy_out())
    assert [tuple(row) for row in rows] == [COLUMNS] * 5
    with closing(SqlLedger(tmp_path / "copy.db", clock)) as copy:
        assert copy.copy_in(rows) == 5
        assert list(copy.copy_out()) == rows
        assert copy.events("s") == ledger.events("s")
        assert not copy.append("s", "a", "made", {"n": 0}, key="0")
        copy.append("s", "a", "made", {}, key="new")
        assert copy.events("s", after=5)[0].sequence == 6


def test_only_an_empty_ledger_takes_a_whole_one(ledger: SqlLedger, clock: SteppingClock, tmp_path: Path) -> None:
    with closing(SqlLedger(tmp_path / "source.db", clock)) as source:
        for key in "123":
            source.append("things", "a", "made", {}, key=key)
        rows = list(source.copy_out())
    with pytest.raises(IntegrityError, match="out of order"):
        ledger.copy_in([rows[0], rows[2]])
    assert ledger.copy_in(rows) == 3
    with pytest.raises(ConfigError, match="empty ledger only"):
        ledger.copy_in(rows)
    assert list(ledger.copy_out()) == rows


STARTER = """
import sys
from contextlib import closing
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger
print("ready", flush=True)
sys.stdin.readline()
with closing(SqlLedger(sys.argv[1], SystemClock(), busy_timeout_s=30)) as ledger:
    for number in range(50):
        ledger.append("things", sys.argv[2], "made", {}, key=f"{sys.argv[2]}-{number}")
        ledger.append("things", "shared", "made", {}, key=f"shared-{number}")
assert ("sqlalchemy" in sys.modules) == ("://" in sys.argv[1]), "SQLite is spoken to directly"
"""


def test_processes_that_start_together_share_one_new_ledger(ledger: SqlLedger, address: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": REPOSITORY, "text": True}
    starters = [subprocess.Popen([sys.executable, "-c", STARTER, address, name], **pipes) for name in "abc"]
    assert [p.stdout.readline() for p in starters] == ["ready\n"] * 3
    for process in starters:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in starters:
        process.communicate()
    assert [p.returncode for p in starters] == [0, 0, 0]
    assert [e.sequence for e in ledger.events("things")] == list(range(1, 201))
    assert len(ledger.events("things", entity="shared")) == 50
    ledger.check()


@pytest.mark.parametrize("address", ["mysql://kobe:hunter2@host/db", "postgresql://kobe:hun/ter2@host:x/db", "://"])
def test_an_address_that_cannot_be_used_is_refused_and_no_password_is_repeated(
    address: str, clock: SteppingClock
) -> None:
    with pytest.raises(ConfigError) as raised:
        SqlLedger(address, clock)
    assert "ter2" not in raised.value.message
    assert raised.value.__context__ is None


def test_a_locked_ledger_names_the_other_process_as_cause(
    ledger: SqlLedger, address: str, clock: SteppingClock
) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    with closing(SqlLedger(address, clock)) as other, other.exclusive():
        with pytest.raises(ExternalError, match="another kobe process holds the ledger") as raised:
            ledger.append("things", "a", "moved", {}, key="2")
        assert raised.value.retryable
        assert raised.value.next_command == "kobe status"
        assert kinds(ledger) == ["made"]
    assert ledger.append("things", "a", "moved", {}, key="2")


def test_nothing_is_left_waiting_when_a_ledger_is_closed_inside_a_transaction(
    ledger: SqlLedger, address: str, clock: SteppingClock
) -> None:
    with ledger.exclusive():
        ledger.append("things", "a", "made", {}, key="1")
        ledger.close()
    with closing(SqlLedger(address, clock, busy_timeout_s=0.05)) as other:
        assert other.append("things", "a", "moved", {}, key="2")
    assert kinds(ledger) == ["made", "moved"]
