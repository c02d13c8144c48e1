"""The safe language of rules and conditions: comparisons, and/or/not, arithmetic and a few functions of named columns.

Python's grammar reads the text, a whitelist rebuilds it node by node as a typed tree, and nothing of it is ever
compiled or run. There are no attributes, subscripts, strings or other calls, and no look into the future: `lag`
takes a positive literal only. `kobe.core.evaluation` gives a tree its values.

    ibs <= 0.2 and rsi_2 <= 10 and close > sma_200
    crosses_above(close, sma_20) or (close - lag(close, 5)) / atr_14 < -2
"""

import ast
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from kobe.core.errors import UsageError
from kobe.core.ids import short_digest

MAX_LENGTH, MAX_DEPTH, MAX_NODES, MAX_LAG_BARS = 500, 16, 120, 250
RAW_DEPTH = 4 * MAX_DEPTH  # of the text as written; brackets and double negations vanish from the tree
ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
MIRRORED = {
    "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!=",
    "crosses_above": "crosses_below", "crosses_below": "crosses_above",
}  # fmt: skip
NUMERIC_FUNCTIONS = {"abs": (1, 1), "min": (2, 4), "max": (2, 4), "lag": (2, 2)}
CROSSINGS = ("crosses_above", "crosses_below")
FUNCTIONS = (*NUMERIC_FUNCTIONS, *CROSSINGS)
TOKEN = re.compile(r"\s+|[A-Za-z_]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|[<>=!]=|[-+*/()<>,]", re.ASCII)


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


def check_limits(tree: Expression) -> None:
    """Refuse a tree that is too long, too deep or too large to be read.

    Raises:
        UsageError: a limit is passed.
    """
    measured = (("characters", len(text(tree)), MAX_LENGTH), ("levels", depth(tree), MAX_DEPTH),
                ("parts", size(tree), MAX_NODES))  # fmt: skip
    for unit, seen, limit in measured:
        if seen > limit:
            raise UsageError("an expression is too large", seen=f"{seen} {unit}", expected=f"at most {limit}")


def parse(source: str, known: Callable[[str], bool] | None = None, expected: str = "a known column") -> Expression:
    """Read an expression and return its canonical tree.

    Args:
        source: at most 500 characters; spaces and line breaks mean nothing.
        known: says whether a column of that name exists; None takes every name.
        expected: what the error about an unknown name tells to write.

    Raises:
        UsageError: with the position and what was seen there and expected instead.
    """
    if len(source) > MAX_LENGTH:
        raise UsageError(
            "an expression is too long", seen=f"{len(source)} characters", expected=f"at most {MAX_LENGTH}"
        )
    _check_tokens(source)
    flat = re.sub(r"\s", " ", source)
    start = len(flat) - len(flat.lstrip())
    try:
        body = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as fault:
        place = start + fault.offset - 1 if fault.offset else len(source.rstrip())  # none: it ends too early
        raise _fault(source, place, fault.msg, "a complete expression") from None
    except (ValueError, RecursionError, MemoryError):
        raise _fault(source, 0, "it cannot be read", "a shorter expression with fewer brackets") from None
    tree = canonical(_Reader(source, start, known, expected).read(body, RAW_DEPTH))
    check_limits(tree)
    return tree


def parse_condition(
    source: str, known: Callable[[str], bool] | None = None, expected: str = "a known column"
) -> Condition:
    """Read an expression that says yes or no; see `parse`.

    Raises:
        UsageError: it cannot be read, or it is a number.
    """
    tree = parse(source, known, expected)
    if not isinstance(tree, CONDITION):
        raise _fault(source, 0, "a number is no condition", "a comparison such as close > sma_200")
    return tree


def _check_tokens(source: str) -> None:
    place = 0
    while place < len(source):
        found = TOKEN.match(source, place)
        if found is None:
            raise _fault(
                source, place, "this means nothing here", "names, numbers, + - * / ( ) , < <= > >= == != and or not"
            )
        place = found.end()


