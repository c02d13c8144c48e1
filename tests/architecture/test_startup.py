"""`kobe --help` is instant, because nothing heavy is imported before it is needed."""

import subprocess
import sys

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
