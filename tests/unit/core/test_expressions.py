"""The expression language: what it reads, what it refuses and where, and what an unknown value means."""

import math
import os

import numpy as np
import pytest

from kobe.core.errors import KobeError, MissingDataError, UsageError
from kobe.core.evaluation import Incremental, evaluate_condition, evaluate_number
from kobe.core.expression_reader import MAX_LENGTH, parse, parse_condition
from kobe.core.expressions import depth, digest, names, size, text

NAN, INF = math.nan, math.inf


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def holds(source: str, offsets: tuple[int, ...] | None = None, **columns: np.ndarray) -> list[bool]:
    rows = len(next(iter(columns.values())))
    borders = np.array(offsets or (0, rows), dtype=np.int64)
    return evaluate_condition(parse_condition(source), columns.__getitem__, borders).tolist()


def value(source: str, offsets: tuple[int, ...] | None = None, **columns: np.ndarray) -> list[float]:
    rows = len(next(iter(columns.values())))
    borders = np.array(offsets or (0, rows), dtype=np.int64)
    return evaluate_number(parse(source), columns.__getitem__, borders).tolist()


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        ("ibs <= 0.2 and rsi_2 <= 10 and close > sma_200", "close > sma_200 and ibs <= 0.2 and rsi_2 <= 10"),
        ("  sma_200<close and(10.0>=rsi_2)and .2>=ibs\n", "close > sma_200 and ibs <= 0.2 and rsi_2 <= 10"),
        ("1 < a < b", "a < b and a > 1"),
        ("a < 1 and (b < 2 and (c < 3 and a < 1))", "a < 1 and b < 2 and c < 3"),
        ("a > 1 or b > 1 and c > 1", "a > 1 or (b > 1 and c > 1)"),
        ("not not a > 1", "a > 1"),
        ("not a > 1", "not (a > 1)"),
        ("a < b or a < b", "a < b"),
        ("b * a + 1 > -(-c)", "1 + (a * b) > c"),
        ("-2 + a > - - 3", "-2 + a > 3"),
        ("max(b, a, 1) == min(2, b)", "max(1, a, b) == min(2, b)"),
        ("crosses_below(close, a)", "crosses_above(a, close)"),
        ("crosses_above(10, rsi_2)", "crosses_below(rsi_2, 10)"),
        ("lag(a + 1, 3) >= 1e3", "lag(1 + a, 3) >= 1000"),
        ("a > -0", "a > 0"),
        ("(a - b) - c > a - (b - c)", "(a - b) - c > a - (b - c)"),
        ("a > 1e300", "a > 1e+300"),
    ],
)  # fmt: skip
def test_equal_meaning_has_one_text_and_that_text_reads_back(source, canonical):
    tree = parse(source)
    assert text(tree) == canonical
    assert parse(canonical) == tree
    assert digest(tree) == digest(parse(canonical))


def test_different_meaning_has_different_digests():
    sources = ["a < 1", "a <= 1", "a > 1", "a < 2", "b < 1", "a - b < 1", "b - a < 1", "a / b < 1", "a < 1 or b < 1",
               "a < 1 and b < 1", "not a < 1", "lag(a, 1) < 1", "lag(a, 2) < 1", "(a + b) + c < 1", "a + (b + c) < 1",
               "crosses_above(a, 1)", "crosses_below(a, 1)", "min(a, b) < 1", "max(a, b) < 1"]  # fmt: skip
    assert len({digest(parse(s)) for s in sources}) == len(sources)


