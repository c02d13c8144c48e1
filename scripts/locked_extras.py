"""Print the runtime's locked packages with those that optional parts of kobe need: `locked_extras.py service charts`.

Both locks come from one resolution (`make lock`), and each package there names who asks for it. So what an extra
brings is the set of packages that are reached from it; versions and hashes stay those of the lock.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "kobe (pyproject.toml)"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def blocks(text: str) -> dict[str, list[str]]:
    """Return the blocks of a lock by package; one that differs by Python version has several."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        if name := _NAME.match(block):
            found.setdefault(_plain(name[0]), []).append(block)
    return found


def askers(block: str) -> set[str]:
    """Return who asks for a package."""
    told = block.partition("# via")[2]
    names = (line.strip().lstrip("#").strip() for line in told.splitlines())
    return {name if name == PROJECT else _plain(name) for name in names if name}


def reached(lock: dict[str, list[str]], roots: set[str]) -> set[str]:
    """Return the packages reached from some, those themselves included."""
    found = set(roots)
    while True:
        more = {name for name, parts in lock.items() if any(askers(part) & found for part in parts)} - found
        if not more:
            return found
        found |= more


def locked(extras: list[str]) -> str:
    """Return the runtime's lock and what some extras add to it.

    Raises:
        SystemExit: there is no such extra, or the lock does not hold it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    if unknown := [name for name in extras if name not in known]:
        raise SystemExit(f"no such extra: {', '.join(unknown)}; there are {', '.join(known)}")
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    lock = blocks((ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    roots = {_plain(match[0]) for extra in extras for line in known[extra] if (match := _NAME.match(line))}
    if missing := sorted(roots - lock.keys()):
        raise SystemExit(f"not in the lock: {', '.join(missing)}; run make lock")
    added = sorted(reached(lock, roots) - blocks(runtime).keys())
    return runtime + "".join(part for name in added for part in lock[name])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(locked(sys.argv[1:]))
