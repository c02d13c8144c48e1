"""Rules as genomes: conditions drawn from templates over the indicators, crossed and mutated as trees.

A rule is one to four conditions joined by `and`, some of them an `or` of two, and perhaps a condition to leave by.
Templates compare like with like: a share with a share, a price with a price, a distance in ATR with a number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kobe.core.expression_reader import MAX_LAG_BARS
from kobe.core.expressions import (
    CONDITION,
    Arithmetic,
    Comparison,
    Condition,
    Crossing,
    Expression,
    Junction,
    Lag,
    Name,
    Number,
    canonical_condition,
    junction,
    replaced,
    size,
    text,
    walk,
)
from kobe.features.table import INDICATORS
from kobe.learning.search import RULE
from kobe.learning.spaces import Genome
from kobe.strategies.rule import MAX_PERIOD_BARS, read_rule

SHORT_BARS, LONG_BARS = (2, 3, 5, 10, 14, 20), (20, 50, 100, 200)
MOST_CONDITIONS, MOST_NODES = 4, 40
LEAST_PERIOD_BARS = 2
LEVELS = {"ibs": (0.02, 0.98), "rsi": (1.0, 99.0), "prior_low_age": (1.0, 60.0), "prior_high_age": (1.0, 60.0)}
ANY_LEVEL = (-5.0, 5.0)  # of distances in ATR and of multiples
DIGITS = 3  # significant ones of a level: finer differences are no other rule
OR_SHARE, EXIT_SHARE = 0.15, 0.5
CLOSE, OPEN, HIGH, LOW, VOLUME = (Name(n) for n in ("close", "open", "high", "low", "volume"))
Rng = np.random.Generator
T = TypeVar("T")


def _one_of(rng: Rng, values: tuple[T, ...]) -> T:
    return values[int(rng.integers(len(values)))]


def _level(rng: Rng, low: float, high: float) -> Number:
    return Number(_rounded(float(rng.uniform(low, high))))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _side(rng: Rng) -> str:
    return _one_of(rng, ("<=", ">="))


def _oscillator(rng: Rng) -> Condition:
    name = _one_of(rng, ("ibs", "rsi"))
    column = Name(name) if name == "ibs" else Name(f"rsi_{_one_of(rng, SHORT_BARS)}")
    return Comparison(_side(rng), column, _level(rng, *LEVELS[name]))


def _trend(rng: Rng) -> Condition:
    return Comparison(_one_of(rng, ("<", ">")), CLOSE, Name(f"sma_{_one_of(rng, LONG_BARS)}"))


def _crossing(rng: Rng) -> Condition:
    return Crossing(
        _one_of(rng, ("crosses_above", "crosses_below")), CLOSE, Name(f"sma_{_one_of(rng, SHORT_BARS + LONG_BARS)}")
    )


def _stretch(rng: Rng) -> Condition:
    average = Name(f"sma_{_one_of(rng, SHORT_BARS + LONG_BARS)}")
    distance = Arithmetic("/", Arithmetic("-", CLOSE, average), Name("atr_14"))
    return Comparison(_side(rng), distance, _level(rng, -3.0, 3.0))


def _sweep(rng: Rng) -> Condition:
    low = rng.random() < 0.5
    level = Name(f"prior_{'low' if low else 'high'}_{_one_of(rng, SHORT_BARS)}")
    return Comparison(_one_of(rng, ("<", ">")), _one_of(rng, (CLOSE, LOW if low else HIGH)), level)


def _age(rng: Rng) -> Condition:
    bars = _one_of(rng, (5, 10, 20, 50))
    side = _one_of(rng, ("low", "high"))
    return Comparison(_side(rng), Name(f"prior_{side}_age_{bars}"), Number(float(rng.integers(1, bars))))


def _momentum(rng: Rng) -> Condition:
    return Comparison(_one_of(rng, ("<", ">")), CLOSE, Lag(CLOSE, _one_of(rng, SHORT_BARS)))


def _breadth_of_bar(rng: Rng) -> Condition:
    return Comparison(_side(rng), Arithmetic("/", Arithmetic("-", HIGH, LOW), Name("atr_14")), _level(rng, 0.3, 2.5))


def _body(rng: Rng) -> Condition:
    return Comparison(_one_of(rng, ("<", ">")), CLOSE, OPEN)


def _calm(rng: Rng) -> Condition:
    """Volatility of late against that of long."""
    ratio = Arithmetic(
        "/", Name(f"yang_zhang_{_one_of(rng, (5, 10, 14))}"), Name(f"yang_zhang_{_one_of(rng, (50, 100))}")
    )
    return Comparison(_side(rng), ratio, _level(rng, 0.5, 2.0))


def _turnover(rng: Rng) -> Condition:
    share = Arithmetic("/", Arithmetic("*", CLOSE, VOLUME), Name("adv_usd_20"))
    return Comparison(_side(rng), share, _level(rng, 0.5, 2.5))


TEMPLATES: tuple[Callable[[Rng], Condition], ...] = (
    _oscillator, _trend, _crossing, _stretch, _sweep, _age, _momentum, _breadth_of_bar, _body, _turnover,
    _calm,
)  # fmt: skip


def rule_genome(entry: Condition, leave: Condition | None) -> Genome:
    """Return the genome of a rule; rules that are trivially equal are one."""
    written = "" if leave is None else text(canonical_condition(leave))
    return Genome(RULE, (("entry", text(canonical_condition(entry))), ("exit", written)))


def entry_of(rule: Genome) -> Condition:
    """Return the entry condition of a rule's genome."""
    return read_rule(str(rule.values["entry"]))


