"""Two processes that submit at once, one of them killed now and then, never spend more than the day's budget."""

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from kit import order_checks as checks
from kit import order_scene as scene
from kit.order_server import Shelf, order_server
from kit.order_stage import fast_folder, set_market
from kit.order_zygote import Zygote, zygote

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a POSIX signal")]
ROUNDS, BUDGET_USD = 30, 200
POINTS = ("before_request", "before_intent", "after_intent", "before_send", "after_sent", "after_wire", "before_record",
          "after_record", "after_record_audit")  # fmt: skip
START = scene.at(scene.DAY, 9, 40)


class Racers:
    """Two processes of their own; one that died is replaced before the next round."""

    def __init__(self, stack: ExitStack, warm: dict) -> None:
        self._stack, self._warm = stack, warm
        self._running: list[Zygote | None] = [None, None]

    def race(self, jobs: list[dict]) -> list[dict | None]:
        """Let both do their jobs at the same time; None stands for one that was killed."""
        for k in range(2):
            if self._running[k] is None:
                self._running[k] = self._stack.enter_context(zygote(self._warm, alone=True))
            self._running[k].begin(jobs[k])
        told = [racer.end() for racer in self._running]
        self._running = [racer if said else None for racer, said in zip(self._running, told, strict=True)]
        return told


def deeds_of(dice: random.Random) -> tuple[list[str], list[str]]:
    """Deal the signals to two processes with pauses between them; two signals go to both."""
    names = dice.sample(sorted(scene.SYMBOLS), len(scene.SYMBOLS))
    hands = (names[:5], names[3:])
    for hand in hands:
        dice.shuffle(hand)
    return tuple(
        [deed for s in hand for deed in (f"pause {dice.choice((0, 0, dice.uniform(0, 0.05)))}", f"enter {s}")]
        for hand in hands
    )


def unspent(told: dict, look: dict, quotes: dict) -> list[str]:
    """Name the signals that were not entered although a share of them would have fitted."""
    left = BUDGET_USD - checks.opened_usd(told)
    entered = {symbol for symbol, _ in look["positions"].values()}
    return [f"{s} would have fitted into {left}" for s, (_, ask) in quotes.items()
            if s not in entered and Decimal(ask) * Decimal("1.002") < left]  # fmt: skip


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(dir=fast_folder()))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(1800)
def test_two_processes_submitting_at_once_never_exceed_the_day_s_budget_and_send_what_fits(folder):
    dice, counts, quotes = random.Random(2024), Counter(), scene.quotes(scene.market())
    with ExitStack() as stack:
        server: Shelf = stack.enter_context(order_server(cash="10000", polls=1))
        set_market(server)
        server.put_aside("round")
        warm_home = scene.make_home(folder / "warm", server.url)
        warm = {"home": str(warm_home), "url": server.url, "at": START.isoformat(), "deeds": ["enter AAA"]}
        racers = Racers(stack, warm)
        sweeper = stack.enter_context(zygote(warm))
        for number in range(ROUNDS):
            server.take_out("round", [], [])
            home = scene.make_home(folder / f"round-{number}", server.url, day_max_usd=BUDGET_USD)
            (home / "state").mkdir()
            jobs = [{**warm, "home": str(home), "deeds": deeds} for deeds in deeds_of(dice)]
            if number % 3 == 0:
                point = dice.choice(POINTS)
                jobs[0]["die_at"] = [point, dice.randint(1, 40 if point == "before_request" else 4)]
            told = racers.race(jobs)
            counts["killed"] += told.count(None)
            raced = server.told()
            assert checks.opened_usd(raced) <= BUDGET_USD, jobs
            counts["orders sent while racing"] += len([o for o in checks.ours(raced) if o["side"] == "buy"])
            later = (START.replace(minute=50)).isoformat()
            again = [f"enter {s}" for s in scene.SYMBOLS]
            swept = sweeper.run({**warm, "home": str(home), "at": later, "deeds": again, "look": True})
            ended = server.told()
            faults = [act["fault"] for act in (*told, swept) if act and act.get("fault")]
            faults += checks.faults(ended, swept["look"], Decimal(BUDGET_USD))
            faults += unspent(ended, swept["look"], quotes)
            assert not faults, (number, jobs, told, faults)
            counts["rounds"] += 1
            counts["orders sent in the end"] += len([o for o in checks.ours(ended) if o["side"] == "buy"])
            counts["refused or too dear"] += len(scene.SYMBOLS) - len(swept["look"]["positions"])
            shutil.rmtree(home)
    sys.__stderr__.write(", ".join(f"{n} {what}" for what, n in sorted(counts.items())) + "\n")
    assert counts["killed"] >= ROUNDS // 6
