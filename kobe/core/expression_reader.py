"""Reads expressions safely: Python's grammar parses the text, a whitelist rebuilds it node by node as our own tree.

Nothing of a text is ever compiled or run. There are no attributes, subscripts, strings or other calls, and no look
into the future: `lag` takes a positive literal only. What is refused is refused at its place.
"""

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from kobe.core.errors import UsageError
from kobe.core.expressions import (
    CONDITION,
    NUMERIC,
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
    canonical,
    depth,
    size,
    text,
)

MAX_LENGTH, MAX_DEPTH, MAX_NODES, MAX_LAG_BARS = 500, 16, 120, 250
RAW_DEPTH = 4 * MAX_DEPTH  # of the text as written; brackets and double negations vanish from the tree
ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
NUMERIC_FUNCTIONS = {"abs": (1, 1), "min": (2, 4), "max": (2, 4), "lag": (2, 2)}
CROSSINGS = ("crosses_above", "crosses_below")
FUNCTIONS = (*NUMERIC_FUNCTIONS, *CROSSINGS)
TOKEN = re.compile(r"\s+|[A-Za-z_]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|[<>=!]=|[-+*/()<>,]", re.ASCII)


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