def exit_of(rule: Genome) -> Condition | None:
    """Return the condition a rule leaves by, or None."""
    written = str(rule.values["exit"])
    return read_rule(written) if written else None


def _clauses(tree: Condition) -> tuple[Condition, ...]:
    return tree.operands if isinstance(tree, Junction) and tree.op == "and" else (tree,)


def _drawn_clause(rng: Rng) -> Condition:
    clause = _one_of(rng, TEMPLATES)(rng)
    if rng.random() < OR_SHARE:
        return junction("or", [canonical_condition(c) for c in (clause, _one_of(rng, TEMPLATES)(rng))])
    return canonical_condition(clause)


def _joined(clauses: list[Condition]) -> Condition:
    return junction("and", [canonical_condition(c) for c in clauses[:MOST_CONDITIONS]])


@dataclass(frozen=True, slots=True)
class _Dial:
    """A node of a tree that can be turned: a level, a period, or the bars of a lag."""

    place: int
    node: Expression
    low: float
    high: float

    def turned(self, share: float) -> Expression:
        """Return the node moved by a signed share of its value, whole bars by one at least, within bounds."""
        if isinstance(self.node, Number):
            value = self.node.value + share * (abs(self.node.value) or (self.high - self.low) / 10.0)
            return Number(_rounded(min(max(value, self.low), self.high)))
        bars = self.node.bars if isinstance(self.node, Lag) else _period(self.node)
        step = max(1, round(abs(share) * bars))
        moved = int(min(max(bars + (step if share > 0 else -step), self.low), self.high))
        if isinstance(self.node, Lag):
            return Lag(self.node.operand, moved)
        return Name(f"{_indicator(self.node)}_{moved}")


def _indicator(node: Expression) -> str:
    name = node.name if isinstance(node, Name) else ""
    return name if name in INDICATORS else name.rpartition("_")[0]


def _period(node: Expression) -> int:
    digits = node.name.rpartition("_")[2] if isinstance(node, Name) else ""
    return int(digits) if digits.isdecimal() else 0


def _dials(tree: Condition) -> Iterator[_Dial]:
    levels: dict[int, tuple[float, float]] = {}
    for place, node in enumerate(walk(tree)):
        if isinstance(node, Comparison) and isinstance(node.right, Number):
            levels[place + size(node) - 1] = LEVELS.get(_indicator(node.left), ANY_LEVEL)
        if isinstance(node, Number):
            yield _Dial(place, node, *levels.get(place, ANY_LEVEL))
        elif isinstance(node, Lag):
            yield _Dial(place, node, 1, MAX_LAG_BARS)
        elif _period(node):
            yield _Dial(place, node, LEAST_PERIOD_BARS, MAX_PERIOD_BARS)


