"""Kept code of dataclasses is the code Python would compile, and nothing else is ever run in its place."""

import importlib.util
import marshal
import subprocess
import sys

import pytest

from kobe.infra.generated import Kept

TEXT = "def plus(x):\n return x + 1"
CLASSES = """
import dataclasses
if {kept}:
    from kobe.app import warm
    warm.keep_what_dataclasses_write()
from dataclasses import dataclass, replace
@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bar:
    close: float
    symbol: str = "A"
one = Bar(close=1.0)
print(one, one == Bar(close=1.0), hash(one) == hash(Bar(close=1.0)), one < replace(one, close=2.0))
try:
    one.close = 2.0
except dataclasses.FrozenInstanceError as error:
    print(error)
"""


def run(kept: Kept) -> int:
    names: dict = {}
    kept.execute(TEXT, {}, names)
    return names["plus"](1)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path / "made.kept"


def test_what_one_process_compiled_the_next_one_finds(path, monkeypatch):
    first = Kept(path)
    assert run(first) == 2
    first.write()
    monkeypatch.setattr("builtins.compile", None)
    assert run(Kept(path)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"", b"nothing", importlib.util.MAGIC_NUMBER, importlib.util.MAGIC_NUMBER + b"nothing",
        importlib.util.MAGIC_NUMBER + marshal.dumps({TEXT: b"nothing"}),
        importlib.util.MAGIC_NUMBER + marshal.dumps({TEXT: marshal.dumps("no code")}),
        importlib.util.MAGIC_NUMBER + marshal.dumps([TEXT]),
        b"\0\0\0\0" + marshal.dumps({TEXT: marshal.dumps(compile("plus = str", "", "exec"))}),
    ],
)  # fmt: skip
def test_a_damaged_file_or_one_of_another_python_is_compiled_anew(path, content):
    path.write_bytes(content)
    kept = Kept(path)
    assert run(kept) == 2
    kept.write()
    assert run(Kept(path)) == 2
    assert path.read_bytes().startswith(importlib.util.MAGIC_NUMBER)


def test_nothing_is_written_where_python_may_write_no_bytecode_or_nobody_may(path, monkeypatch, tmp_path):
    lost = Kept(tmp_path / "no" / "folder" / "made.kept")
    assert run(lost) == 2
    lost.write()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kept = Kept(path)
    assert run(kept) == 2
    kept.write()
    assert list(tmp_path.iterdir()) == []


def test_a_dataclass_is_the_same_with_kept_code():
    told = [
        subprocess.run([sys.executable, "-c", CLASSES.format(kept=kept)], capture_output=True, text=True, check=True)
        for kept in (False, True, True)
    ]
    assert told[0].stdout == told[1].stdout == told[2].stdout
    assert "cannot assign to field 'close'" in told[0].stdout
