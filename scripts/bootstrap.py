"""Set a machine up and run a command: needs CPython 3.11 or 3.12 and nothing else.

    python scripts/bootstrap.py [--dev] [-- COMMAND ARGS...]

Makes the environment (.venv, or the folder KOBE_VENV names), installs the locked packages with their hashes and
kobe itself, compiles, and runs the command. A second run finds its stamp and needs neither network nor time.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ((3, 12), (3, 11))
STAMP = "kobe-setup.txt"


def say(message: str) -> None:
    """Tell the person what is going on."""
    sys.stderr.write(f"kobe setup: {message}\n")
    sys.stderr.flush()


def suitable_interpreter() -> list[str] | None:
    """Return a command that runs a supported Python, this one if it is; None when there is none."""
    if sys.version_info[:2] in VERSIONS:
        return [sys.executable]
    for major, minor in VERSIONS:
        for command in ([f"python{major}.{minor}"], ["py", f"-{major}.{minor}"]):
            if shutil.which(command[0]) and _answers(command, (major, minor)):
                return command
    return None


def _answers(command: list[str], version: tuple[int, int]) -> bool:
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([*command, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.split() == [str(v) for v in version]


def digest_of(requirements: Path) -> str:
    """Return what an environment was made from: locked set, project file, Python."""
    hasher = hashlib.sha256(f"{sys.version_info[:3]}".encode())
    for path in (requirements, ROOT / "pyproject.toml"):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


class Environment:
    """The virtual environment of this checkout."""

    def __init__(self, folder: Path) -> None:
        """Only remember where it is."""
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")

    def is_ready(self, *, dev: bool) -> bool:
        """Whether a finished set-up of the same locks is there; the developer's set also serves a user."""
        try:
            made = dict(line.split(" ", 1) for line in (self.folder / STAMP).read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError):
            return False
        kinds = ("dev",) if dev else ("dev", "runtime")
        return any(made.get(kind) == digest_of(requirements(kind)) for kind in kinds)

    def make(self, *, dev: bool) -> None:
        """Make it from the locks; the stamp is written last, so that a killed set-up starts over."""
        started = time.monotonic()
        stamp = self.folder / STAMP
        stamp.unlink(missing_ok=True)
        if not self._works():
            say(f"making {self.folder.name} with Python {sys.version_info[0]}.{sys.version_info[1]}")
            venv.EnvBuilder(clear=True, with_pip=True).create(self.folder)
        kind = "dev" if dev else "runtime"
        say(f"installing the locked {kind} packages (about a minute the first time)")
        self._pip("install", "--require-hashes", "-r", str(requirements(kind)))
        self._pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        say("compiling")
        self._run("-m", "compileall", "-q", "-j", "0", str(self.folder / "lib"), str(ROOT / "kobe"), check=False)
        if (ROOT / "kobe" / "app" / "warm.py").exists():
            self._run("-m", "kobe.app.warm")
        stamp.write_text(f"{kind} {digest_of(requirements(kind))}\n", encoding="utf-8")
        say(f"ready in {time.monotonic() - started:.0f} s")

    def _works(self) -> bool:
        return self.python.exists() and _answers([str(self.python)], sys.version_info[:2])

    def _pip(self, *arguments: str) -> None:
        self._run("-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)

    def _run(self, *arguments: str, check: bool = True) -> None:
        without_source = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
        done = subprocess.run([str(self.python), *arguments], cwd=ROOT, env=without_source, check=False)
        if check and done.returncode:
            say(f"failed: python {' '.join(arguments)}; run it again when the reason above is mended")
            raise SystemExit(done.returncode)

    def run(self, command: list[str]) -> int:
        """Run a command inside the environment and return its exit code."""
        path = os.pathsep.join([str(self.bin), os.environ.get("PATH", "")])
        variables = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(self.folder)}
        program = shutil.which(command[0], path=path) or command[0]
        try:
            return subprocess.run([program, *command[1:]], env=variables, check=False).returncode
        except KeyboardInterrupt:
            return 130


def requirements(kind: str) -> Path:
    """Return the locked set of a kind."""
    return ROOT / "requirements" / f"{kind}.txt"


def main() -> int:
    """Set up, then run what was asked for."""
    parser = argparse.ArgumentParser(description="Set kobe up and run a command in its environment.")
    parser.add_argument("--dev", action="store_true", help="install what tests and checks need, too")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND ARGS...")
    given = parser.parse_args()
    interpreter = suitable_interpreter()
    if interpreter is None:
        say("needs CPython 3.11 or 3.12; install one of them and run this again")
        return 3
    if interpreter != [sys.executable]:
        return subprocess.run([*interpreter, *sys.argv], check=False).returncode
    environment = Environment(Path(os.environ.get("KOBE_VENV", ROOT / ".venv")).absolute())
    if not environment.is_ready(dev=given.dev):
        environment.make(dev=given.dev)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    return environment.run(command) if command else 0


if __name__ == "__main__":
    sys.exit(main())