def _turned(tree: Condition, dial: _Dial, share: float) -> Condition:
    result = replaced(tree, dial.place, dial.turned(share))
    assert isinstance(result, CONDITION)  # a dial stands below a condition
    return canonical_condition(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBreeder:
    """Breeds rules; seeded by the generator it is handed.

    Attributes:
        scale: standard deviation of a mutated level or period as a share of its value.
        reach: how far the plateau is looked at.
    """

    scale: float = 0.3
    reach: float = 0.1

    def random(self, rng: Rng) -> Genome:
        """Draw one to three conditions, and a condition to leave by for every other rule."""
        clauses = [_drawn_clause(rng) for _ in range(int(rng.integers(1, MOST_CONDITIONS)))]
        leave = _drawn_clause(rng) if rng.random() < EXIT_SHARE else None
        return rule_genome(_joined(clauses), leave)

    def cross(self, rng: Rng, one: Genome, two: Genome) -> Genome:
        """Deal the conditions of both parents, or plant a branch of one tree into the other."""
        first, second = entry_of(one), entry_of(two)
        if rng.random() < 0.5:
            pool = [*_clauses(first), *_clauses(second)]
            kept = [c for c in pool if rng.random() < 0.5]
            entry = _joined(kept or [pool[int(rng.integers(len(pool)))]])
        else:
            entry = _grafted(rng, first, second)
        leave = exit_of(one if rng.random() < 0.5 else two)
        return rule_genome(entry, leave) if size(entry) <= MOST_NODES else one

    def mutate(self, rng: Rng, parent: Genome) -> Genome:
        """Turn a level or a period; now and then change, add or drop a condition."""
        entry, leave = entry_of(parent), exit_of(parent)
        kind = rng.random()
        clauses = list(_clauses(entry))
        if kind < 0.6:
            return self._turn_one(rng, entry, leave)
        if kind < 0.75:
            clauses[int(rng.integers(len(clauses)))] = _drawn_clause(rng)
        elif kind < 0.85 and len(clauses) < MOST_CONDITIONS:
            clauses.append(_drawn_clause(rng))
        elif kind < 0.92 and len(clauses) > 1:
            del clauses[int(rng.integers(len(clauses)))]
        else:
            leave = _drawn_clause(rng) if leave is None else None
        changed = _joined(clauses)
        return rule_genome(changed, leave) if size(changed) <= MOST_NODES else parent

    def _turn_one(self, rng: Rng, entry: Condition, leave: Condition | None) -> Genome:
        dials = [(entry, d) for d in _dials(entry)] + ([] if leave is None else [(leave, d) for d in _dials(leave)])
        if not dials:
            return rule_genome(_joined([*_clauses(entry), _drawn_clause(rng)]), leave)
        tree, dial = dials[int(rng.integers(len(dials)))]
        turned = _turned(tree, dial, float(rng.normal(0.0, self.scale)))
        return rule_genome(turned, leave) if tree is entry else rule_genome(entry, turned)

    def neighbours(self, centre: Genome) -> list[Genome]:
        """Turn every level and period down and up, one at a time."""
        entry, leave = entry_of(centre), exit_of(centre)
        found = [rule_genome(_turned(entry, d, s), leave) for d in _dials(entry) for s in (-self.reach, self.reach)]
        if leave is not None:
            found += [
                rule_genome(entry, _turned(leave, d, s)) for d in _dials(leave) for s in (-self.reach, self.reach)
            ]
        distinct = {g.digest: g for g in found if g.digest != centre.digest}
        return list(distinct.values())


def _grafted(rng: Rng, into: Condition, source: Condition) -> Condition:
    """Put a branch of one tree in the place of a branch of another; conditions only take conditions' places."""
    places = [k for k, node in enumerate(walk(into)) if isinstance(node, CONDITION)]
    branches = [node for node in walk(source) if isinstance(node, CONDITION)]
    place, branch = places[int(rng.integers(len(places)))], branches[int(rng.integers(len(branches)))]
    result = replaced(into, place, branch)
    assert isinstance(result, CONDITION)
    return canonical_condition(result)
