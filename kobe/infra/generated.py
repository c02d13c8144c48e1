"""The methods that dataclasses write, compiled once for this machine instead of once in every process.

Modules come compiled from their .pyc, but a dataclass writes its methods as text and has Python compile that whenever
its module is imported: a tenth of a second at every start. So the text's code is kept as modules' code is: beside
kobe's own, for this very Python, and written only where Python may write bytecode.
"""

import atexit
import builtins
import dataclasses
import functools
import importlib.util
import marshal
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

from kobe.core.errors import KobeError

_MOST = 20_000  # texts; a file that has outlived many versions of kobe begins anew
_HERE = Path(__file__)


@functools.cache
def keep() -> None:
    """Let every dataclass that is made from now on in this process look for its code first."""
    kept = Kept(Path(importlib.util.cache_from_source(str(_HERE.parents[1] / "dataclasses.py"))).with_suffix(".kept"))
    setattr(dataclasses, "exec", kept.execute)  # noqa: B010 - stands before the builtin there, and only there
    atexit.register(kept.write)


class Kept:
    """Code by its text, in one file; what the file does not know is compiled, and written when the process ends."""

    def __init__(self, path: Path) -> None:
        """Nothing is read before the first text."""
        self._path = path
        self._new: dict[str, bytes] = {}

    @functools.cached_property
    def _known(self) -> dict[str, bytes]:
        with suppress(OSError, ValueError, EOFError, TypeError):
            content = self._path.read_bytes()
            if content.startswith(importlib.util.MAGIC_NUMBER):
                known = marshal.loads(content[len(importlib.util.MAGIC_NUMBER) :])  # noqa: S302 - as for a .pyc
                if isinstance(known, dict) and len(known) < _MOST:
                    return known
        return {}

    def execute(self, text: str, *names: dict[str, Any]) -> None:
        """Do what `exec` does with a text."""
        code = None
        with suppress(ValueError, EOFError, TypeError, KeyError):
            code = marshal.loads(self._known[text])  # noqa: S302 - as for a .pyc
        if not isinstance(code, CodeType):
            code = compile(text, "<string>", "exec")
            self._new[text] = marshal.dumps(code)
        builtins.exec(code, *names)  # noqa: S102 - it is what dataclasses would do

    def write(self) -> None:
        """Write down what was compiled; where there is no room for it nothing is lost."""
        if not self._new or sys.dont_write_bytecode or not self._path.parent.is_dir():
            return
        from kobe.infra import durable

        content = importlib.util.MAGIC_NUMBER + marshal.dumps(self._known | self._new)
        with suppress(KobeError):
            durable.write_whole(self._path, content, sync_name=False, sync_content=False)