def _fault(source: str, place: int, what: str, expected: str) -> UsageError:
    seen = source[place : place + 20].strip() or "the end"
    return UsageError(f"expression, character {place + 1}: {what}", seen=repr(seen), expected=expected)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Rebuilds Python's tree as ours; whatever is not named here is refused."""

    source: str
    start: int
    known: Callable[[str], bool] | None
    expected: str

    def read(self, node: ast.expr, left: int) -> Expression:
        if left <= 0:
            raise self._fault(node, "nested too deeply", f"at most {MAX_DEPTH} levels")
        match node:
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                return Junction(word, tuple(self._condition(v, left - 1) for v in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self._condition(operand, left - 1))
            case ast.Compare():
                return self._comparison(node, left - 1)
            case ast.Call():
                return self._call(node, left - 1)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Negative(self._numeric(operand, left - 1))
            case ast.BinOp(op=op, left=one, right=two) if type(op) in ARITHMETIC:
                return Arithmetic(ARITHMETIC[type(op)], self._numeric(one, left - 1), self._numeric(two, left - 1))
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(node, value)
            case ast.Name(id=name):
                return self._name(node, name)
            case _:
                raise self._fault(
                    node, f"{type(node).__name__} is not part of the language", "comparisons, and/or/not, + - * /"
                )

    def _fault(self, node: ast.expr, what: str, expected: str) -> UsageError:
        return _fault(self.source, self.start + node.col_offset, what, expected)

    def _condition(self, node: ast.expr, left: int) -> Condition:
        tree = self.read(node, left)
        if not isinstance(tree, CONDITION):
            raise self._fault(node, "a number where a condition belongs", "a comparison such as close > sma_200")
        return tree

    def _numeric(self, node: ast.expr, left: int) -> Numeric:
        tree = self.read(node, left)
        if not isinstance(tree, NUMERIC):
            raise self._fault(node, "a condition where a number belongs", "a column, a number or arithmetic of them")
        return tree

    def _number(self, node: ast.expr, value: float) -> Number:
        try:
            number = float(value)  # whole numbers come as integers of any length
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._fault(node, "a number is too large", "a number below 1e300")
        return Number(number)

    def _name(self, node: ast.expr, name: str) -> Name:
        if name in FUNCTIONS:
            raise self._fault(node, f"{name} is a function", f"{name}(...)")
        if self.known is not None and not self.known(name):
            raise self._fault(node, f"unknown name {name}", self.expected)
        return Name(name)

    def _comparison(self, node: ast.Compare, left: int) -> Condition:
        sides = [self._numeric(n, left) for n in (node.left, *node.comparators)]
        links: list[Condition] = []
        for op, one, two in zip(node.ops, sides, sides[1:], strict=False):
            if type(op) not in COMPARISONS:
                raise self._fault(
                    node, f"{type(op).__name__} is not part of the language", ", ".join(COMPARISONS.values())
                )
            links.append(Comparison(COMPARISONS[type(op)], one, two))
        return links[0] if len(links) == 1 else Junction("and", tuple(links))

    def _call(self, node: ast.Call, left: int) -> Expression:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS or node.keywords:
            raise self._fault(node, "only some functions can be called", ", ".join(FUNCTIONS))
        least, most = NUMERIC_FUNCTIONS.get(name, (2, 2))
        if not least <= len(node.args) <= most:
            raise self._fault(node, f"{name} has {len(node.args)} arguments", f"{least} to {most}")
        if name == "lag":
            return Lag(self._numeric(node.args[0], left), self._bars(node.args[1]))
        arguments = tuple(self._numeric(a, left) for a in node.args)
        return Crossing(name, *arguments) if name in CROSSINGS else Call(name, arguments)

    def _bars(self, node: ast.expr) -> int:
        value = node.value if isinstance(node, ast.Constant) else None
        if type(value) is not int or not 1 <= value <= MAX_LAG_BARS:
            raise self._fault(node, "the bars of a lag are a literal", f"a whole number from 1 to {MAX_LAG_BARS}")
        return value
