"""Rules and conditions as trees: comparisons, and/or/not, arithmetic and a few functions of named columns.

`kobe.core.expression_reader` makes trees of text, `kobe.core.evaluation` gives them values. Equal meaning in trivially
different forms has one canonical tree, one text and one digest.

    ibs <= 0.2 and rsi_2 <= 10 and close > sma_200
    crosses_above(close, sma_20) or (close - lag(close, 5)) / atr_14 < -2
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from kobe.core.ids import short_digest

MIRRORED = {
    "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!=",
    "crosses_above": "crosses_below", "crosses_below": "crosses_above",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A finite literal; negative literals are numbers too."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A column."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus of something that is not a literal."""

    operand: "Numeric"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One of + - * / with two operands."""

    op: str
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Call:
    """`abs`, `min` or `max`."""

    function: str
    arguments: "tuple[Numeric, ...]"


@dataclass(frozen=True, slots=True)
class Lag:
    """A value some bars of the same symbol ago."""

    operand: "Numeric"
    bars: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of < <= > >= == !=; a chain `a < b < c` is two of them joined by `and`."""

    op: str
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Crossing:
    """`crosses_above` or `crosses_below`: beyond now, at or on the other side one bar ago."""

    function: str
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is False, which is also where the operand compared NaN."""

    operand: "Condition"


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of at least two conditions."""

    op: str
    operands: "tuple[Condition, ...]"


Numeric: TypeAlias = Number | Name | Negative | Arithmetic | Call | Lag
Condition: TypeAlias = Comparison | Crossing | Not | Junction
Expression: TypeAlias = Numeric | Condition
NUMERIC = (Number, Name, Negative, Arithmetic, Call, Lag)
CONDITION = (Comparison, Crossing, Not, Junction)


def parts(node: Expression) -> tuple[Expression, ...]:
    """Return the direct operands of a node, left to right."""
    match node:
        case Arithmetic() | Comparison() | Crossing():
            return node.left, node.right
        case Negative() | Not() | Lag():
            return (node.operand,)
        case Call():
            return node.arguments
        case Junction():
            return node.operands
    return ()


def with_parts(node: Expression, operands: tuple[Expression, ...]) -> Expression:
    """Return a node of the same kind with other operands, in the order of `parts`.

    Raises:
        TypeError: a condition stands where a number belongs, or the other way round.
    """
    numeric = tuple(o for o in operands if isinstance(o, NUMERIC))
    conditions = tuple(o for o in operands if isinstance(o, CONDITION))
    match node:
        case Arithmetic() | Comparison() | Crossing() if len(numeric) == 2:
            return replace(node, left=numeric[0], right=numeric[1])
        case Negative() | Lag() if len(numeric) == 1:
            return replace(node, operand=numeric[0])
        case Call() if len(numeric) == len(node.arguments):
            return replace(node, arguments=numeric)
        case Not() if len(conditions) == 1:
            return Not(conditions[0])
        case Junction() if len(conditions) == len(node.operands):
            return replace(node, operands=conditions)
        case Number() | Name() if not operands:
            return node
    msg = f"these operands do not fit {type(node).__name__}"
    raise TypeError(msg)


def replaced(tree: Expression, place: int, new: Expression) -> Expression:
    """Return the tree with the node at a place of `walk` (0: the tree itself) replaced by another of its kind."""
    if place == 0:
        return new
    first, changed = 1, []
    for part in parts(tree):
        inside = first <= place < first + size(part)
        changed.append(replaced(part, place - first, new) if inside else part)
        first += size(part)
    return with_parts(tree, tuple(changed))


def walk(tree: Expression) -> Iterator[Expression]:
    """Yield every node, a node before its operands."""
    yield tree
    for part in parts(tree):
        yield from walk(part)


def size(tree: Expression) -> int:
    """Count the nodes: the complexity of a rule."""
    return sum(1 for _ in walk(tree))


def depth(tree: Expression) -> int:
    """Count the nodes on the longest way down."""
    return 1 + max((depth(p) for p in parts(tree)), default=0)


def names(tree: Expression) -> frozenset[str]:
    """Return the columns a tree asks for."""
    return frozenset(n.name for n in walk(tree) if isinstance(n, Name))


