"""A ledger that follows its streams answers as one that was just opened, whatever others do to the file meanwhile."""

import shutil
import tempfile
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.clock import SteppingClock
from kobe.infra.records import ledger_follow
from kobe.infra.records.ledger import SqlLedger

CLOCK = SteppingClock(datetime(2024, 1, 2, 15, 0, tzinfo=UTC))
STREAMS, ENTITIES = ("orders", "jobs"), ("a", "b")
places = st.tuples(st.sampled_from(STREAMS), st.sampled_from(ENTITIES))
asked = st.tuples(st.sampled_from(STREAMS), st.sampled_from((None, *ENTITIES)), st.integers(0, 8))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("mine", "theirs")), st.lists(places, min_size=1, max_size=3)),
        st.tuples(st.just("undone"), st.lists(places, min_size=1, max_size=2)),
        st.tuples(st.sampled_from(("keep", "restore", "reopen")), st.just([])),
        st.tuples(st.just("ask"), st.lists(asked, min_size=1, max_size=4)),
    ),
    min_size=4, max_size=25,
)  # fmt: skip


class _Home:
    """A ledger under test, a second process's ledger on the same file, and a copy that may be put in its place."""

    def __init__(self, folder: Path) -> None:
        self.file, self.copy, self.count = folder / "kobe.db", folder / "copy.db", 0
        self.mine, self.theirs = (SqlLedger(self.file, CLOCK) for _ in range(2))

    def write(self, ledger: SqlLedger, told: list[tuple[str, str]]) -> None:
        for stream, entity in told:
            self.count += 1
            ledger.append(stream, entity, "made", {"number": self.count}, key=str(self.count))

    def undo(self, told: list[tuple[str, str]]) -> None:
        with suppress(InterruptedError), self.mine.exclusive():
            self.write(self.mine, told)
            self.compare([(stream, entity, 0) for stream in STREAMS for entity in (None, *ENTITIES)], inside=told)
            raise InterruptedError

    def keep(self) -> None:
        with closing(SqlLedger(self.copy, CLOCK)) as copy:
            self.copy.unlink(missing_ok=True)
            copy.copy_in(self.mine.copy_out())

    def restore(self) -> None:
        if self.copy.is_file():
            self.theirs.close()
            with closing(SqlLedger(self.copy, CLOCK)) as copy:
                copy.events("orders")
            new = self.file.with_name("new.db")
            shutil.copy(self.copy, new)
            for rest in self.file.parent.glob("kobe.db-*"):
                rest.unlink()
            new.replace(self.file)

    def compare(self, asked: list[tuple[str, str | None, int]], inside: list[tuple[str, str]] | None = None) -> None:
        for stream, entity, after in asked:
            with closing(SqlLedger(self.file, CLOCK)) as fresh:
                expected = [e.payload["number"] for e in fresh.events(stream, entity=entity, after=after)]
            own = [p for p in inside or [] if p[0] == stream and entity in (None, p[1])]
            found = [e.payload["number"] for e in self.mine.events(stream, entity=entity, after=after)]
            assert found[: len(expected)] == expected
            assert len(found) == len(expected) + len(own)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_what_is_followed_equals_what_a_new_reader_sees(told: list[tuple[str, list]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = _Home(Path(folder))
        for step, what in told:
            match step:
                case "mine" | "theirs":
                    home.write(getattr(home, step), what)
                case "undone":
                    home.undo(what)
                case "ask":
                    home.compare(what)
                case "reopen":
                    home.mine.close()
                case _:
                    getattr(home, step)()
        home.compare([(stream, entity, 0) for stream in STREAMS for entity in (None, *ENTITIES)])


def test_more_streams_than_are_followed_and_pages_of_one_row_change_no_answer(monkeypatch) -> None:
    monkeypatch.setattr(ledger_follow, "_STREAMS", 2)
    monkeypatch.setattr(ledger_follow, "_PAGE_ROWS", 1)
    test_what_is_followed_equals_what_a_new_reader_sees()


def test_what_is_committed_while_a_stream_is_first_read_is_told_once(tmp_path: Path, monkeypatch) -> None:
    home = _Home(tmp_path)
    home.write(home.theirs, [("orders", "a")])
    read = home.mine._database.rows

    def rows(statement: str, values: dict) -> list:
        if "stream" in values:
            monkeypatch.undo()
            home.write(home.theirs, [("orders", "a")])
        return read(statement, values)

    monkeypatch.setattr(home.mine._database, "rows", rows)
    assert len(home.mine.events("orders")) == len(home.mine.events("orders")) == home.count == 2
