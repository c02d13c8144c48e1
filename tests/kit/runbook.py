"""The pages of docs/runbooks as a test reads them: what a person types, and what must come of it.

In a block `sh NAME` a line is a command and, behind `#`, the exit code and words it must say, divided by semicolons.
A line that begins with `#` or with `sudo` is a person's own doing; a test says what stands for it.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kit.door import Door

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
BLOCK = re.compile(r"^```sh (?P<name>[a-z ]+)\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?P<line>\S.*?)(?:\s+# (?P<code>\d+)(?:: (?P<words>.*))?)?$")
VARIABLE = re.compile(r"^[A-Z_]+=")
BY_HAND = ("#", "sudo ")


@dataclass(frozen=True)
class Step:
    """One line: what is typed, and the exit code and words that must come."""

    line: str
    code: int | None
    words: tuple[str, ...]


def blocks(text: str) -> dict[str, list[Step]]:
    """Return the marked blocks of a page by name."""
    return {m["name"]: [_step(line) for line in m["lines"].splitlines()] for m in BLOCK.finditer(text)}


def _step(line: str) -> Step:
    found = COMMAND.match(line)
    assert found is not None, line
    words = tuple(found["words"].split("; ")) if found["words"] else ()
    return Step(found["line"], int(found["code"]) if found["code"] else None, words)


def _split(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that are set in front of a command, and the command."""
    words = shlex.split(line)
    first = next(i for i, word in enumerate(words) if not VARIABLE.match(word))
    return dict(word.split("=", 1) for word in words[:first]), words[first:]


@dataclass
class Scene:
    """A home in trouble, and who works through a page in it.

    Attributes:
        page: its file's name without the ending.
        door: runs the commands.
        home: where.
        at: the time there; None is the host's.
        fills: what stands for words in capitals.
        env: variables of every command.
        most_bytes: the size no file may pass.
    """

    page: str
    door: Door
    home: Path
    at: datetime | None = None
    fills: Mapping[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    most_bytes: int | None = None

    def work(self, block: str, hands: Mapping[str, Callable[[], object]] | None = None) -> None:
        """Do what a block says, and see that each line leaves and speaks as the page says."""
        steps = blocks((FOLDER / f"{self.page}.md").read_text(encoding="utf-8"))[block]
        left = dict(hands or {})
        for step in steps:
            if step.line.startswith(BY_HAND):
                left.pop(step.line)()
            else:
                self._type(step)
        assert not left, f"the page does not say: {list(left)}"

    def _type(self, step: Step) -> None:
        line = step.line
        for word, stands in self.fills.items():
            line = re.sub(rf"\b{word}\b", stands, line)
        variables, command = _split(line)
        if command[0] != "kobe":
            subprocess.run(command, cwd=self.home, check=True, capture_output=True)
            return
        at = None if "--as-of" in command else self.at
        done = self.door.kobe(self.home, *command[1:], at=at, env=self.env | variables, most_bytes=self.most_bytes)
        told = f"{self.page}: {line} left with {done.code}: {done.out}{done.err}"
        assert done.code == step.code, told
        assert "Traceback" not in done.err, told
        for wanted in step.words:
            assert wanted in done.said, f"{wanted!r} is not in {told}"
