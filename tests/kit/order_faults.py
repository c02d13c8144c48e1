"""What a trial of the order path is: an operation, the fault it meets, and the point at which it is killed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kit import order_scene as scene

Json = dict[str, Any]
Target = tuple[str, str]
POST, DELETE, PATCH = ("POST", "/v2/orders"), ("DELETE", "/v2/orders/"), ("PATCH", "/v2/orders/")
BY_NAME, READ = ("GET", "/v2/orders:by_client_order_id"), ("GET", "/v2/")
MOST_BEFORE = {POST: 4, DELETE: 2, PATCH: 1, BY_NAME: 5, READ: 25}  # so many requests of a kind there are, about
SWITCH, UNFILLED, HANGS = "kill_switch", "unfilled", frozenset({"hang", "hang_before"})
FAULTS: dict[str, Json | None] = {
    "none": None, "lost_before": {}, "lost_after": {}, "429": {}, "502_html": {},
    "504_four_times": {"fault": "504", "times": 4}, "504_four_times_done": {"fault": "504", "times": 4, "done": True},
    "502_html_done": {"fault": "502_html", "done": True},
    "duplicate_422": {}, "duplicate_422_not_done": {"fault": "duplicate_422", "done": False},
    "partial_then_canceled": {}, "unknown_status": {}, "hang": {}, "hang_before": {}, "missing_fields": {},
    "garbage_number": {}, "nan": {}, "negative_qty": {}, "other_symbol": {}, "overfill": {}, "shrinking_fill": {},
    "big_body": {}, "truncated_json": {}, UNFILLED: None, SWITCH: None,
}  # fmt: skip
"""Name -> how `alpaca_faults.rule` is asked for it. None: no request goes wrong; an order that fills nothing, or the
kill switch made on the way, are disturbances of their own."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something kobe does, where it may be disturbed, and from how many beginnings it is tried.

    Attributes:
        name: of the operation.
        deeds: what is run from each beginning, see `order_scene.perform`.
        at: when.
        targets: requests a fault may meet, the most telling first.
        telling: so many of them are disturbed at the named points.
        turn: None for every named point under every fault; 0 or 1 for every second pair of the two.
        budget_usd: what openings of the day may cost together.
    """

    name: str
    deeds: tuple[tuple[str, ...], ...]
    at: datetime
    targets: tuple[Target, ...]
    telling: int
    turn: int | None = None
    budget_usd: int = 300

    @property
    def later(self) -> datetime:
        """The next morning, when what never left is given up."""
        return self.at.replace(hour=8, minute=0) + timedelta(days=1)


AAA, OCO, BBB = "enter AAA", "enter AAA target=3", "enter BBB target=3 strategy=turtle_soup"
ENTRY, EXIT, FLAT, COMPARISON = (
    (POST, BY_NAME, READ), (POST, DELETE, PATCH, BY_NAME, READ), (POST, DELETE, BY_NAME, READ), (BY_NAME, READ),
)  # fmt: skip
OPERATIONS = {
    o.name: o
    for o in (
        Operation(name="submit", deeds=((AAA,), (AAA,), (AAA, BBB), (OCO,)), at=scene.at(scene.DAY, 9, 40),
                  targets=ENTRY, telling=1, budget_usd=110),
        Operation(name="exit", deeds=(("leave",),) * 4, at=scene.at(scene.NEXT_DAY, 9, 40), targets=EXIT, telling=3,
                  turn=0),
        Operation(name="flatten", deeds=(("flatten",),) * 4, at=scene.at(scene.DAY, 11, 0), targets=FLAT, telling=2,
                  turn=1),
        Operation(name="reconcile", deeds=(("compare",),) * 2, at=scene.at(scene.DAY, 16, 10), targets=COMPARISON,
                  telling=2),
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial; without any point it runs to its end. A point is a name and which time it is passed."""

    operation: Operation
    beginning: int
    fault: str
    rules: tuple[Json, ...] = ()
    die_at: tuple[str, int] | None = None
    switch_at: tuple[str, int] | None = None
    line: int = 0
    count: bool = False

    @property
    def scripts(self) -> list[Json]:
        """How the server is told to execute the next opening or closing order."""
        kind = "-open-" if self.operation.targets == ENTRY else "-close-"
        return [{"parts": [], "status": None, "symbol": "", "contains": kind}] if self.fault == UNFILLED else []

    @property
    def where(self) -> Json:
        """Where the child dies, or the kill switch is made."""
        return {"die_at": self.die_at, "switch_at": self.switch_at, "line": self.line, "count": self.count}

    def __str__(self) -> str:
        told = ", ".join(f"{r['method']} {r['path']} after {r['after']}, {r['times']} times" for r in self.rules)
        where = ", ".join(f"{name} {point}" for name, point in self.where.items() if point)
        return f"{self.operation.name} from beginning {self.beginning}: {self.fault} ({told}), {where}"