def test_a_tree_tells_its_columns_size_and_depth():
    tree = parse("a < 1 and lag(b, 2) > -c")
    assert names(tree) == {"a", "b", "c"}
    assert size(tree) == 9
    assert depth(tree) == 4


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("", 1, "the end"),
        ("close >", 8, "the end"),
        ("close > sma_200 and volume.mean > 1", 27, "'.mean"),
        ("a[0] > 1", 2, r"'\[0\]"),
        ("a > 'x'", 5, "'x'"),
        ("a > 1 and eval(b) > 2", 11, "only some functions can be called.*crosses_above"),
        ("a > lag(b, -1)", 12, "whole number from 1 to 250"),
        ("a > lag(b, 0)", 12, "whole number from 1 to 250"),
        ("a > lag(b, 251)", 12, "whole number from 1 to 250"),
        ("a > lag(b, 1.5)", 12, "whole number from 1 to 250"),
        ("a > lag(b, c)", 12, "whole number from 1 to 250"),
        ("a > lag(b, True)", 12, "whole number from 1 to 250"),
        ("a > lag(b)", 5, "lag has 1 arguments"),
        ("abs(a, b) > 1", 1, "abs has 2 arguments"),
        ("abs(x=a) > 1", 6, "'=a"),
        ("min(*a) > 1", 1, "min has 1 arguments"),
        ("min(*a, b) > 1", 5, "Starred is not part"),
        ("(a > 1) + 2 > 3", 2, "a condition where a number belongs"),
        ("a and b > 1", 1, "a number where a condition belongs"),
        ("not a", 5, "a number where a condition belongs"),
        ("a > 1 if b > 1 else c > 1", 1, "IfExp is not part"),
        ("a in b", 1, "In is not part"),
        ("a is b", 1, "Is is not part"),
        ("a > True", 5, "Constant is not part"),
        ("a > None", 5, "Constant is not part"),
        ("a ** 2 > 1", 1, "BinOp is not part"),
        ("a // 2 > 1", 1, "BinOp is not part"),
        ("+a > 1", 1, "UnaryOp is not part"),
        ("(a, b) > 1", 1, "Tuple is not part"),
        ("a > abs", 5, "abs is a function"),
        ("lambda > 1", 8, ">"),
        ("a > 1 # b", 7, "'# b'"),
        ("a := 1", 3, "':= 1'"),
        ("a > 0x10", 5, "'0x10'"),
        ("a > 1_000", 5, "'1_000'"),
        ("a > 1e999", 5, "too large"),
        ("a > " + "9" * 400, 5, "too large"),
        ("a > 2and b > 1", 5, "'2and b > 1'"),
        ("ä > 1", 1, "'ä > 1'"),
        ("a > 1; b", 6, "';"),
        ("a > 1\x00", 6, "this means nothing"),
    ],
)  # fmt: skip
def test_what_is_no_part_of_the_language_is_refused_at_its_place(source, place, words):
    with pytest.raises(UsageError, match=rf"^expression, character {place}: .*{words}") as caught:
        parse_condition(source)
    assert caught.value.expected


def test_an_unknown_name_is_refused_with_what_is_known():
    with pytest.raises(UsageError, match=r"character 10: unknown name clsoe; .*; expected: close, volume"):
        parse("volume > clsoe", {"close", "volume"}.__contains__, "close, volume")
    assert names(parse("volume > close", {"close", "volume"}.__contains__)) == {"close", "volume"}


@pytest.mark.parametrize(
    "source",
    [
        "a > 1" + " " * MAX_LENGTH,
        " and ".join(f"a > {k}" for k in range(45)),
        "abs(" * 17 + "a" + ")" * 17 + " > 1",
        "+".join("a" * 20) + " > 1",
        "(" * 240 + "a" + ")" * 240 + " > 1",
        "-" * 400 + "a > 1",
        "not " * 120 + "a > 1",
        "<".join(f"a{k}" for k in range(80)),
    ],
)
def test_a_text_too_long_too_deep_or_too_large_is_refused(source):
    with pytest.raises(UsageError):
        parse(source)


def test_double_negations_and_brackets_within_reason_are_read():
    assert text(parse("not " * 20 + "a > " + "(" * 20 + "1" + ")" * 20)) == "a > 1"


def test_nothing_of_a_text_is_ever_run(tmp_path):
    witness = tmp_path / "witness"
    hostile = [
        f"__import__('os').mkdir('{witness}')", "exec(a)", "open(a)", "(lambda: 1)()", "a.__class__", "[x for x in a]",
        "f(a)(b)", "print(a) > 1", "abs.__self__", "min(a, key) > exec", "__builtins__ > 1 and exit()", "`ls`",
    ]  # fmt: skip
    for source in hostile:
        with pytest.raises(KobeError):
            parse(source, {"a", "key"}.__contains__)
    assert not os.path.lexists(witness)


