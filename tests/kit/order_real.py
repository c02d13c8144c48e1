"""The same trials with whole commands on a home with bars, a model and a scan; see `kit.home`."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kit import order_scene as scene
from kit.alpaca_desk import KEY, SECRET
from kit.home import LAST, at
from kit.order_faults import BY_NAME, COMPARISON, ENTRY, EXIT, FLAT, Operation
from kit.order_server import Shelf, order_server
from kit.order_stage import Stage
from kit.order_zygote import Zygote, zygote

from kobe.app import wiring
from kobe.app.order_facts import standing
from kobe.app.scan import ScanRequest, run_scan

SETTINGS = """[meta]
weekly = false
[run]
mode = "paper"
[broker]
base_url = "{url}"
data_url = "{url}"
requests_per_minute = 1000
"""


def ready(made: Path, home: Path) -> tuple[date, date]:
    """Copy a home and scan until a trade was chosen; returns its session and that of its time exit."""
    shutil.copytree(made, home, ignore=shutil.ignore_patterns("wf_outputs"))
    for k in range(14, 5, -1):
        ctx = wiring.build(home)
        day = ctx.calendar.offset(LAST, -k)
        ctx = wiring.build(home, clock=at(day, 9, 35))
        chosen = run_scan(ctx, ScanRequest(session=ctx.calendar.previous(day))).data["trade_of_day"]
        if chosen["action"] == "trade":
            return day, ctx.calendar.offset(day, 5)
    raise AssertionError("no trade to submit")


def set_quotes(server: Shelf, home: Path, day: date) -> None:
    """Let the server quote every stock a cent around its raw close before a session."""
    ctx = wiring.build(home)
    past = ctx.panel().until(ctx.calendar.number(ctx.calendar.previous(day)))
    for symbol in past.symbols:
        close = standing(past, symbol).raw_close
        cents = 0 if close is None else round(close * 100)
        if cents > 1:
            server.set_asset(symbol)
            server.set_quote(symbol, f"{(cents - 1) / 100:.2f}", f"{(cents + 1) / 100:.2f}")


def operations(day: date, last: date) -> dict[str, Operation]:
    """Return the commands that are tried around one trade."""
    told = (
        Operation(name="submit-totd", deeds=(("submit",),), at=scene.at(day, 9, 35), targets=ENTRY, telling=1),
        Operation(name="manage-exits", deeds=(("leave",),), at=scene.at(last, 9, 40), targets=EXIT[:2] + EXIT[3:],
                  telling=2),
        Operation(name="kobe flatten", deeds=(("flatten",),), at=scene.at(day, 11, 0), targets=FLAT, telling=2),
        Operation(name="kobe reconcile", deeds=(("compare",),), at=scene.at(day, 16, 10), targets=COMPARISON,
                  telling=2),
    )  # fmt: skip
    return {o.name: o for o in told}


@dataclass(frozen=True)
class RealHome:
    """A home with a trade of the day, the server and the process that its commands are tried with."""

    home: Path
    day: date
    last: date
    server: Shelf
    zygote: Zygote

    def stage(self, name: str) -> Stage:
        """Return the stage of a command: with the trade entered where it needs one, its answer lost for `reconcile`."""
        found = Stage(operations(self.day, self.last)[name], self.home.parent / name, self.server, self.zygote)
        shutil.copytree(self.home, found.beginning(0))
        self.server.take_out("quotes", [], [])
        lost = name == "kobe reconcile"
        if lost:
            self.server.fault("POST", "/v2/orders", "lost_after")
            self.server.fault("GET", BY_NAME[1], "504", times=-1)
        if name != "submit-totd":
            told = found.do(found.beginning(0), scene.at(self.day, 9, 35), ["submit"])["told"]
            assert told[0].startswith("ExternalError") if lost else "filled" in told[0], told
        self.server.clear_faults()
        self.server.settle()
        found.keep(0)
        return found


@contextmanager
def real_home(made: Path, folder: Path) -> Iterator[RealHome]:
    """Make a copy of a home ready to trade on a server of its own."""
    home = folder / "ready"
    day, last = ready(made, home)
    with order_server(cash="10000", polls=1) as server:
        set_quotes(server, home, day)
        (home / "config" / "kobe.toml").write_text(SETTINGS.format(url=server.url), encoding="utf-8")
        (home / ".env").write_text(f"APCA_API_KEY_ID={KEY}\nAPCA_API_SECRET_KEY={SECRET}\n", encoding="utf-8")
        server.put_aside("quotes")
        warm = {"home": str(home), "url": server.url, "at": scene.at(day, 9, 0).isoformat(), "deeds": []}
        with zygote(warm, scene="real") as process:
            yield RealHome(home, day, last, server, process)
