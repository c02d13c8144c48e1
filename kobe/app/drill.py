"""`kobe drill kill`: the kill switch tripped in throw-away homes with each dependency broken in turn, for real.

Nothing of kobe is replaced by something that pretends: files are locked, cut, turned into folders and links, the
disk stops taking bytes, and a broker on this machine answers errors or not at all. After the trip, what was ready to
leave tries to leave: an opening, a closing order and a moved stop that every gate had let through before, and a fresh
opening. Nothing may reach the broker. Then the open orders are cancelled, as far as what is left allows.
"""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kobe.app import desk, drill_scene, kill
from kobe.app.context import Context
from kobe.app.drill_broker import broken_broker
from kobe.core.errors import ExitCode, KobeError
from kobe.core.ports import Progress
from kobe.execution.oms import Oms
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

REASON = "drill"
NOT_TRIED = "not tried"
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A home whose dependency is broken, and how to count what has reached its broker."""

    ctx: Context
    left: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is broken while the switch is tripped; `stage` breaks it for as long as its block lasts."""

    name: str
    broken: str
    stage: Callable[[Path], AbstractContextManager[Stage]]


@dataclass(slots=True, kw_only=True)
class Result:
    """What a case showed; seconds are from the moment of the trip.

    `left` is what reached the broker after it, `ended` how many open orders were cancelled.
    """

    case: str
    broken: str
    blocked: bool = False
    left: int = 0
    ended: int = 0
    silent_s: float | None = None
    refused_s: float | None = None
    cancelled_s: float | None = None
    attempts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    tried: bool = True


def run_drill_kill(into: Path | None = None, progress: Progress | None = None, names: tuple[str, ...] = ()) -> Document:
    """Run every case, or those of some names, in a throw-away home of its own, and say what it showed."""
    cases = [case for case in CASES if not names or case.name in names]
    results = []
    with tempfile.TemporaryDirectory(prefix="kobe-drill-", dir=into) as folder, drill_scene.own_environment():
        base = drill_scene.make_home(Path(folder) / "base")
        for done, case in enumerate(cases, start=1):
            results.append(_run(case, base, Path(folder) / case.name))
            if progress is not None:
                progress(done, len(cases), "drill")
    return _document(results)


def _run(case: Case, base: Path, folder: Path) -> Result:
    result = Result(case=case.name, broken=case.broken)
    home = drill_scene.copy(base, folder)
    before = drill_scene.context(home)
    ready = drill_scene.ready(before)
    drill_scene.close(before)
    try:
        with case.stage(home) as stage:
            _trip(stage, ready, result)
    except NotImplementedError as error:
        result.tried, result.blocked = False, True
        result.faults = [f"{NOT_TRIED}: {error}"]
    return result


def _trip(stage: Stage, ready: drill_scene.Ready, result: Result) -> None:
    """Trip the switch, let everything try to leave, and cancel what is open."""
    ctx = stage.ctx
    reached, began = stage.left(), time.perf_counter()
    done = kill.trip(ctx, REASON)
    result.silent_s = done.silent_s
    for name, attempt in _attempts(ctx, ready):
        result.attempts[name] = _outcome(attempt)
        if result.refused_s is None:
            result.refused_s = time.perf_counter() - began
    kill.cancel_all(ctx, done, everything=True)
    result.left, result.ended, result.faults = stage.left() - reached, len(done.ended), done.faults
    if result.ended == drill_scene.OPEN_ORDERS:
        result.cancelled_s = done.cancelled_s
    else:
        result.faults.append(f"{result.ended} of {drill_scene.OPEN_ORDERS} open orders are known to have ended")
    result.blocked = result.left == 0 and "left" not in result.attempts.values()


def _attempts(ctx: Context, ready: drill_scene.Ready) -> list[tuple[str, Callable[[], object]]]:
    """Return everything that could send, each on its own."""
    oms = desk.manager(ctx)
    return [
        ("fresh opening", lambda: _fresh(ctx, oms)),
        ("cleared opening", lambda: oms.submit(ready.opening)),
        ("cleared closing", lambda: oms.submit(ready.closing)),
        ("moved stop", lambda: oms.amend(ready.guard, ready.moving)),
    ]


def _fresh(ctx: Context, oms: Oms) -> str:
    """Take the way every order takes: ask for a quote, gather the facts, ask the gates."""
    symbol = next(s for s in ctx.panel().symbols if s != ctx.settings.market.symbol)
    quote = ctx.quotes.quotes([symbol]).get(symbol)
    wish = drill_scene.wish_of(ctx, symbol, quote)
    if wish is None:
        return "no quote"
    order, verdicts = desk.send(ctx, oms, wish, quote, desk.last_panel(ctx))
    return "refused by the gates" if order is None and verdicts else "left"


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        told = attempt()
    except KobeError as error:
        return f"{error.code}: {error.what}"
    status = getattr(told, "status", None)
    return str(told) if status is None else str(status.word) if status.is_final else "left"


# -- what is broken --------------------------------------------------------------------------------------------


@contextmanager
def _healthy(home: Path) -> Iterator[Stage]:
    """Count what the simulated broker has in its books, through a connection opened before anything is broken."""
    ctx = drill_scene.context(home)
    books = (home / "state" / "sim_broker.db").absolute().as_uri()
    connection = sqlite3.connect(f"{books}?mode=ro", uri=True)

    def left() -> int:
        return int(connection.execute("SELECT COUNT(*) FROM events WHERE kind = 'accepted'").fetchone()[0])

    try:
        left()
        yield Stage(ctx=ctx, left=left)
    finally:
        connection.close()
        drill_scene.close(ctx)


