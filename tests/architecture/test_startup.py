"""`kobe --help` is instant, because nothing heavy is imported before it is needed."""

import subprocess
import sys

from kobe.app import wiring

HEAVY = (
    "numpy", "polars", "pyarrow", "pandas", "numba", "scipy", "sklearn", "sqlalchemy", "pydantic",
    "exchange_calendars", "apscheduler", "jinja2", "skops", "structlog", "filelock",
)  # fmt: skip


def test_the_command_line_starts_without_a_heavy_import():
    code = f"import sys, kobe.interfaces.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command_and_needs_no_home():
    done = subprocess.run([sys.executable, "-m", "kobe", "--help"], capture_output=True, text=True, check=True)
    for command in ("demo", "scan", "submit-totd", "walk-forward", "status", "doctor", "run", "kill"):
        assert command in done.stdout


def test_numba_is_loaded_by_the_first_kernel_that_is_called_and_by_no_module(tmp_path):
    program = """
import os, pickle, sys
import numpy as np
from kobe.app import jobs, scan, submit_totd
from kobe.features import kernels, volatility_kernels
assert pickle.loads(pickle.dumps(kernels.rsi)) is kernels.rsi
assert "numba" not in sys.modules
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
close, out = np.linspace(1.0, 2.0, 50), np.full(50, np.nan)
kernels.rsi(0, 1, np.array([0, 50]), close, 14, out)
assert "numba" in sys.modules and out[-1] == 100.0, out
first, last = np.array([0]), np.array([49])
volatility_kernels.volatility_ranks(first, last, close, close, close, close, 5, 20, out)
assert out[0] > 0.0
assert "scipy.linalg" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_scan_needs_neither_frames_nor_the_compiler(home, calendar):
    """The first one after new bars too, once this machine has compiled the kernels."""
    program = """
import shutil, sys
from pathlib import Path
from kobe.interfaces.cli.main import main
shutil.rmtree(Path(sys.argv[2]) / "cache", ignore_errors=True)
try:
    main()
except SystemExit as end:
    assert end.code in (0, 7), end.code
print([m for m in ("polars", "numba", "pandas", "scipy", "sklearn", "rich") if m in sys.modules], file=sys.stderr)
"""
    session = calendar.previous(wiring.build(home).store.manifest().last)
    command = [sys.executable, "-c", program, "--home", str(home), "scan", "--session", str(session), "--json"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2))
    assert first.stdout == second.stdout
    assert second.stderr.splitlines()[-1] == "[]", second.stderr
