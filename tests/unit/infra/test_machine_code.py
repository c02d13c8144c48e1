"""Kept machine code gives numba's digits without numba, and is never taken for a kernel it was not made of."""

import json
import os
import shutil
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.infra import machine_code

HELPER = """
from enum import IntEnum

import numpy as np
from kobe.core.compiled import njit

FACTOR = 3.0
WHOLE = np.uint64(2)

class Kind(IntEnum):
    FIRST = 1

@njit(cache=True, nogil=True)
def helper(x):
    return x * FACTOR + WHOLE + (1.0 if Kind.FIRST == 1 else 5.0)
"""
KERNELS = """
import numpy as np
from helpers import helper
from kobe.core.compiled import njit

@njit(cache=True, nogil=True)
def fill(first, last, rows, prices, flags, table, box, share, on, out):
    scratch = np.empty(last)
    for t in range(first, last):
        scratch[t] = helper(prices[t]) + rows[t] + table[t, 1] + box[0] * box[1] + share + on + flags[t]
        out[t] = scratch[t]

@njit(cache=True, nogil=True)
def count(rows):
    return rows.sum()

@njit(cache=True, nogil=True)
def doubled(rows):
    return rows * 2

@njit(cache=True, nogil=True)
def shared(total, rows, out):
    out[0] = total // len(rows)
"""
PROGRAM = """
import json, sys
import numpy as np
from kobe.app import warm
import kernels

warm.use_kernel_cache()

out = np.full(5, np.nan)
prices = np.linspace(1.0, 2.0, 5)
prices.flags.writeable = False
table = np.arange(10, dtype=np.int32).reshape(5, 2)
told = (np.arange(5), prices, np.array([True, False] * 2 + [True]), table, (2.0, 7), np.float64(0.25), True, out)
kernels.fill(1, np.int64(4), *told)
whole = {"out": out.tobytes().hex(), "count": kernels.count(np.arange(7)), "numba": "numba" in sys.modules}
try:
    kernels.shared(7, np.arange(int(sys.argv[1])), out)
except ZeroDivisionError as error:
    whole["fault"] = str(error)
if len(sys.argv) > 2:
    whole["doubled"] = kernels.doubled(np.arange(3)).tolist()
print(json.dumps(whole | {"numba in the end": "numba" in sys.modules}))
"""


def run(folder, *arguments, **variables):
    """Run the program in a process of its own, with a cache that nobody else has."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "program.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kept(folder):
    return sorted((folder / "cache" / "machine_code").iterdir())


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder in which the program ran once, and what it told."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "helpers.py").write_text(HELPER)
    (folder / "program.py").write_text(PROGRAM)
    return folder, run(folder, "3")


@pytest.fixture
def folder(compiled, tmp_path):
    return shutil.copytree(compiled[0], tmp_path / "copy")


def test_a_second_process_computes_the_same_without_numba(compiled, folder):
    first, second = dict(compiled[1]), run(folder, "3")
    assert (first.pop("numba"), first.pop("numba in the end")) == (True, True)
    assert (second.pop("numba"), second.pop("numba in the end")) == (False, False)
    assert first == second
    assert len(kept(folder)) == 3


def test_what_is_not_kept_is_numbas_work_and_so_is_raising(folder):
    told = run(folder, "0", "doubled")
    assert told["doubled"] == [0, 2, 4]
    assert (told["numba"], told["numba in the end"]) == (False, True)
    assert "division by zero" in told["fault"]


@pytest.mark.parametrize(
    "change",
    [
        ("FACTOR = 3.0", "FACTOR = 4.0"),
        ("x * FACTOR", "x * FACTOR + 1.0"),
        ("uint64(2)", "uint64(5)"),
        ("FIRST = 1", "FIRST = 3"),
    ],
)
def test_a_kernel_is_another_one_when_its_helper_or_a_constant_changed_in_another_file(compiled, folder, change):
    shutil.rmtree(folder / "cache")
    assert run(folder, "3")["out"] == compiled[1]["out"], "now numba's own cache knows the kernels of this folder"
    source = folder / "helpers.py"
    source.write_text(source.read_text().replace(*change))
    changed = run(folder, "3")
    assert changed["numba"]
    assert changed["out"] != compiled[1]["out"]
    assert len(kept(folder)) == 3, "the old one is gone"


@pytest.mark.parametrize("harm", [lambda c: c[:-1], lambda c: c[:400] + bytes([c[400] ^ 1]) + c[401:], lambda _: b""])
def test_damaged_code_is_not_run(compiled, folder, harm):
    for path in kept(folder):
        path.write_bytes(harm(path.read_bytes()))
    assert run(folder, "3") == compiled[1], "numba did it"


def test_another_build_of_numba_does_not_take_the_code_of_this_one(folder):
    before = kept(folder)
    assert run(folder, "3", NUMBA_OPT="2")["numba"]
    assert not any(path.exists() for path in before)


SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(), st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.floats().map(np.float64), st.integers(2**63, 2**64 - 1), st.just(np.float32(1.0)), st.just(None),
)  # fmt: skip


@st.composite
def arrays(draw):
    """Arrays of all sorts: of records too, of none and three dimensions, not contiguous, not writeable."""
    kind = draw(st.sampled_from(["<f8", ">f8", "<f4", "<i8", "<i4", "u1", "?", "<M8[D]", "<c16"]))
    array = np.zeros(draw(st.sampled_from([(), (4,), (0,), (4, 6), (2, 4, 6)])), dtype=kind)
    if array.ndim:
        array = draw(st.sampled_from([array, array[::2], array.T, array[1:]]))
    array.flags.writeable = draw(st.booleans())
    return array


@given(st.lists(st.one_of(SCALARS, arrays(), st.tuples(SCALARS, SCALARS)), max_size=4))
def test_arguments_are_named_as_the_types_numba_sees_in_them(arguments):
    named = machine_code.kinds(arguments)
    if named is not None:
        assert named == machine_code.kinds_of_types([numba.typeof(value) for value in arguments])
