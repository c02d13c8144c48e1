"""The newest records of a kind, remembered from look to look, are those a reading of the whole chain finds."""

import os
import shutil
import tempfile
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.clock import SteppingClock
from kobe.core.errors import IntegrityError
from kobe.infra.records import audit_newest, audit_segments
from kobe.infra.records.audit import AuditChain, read
from kobe.infra.records.signing import FileSigner

CLOCK = SteppingClock(datetime(2024, 1, 2, 15, 0, tzinfo=UTC))
KINDS = ("decision", "job")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 300)), max_size=4)),
        st.tuples(st.sampled_from(("rotate", "keep", "restore", "tear")), st.none()),
        st.tuples(st.just("look"), st.tuples(st.sampled_from((*KINDS, "never")), st.integers(0, 8))),
    ),
    min_size=5, max_size=30,
)  # fmt: skip


class _Home:
    """A chain with its anchor, and a copy of both that may be put in their place."""

    def __init__(self, folder: Path) -> None:
        self.records, self.copy, self.keys = folder / "records", folder / "copy", folder / "keys"
        self.folder = self.records / "audit"
        self.told = 0

    def write(self, told: list[tuple[str, int]]) -> None:
        chain = AuditChain(self.folder, CLOCK, "run", signer=FileSigner(self.keys, name="audit"), every=3)
        for kind, length in told:
            self.told += 1
            chain.append(kind, {"number": self.told, "long": "x" * length})

    def rotate(self, _: None) -> None:
        if (self.folder / "audit.jsonl").is_file():
            AuditChain(self.folder, CLOCK, "run", signer=FileSigner(self.keys, name="audit"), every=3).rotate()

    def keep(self, _: None) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        if self.folder.is_dir():
            shutil.copytree(self.records, self.copy)

    def restore(self, _: None) -> None:
        if self.copy.is_dir():
            aside = self.records.rename(self.records.with_name("aside"))
            shutil.copytree(self.copy, self.records)
            shutil.rmtree(aside)

    def tear(self, _: None) -> None:
        if (self.folder / "audit.jsonl").is_file():
            with (self.folder / "audit.jsonl").open("ab") as file:
                file.write(b'{"seq":9,"prev":"00","kind":"decision","pay')

    def look(self, wanted: tuple[str, int]) -> None:
        kind, count = wanted
        expected = [r for r in read(self.folder) if r.kind == kind][::-1][:count]
        assert list(islice(audit_newest.newest(self.folder, kind), count)) == expected


@settings(max_examples=60, deadline=None)
@given(steps)
def test_what_is_remembered_equals_what_the_chain_holds(told: list[tuple[str, object]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder, mock.patch.object(audit_segments, "_FIRST_BYTES", 128),
        mock.patch.object(audit_newest, "REMEMBERED", 3),
    ):  # fmt: skip
        home = _Home(Path(folder))
        for step, what in told:
            getattr(home, step)(what)
        for kind in KINDS:
            home.look((kind, 100))


def test_a_file_that_was_changed_and_not_appended_to_is_read_again(tmp_path: Path) -> None:
    home = _Home(tmp_path)
    home.write([("decision", 5), ("decision", 5)])
    home.look(("decision", 2))
    path = home.folder / "audit.jsonl"
    for second, (before, after) in enumerate(((b'"number":1', b'"number":9'), (b'"number":9', b'"number":x'))):
        path.write_bytes(path.read_bytes().replace(before, after))
        os.utime(path, (second, second))
        if after.endswith(b"9"):
            assert [r.payload["number"] for r in audit_newest.newest(home.folder, "decision")] == [2, 9]
    with pytest.raises(IntegrityError):
        list(audit_newest.newest(home.folder, "decision"))
