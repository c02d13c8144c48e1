"""Modules and functions stay small enough to be read in one go."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES, FUNCTION_LINES = 500, 60


def long_functions(source: str) -> list[str]:
    """Return the functions longer than allowed, their docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            length -= (first.end_lineno or 0) - first.lineno + 1
        if length > FUNCTION_LINES:
            found.append(f"{node.name} has {length} lines")
    return found


def room_faults(source: str) -> list[str]:
    """Return what an `__init__.py` holds besides docstring, imports and tables."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    body = ast.parse(source).body
    docstring = body and isinstance(body[0], ast.Expr)
    return [] if docstring and all(isinstance(n, allowed) for n in body[1:]) else ["more than docstring and table"]


def test_no_function_is_longer_than_sixty_lines():
    faults = [
        f"{path.relative_to(ROOT)}: {fault}"
        for folder in ("kobe", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for fault in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_no_module_is_longer_than_five_hundred_lines():
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "kobe").rglob("*.py")}
    assert {p: n for p, n in lengths.items() if n > MODULE_LINES} == {}


def test_a_room_s_front_page_holds_its_docstring_and_its_table_only():
    faults = [p for p in (ROOT / "kobe").rglob("__init__.py") if room_faults(p.read_text(encoding="utf-8"))]
    assert not faults


def test_a_planted_long_function_and_a_planted_front_page_are_found():
    assert long_functions("def f():\n" + "    x = 1\n" * 61)
    assert not long_functions('def f():\n    """' + "\n" * 70 + '"""\n    return 1\n')
    assert room_faults("def f(): ...")