def text(tree: Expression) -> str:
    """Write a tree so that parsing it gives an equal tree.

    Example:
        text(parse("10 >= rsi_2 and ibs < .20")) == "ibs < 0.2 and rsi_2 <= 10"
    """
    match tree:
        case Crossing(function, left, right):
            return f"{function}({text(left)}, {text(right)})"
        case Not(operand):
            return f"not ({text(operand)})"
        case Junction(op, operands):
            return f" {op} ".join(_bracketed(o, Junction) for o in operands)
        case Comparison(op, left, right):
            return f"{text(left)} {op} {text(right)}"
    return _number_text(tree)


def _number_text(tree: Numeric) -> str:
    match tree:
        case Number(value):
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case Name(name):
            return name
        case Lag(operand, bars):
            return f"lag({text(operand)}, {bars})"
        case Call(function, arguments):
            return f"{function}({', '.join(text(a) for a in arguments)})"
        case Negative(operand):
            return f"-{_bracketed(operand, Arithmetic)}"
        case Arithmetic(op, left, right):
            return f"{_bracketed(left, Arithmetic)} {op} {_bracketed(right, Arithmetic)}"


def _bracketed(node: Expression, kind: type[Junction] | type[Arithmetic]) -> str:
    return f"({text(node)})" if isinstance(node, kind) else text(node)


def digest(tree: Expression) -> str:
    """Name of what a tree means, 16 hex digits: trivially equal forms have equal digests."""
    return short_digest(text(canonical(tree)))


def canonical(tree: Expression) -> Expression:
    """Return the one form of trivially equal trees; its values are equal bit for bit.

    Operands of `and`, `or`, `+`, `*`, `min` and `max` are ordered by their text; nested `and` in `and` is one, and
    repeats in it go; comparisons and crossings hold a literal on the right, else the smaller text on the left;
    `not not x` is x. Sums of three are left as they are: floats do not associate.
    """
    match tree:
        case Negative() | Arithmetic() | Call() | Lag() | Number() | Name():
            return _canonical_number(tree)
        case Comparison(op, left, right):
            one, two, turned = _oriented(left, right)
            return Comparison(MIRRORED[op] if turned else op, one, two)
        case Crossing(function, left, right):
            one, two, turned = _oriented(left, right)
            return Crossing(MIRRORED[function] if turned else function, one, two)
        case Not(operand):
            inner = canonical_condition(operand)
            return inner.operand if isinstance(inner, Not) else Not(inner)
        case Junction(op, operands):
            return junction(op, [canonical_condition(o) for o in operands])


def canonical_condition(tree: Condition) -> Condition:
    """Return the canonical form of a condition, which is a condition."""
    result = canonical(tree)
    assert isinstance(result, CONDITION)
    return result


def junction(op: str, operands: list[Condition]) -> Condition:
    """Join canonical conditions by `and` or `or`: flat, ordered, without repeats; a single one stays itself."""
    flat: list[Condition] = []
    for operand in operands:
        flat += operand.operands if isinstance(operand, Junction) and operand.op == op else [operand]
    distinct = sorted(set(flat), key=text)
    return distinct[0] if len(distinct) == 1 else Junction(op, tuple(distinct))


def _canonical_number(tree: Numeric) -> Numeric:
    match tree:
        case Number(value):
            return Number(value + 0.0)  # -0.0 becomes 0.0; no operation of the language tells them apart
        case Negative(operand):
            inner = _canonical_number(operand)
            if isinstance(inner, Number):
                return Number(0.0 - inner.value)
            return inner.operand if isinstance(inner, Negative) else Negative(inner)
        case Arithmetic(op, left, right):
            one, two = _canonical_number(left), _canonical_number(right)
            turned = op in {"+", "*"} and text(one) > text(two)
            return Arithmetic(op, two, one) if turned else Arithmetic(op, one, two)
        case Call(function, arguments):
            return Call(function, tuple(sorted((_canonical_number(a) for a in arguments), key=text)))
        case Lag(operand, bars):
            return Lag(_canonical_number(operand), bars)
        case Name():
            return tree


def _oriented(left: Numeric, right: Numeric) -> tuple[Numeric, Numeric, bool]:
    """Return canonical sides in their one order, and whether they were turned around."""
    one, two = _canonical_number(left), _canonical_number(right)
    turned = (isinstance(one, Number), text(one)) > (isinstance(two, Number), text(two))
    return (two, one, True) if turned else (one, two, False)
