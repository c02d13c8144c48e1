"""When a record is waited for: always, but in a simulation's own home, and there again once it is over."""

import os
from contextlib import suppress
from datetime import UTC, date, datetime

from kobe.app import wiring
from kobe.app.day import runs, simulate
from kobe.core.clock import SteppingClock
from kobe.infra import durable
from kobe.infra.records.ledger import SqlLedger

AT = datetime(2024, 12, 31, 22, 0, tzinfo=UTC)


def synchronous(ledger: SqlLedger) -> int:
    """How the connection that writes waits: 2 is for every commit, 0 for none."""
    with ledger.exclusive():
        return ledger._local.ask("PRAGMA synchronous", {})[0][0]


def test_inside_the_block_nothing_is_waited_for_and_after_it_everything_is(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(os, "fsync", lambda _: waited.append("fsync"))
    monkeypatch.setattr(os, "sync", lambda: waited.append("sync"), raising=False)
    ledger = SqlLedger(tmp_path / "ledger.db", SteppingClock(AT))
    ledger.append("a", "b", "c", {}, key="1")
    assert (synchronous(ledger), durable.waits()) == (2, True)
    with suppress(KeyError), durable.not_waiting():
        waited.clear()
        durable.write_whole(tmp_path / "file", b"x")
        assert (waited, synchronous(ledger), durable.waits()) == ([], 0, False)
        raise KeyError
    assert waited == ["sync"]
    durable.write_whole(tmp_path / "file", b"y")
    assert (synchronous(ledger), durable.waits()) == (2, True)
    assert waited.count("fsync") == 2
    ledger.close()


def test_only_a_home_without_records_of_real_days_is_for_playing(tmp_path):
    for name, lived in (("new", False), ("lived", True)):
        ctx = wiring.build(tmp_path / name, clock=SteppingClock(AT))
        if lived:
            runs.start(ctx.ledger, "scan", date(2024, 12, 31), "run", AT)
        assert simulate._is_for_playing(ctx) is not lived
        runs.start(ctx.ledger, "reconcile", date(2024, 12, 31), "run", AT)
        assert simulate._is_for_playing(ctx) is not lived  # what was played in goes on as it began
        ctx.ledger.close()
