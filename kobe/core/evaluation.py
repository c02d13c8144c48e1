"""Values of an expression: over whole columns for research, and one row at a time for what runs live.

Both give the same bits. The rules, chosen so that what is unknown never buys:

- A comparison or crossing with NaN or infinity on either side is False, `!=` too. `not` of it is therefore True.
- Numbers that differ by less than float noise (1e-9 of the larger, or of 1) are equal: (42.24 - 42.07) / 0.85 is 0.2
  in cents and 0.2000000000000015 in floats. Exactly one of <, ==, > holds for finite numbers.
- x / 0 is NaN. `min` and `max` with NaN are NaN.
- `lag` and crossings never reach over a symbol's first bar: before it everything is NaN.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kobe.core.errors import MissingDataError
from kobe.core.expressions import (
    CONDITION,
    Arithmetic,
    Call,
    Comparison,
    Condition,
    Crossing,
    Expression,
    Junction,
    Lag,
    Name,
    Negative,
    Not,
    Number,
    Numeric,
)  # fmt: skip
from kobe.core.panel import Floats, Ints

NOISE = 1e-9
Mask = npt.NDArray[np.bool_]
Lookup = Callable[[str], Floats]
Row = Mapping[str, float]


def evaluate_condition(tree: Condition, column: Lookup, offsets: Ints) -> Mask:
    """Return where a condition holds.

    Args:
        tree: the condition.
        column: returns float64[rows] of a name, NaN where unknown.
        offsets: int64[n_symbols + 1], row borders of the symbols.

    Returns:
        bool[rows]; row t is known as soon as row t of its columns is.
    """
    with np.errstate(all="ignore"):
        return _Columns.of(column, offsets).condition(tree)


def evaluate_number(tree: Numeric, column: Lookup, offsets: Ints) -> Floats:
    """Return the value of a numeric expression, float64[rows], NaN where unknown; see `evaluate_condition`."""
    with np.errstate(all="ignore"):
        return _Columns.of(column, offsets).number(tree)


@dataclass(frozen=True, slots=True)
class _Columns:
    column: Lookup
    age: Ints

    @staticmethod
    def of(column: Lookup, offsets: Ints) -> "_Columns":
        lengths = np.diff(offsets)
        return _Columns(column, np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths))

    def condition(self, tree: Condition) -> Mask:
        match tree:
            case Comparison(op, left, right):
                return _compare(op, self.number(left), self.number(right))
            case Crossing(function, left, right):
                one, two = self.number(left), self.number(right)
                now, before = (">", "<=") if function == "crosses_above" else ("<", ">=")
                return _compare(now, one, two) & _compare(before, self._back(one, 1), self._back(two, 1))
            case Not(operand):
                return ~self.condition(operand)
            case Junction(op, operands):
                join = np.logical_and if op == "and" else np.logical_or
                result: Mask = join.reduce([self.condition(o) for o in operands])
                return result

    def number(self, tree: Numeric) -> Floats:
        match tree:
            case Number(value):
                return np.full(len(self.age), value)
            case Name(name):
                return self.column(name)
            case Negative(operand):
                return 0.0 - self.number(operand)
            case Arithmetic(op, left, right):
                return _arithmetic(op, self.number(left), self.number(right))
            case Lag(operand, bars):
                return self._back(self.number(operand), bars)
            case Call("abs", (operand,)):
                result: Floats = np.abs(self.number(operand))
                return result
            case Call(function, arguments):
                return _extreme(function, [self.number(a) for a in arguments])

    def _back(self, values: Floats, bars: int) -> Floats:
        out = np.full(len(values), np.nan)
        out[bars:] = values[: max(len(values) - bars, 0)]
        out[self.age < bars] = np.nan
        return out


def _compare(op: str, left: Floats, right: Floats) -> Mask:
    gap = left - right
    noise = NOISE * np.maximum(np.maximum(np.abs(left), np.abs(right)), 1.0)
    known = np.isfinite(left) & np.isfinite(right)
    result: Mask = known & _passes(op, gap, noise)
    return result


def _passes(op: str, gap: Floats, noise: Floats) -> Mask:
    tests: dict[str, Callable[[], Mask]] = {
        "<": lambda: gap < -noise,
        "<=": lambda: gap <= noise,
        ">": lambda: gap > noise,
        ">=": lambda: gap >= -noise,
        "==": lambda: np.abs(gap) <= noise,
        "!=": lambda: np.abs(gap) > noise,
    }
    return tests[op]()


def _arithmetic(op: str, left: Floats, right: Floats) -> Floats:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / np.where(right == 0.0, np.nan, right)


def _extreme(function: str, values: list[Floats]) -> Floats:
    result = values[0]
    for other in values[1:]:
        better = other < result if function == "min" else other > result
        result = np.where(np.isnan(result) | np.isnan(other), np.nan, np.where(better, other, result))
    return result


class Incremental:
    """An expression fed one row at a time; one instance follows one symbol from its first row on.

    Agrees bit for bit with `evaluate_condition` and `evaluate_number` over the same rows.
    """

    def __init__(self, tree: Expression) -> None:
        self._value: Callable[[Row], float | bool] = (
            _live_condition(tree) if isinstance(tree, CONDITION) else _live_number(tree)
        )

    def step(self, row: Row) -> float | bool:
        """Take the next row and return the expression's value at it.

        Raises:
            MissingDataError: the row lacks a column.
        """
        return self._value(row)


def _live_condition(tree: Condition) -> Callable[[Row], bool]:
    match tree:
        case Comparison(op, left, right):
            one, two = _live_number(left), _live_number(right)
            return lambda row: _live_compare(op, one(row), two(row))
        case Crossing():
            return _live_crossing(tree)
        case Not(operand):
            inner = _live_condition(operand)
            return lambda row: not inner(row)
        case Junction(op, operands):
            all_of = [_live_condition(o) for o in operands]
            join = all if op == "and" else any
            return lambda row: join([condition(row) for condition in all_of])  # a list: each has a memory to keep


def _live_crossing(tree: Crossing) -> Callable[[Row], bool]:
    one, two = _live_number(tree.left), _live_number(tree.right)
    now, before = (">", "<=") if tree.function == "crosses_above" else ("<", ">=")
    last = (math.nan, math.nan)

    def step(row: Row) -> bool:
        nonlocal last
        earlier, last = last, (one(row), two(row))
        return _live_compare(now, *last) and _live_compare(before, *earlier)

    return step


def _live_number(tree: Numeric) -> Callable[[Row], float]:
    match tree:
        case Number(value):
            return lambda _: value
        case Name(name):
            return lambda row: _named(row, name)
        case Negative(operand):
            inner = _live_number(operand)
            return lambda row: 0.0 - inner(row)
        case Arithmetic(op, left, right):
            one, two = _live_number(left), _live_number(right)
            return lambda row: _live_arithmetic(op, one(row), two(row))
        case Lag(operand, bars):
            return _live_lag(_live_number(operand), bars)
        case Call(function, arguments):
            inner_of = [_live_number(a) for a in arguments]
            return lambda row: _live_call(function, [inner(row) for inner in inner_of])


def _named(row: Row, name: str) -> float:
    if name not in row:
        raise MissingDataError("a row lacks a column of the expression", seen=", ".join(sorted(row)), expected=name)
    return float(row[name])


def _live_lag(inner: Callable[[Row], float], bars: int) -> Callable[[Row], float]:
    memory = deque([math.nan] * bars, maxlen=bars)

    def step(row: Row) -> float:
        earlier = memory[0]
        memory.append(inner(row))
        return earlier

    return step


def _live_compare(op: str, left: float, right: float) -> bool:
    if not (math.isfinite(left) and math.isfinite(right)):
        return False
    gap, noise = left - right, NOISE * max(abs(left), abs(right), 1.0)
    tests = {
        "<": gap < -noise, "<=": gap <= noise, ">": gap > noise, ">=": gap >= -noise,
        "==": abs(gap) <= noise, "!=": abs(gap) > noise,
    }  # fmt: skip
    return tests[op]


def _live_arithmetic(op: str, left: float, right: float) -> float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / right if right != 0.0 else math.nan


def _live_call(function: str, values: list[float]) -> float:
    if function == "abs":
        return abs(values[0])
    result = values[0]
    for other in values[1:]:
        if math.isnan(result) or math.isnan(other):
            return math.nan
        better = other < result if function == "min" else other > result
        result = other if better else result
    return result