@pytest.mark.parametrize("op", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("unknown", [NAN, INF, -INF])
def test_a_comparison_with_what_is_unknown_is_false_on_either_side(op, unknown):
    a, b = column(unknown, 1.0, unknown), column(1.0, unknown, unknown)
    assert holds(f"a {op} b", a=a, b=b) == [False] * 3
    assert holds(f"not a {op} b", a=a, b=b) == [True] * 3


def test_numbers_equal_but_for_float_noise_are_equal():
    ibs = column((42.24 - 42.07) / (42.92 - 42.07), 0.2 + 1e-8, 0.2 - 1e-8)
    assert ibs[0] > 0.2
    assert holds("ibs <= 0.2", ibs=ibs) == [True, False, True]
    assert holds("ibs < 0.2", ibs=ibs) == [False, False, True]
    assert holds("ibs == 0.2", ibs=ibs) == [True, False, False]
    assert holds("ibs != 0.2", ibs=ibs) == [False, True, True]


def test_arithmetic_is_as_written_and_a_division_by_zero_is_unknown():
    a, b = column(7.0, 1.0, 0.0), column(2.0, 0.0, 0.0)
    assert value("a / b - 1", a=a, b=b)[0] == 2.5
    assert all(math.isnan(v) for v in value("a / b", a=a, b=b)[1:])
    assert value("-a * 2 + abs(b - 5)", a=a, b=b) == [-11.0, 3.0, 5.0]
    assert value("max(a, b, 1.5) - min(a, b)", a=a, b=b) == [5.0, 1.5, 1.5]
    assert math.isnan(value("min(a, 1)", a=column(NAN))[0])
    assert math.isnan(value("max(1, a)", a=column(NAN))[0])
    assert value("3", a=a) == [3.0, 3.0, 3.0]


def test_a_lag_and_a_crossing_never_reach_into_another_symbol():
    a = column(1, 2, 3, 10, 20)
    assert holds("lag(a, 1) > 0", offsets=(0, 3, 5), a=a) == [False, True, True, False, True]
    assert value("lag(a, 2)", offsets=(0, 3, 5), a=a)[2] == 1.0
    assert [math.isnan(v) for v in value("lag(a, 2)", offsets=(0, 3, 5), a=a)] == [True, True, False, True, True]
    assert all(math.isnan(v) for v in value("lag(a, 200)", offsets=(0, 3, 5), a=a))
    assert holds("crosses_above(a, 5)", offsets=(0, 3, 5), a=a) == [False] * 5
    assert holds("crosses_above(a, 5)", a=a) == [False, False, False, True, False]


def test_a_crossing_starts_at_or_on_the_other_side():
    a = column(1, 2, 2, 3, 1, 2, NAN, 3)
    assert holds("crosses_above(a, 2)", a=a) == [False, False, False, True, False, False, False, False]
    assert holds("crosses_below(a, 2)", a=a) == [False, False, False, False, True, False, False, False]


def test_and_or_not_bind_as_in_python():
    a, b = column(0, 0, 1, 1), column(0, 1, 0, 1)
    assert holds("a > 0 or b > 0 and a > 2", a=a, b=b) == [False, False, True, True]
    assert holds("not a > 0 and b > 0", a=a, b=b) == [False, True, False, False]
    assert holds("0 <= a < b", a=a, b=b) == [False, True, False, False]


def test_no_rows_give_no_values():
    assert holds("lag(a, 3) > 1 or crosses_above(a, 2)", a=column()) == []


def test_the_incremental_evaluator_remembers_even_what_it_did_not_need():
    live = Incremental(parse("b > 0 and crosses_above(a, 5)"))
    rows = [(1, 0), (9, 0), (1, 0), (9, 1)]
    assert [live.step({"a": a, "b": b}) for a, b in rows] == [False, False, False, True]


def test_a_row_without_a_column_is_named():
    with pytest.raises(MissingDataError, match="seen: b; expected: a"):
        Incremental(parse("a > 1")).step({"b": 1.0})
