"""Trials of the order path: an operation is killed while the broker misbehaves, then run again and judged.

A trial has three acts. The first runs the operation with a fault armed at the server and ends by SIGKILL (or with the
kill switch made on the way). When the fault was not met by then, a second act runs it again to meet it. The last runs
it with nothing going wrong, as after a restart, compares both books and looks at everything; it has a process of its
own, which the second act shares.
"""

import json
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kit import order_checks as checks
from kit.order_faults import (
    ENTRY,
    FAULTS,
    HANGS,
    UNFILLED,
    Trial,
    at_lines,
    at_once,
    at_points,
    rehearsal,
    rotated,
)
from kit.order_stage import HASTY, PATIENT, Stage

D = Decimal
Json = dict[str, Any]


@dataclass
class Outcome:
    """What a trial showed: its acts, what the broker knows at the end, and everything that is wrong with it."""

    trial: Trial
    acts: list[Json]
    told: Json
    faults: list[str]

    def __str__(self) -> str:
        acts = [
            f"    signal {a['signal']}: {(a.get('first') or {}).get('told', '')} {a.get('told')}" for a in self.acts
        ]
        return "\n".join([str(self.trial), *(f"  {fault}" for fault in self.faults), *acts])


@dataclass
class Bench:
    """Runs trials on a stage, counts what happened and keeps what was wrong."""

    stage: Stage
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[Outcome] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    points: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        told = ", ".join(f"{n} {what}" for what, n in self.counts.items() if n)
        return f"{self.stage.operation.name}: {told}, {len(self.kinds)} kinds of fault, {len(self.points)} named points"

    def run(self, trials: Iterable[Trial]) -> None:
        """Run trials one after the other."""
        for trial in trials:
            self.one(trial)

    def rehearse(self, faults: Iterable[str]) -> dict[str, tuple[Trial, Json]]:
        """Run the operation under each fault to its end; returns by fault the trial, and what it passed."""
        found = {}
        for number, fault in enumerate(faults):
            trial = rehearsal(self.stage.operation, fault, number)
            found[fault] = (trial, self.one(trial).acts[0])
        assert "before_request" in found["none"][1]["points"], "requests to the broker are not counted"
        return found

    def whole(self, faults: list[str], lines: int, dice: random.Random, *, full: bool = False) -> None:
        """Kill at the named points under every fault, and at so many random lines; then meet what was not met.

        Where two operations take turns, each has every second pair of point and fault, unless all are wanted.
        """
        rehearsed, turn = self.rehearse(faults), None if full else self.stage.operation.turn
        for k, (trial, passed) in enumerate(rehearsed.values()):
            chosen = list(at_points(trial, passed, dice))
            self.run(t for n, t in enumerate(chosen) if turn is None or (k + n) % 2 == turn)
        found = {fault: passed for fault, (_, passed) in rehearsed.items()}
        self.run(at_lines(self.stage.operation, found, lines, dice, faults))
        self.run(t for t in at_once(self.stage.operation, faults) if t.rules[0]["fault"] not in self.kinds)

    def sample(self, every: int, lines: int, dice: random.Random) -> None:
        """Kill at every so manyth named point, each time under another fault, and at a few random lines."""
        passed = self.rehearse(["none"])["none"][1]
        self.run(rotated(self.stage.operation, passed, every, dice))
        self.run(at_lines(self.stage.operation, dict.fromkeys(FAULTS, passed), lines, dice, list(FAULTS)))

    # -- a trial -----------------------------------------------------------------------------------------------

    def one(self, trial: Trial) -> Outcome:
        """Run a trial and judge it."""
        server, home = self.stage.server, self.stage.open(trial.beginning, trial.rules, trial.scripts)
        disturbed = {"environment": HASTY if trial.fault in HANGS else PATIENT}
        acts = [self.stage.zygote.run(self._act(trial, home, 0, **disturbed, **trial.where))]
        so_far = server.so_far()
        faults = checks.without_intent(so_far["names"], checks.on_record(home))  # its process has just died
        faults += self._switch_off(home)
        first = None
        if (trial.scripts and so_far["scripts"]) or (trial.rules and not so_far["met"]):
            first = self._act(trial, home, 1, **disturbed)
        else:
            server.clear_faults()
        acts.append(self.stage.zygote.run(self._act(trial, home, 2, look=True, first=first)))
        if trial.fault == UNFILLED and trial.operation.targets == ENTRY:
            acts.append(self.stage.zygote.run(self._act(trial, home, 12, " retry=1", look=True)))
        outcome = Outcome(trial, acts, server.told(), faults)
        outcome.faults += self._judged(outcome)
        self._count(outcome)
        shutil.rmtree(home)
        if outcome.faults:
            self.wrong.append(outcome)
        return outcome

    def _act(self, trial: Trial, home: Path, number: int, word: str = "", **more: Any) -> Json:
        o = trial.operation
        deeds = [deed + word for deed in o.deeds[trial.beginning]]
        instant, later = o.at + timedelta(minutes=5 * number), o.later.isoformat()
        return self.stage.job(home, instant, deeds, later=later, **more)

    def _switch_off(self, home: Path) -> list[str]:
        made = home / "switched"
        if not made.is_file():
            return []
        self.counts["with the kill switch made"] += 1
        (home / "state" / "KILL_SWITCH").unlink()
        return checks.blocked_sends(self.stage.server.told(), int(made.read_text()))

    def _judged(self, outcome: Outcome) -> list[str]:
        acts, operation = outcome.acts, outcome.trial.operation
        found = [act["fault"] for act in acts if act.get("fault")]
        look = acts[-1].get("look")
        if look is None:
            return found
        found += checks.faults(outcome.told, look, D(operation.budget_usd))
        return found + ENDS[operation.name](outcome, look, self.counts)

    def _count(self, outcome: Outcome) -> None:
        c, trial, rows = self.counts, outcome.trial, outcome.told["requests"]
        killed = outcome.acts[0]["signal"] == signal.SIGKILL
        c["trials"] += 1
        c["processes"] += len(outcome.acts)
        c["killed at a named point"] += killed and trial.die_at is not None
        c["killed at a line"] += killed and trial.line > 0
        c["over before their point"] += not killed and (trial.die_at is not None or trial.line > 0)
        sends = [r for r in rows if r["method"] in ("POST", "PATCH") and r["path"].startswith("/v2/orders")]
        c["requests"] += len(rows)
        met = [r["fault"] for r in rows if r["fault"]]
        c["faults met"] += len(met)
        self.kinds.update(met)
        self.points |= {trial.die_at[0]} if killed and trial.die_at else set()
        c["second attempts"] += sum(name.endswith("-open-2") for name in map(_name, sends))
        c["orders accepted"] += sum(r["accepted"] for r in sends)
        c["lost replies resolved"] += sum(r["accepted"] and r["fault"] is not None for r in sends)


