"""Whatever byte of an audit chain is touched, and wherever it is cut, verification says so."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.clock import SteppingClock
from kobe.infra.records import audit_lines as layout
from kobe.infra.records.audit import AuditChain, read, verify

RECORDS = 5
PAYLOADS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def clock() -> SteppingClock:
    return SteppingClock(datetime(2026, 1, 2, 14, 30, tzinfo=UTC))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("audit")
    writer = AuditChain(folder, clock(), "run")
    for number in range(RECORDS):
        writer.append("decision", {"number": number})
    return folder, (folder / layout.CHAIN).read_bytes()


@settings(deadline=None)  # disks have moods
@given(data=st.data())
def test_a_change_of_any_byte_is_named_at_its_record(chain: tuple[Path, bytes], data: st.DataObject) -> None:
    folder, content = chain
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != content[at]))
    (folder / layout.CHAIN).write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    report = verify(folder)
    last = at == len(content) - 1  # without its line break a line is a line cut short
    assert report.problem == ("truncated" if last else "edited")
    assert report.first_bad_seq == content[:at].count(b"\n") + 1


@settings(deadline=None)  # disks have moods
@given(data=st.data())
def test_a_cut_at_any_byte_is_named_at_the_first_record_lost(chain: tuple[Path, bytes], data: st.DataObject) -> None:
    folder, content = chain
    kept = content[: data.draw(st.integers(0, len(content) - 1))]
    (folder / layout.CHAIN).write_bytes(kept)
    report = verify(folder)
    assert (report.problem, report.first_bad_seq) == ("truncated", kept.count(b"\n") + 1)


@settings(deadline=None)  # disks have moods
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=4), run=st.text(max_size=8), kind=st.text(max_size=8))
def test_any_payload_comes_back_and_verifies(payloads: list[dict], run: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        writer = AuditChain(Path(name), clock(), run)
        digests = [writer.append(kind, payload) for payload in payloads]
        told = [(r.run, r.kind, r.payload, r.hash) for r in read(Path(name))]
        assert told == [(run, kind, p, d) for p, d in zip(payloads, digests, strict=True)]
        assert verify(Path(name)).ok
