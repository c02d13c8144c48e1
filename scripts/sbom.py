"""Write what is installed here as a bill of materials (CycloneDX 1.6, JSON): `python scripts/sbom.py PATH`.

It is an artifact of a build and no source: inside this checkout only a path that git ignores is taken.
"""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "kobe"
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def bill(installed: Iterable[metadata.Distribution], made: datetime) -> dict[str, Any]:
    """Return the bill of some distributions, each once, in the order of their names.

    Args:
        installed: what `importlib.metadata` finds.
        made: the instant the bill is made at, aware.
    """
    found = {_plain(one.name): one for one in installed}
    components = {name: _component(name, one) for name, one in sorted(found.items())}
    root = components.pop(PROJECT, {"type": "application", "bom-ref": PROJECT, "name": PROJECT})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {"timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": root | {"type": "application"}},
        "components": list(components.values()),
        "dependencies": [_needs(one, found) for _, one in sorted(found.items())],
    }


def _component(name: str, one: metadata.Distribution) -> dict[str, Any]:
    told = one.metadata
    component: dict[str, Any] = {"type": "library", "bom-ref": _reference(one), "name": name, "version": one.version,
                                 "purl": _reference(one)}  # fmt: skip
    if "License-Expression" in told:
        component["licenses"] = [{"expression": told["License-Expression"]}]
    elif "License" in told and "\n" not in told["License"]:  # some put the whole text there
        component["licenses"] = [{"license": {"name": told["License"]}}]
    return component


def _needs(one: metadata.Distribution, found: dict[str, metadata.Distribution]) -> dict[str, Any]:
    """Return which of the installed ones a distribution asks for; what an extra asks for counts where it is there."""
    asked = {_plain(match[0]) for line in one.requires or () if (match := _NAME.match(line))}
    return {"ref": _reference(one), "dependsOn": sorted(_reference(found[n]) for n in asked & found.keys())}


def _reference(one: metadata.Distribution) -> str:
    return f"pkg:pypi/{_plain(one.name)}@{one.version}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def may_hold(path: Path, checkout: Path) -> bool:
    """Say whether a bill may be written there: outside a checkout, or where its git ignores it."""
    if not path.resolve().is_relative_to(checkout.resolve()):
        return True
    command = ["git", "-C", str(checkout), "check-ignore", "--quiet", str(path.resolve())]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def main(arguments: list[str]) -> int:
    """Write the bill; returns the exit code: 2 for words that are off, 6 for a place it may not be."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python scripts/sbom.py PATH\n")
        return 2
    path = Path(arguments[0])
    if not may_hold(path, ROOT):
        sys.stderr.write(f"a bill of materials is never committed, and git does not ignore {path}\n")
        return 6
    told = bill(metadata.distributions(), datetime.now(UTC))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(told['components'])} packages: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