@contextmanager
def _locked(home: Path) -> Iterator[Stage]:
    """Let another process hold the ledger's only right to write."""
    with _healthy(home) as stage:
        command = [sys.executable, "-c", HOLDER, str(home / "state" / "kobe.db")]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:  # noqa: S603 - our own words
            assert holder.stdout is not None
            holder.stdout.readline()
            try:
                yield stage
            finally:
                holder.communicate("")


@contextmanager
def _read_only(home: Path) -> Iterator[Stage]:
    """Write into the ledger's header that nobody may write it: SQLite obeys it, whoever asks."""
    path = home / "state" / "kobe.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek(18)  # of the file format: a write version above 2 means read only
        file.write(b"\x03")
    with _healthy(home) as stage:
        yield stage


@contextmanager
def _disk_full(home: Path) -> Iterator[Stage]:
    """Let no file of this process grow any more."""
    if sys.platform == "win32":
        raise NotImplementedError("this system has no limit for the size of files")
    import resource

    with _healthy(home) as stage:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield stage
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _no_audit_folder(home: Path) -> Iterator[Stage]:
    """Put a file where the audit chain's folder belongs."""
    folder = home / "state" / "audit"
    folder.rename(home / "state" / "audit.moved")
    folder.write_bytes(b"")
    with _healthy(home) as stage:
        yield stage


@contextmanager
def _audit_damaged(home: Path) -> Iterator[Stage]:
    """Change one byte of the last record of the chain."""
    path = home / "state" / "audit" / "audit.jsonl"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    with _healthy(home) as stage:
        yield stage


@contextmanager
def _dangling(home: Path) -> Iterator[Stage]:
    """Put a link that leads nowhere where the switch belongs."""
    _link(home / "nowhere" / "at all", home / "state" / "KILL_SWITCH")
    with _healthy(home) as stage:
        yield stage


@contextmanager
def _unreadable(home: Path) -> Iterator[Stage]:
    """Let the folder of the switch be a link to itself: every look at the switch is an error of the system."""
    state, moved = home / "state", home / "state.moved"
    with _healthy(home) as stage:
        state.rename(moved)
        _link(state, state)
        try:
            yield stage
        finally:
            state.unlink()
            moved.rename(state)


def _link(target: Path, at: Path) -> None:
    try:
        at.symlink_to(target)
    except OSError as error:
        raise NotImplementedError(f"this user may not make links: {error.strerror}") from error


@contextmanager
def _desk_taken(home: Path) -> Iterator[Stage]:
    """Hold the order desk, as a process does that hangs in the middle of an order."""
    with _healthy(home) as stage, Lease(stage.ctx.paths.locks, "orders", stage.ctx.clock).acquire():
        yield stage


def _broker(answer: str) -> Callable[[Path], AbstractContextManager[Stage]]:
    @contextmanager
    def stage(home: Path) -> Iterator[Stage]:
        with broken_broker(answer) as (url, changing):
            ctx = drill_scene.on_paper(home, url)
            yield Stage(ctx=ctx, left=changing)
            drill_scene.close(ctx)

    return stage


CASES: tuple[Case, ...] = (
    Case("healthy", "nothing", _healthy),
    Case("ledger_locked", "another process holds the ledger", _locked),
    Case("ledger_read_only", "the ledger's file may not be written", _read_only),
    Case("disk_full", "no file can grow", _disk_full),
    Case("audit_unwritable", "a file stands where the audit folder belongs", _no_audit_folder),
    Case("audit_damaged", "a byte of the audit chain was changed", _audit_damaged),
    Case("desk_taken", "another process hangs at the order desk", _desk_taken),
    Case("broker_errors", "the broker answers 503 to everything", _broker("503")),
    Case("broker_silent", "the broker takes requests and never answers", _broker("hang")),
    Case("switch_dangling", "a link to nowhere stands where the switch belongs", _dangling),
    Case("switch_unreadable", "looking at the switch is an error of the system", _unreadable),
)


def _document(results: list[Result]) -> Document:
    rows = tuple(
        (r.case, "yes" if r.blocked and r.tried else NOT_TRIED if not r.tried else "NO", _ms(r.silent_s),
         _ms(r.refused_s), _ms(r.cancelled_s), r.broken)
        for r in results
    )  # fmt: skip
    columns = ("case", "blocked", "switch ms", "first refusal ms", "all cancelled ms", "broken")
    lines = tuple(f"{r.case}: {fault}" for r in results for fault in r.faults)
    tried = [r for r in results if r.tried]
    good = sum(r.blocked for r in tried)
    return Document(
        schema="kobe.drill_kill/1", title="Kill switch drill",
        summary=(f"{good} of {len(tried)} cases let nothing out after the trip"
                 + (f"; {len(results) - len(tried)} {NOT_TRIED} here" if len(tried) < len(results) else ""),),
        sections=(
            Section(title="", table=Table(columns=columns, rows=rows)),
            *([Section(title="What did not work, and why", lines=lines)] if lines else []),
        ),
        data={"cases": [asdict(r) for r in results]},
        exit_code=ExitCode.OK if good == len(tried) else ExitCode.FAULT,
    )  # fmt: skip


def _ms(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1000:.1f}"
