"""Locks, audit chain and ledger: durable appends, grouped appends, verification, checkpoints, looks, in one table.

python -m scripts.bench.records [FOLDER]      FOLDER: on the disk to measure; default: a temporary one

Each figure is the median of several rounds with its best; the disk's own wait stands beside them, for what is
appended is on the disk before the call returns.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from filelock import FileLock

from kobe.infra import file_lock
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.audit_proof import prove
from kobe.infra.records.audit_verify import verify
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.ledger_sqlite import SqliteDatabase
from kobe.infra.records.signing import FileSigner

ROUNDS = 5
SINGLE, GROUPS, GROUP, MANY, LOOKS = 300, 20, 500, 200_000, 200
PAYLOAD = {
    "order": "kobe-ibs_rsi-ABCD-2026-01-02-buy-open-1", "symbol": "ABCD", "quantity": 3, "limit": "24.15",
    "verdicts": [{"gate": "budget", "outcome": "PASS", "seen": 71.2, "limit": 75.0}],
}  # fmt: skip


def rates(work: Callable[[], object], count: int, rounds: int = ROUNDS) -> list[float]:
    """Return how many a second, for each round."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - started))
    return found


def syncs(folder: Path) -> list[float]:
    """How often a second this disk takes a line and says so."""
    with (folder / "sync").open("ab", buffering=0) as file:

        def one_by_one() -> None:
            for _ in range(SINGLE):
                file.write(b"x" * 400)
                os.fsync(file.fileno())

        return rates(one_by_one, SINGLE)


def print_row(name: str, found: list[float], bar: int | None = None) -> None:
    """Print a line of the table."""
    middle = statistics.median(found)
    verdict = "" if bar is None else f"{bar:>12,}  {'met' if middle >= bar else 'MISSED'}"
    print(f"{name:44} {middle:>12,.0f} {max(found):>12,.0f} {verdict}")


def main() -> None:
    """Print the table."""
    with _folder() as home:
        signer = FileSigner(home / "keys", name="audit")
        print(f"{'a second':44} {'median':>12} {'best':>12} {'bar':>12}")
        print_row("a lock on a file, taken and given back", rates(lambda: _locks(home), SINGLE))
        print_row("the same through filelock", rates(lambda: _library_locks(home), SINGLE))
        print_row("the disk alone: line, fsync", syncs(home))
        plain, chain = _chain(home / "plain"), _chain(home / "one", signer)
        for each in (plain, chain):
            each.append("begin", {})
        print_row("append, no key", rates(lambda: _singles(plain), SINGLE))
        print_row("append, signed anchor", rates(lambda: _singles(chain), SINGLE), 500)
        print_row(f"records in groups of {GROUP}, signed", rates(lambda: _groups(chain), GROUPS * GROUP), 20_000)
        _looks(home / "ledger.db")
        _big(home, signer)


def _looks(path: Path) -> None:
    """Look for new events of a stream where there are none, and the same where every look has to ask for them."""
    ledger, streams = SqlLedger(path, SystemClock()), [f"stream {k}" for k in range(20)]
    with ledger.exclusive():
        for k in range(10_000):
            ledger.append(streams[k % len(streams)], "bench", "told", PAYLOAD, key=str(k))
    newest = {stream: ledger.events(stream)[-1].sequence for stream in streams}

    def look() -> None:
        for stream in streams * LOOKS:
            if ledger.events(stream, after=newest[stream]):
                raise SystemExit("the ledger tells of what was not appended")

    print_row("look at a stream of the ledger", rates(look, LOOKS * len(streams)))
    with mock.patch.object(SqliteDatabase, "stamp", lambda _: None):  # noqa: PT008  # calling a mock takes longer
        print_row("the same, asking for new events each time", rates(look, LOOKS * len(streams)))


def _locks(home: Path) -> None:
    for _ in range(SINGLE):
        with file_lock.held(home / "ours.lock"):
            pass


def _library_locks(home: Path) -> None:
    for _ in range(SINGLE):
        with FileLock(home / "theirs.lock", timeout=0, thread_local=False, fallback_to_soft=False):
            pass


def _big(home: Path, signer: FileSigner) -> None:
    many = _chain(home / "many", signer)
    print(f"\nmaking a chain of {MANY:,} records with a checkpoint every 1,000 ...")
    for _ in range(MANY // 1000):
        many.append_many([("order", PAYLOAD)] * 1000)
    anchor, folder = many.anchor_file, home / "many"
    print_row(
        "verify, records", rates(lambda: _verified(verify(folder, signer=signer, anchor=anchor).ok), MANY), 200_000
    )
    started = time.perf_counter()
    many.checkpoint()
    print(f"{'checkpoint on demand':44} {(time.perf_counter() - started) * 1e3:>9,.1f} ms")
    started = time.perf_counter()
    prove(folder, MANY // 3, signer.public_key())
    print(f"{'proof of a record in the middle':44} {(time.perf_counter() - started) * 1e3:>9,.1f} ms")


def _verified(ok: bool) -> None:
    if not ok:
        raise SystemExit("the chain does not verify")


def _chain(folder: Path, signer: FileSigner | None = None) -> AuditChain:
    return AuditChain(
        folder, SystemClock(), "bench", signer=signer, anchor=folder.parent / f"{folder.name}.anchor.json"
    )


def _singles(chain: AuditChain) -> None:
    for _ in range(SINGLE):
        chain.append("order", PAYLOAD)


def _groups(chain: AuditChain) -> None:
    for _ in range(GROUPS):
        chain.append_many([("order", PAYLOAD)] * GROUP)


@contextmanager
def _folder() -> Iterator[Path]:
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=given) as name:
        yield Path(name)


if __name__ == "__main__":
    main()
