"""Trials of the order path: an operation is killed at a point while the broker misbehaves, then run again and judged.

A trial has three acts. The first runs the operation with a fault armed at the server and ends by SIGKILL (or with the
kill switch made on the way). When the fault was not met by then, a second act runs it again to meet it. The last runs
it with nothing going wrong, as after a restart, compares both books and looks at everything.
"""

import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from kit import order_checks as checks
from kit import order_scene as scene
from kit.order_server import Shelf, order_server
from kit.order_zygote import Zygote, zygote

Json = dict[str, Any]
POST, DELETE, PATCH = ("POST", "/v2/orders"), ("DELETE", "/v2/orders/"), ("PATCH", "/v2/orders/")
BY_NAME, READ = ("GET", "/v2/orders:by_client_order_id"), ("GET", "/v2/")
SWITCH, UNFILLED = "kill_switch", "unfilled"
FAULTS: dict[str, Json | None] = {
    "none": None, "lost_before": {}, "lost_after": {},
    "504_four_times": {"fault": "504", "times": 4}, "504_four_times_done": {"fault": "504", "times": 4, "done": True},
    "429": {}, "duplicate_422": {}, "duplicate_422_not_done": {"fault": "duplicate_422", "done": False},
    "partial_then_canceled": {}, "unknown_status": {}, "502_html": {}, "502_html_done": {"fault": "502_html", "done": True},
    "hang": {}, "hang_before": {}, "missing_fields": {}, "garbage_number": {}, "nan": {}, "negative_qty": {},
    "other_symbol": {}, "overfill": {}, "shrinking_fill": {}, "big_body": {}, "truncated_json": {},
    UNFILLED: None, SWITCH: None,
}  # fmt: skip
MOST_BEFORE = {POST: 4, DELETE: 2, PATCH: 1, BY_NAME: 5, READ: 25}  # so many requests of a kind there are, about
HANGS = {"hang", "hang_before"}
PATIENT, HASTY = {"KOBE_BROKER__READ_TIMEOUT_S": "20"}, {"KOBE_BROKER__READ_TIMEOUT_S": "0.3"}


@dataclass(frozen=True)
class Operation:
    """Something kobe does, where it may be disturbed, and from how many beginnings it is tried.

    Attributes:
        name: of the operation.
        deeds: what is run, see `order_scene.perform`.
        day, hour, minute: when.
        targets: requests a fault may meet, the most telling first; a read may be any.
        telling: so many of them are disturbed at the named points.
        beginnings: how many there are; see `Stage.prepare`.
        budget_usd: what openings of the day may cost together.
    """

    name: str
    deeds: tuple[str, ...]
    day: date
    hour: int
    minute: int
    targets: tuple[tuple[str, str], ...]
    telling: int
    beginnings: int
    budget_usd: int


