"""The command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def kobe(home: Path, *words: str, env: dict | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kobe", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def one_line(done: subprocess.CompletedProcess, code: int, *words: str) -> None:
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]
