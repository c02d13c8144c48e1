"""The command line as a user calls it, with its code and what it wrote; in a child forked by `kit.door`.

What the start itself does has tests of its own, with `python -m kobe`.
"""

import subprocess
from pathlib import Path

from kit import door


def kobe(home: Path, *words: str, env: dict | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
    done = door.shared().kobe(home, *words, env=env, cwd=cwd)
    return subprocess.CompletedProcess(words, done.code, done.out, done.err)


def one_line(done: subprocess.CompletedProcess, code: int, *words: str) -> None:
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]