AAA, BBB = "enter AAA", "enter BBB target=3 strategy=turtle_soup"
OPERATIONS = {
    o.name: o
    for o in (
        Operation("submit", (AAA, BBB), scene.DAY, 9, 40, (POST, BY_NAME, READ), 1, 3, 110),
        Operation("exit", ("leave",), scene.NEXT_DAY, 9, 40, (POST, DELETE, PATCH, BY_NAME, READ), 3, 4, 300),
        Operation("reconcile", ("compare",), scene.DAY, 16, 10, (BY_NAME, READ), 2, 2, 300),
        Operation("flatten", ("flatten",), scene.DAY, 11, 0, (POST, DELETE, BY_NAME, READ), 2, 4, 300),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One trial; without any point it runs to its end."""

    operation: Operation
    beginning: int
    fault: str
    rules: tuple[Json, ...] = ()
    die_at: tuple[str, int] | None = None
    switch_at: tuple[str, int] | None = None
    line: int = 0
    count: bool = False
    defect: str = ""

    def __str__(self) -> str:
        told = ", ".join(f"{r['method']} {r['path']} after {r['after']}, {r['times']} times" for r in self.rules)
        where = (
            f"killed at {self.die_at}" if self.die_at else f"killed at line {self.line}" if self.line else "not killed"
        )
        switch = f", switch at {self.switch_at}" if self.switch_at else ""
        return f"{self.operation.name}-{self.beginning} {self.fault} ({told}) {where}{switch}"


def rule(fault: str, target: tuple[str, str], *, after: int = 0, times: int | None = None) -> tuple[Json, ...]:
    """Return the rules that arm a fault at the server for a kind of request."""
    told = FAULTS[fault]
    if told is None:
        return ()
    made = {"fault": fault, "times": 1, **told, "method": target[0], "path": target[1], "after": after}
    return (made if times is None else {**made, "times": times},)


@dataclass
class Outcome:
    """What a trial showed."""

    trial: Trial
    first: Json
    faults: list[str]
    acts: list[Json]
    told: Json


@dataclass
class Stage:
    """A server, a zygote and the beginnings of an operation, each a home and the server's books that go with it."""

    operation: Operation
    folder: Path
    server: Shelf
    zygote: Zygote
    counts: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)
    made: int = 0

    def job(self, home: Path, instant: Any, deeds: Sequence[str], **more: Any) -> Json:
        """Run deeds in a child."""
        job = {"home": str(home), "url": self.server.url, "at": instant.isoformat(), "deeds": list(deeds)}
        return self.zygote.run({**job, "environment": PATIENT, **more})

    # -- beginnings --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make every beginning: a home in the folder, books on the server's shelf."""
        for number in range(self.operation.beginnings):
            self.server.reset()
            settings: Json = [{"polls": 1}, {"first_status": "final"}, {"polls": 2}, {"polls": 1}][number]
            self.server.configure(**settings)
            home = scene.make_home(self.folder / f"beginning-{number}", self.server.url,
                                   day_max_usd=self.operation.budget_usd)  # fmt: skip
            self._quote(thin=False)
            getattr(self, f"_begin_{self.operation.name}")(home, number)
            self._quote(thin=number % 2 == 1)
            shutil.rmtree(home / "state" / "locks", ignore_errors=True)
            self.server.put_aside(str(number))

    def _quote(self, *, thin: bool) -> None:
        for symbol, (bid, ask) in scene.quotes(scene.market()).items():
            size = 3 if thin else 1000
            self.server.set_asset(symbol)
            self.server.set_quote(symbol, bid, ask, bid_size=size, ask_size=size)

    def _begin_submit(self, home: Path, _number: int) -> None:
        (home / "state").mkdir()

    def _open_two(self, home: Path, number: int) -> None:
        deeds = (AAA, BBB) if number < 2 else ("enter AAA target=3", "enter BBB strategy=turtle_soup")
        told = self.job(home, scene.at(scene.DAY, 9, 40), deeds)["told"]
        assert all(line.startswith("filled") for line in told), told

    def _begin_exit(self, home: Path, number: int) -> None:
        self._open_two(home, number)

    def _begin_flatten(self, home: Path, number: int) -> None:
        """Two positions, and an opening whose end is not known: it waits at the broker."""
        self._open_two(home, number)
        before = self.server.configure(polls=10**6 if number % 2 else 25, first_status="accepted")
        told = self.job(home, scene.at(scene.DAY, 9, 50), ["enter CCC"])["told"]
        assert told[0].startswith("unknown"), told
        self.server.configure(polls=before["polls"] if before["polls"] < 5 else 1)

    def _begin_reconcile(self, home: Path, number: int) -> None:
        """A stop or target that acted unseen, a late fill, an order that never left, one whose answer was lost."""
        self._open_two(home, 2 * number)
        self.server.script(3, symbol="EEE")
        told = self.job(home, scene.at(scene.DAY, 9, 50), ["enter EEE"])["told"]
        assert told[0].startswith("canceled"), told
        told = self.job(home, scene.at(scene.DAY, 10, 0), ["enter CCC"], die_at=["after_sent", 1])
        assert told["signal"] == signal.SIGKILL, told
        self.server.fault("POST", "/v2/orders", "lost_after")
        self.server.fault("GET", BY_NAME[1], "504", times=-1, after=4)
        told = self.job(home, scene.at(scene.DAY, 10, 5), ["enter DDD"])["told"]
        assert told[0].startswith("ExternalError"), told
        self.server.clear_faults()
        self.server.settle()
        late = next(o for o in self.server.orders() if o["symbol"] == "EEE" and o["side"] == "buy")
        self.server.fill(late["id"], 2, late["limit_price"])
        bid = "8" if number == 0 else "14"
        self.server.set_quote("AAA", bid, bid[:-1] + str(int(bid[-1]) + 1))

    # -- a trial -----------------------------------------------------------------------------------------------

    def run(self, trial: Trial) -> Outcome:
        """Run a trial and judge it."""
        home = self.folder / f"trial-{self.made}"
        self.made += 1
        shutil.copytree(self.folder / f"beginning-{trial.beginning}", home)
        scripts = [{"parts": [], "status": None, "symbol": "", "contains": ""}] if trial.fault == UNFILLED else []
        self.server.take_out(str(trial.beginning), list(trial.rules), scripts)
        acts, faults = [self._disturbed(trial, home)], []
        faults += self._early(home)
        if trial.rules and not self.server.told(whole=False)["met"]:
            acts.append(self._act(trial, home, 1, environment=HASTY if trial.fault in HANGS else PATIENT))
            faults += self._early(home)
        self.server.clear_faults()
        faults += self._switch_off(home)
        acts.append(self._act(trial, home, 2, look=True))
        if trial.fault == UNFILLED and self.operation.name == "submit":
            again = [f"{deed} retry=1" for deed in self.operation.deeds]
            acts.append(self._act(trial, home, 3, deeds=again, look=True))
        told = self.server.told()
        if any(
            not o["final"] and o["order_type"] not in checks.RESTING for o in acts[-1].get("look", {}).get("orders", ())
        ):
            acts.append(self.job(home, scene.at(scene.AFTER, 8, 0), [], look=True))
            told = self.server.told()
        faults += [act["fault"] for act in acts if act.get("fault")]
        if acts[-1].get("look"):
            faults += checks.faults(told, acts[-1]["look"], D(self.operation.budget_usd)) + self._unfinished(
                trial, acts, told
            )
        self._count(trial, acts, told)
        shutil.rmtree(home)
        return Outcome(trial, acts[0], faults, acts, told)

    def _act(self, trial: Trial, home: Path, number: int, deeds: Sequence[str] = (), **more: Any) -> Json:
        o = self.operation
        instant = scene.at(o.day, o.hour, o.minute) + timedelta(minutes=5 * number)
        return self.job(home, instant, deeds or o.deeds, defect=trial.defect, **more)

    def _disturbed(self, trial: Trial, home: Path) -> Json:
        where = {"die_at": trial.die_at, "switch_at": trial.switch_at, "line": trial.line, "count": trial.count}
        return self._act(trial, home, 0, environment=HASTY if trial.fault in HANGS else PATIENT, **where)

    def _early(self, home: Path) -> list[str]:
        return checks.without_intent(self.server.told(), checks.on_record(home))

    def _switch_off(self, home: Path) -> list[str]:
        made = home / "switched"
        if not made.is_file():
            return []
        self.counts["kill switch made"] += 1
        (home / "state" / "KILL_SWITCH").unlink()
        return checks.blocked_sends(self.server.told(), int(made.read_text()))

    # -- judging -----------------------------------------------------------------------------------------------

    def _unfinished(self, trial: Trial, acts: list[Json], told: Json) -> list[str]:
        """Say what the operation, run again with nothing going wrong, did not achieve and gave no reason for."""
        return getattr(self, f"_after_{self.operation.name}")(acts[-1]["look"], told, acts)

    def _after_submit(self, look: Json, told: Json, acts: list[Json]) -> list[str]:
        found = []
        for k, symbol in enumerate(("AAA", "BBB")):
            held = sum(n for s, n in look["positions"].values() if s == symbol)
            said = acts[-1]["told"][k] if k < len(acts[-1]["told"]) else ""
            if held:
                found += _unguarded(told, symbol, held)
            elif not any(o["symbol"] == symbol and o["final"] for o in look["orders"]) and "refused" not in said:
                found.append(f"{symbol} was not entered: {said}")
            else:
                self.counts[f"not entered: {_reason(look, symbol, said)}"] += 1
        return found

    def _after_exit(self, look: Json, told: Json, acts: list[Json]) -> list[str]:
        held = {s: n for s, n in look["positions"].values()}
        found = [f"AAA was not closed: {acts[-1]['told']}"] if held.get("AAA") else []
        return found + (_unguarded(told, "BBB", held["BBB"]) if held.get("BBB") else ["BBB is gone"])

    def _after_flatten(self, look: Json, told: Json, acts: list[Json]) -> list[str]:
        live = [o["client_order_id"] for o in checks.ours(told) if o["open"]]
        found = [f"not closed: {look['positions']}: {acts[-1]['told']}"] if look["positions"] else []
        return found + [f"still open: {live}"] * bool(live)

    def _after_reconcile(self, look: Json, _told: Json, _acts: list[Json]) -> list[str]:
        held = {s for s, _ in look["positions"].values()}
        return [] if held == {"BBB", "DDD", "EEE"} else [f"{held} are held"]

    # -- counting ----------------------------------------------------------------------------------------------

    def _count(self, trial: Trial, acts: list[Json], told: Json) -> None:
        c, killed = self.counts, acts[0]["signal"] == signal.SIGKILL
        c["trials"] += 1
        c["killed at a named point"] += killed and trial.die_at is not None
        c["killed at a line"] += killed and trial.line > 0
        c["ended before its point"] += not killed and (trial.die_at is not None or trial.line > 0)
        c["runs"] += len(acts)
        met = [r for r in told["requests"] if r["fault"]]
        c["faults met"] += len(met)
        c["trials that met their fault"] += bool(met)
        sends = [r for r in told["requests"] if r["method"] in ("POST", "PATCH") and r["path"].startswith("/v2/orders")]
        c["orders accepted"] += sum(r["accepted"] for r in sends)
        c["lost replies resolved"] += sum(r["accepted"] and r["fault"] is not None for r in sends)
        c["requests"] += len(told["requests"])


def _unguarded(told: Json, symbol: str, held: int) -> list[str]:
    rests = [o for o in checks.ours(told) if o["open"] and o["symbol"] == symbol and o["side"] == "sell"]
    shares = [int(float(o["qty"])) for o in rests]
    return [] if shares == [held] else [f"{held} {symbol} are guarded by orders for {shares}"]


def _reason(look: Json, symbol: str, said: str) -> str:
    mine = [o for o in look["orders"] if o["symbol"] == symbol]
    return f"{mine[-1]['status']} {mine[-1]['detail'][:40]}".strip() if mine else said[:60]


# -- plans of trials -------------------------------------------------------------------------------------------------


def rehearse(stage: Stage, fault: str, number: int) -> tuple[Trial, Json, Outcome]:
    """Run an operation under a fault to its end; returns the trial, the points and lines it passed, the outcome."""
    o = stage.operation
    target = o.targets[number % o.telling]
    after = number // o.telling % min(MOST_BEFORE[target], 5)
    beginning = 2 + number % 2 if target == PATCH else number % o.beginnings
    trial = Trial(o, beginning, fault, rule(fault, target, after=after), count=True)
    outcome = stage.run(trial)
    stage.counts["rehearsals"] += 1
    return trial, outcome.first, outcome


def named(trial: Trial, points: Json, dice: random.Random) -> Iterator[Trial]:
    """Return a trial for every named point an operation passes."""
    for name, times in sorted(points.items()):
        where = (name, dice.randint(1, times))
        told = {"switch_at": where} if trial.fault == SWITCH else {"die_at": where}
        yield replace(trial, count=False, **told)


def at_lines(stage: Stage, lines: dict[str, Json], count: int, dice: random.Random) -> Iterator[Trial]:
    """Return so many trials that die at a random line, faults taken in turn."""
    o, faults = stage.operation, list(FAULTS)
    for k in range(count):
        fault = faults[k % len(faults)]
        target = dice.choices(o.targets, weights=range(len(o.targets), 0, -1))[0]
        times = dice.choice([None, None, None, None, 3, -1]) if fault not in HANGS else None
        rules = rule(fault, target, after=dice.randrange(MOST_BEFORE[target]), times=times)
        points = lines[fault]["points"]
        name = dice.choice(sorted(points))
        switch = (name, dice.randint(1, points[name])) if fault == SWITCH else None
        yield Trial(o, dice.randrange(o.beginnings), fault, rules, line=dice.randint(1, lines[fault]["lines"]),
                    switch_at=switch)  # fmt: skip


@contextmanager
def stage(operation: Operation, folder: Path) -> Iterator[Stage]:
    """Start server and zygote and prepare the beginnings of an operation."""
    with order_server(cash="10000") as server:
        warm = scene.make_home(folder / "warm", server.url)
        for symbol, (bid, ask) in scene.quotes(scene.market()).items():
            server.set_asset(symbol)
            server.set_quote(symbol, bid, ask)
        job = {"home": str(warm), "url": server.url, "at": scene.at(scene.DAY, 9, 40).isoformat(),
               "deeds": ["enter AAA"], "look": True}  # fmt: skip
        with zygote(job) as made:
            found = Stage(operation, folder, server, made)
            found.prepare()
            yield found


def fast_folder() -> str | None:
    """Return a folder in memory where there is one, so that a trial's many fsyncs cost little."""
    return "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None


def tell(stage: Stage) -> None:
    """Print the counts past the capture of the test run."""
    told = ", ".join(f"{n} {what}" for what, n in sorted(stage.counts.items()))
    sys.__stderr__.write(f"{stage.operation.name}: {told}\n")
