"""Where trials of the order path begin: a home, and the made-up broker's books that go with it."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kit import order_scene as scene
from kit.order_faults import AAA, BBB, BY_NAME, OCO, Operation
from kit.order_server import Shelf, order_server
from kit.order_zygote import Zygote, zygote

Json = dict[str, Any]
PATIENT, HASTY = {"KOBE_BROKER__READ_TIMEOUT_S": "20"}, {"KOBE_BROKER__READ_TIMEOUT_S": "0.3"}
SERVERS: tuple[Json, ...] = ({"polls": 1}, {"first_status": "final"}, {"polls": 2}, {"polls": 1})
THIN = 3  # shares an order may take at every second beginning


@dataclass
class Stage:
    """A server, a zygote and a folder, with the beginnings of one operation made ready in all three."""

    operation: Operation
    folder: Path
    server: Shelf
    zygote: Zygote
    made: int = field(default=0)

    def job(self, home: Path, instant: datetime, deeds: Sequence[str], **more: Any) -> Json:
        """Return a job for a child."""
        job = {"home": str(home), "url": self.server.url, "at": instant.isoformat(), "deeds": list(deeds)}
        return {**job, "environment": PATIENT, **more}

    def do(self, home: Path, instant: datetime, deeds: Sequence[str], **more: Any) -> Json:
        """Let a child do deeds."""
        return self.zygote.run(self.job(home, instant, deeds, **more))

    def beginning(self, number: int) -> Path:
        """Return the home of a beginning."""
        return self.folder / f"beginning-{number}"

    def prepare(self) -> None:
        """Make every beginning on the made-up market."""
        for number in range(len(self.operation.deeds)):
            self.server.reset()
            self.server.configure(**SERVERS[number])
            home = scene.make_home(self.beginning(number), self.server.url, day_max_usd=self.operation.budget_usd)
            (home / "state").mkdir()
            set_market(self.server)
            BEGINNINGS[self.operation.name](self, home, number)
            set_market(self.server, THIN if number % 2 else 1000, but=("AAA",) * (self.operation.name == "reconcile"))
            self.keep(number)

    def keep(self, number: int) -> None:
        """Put the books of a beginning on the shelf; its home stays as it is."""
        shutil.rmtree(self.beginning(number) / "state" / "locks", ignore_errors=True)
        self.server.put_aside(f"{self.operation.name} {number}")

    def open(self, number: int, armed: Sequence[Json], scripts: Sequence[Json]) -> Path:
        """Copy a beginning for a trial, faults armed at the server; bars are linked, for nobody writes them."""
        home, source = self.folder / f"trial-{self.made}", self.beginning(number)
        self.made += 1
        shutil.copytree(source, home, ignore=lambda folder, _: ["data"] if Path(folder) == source else [])
        if (source / "data").is_dir():
            shutil.copytree(source / "data", home / "data", copy_function=os.link)
        self.server.take_out(f"{self.operation.name} {number}", list(armed), list(scripts))
        return home

    def filled(self, home: Path, deeds: Sequence[str]) -> None:
        """Open positions whole."""
        told = self.do(home, scene.at(scene.DAY, 9, 36), deeds)["told"]
        assert all(line.startswith("filled") for line in told), told


def _submit(stage: Stage, home: Path, number: int) -> None:
    """Most of the day's budget is spent already, but where two entries compete for it."""
    if number != 2:
        stage.filled(home, (BBB,))


def _exit(stage: Stage, home: Path, number: int) -> None:
    """What is due the next morning, a stop that is to be moved then, or both."""
    moved = "enter BBB strategy=turtle_soup"
    stage.filled(home, ((AAA,), (OCO,), (moved,), (AAA, moved))[number])


def _flatten(stage: Stage, home: Path, number: int) -> None:
    """Positions, and at two beginnings an opening whose end is not known: it waits at the broker."""
    stage.filled(home, ((AAA,), (OCO,), (AAA, BBB), (OCO,))[number])
    if number < 2:
        stage.server.configure(polls=10**6 if number else 25, first_status="accepted")
        told = stage.do(home, scene.at(scene.DAY, 9, 50), ["enter CCC"])["told"]
        assert told[0].startswith("unknown"), told
        stage.server.configure(**{"polls": 0, "first_status": "accepted", **SERVERS[number]})


def _reconcile(stage: Stage, home: Path, number: int) -> None:
    """A stop or target that acted unseen, a late fill, an order that never left, one whose answer was lost."""
    stage.filled(home, (OCO if number else AAA, BBB))
    stage.server.script(3, symbol="EEE")
    told = stage.do(home, scene.at(scene.DAY, 9, 50), ["enter EEE"])["told"]
    assert told[0].startswith("canceled"), told
    died = stage.do(home, scene.at(scene.DAY, 10, 0), ["enter CCC"], die_at=["after_sent", 1])
    assert died["signal"] == signal.SIGKILL, died
    stage.server.fault("POST", "/v2/orders", "lost_after")
    stage.server.fault("GET", BY_NAME[1], "504", times=-1, after=4)
    told = stage.do(home, scene.at(scene.DAY, 10, 5), ["enter DDD"])["told"]
    assert told[0].startswith("ExternalError"), told
    stage.server.clear_faults()
    stage.server.settle()
    late = next(o for o in stage.server.orders() if o["symbol"] == "EEE" and o["side"] == "buy")
    stage.server.fill(late["id"], 2, late["limit_price"])
    stage.server.set_quote("AAA", *(("8.00", "8.02") if number == 0 else ("14.00", "14.02")))


BEGINNINGS: dict[str, Callable[[Stage, Path, int], None]] = {
    "submit": _submit, "exit": _exit, "flatten": _flatten, "reconcile": _reconcile,
}  # fmt: skip


def set_market(server: Shelf, size: int = 1000, but: Sequence[str] = ()) -> None:
    """Let the server know every stock, its quote, and how many shares an order may take."""
    for symbol, (bid, ask) in scene.quotes(scene.market()).items():
        if symbol not in but:
            server.set_asset(symbol)
            server.set_quote(symbol, bid, ask, bid_size=size, ask_size=size)


@contextmanager
def stage(operation: Operation, folder: Path) -> Iterator[Stage]:
    """Start server and zygote and make the beginnings of an operation on the made-up market."""
    with order_server(cash="10000") as server:
        set_market(server)
        with zygote(warm_up(folder, server)) as made:
            found = Stage(operation, folder, server, made)
            found.prepare()
            yield found


def warm_up(folder: Path, server: Shelf) -> Json:
    """Return a job that uses most of the code, for a process to be warm."""
    home = scene.make_home(folder / "warm", server.url)
    return {"home": str(home), "url": server.url, "at": scene.at(scene.DAY, 9, 40).isoformat(), "deeds": [AAA],
            "look": True}  # fmt: skip


def fast_folder() -> str | None:
    """Return a folder in memory where there is one, so that a trial's many fsyncs cost little."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