def _name(row: Json) -> str:
    return str(json.loads(row["body"])["client_order_id"])


# -- what an operation, run again with nothing going wrong, has to have achieved -------------------------------------


def _after_submit(outcome: Outcome, look: Json, counts: Counter[str]) -> list[str]:
    """Each entry is held and guarded, or ended with nothing filled, or was refused."""
    found, deeds = [], outcome.trial.operation.deeds[outcome.trial.beginning]
    for deed, said in zip(deeds, outcome.acts[-1]["told"], strict=True):
        symbol = deed.split()[1]
        held = sum(n for s, n in look["positions"].values() if s == symbol)
        mine = [o for o in look["orders"] if o["symbol"] == symbol]
        if held:
            found += unguarded(outcome.told, symbol, held)
        elif any(o["final"] for o in mine) or "refused" in said:
            counts[f"entries ended {mine[-1]['status'] if mine else said}"] += 1
        else:
            found.append(f"{symbol} was not entered: {said}")
    return found


def _after_exit(outcome: Outcome, look: Json, _counts: Counter[str]) -> list[str]:
    """What was due is gone, what was not is guarded."""
    held, found = dict(look["positions"].values()), list[str]()
    if outcome.trial.beginning >= 2:
        found = unguarded(outcome.told, "BBB", held["BBB"]) if "BBB" in held else ["BBB is gone"]
    return found + [f"AAA was not closed: {outcome.acts[-1]['told']}"] * ("AAA" in held)


def _after_flatten(outcome: Outcome, look: Json, _counts: Counter[str]) -> list[str]:
    """Nothing is held and nothing waits at the broker."""
    live = [o["client_order_id"] for o in checks.ours(outcome.told) if o["open"]]
    found = [f"not closed: {look['positions']}: {outcome.acts[-1]['told']}"] if look["positions"] else []
    return found + [f"still open: {live}"] * bool(live)


def _after_reconcile(_outcome: Outcome, look: Json, _counts: Counter[str]) -> list[str]:
    """What acted unseen, came late or lost its answer is in the book."""
    held = {s for s, _ in look["positions"].values()}
    return [] if held == {"BBB", "DDD", "EEE"} else [f"{held} are held"]


def _after_real_entry(outcome: Outcome, look: Json, counts: Counter[str]) -> list[str]:
    """The trade of the day is held and guarded, or its order ended with nothing filled."""
    opened = [o for o in look["orders"] if o["effect"] == "open"]
    if look["positions"]:
        return [fault for symbol, held in look["positions"].values() for fault in unguarded(outcome.told, symbol, held)]
    counts[f"entries ended {opened[-1]['status'] if opened else 'never'}"] += 1
    return [] if opened and all(o["final"] for o in opened) else [f"not entered: {outcome.acts[-1]['told']}"]


def _after_real_comparison(_outcome: Outcome, look: Json, _counts: Counter[str]) -> list[str]:
    """The order whose answer was lost is in the book."""
    return [] if look["positions"] else ["the fill is not in the book"]


def unguarded(told: Json, symbol: str, held: int) -> list[str]:
    """Say so unless exactly one order guards every share held."""
    rests = [o for o in checks.ours(told) if o["open"] and o["symbol"] == symbol and o["side"] == "sell"]
    shares = [int(D(o["qty"])) for o in rests]
    return [] if shares == [held] else [f"{held} {symbol} are guarded by orders for {shares}"]


ENDS: dict[str, Callable[[Outcome, Json, Counter[str]], list[str]]] = {
    "submit": _after_submit, "exit": _after_exit, "flatten": _after_flatten, "reconcile": _after_reconcile,
    "submit-totd": _after_real_entry, "manage-exits": _after_flatten, "kobe flatten": _after_flatten,
    "kobe reconcile": _after_real_comparison,
}  # fmt: skip
