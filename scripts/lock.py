"""Write the locked requirement files anew from pyproject.toml: with hashes, for every platform, without addresses."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD_TOOLS = "hatchling\neditables\n"
FLAGS = (
    "--universal",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--python-version",
    "3.11",
    "--quiet",
)


def compile_set(kind: str, arguments: list[str]) -> None:
    """Resolve into a fresh file, then put it in place."""
    with tempfile.TemporaryDirectory() as folder:
        tools, fresh = Path(folder) / "build-tools.in", Path(folder) / "fresh.txt"
        tools.write_text(BUILD_TOOLS, encoding="utf-8")
        command = [
            "uv",
            "pip",
            "compile",
            *FLAGS,
            *arguments,
            "pyproject.toml",
            str(tools),
            "--output-file",
            str(fresh),
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        text = fresh.read_text(encoding="utf-8").replace(f"-r {tools}", "-r the build tools")
    (ROOT / "requirements" / f"{kind}.txt").write_text(text, encoding="utf-8")
    print(f"requirements/{kind}.txt: {text.count('==')} packages")


def main() -> None:
    """Lock what developers have; the user's set is held to the same versions."""
    compile_set("dev", ["--extra", "dev", *sys.argv[1:]])
    compile_set("runtime", ["--constraint", "requirements/dev.txt"])


if __name__ == "__main__":
    main()