def rules(fault: str, target: Target, *, after: int = 0, times: int | None = None) -> tuple[Json, ...]:
    """Return the rules that arm a fault at the server for a kind of request."""
    told = FAULTS[fault]
    if told is None:
        return ()
    made = {"fault": fault, "times": 1, **told, "method": target[0], "path": target[1], "after": after}
    return (made if times is None else {**made, "times": times},)


def rehearsal(operation: Operation, fault: str, number: int) -> Trial:
    """Return the trial that runs under a fault to its end, to see which points and lines there are."""
    target = operation.targets[number % operation.telling]
    after = number // operation.telling % min(MOST_BEFORE[target], 5)
    beginnings = range(2, 4) if target == PATCH else range(len(operation.deeds))  # these have a stop that is moved
    return Trial(operation=operation, beginning=beginnings[number % len(beginnings)], fault=fault,
                 rules=rules(fault, target, after=after), count=fault == "none" or target in COMPARISON)  # fmt: skip


def at_points(rehearsed: Trial, passed: Json, dice: random.Random) -> Iterator[Trial]:
    """Return a trial for every named point that an operation passed, each time at another of its occurrences."""
    for name, times in sorted(passed["points"].items()):
        yield at_point(replace(rehearsed, count=False), (name, dice.randint(1, times)))


def at_point(trial: Trial, where: tuple[str, int]) -> Trial:
    """Return the same trial, killed at a point; where the kill switch is the disturbance, it is made there."""
    return replace(trial, switch_at=where) if trial.fault == SWITCH else replace(trial, die_at=where)


def rotated(operation: Operation, passed: Json, every: int, dice: random.Random) -> Iterator[Trial]:
    """Return one trial for every so manyth named point, each under another fault."""
    faults = dice.sample(list(FAULTS), len(FAULTS))
    for k, (name, times) in enumerate(sorted(passed["points"].items())):
        if k % every == 0:
            fault = faults[k % len(faults)]
            target = operation.targets[k // every % operation.telling]
            trial = Trial(operation=operation, beginning=0, fault=fault,
                          rules=rules(fault, target, after=dice.randrange(MOST_BEFORE[target])))  # fmt: skip
            yield at_point(trial, (name, dice.randint(1, times)))


def at_lines(
    operation: Operation, passed: dict[str, Json], count: int, dice: random.Random, faults: list[str]
) -> Iterator[Trial]:
    """Return so many trials that die at a random line, of those counted under the fault or else without; in turn."""
    for k in range(count):
        fault = faults[k % len(faults)]
        target = dice.choices(operation.targets, weights=range(len(operation.targets), 0, -1))[0]
        lines = passed[fault]["lines"] or passed["none"]["lines"]
        before = dice.randrange(1 + MOST_BEFORE[target] // 2)
        times = dice.choice([None, None, None, None, 3, -1]) if fault not in HANGS else None
        armed = rules(fault, target, after=before, times=times)
        points = passed[fault]["points"]
        name = dice.choice(sorted(points))
        switch = (name, dice.randint(1, points[name])) if fault == SWITCH else None
        yield Trial(
            operation=operation, beginning=dice.randrange(len(operation.deeds)), fault=fault, rules=armed,
            line=dice.randint(1, lines), switch_at=switch,
        )  # fmt: skip


def at_once(operation: Operation, faults: list[str]) -> Iterator[Trial]:
    """Return for every fault a broker can make the trials in which the first request of each kind meets it."""
    for fault in (f for f in faults if FAULTS[f] is not None):
        for target in operation.targets:
            for beginning in range(len(operation.deeds)):
                yield Trial(operation=operation, beginning=beginning, fault=fault, rules=rules(fault, target))
